//! What a key itself says of when it was written: its value and, for idempotency keys, its name.
//!
//! Orphans have no heartbeat that could be judged, so their own keys must tell the time. Forms and units are those of
//! heartbeats. Nothing here looks at a clock, and nothing is judged.

use crate::heartbeat::forms::{Moment, Rules};
use crate::heartbeat::time_fields::TimeFields;
use crate::heartbeat::trouble::Reason;
use crate::heartbeat::{self, Account, Stored};
use crate::keys::layout::Layout;

/// What was read of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'v> {
    /// A string, read as a whole.
    Read(&'v [u8]),
    /// No string, or one too long to be read; and when it was last used, be it read or written, in milliseconds since
    /// 1970, as far as the server knows.
    Unread { used_ms: i64 },
}

/// What one key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The newest time it gives, in milliseconds since 1970.
    pub newest_ms: Option<i64>,
    /// It gives a time, and no field is there that should give one and does not. What is not conclusive proves no
    /// age: then the moment counts at which the server first saw the key.
    pub conclusive: bool,
}

/// What a key of this name says. What was not read may hold any time, so it never proves an age.
pub fn of_key(
    name: &[u8],
    content: Content,
    layout: &Layout,
    fields: &TimeFields,
    rules: Rules,
) -> Evidence {
    let named = layout
        .idempotency_tail(name)
        .and_then(|tail| digits(tail, rules));
    let named_ms = match named {
        Some(Moment::At(time)) => Some(time.ms),
        _ => None,
    };
    let value = match content {
        Content::Read(value) => value,
        Content::Unread { used_ms } => {
            return Evidence {
                newest_ms: named_ms.max(Some(used_ms)),
                conclusive: false,
            };
        }
    };
    let told = heartbeat::account(Stored::Text(value), &fields.evidence, rules);
    let newest_ms = told.reading().newest_ms.max(named_ms);
    let is_doubtful = matches!(named, Some(Moment::Not(Reason::TooOld))) || hides_a_time(&told);
    Evidence {
        newest_ms,
        conclusive: newest_ms.is_some() && !is_doubtful,
    }
}

/// Whether a value has a time that cannot be read, or lies outside the window: it may be a moment ago. A value that
/// is no time at all hides none.
fn hides_a_time(told: &Account) -> bool {
    let hidden = |reason| matches!(reason, Reason::TooOld | Reason::Zoneless);
    told.trouble()
        .is_some_and(|trouble| trouble.field.is_some() || hidden(trouble.reason))
}

/// The moment of a number as it stands in a name: decimal digits, the unit by its size.
fn digits(text: &[u8], rules: Rules) -> Option<Moment> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = is_number
        .then(|| std::str::from_utf8(text).ok())
        .flatten()?;
    Some(rules.integer(text.parse().ok()?))
}

