//! The answer of BLOCKING.STATUS, as far as it is used here.
//! Must read answers of other versions of the module as well: what is missing is not known.

use std::time::Duration;

use redis::{Connection, RedisError};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::connect::ask;
use crate::failure::{Failure, is_lost};

#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    pub state: String,
    pub current: Option<Current>,
    /// The reply of the last run, with every byte as the server wrote it.
    pub last: Option<Box<RawValue>>,
    pub schedule: Schedule,
}

/// The run under way.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Current {
    pub run: u64,
    pub database: i64,
    pub dry_run: bool,
    #[serde(rename = "async")]
    pub asynchronous: bool,
    pub scheduled: bool,
    pub progress_percent: u64,
    pub waiting_for: Option<String>,
    pub elapsed_us: u64,
    pub time_left_us: Option<u64>,
    pub keys_scanned: u64,
    pub keys_removed: u64,
    pub look: Option<String>,
    pub lingering_s: Option<i64>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Schedule {
    pub interval_s: u64,
    pub dry_run: bool,
    pub next_run_s: Option<u64>,
    pub warm_up_left_s: u64,
    pub breakers_open: Vec<Breaker>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Breaker {
    pub database: i64,
    pub reason: String,
}

/// Why there is no status.
pub enum NoStatus {
    /// The connection is of no use any more.
    Lost(Failure),
    /// The server does not say it, for example because the user may not ask.
    Untold(Failure),
}

pub fn status(conn: &mut Connection) -> Result<Status, NoStatus> {
    const NAME: &str = "BLOCKING.STATUS";
    let of = |error: RedisError| match (is_lost(&error), Failure::of_command(NAME, &error)) {
        (true, failure) => NoStatus::Lost(failure),
        (false, failure) => NoStatus::Untold(failure),
    };
    let text = ask(conn, NAME, &[b"JSON".to_vec()]).map_err(of)?;
    serde_json::from_slice(&text)
        .map_err(|error| NoStatus::Untold(Failure::error(format!("{NAME}: {error}"))))
}

impl Current {
    /// Whether a client waits for it.
    pub fn is_waited_for(&self) -> bool {
        let is_manual = !self.asynchronous && !self.scheduled && self.look.is_none();
        is_manual && self.lingering_s.is_none()
    }

    /// Whether it can be the run of a client that waits, and sent its command so long ago. One that is older is another
    /// client's: ours was not read yet, as while writes are paused.
    pub fn can_be_of(&self, sent: Duration) -> bool {
        self.is_waited_for() && Duration::from_micros(self.elapsed_us) <= sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_others_are_told_apart() {
        let current = |fields: &str| -> Current { serde_json::from_str(fields).expect(fields) };
        let ours =
            r#"{"run":3,"async":false,"scheduled":false,"look":null,"lingeringS":null,"more":1}"#;
        assert!(current(ours).is_waited_for());
        for (not, other) in [
            (r#""async":false"#, r#""async":true"#),
            (r#""scheduled":false"#, r#""scheduled":true"#),
            (r#""look":null"#, r#""look":"BLOCKING.LIST""#),
            (r#""lingeringS":null"#, r#""lingeringS":12"#),
        ] {
            assert!(
                !current(&ours.replace(not, other)).is_waited_for(),
                "{other}"
            );
        }
    }

    #[test]
    fn a_run_that_is_older_than_the_command_is_another_s() {
        let run = Current {
            elapsed_us: 2_000_000,
            ..Current::default()
        };
        assert!(run.can_be_of(Duration::from_secs(2)));
        assert!(!run.can_be_of(Duration::from_millis(1_999)));
    }

    #[test]
    fn the_last_reply_keeps_its_bytes() {
        let text = r#"{"state":"idle","last":{"z":1,"a":"\u001b"},"schedule":{}}"#;
        let status: Status = serde_json::from_str(text).expect(text);
        let last = status.last.expect("a last run");
        assert_eq!(last.get(), r#"{"z":1,"a":"\u001b"}"#);
    }
}
