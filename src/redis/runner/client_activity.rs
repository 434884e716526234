//! Whether others are served while a run is on, seen from the turns of the event loop and the commands
//! in each.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use redis_module::raw;

use crate::redis::api::detached;
use crate::redis::api::system;
use crate::redis::api::{self, RedisModuleCtx, rm};

/// A client that is served in a turn with so many commands is one of many. It waits for the others rather than
/// for a slice, and the pace gives them their share.
const MANY_COMMANDS: u32 = 100;

/// After such a turn commands are not counted for this long. Measured with 50 busy clients, counting all of
/// theirs took 2 % of what they get done.
const UNCOUNTED_US: u64 = 10_000;

/// A client that was served is expected to ask again within this time.
const ACTIVE_US: u64 = 3_000;

/// How many runs listen: one that waits to begin is there beside the one that ends.
static LISTENERS: AtomicU32 = AtomicU32::new(0);

/// What counts commands, while a run listens.
static FILTER: AtomicPtr<raw::RedisModuleCommandFilter> = AtomicPtr::new(ptr::null_mut());

/// Commands of others in this turn.
static COMMANDS: AtomicU32 = AtomicU32::new(0);

/// When counting begins again; 0 while it is on.
static UNCOUNTED_UNTIL_US: AtomicU64 = AtomicU64::new(0);

/// When a turn ended that served a client.
static SERVED_US: AtomicU64 = AtomicU64::new(0);

/// Whether a client is served in this turn of the loop, and gets its reply at the end of it.
pub fn is_serving() -> bool {
    COMMANDS.load(Ordering::Relaxed) > 0 || UNCOUNTED_UNTIL_US.load(Ordering::Relaxed) > 0
}

/// Whether a client was served a moment ago, and may ask again in the next slice.
pub fn clients_are_active(now_us: u64) -> bool {
    now_us.saturating_sub(SERVED_US.load(Ordering::Relaxed)) < ACTIVE_US
}

/// Whether a client was served since then, as far as commands are counted.
pub fn have_served_since(us: u64) -> bool {
    SERVED_US.load(Ordering::Relaxed) >= us || UNCOUNTED_UNTIL_US.load(Ordering::Relaxed) > 0
}

/// While it exists, turns of the loop and commands are looked at.
#[derive(Debug)]
pub struct ClientActivity(());

impl ClientActivity {
    pub fn listen() -> Self {
        if LISTENERS.fetch_add(1, Ordering::Relaxed) == 0 {
            // The client that asked for the run, and any other in the same turn.
            COMMANDS.store(1, Ordering::Relaxed);
            SERVED_US.store(system::monotonic_us(), Ordering::Relaxed);
            UNCOUNTED_UNTIL_US.store(0, Ordering::Relaxed);
            subscribe(Some(on_turn));
            begin_counting();
        }
        Self(())
    }
}

impl Drop for ClientActivity {
    fn drop(&mut self) {
        if LISTENERS.fetch_sub(1, Ordering::Relaxed) == 1 {
            subscribe(None);
            end_counting();
        }
    }
}

/// Called while there is no filter.
fn begin_counting() {
    // SAFETY: 1, 2; the callback lives as long as the module. Should the server refuse, then no client is
    // ever seen to be served.
    let filter = unsafe {
        rm!(RedisModule_RegisterCommandFilter)(
            detached::context(),
            Some(on_command),
            raw::REDISMODULE_CMDFILTER_NOSELF as i32,
        )
    };
    FILTER.store(filter, Ordering::Relaxed);
}

fn end_counting() {
    let filter = FILTER.swap(ptr::null_mut(), Ordering::Relaxed);
    if !filter.is_null() {
        // SAFETY: 1, 2, 4; made by `begin_counting` and taken out of its place just above. The server
        // goes through its filters before a command runs, and no turn and no run ends meanwhile.
        unsafe { rm!(RedisModule_UnregisterCommandFilter)(detached::context(), filter) };
    }
}

fn subscribe(callback: raw::RedisModuleEventCallback) {
    let event = raw::RedisModuleEvent {
        id: raw::REDISMODULE_EVENT_EVENTLOOP,
        dataver: 1,
    };
    // SAFETY: 1, 2; the callback lives as long as the module. Should a server not know the event, then
    // no client is ever seen to be served.
    unsafe { rm!(RedisModule_SubscribeToServerEvent)(detached::context(), event, callback) };
}

/// A client's command, or one that a script calls; it is counted and left as it is.
unsafe extern "C" fn on_command(_filter: *mut raw::RedisModuleCommandFilterCtx) {
    let count = COMMANDS.load(Ordering::Relaxed);
    COMMANDS.store(count.saturating_add(1), Ordering::Relaxed);
}

unsafe extern "C" fn on_turn(
    _ctx: *mut RedisModuleCtx,
    _event: raw::RedisModuleEvent,
    subevent: u64,
    _data: *mut c_void,
) {
    // Replies are written before the loop looks for something to do, but not all servers have written
    // them when they say so; a turn is over when they have looked.
    if subevent != raw::REDISMODULE_SUBEVENT_EVENTLOOP_AFTER_SLEEP {
        return;
    }
    api::guard((), || {
        let now_us = system::monotonic_us();
        let uncounted_until_us = UNCOUNTED_UNTIL_US.load(Ordering::Relaxed);
        if now_us < uncounted_until_us {
            return;
        }
        if uncounted_until_us > 0 {
            UNCOUNTED_UNTIL_US.store(0, Ordering::Relaxed);
            begin_counting();
        }
        match COMMANDS.swap(0, Ordering::Relaxed) {
            0 => {}
            1..MANY_COMMANDS => SERVED_US.store(now_us, Ordering::Relaxed),
            _ => {
                SERVED_US.store(0, Ordering::Relaxed);
                end_counting();
                let until_us = now_us.saturating_add(UNCOUNTED_US);
                UNCOUNTED_UNTIL_US.store(until_us, Ordering::Relaxed);
            }
        }
    });
}
