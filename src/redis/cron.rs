//! The server's cron: checks on writers and callers, and starts a run of the schedule when one is due.
//!
//! No timer and no descriptor: an armed one would keep the module from being unloaded, or outlive
//! it. The server calls back some ten times a second as long as the module is there; nearly all of
//! these calls compare two numbers. A run that is due is only begun here. It walks in slices of its
//! own, like any other.

use std::ffi::c_void;

use redis_module::raw;

use crate::commands::options::{CleanupOptions, Grace, IDS_DEFAULT};
use crate::commands::request::Task;
use crate::redis::api::keyspace;
use crate::redis::api::system;
use crate::redis::api::{self, Level, RedisModuleCtx, rm};
use crate::redis::runner::linger;
use crate::redis::runner::registry;
use crate::redis::schedule;
use crate::redis::start;
use crate::redis::writers;
use crate::settings;

/// Have the server's cron call back; at load only.
pub fn load(ctx: *mut RedisModuleCtx) -> bool {
    let event = raw::RedisModuleEvent {
        id: raw::REDISMODULE_EVENT_CRON_LOOP,
        dataver: 1,
    };
    // SAFETY: 1, 2, 3; the callback lives as long as the module.
    let status = unsafe { rm!(RedisModule_SubscribeToServerEvent)(ctx, event, Some(on_cron)) };
    status == api::OK
}

unsafe extern "C" fn on_cron(
    ctx: *mut RedisModuleCtx,
    _event: raw::RedisModuleEvent,
    _subevent: u64,
    _data: *mut c_void,
) {
    api::guard((), || {
        writers::look_at_clocks();
        writers::look_at_writes(ctx, false);
        linger::tend(system::monotonic_us());
        if let Some(database) = schedule::due(registry::busy())
            && !start(ctx, database)
        {
            schedule::give_way();
        }
    });
}

/// Begin a run; false if the server has no room for it, or is in no state to begin one.
fn start(ctx: *mut RedisModuleCtx, database: u32) -> bool {
    let flags = api::context_flags(ctx);
    let is_primary = flags & raw::REDISMODULE_CTX_FLAGS_MASTER != 0;
    let number = i32::try_from(database).unwrap_or(i32::MAX);
    if !is_primary || flags & api::LOADING != 0 || !keyspace::select(ctx, number) {
        return false;
    }
    writers::look_at_writes(ctx, true);
    if writers::refusal().is_some() {
        return false;
    }
    let grace_s = u32::try_from(settings::ORPHAN_GRACE_SECONDS.get()).ok();
    let grace_s = grace_s.filter(|seconds| *seconds > 0);
    let task = Task::Cleanup(CleanupOptions {
        dry_run: settings::DRY_RUN.get(),
        orphans: grace_s.map(Grace::Seconds),
        breaker: u32::try_from(settings::MAX_STALE_PERCENT.get()).ok(),
        ids: IDS_DEFAULT,
        asynchronous: true,
        ..CleanupOptions::default()
    });
    if start::by_schedule(ctx, task, schedule::fingerprints_before(database)).is_none() {
        api::log(
            ctx,
            Level::Warning,
            "scheduled cleanup not started: the server's event loop has no room",
        );
        return false;
    }
    true
}
