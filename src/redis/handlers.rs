//! BLOCKING.*: check the context, parse the options, start the work or show it.

use redis_module::raw;

use crate::commands::help;
use crate::commands::linger::Request;
use crate::commands::options::{self, CleanupOptions};
use crate::commands::table::CLEANUP;
use crate::redis::api::acl;
use crate::redis::api::keyspace;
use crate::redis::api::reply;
use crate::redis::api::{self, RedisModuleCtx, RedisModuleString};
use crate::redis::runner::blocked_client::BlockedClient;
use crate::redis::runner::linger;
use crate::redis::runner::registry;
use crate::redis::runner::request::RunRequest;
use crate::redis::runner::runs;
use crate::redis::runner::stop::{self, StopReason};
use crate::redis::runner::wakeup::Wakeup;
use crate::redis::schedule;
use crate::redis::status;
use crate::redis::writers;
use crate::reply::error::Error;
use crate::reply::value::Value;
use crate::schedule::kept_away::objection;
use crate::settings;

/// The client cannot be made to wait.
pub const NO_WAITING: u32 = raw::REDISMODULE_CTX_FLAGS_MULTI
    | raw::REDISMODULE_CTX_FLAGS_LUA
    | raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING;

/// A handler as the server wants it.
pub type Handler =
    unsafe extern "C" fn(*mut RedisModuleCtx, *mut *mut RedisModuleString, i32) -> i32;

/// The arguments behind the command's name.
///
/// # Safety
/// `argv` and `argc` must be what the server passed to a command (3).
pub unsafe fn arguments<'a>(argv: *mut *mut RedisModuleString, argc: i32) -> Vec<&'a [u8]> {
    let count = usize::try_from(argc).unwrap_or_default();
    if argv.is_null() || count == 0 {
        return Vec::new();
    }
    // SAFETY: the caller vouches for both.
    let strings = unsafe { std::slice::from_raw_parts(argv, count) };
    let behind_name = strings.iter().skip(1);
    // SAFETY: 3.
    behind_name.map(|s| unsafe { api::bytes_of(*s) }).collect()
}

/// Reply with a value, perhaps as JSON, or with an error; not at all if the client is blocked and gets its reply later.
pub fn answer(ctx: *mut RedisModuleCtx, result: Result<Option<(Value, bool)>, Error>) -> i32 {
    match result {
        Ok(Some((value, true))) => reply::json(ctx, &value),
        Ok(Some((value, false))) => reply::value(ctx, &value),
        Ok(None) => {}
        Err(error) => reply::error(ctx, &error),
    }
    api::OK
}

/// BLOCKING.CLEANUP
pub unsafe extern "C" fn cleanup(
    ctx: *mut RedisModuleCtx,
    argv: *mut *mut RedisModuleString,
    argc: i32,
) -> i32 {
    api::guard(api::ERR, || {
        // SAFETY: 3.
        let arguments = unsafe { arguments(argv, argc) };
        answer(
            ctx,
            options::parse_cleanup(&arguments).and_then(|options| start(ctx, options)),
        )
    })
}

/// Everything is checked before the client is blocked: a refused block still gives a handle, and
/// work armed on it would run although the client was told of an error.
fn start(
    ctx: *mut RedisModuleCtx,
    options: CleanupOptions,
) -> Result<Option<(Value, bool)>, Error> {
    let flags = api::context_flags(ctx);
    if flags & raw::REDISMODULE_CTX_FLAGS_MASTER == 0 {
        return Err(Error::NotPrimary);
    }
    if flags & api::LOADING != 0 {
        let command = CLEANUP.name;
        return Err(Error::Loading { command });
    }
    if flags & NO_WAITING != 0 && !options.asynchronous {
        return Err(Error::InMulti);
    }
    let setting = settings::THRESHOLD_SECONDS.get();
    let threshold_s = options.threshold_s.map_or(setting, u64::from);
    let threshold_s = u32::try_from(threshold_s).unwrap_or(u32::MAX);
    let request = Request {
        database: keyspace::selected(ctx),
        user: acl::caller_name(ctx),
        threshold_s,
        orphan_grace_s: options.orphans.map(|grace| grace.seconds(threshold_s)),
        options,
        look: None,
    };
    if let Some(joined) = linger::join(ctx, &request) {
        return joined;
    }
    writers::look_at_clocks();
    writers::look_at_writes(ctx, true);
    if !request.options.dry_run {
        let no_warm_up = request.options.no_warm_up;
        let refusal = writers::refusal();
        objection(refusal.as_deref(), schedule::absence(), no_warm_up)?;
    }
    // A manual run wins over a scheduled one and over a look, which make room at once.
    let progress = registry::progress();
    let is_look = progress.as_ref().is_some_and(|p| p.look.is_some());
    let is_scheduled = progress.as_ref().is_some_and(|p| p.scheduled);
    // And a run that ends because its caller is gone is not in the way of the next.
    let is_ending = linger::is_ending();
    let wins = (is_look || is_scheduled || is_ending) && !registry::has_successor();
    if let Some(progress) = progress.filter(|_| !wins) {
        return Err(progress.in_the_way());
    }
    let (asynchronous, json) = (request.options.asynchronous, request.options.json);
    // Whatever can fail comes before the client is blocked.
    let wakeup = Wakeup::new().ok_or(Error::CannotStart {
        why: "the server's event loop has no room",
    })?;
    let caller = if asynchronous {
        None
    } else {
        let why = "the client cannot be blocked";
        Some(BlockedClient::block(ctx, json).ok_or(Error::CannotStart { why })?)
    };
    let order = RunRequest::new(
        registry::next_number(),
        request,
        caller,
        schedule::warm_up_left_s(),
    );
    let number = order.number;
    let why = if is_ending {
        StopReason::CallerGone
    } else if is_look {
        StopReason::Cleanup
    } else {
        StopReason::ManualRun
    };
    runs::begin(ctx, order, wakeup, why);
    let run = Value::from(number);
    Ok(asynchronous.then(|| match json {
        true => (Value::Map(vec![("run", run)]), true),
        false => (run, false),
    }))
}

/// BLOCKING.STATUS
pub unsafe extern "C" fn status(
    ctx: *mut RedisModuleCtx,
    argv: *mut *mut RedisModuleString,
    argc: i32,
) -> i32 {
    api::guard(api::ERR, || {
        // SAFETY: 3.
        let arguments = unsafe { arguments(argv, argc) };
        let options = options::parse_status(&arguments);
        answer(ctx, options.map(|o| Some((status::value(o.json), o.json))))
    })
}

/// BLOCKING.CANCEL; the server checks that there are no arguments.
pub unsafe extern "C" fn cancel(
    ctx: *mut RedisModuleCtx,
    _argv: *mut *mut RedisModuleString,
    _argc: i32,
) -> i32 {
    api::guard(api::ERR, || {
        if registry::progress().is_none() {
            return answer(ctx, Err(Error::NotBusy));
        }
        stop::wish(StopReason::Cancelled);
        registry::wish_for_successor(StopReason::Cancelled);
        registry::wake();
        answer(ctx, Ok(Some((Value::Status("OK"), false))))
    })
}

/// BLOCKING.HELP
pub unsafe extern "C" fn help(
    ctx: *mut RedisModuleCtx,
    argv: *mut *mut RedisModuleString,
    argc: i32,
) -> i32 {
    api::guard(api::ERR, || {
        // SAFETY: 3.
        let arguments = unsafe { arguments(argv, argc) };
        match help::help(&arguments) {
            Ok(lines) => reply::lines(ctx, &lines),
            Err(error) => reply::error(ctx, &error),
        }
        api::OK
    })
}
