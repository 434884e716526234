//! A run whose caller's connection went away: how long it lingers, which client may join it, what is kept for a
//! client that comes when it is over.
//!
//! Clients ask again by themselves when an answer takes longer than they like to wait. The same command of the same
//! user is taken for that. This file must not know a client or a clock.

use crate::commands::request::Request;
use crate::reply::value::Value;

/// The caller's connection went away, and no other client has joined since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    since_us: u64,
    /// How many commands that take a client away were over then; none once that is settled.
    takings: Option<u64>,
}

impl Departure {
    pub const fn new(now_us: u64, takings: u64) -> Self {
        Self {
            since_us: now_us,
            takings: Some(takings),
        }
    }

    /// Whether it is not yet known if a command took the client away.
    pub const fn is_unsettled(&self) -> bool {
        self.takings.is_some()
    }

    /// Settle whether a command took the client away. The server tells of the departure in the middle of such a
    /// command, so that one more is over a moment later. Any other in that moment counts, too: then the run ends,
    /// which is the careful way to be wrong.
    pub fn was_taken(&mut self, takings_now: u64) -> bool {
        let before = self.takings.take();
        before.is_some_and(|before| takings_now != before)
    }

    /// How long the run lingers yet; `None` when no client joined it in time.
    pub fn left_us(&self, now_us: u64, linger_s: u64) -> Option<u64> {
        let end_us = self
            .since_us
            .saturating_add(linger_s.saturating_mul(1_000_000));
        end_us.checked_sub(now_us).filter(|left| *left > 0)
    }

    /// The same in seconds, never less than it is.
    pub fn left_s(&self, now_us: u64, linger_s: u64) -> u64 {
        let left_us = self.left_us(now_us, linger_s).unwrap_or_default();
        left_us.div_ceil(1_000_000)
    }
}

/// How often a command was called, by its line in INFO commandstats.
pub fn calls(line: &[u8]) -> u64 {
    let text = std::str::from_utf8(line).unwrap_or_default();
    let first = text.split(',').next().unwrap_or_default();
    let number = first.strip_prefix("calls=").and_then(|n| n.parse().ok());
    number.unwrap_or_default()
}

/// What a run answered that ended while it lingered.
#[derive(Debug)]
pub struct Kept<A> {
    pub request: Request,
    pub departure: Departure,
    pub answer: A,
}

impl<A> Kept<A> {
    /// Whether it is for this request, and still there to be had.
    pub fn is_for(&self, request: &Request, now_us: u64, linger_s: u64) -> bool {
        !self.is_over(now_us, linger_s) && self.request == *request
    }

    /// Whether no client gets it any more.
    pub fn is_over(&self, now_us: u64, linger_s: u64) -> bool {
        self.departure.left_us(now_us, linger_s).is_none()
    }
}

