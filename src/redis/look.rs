//! LIST, EXPLAIN and DOCTOR: looks, which take the place of a run and change nothing.
//!
//! One place, so that two walks never share the main thread. A cleanup, by hand or by the schedule,
//! does not wait for a look: the look makes room, and its caller is told.

use crate::commands::linger::Request;
use crate::commands::look::{self, Look};
use crate::redis::api::acl;
use crate::redis::api::keyspace;
use crate::redis::api::{self, RedisModuleCtx, RedisModuleString};
use crate::redis::handlers;
use crate::redis::runner::blocked_client::BlockedClient;
use crate::redis::runner::linger;
use crate::redis::runner::registry;
use crate::redis::runner::request::RunRequest;
use crate::redis::runner::runs;
use crate::redis::runner::wakeup::Wakeup;
use crate::redis::schedule;
use crate::reply::error::Error;
use crate::reply::value::Value;
use crate::settings;

/// BLOCKING.LIST
pub unsafe extern "C" fn list(
    ctx: *mut RedisModuleCtx,
    argv: *mut *mut RedisModuleString,
    argc: i32,
) -> i32 {
    // SAFETY: 3.
    unsafe {
        ask(ctx, argv, argc, |words| {
            look::parse_list(words).map(Look::List)
        })
    }
}

/// BLOCKING.EXPLAIN
pub unsafe extern "C" fn explain(
    ctx: *mut RedisModuleCtx,
    argv: *mut *mut RedisModuleString,
    argc: i32,
) -> i32 {
    // SAFETY: 3.
    unsafe {
        ask(ctx, argv, argc, |words| {
            look::parse_explain(words).map(Look::Explain)
        })
    }
}

/// BLOCKING.DOCTOR
pub unsafe extern "C" fn doctor(
    ctx: *mut RedisModuleCtx,
    argv: *mut *mut RedisModuleString,
    argc: i32,
) -> i32 {
    // SAFETY: 3.
    unsafe {
        ask(ctx, argv, argc, |words| {
            look::parse_doctor(words).map(Look::Doctor)
        })
    }
}

/// What the three have in common.
unsafe fn ask(
    ctx: *mut RedisModuleCtx,
    argv: *mut *mut RedisModuleString,
    argc: i32,
    parse: impl FnOnce(&[&[u8]]) -> Result<Look, Error>,
) -> i32 {
    api::guard(api::ERR, || {
        // SAFETY: 3.
        let arguments = unsafe { handlers::arguments(argv, argc) };
        let started = parse(&arguments).and_then(|look| start(ctx, look));
        handlers::answer(ctx, started)
    })
}

/// Everything is checked before the client is blocked, as for a cleanup.
fn start(ctx: *mut RedisModuleCtx, look: Look) -> Result<Option<(Value, bool)>, Error> {
    let command = look.command();
    let flags = api::context_flags(ctx);
    if flags & api::LOADING != 0 {
        return Err(Error::Loading { command });
    }
    if flags & handlers::NO_WAITING != 0 {
        return Err(Error::LookInMulti { command });
    }
    let options = look.as_cleanup();
    let setting = settings::THRESHOLD_SECONDS.get();
    let threshold_s = options.threshold_s.map_or(setting, u64::from);
    let request = Request {
        database: keyspace::selected(ctx),
        user: acl::caller_name(ctx),
        threshold_s: u32::try_from(threshold_s).unwrap_or(u32::MAX),
        orphan_grace_s: None,
        options,
        look: Some(look),
    };
    if let Some(joined) = linger::join(ctx, &request) {
        return joined;
    }
    if let Some(progress) = registry::progress() {
        return Err(progress.in_the_way());
    }
    let wakeup = Wakeup::new().ok_or(Error::CannotStart {
        why: "the server's event loop has no room",
    })?;
    let why = "the client cannot be blocked";
    let caller =
        BlockedClient::block(ctx, request.options.json).ok_or(Error::CannotStart { why })?;
    let order = RunRequest::new(
        registry::next_number(),
        request,
        Some(caller),
        schedule::warm_up_left_s(),
    );
    runs::begin_now(ctx, order, wakeup);
    Ok(None)
}
