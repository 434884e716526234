//! All that shows of one heartbeat, for those who ask: what it says, where it says so, when it expires.

use crate::heartbeat::{self, Form, Reading, UNREADABLE};
use crate::second_look::{Prints, Reader};

/// The field of a bare number as the whole value.
const WHOLE_VALUE: &str = "(value)";

/// One heartbeat, looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vitals {
    pub reading: Reading,
    /// The field that gave the newest time, and its form.
    pub told: Option<(String, Form)>,
    /// When it expires, milliseconds since 1970; `None` if it does not.
    pub expires_ms: Option<i64>,
    /// Why it gives no time, or none that can be relied on.
    pub trouble: Option<&'static str>,
    /// The fingerprint of its value, if it was asked for and the value could be read.
    pub print: Option<u64>,
}

/// What a look at a key brought.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'v> {
    pub is_string: bool,
    /// `None` where it is no string or too long.
    pub value: Option<&'v [u8]>,
    /// Negative if it does not expire.
    pub expires_ms: i64,
}

impl Vitals {
    /// What was seen, read like a heartbeat. The prints are not the reader's: they are those of a
    /// schedule that may look twice, not of this run.
    pub fn of(seen: Seen, reader: &Reader, prints: Option<&Prints>) -> Self {
        let reading = seen
            .value
            .map_or(UNREADABLE, |value| reader.read(value).reading);
        let told = seen
            .value
            .and_then(|v| heartbeat::told(v, &reader.fields.beats));
        let trouble = match (seen.is_string, seen.value) {
            (false, _) => Some("it is no string"),
            (true, None) => Some("it is longer than blocking.max-heartbeat-bytes"),
            (true, Some(_)) if reading.newest_ms.is_none() => Some("it gives no time"),
            (true, Some(_)) if reading.doubtful => Some("one of its time fields gives no time"),
            (true, Some(_)) => None,
        };
        Self {
            reading,
            told: told.map(|told| (told.field.unwrap_or(WHOLE_VALUE).to_owned(), told.form)),
            expires_ms: (seen.expires_ms >= 0).then_some(seen.expires_ms),
            trouble,
            print: prints
                .zip(seen.value)
                .map(|(prints, value)| prints.of(value)),
        }
    }

    /// Age at a moment, floored to whole seconds; negative for a beat in the future.
    pub fn age_s(&self, now_ms: i64) -> Option<i64> {
        let beat_ms = self.reading.newest_ms?;
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
    use crate::time_fields::TimeFields;

    const NOW_MS: i64 = 1_700_000_000_000;

    fn reader() -> Reader {
        Reader {
            max_bytes: 100,
            ..Reader::default()
        }
    }

    fn vitals(value: Option<&str>, is_string: bool, expires_ms: i64) -> Vitals {
        let seen = Seen {
            is_string,
            value: value.map(str::as_bytes),
            expires_ms,
        };
        Vitals::of(seen, &reader(), None)
    }

    #[test]
    fn what_a_heartbeat_tells() {
        let json = vitals(
            Some(r#"{"lastHeartbeat":1699999000000}"#),
            true,
            NOW_MS + 1_499,
        );
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
        let bare = vitals(Some("1700000000"), true, -1);
        assert_eq!(bare.told, Some(("(value)".to_owned(), Form::Seconds)));
        assert_eq!((bare.ttl_s(NOW_MS), bare.print), (None, None));
    }

    #[test]
    fn why_a_heartbeat_cannot_be_read() {
        let table = [
            (None, false, "it is no string"),
            (None, true, "it is longer than blocking.max-heartbeat-bytes"),
            (Some("x"), true, "it gives no time"),
            (Some("{}"), true, "it gives no time"),
            (
                Some(r#"{"timestamp":null,"lastHeartbeat":1700000000}"#),
                true,
                "one of its time fields gives no time",
            ),
        ];
        for (value, is_string, why) in table {
            assert_eq!(vitals(value, is_string, -1).trouble, Some(why), "{value:?}");
        }
    }

    #[test]
    fn the_fields_are_those_of_the_reader() {
        let reader = Reader {
            fields: Arc::new(TimeFields::parse(b"beat.at").unwrap()),
            ..reader()
        };
        let vitals = |value: &str| {
            let seen = Seen {
                is_string: true,
                value: Some(value.as_bytes()),
                expires_ms: -1,
            };
            Vitals::of(seen, &reader, None)
        };
        let both = vitals(r#"{"timestamp":1700000000000,"beat.at":1699999000}"#);
        assert_eq!(both.told, Some(("beat.at".to_owned(), Form::Seconds)));
        assert_eq!(both.age_s(NOW_MS), Some(1000));
        let other = vitals(r#"{"timestamp":1700000000000}"#);
        assert_eq!(
            (other.told, other.trouble),
            (None, Some("it gives no time"))
        );
    }

    #[test]
    fn prints_only_if_asked_for() {
        let prints = Prints::default();
        let seen = Seen {
            is_string: true,
            value: Some(b"1"),
            expires_ms: -1,
        };
        let with = Vitals::of(seen, &reader(), Some(&prints));
        assert_eq!(with.print, Some(prints.of(b"1")));
    }
}