/// The answer for a client that joined. Sentences of a list, as DOCTOR gives them, stay as they are.
pub fn joined(answer: Value) -> Value {
    match answer {
        Value::Map(mut fields) => {
            // The summary stays the last.
            let is_last = fields.last().is_some_and(|(name, _)| *name == "summary");
            let summary = is_last.then(|| fields.pop()).flatten();
            fields.push(("joined", true.into()));
            fields.extend(summary);
            Value::Map(fields)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::options::parse_cleanup;
    use crate::commands::query::{parse_explain, parse_list};
    use crate::commands::request::Task;

    fn asked(task: Task) -> Request {
        Request::new(0, Some(b"default".to_vec()), task, 600)
    }

    fn cleanup(words: &[&str]) -> Request {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        asked(Task::Cleanup(parse_cleanup(&words).unwrap()))
    }

    fn explain(id: &[u8]) -> Request {
        asked(Task::Explain(parse_explain(&[id]).unwrap()))
    }

    #[test]
    fn the_same_request_joins_however_it_is_written() {
        let same = [
            (cleanup(&[]), cleanup(&[])),
            (
                cleanup(&["DRYRUN", "MATCH", "a*", "LIMIT", "3"]),
                cleanup(&["limit", "3", "match", "a*", "dryrun"]),
            ),
            (cleanup(&["IDS", "100"]), cleanup(&[])),
            (explain(b"a*"), explain(b"a*")),
        ];
        for (one, other) in same {
            assert_eq!(one, other);
        }
    }

    #[test]
    fn another_request_does_not_join() {
        let first = || cleanup(&["MATCH", "a*", "THRESHOLD", "600"]);
        let list = |words: &[&[u8]]| asked(Task::List(parse_list(words).unwrap()));
        let others = [
            (first(), cleanup(&["MATCH", "b*", "THRESHOLD", "600"])),
            (first(), cleanup(&["MATCH", "a*", "THRESHOLD", "601"])),
            (
                first(),
                cleanup(&["MATCH", "a*", "THRESHOLD", "600", "DRYRUN"]),
            ),
            (
                first(),
                cleanup(&["MATCH", "a*", "THRESHOLD", "600", "JSON"]),
            ),
            (
                first(),
                cleanup(&["MATCH", "a*", "THRESHOLD", "600", "ASYNC"]),
            ),
            (
                first(),
                cleanup(&["MATCH", "a*", "THRESHOLD", "600", "BREAKER", "50"]),
            ),
            (
                first(),
                cleanup(&["MATCH", "a*", "THRESHOLD", "600", "ORPHANS"]),
            ),
            (
                first(),
                Request {
                    database: 1,
                    ..first()
                },
            ),
            (
                first(),
                Request {
                    user: Some(b"other".to_vec()),
                    ..first()
                },
            ),
            (
                first(),
                Request {
                    user: None,
                    ..first()
                },
            ),
            // A setting has changed in between.
            (
                cleanup(&[]),
                Request {
                    threshold_s: 900,
                    ..cleanup(&[])
                },
            ),
            (
                cleanup(&["ORPHANS"]),
                Request {
                    orphan_grace_s: Some(1),
                    ..cleanup(&["ORPHANS"])
                },
            ),
            (cleanup(&[]), list(&[])),
            (list(&[]), list(&[b"STALE"])),
            (list(&[]), list(&[b"COUNT", b"7"])),
            (explain(b"a"), explain(b"b")),
        ];
        for (one, other) in others {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_run_lingers_for_the_time_that_is_set_and_no_longer() {
        let departure = Departure::new(1_000_000, 0);
        let table = [
            (1_000_000, 15, Some(15_000_000), 15),
            (1_000_001, 15, Some(14_999_999), 15),
            (15_999_999, 15, Some(1), 1),
            (16_000_000, 15, None, 0),
            (u64::MAX, 15, None, 0),
            // The setting counts as it is now.
            (2_000_000, 1, None, 0),
            (2_000_000, 2, Some(1_000_000), 1),
            (1_000_000, 0, None, 0),
        ];
        for (now_us, linger_s, left_us, left_s) in table {
            assert_eq!(departure.left_us(now_us, linger_s), left_us, "{now_us}");
            assert_eq!(departure.left_s(now_us, linger_s), left_s, "{now_us}");
        }
    }

    #[test]
    fn a_command_that_is_over_just_afterwards_took_the_client_away() {
        let mut hung_up = Departure::new(0, 7);
        assert!(hung_up.is_unsettled());
        assert!(!hung_up.was_taken(7));
        // From then on commands are about others.
        assert!(!hung_up.is_unsettled());
        assert!(!hung_up.was_taken(8));
        assert!(Departure::new(0, 7).was_taken(8));
        // CONFIG RESETSTAT came in between, so it is not known.
        assert!(Departure::new(0, 7).was_taken(0));
    }

    #[test]
    fn calls_of_a_command() {
        let table: [(&[u8], u64); 5] = [
            (b"calls=12,usec=4,usec_per_call=4.00,rejected_calls=0", 12),
            (b"calls=7", 7),
            (b"usec=4,calls=12", 0),
            (b"calls=-1,usec=4", 0),
            (b"\xff", 0),
        ];
        for (line, expected) in table {
            assert_eq!(calls(line), expected);
        }
    }

    #[test]
    fn what_is_kept_is_for_the_same_request_in_time() {
        let kept = Kept {
            request: cleanup(&[]),
            departure: Departure::new(1_000_000, 0),
            answer: (),
        };
        assert!(kept.is_for(&cleanup(&[]), 5_000_000, 15));
        assert!(!kept.is_for(&cleanup(&["DRYRUN"]), 5_000_000, 15));
        assert!(!kept.is_for(&cleanup(&[]), 16_000_000, 15));
        assert!(!kept.is_over(15_999_999, 15));
        assert!(kept.is_over(16_000_000, 15));
    }

    #[test]
    fn who_joined_is_told() {
        let answer = joined(Value::Map(vec![("run", 7_u64.into())]));
        let expected = vec![("run", 7_u64.into()), ("joined", true.into())];
        assert_eq!(answer, Value::Map(expected));
        let list = Value::Array(vec![Value::Status("note: all is well")]);
        assert_eq!(joined(list.clone()), list);
    }
}
