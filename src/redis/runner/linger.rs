//! Callers who go, and callers who come for the same: a run lingers for a while when its caller's connection
//! goes away, and the same command of the same user joins it.
//!
//! A client that gave up waiting, or that a network lost, hangs up as one does whose user pressed Ctrl-C; a client
//! that an operator took away has gone in the same way. But the server tells of the latter in the middle of the
//! operator's command, which is not yet in its statistics then, and is there a moment later. No run lingers for
//! that client.

use redis_module::raw;

use crate::commands::linger::{Departure, Kept, calls, joined};
use crate::commands::request::Request;
use crate::redis::api::RedisModuleCtx;
use crate::redis::api::server_info::Info;
use crate::redis::api::system;
use crate::redis::runner::blocked_client::BlockedClient;
use crate::redis::runner::registry::{self, Ended};
use crate::redis::runner::stop::{self, StopReason};
use crate::reply::error::Error;
use crate::reply::value::Value;
use crate::settings::LINGER_SECONDS;

/// How many commands that take a client away, or end its wait, are over since the server started. Asked
/// twice for each caller who goes; 0.3 ms where every command of the server has been in use.
fn takings() -> u64 {
    let Some(info) = Info::new(c"commandstats") else {
        return 0;
    };
    [c"cmdstat_client|kill", c"cmdstat_client|unblock"]
        .map(|name| info.field(name).map(calls).unwrap_or_default())
        .into_iter()
        .fold(0, u64::saturating_add)
}

/// This client's connection went away. False if nothing lingers for it.
fn leave(handle: *mut raw::RedisModuleBlockedClient) -> bool {
    if LINGER_SECONDS.get() == 0 || !registry::is_waiting(handle) {
        return false;
    }
    let departure = Departure::new(system::monotonic_us(), takings());
    let caller = registry::leave(handle, departure);
    let has_left = caller.is_some();
    // Lets the handle go, now that nothing is locked.
    drop(caller);
    // The next slice, which comes soon, settles whether a command took the client away.
    registry::wake();
    has_left
}

/// End what lingers for one that a command took away; before each slice, and before a client may join.
pub fn settle() {
    if registry::has_unsettled() {
        end(registry::settle(takings()));
    }
}

/// End what no client has joined in time. Called by the server's cron.
pub fn tend(now_us: u64) {
    let linger_s = LINGER_SECONDS.get();
    registry::forget_kept(now_us, linger_s);
    end(registry::run_out(now_us, linger_s));
}

fn end(ended: Ended) {
    if ended.run {
        stop::wish(StopReason::CallerGone);
        registry::wake();
    }
    if ended.successor {
        registry::wish_for_successor(StopReason::CallerGone);
    }
}

/// Whether the run under way ends, and no client may join it or get its answer later: its caller is gone, the
/// caller's user is gone, or the server's role has changed. A client that asks after that is another user, or
/// asks about other data.
pub fn is_ending() -> bool {
    let ends = [
        StopReason::CallerGone,
        StopReason::UserGone,
        StopReason::RoleChanged,
    ];
    let wished = stop::wished();
    registry::progress().is_some() && wished.is_some_and(|end| ends.contains(&end))
}

/// The data of this database, or of all with -1, is another one now: no client gets an answer about what was there
/// before.
pub fn forget(database: i32) {
    registry::forget_kept_of(database);
}

/// Let the client of this command join what lingers for its request; `None` if nothing does. It gets what is
/// kept for it at once, and else waits.
pub fn join(
    ctx: *mut RedisModuleCtx,
    request: &Request,
) -> Option<Result<Option<(Value, bool)>, Error>> {
    if request.task.is_asynchronous() {
        return None;
    }
    let (now_us, linger_s) = (system::monotonic_us(), LINGER_SECONDS.get());
    if let Some(answer) = registry::take_kept(request, now_us, linger_s) {
        return Some(answer.map(|value| Some((joined(value), request.task.json()))));
    }
    settle();
    // Asked before, for it locks the state as well.
    let is_ending = is_ending();
    if !registry::lingers_for(request, is_ending) {
        return None;
    }
    let caller = match BlockedClient::block(ctx) {
        Ok(caller) => caller,
        Err(error) => return Some(Err(error)),
    };
    let joined = registry::join(request, is_ending, caller);
    joined.ok().map(|()| Ok(None))
}

/// A run that lingers has ended: keep its answer for as long as it would have lingered.
pub fn keep(request: Request, departure: Departure, answer: Result<Value, Error>) {
    let now_us = system::monotonic_us();
    if departure.left_us(now_us, LINGER_SECONDS.get()).is_some() {
        registry::keep(Kept {
            request,
            departure,
            answer,
        });
    }
}

/// The connection of this client closed, or the server took it away: its run lingers, if it may.
pub fn disconnected(handle: *mut raw::RedisModuleBlockedClient) {
    if !leave(handle) {
        gone(handle);
    }
}

/// End the run that this client waits for, if it still does; gives the run's number. The callback
/// can come after the run has ended, so the handle is compared and never followed.
pub fn gone(handle: *mut raw::RedisModuleBlockedClient) -> Option<u64> {
    if let Some(run) = registry::successor_of_caller(handle) {
        registry::wish_for_successor(StopReason::CallerGone);
        return Some(run);
    }
    let run = registry::run_of_caller(handle)?;
    stop::wish(StopReason::CallerGone);
    registry::wake();
    Some(run)
}
