//! `blocking-cleanup`: runs one BLOCKING.CLEANUP for a shell, cron or systemd, and says by its exit status how it went;
//! `blocking-cleanup top` shows coordinators as top shows processes.
//! Must put nothing on standard output but the answer that was asked for.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::todo
    )
)]

/// The command line, and the words of the server's commands that it stands for.
mod args;
/// Ending the run that this process waits for, and no other.
mod cancel;
/// Connections: where to, with which certificates, as which user.
mod connect;
/// Names and texts of the server, made fit for a terminal.
mod escape;
/// What went wrong, and the exit status that says so.
mod failure;
/// Numbers and times for people.
mod format;
/// The bar on standard error.
mod progress;
/// The reply of a cleanup: what is printed of it, and the exit status.
mod reply;
/// One cleanup from beginning to end, whatever interrupts it.
mod run;
/// The answer of BLOCKING.STATUS.
mod status;
/// The view.
mod top;
/// The connection that waits for a run, and what happens when it is lost.
mod waiting;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Task};
use crate::connect::Target;
use crate::failure::Failure;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors, and go to standard output.
            let is_wrong = error.use_stderr();
            let _ = error.print();
            return ExitCode::from(u8::from(is_wrong));
        }
    };
    match start(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("blocking-cleanup: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

fn start(arguments: Arguments) -> Result<(), Failure> {
    let target = Target::new(arguments.connection, connect::password()?)?;
    match arguments.task {
        None => run::run(target, arguments.run),
        Some(Task::Top(_)) if !arguments.run.is_empty() => Err(Failure::error(
            "options of a run have no meaning for top; those of top stand behind the word",
        )),
        Some(Task::Top(options)) => top::top(target, options),
    }
}
