//! One cleanup from beginning to end: a thread waits for the reply, another draws, and an interrupt ends the run.

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::spawn;
use std::time::{Duration, Instant};

use crate::args::RunOptions;
use crate::cancel::{Ended, cancel, reply_of};
use crate::connect::Target;
use crate::failure::Failure;
use crate::progress::Bar;
use crate::reply::report;
use crate::waiting::{self, LINGERS, Stage, Waiting};

/// For the reply of a run that was cancelled: it ends before its next slice.
const REPLY_WITHIN: Duration = Duration::from_secs(10);
/// For the reply of a run that is over already.
const OVER_WITHIN: Duration = Duration::from_secs(1);

enum Event {
    Ended(Result<Vec<u8>, Failure>),
    Interrupted,
}

pub fn run(target: Target, options: RunOptions) -> Result<(), Failure> {
    let has_bar = !options.quiet && !options.asynchronous && stderr().is_terminal();
    let bar = match has_bar {
        true => Bar::follow(target.clone()),
        false => Bar::none(),
    };
    let (events, heard) = channel();
    hear_interrupts(events.clone(), bar.clone())?;
    let waiting = Arc::new(Waiting::default());
    {
        let (target, waiting) = (target.clone(), Arc::clone(&waiting));
        let (words, joins) = (options.words(), !options.asynchronous);
        spawn(move || {
            let reply = waiting.reply(&target, &words, joins);
            // Nobody hears it if the process is about to end.
            let _ = events.send(Event::Ended(reply));
        });
    }
    let ended = match heard.recv() {
        Ok(Event::Ended(reply)) => reply,
        Ok(Event::Interrupted) => interrupted(&target, &options, &waiting, &heard),
        Err(_) => Err(Failure::error(
            "the thread that waits for the reply is gone",
        )),
    };
    bar.clear();
    report(&ended?, &options)
}

/// Ctrl-C, SIGTERM, and the end of the terminal. The second one ends the process at once.
fn hear_interrupts(events: Sender<Event>, bar: Bar) -> Result<(), Failure> {
    let before = AtomicBool::new(false);
    let handled = ctrlc::set_handler(move || {
        if before.swap(true, Ordering::Relaxed) {
            bar.clear();
            std::process::exit(2);
        }
        let _ = events.send(Event::Interrupted);
    });
    handled.map_err(|error| Failure::error(format!("cannot listen to signals: {error}")))
}

/// Ends the run, and yields its reply if that comes soon.
fn interrupted(
    target: &Target,
    options: &RunOptions,
    waiting: &Waiting,
    heard: &Receiver<Event>,
) -> Result<Vec<u8>, Failure> {
    let stage = waiting.stage();
    let (id, since) = match stage {
        Stage::Connecting => {
            let text = "interrupted before anything was sent";
            return Err(Failure::cut_short(text));
        }
        Stage::Lost => return Err(waiting::interrupted()),
        Stage::Waiting { id, since } => (id, since),
        Stage::Over => (None, Instant::now()),
    };
    waiting.gives_up();
    let is_waiting = || matches!(stage, Stage::Waiting { .. }) && waiting.stage() == stage;
    let ended = match options.asynchronous {
        // A run that nobody waits for is not to end with this process.
        true => Ended::Replies,
        false => cancel(target, id, since, is_waiting).map_err(|why| {
            let text = "interrupted, and the run could not be cancelled";
            Failure::cut_short(format!("{text}: {why}; {LINGERS}"))
        })?,
    };
    let within = match ended {
        Ended::IsNot => OVER_WITHIN,
        Ended::Replies | Ended::Killed(_) => REPLY_WITHIN,
    };
    match (heard.recv_timeout(within), ended) {
        (Ok(Event::Ended(Err(lost))), Ended::Killed(number)) => number
            .and_then(|number| reply_of(target, number))
            .ok_or(lost),
        (Ok(Event::Ended(reply)), _) => reply,
        _ => Err(Failure::cut_short(format!("interrupted; {LINGERS}"))),
    }
}
