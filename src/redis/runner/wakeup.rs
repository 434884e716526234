//! When the next slice runs: a descriptor in the server's event loop, then a timer of 0 ms.
//!
//! The descriptor wakes the loop: an eventfd at once, a timerfd after a pause. Its callback only arms a
//! module timer (invariant 6), which fires in the same turn of the loop, after all clients that were
//! ready, and brings a context that may touch the keyspace. Module timers alone could not do it: they
//! fire at most once a millisecond. Where timerfd does not exist, they must.
//!
//! The server writes its replies at the end of a turn, after our slice. So the slice does not come
//! in a turn that serves clients who asked during the slice before, but in the next one: they wait
//! for the rest of one slice and not for another one.
//!
//! A client on the server's own core cannot run until the server sleeps or is preempted, which can take
//! over a millisecond. An idle server sleeps at once; a run that goes on from slice to slice would not, so
//! it yields before each slice, as long as that helps another thread.
//!
//! A descriptor stays readable until its slice begins, so nothing is lost whatever the loop does.

use std::cell::Cell;
use std::ffi::c_void;
#[cfg(has_timerfd)]
use std::sync::Arc;
use std::sync::OnceLock;
#[cfg(has_timerfd)]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(has_timerfd)]
use redis_module::raw;

use crate::redis::api::detached;
use crate::redis::api::system;
#[cfg(has_timerfd)]
use crate::redis::api::system::{EventFd, TimerFd};
use crate::redis::api::{self, RedisModuleCtx, rm};
#[cfg(has_timerfd)]
use crate::redis::runner::client_activity::{self, ClientActivity};
use crate::util::yielding::Yielding;

/// The module timer that is armed and has not fired.
static ARMED_TIMER: AtomicU64 = AtomicU64::new(NO_TIMER);

/// Servers make timer ids from the time they fire at, so none is 0.
const NO_TIMER: u64 = 0;

/// The slice was put off once, to the turn after one that served a client.
#[cfg(has_timerfd)]
static IS_PUT_OFF: AtomicBool = AtomicBool::new(false);

/// When the module timer was armed, by the clock that never steps.
#[cfg(has_timerfd)]
static ARMED_US: AtomicU64 = AtomicU64::new(0);

/// If an armed timer has not fired after this long, it is armed anew: module timers follow the
/// wall clock, and a clock set back would otherwise hold a run up for as long as the step.
#[cfg(has_timerfd)]
const WATCHDOG_US: u64 = 200_000;

/// What a turn of the run does.
static ON_TURN: OnceLock<fn(*mut RedisModuleCtx)> = OnceLock::new();

/// Say what a turn of the run does; at load only.
pub fn load(on_turn: fn(*mut RedisModuleCtx)) {
    ARMED_TIMER.store(NO_TIMER, Ordering::Relaxed);
    ON_TURN.get_or_init(|| on_turn);
}

/// Wakes the run it was made for, as long as it exists.
#[derive(Debug)]
pub struct Wakeup {
    #[cfg(has_timerfd)]
    at_once: Arc<EventFd>,
    #[cfg(has_timerfd)]
    later: TimerFd,
    /// The timerfd is set, or has fired and was not stopped.
    #[cfg(has_timerfd)]
    is_later_set: Cell<bool>,
    #[cfg(has_timerfd)]
    _turns: ClientActivity,
    yielding: Cell<Yielding>,
}

impl Wakeup {
    /// Hook into the event loop; `None` if the server or the system refuses.
    #[cfg(has_timerfd)]
    pub fn new() -> Option<Self> {
        let wakeup = Self {
            at_once: Arc::new(EventFd::new()?),
            later: TimerFd::new()?,
            is_later_set: Cell::new(false),
            _turns: ClientActivity::listen(),
            yielding: Cell::new(Yielding::of_main_thread()),
        };
        // SAFETY: 1, 2; the callback lives as long as the module, and the descriptors are taken out
        // of the loop before they are closed, by `drop`.
        let is_added = |fd| unsafe {
            rm!(RedisModule_EventLoopAdd)(
                fd,
                raw::REDISMODULE_EVENTLOOP_READABLE as i32,
                Some(on_readable),
                std::ptr::null_mut(),
            ) == api::OK
        };
        wakeup
            .descriptors()
            .into_iter()
            .all(is_added)
            .then_some(wakeup)
    }

    #[cfg(has_timerfd)]
    fn descriptors(&self) -> [i32; 2] {
        [self.at_once.number(), self.later.number()]
    }

    /// Module timers need no preparation.
    #[cfg(not(has_timerfd))]
    pub fn new() -> Option<Self> {
        Some(Self {
            yielding: Cell::new(Yielding::of_main_thread()),
        })
    }

