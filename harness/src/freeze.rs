//! A server that stands still for a moment, so that a test decides what it finds when it goes on.
//! Must let the server go on again whatever happens in between.

use anyhow::{Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::server::Server;

/// Lets the server go on when dropped.
struct Thaw(Pid);

impl Drop for Thaw {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

impl Server {
    /// Stops the process, does `act`, and lets the process go on. Whatever is sent meanwhile reaches the server at
    /// once: it finishes the turn of its event loop that it was in, and reads all of it in the next. `act` must not wait
    /// for an answer.
    pub fn while_frozen<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let pid = Pid::from_raw(self.pid().try_into()?);
        kill(pid, Signal::SIGSTOP)?;
        let _thaw = Thaw(pid);
        // The signal is only on its way until the system says that every thread has stopped.
        let state = waitpid(pid, Some(WaitPidFlag::WUNTRACED))?;
        ensure!(
            matches!(state, WaitStatus::Stopped(..)),
            "the server did not stop but: {state:?}"
        );
        act()
    }
}
