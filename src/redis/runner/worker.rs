//! Work off the main thread: pure functions over data that moves in and out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use crate::redis::runner::stop;
use crate::redis::runner::wakeup::Waker;

/// A thread that computes one value and wakes the run. It never outlives its owner: the module
/// could be unloaded under it.
#[derive(Debug)]
pub struct Worker<T> {
    thread: Option<JoinHandle<T>>,
    done: Arc<AtomicBool>,
}

/// Sets the flag and wakes the run even if the work panics.
struct Bell {
    done: Arc<AtomicBool>,
    waker: Waker,
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl<T: Send + 'static> Worker<T> {
    /// Start `work`; `None` if the system gives no thread, and then the work is lost.
    pub fn start(waker: Waker, work: impl FnOnce() -> T + Send + 'static) -> Option<Self> {
        let done = Arc::new(AtomicBool::new(false));
        let bell = Bell {
            done: Arc::clone(&done),
            waker,
        };
        let body = move || {
            let _bell = bell;
            work()
        };
        let thread = Builder::new().name("blocking-worker".into()).spawn(body);
        Some(Self {
            thread: Some(thread.ok()?),
            done,
        })
    }
}

/// How far a worker is.
#[derive(Debug)]
pub enum Outcome<T> {
    Busy,
    Done(T),
    /// The work panicked, or its result was taken before.
    Failed,
}

impl<T> Worker<T> {
    /// The result, once it is there. Waits for the thread's last few instructions at most.
    pub fn take(&mut self) -> Outcome<T> {
        if !self.done.load(Ordering::Acquire) {
            return Outcome::Busy;
        }
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => Outcome::Done(result),
            _ => Outcome::Failed,
        }
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            stop::STOP_WORKER.store(true, Ordering::Relaxed);
            let _ = thread.join();
        }
    }
}
