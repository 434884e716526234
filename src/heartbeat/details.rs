//! All that LIST, EXPLAIN and DOCTOR show of one heartbeat: what it says, where it says so, when it expires.

use crate::heartbeat::fingerprint::Fingerprinter;
use crate::heartbeat::forms::Form;
use crate::heartbeat::reader::Reader;
use crate::heartbeat::trouble::Trouble;
use crate::heartbeat::{PRESENCE, Reading, Stored};

/// The field of a time that is the whole value.
const WHOLE_VALUE: &str = "(value)";

/// The field of a heartbeat that gives no time and need not.
const NO_FIELD: &str = "(presence)";

/// One heartbeat, looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatDetails {
    pub reading: Reading,
    /// The field that gave the newest time, and its form.
    pub told: Option<(String, Form)>,
    /// When it expires, milliseconds since 1970; `None` if it does not.
    pub expires_ms: Option<i64>,
    /// Why it gives no time, or none that can be relied on.
    pub trouble: Option<Trouble>,
    /// The fingerprint of its value, if it was asked for and the value could be read.
    pub print: Option<u64>,
}

impl HeartbeatDetails {
    /// What is stored, read like a heartbeat. `expires_ms` is negative for a key without a TTL. `prints` are those
    /// of the schedule's second look, not the reader's own.
    pub fn of(
        stored: Stored,
        expires_ms: i64,
        reader: &Reader,
        prints: Option<&Fingerprinter>,
    ) -> Self {
        let account = reader.account(stored);
        let expires_ms = (expires_ms >= 0).then_some(expires_ms);
        let print = prints.and_then(|prints| prints.of_stored(stored, reader.max_bytes));
        if account.may_be_presence() && expires_ms.is_some() {
            return Self {
                reading: PRESENCE,
                told: Some((NO_FIELD.to_owned(), Form::Presence)),
                expires_ms,
                trouble: None,
                print,
            };
        }
        let told = account.told();
        Self {
            reading: account.reading(),
            told: told.map(|(field, form)| (field.unwrap_or(WHOLE_VALUE).to_owned(), form)),
            expires_ms,
            trouble: account.trouble().cloned(),
            print,
        }
    }

    /// Whether it gives no time, and is alive while it is there.
    pub fn is_presence(&self) -> bool {
        self.reading == PRESENCE
    }

    /// Age at a moment, floored to whole seconds; negative for a beat in the future.
    pub fn age_s(&self, now_ms: i64) -> Option<i64> {
        let beat_ms = self.reading.newest_ms.filter(|_| !self.is_presence())?;
        Some(now_ms.saturating_sub(beat_ms).div_euclid(1000))
    }

    /// Seconds until it expires, rounded as the server's TTL command does.
    pub fn ttl_s(&self, now_ms: i64) -> Option<i64> {
        let left_ms = self.expires_ms?.saturating_sub(now_ms).max(0);
        Some(left_ms.saturating_add(500) / 1000)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::heartbeat::time_fields::TimeFields;
    use crate::heartbeat::trouble::Reason;

    const NOW_MS: i64 = 1_700_000_000_000;

    fn reader() -> Reader {
        Reader {
            max_bytes: 100,
            ..Reader::default()
        }
    }

    fn vitals(value: &str, expires_ms: i64) -> HeartbeatDetails {
        HeartbeatDetails::of(Stored::Text(value.as_bytes()), expires_ms, &reader(), None)
    }

    #[test]
    fn what_a_heartbeat_tells() {
        let json = vitals(r#"{"lastHeartbeat":1699999000000}"#, NOW_MS + 1_499);
        assert_eq!(
            json.told,
            Some(("lastHeartbeat".to_owned(), Form::Milliseconds))
        );
        assert_eq!(
            (json.age_s(NOW_MS), json.ttl_s(NOW_MS)),
            (Some(1000), Some(1))
        );
        assert_eq!(
            (json.age_s(NOW_MS - 1_000_001), json.trouble),
            (Some(-1), None)
        );
        let bare = vitals("1700000000", -1);
        assert_eq!(bare.told, Some(("(value)".to_owned(), Form::Seconds)));
        assert_eq!((bare.ttl_s(NOW_MS), bare.print), (None, None));
    }

    #[test]
    fn a_heartbeat_without_a_time_is_alive_while_its_ttl_lasts() {
        for value in ["1", "", "on", "\"on\"", "null", "[]", "true", "-5", "NaN"] {
            let there = vitals(value, NOW_MS + 5_000);
            assert_eq!(there.reading, PRESENCE, "{value}");
            assert_eq!(there.told, Some(("(presence)".to_owned(), Form::Presence)));
            assert_eq!((there.age_s(NOW_MS), there.trouble), (None, None));
            assert!(vitals(value, -1).trouble.is_some(), "{value}");
        }
        // What was meant to give a time and does not is no presence, nor is what was not read.
        let ticks = "638000000000000000";
        for value in [
            "{}",
            r#"{"timestamp":1}"#,
            "{",
            "2026-11-30 18:12:00",
            ticks,
        ] {
            let broken = vitals(value, NOW_MS + 5_000);
            assert!(broken.trouble.is_some() && !broken.is_presence(), "{value}");
        }
        let long = "x".repeat(101);
        assert!(!vitals(&long, NOW_MS + 5_000).is_presence());
        let list = Stored::Unread(Reason::OtherType, b"list");
        assert!(!HeartbeatDetails::of(list, NOW_MS + 5_000, &reader(), None).is_presence());
        let hash = Stored::Hash(&[]);
        assert!(!HeartbeatDetails::of(hash, NOW_MS + 5_000, &reader(), None).is_presence());
    }

    #[test]
    fn the_fields_are_those_of_the_reader() {
        let reader = Reader {
            fields: Arc::new(TimeFields::parse(b"beat.at").unwrap()),
            ..reader()
        };
        let vitals =
            |value: &str| HeartbeatDetails::of(Stored::Text(value.as_bytes()), -1, &reader, None);
        let both = vitals(r#"{"timestamp":1700000000000,"beat.at":1699999000}"#);
        assert_eq!(both.told, Some(("beat.at".to_owned(), Form::Seconds)));
        assert_eq!(both.age_s(NOW_MS), Some(1000));
        let inside = vitals(r#"{"beat":{"at":1699999000}}"#);
        assert_eq!(inside.told, both.told);
        let other = vitals(r#"{"timestamp":1700000000000}"#);
        let reason = other.trouble.map(|trouble| trouble.reason);
        assert_eq!((other.told, reason), (None, Some(Reason::NoField)));
    }

    #[test]
    fn prints_only_if_asked_for() {
        let prints = Fingerprinter::default();
        let with = HeartbeatDetails::of(Stored::Text(b"1"), -1, &reader(), Some(&prints));
        assert_eq!(with.print, Some(prints.of(b"1")));
    }
}
