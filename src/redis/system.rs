//! Clocks and the timerfd of the operating system, over declarations generated from its headers.

#[allow(
    dead_code,
    non_camel_case_types,
    non_upper_case_globals,
    unreachable_pub,
    clippy::all
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/system.rs"));
}

fn clock_us(clock: u32) -> u64 {
    let mut time = generated::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is ours; a clock that does not exist leaves it at zero.
    unsafe { generated::clock_gettime(clock as _, &mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds
        .saturating_mul(1_000_000)
        .saturating_add(nanoseconds / 1000)
}

/// Microseconds of a clock that never steps.
pub fn monotonic_us() -> u64 {
    clock_us(generated::CLOCK_MONOTONIC)
}

/// Microseconds of CPU time that the calling thread has used.
pub fn thread_cpu_us() -> u64 {
    clock_us(generated::CLOCK_THREAD_CPUTIME_ID)
}

/// A timer that is a file descriptor, closed when dropped.
#[cfg(has_timerfd)]
#[derive(Debug)]
pub struct TimerFd(i32);

#[cfg(has_timerfd)]
impl TimerFd {
    /// A timer that is not set yet; `None` if the system gives no more descriptors.
    pub fn new() -> Option<Self> {
        let flags = generated::TFD_NONBLOCK | generated::TFD_CLOEXEC;
        // SAFETY: no pointers involved.
        let fd = unsafe { generated::timerfd_create(generated::CLOCK_MONOTONIC as _, flags as _) };
        (fd >= 0).then(|| Self(fd))
    }

    /// The descriptor's number.
    pub fn number(&self) -> i32 {
        self.0
    }

    /// Become readable once, after `us` microseconds; at once for 0. Safe from any thread.
    pub fn set_us(&self, us: u64) {
        // Zero would switch the timer off; a nanosecond is over before the call returns.
        let nanoseconds = us.saturating_mul(1000).max(1);
        let once = generated::itimerspec {
            it_interval: generated::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: generated::timespec {
                tv_sec: (nanoseconds / 1_000_000_000) as _,
                tv_nsec: (nanoseconds % 1_000_000_000) as _,
            },
        };
        // SAFETY: the descriptor is ours and open; the structure lives through the call.
        unsafe { generated::timerfd_settime(self.0, 0, &once, std::ptr::null_mut()) };
    }
}

#[cfg(has_timerfd)]
impl Drop for TimerFd {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours and closed only here.
        unsafe { generated::close(self.0) };
    }
}
