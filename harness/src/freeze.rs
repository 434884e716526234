//! A server that stands still for a while, so that a test decides what it finds when it goes on.
//! Must let the server go on again whatever happens in between, unless the test itself takes that over.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::server::Server;

/// Lets the server go on when dropped.
struct Thaw<'s>(&'s Server);

impl Drop for Thaw<'_> {
    fn drop(&mut self) {
        let _ = self.0.thaw();
    }
}

impl Server {
    /// Stops the process, as an overloaded machine may. Connections stay; nothing is answered.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        // The signal is only on its way until the system says that every thread has stopped.
        let pid = Pid::from_raw(self.pid().try_into()?);
        let state = waitpid(pid, Some(WaitPidFlag::WUNTRACED))?;
        ensure!(
            matches!(state, WaitStatus::Stopped(..)),
            "the server did not stop but: {state:?}"
        );
        Ok(())
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Stops the process, does `act`, and lets the process go on. Whatever is sent meanwhile reaches the server at
    /// once: it finishes the turn of its event loop that it was in, and reads all of it in the next. `act` must not
    /// wait for an answer.
    pub fn while_frozen<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        self.freeze()?;
        let _thaw = Thaw(self);
        act()
    }
}
