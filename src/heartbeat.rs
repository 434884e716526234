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
    let mut json = serde_json::Deserializer::from_slice(value);
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
mod tests {
    use super::*;
    use crate::time_fields::{self, TimeFields};
    use proptest::prelude::*;

    const MAX_BYTES: usize = 65_536;
    const NOW_MS: i64 = 1_700_000_000_000;

    fn said(ms: i64) -> Reading {
        Reading {
            newest_ms: Some(ms),
            doubtful: false,
        }
    }

    fn doubted(ms: i64) -> Reading {
        Reading {
            newest_ms: Some(ms),
            doubtful: true,
        }
    }

    /// With the fields of the default.
    fn read(value: &[u8], max_bytes: usize) -> Reading {
        super::read(value, max_bytes, &TimeFields::default().beats)
    }

    fn read_text(value: &str) -> Reading {
        read(value.as_bytes(), MAX_BYTES)
    }

    /// A JSON value as the only known field.
    fn field(json: &str) -> Option<i64> {
        let reading = read_text(&format!("{{\"timestamp\":{json}}}"));
        assert_eq!(reading.doubtful, reading.newest_ms.is_none(), "{json}");
        reading.newest_ms
    }

    #[test]
    fn times() {
        const N: Option<i64> = Some(NOW_MS);
        let table = [
            // The four units.
            ("1700000000", N),
            ("1700000000000", N),
            ("1700000000000000", N),
            ("1700000000000000000", N),
            // Floored to milliseconds.
            ("1700000000000999", N),
            ("1700000000000999999", N),
            // The borders between the units.
            ("999999999", None),
            ("1000000000", Some(1_000_000_000_000)),
            ("99999999999", Some(99_999_999_999_000)),
            ("100000000000", Some(100_000_000_000)),
            ("99999999999999", Some(99_999_999_999_999)),
            ("100000000000000", Some(100_000_000_000)),
            ("99999999999999999", Some(99_999_999_999_999)),
            ("100000000000000000", Some(100_000_000_000)),
            ("18446744073709551615", Some(18_446_744_073_709)),
            ("18446744073709551616", Some(18_446_744_073_709)),
            ("\"99999999999999999999\"", Some(99_999_999_999_999)),
            ("100000000000000000000", None),
            ("\"100000000000000000000\"", None),
            ("1e30", None),
            ("1e300", None),
            // Floats keep their fraction.
            ("1700000000.5", Some(NOW_MS + 500)),
            ("1700000000.123", Some(NOW_MS + 123)),
            ("1700000000.1234567", Some(NOW_MS + 123)),
            ("1700000000000.0", N),
            ("1700000000000.75", N),
            ("1.7e9", N),
            ("1.7E12", N),
            ("17e17", N),
            ("999999999.999", None),
            // Strings that hold a number.
            ("\"1700000000000\"", N),
            ("\"1700000000.123\"", Some(NOW_MS + 123)),
            ("\"1.7e12\"", N),
            ("\"+1700000000000\"", N),
            ("\"\\u0031700000000000\"", N),
            ("\" 1700000000000\"", None),
            ("\"1700000000000 \"", None),
            ("\"1700000000000\\n\"", None),
            ("\"1_700_000_000_000\"", None),
            ("\"0x18bcfe56800\"", None),
            ("\"999999999999999999999999999999999999999999999\"", None),
            ("\"inf\"", None),
            ("\"infinity\"", None),
            ("\"NaN\"", None),
            ("\"1e400\"", None),
            ("\"\"", None),
            ("\"now\"", None),
            // Dates.
            ("\"2023-11-14T22:13:20Z\"", N),
            ("\"2023-11-14T22:13:20.123456789Z\"", Some(NOW_MS + 123)),
            ("\"2023-11-15T00:13:20+02:00\"", N),
            ("\"2023-11-14T17:13:20.999-05:00\"", Some(NOW_MS + 999)),
            ("\"2001-09-09T01:46:40Z\"", Some(1_000_000_000_000)),
            ("\"2001-09-09T01:46:39.999Z\"", None),
            ("\"1969-12-31T23:59:59Z\"", None),
            ("\"0000-01-01T00:00:00Z\"", None),
            ("\"9999-12-31T23:59:59Z\"", Some(253_402_300_799_000)),
            // Without an offset nobody knows when it was.
            ("\"2023-11-14T22:13:20\"", None),
            ("\"2023-11-14\"", None),
            ("\"2023-11-14T22:13:20Z \"", None),
            ("\"2023-02-30T22:13:20Z\"", None),
            // Not a time.
            ("0", None),
            ("-0", None),
            ("-0.0", None),
            ("1", None),
            ("-1700000000000", None),
            ("-1700000000000.5", None),
            ("\"-1700000000000\"", None),
            ("null", None),
            ("true", None),
            ("false", None),
            ("[]", None),
            ("[1700000000000]", None),
            ("{}", None),
            ("{\"timestamp\":1700000000000}", None),
        ];
        for (json, expected) in table {
            assert_eq!(field(json), expected, "{json}");
        }
    }

