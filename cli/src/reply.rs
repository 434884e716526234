//! The reply of a cleanup: what is printed of it, and the exit status.
//! Must print JSON byte by byte as the server sent it, and everything else escaped.

use std::io::{self, Write};

use serde::Deserialize;

use crate::args::RunOptions;
use crate::escape::escaped;
use crate::failure::Failure;
use crate::format::{count, many, micros};

#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Reply {
    pub run: u64,
    pub status: String,
    pub reason: Option<String>,
    pub summary: String,
    pub warm_up_left_s: Option<u64>,
    pub scheduled: bool,
    stale_coordinator_ids: Vec<String>,
    keys_by_family: Families,
    keys_scanned: u64,
    slices: u64,
    longest_slice_us: u64,
    busy_us: u64,
    elapsed_us: u64,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Families {
    heartbeat: u64,
    signal: u64,
    ack: u64,
    idempotency: u64,
    activity: u64,
    state: u64,
}

/// A run that was only started.
#[derive(Deserialize)]
struct Started {
    run: u64,
}

impl Reply {
    pub fn read(json: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(json).map_err(unreadable)
    }

    /// What people want to know, line by line.
    fn lines(&self, is_verbose: bool) -> Vec<String> {
        let mut lines = vec![escaped(&self.summary)];
        if is_verbose {
            lines.extend(
                self.stale_coordinator_ids
                    .iter()
                    .map(|id| format!("stale: {}", escaped(id))),
            );
            lines.push(format!("keys: {}", self.keys_by_family));
            lines.push(format!(
                "cost: {} looked at; {}, the longest {}; main thread busy for {} of {}",
                many(self.keys_scanned, "key", "keys"),
                many(self.slices, "slice", "slices"),
                micros(self.longest_slice_us),
                micros(self.busy_us),
                micros(self.elapsed_us)
            ));
        }
        lines
    }

    fn outcome(&self) -> Result<(), Failure> {
        if matches!(self.status.as_str(), "complete" | "limited") {
            return Ok(());
        }
        let mut text = format!("the run ended as {}", escaped(&self.status));
        if let Some(reason) = &self.reason {
            text.push_str(&format!(": {}", escaped(reason)));
        }
        Err(Failure::cut_short(text))
    }
}

impl std::fmt::Display for Families {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = [
            ("heartbeat", self.heartbeat),
            ("signal", self.signal),
            ("ack", self.ack),
            ("idempotency", self.idempotency),
            ("activity", self.activity),
            ("state", self.state),
        ];
        let all = all.map(|(name, keys)| format!("{name} {}", count(keys)));
        f.write_str(&all.join(", "))
    }
}

/// Prints what the options ask for; an error if the run was cut short, refused or partial.
pub fn report(json: &[u8], options: &RunOptions) -> Result<(), Failure> {
    if options.asynchronous {
        let started: Started = serde_json::from_slice(json).map_err(unreadable)?;
        return match (options.json, options.quiet) {
            (true, _) => print(&[json]),
            (false, true) => Ok(()),
            (false, false) => print(&[started.run.to_string().as_bytes()]),
        };
    }
    let reply = Reply::read(json)?;
    if options.json {
        print(&[json])?;
    } else if !options.quiet {
        let lines = reply.lines(options.verbose);
        print(&lines.iter().map(String::as_bytes).collect::<Vec<_>>())?;
        if let Some(left_s) = reply.warm_up_left_s {
            eprintln!(
                "blocking-cleanup: warning: the warm-up lasts for {left_s} s more: \
                 a living coordinator may look dead"
            );
        }
    }
    reply.outcome()
}

/// Lines on standard output.
pub fn print(lines: &[&[u8]]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = lines.iter().try_for_each(|line| {
        out.write_all(line)?;
        out.write_all(b"\n")
    });
    let written = written.and_then(|()| out.flush());
    written.map_err(|error| Failure::error(format!("cannot print: {error}")))
}

fn unreadable(error: serde_json::Error) -> Failure {
    Failure::error(format!(
        "the reply of the server is not understood: {error}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"totalCoordinatorsChecked":2,"staleCoordinatorsFound":1,"keysDeleted":1200,
        "staleCoordinatorIds":["a\u001b[2J","caf\\xe9"],"run":7,"status":"cancelled","dryRun":false,"keysScanned":1,
        "keysByFamily":{"heartbeat":1,"signal":1199,"ack":0,"idempotency":0,"activity":0,"state":0},"slices":2,
        "longestSliceUs":152,"busyUs":173,"elapsedUs":1500000,"reason":"because\u0007","summary":"sum\u0000mary"}"#;

    #[test]
    fn everything_is_escaped_and_nothing_is_left_out() {
        let reply = Reply::read(JSON.as_bytes()).expect("JSON");
        assert_eq!(reply.lines(false), [r"sum\x00mary"]);
        assert_eq!(
            reply.lines(true),
            [
                r"sum\x00mary",
                r"stale: a\x1b[2J",
                r"stale: caf\xe9",
                "keys: heartbeat 1, signal 1,199, ack 0, idempotency 0, activity 0, state 0",
                "cost: 1 key looked at; 2 slices, the longest 0.15 ms; main thread busy for 0.17 ms of 1.5 s",
            ]
        );
        let failure = reply.outcome().unwrap_err();
        assert_eq!(
            failure.to_string(),
            r"the run ended as cancelled: because\x07"
        );
    }

    #[test]
    fn the_exit_status_is_that_of_the_run() {
        for (status, exit) in [
            ("complete", 0),
            ("limited", 0),
            ("partial", 2),
            ("cancelled", 2),
            ("truncated", 2),
            ("interrupted", 2),
            ("refused", 2),
            ("of a later version", 2),
        ] {
            let json = JSON.replace(
                r#""status":"cancelled""#,
                &format!(r#""status":"{status}""#),
            );
            let outcome = Reply::read(json.as_bytes()).expect("JSON").outcome();
            assert_eq!(outcome.err().map_or(0, |failure| failure.status()), exit);
        }
        assert_eq!(Reply::read(b"OK").unwrap_err().status(), 1);
    }
}
