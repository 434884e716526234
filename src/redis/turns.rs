//! Whether others are served between slices, and whether the main thread has slept meanwhile, seen from
//! the turns of the event loop.
//!
//! A client on the same machine is often on the processor that the server runs on. Woken by its reply,
//! or taken off the processor just before it asks, it waits until the server sleeps, or for a
//! millisecond or more until the system takes the processor away. A server without a run sleeps as
//! soon as it has nothing to do; a run that goes on from slice to slice must let it.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use redis_module::raw;

use super::api::{self, RedisModuleCtx, rm};
use super::{system, wakeup};

/// A turn in which nobody is served takes the main thread less than this. Measured: 1 to 2 us, and 8 to
/// 60 us with a single PING.
const EMPTY_US: u64 = 5;

/// Whoever is served in a turn longer than this is one of many. The main thread would find no sleep then,
/// but only lose a turn, and the pace sees to it that the others get their share.
const FULL_US: u64 = 200;

/// So much longer takes a turn with a slice: what the server does around it. Measured: 2 to 6 us.
const AROUND_SLICE_US: u64 = 10;

/// So much longer takes a turn in which the main thread is sent to sleep: setting the timer, and being
/// taken off the processor. Measured: 18 to 25 us.
const AROUND_SLEEP_US: u64 = 40;

/// A sleep that others can use.
const SLEEP_US: u64 = 5;

/// Whoever was served is expected to ask again within this time. The server's own regular work, ten
/// times a second, also looks like a client.
const ACTIVE_US: u64 = 3_000;

/// How many runs listen: one that waits to begin is there beside the one that ends.
static LISTENERS: AtomicU32 = AtomicU32::new(0);

/// The beginning of the turn, by the clock and by the main thread's own.
static BEGAN_US: AtomicU64 = AtomicU64::new(0);
static BEGAN_CPU_US: AtomicU64 = AtomicU64::new(0);

/// What we did in this turn ourselves.
static OWN_US: AtomicU64 = AtomicU64::new(0);

/// When somebody was served last.
static SERVED_US: AtomicU64 = AtomicU64::new(0);

/// Whether the main thread has slept since the last slice.
static SLEPT: AtomicBool = AtomicBool::new(false);

/// Whether there are clients about who have had no chance of a processor since the last slice.
pub fn must_sleep(now_us: u64) -> bool {
    let served_us = SERVED_US.load(Ordering::Relaxed);
    !SLEPT.load(Ordering::Relaxed) && now_us.saturating_sub(served_us) < ACTIVE_US
}

/// A slice is over that took the main thread this long, with what it leaves to do in the same turn.
pub fn after_slice(cpu_us: u64) {
    let own_us = cpu_us.saturating_add(AROUND_SLICE_US);
    OWN_US.fetch_add(own_us, Ordering::Relaxed);
    SLEPT.store(false, Ordering::Relaxed);
}

/// In this turn the main thread is sent to sleep.
pub fn before_sleep() {
    OWN_US.fetch_add(AROUND_SLEEP_US, Ordering::Relaxed);
}

/// While it exists, turns of the loop are looked at.
#[derive(Debug)]
pub struct Turns(());

impl Turns {
    pub fn listen() -> Self {
        if LISTENERS.fetch_add(1, Ordering::Relaxed) == 0 {
            begin_turn();
            // Whoever asked for the run, and whoever else in the same turn.
            SLEPT.store(false, Ordering::Relaxed);
            SERVED_US.store(BEGAN_US.load(Ordering::Relaxed), Ordering::Relaxed);
            subscribe(Some(on_turn));
        }
        Self(())
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        if LISTENERS.fetch_sub(1, Ordering::Relaxed) == 1 {
            subscribe(None);
        }
    }
}

fn subscribe(callback: raw::RedisModuleEventCallback) {
    let event = raw::RedisModuleEvent {
        id: raw::REDISMODULE_EVENT_EVENTLOOP,
        dataver: 1,
    };
    // SAFETY: 1, 2; the callback lives as long as the module. Should a server not know the event, then
    // nobody is ever seen to be served.
    unsafe { rm!(RedisModule_SubscribeToServerEvent)(wakeup::detached(), event, callback) };
}

/// A new turn; gives the time since the last one began, by the clock and by the main thread's own, and
/// what was ours of it.
fn begin_turn() -> (u64, u64, u64) {
    let now_us = system::monotonic_us();
    let cpu_us = system::thread_cpu_us();
    let began_us = BEGAN_US.swap(now_us, Ordering::Relaxed);
    let began_cpu_us = BEGAN_CPU_US.swap(cpu_us, Ordering::Relaxed);
    (
        now_us.saturating_sub(began_us),
        cpu_us.saturating_sub(began_cpu_us),
        OWN_US.swap(0, Ordering::Relaxed),
    )
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
        let (wall_us, cpu_us, own_us) = begin_turn();
        let others_us = cpu_us.saturating_sub(own_us);
        if others_us > FULL_US {
            SERVED_US.store(0, Ordering::Relaxed);
        } else if others_us > EMPTY_US {
            SERVED_US.store(BEGAN_US.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        // Taken off the processor is as good as asleep: somebody else was on it.
        SLEPT.fetch_or(wall_us.saturating_sub(cpu_us) > SLEEP_US, Ordering::Relaxed);
    });
}
