//! Ending the run that this process waits for, and no other.
//!
//! BLOCKING.CANCEL ends whatever run is on: between a look at the status and the command, ours could end and another
//! begin. CLIENT KILL names one client, by the number that came with the login: its run ends with it, before the next
//! slice, and of a client that waits no longer nothing ends. So this is tried first. (CLIENT UNBLOCK is as precise, but
//! some servers do not survive it while writes are paused.) Many users may not call it, but BLOCKING.CANCEL: that is
//! sent only while our own command waits and the status, if it may be asked for, shows a run that can be ours. So only
//! a run that begins within one exchange with the server could be hit; or, by a user that may not ask for the status,
//! the run of another while paused writes keep our command from being read.
//!
//! Closing the connection needs no right and harms nobody, but the run lingers then, and removes for seconds more.

use std::thread::sleep;
use std::time::{Duration, Instant};

use redis::Connection;

use crate::connect::{Greeting, Link, Target};
use crate::failure::{Failure, server_text};
use crate::reply::Reply;
use crate::status::{NoStatus, status};
use crate::waiting::TAKEN_AWAY;

/// A run of the schedule that is in our way makes room before its next slice.
const ROOM_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A run whose client was taken away is over before its next slice.
const OVER_WITHIN: Duration = Duration::from_secs(10);
const REST: Duration = Duration::from_millis(20);

/// How the run was ended.
pub enum Ended {
    /// The connection that waits for it gets its reply.
    Replies,
    /// The run under way is another's: ours is over, or has not begun.
    IsNot,
    /// That connection is closed; the run has this number, if it is known.
    Killed(Option<u64>),
}

/// What the status says of our own run.
#[derive(Clone, Copy)]
enum Ours {
    /// It is under way, and has this number.
    Is(u64),
    /// It is not under way.
    IsNot,
    /// This user may not ask.
    Unknown,
}

/// Ends the run that the client of this number, which sent its command then, waits for, if it is still on.
pub fn cancel(
    target: &Target,
    id: Option<i64>,
    since: Instant,
    is_waiting: impl Fn() -> bool,
) -> Result<Ended, Failure> {
    let (mut conn, greeting) = connect(target)?;
    // Another client has this number by now, or will have.
    if greeting.is_anew(id) {
        return Ok(Ended::IsNot);
    }
    let ours = ours(&mut conn, since)?;
    if !is_waiting() {
        return Ok(Ended::Replies);
    }
    if let Some(id) = id {
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("ID").arg(id);
        // Whatever the error, the other way is left.
        if kill.exec(&mut conn).is_ok() {
            return Ok(Ended::Killed(match ours {
                Ours::Is(number) => Some(number),
                Ours::IsNot | Ours::Unknown => None,
            }));
        }
    }
    if !is_waiting() {
        return Ok(Ended::Replies);
    }
    if matches!(ours, Ours::IsNot) {
        return Ok(Ended::IsNot);
    }
    match redis::cmd("BLOCKING.CANCEL").exec(&mut conn) {
        Err(error) if error.code() != Some("NOTBUSY") => Err(Failure::error(server_text(&error))),
        _ => Ok(Ended::Replies),
    }
}

fn connect(target: &Target) -> Result<(Connection, Greeting), Failure> {
    let Link { conn, greeting } = target.connect()?;
    let timeout = conn.set_read_timeout(Some(ANSWER_TIMEOUT));
    timeout.map_err(|error| Failure::error(server_text(&error)))?;
    Ok((conn, greeting))
}

fn ours(conn: &mut Connection, since: Instant) -> Result<Ours, Failure> {
    let started = Instant::now();
    loop {
        let current = match status(conn) {
            Ok(status) => status.current,
            Err(NoStatus::Untold(_)) => return Ok(Ours::Unknown),
            Err(NoStatus::Lost(failure)) => return Err(failure),
        };
        match current {
            Some(current) if current.can_be_of(since.elapsed()) => {
                return Ok(Ours::Is(current.run));
            }
            Some(current) if current.scheduled && started.elapsed() < ROOM_WITHIN => sleep(REST),
            _ => return Ok(Ours::IsNot),
        }
    }
}

/// The reply of a run that ended because its client was taken away; `None` if the status shows another one by now.
pub fn reply_of(target: &Target, number: u64) -> Option<Vec<u8>> {
    let (mut conn, _) = connect(target).ok()?;
    let started = Instant::now();
    while started.elapsed() < OVER_WITHIN {
        let json = status(&mut conn).ok()?.last;
        let json = json.map(|json| json.get().as_bytes().to_vec());
        let reply = json.as_deref().and_then(|json| Reply::read(json).ok());
        if let Some(reply) = reply.filter(|reply| reply.run >= number) {
            let is_ours = reply.run == number && reply.reason.as_deref() == Some(TAKEN_AWAY);
            return json.filter(|_| is_ours);
        }
        sleep(REST);
    }
    None
}
