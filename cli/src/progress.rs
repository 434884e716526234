//! The bar on standard error: what BLOCKING.STATUS says of the run, a few times a second.
//! Must never be the reason for an error: where there is no status there is no bar.

use std::io::{self, Write, stderr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{sleep, spawn};
use std::time::Duration;

use crossterm::cursor::MoveToColumn;
use crossterm::queue;
use crossterm::style::Print;
use crossterm::terminal::{Clear, ClearType, size};

use crate::connect::Target;
use crate::escape::escaped;
use crate::format::{cut, many, seconds};
use crate::status::{Current, Status, status};

/// Runs that are over sooner have no bar.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A server that is busy with something else.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const COLUMNS: usize = 20;
/// Free at the end of the row: a `^C` that the terminal shows there must not begin a new row, or the bar would stay.
/// Libraries for bars fill the row.
const FREE: usize = 4;
/// Where the terminal does not say how wide it is.
const USUAL_WIDTH: u16 = 80;

/// Where the bar is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not shown yet.
    Waiting,
    Shown,
    /// Nothing is drawn any more.
    Over,
}

#[derive(Clone)]
pub struct Bar(Arc<Mutex<State>>);

impl Bar {
    /// Draws on standard error from now on, from a thread of its own.
    pub fn follow(target: Target) -> Self {
        let bar = Self(Arc::new(Mutex::new(State::Waiting)));
        let drawn = bar.clone();
        spawn(move || drawn.draw(&target));
        bar
    }

    /// For those who do not want one.
    pub fn none() -> Self {
        Self(Arc::new(Mutex::new(State::Over)))
    }

    pub fn clear(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == State::Shown {
            // Without a terminal there is nothing to clear.
            let _ = show("");
        }
        *state = State::Over;
    }

    fn draw(&self, target: &Target) {
        sleep(LOOK_EVERY);
        let Ok(mut link) = target.connect() else {
            return;
        };
        if link.conn.set_read_timeout(Some(ANSWER_TIMEOUT)).is_err() {
            return;
        }
        while let Ok(status) = status(&mut link.conn) {
            // In between the run under way may be another's.
            let current = status.current.as_ref().filter(|run| run.is_waited_for());
            let line = current.map(|current| line(&status, current, width()));
            {
                let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                match (*state, line) {
                    (State::Over, _) => return,
                    (_, None) => {}
                    (_, Some(line)) => {
                        if show(&line).is_err() {
                            return;
                        }
                        *state = State::Shown;
                    }
                }
            }
            sleep(LOOK_EVERY);
        }
    }
}

/// Puts this text in place of what stands in the row.
fn show(text: &str) -> io::Result<()> {
    let mut out = stderr().lock();
    queue!(
        out,
        MoveToColumn(0),
        Print(text),
        Clear(ClearType::UntilNewLine)
    )?;
    out.flush()
}

fn width() -> usize {
    let width = size().map_or(USUAL_WIDTH, |(width, _)| width);
    usize::from(width).saturating_sub(FREE)
}

fn line(status: &Status, current: &Current, width: usize) -> String {
    let percent = current.progress_percent.min(100);
    let done = "=".repeat(COLUMNS * percent as usize / 100);
    let words = words(status, current);
    cut(&format!("[{done:COLUMNS$}] {percent}% {words}"), width)
}

/// `reaping, 1,234 keys removed, 12s left`.
pub fn words(status: &Status, current: &Current) -> String {
    let mut words = escaped(&status.state);
    if let Some(cause) = &current.waiting_for {
        words.push_str(&format!(", waiting for {}", escaped(cause)));
    }
    words.push_str(&match current.keys_removed {
        0 => format!(", {} looked at", many(current.keys_scanned, "key", "keys")),
        keys => format!(", {} removed", many(keys, "key", "keys")),
    });
    if let Some(left_us) = current.time_left_us {
        words.push_str(&format!(", {} left", seconds(left_us / 1_000_000)));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_say_what_the_run_does() {
        let mut status = Status {
            state: "collecting".to_owned(),
            ..Status::default()
        };
        let mut run = Current {
            keys_scanned: 1_500,
            ..Current::default()
        };
        assert_eq!(words(&status, &run), "collecting, 1,500 keys looked at");
        status.state = "paused".to_owned();
        run.waiting_for = Some("replicas\x1b".to_owned());
        (run.keys_removed, run.time_left_us) = (1_234, Some(61_500_000));
        let expected = r"paused, waiting for replicas\x1b, 1,234 keys removed, 1m 1s left";
        assert_eq!(words(&status, &run), expected);
        run.progress_percent = 42;
        let expected = "[========            ] 42% paused, waiting for replicas~";
        assert_eq!(line(&status, &run, 56), expected);
    }
}
