//! What a heartbeat's value says, read by docs/keys.md#reading-a-heartbeat and nothing else.
//! Must share no line with the module: JSON and dates come from the same libraries, every rule is written again.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const FIELDS: [&str; 3] = ["timestamp", "lastHeartbeat", "last_heartbeat"];

/// `blocking.beat-window-days`, its default.
const WINDOW_MS: i64 = 3_650 * 86_400_000;

/// What a coordinator is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Live,
    Stale { beat_ms: i64 },
    Unreadable,
}

/// What one place of a value says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Time(i64),
    /// Null, or zero.
    Absent,
    /// A date, but none that counts: too old, or without a zone.
    Useless,
    Nothing,
}

/// A value, taken apart.
enum Parts {
    Fields(Vec<Said>),
    Whole(Said),
    /// It begins like an object and is none.
    Broken,
}

/// Judges a heartbeat; `None` stands for a value that gives no time by its type.
pub fn judge(
    value: Option<&[u8]>,
    has_ttl: bool,
    max_bytes: usize,
    now_ms: i64,
    threshold_s: i64,
) -> State {
    let Some(value) = value.filter(|value| value.len() <= max_bytes) else {
        return State::Unreadable;
    };
    let said = match parts(value, &FIELDS, now_ms) {
        Parts::Broken | Parts::Whole(Said::Useless) => return State::Unreadable,
        Parts::Whole(Said::Absent | Said::Nothing) if has_ttl => return State::Live,
        Parts::Whole(said) => vec![said],
        Parts::Fields(said) => said,
    };
    let times = said.iter().filter_map(|said| match said {
        Said::Time(ms) => Some(*ms),
        _ => None,
    });
    let Some(beat_ms) = times.max() else {
        return State::Unreadable;
    };
    let age_s = (now_ms - beat_ms).div_euclid(1_000);
    if age_s <= threshold_s {
        State::Live
    } else if said
        .iter()
        .any(|said| matches!(said, Said::Useless | Said::Nothing))
    {
        // Old as far as can be told, but one of the fields may have said more than can be read.
        State::Unreadable
    } else {
        State::Stale { beat_ms }
    }
}

/// What a value says in the fields of these names, or as a whole.
fn parts(value: &[u8], names: &[&str], now_ms: i64) -> Parts {
    let is_object = value.trim_ascii_start().starts_with(b"{");
    match serde_json::from_slice(value) {
        Ok(Whole::Object(fields)) => {
            let known = fields
                .iter()
                .filter(|(name, _)| names.contains(&name.as_str()));
            Parts::Fields(known.map(|(_, value)| said(value, now_ms)).collect())
        }
        Ok(Whole::Scalar(value)) => Parts::Whole(said(&value, now_ms)),
        Err(_) if is_object => Parts::Broken,
        Err(_) => Parts::Whole(match std::str::from_utf8(value) {
            Ok(text) => text_said(text.trim_ascii(), now_ms),
            Err(_) => Said::Nothing,
        }),
    }
}

/// A whole value. An object keeps its duplicates, which `serde_json::Value` would not.
enum Whole {
    Object(Vec<(String, Value)>),
    Scalar(Value),
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct AnyJson;

