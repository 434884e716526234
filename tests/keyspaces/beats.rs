//! What a heartbeat's value says, read by the README's section "Reading a heartbeat" and nothing else.
//! Must share no line with the module: JSON and dates come from the same libraries, every rule is written again.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const FIELDS: [&str; 3] = ["timestamp", "lastHeartbeat", "last_heartbeat"];

/// 2001-09-09: the first moment whose number of seconds is a date and no counter.
const FIRST_DATE_MS: i64 = 1_000_000_000_000;

/// What a coordinator is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Live,
    Stale { beat_ms: i64 },
    Unreadable,
}

/// Judges a heartbeat; `None` stands for a value that is no string.
pub fn judge(value: Option<&[u8]>, max_bytes: usize, now_ms: i64, threshold_s: i64) -> State {
    let value = value.filter(|value| value.len() <= max_bytes);
    let Some(said) = value.and_then(times) else {
        return State::Unreadable;
    };
    let Some(beat_ms) = said.iter().flatten().max().copied() else {
        return State::Unreadable;
    };
    let age_s = (now_ms - beat_ms).div_euclid(1_000);
    if age_s <= threshold_s {
        State::Live
    } else if said.contains(&None) {
        // Old as far as can be told, but one of the fields may have said more than can be read.
        State::Unreadable
    } else {
        State::Stale { beat_ms }
    }
}

/// What each known field says, in milliseconds since 1970, or that it says no time. `None` for a value that is neither
/// an object nor a number.
fn times(value: &[u8]) -> Option<Vec<Option<i64>>> {
    match serde_json::from_slice(value).ok()? {
        Whole::Number(number) => Some(vec![number_ms(&number)]),
        Whole::Other => None,
        Whole::Object(fields) => {
            let known = fields
                .iter()
                .filter(|(name, _)| FIELDS.contains(&name.as_str()));
            Some(known.map(|(_, value)| time_ms(value)).collect())
        }
    }
}

/// A whole value. An object keeps its duplicates, which `serde_json::Value` would not.
enum Whole {
    Object(Vec<(String, Value)>),
    Number(serde_json::Number),
    Other,
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
                Ok(Whole::Number(number.into()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Whole, E> {
                Ok(Whole::Number(number.into()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Whole, E> {
                Ok(serde_json::Number::from_f64(number).map_or(Whole::Other, Whole::Number))
            }

            fn visit_str<E>(self, _: &str) -> Result<Whole, E> {
                Ok(Whole::Other)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Whole, E> {
                Ok(Whole::Other)
            }

            fn visit_unit<E>(self) -> Result<Whole, E> {
                Ok(Whole::Other)
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> Result<Whole, A::Error> {
                while list.next_element::<Value>()?.is_some() {}
                Ok(Whole::Other)
            }
        }

        json.deserialize_any(AnyJson)
    }
}

/// What a value that is no heartbeat's says of when it was written, field by field; `None` if it says nothing at all.
pub fn evidence(value: &[u8]) -> Option<Vec<Option<i64>>> {
    let said = match serde_json::from_slice(value).ok()? {
        Whole::Number(number) => number_ms(&number).map(Some).into_iter().collect(),
        Whole::Other => Vec::new(),
        Whole::Object(fields) => {
            let known = |name: &str| name == "lastActivity" || FIELDS.contains(&name);
            let known = fields.iter().filter(|(name, _)| known(name));
            known.map(|(_, value)| time_ms(value)).collect()
        }
    };
    Some(said)
}

/// The time that a row of digits stands for.
pub fn digits_ms(digits: &[u8]) -> Option<i64> {
    whole_ms(std::str::from_utf8(digits).ok()?.parse().ok()?)
}

fn time_ms(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number_ms(number),
        Value::String(text) => text_ms(text),
        _ => None,
    }
}

fn number_ms(number: &serde_json::Number) -> Option<i64> {
    match number.as_u64() {
        Some(whole) => whole_ms(whole.into()),
        None => float_ms(number.as_f64()?),
    }
}

fn text_ms(text: &str) -> Option<i64> {
    if let Ok(whole) = text.parse::<i128>() {
        return whole_ms(whole);
    }
    if let Ok(number) = text.parse::<f64>() {
        return float_ms(number);
    }
    let date = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let ms = date.unix_timestamp() * 1_000 + i64::from(date.millisecond());
    (ms >= FIRST_DATE_MS).then_some(ms)
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

    /// The examples of the README's words, so that the model is not wrong in the same way as what it judges.
    #[test]
    fn reads_what_the_readme_says() {
        let said = |value: &str| times(value.as_bytes());
        let ms = 1_700_000_000_123;
        for value in [
            r#"{"timestamp":1700000000123}"#,
            r#"{"lastHeartbeat":"1700000000123"}"#,
            r#"{"last_heartbeat":1700000000.123}"#,
            r#"{"timestamp":1700000000123456}"#,
            r#"{"timestamp":"1700000000123456789"}"#,
            r#"{"timestamp":"2023-11-14T22:13:20.123Z"}"#,
            "1700000000123",
        ] {
            assert_eq!(said(value), Some(vec![Some(ms)]), "{value}");
        }
        let two = r#"{"timestamp":1700000000123,"x":{"timestamp":9},"timestamp":null}"#;
        assert_eq!(said(two), Some(vec![Some(ms), None]));
        assert_eq!(said(r#"{"x":1700000000123}"#), Some(vec![]));
        for value in ["", "x", "\"1700000000123\"", "[1700000000123]", "{} x"] {
            assert_eq!(said(value), None, "{value}");
        }
        assert_eq!(said("999999999"), Some(vec![None]));
    }

    #[test]
    fn exactly_the_threshold_is_alive() {
        let at = |age_ms: i64| judge(Some(b"1700000000000"), 64, 1_700_000_000_000 + age_ms, 600);
        assert_eq!([at(-5), at(600_999)], [State::Live; 2]);
        let beat_ms = 1_700_000_000_000;
        assert_eq!(at(601_000), State::Stale { beat_ms });
    }
}