/// Whether evidence of this time, in milliseconds since 1970, is too young at `now_ms`: its age, floored to whole
/// seconds, is not above the grace. What lies in the future is young.
pub fn is_young(newest_ms: i64, now_ms: i64, grace_s: u32) -> bool {
    let age_s = now_ms.saturating_sub(newest_ms).div_euclid(1000);
    age_s <= i64::from(grace_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_700_000_000_000;
    const IDEMPOTENCY: &str = "blocking:idempotency:a:b:completion:1:1699999000000";

    #[test]
    fn times_of_keys() {
        let old = NOW_MS - 1_000_000;
        let table: &[(&str, &str, Option<i64>, bool)] = &[
            // Fields of the value.
            (
                "blocking:signal:a",
                r#"{"timestamp":1700000000000}"#,
                Some(NOW_MS),
                true,
            ),
            (
                "blocking:signal:a",
                r#"{"lastHeartbeat":1700000000}"#,
                Some(NOW_MS),
                true,
            ),
            (
                "blocking:signal:a",
                r#"{"last_heartbeat":"1700000000000"}"#,
                Some(NOW_MS),
                true,
            ),
            (
                "coordinator:activity:a",
                r#"{"lastActivity":"2023-11-14T22:13:20Z"}"#,
                Some(NOW_MS),
                true,
            ),
            (
                "coordinator:activity:a",
                r#"{"lastActivity":1699999000000,"timestamp":1700000000000}"#,
                Some(NOW_MS),
                true,
            ),
            (
                "coordinator:activity:a",
                "1700000000000",
                Some(NOW_MS),
                true,
            ),
            // Nested ones are not the key's own.
            (
                "blocking:signal:a",
                r#"{"x":{"timestamp":1700000000000}}"#,
                None,
                false,
            ),
            (
                "blocking:signal:a",
                r#"{"Timestamp":1700000000000}"#,
                None,
                false,
            ),
            // Nothing to read.
            ("blocking:signal:a", "1", None, false),
            ("blocking:signal:a", "-1700000000000", None, false),
            ("blocking:signal:a", "", None, false),
            ("blocking:signal:a", "ping", None, false),
            ("blocking:signal:a", "{}", None, false),
            (
                "blocking:signal:a",
                "2023-11-14T22:13:20Z",
                Some(NOW_MS),
                true,
            ),
            // What lies outside the window, or has no zone, is evidence of nothing.
            (IDEMPOTENCY, "117000000000000000", Some(old), false),
            (IDEMPOTENCY, "2023-11-14T22:13:20", Some(old), false),
            (
                "blocking:idempotency:a:117000000000000000",
                r#"{"timestamp":1699999000000}"#,
                Some(old),
                false,
            ),
            ("blocking:signal:a", "{}", None, false),
            (
                "blocking:signal:a",
                r#"{"timestamp":1700000000000} x"#,
                None,
                false,
            ),
            // A field that gives no time proves no age, whatever the others say.
            ("blocking:signal:a", r#"{"timestamp":null}"#, None, false),
            (
                "blocking:signal:a",
                r#"{"timestamp":1699999000000,"lastActivity":"soon"}"#,
                Some(old),
                false,
            ),
            // The name of an idempotency key.
            (IDEMPOTENCY, "1", Some(old), true),
            (
                IDEMPOTENCY,
                r#"{"timestamp":1700000000000}"#,
                Some(NOW_MS),
                true,
            ),
            (
                IDEMPOTENCY,
                r#"{"timestamp":1600000000000}"#,
                Some(old),
                true,
            ),
            (IDEMPOTENCY, r#"{"timestamp":"?"}"#, Some(old), false),
            ("blocking:idempotency:a:1700000000", "1", Some(NOW_MS), true),
            (
                "blocking:idempotency:1700000000000",
                "1",
                Some(NOW_MS),
                true,
            ),
            ("blocking:idempotency:a:b:completion:1", "1", None, false),
            ("blocking:idempotency:a:-1700000000000", "1", None, false),
            ("blocking:idempotency:a:+1700000000000", "1", None, false),
            ("blocking:idempotency:a:1700000000000:", "1", None, false),
            ("blocking:idempotency:1700000000000:a", "1", None, false),
            (
                "blocking:idempotency:a:99999999999999999999999999999999999999999999",
                "1",
                None,
                false,
            ),
            // No other family has a time in its name.
            ("blocking:ack:a:1700000000000", "1", None, false),
            ("blocking:signal:1700000000000", "1", None, false),
        ];
        for (name, value, newest_ms, conclusive) in table {
            let expected = Evidence {
                newest_ms: *newest_ms,
                conclusive: *conclusive,
            };
            let said = of_key(
                name.as_bytes(),
                Content::Read(value.as_bytes()),
                &Layout::default(),
                &TimeFields::default(),
                Rules::default(),
            );
            assert_eq!(said, expected, "{name} {value:?}");
        }
    }

    #[test]
    fn what_was_not_read_proves_no_age_whatever_its_name_says() {
        let of = |name: &str, used_ms| {
            let content = Content::Unread { used_ms };
            let (layout, fields) = (Layout::default(), TimeFields::default());
            of_key(name.as_bytes(), content, &layout, &fields, Rules::default())
        };
        let old = NOW_MS - 1_000_000;
        for (name, used_ms, newest_ms) in [
            ("blocking:signal:a", old - 1, old - 1),
            ("blocking:signal:a", NOW_MS, NOW_MS),
            (IDEMPOTENCY, old - 1, old),
            (IDEMPOTENCY, NOW_MS, NOW_MS),
        ] {
            let expected = Evidence {
                newest_ms: Some(newest_ms),
                conclusive: false,
            };
            assert_eq!(of(name, used_ms), expected, "{name} {used_ms}");
        }
    }

    #[test]
    fn young_up_to_the_grace_and_in_the_future() {
        for (age_ms, young) in [
            (-1_000_000, true),
            (0, true),
            (600_999, true),
            (601_000, false),
            (i64::MAX, false),
        ] {
            assert_eq!(is_young(NOW_MS - age_ms, NOW_MS, 600), young, "{age_ms}");
        }
        assert!(is_young(i64::MAX, NOW_MS, 600));
        assert!(!is_young(i64::MIN, NOW_MS, 600));
    }
}
