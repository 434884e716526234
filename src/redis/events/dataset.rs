//! Changes of the data set and the role: server events that end the run under way, and make the schedule wait.
//!
//! The cursor of a walk goes on as a bare number over whatever data there is then, and would miss
//! keys without a word; heartbeats already read would be those of another data set, and so would
//! be what earlier runs saw of orphans.

use std::ffi::c_void;

use redis_module::raw;

use crate::redis::api::{self, RedisModuleCtx, rm};
use crate::redis::first_seen;
use crate::redis::history;
use crate::redis::runner::linger;
use crate::redis::runner::registry;
use crate::redis::runner::stop::{self, StopReason};
use crate::redis::schedule;

/// The server reports events of its first version of each structure to every module.
const EVENTS: [(u64, Handler); 5] = [
    (raw::REDISMODULE_EVENT_FLUSHDB, on_flush),
    (raw::REDISMODULE_EVENT_SWAPDB, on_swap),
    (raw::REDISMODULE_EVENT_LOADING, on_loading),
    (raw::REDISMODULE_EVENT_REPL_ASYNC_LOAD, on_loading),
    (raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED, on_role),
];

type Handler = unsafe extern "C" fn(*mut RedisModuleCtx, raw::RedisModuleEvent, u64, *mut c_void);

/// Subscribe; last thing at load.
pub fn load(ctx: *mut RedisModuleCtx) -> bool {
    EVENTS.iter().all(|(id, handler)| {
        let event = raw::RedisModuleEvent {
            id: *id,
            dataver: 1,
        };
        // SAFETY: 1, 2, 3; the callbacks live as long as the module.
        let status = unsafe { rm!(RedisModule_SubscribeToServerEvent)(ctx, event, Some(*handler)) };
        status == api::OK
    })
}

/// End the run at once rather than after its pause.
fn end(why: StopReason) {
    stop::wish(why);
    registry::wake();
}

unsafe extern "C" fn on_flush(
    _ctx: *mut RedisModuleCtx,
    _event: raw::RedisModuleEvent,
    _subevent: u64,
    data: *mut c_void,
) {
    api::guard((), || {
        // SAFETY: 3; the server passes this structure with this event.
        let info = unsafe { data.cast::<raw::RedisModuleFlushInfo>().as_ref() };
        let running = stop::running_db();
        // -1 stands for all databases.
        if info.is_none_or(|info| info.dbnum == -1 || Some(info.dbnum) == running) {
            end(StopReason::Flushed);
        }
        let database = info.map_or(-1, |info| info.dbnum);
        schedule::on_flush(database);
        history::forget(database);
        first_seen::forget(database);
        linger::forget(database);
    });
}

unsafe extern "C" fn on_swap(
    _ctx: *mut RedisModuleCtx,
    _event: raw::RedisModuleEvent,
    _subevent: u64,
    data: *mut c_void,
) {
    api::guard((), || {
        // SAFETY: 3; the server passes this structure with this event.
        let info = unsafe { data.cast::<raw::RedisModuleSwapDbInfo>().as_ref() };
        let running = stop::running_db();
        if info.is_none_or(|i| [Some(i.dbnum_first), Some(i.dbnum_second)].contains(&running)) {
            end(StopReason::Swapped);
        }
        let both = info.map_or([-1, -1], |i| [i.dbnum_first, i.dbnum_second]);
        for database in both {
            schedule::on_flush(database);
            history::forget(database);
            first_seen::forget(database);
            linger::forget(database);
        }
    });
}

unsafe extern "C" fn on_loading(
    _ctx: *mut RedisModuleCtx,
    _event: raw::RedisModuleEvent,
    _subevent: u64,
    _data: *mut c_void,
) {
    api::guard((), || {
        first_seen::forget(-1);
        end(StopReason::Loading);
        schedule::on_loading();
        linger::forget(-1);
        history::forget(-1);
    });
}

unsafe extern "C" fn on_role(
    _ctx: *mut RedisModuleCtx,
    _event: raw::RedisModuleEvent,
    subevent: u64,
    _data: *mut c_void,
) {
    api::guard((), || {
        first_seen::forget(-1);
        end(StopReason::RoleChanged);
        linger::forget(-1);
        history::forget(-1);
        schedule::on_role(subevent != raw::REDISMODULE_EVENT_REPLROLECHANGED_NOW_MASTER);
    });
}
