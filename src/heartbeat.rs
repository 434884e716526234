//! The bytes of a heartbeat become the time of the last beat; a beat and a clock become a verdict.
//!
//! Whatever cannot be read with certainty is said to be doubtful, and doubt never kills: only a
//! coordinator whose every known time field was read, and is old, is stale. This file must not know
//! where the bytes came from and must not look at a clock of its own.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const NS_PER_MS: i128 = 1_000_000;
const MS_PER_S: i64 = 1_000;
/// The earliest moment that is a date: 10^9 seconds, in September 2001.
const EARLIEST_MS: i64 = 1_000_000_000_000;
/// A fraction as a binary float lies up to half a microsecond beside the decimal that was written.
/// Without this allowance `.123` seconds could be read as 122 ms: older than the beat was.
const FLOAT_ERROR_NS: i128 = 1_000;

/// What one heartbeat value said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The newest time among the known fields, in milliseconds since 1970.
    pub newest_ms: Option<i64>,
    /// Something that should have been a time was none, or there was nothing to read.
    pub doubtful: bool,
}

/// A heartbeat that gives no time at all: wrong type, too large, not JSON.
pub const UNREADABLE: Reading = Reading {
    newest_ms: None,
    doubtful: true,
};

impl Reading {
    /// The reading of one field: what is no time is doubtful.
    fn of(ms: Option<i64>) -> Self {
        Self {
            newest_ms: ms,
            doubtful: ms.is_none(),
        }
    }

    /// What two heartbeats of one coordinator say together: the newest wins, doubt adds up.
    pub fn merged(self, other: Reading) -> Reading {
        Reading {
            newest_ms: self.newest_ms.max(other.newest_ms),
            doubtful: self.doubtful || other.doubtful,
        }
    }
}

/// The form in which a time was given; for a number, its unit by its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
    /// An RFC 3339 string.
    Date,
}

impl Form {
    /// The word in replies.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Nanoseconds => "nanoseconds",
            Self::Date => "rfc3339",
        }
    }
}

/// A time as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Time {
    /// Milliseconds since 1970.
    ms: i64,
    form: Form,
}

/// Which time a value told of: the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told<'n> {
    /// The field it stood in; `None` for a bare number as the whole value.
    pub field: Option<&'n str>,
    pub form: Form,
}

/// What a reading means at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Live,
    Stale { age_s: i64 },
    Unreadable,
}

/// Judges a reading. A beat in the future counts as live, and so does one whose age, floored to
/// whole seconds, equals the threshold.
pub fn verdict(reading: Reading, now_ms: i64, threshold_s: u32) -> Verdict {
    let Some(newest_ms) = reading.newest_ms else {
        return Verdict::Unreadable;
    };
    let age_s = now_ms.saturating_sub(newest_ms).div_euclid(MS_PER_S);
    if age_s <= i64::from(threshold_s) {
        Verdict::Live
    } else if reading.doubtful {
        Verdict::Unreadable
    } else {
        Verdict::Stale { age_s }
    }
}

/// Reads a heartbeat's value, of which these top-level fields hold a time: all are looked at, the
/// newest wins. A value of more than `max_bytes` is not looked at: one huge value must not stall the
/// server.
pub fn read(value: &[u8], max_bytes: usize, fields: &[String]) -> Reading {
    if value.len() > max_bytes {
        return UNREADABLE;
    }
    read_fields(value, fields).unwrap_or(UNREADABLE)
}

/// What the top-level fields of these names say, or a bare number as the whole value; `None` if
/// there is nothing of the kind: no JSON, none of the fields, a number that is no time.
pub fn read_fields(value: &[u8], names: &[String]) -> Option<Reading> {
    account(value, names).map(|account| account.reading)
}

/// Which of these fields, or a bare number, gives the time that [`read_fields`] gives; `None` if
/// nothing does.
pub fn told<'n>(value: &[u8], names: &'n [String]) -> Option<Told<'n>> {
    let (field, time) = account(value, names)?.newest?;
    Some(Told {
        field,
        form: time.form,
    })
}

fn account<'n>(value: &[u8], names: &'n [String]) -> Option<Account<'n>> {
    // JSON is UTF-8. Looked at once and as a whole, it is not looked at again string by string.
    let text = std::str::from_utf8(value).ok()?;
    let mut json = serde_json::Deserializer::from_str(text);
    let account = Whole { names }.deserialize(&mut json).ok()?;
    // Trailing garbage makes it no JSON.
    json.end().ok()?;
    account
}

/// What the known fields of a value say together.
#[derive(Clone, Copy)]
struct Account<'n> {
    reading: Reading,
    /// The newest time, and where it stands.
    newest: Option<(Option<&'n str>, Time)>,
}

impl<'n> Account<'n> {
    /// What one field says, or a bare number.
    fn of(field: Option<&'n str>, time: Option<Time>) -> Self {
        Self {
            reading: Reading::of(time.map(|time| time.ms)),
            newest: time.map(|time| (field, time)),
        }
    }

    fn merged(self, other: Self) -> Self {
        let ms = |account: &Self| account.newest.map(|(_, time)| time.ms);
        Self {
            reading: self.reading.merged(other.reading),
            newest: if ms(&other) > ms(&self) {
                other.newest
            } else {
                self.newest
            },
        }
    }
}

