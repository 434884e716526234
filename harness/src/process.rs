//! Starting a server process so that it cannot outlive the process that started it.
//! The only file of this crate with `unsafe`, and it must do nothing between fork and exec but set that up.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};

type Order = (Command, Sender<io::Result<Child>>);

/// Starts `command` as a child that the system kills when this process ends, however it ends.
///
/// The system takes "the parent died" to mean the thread that started the child. A test's thread ends long before a
/// server shared by several tests should, so one thread that never ends starts them all.
pub fn spawn_bound(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts servers is gone");

    let starter = STARTER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                bind_to_parent(&mut command);
                // A caller that no longer waits has no use for the child either.
                if let Err(unclaimed) = answer.send(command.spawn())
                    && let Ok(mut child) = unclaimed.0
                {
                    let _ = child.kill();
                    let _ = child.wait();
                }
            }
        });
        Mutex::new(orders)
    });
    let (answer, outcome) = channel();
    starter
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer))
        .map_err(|_| gone())?;
    outcome.recv().map_err(|_| gone())?
}

#[cfg(target_os = "linux")]
fn bind_to_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    use nix::sys::{prctl, signal::Signal};
    use nix::unistd::{getpid, getppid};

    let parent = getpid();
    // SAFETY: between fork and exec the closure makes two system calls that are async-signal-safe; it allocates
    // nothing and takes no lock.
    unsafe {
        command.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have died before the line above took effect; then the signal will never be sent.
            if getppid() != parent {
                return Err(io::Error::from_raw_os_error(nix::libc::ESRCH));
            }
            Ok(())
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn bind_to_parent(_command: &mut Command) {
    // Elsewhere a killed test may leave its server behind; a test that ends in any other way does not.
}
