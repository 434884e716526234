//! Clocks, timerfd and eventfd of the operating system, over declarations generated from its headers.

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

/// A file descriptor, closed when dropped.
#[cfg(has_timerfd)]
#[derive(Debug)]
struct Descriptor(i32);

#[cfg(has_timerfd)]
impl Descriptor {
    /// What a system call gave; `None` if it gave an error.
    fn new(fd: i32) -> Option<Self> {
        (fd >= 0).then_some(fd).map(Self)
    }

    /// Make it unreadable, if it was readable; whether it was.
    fn drain(&self) -> bool {
        let mut count = 0u64;
        let size = size_of::<u64>();
        // SAFETY: the descriptor is ours and open, and there is room for the eight bytes.
        let read = unsafe { generated::read(self.0, (&raw mut count).cast(), size as _) };
        read > 0
    }
}

#[cfg(has_timerfd)]
impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours and closed only here.
        unsafe { generated::close(self.0) };
    }
}

/// A timer that is a file descriptor.
#[cfg(has_timerfd)]
#[derive(Debug)]
pub struct TimerFd(Descriptor);

#[cfg(has_timerfd)]
impl TimerFd {
    /// A timer that is not set yet; `None` if the system gives no more descriptors.
    pub fn new() -> Option<Self> {
        let flags = generated::TFD_NONBLOCK | generated::TFD_CLOEXEC;
        // SAFETY: no pointers involved.
        let fd = unsafe { generated::timerfd_create(generated::CLOCK_MONOTONIC as _, flags as _) };
        Descriptor::new(fd).map(Self)
    }

    /// The descriptor's number.
    pub fn number(&self) -> i32 {
        self.0.0
    }

    /// Become readable once, after `us` microseconds; never for 0.
    pub fn set_us(&self, us: u64) {
        let nanoseconds = us.saturating_mul(1000);
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
        unsafe { generated::timerfd_settime(self.number(), 0, &once, std::ptr::null_mut()) };
    }

    /// Become unreadable, and do not become readable any more until set anew.
    pub fn stop(&self) {
        // One that has fired needs no setting, which costs far more.
        if !self.0.drain() {
            self.set_us(0);
        }
    }
}

/// A bell that is a file descriptor: readable from the moment it is rung. Where a timer set to nothing
/// takes the system some 8 us, this takes half of one.
#[cfg(has_timerfd)]
#[derive(Debug)]
pub struct EventFd(Descriptor);

#[cfg(has_timerfd)]
impl EventFd {
    /// One that has not been rung; `None` if the system gives no more descriptors.
    pub fn new() -> Option<Self> {
        let flags = generated::EFD_NONBLOCK | generated::EFD_CLOEXEC;
        // SAFETY: no pointers involved.
        let fd = unsafe { generated::eventfd(0, flags as _) };
        Descriptor::new(fd).map(Self)
    }

    /// The descriptor's number.
    pub fn number(&self) -> i32 {
        self.0.0
    }

    /// Become readable at once. Safe from any thread.
    pub fn ring(&self) {
        let once = 1u64;
        let size = size_of::<u64>();
        // SAFETY: the descriptor is ours and open; the eight bytes live through the call.
        unsafe { generated::write(self.number(), (&raw const once).cast(), size as _) };
    }

    /// Become unreadable.
    pub fn silence(&self) {
        self.0.drain();
    }
}