/// The time of a number as it stands in a name: decimal digits, the unit by its size.
pub fn digits_ms(text: &[u8]) -> Option<i64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = digits.then(|| std::str::from_utf8(text).ok()).flatten()?;
    integer_time(text.parse().ok()?).map(|time| time.ms)
}

/// A whole value: an object that may hold time fields, or a bare number.
#[derive(Clone, Copy)]
struct Whole<'n> {
    names: &'n [String],
}

impl<'de, 'n> DeserializeSeed<'de> for Whole<'n> {
    type Value = Option<Account<'n>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, 'n> Visitor<'de> for Whole<'n> {
    type Value = Option<Account<'n>>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object or a number")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(integer_time(number.into()).map(|time| Account::of(None, Some(time))))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(float_time(number).map(|time| Account::of(None, Some(time))))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut found: Option<Account> = None;
        while let Some(known) = fields.next_key_seed(Known { names: self.names })? {
            if known.is_some() {
                let field = Account::of(known, fields.next_value::<Moment>()?.0);
                found = Some(found.map_or(field, |so_far| so_far.merged(field)));
            } else {
                fields.next_value::<Skip>()?;
            }
        }
        Ok(found)
    }
}

/// Which known one a field's name is. It is compared after its escapes are decoded.
#[derive(Clone, Copy)]
struct Known<'n> {
    names: &'n [String],
}

impl<'de, 'n> DeserializeSeed<'de> for Known<'n> {
    type Value = Option<&'n str>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'n> Visitor<'_> for Known<'n> {
    type Value = Option<&'n str>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let known = self.names.iter().find(|known| *known == name);
        Ok(known.map(String::as_str))
    }
}

/// The value of a known field: a time, or none. Any JSON is taken, so that one
/// field that is no time does not hide another one that is.
struct Moment(Option<Time>);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct AnyMoment;

        impl<'de> Visitor<'de> for AnyMoment {
            type Value = Moment;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("any JSON")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Moment, E> {
                Ok(Moment(integer_time(number.into())))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Moment, E> {
                Ok(Moment(integer_time(number.into())))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Moment, E> {
                Ok(Moment(float_time(number)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Moment, E> {
                Ok(Moment(text_time(text)))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Moment, E> {
                Ok(Moment(None))
            }

            fn visit_unit<E>(self) -> Result<Moment, E> {
                Ok(Moment(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Moment, A::Error> {
                Skip.visit_seq(items).map(|Skip| Moment(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Moment, A::Error> {
                Skip.visit_map(fields).map(|Skip| Moment(None))
            }
        }

        json.deserialize_any(AnyMoment)
    }
}

/// Any JSON, read and forgotten. serde's own `IgnoredAny` is not used: serde_json skips it without
/// its depth limit and without looking into strings.
struct Skip;

impl<'de> Deserialize<'de> for Skip {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Skip)
    }
}

impl<'de> Visitor<'de> for Skip {
    type Value = Skip;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Skip, E> {
        Ok(Skip)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Skip, E> {
        Ok(Skip)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Skip, E> {
        Ok(Skip)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Skip, E> {
        Ok(Skip)
    }

    fn visit_str<E>(self, _: &str) -> Result<Skip, E> {
        Ok(Skip)
    }

    fn visit_unit<E>(self) -> Result<Skip, E> {
        Ok(Skip)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Skip, A::Error> {
        while let Some(Skip) = items.next_element()? {}
        Ok(Skip)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Skip, A::Error> {
        while let Some((Skip, Skip)) = fields.next_entry()? {}
        Ok(Skip)
    }
}

/// How many nanoseconds one unit of a number of this size has. Dates in seconds, milliseconds,
/// microseconds and nanoseconds are so far apart that the size gives the unit away; what is smaller
/// is a counter or a monotonic clock, what is larger is no date.
fn unit_ns(number: i128) -> Option<(i128, Form)> {
    match number {
        1_000_000_000..100_000_000_000 => Some((1_000_000_000, Form::Seconds)),
        100_000_000_000..100_000_000_000_000 => Some((1_000_000, Form::Milliseconds)),
        100_000_000_000_000..100_000_000_000_000_000 => Some((1_000, Form::Microseconds)),
        100_000_000_000_000_000..100_000_000_000_000_000_000 => Some((1, Form::Nanoseconds)),
        _ => None,
    }
}

// The products below stay under 10^20 by the ranges above, far from the limits of i128.
fn integer_time(number: i128) -> Option<Time> {
    let (unit_ns, form) = unit_ns(number)?;
    floored(number * unit_ns, form)
}

fn float_time(number: f64) -> Option<Time> {
    // The conversion saturates, and takes NaN for zero; none of that has a unit.
    let whole = number as i128;
    let (unit_ns, form) = unit_ns(whole)?;
    let fraction_ns = (number.fract() * unit_ns as f64) as i128;
    floored(whole * unit_ns + fraction_ns + FLOAT_ERROR_NS, form)
}

fn text_time(text: &str) -> Option<Time> {
    if let Ok(number) = text.parse() {
        return integer_time(number);
    }
    if let Ok(number) = text.parse() {
        return float_time(number);
    }
    let date = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    floored(date.unix_timestamp_nanos(), Form::Date).filter(|time| time.ms >= EARLIEST_MS)
}

fn floored(ns: i128, form: Form) -> Option<Time> {
    let ms = i64::try_from(ns.div_euclid(NS_PER_MS)).ok()?;
    Some(Time { ms, form })
}

#[cfg(test)]
#[path = "heartbeat_tests.rs"]
mod tests;