    /// Run the next slice after `us` microseconds, at once for 0.
    pub fn arm(&self, us: u64) {
        #[cfg(has_timerfd)]
        if us == 0 {
            self.at_once.ring();
        } else {
            self.is_later_set.set(true);
            self.later.set_us(us);
        }
        #[cfg(not(has_timerfd))]
        arm_timer(us.div_ceil(1000));
    }

    /// A slice begins.
    pub fn begin_slice(&self) {
        self.yield_processor();
        self.disarm();
    }

    /// The slice begins, whatever else was armed.
    fn disarm(&self) {
        #[cfg(has_timerfd)]
        {
            self.at_once.silence();
            if self.is_later_set.replace(false) {
                self.later.stop();
            }
        }
    }

    /// Let another thread run that waits for this processor, unless that has turned out to help no client.
    fn yield_processor(&self) {
        let mut yielding = self.yielding.get();
        let began_us = system::monotonic_us();
        #[cfg(has_timerfd)]
        let has_served = client_activity::have_served_since(yielding.last_us());
        #[cfg(not(has_timerfd))]
        let has_served = true;
        if yielding.is_due(began_us, has_served) {
            std::thread::yield_now();
            yielding.made(began_us, system::monotonic_us());
        }
        self.yielding.set(yielding);
    }

    /// Whether another client was served a moment ago.
    #[cfg_attr(not(has_timerfd), expect(unused_variables, clippy::unused_self))]
    pub fn clients_are_active(&self, now_us: u64) -> bool {
        #[cfg(has_timerfd)]
        return client_activity::clients_are_active(now_us);
        #[cfg(not(has_timerfd))]
        false
    }

    /// Something that another thread can wake the run with.
    pub fn waker(&self) -> Waker {
        Waker {
            #[cfg(has_timerfd)]
            at_once: Arc::clone(&self.at_once),
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
        for fd in self.descriptors() {
            // SAFETY: 1, 2; the descriptor is still open; one that is not in the loop is an error code.
            unsafe {
                rm!(RedisModule_EventLoopDel)(fd, raw::REDISMODULE_EVENTLOOP_READABLE as i32)
            };
        }
        stop_timer();
    }
}

/// The part of a [`Wakeup`] that may go to another thread.
#[derive(Debug)]
pub struct Waker {
    #[cfg(has_timerfd)]
    at_once: Arc<EventFd>,
}

impl Waker {
    /// Run the next slice at once. Where timerfd does not exist the run looks by itself.
    pub fn wake(&self) {
        #[cfg(has_timerfd)]
        self.at_once.ring();
    }
}

/// A descriptor fired: arm the timer and nothing else (invariant 6).
#[cfg(has_timerfd)]
unsafe extern "C" fn on_readable(_fd: i32, _data: *mut c_void, _mask: i32) {
    api::guard((), || {
        let is_armed = ARMED_TIMER.load(Ordering::Relaxed) != NO_TIMER;
        let now_us = system::monotonic_us();
        let armed_us = ARMED_US.load(Ordering::Relaxed);
        if is_armed && now_us.saturating_sub(armed_us) < WATCHDOG_US {
            return;
        }
        ARMED_US.store(now_us, Ordering::Relaxed);
        arm_timer(0);
    });
}

fn arm_timer(ms: u64) {
    stop_timer();
    // SAFETY: 1, 2; the callback lives as long as the module, and an armed timer keeps the server
    // from unloading it.
    let id = unsafe {
        rm!(RedisModule_CreateTimer)(
            detached::context(),
            ms as i64,
            Some(on_timer),
            std::ptr::null_mut(),
        )
    };
    ARMED_TIMER.store(id, Ordering::Relaxed);
}

/// Disarm the timer, if one is armed. Never called with the id of a timer that is firing, for the
/// server would free that twice: `on_timer` forgets the id first.
fn stop_timer() {
    let id = ARMED_TIMER.swap(NO_TIMER, Ordering::Relaxed);
    if id != NO_TIMER {
        // SAFETY: 1, 2; a timer that is gone is an error code, not undefined.
        unsafe { rm!(RedisModule_StopTimer)(detached::context(), id, std::ptr::null_mut()) };
    }
}

/// Whether the slice must wait for replies to be written. The descriptor is left as it is, and fires
/// again.
#[cfg(has_timerfd)]
fn is_put_off() -> bool {
    let is_put_off = client_activity::is_serving() && !IS_PUT_OFF.load(Ordering::Relaxed);
    IS_PUT_OFF.store(is_put_off, Ordering::Relaxed);
    is_put_off
}

unsafe extern "C" fn on_timer(ctx: *mut RedisModuleCtx, _data: *mut c_void) {
    ARMED_TIMER.store(NO_TIMER, Ordering::Relaxed);
    api::guard((), || {
        #[cfg(has_timerfd)]
        if is_put_off() {
            return;
        }
        if let Some(on_turn) = ON_TURN.get() {
            on_turn(ctx);
        }
    });
}
