//! The connection that waits for a run. When it is lost, the same command is sent again, and joins the run, which
//! lingers for a while: docs/commands.md#when-the-caller-goes-away.
//! Must never send the command again in any other case: it removes keys.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::connect::{Link, Target, ask};
use crate::failure::{Failure, is_lost, server_text};
use crate::reply::Reply;
use crate::status::{NoStatus, status};

pub const LINGERS: &str = "a run that is on ends by itself after blocking.linger-seconds";
const COMMAND: &str = "BLOCKING.CLEANUP";
/// What blocking.linger-seconds is unless it was set. Later the same command could begin a run of its own.
const AGAIN_WITHIN: Duration = Duration::from_secs(15);
/// The server may learn late that the first connection is gone, and takes the second for another client's until then.
const UNKNOWN_WITHIN: Duration = Duration::from_secs(30);
/// An operator who takes the client away ends its run before the next slice; by then the status says so.
const REST: Duration = Duration::from_millis(250);
/// A connection that held for so long was a good one.
const GOOD_AFTER: Duration = Duration::from_secs(1);
/// What ends a run whose client was taken away by an operator.
pub const TAKEN_AWAY: &str = "the caller went away";

/// Where the waiting is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Nothing was sent yet.
    #[default]
    Connecting,
    /// The command was sent through the connection of this number.
    Waiting {
        id: Option<i64>,
        /// When it was sent for the first time.
        since: Instant,
    },
    /// The connection was lost in the middle of the run.
    Lost,
    /// There is a reply, or an error.
    Over,
}

/// The stage, for the thread that an interrupt reaches.
#[derive(Default)]
pub struct Waiting {
    stage: Mutex<Stage>,
    has_given_up: AtomicBool,
}

impl Waiting {
    pub fn stage(&self) -> Stage {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on a lost connection is the end.
    pub fn gives_up(&self) {
        self.has_given_up.store(true, Ordering::Relaxed);
    }

    fn has_given_up(&self) -> bool {
        self.has_given_up.load(Ordering::Relaxed)
    }

    fn set(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// Sends the command and waits for its reply, for as long as it takes. With `joins` a lost connection is no end.
    pub fn reply(
        &self,
        target: &Target,
        words: &[Vec<u8>],
        joins: bool,
    ) -> Result<Vec<u8>, Failure> {
        let reply = self.reply_or_loss(target, words, joins);
        self.set(Stage::Over);
        reply
    }

    fn reply_or_loss(
        &self,
        target: &Target,
        words: &[Vec<u8>],
        joins: bool,
    ) -> Result<Vec<u8>, Failure> {
        let mut link = target.connect()?;
        let first = Instant::now();
        let mut lost: Option<Instant> = None;
        loop {
            let id = link.greeting.id;
            let asked = Instant::now();
            self.set(Stage::Waiting { id, since: first });
            let error = match ask(&mut link.conn, COMMAND, words) {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            if is_lost(&error) && self.has_given_up() {
                return Err(Failure::cut_short("interrupted; the run was ended"));
            }
            let is_again = lost.is_some_and(|since| since.elapsed() < UNKNOWN_WITHIN);
            if joins && is_lost(&error) {
                let since = match lost {
                    Some(since) if asked.elapsed() < GOOD_AFTER => since,
                    _ => Instant::now(),
                };
                lost = Some(since);
                self.set(Stage::Lost);
                link = again(target, id, since, &server_text(&error))?;
            } else if is_again && error.code() == Some("INPROGRESS") {
                self.set(Stage::Lost);
                sleep(REST);
                has_not_ended(&mut link)?;
            } else {
                return Err(Failure::of_command(COMMAND, &error));
            }
            if self.has_given_up() {
                return Err(interrupted());
            }
        }
    }
}

/// The command is not sent again.
pub fn interrupted() -> Failure {
    Failure::cut_short(format!(
        "interrupted while the connection was lost; {LINGERS}"
    ))
}

/// Connects anew in the middle of a run. Fails if the run is over and nothing of it is left to join.
fn again(target: &Target, before: Option<i64>, since: Instant, why: &str) -> Result<Link, Failure> {
    loop {
        sleep(REST);
        let link = target.connect();
        let is_late = since.elapsed() >= AGAIN_WITHIN;
        match link {
            Ok(link) if link.greeting.is_anew(before) => {
                let text = "the server was started anew in the middle of the run, which is lost";
                return Err(Failure::cut_short(text));
            }
            Ok(mut link) if !is_late => {
                has_not_ended(&mut link)?;
                return Ok(link);
            }
            Err(failure) if failure.is_login() => return Err(failure),
            late if is_late => {
                let lost = format!("the connection was lost in the middle of the run ({why})");
                let failure = late.err().map(|failure| format!("; {failure}"));
                return Err(Failure::error(lost + &failure.unwrap_or_default()));
            }
            _ => {}
        }
    }
}

/// An operator who takes a client away ends its run; the same command would begin another. Users that may not ask for
/// the status cannot know.
fn has_not_ended(link: &mut Link) -> Result<(), Failure> {
    let status = match status(&mut link.conn) {
        Ok(status) => status,
        // The command itself will meet the same.
        Err(NoStatus::Lost(_) | NoStatus::Untold(_)) => return Ok(()),
    };
    let last = match (status.current, status.last) {
        (None, Some(last)) => Reply::read(last.get().as_bytes())?,
        _ => return Ok(()),
    };
    match last.reason.as_deref() {
        Some(TAKEN_AWAY) if !last.scheduled => Err(Failure::cut_short(format!(
            "the connection was lost, and the run ended as cancelled: {TAKEN_AWAY}"
        ))),
        _ => Ok(()),
    }
}
