//! When the next slice runs: a timerfd in the server's event loop, then a timer of 0 ms.
//!
//! The descriptor wakes the loop, at once or after a pause. Its callback only arms a module timer
//! (invariant 6), which fires in the same turn of the loop, after all clients that were ready, and
//! brings a context that may touch the keyspace. Module timers alone could not do it: they fire at
//! most once a millisecond. Where timerfd does not exist, they must.
//!
//! The server writes its replies at the end of a turn, after our slice. So the slice does not come
//! in the turn that serves the clients who asked during the slice before, but in the next one:
//! they wait for the rest of one slice and not for another one.

use std::ffi::c_void;
#[cfg(has_timerfd)]
use std::sync::Arc;
#[cfg(has_timerfd)]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

#[cfg(has_timerfd)]
use redis_module::raw;

use super::api::{self, RedisModuleCtx, rm};
use super::run;
#[cfg(has_timerfd)]
use super::system::TimerFd;

/// A context without client, to create timers with; made at load, freed at unload.
static DETACHED: AtomicPtr<RedisModuleCtx> = AtomicPtr::new(std::ptr::null_mut());

/// The module timer that is armed and has not fired.
static ARMED_TIMER: AtomicU64 = AtomicU64::new(NO_TIMER);

/// Servers make timer ids from the time they fire at, so none is 0.
const NO_TIMER: u64 = 0;

/// The loop has turned once since the last slice, and those who waited have their replies.
#[cfg(has_timerfd)]
static OTHERS_SERVED: AtomicBool = AtomicBool::new(false);

/// If an armed timer has not fired after this long, it is armed anew: module timers follow the
/// wall clock, and a clock set back would otherwise hold a run up for as long as the step.
#[cfg(has_timerfd)]
const WATCHDOG_US: u64 = 200_000;

/// Keep the context that timers are created with.
pub fn load(ctx: *mut RedisModuleCtx) {
    // SAFETY: 1, 2, 3.
    let detached = unsafe { rm!(RedisModule_GetDetachedThreadSafeContext)(ctx) };
    DETACHED.store(detached, Ordering::Relaxed);
    ARMED_TIMER.store(NO_TIMER, Ordering::Relaxed);
}

/// Give that context back.
pub fn unload() {
    let detached = DETACHED.swap(std::ptr::null_mut(), Ordering::Relaxed);
    if !detached.is_null() {
        // SAFETY: 1, 2; made by `load` and taken out of its place just above.
        unsafe { rm!(RedisModule_FreeThreadSafeContext)(detached) };
    }
}

/// The context without client, for log lines outside of any callback.
pub fn detached() -> *mut RedisModuleCtx {
    DETACHED.load(Ordering::Relaxed)
}

/// Wakes the run it was made for, as long as it exists.
#[derive(Debug)]
pub struct Wakeup {
    #[cfg(has_timerfd)]
    fd: Arc<TimerFd>,
}

impl Wakeup {
    /// Hook into the event loop; `None` if the server or the system refuses.
    #[cfg(has_timerfd)]
    pub fn new() -> Option<Self> {
        let fd = TimerFd::new()?;
        // SAFETY: 1, 2; the callback lives as long as the module, and the descriptor is taken out
        // of the loop before it is closed, by `drop`.
        let status = unsafe {
            rm!(RedisModule_EventLoopAdd)(
                fd.number(),
                raw::REDISMODULE_EVENTLOOP_READABLE as i32,
                Some(on_readable),
                std::ptr::null_mut(),
            )
        };
        (status == api::OK).then(|| Self { fd: Arc::new(fd) })
    }

    /// Module timers need no preparation.
    #[cfg(not(has_timerfd))]
    pub fn new() -> Option<Self> {
        Some(Self {})
    }

    /// Run the next slice after `us` microseconds, at once for 0.
    pub fn arm(&self, us: u64) {
        #[cfg(has_timerfd)]
        self.fd.set_us(us);
        #[cfg(not(has_timerfd))]
        arm_timer(us.div_ceil(1000));
    }

    /// Something that another thread can wake the run with.
    pub fn waker(&self) -> Waker {
        Waker {
            #[cfg(has_timerfd)]
            fd: Arc::clone(&self.fd),
        }
    }

    /// Called while a worker is busy: nothing, if it can wake us itself.
    pub fn wait_for_worker(&self) {
        #[cfg(not(has_timerfd))]
        arm_timer(1);
    }
}

impl Drop for Wakeup {
    fn drop(&mut self) {
        #[cfg(has_timerfd)]
        // SAFETY: 1, 2; the descriptor is still open.
        unsafe {
            rm!(RedisModule_EventLoopDel)(
                self.fd.number(),
                raw::REDISMODULE_EVENTLOOP_READABLE as i32,
            );
        }
        stop_timer();
    }
}

/// The part of a [`Wakeup`] that may go to another thread.
#[derive(Debug)]
pub struct Waker {
    #[cfg(has_timerfd)]
    fd: Arc<TimerFd>,
}

impl Waker {
    /// Run the next slice at once. Where timerfd does not exist the run looks by itself.
    pub fn wake(&self) {
        #[cfg(has_timerfd)]
        self.fd.set_us(0);
    }
}

/// The descriptor fired: arm the timer and nothing else (invariant 6).
#[cfg(has_timerfd)]
unsafe extern "C" fn on_readable(_fd: i32, _data: *mut c_void, _mask: i32) {
    api::guard((), || {
        // Left as it is, the descriptor fires in the next turn again.
        if !OTHERS_SERVED.fetch_not(Ordering::Relaxed) {
            return;
        }
        // Setting it anew also makes it unreadable.
        super::state::with_wakeup(|wakeup| wakeup.fd.set_us(WATCHDOG_US));
        arm_timer(0);
    });
}

fn arm_timer(ms: u64) {
    stop_timer();
    // SAFETY: 1, 2; the callback lives as long as the module, and an armed timer keeps the server
    // from unloading it.
    let id = unsafe {
        rm!(RedisModule_CreateTimer)(detached(), ms as i64, Some(on_timer), std::ptr::null_mut())
    };
    ARMED_TIMER.store(id, Ordering::Relaxed);
}

/// Disarm the timer, if one is armed. Never called with the id of a timer that is firing, for the
/// server would free that twice: `on_timer` forgets the id first.
fn stop_timer() {
    let id = ARMED_TIMER.swap(NO_TIMER, Ordering::Relaxed);
    if id != NO_TIMER {
        // SAFETY: 1, 2; a timer that is gone is an error code, not undefined.
        unsafe { rm!(RedisModule_StopTimer)(detached(), id, std::ptr::null_mut()) };
    }
}

unsafe extern "C" fn on_timer(ctx: *mut RedisModuleCtx, _data: *mut c_void) {
    ARMED_TIMER.store(NO_TIMER, Ordering::Relaxed);
    api::guard((), || run::slice(ctx));
}
