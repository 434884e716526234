//! How a run starts: everything is checked before the client is blocked. A refused block still gives a handle, and
//! work armed on it would run although the client was told of an error.
//!
//! One run at a time, so that two walks never share the main thread. A cleanup, by hand or by the schedule, does not
//! wait for a query: the query makes room, and its caller is told.

use redis_module::raw;

use crate::commands::request::{Request, Task};
use crate::plan::second_look::SecondLook;
use crate::redis::api::acl;
use crate::redis::api::keyspace;
use crate::redis::api::{self, RedisModuleCtx};
use crate::redis::runner::blocked_client::BlockedClient;
use crate::redis::runner::linger;
use crate::redis::runner::registry;
use crate::redis::runner::request::RunRequest;
use crate::redis::runner::stop::StopReason;
use crate::redis::runner::wakeup::Wakeup;
use crate::redis::runs;
use crate::redis::schedule;
use crate::redis::writers;
use crate::reply::error::Error;
use crate::reply::value::Value;
use crate::schedule::kept_away::objection;
use crate::settings;

/// The client cannot be made to wait.
const NO_WAITING: u32 = raw::REDISMODULE_CTX_FLAGS_MULTI
    | raw::REDISMODULE_CTX_FLAGS_LUA
    | raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING;

/// What a command replies at once: a value, perhaps as JSON; nothing if the client waits.
pub type Reply = Result<Option<(Value, bool)>, Error>;

/// Start what a command asks for.
pub fn by_command(ctx: *mut RedisModuleCtx, task: Task) -> Reply {
    let (command, is_query) = (task.command(), task.is_query());
    let (asynchronous, json) = (task.is_asynchronous(), task.json());
    let flags = api::context_flags(ctx);
    if !is_query && flags & raw::REDISMODULE_CTX_FLAGS_MASTER == 0 {
        return Err(Error::NotPrimary);
    }
    if flags & api::LOADING != 0 {
        return Err(Error::Loading { command });
    }
    if flags & NO_WAITING != 0 && !asynchronous {
        return Err(match is_query {
            true => Error::QueryInMulti { command },
            false => Error::InMulti,
        });
    }
    let request = Request::new(
        keyspace::selected(ctx),
        acl::caller_name(ctx),
        task,
        settings::THRESHOLD_SECONDS.get(),
    );
    if let Some(joined) = linger::join(ctx, &request) {
        return joined;
    }
    let why = match is_query {
        true => is_free()?,
        false => make_room(ctx, &request)?,
    };
    // Whatever can fail comes before the client is blocked.
    let wakeup = Wakeup::new().ok_or(Error::CannotStart {
        why: "the server's event loop has no room",
    })?;
    let caller = match asynchronous {
        true => None,
        false => Some(BlockedClient::block(ctx)?),
    };
    let request = RunRequest {
        number: registry::next_number(),
        asked: request,
        caller,
        departure: None,
        joined: false,
        scheduled: false,
        second_look: None,
        warm_up_left_s: schedule::warm_up_left_s(),
    };
    let run = Value::from(request.number);
    runs::begin(ctx, request, wakeup, why);
    Ok(asynchronous.then(|| match json {
        true => (Value::Map(vec![("run", run)]), true),
        false => (run, false),
    }))
}

/// Start a run of the schedule over the selected database. `None` if the server's event loop has no room.
pub fn by_schedule(
    ctx: *mut RedisModuleCtx,
    task: Task,
    second_look: Option<SecondLook>,
) -> Option<()> {
    let wakeup = Wakeup::new()?;
    let request = RunRequest {
        number: registry::next_number(),
        asked: Request::new(
            keyspace::selected(ctx),
            None,
            task,
            settings::THRESHOLD_SECONDS.get(),
        ),
        caller: None,
        departure: None,
        joined: false,
        scheduled: true,
        second_look,
        warm_up_left_s: 0,
    };
    // Nothing but a query can be under way.
    runs::begin(ctx, request, wakeup, StopReason::Cleanup);
    Some(())
}

/// A query begins only where no other run is under way, so no run has to be told why it ends.
fn is_free() -> Result<StopReason, Error> {
    match registry::progress() {
        Some(progress) => Err(progress.in_the_way()),
        None => Ok(StopReason::Cleanup),
    }
}

/// Whether a cleanup by hand may begin, and what a run under way is told that makes room for it.
fn make_room(ctx: *mut RedisModuleCtx, request: &Request) -> Result<StopReason, Error> {
    writers::look_at_clocks();
    writers::look_at_writes(ctx, true);
    if !request.task.is_dry_run() {
        let refusal = writers::refusal();
        let no_warm_up = request.task.is_without_warm_up();
        objection(refusal.as_deref(), schedule::absence(), no_warm_up)?;
    }
    // A manual run wins over a scheduled one and over a query, which make room at once.
    let progress = registry::progress();
    let is_query = progress.as_ref().is_some_and(|p| p.query.is_some());
    let is_scheduled = progress.as_ref().is_some_and(|p| p.scheduled);
    // And a run that ends because its caller is gone is not in the way of the next.
    let is_ending = linger::is_ending();
    let wins = (is_query || is_scheduled || is_ending) && !registry::has_successor();
    if let Some(progress) = progress.filter(|_| !wins) {
        return Err(progress.in_the_way());
    }
    Ok(if is_ending {
        StopReason::CallerGone
    } else if is_query {
        StopReason::Cleanup
    } else {
        StopReason::ManualRun
    })
}