        impl<'de> Visitor<'de> for AnyJson {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Whole, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Whole::Object(fields))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Whole, E> {
                Ok(Whole::Scalar(number.into()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Whole, E> {
                Ok(Whole::Scalar(number.into()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Whole, E> {
                Ok(Whole::Scalar(number.into()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Whole, E> {
                Ok(Whole::Scalar(text.into()))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Whole, E> {
                Ok(Whole::Scalar(true.into()))
            }

            fn visit_unit<E>(self) -> Result<Whole, E> {
                Ok(Whole::Scalar(true.into()))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> Result<Whole, A::Error> {
                while list.next_element::<Value>()?.is_some() {}
                Ok(Whole::Scalar(true.into()))
            }
        }

        json.deserialize_any(AnyJson)
    }
}

/// What a value that is no heartbeat's says of when it was written: its times, and `None` for each that may hide one.
pub fn evidence(value: &[u8], now_ms: i64) -> Vec<Option<i64>> {
    let names = [
        "timestamp",
        "lastHeartbeat",
        "last_heartbeat",
        "lastActivity",
    ];
    match parts(value, &names, now_ms) {
        Parts::Broken | Parts::Whole(Said::Absent | Said::Nothing) => Vec::new(),
        Parts::Whole(Said::Useless) => vec![None],
        Parts::Whole(Said::Time(ms)) => vec![Some(ms)],
        Parts::Fields(said) => {
            let has_time = said.iter().any(|said| matches!(said, Said::Time(_)));
            let told = said.into_iter().filter_map(|said| match said {
                Said::Time(ms) => Some(Some(ms)),
                Said::Absent if has_time => None,
                Said::Absent | Said::Useless | Said::Nothing => Some(None),
            });
            told.collect()
        }
    }
}

/// The time that a row of digits stands for; `Some(None)` for one outside the window.
pub fn digits_ms(digits: &[u8], now_ms: i64) -> Option<Option<i64>> {
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    match windowed(whole_ms(number), number == 0, now_ms) {
        Said::Time(ms) => Some(Some(ms)),
        Said::Useless => Some(None),
        Said::Absent | Said::Nothing => None,
    }
}

fn said(value: &Value, now_ms: i64) -> Said {
    match value {
        Value::Null => Said::Absent,
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(whole), _) => windowed(whole_ms(whole.into()), whole == 0, now_ms),
            (None, Some(float)) => windowed(float_ms(float), float == 0.0, now_ms),
            (None, None) => Said::Nothing,
        },
        Value::String(text) => text_said(text, now_ms),
        _ => Said::Nothing,
    }
}

fn windowed(ms: Option<i64>, is_zero: bool, now_ms: i64) -> Said {
    match ms {
        Some(ms) if ms < now_ms - WINDOW_MS => Said::Useless,
        Some(ms) => Said::Time(ms),
        None if is_zero => Said::Absent,
        None => Said::Nothing,
    }
}

fn text_said(text: &str, now_ms: i64) -> Said {
    if let Ok(whole) = text.parse::<i128>() {
        return windowed(whole_ms(whole), whole == 0, now_ms);
    }
    if let Ok(number) = text.parse::<f64>() {
        return windowed(float_ms(number), number == 0.0, now_ms);
    }
    if let Ok(date) = OffsetDateTime::parse(text, &Rfc3339) {
        let ms = date.unix_timestamp() * 1_000 + i64::from(date.millisecond());
        return windowed(Some(ms), false, now_ms);
    }
    // The same without a zone.
    match OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339) {
        Ok(_) => Said::Useless,
        Err(_) => Said::Nothing,
    }
}

/// A number's unit is told by how many digits it has: 10 and 11 are seconds, up to 14 milliseconds, up to 17
/// microseconds, up to 20 nanoseconds; fewer are a counter, more are nothing.
fn whole_ms(number: i128) -> Option<i64> {
    if number <= 0 {
        return None;
    }
    let ms = match number.to_string().len() {
        10 | 11 => number * 1_000,
        12..=14 => number,
        15..=17 => number / 1_000,
        18..=20 => number / 1_000_000,
        _ => return None,
    };
    ms.try_into().ok()
}

/// The same with a fraction, which is exact to the microsecond at best.
fn float_ms(number: f64) -> Option<i64> {
    if !(1e9..1e20).contains(&number) {
        return None;
    }
    let us = match number {
        n if n < 1e11 => n * 1e6,
        n if n < 1e14 => n * 1e3,
        n if n < 1e17 => n,
        n => n / 1e3,
    };
    Some(us.round() as i64 / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_700_000_000_000;

    /// The examples of that page, so that the model is not wrong in the same way as what it judges.
    #[test]
    fn reads_what_the_page_says() {
        let state = |value: &str, has_ttl| {
            judge(Some(value.as_bytes()), has_ttl, 200, NOW_MS + 700_123, 600)
        };
        let beat_ms = NOW_MS + 123;
        for value in [
            r#"{"timestamp":1700000000123}"#,
            r#"{"lastHeartbeat":"1700000000123"}"#,
            r#"{"last_heartbeat":1700000000.123,"timestamp":null}"#,
            r#"{"timestamp":1700000000123456,"lastHeartbeat":0}"#,
            r#"{"timestamp":"1700000000123456789"}"#,
            r#"{"timestamp":"2023-11-14T22:13:20.123Z"}"#,
            "1700000000123",
            "\"1700000000123\"",
            "2023-11-14T22:13:20.123Z\n",
        ] {
            assert_eq!(state(value, true), State::Stale { beat_ms }, "{value}");
        }
        for value in ["", "x", "5", "[1700000000123]", "null", "\"2023-11-14\""] {
            assert_eq!(state(value, true), State::Live, "{value}");
            assert_eq!(state(value, false), State::Unreadable, "{value}");
        }
        for value in [
            "{} x",
            "{}",
            r#"{"x":1700000000123}"#,
            r#"{"timestamp":1700000000123,"lastHeartbeat":"soon"}"#,
            "2023-11-14T22:13:20",
            "638000000000000000",
        ] {
            assert_eq!(state(value, true), State::Unreadable, "{value}");
        }
    }

    #[test]
    fn exactly_the_threshold_is_alive() {
        let at = |age_ms: i64| {
            judge(
                Some(b"1700000000000"),
                false,
                64,
                1_700_000_000_000 + age_ms,
                600,
            )
        };
        assert_eq!([at(-5), at(600_999)], [State::Live; 2]);
        let beat_ms = 1_700_000_000_000;
        assert_eq!(at(601_000), State::Stale { beat_ms });
    }
}