    #[test]
    fn where_the_newest_time_stands_and_in_which_form() {
        use Form::{Date, Microseconds, Milliseconds, Nanoseconds, Seconds};
        let fields = TimeFields::default().beats;
        type Place = (Option<&'static str>, Form);
        let table: [(&str, Option<Place>); 11] = [
            (
                r#"{"timestamp":1700000000}"#,
                Some((Some("timestamp"), Seconds)),
            ),
            (
                r#"{"lastHeartbeat":"1700000000000"}"#,
                Some((Some("lastHeartbeat"), Milliseconds)),
            ),
            (
                r#"{"last_heartbeat":1700000000000000}"#,
                Some((Some("last_heartbeat"), Microseconds)),
            ),
            ("1700000000000000000", Some((None, Nanoseconds))),
            ("1700000000.5", Some((None, Seconds))),
            (
                r#"{"timestamp":"2023-11-14T22:13:20Z"}"#,
                Some((Some("timestamp"), Date)),
            ),
            // The newest, wherever it stands; of equal ones the first.
            (
                r#"{"timestamp":1600000000,"lastHeartbeat":1700000000000}"#,
                Some((Some("lastHeartbeat"), Milliseconds)),
            ),
            (
                r#"{"timestamp":1700000000,"lastHeartbeat":1600000000000,"timestamp":null}"#,
                Some((Some("timestamp"), Seconds)),
            ),
            (
                r#"{"lastHeartbeat":1700000000,"timestamp":1700000000000}"#,
                Some((Some("lastHeartbeat"), Seconds)),
            ),
            (r#"{"timestamp":null}"#, None),
            ("not JSON", None),
        ];
        for (value, expected) in table {
            let found = told(value.as_bytes(), &fields);
            let found = found.map(|told| (told.field, told.form));
            assert_eq!(found, expected, "{value}");
        }
    }

    #[test]
    fn whole_values() {
        let old = NOW_MS - 1_000_000;
        let table = [
            (r#"{"timestamp":1700000000000}"#, said(NOW_MS)),
            (r#"{"lastHeartbeat":1700000000000}"#, said(NOW_MS)),
            (r#"{"last_heartbeat":1700000000000}"#, said(NOW_MS)),
            // The newest wins, in any order, duplicates included.
            (
                r#"{"timestamp":1699999000000,"lastHeartbeat":1700000000000}"#,
                said(NOW_MS),
            ),
            (
                r#"{"last_heartbeat":1700000000000,"timestamp":1699999000000}"#,
                said(NOW_MS),
            ),
            (
                r#"{"timestamp":1700000000000,"timestamp":1699999000000}"#,
                said(NOW_MS),
            ),
            (
                r#"{"timestamp":1699999000000,"timestamp":1700000000}"#,
                said(NOW_MS),
            ),
            // A field that is no time makes the rest doubtful, not unread.
            (
                r#"{"timestamp":null,"lastHeartbeat":1700000000000}"#,
                doubted(NOW_MS),
            ),
            (
                r#"{"timestamp":1699999000000,"timestamp":"soon"}"#,
                doubted(old),
            ),
            (
                r#"{"timestamp":[[{"timestamp":1}]],"lastHeartbeat":1699999000000}"#,
                doubted(old),
            ),
            // Layout, escapes, neighbours and nesting must not fool it.
            (" \t\r\n{ \"timestamp\" :\n1700000000000 } \n", said(NOW_MS)),
            (r#"{"\u0074imest\u0061mp":1700000000000}"#, said(NOW_MS)),
            (
                r#"{"x":{"timestamp":1700000000000},"y":[{"lastHeartbeat":1700000000000}],"timestamp":1699999000000}"#,
                said(old),
            ),
            (
                r#"{"note":"\"timestamp\":1700000000000,","timestamp":1699999000000}"#,
                said(old),
            ),
            (
                r#"{"a":1,"b":-1,"c":1.5,"d":null,"e":true,"f":"\u00e9","g":[],"h":{},"timestamp":1699999000000}"#,
                said(old),
            ),
            // Bare numbers.
            ("1700000000000", said(NOW_MS)),
            (" 1700000000.5\n", said(NOW_MS + 500)),
            ("12345", UNREADABLE),
            ("-1700000000000", UNREADABLE),
            // No known field, or one that only looks like it.
            ("{}", UNREADABLE),
            (r#"{"status":"active"}"#, UNREADABLE),
            (r#"{"x":{"timestamp":1700000000000}}"#, UNREADABLE),
            (r#"{"Timestamp":1700000000000}"#, UNREADABLE),
            (r#"{"timestamp ":1700000000000}"#, UNREADABLE),
            (r#"{"timestamp\u0000":1700000000000}"#, UNREADABLE),
            (r#"{"\\u0074imestamp":1700000000000}"#, UNREADABLE),
            (r#"{"lastActivity":1700000000000}"#, UNREADABLE),
            // Not an object.
            (r#"[{"timestamp":1700000000000}]"#, UNREADABLE),
            (r#""1700000000000""#, UNREADABLE),
            (r#""2023-11-14T22:13:20Z""#, UNREADABLE),
            ("true", UNREADABLE),
            ("null", UNREADABLE),
            // Not JSON, even where a time could be seen.
            ("", UNREADABLE),
            (" ", UNREADABLE),
            (r#"{"timestamp":1700000000000"#, UNREADABLE),
            (r#"{"timestamp":1700000000000}}"#, UNREADABLE),
            (r#"{"timestamp":1700000000000}x"#, UNREADABLE),
            (r#"{"timestamp":1700000000000,}"#, UNREADABLE),
            (r#"{'timestamp':1700000000000}"#, UNREADABLE),
            (r#"{timestamp:1700000000000}"#, UNREADABLE),
            (r#"{"timestamp":NaN}"#, UNREADABLE),
            (r#"{"timestamp":01700000000000}"#, UNREADABLE),
            (r#"{"timestamp":1e400}"#, UNREADABLE),
            ("1700000000000 1700000000000", UNREADABLE),
            ("01700000000000", UNREADABLE),
            ("\u{feff}{\"timestamp\":1700000000000}", UNREADABLE),
        ];
        for (value, expected) in table {
            assert_eq!(read_text(value), expected, "{value}");
        }
    }

    #[test]
    fn ignored_strings_must_be_text_too() {
        let value = b"{\"timestamp\":1700000000000,\"x\":\"\xff\"}";
        assert_eq!(read(value, MAX_BYTES), UNREADABLE);
        let value = b"{\"timestamp\":1700000000000,\"x\":{\"\xff\":1}}";
        assert_eq!(read(value, MAX_BYTES), UNREADABLE);
    }

    #[test]
    fn large_values_are_not_looked_at() {
        let value = b"1700000000000";
        assert_eq!(read(value, value.len()), said(NOW_MS));
        assert_eq!(read(value, value.len() - 1), UNREADABLE);
        assert_eq!(read(b"", 0), UNREADABLE);
    }

    #[test]
    fn depth_is_limited_in_every_place() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            for (depth, expected) in [(100, said(NOW_MS)), (200, UNREADABLE)] {
                let deep = open.repeat(depth) + "1" + &close.repeat(depth);
                let before = format!("{{\"x\":{deep},\"timestamp\":1700000000000}}");
                assert_eq!(read_text(&before), expected, "{depth}");
                let after = format!("{{\"timestamp\":1700000000000,\"x\":{deep}}}");
                assert_eq!(read_text(&after), expected, "{depth}");
            }
            let deep = open.repeat(200) + "1" + &close.repeat(200);
            let inside = format!("{{\"lastHeartbeat\":1700000000000,\"timestamp\":{deep}}}");
            assert_eq!(read_text(&inside), UNREADABLE);
            assert_eq!(read_text(&open.repeat(60_000 / open.len())), UNREADABLE);
        }
    }

    #[test]
    fn merging() {
        let table = [
            (said(1), said(2), said(2)),
            (said(2), said(2), said(2)),
            (said(2), doubted(1), doubted(2)),
            (said(2), UNREADABLE, doubted(2)),
            (UNREADABLE, UNREADABLE, UNREADABLE),
        ];
        for (one, other, expected) in table {
            assert_eq!(one.merged(other), expected);
            assert_eq!(other.merged(one), expected);
        }
    }

    #[test]
    fn verdicts() {
        let table = [
            (said(NOW_MS), 600, Verdict::Live),
            (said(NOW_MS + 1), 600, Verdict::Live),
            (said(NOW_MS + 1_000_000_000), 1, Verdict::Live),
            (said(i64::MAX), 1, Verdict::Live),
            // Exactly 600 s is kept, 601 s goes.
            (said(NOW_MS - 600_000), 600, Verdict::Live),
            (said(NOW_MS - 600_999), 600, Verdict::Live),
            (said(NOW_MS - 601_000), 600, Verdict::Stale { age_s: 601 }),
            (said(NOW_MS - 601_999), 600, Verdict::Stale { age_s: 601 }),
            (said(NOW_MS - 1_999), 1, Verdict::Live),
            (said(NOW_MS - 2_000), 1, Verdict::Stale { age_s: 2 }),
            (
                said(i64::MIN),
                u32::MAX,
                Verdict::Stale {
                    age_s: i64::MAX / 1_000,
                },
            ),
            // Doubt protects, but does not hide a fresh beat.
            (doubted(NOW_MS - 600_000), 600, Verdict::Live),
            (doubted(NOW_MS - 601_000), 600, Verdict::Unreadable),
            (UNREADABLE, 600, Verdict::Unreadable),
        ];
        for (reading, threshold_s, expected) in table {
            assert_eq!(
                verdict(reading, NOW_MS, threshold_s),
                expected,
                "{reading:?}"
            );
        }
    }

    /// One JSON value, of the kinds that meet a time field in practice.
    fn json_value() -> impl Strategy<Value = String> {
        let ms = NOW_MS - 2_000_000..NOW_MS + 2_000_000;
        prop_oneof![
            4 => ms.clone().prop_map(|ms| ms.to_string()),
            2 => ms.clone().prop_map(|ms| format!("\"{ms}\"")),
            2 => ms.prop_map(|ms| format!("{}.{:03}", ms / 1_000, ms % 1_000)),
            1 => any::<f64>().prop_map(|x| if x.is_finite() { x.to_string() } else { "null".into() }),
            1 => any::<i64>().prop_map(|x| x.to_string()),
            1 => prop::sample::select(vec![
                "null", "true", "\"soon\"", "[]", "{\"timestamp\":1700000000000}", "\"\\u0000\"",
            ]).prop_map(String::from),
        ]
    }

    fn fields() -> impl Strategy<Value = Vec<String>> {
        let name = prop::sample::select(vec![
            "timestamp",
            "lastHeartbeat",
            "last_heartbeat",
            "\\u0074imestamp",
            "status",
            "",
        ]);
        let field = (name, json_value()).prop_map(|(name, json)| format!("\"{name}\":{json}"));
        prop::collection::vec(field, 0..6)
    }

    fn object(fields: &[String]) -> Reading {
        read_text(&format!("{{{}}}", fields.join(",")))
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value: Vec<u8>, max_bytes in 0_usize..200) {
            let reading = read(&value, max_bytes);
            let _ = verdict(reading, NOW_MS, 600);
        }

        #[test]
        fn nothing_like_json_makes_it_panic(pieces in prop::collection::vec(
            prop::sample::select(vec![
                "{", "}", "[", "]", "\"", ":", ",", "\"timestamp\"", "\"lastHeartbeat\":", "17",
                "00000000000", ".5", "e", "-", "\\u", "d800", "null", " ", "\u{e9}",
            ]), 0..20,
        )) {
            let reading = read_text(&pieces.concat());
            prop_assert!(reading.doubtful || reading.newest_ms.is_some());
        }

        #[test]
        fn milliseconds_survive_every_spelling(ms in 1_000_000_000_000_i64..2_100_000_000_000) {
            let (s, fraction) = (ms / 1_000, ms % 1_000);
            for json in [
                format!("{ms}"),
                format!("\"{ms}\""),
                format!("{ms}.0"),
                format!("{ms}999"),
                format!("{ms}000000"),
                format!("{s}.{fraction:03}"),
                format!("\"{s}.{fraction:03}\""),
                format!("{s}.{fraction:03}0000"),
            ] {
                prop_assert_eq!(field(&json), Some(ms), "{}", json);
            }
        }

        #[test]
        fn a_fresh_field_more_never_kills(
            mut fields in fields(), at: prop::sample::Index, threshold_s in 1_u32..2_000,
            name in prop::sample::select(time_fields::DEFAULT.split(' ').collect::<Vec<_>>()), ahead_ms in 0_i64..1_000_000,
        ) {
            let before = verdict(object(&fields), NOW_MS, threshold_s);
            fields.insert(
                at.index(fields.len() + 1),
                format!("\"{name}\":{}", NOW_MS + ahead_ms),
            );
            let after = verdict(object(&fields), NOW_MS, threshold_s);
            prop_assert_eq!(after, Verdict::Live, "before: {:?}", before);
        }

        #[test]
        fn the_order_of_fields_does_not_matter(
            (fields, shuffled) in fields()
                .prop_flat_map(|fields| (Just(fields.clone()), Just(fields).prop_shuffle())),
        ) {
            prop_assert_eq!(object(&fields), object(&shuffled));
        }

        #[test]
        fn doubt_never_makes_stale(ms in any::<Option<i64>>(), now_ms: i64, threshold_s: u32) {
            let reading = Reading { newest_ms: ms, doubtful: true };
            let stale = matches!(verdict(reading, now_ms, threshold_s), Verdict::Stale { .. });
            prop_assert!(!stale);
        }

        #[test]
        fn a_verdict_is_the_age_and_nothing_else(
            age_ms in -10_000_i64..10_000_000, threshold_s in 1_u32..9_000,
        ) {
            let verdict = verdict(said(NOW_MS - age_ms), NOW_MS, threshold_s);
            let stale = age_ms >= (i64::from(threshold_s) + 1) * 1_000;
            prop_assert_eq!(verdict == Verdict::Live, !stale);
        }
    }
}
