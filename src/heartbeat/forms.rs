//! The forms in which writers put the time of a beat: one table, and the readers of each.
//!
//! docs/keys.md prints the table, and a test reads every example of it. Here a number or a text becomes a moment, or
//! the reason why it is none. A moment further back than the window is none either: a number of an unknown unit or
//! epoch, written now, would otherwise look like an old date.

use time::format_description::well_known::{Iso8601, Rfc2822, Rfc3339};
use time::{OffsetDateTime, PrimitiveDateTime};

use super::trouble::Reason;
use crate::reply::error::BadSetting;

const NS_PER_MS: i128 = 1_000_000;
/// A fraction as a binary float lies up to half a microsecond beside the decimal that was written. Without this
/// allowance `.123` seconds could be read as 122 ms: older than the beat was.
const FLOAT_ERROR_NS: i128 = 1_000;
/// 10^9 seconds, in September 2001: the earliest moment where nothing else was said.
const EARLIEST_MS: i64 = 1_000_000_000_000;
/// The longest text that is held against the forms of dates.
const LONGEST_DATE: usize = 64;

/// The form in which a time was given; for a number, its unit by its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
    Rfc3339,
    Iso8601,
    Rfc2822,
    /// No time at all: the key has a TTL, and is alive while it is there.
    Presence,
}

impl Form {
    /// The word in replies.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Nanoseconds => "nanoseconds",
            Self::Rfc3339 => "rfc3339",
            Self::Iso8601 => "iso8601",
            Self::Rfc2822 => "rfc2822",
            Self::Presence => "presence",
        }
    }
}

/// A line of the table in docs/keys.md, which the tests read, too.
#[cfg(test)]
#[derive(Debug)]
pub struct Line {
    /// What it is, in words.
    pub what: &'static str,
    /// A value; they all mean the same moment, to the minute.
    pub example: &'static str,
    pub form: Form,
}

#[cfg(test)]
const fn line(form: Form, what: &'static str, example: &'static str) -> Line {
    Line {
        what,
        example,
        form,
    }
}

/// Every form that is read. The last one is without a zone and needs `blocking.zoneless utc`.
#[cfg(test)]
pub const TABLE: [Line; 21] = [
    line(
        Form::Milliseconds,
        "milliseconds since 1970",
        "1796062320123",
    ),
    line(Form::Seconds, "seconds", "1796062320"),
    line(Form::Seconds, "seconds with a fraction", "1796062320.123"),
    line(Form::Microseconds, "microseconds", "1796062320123456"),
    line(Form::Nanoseconds, "nanoseconds", "1796062320123456789"),
    line(
        Form::Milliseconds,
        "a number in quotes",
        "\"1796062320123\"",
    ),
    line(Form::Rfc3339, "RFC 3339", "2026-11-30T18:12:00.123Z"),
    line(
        Form::Rfc3339,
        "with an offset",
        "2026-11-30T19:12:00.123+01:00",
    ),
    line(
        Form::Rfc3339,
        "a date in quotes",
        "\"2026-11-30T18:12:00Z\"",
    ),
    line(
        Form::Rfc3339,
        "a space for the T",
        "2026-11-30 18:12:00+00:00",
    ),
    line(Form::Rfc3339, "lower case", "2026-11-30t18:12:00z"),
    line(
        Form::Iso8601,
        "an offset without colon",
        "2026-11-30T18:12:00+0000",
    ),
    line(Form::Iso8601, "of hours", "2026-11-30 18:12:00.123+00"),
    line(
        Form::Iso8601,
        "a comma before the fraction",
        "2026-11-30T18:12:00,123Z",
    ),
    line(Form::Iso8601, "without seconds", "2026-11-30T18:12Z"),
    line(Form::Iso8601, "ISO 8601, basic", "20261130T181200Z"),
    line(
        Form::Iso8601,
        "UTC or GMT as a word",
        "2026-11-30 18:12:00 UTC",
    ),
    line(
        Form::Iso8601,
        "and an offset",
        "2026-11-30 18:12:00.123 +0000 UTC",
    ),
    line(Form::Rfc2822, "RFC 2822", "Mon, 30 Nov 2026 19:12:00 +0100"),
    line(Form::Rfc2822, "as in HTTP", "Mon, 30 Nov 2026 18:12:00 GMT"),
    line(
        Form::Iso8601,
        "without a zone, if `blocking.zoneless` is `utc`",
        "2026-11-30T18:12:00.123",
    ),
];

/// A time as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// Milliseconds since 1970.
    pub ms: i64,
    pub form: Form,
}

/// What a number or a text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    At(Time),
    /// Null, 0 or the zero time of a language: as good as not there, where there is another time.
    Absent(Reason),
    Not(Reason),
}

/// The value of `blocking.zoneless`: what a date without a zone means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Zoneless {
    /// Nothing: to guess the zone could kill.
    #[default]
    Refuse,
    Utc,
}

impl Zoneless {
    /// Reads the value of the setting.
    pub fn parse(text: &[u8]) -> Result<Self, BadSetting> {
        match text {
            b"refuse" => Ok(Self::Refuse),
            b"utc" => Ok(Self::Utc),
            _ => Err(BadSetting::Zoneless),
        }
    }
}

/// Which moments are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    pub zoneless: Zoneless,
    /// Milliseconds since 1970; what lies before is no beat.
    pub earliest_ms: i64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            zoneless: Zoneless::Refuse,
            earliest_ms: EARLIEST_MS,
        }
    }
}

impl Rules {
    /// Those of a run that begins at this moment, with a window of so many days.
    pub fn new(zoneless: Zoneless, now_ms: i64, window_days: u64) -> Self {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        let days = i64::try_from(window_days).unwrap_or(i64::MAX);
        Self {
            zoneless,
            earliest_ms: now_ms.saturating_sub(days.saturating_mul(DAY_MS)),
        }
    }

    fn within(self, ns: i128, form: Form) -> Moment {
        match i64::try_from(ns.div_euclid(NS_PER_MS)) {
            Ok(ms) if ms >= self.earliest_ms => Moment::At(Time { ms, form }),
            _ => Moment::Not(Reason::TooOld),
        }
    }

    /// The moment of a whole number.
    pub fn integer(self, number: i128) -> Moment {
        match unit_ns(number) {
            // The product stays under 10^20 by the ranges of units, far from the limits of i128.
            Some((unit_ns, form)) => self.within(number * unit_ns, form),
            None => no_unit(number),
        }
    }

    /// The moment of a number with a fraction, or with an exponent.
    fn float(self, number: f64, text: &str) -> Moment {
        if !number.is_finite() {
            return Moment::Not(Reason::NotFinite);
        }
        if number != 0.0 && number.abs() < 1.0 {
            return Moment::Not(Reason::Small);
        }
        // The conversion saturates; what it saturates to has no unit.
        let whole = number as i128;
        let Some((unit_ns, form)) = unit_ns(whole) else {
            return no_unit(whole);
        };
        let rest = number.fract() + last_digit(text).unwrap_or_default();
        let rest_ns = (rest * unit_ns as f64) as i128;
        let ns = (whole * unit_ns).saturating_add(rest_ns);
        self.within(ns.saturating_add(FLOAT_ERROR_NS), form)
    }

    /// The moment of a text: a number, or a date.
    pub fn text(self, text: &str) -> Moment {
        if text.is_empty() {
            return Moment::Not(Reason::Empty);
        }
        if let Ok(number) = text.parse() {
            return self.integer(number);
        }
        if let Ok(number) = text.parse() {
            return self.float(number, text);
        }
        let found = match OffsetDateTime::parse(text, &Rfc3339) {
            Ok(date) => Ok((date.unix_timestamp_nanos(), Form::Rfc3339)),
            Err(_) => self.other_date(text).map(|(ns, form)| match ns {
                ns if ns == ZERO_TIME_NS || has_seconds(text) => (ns, form),
                ns => (ns.saturating_add(REST_OF_MINUTE_NS), form),
            }),
        };
        match found {
            Ok((ZERO_TIME_NS, _)) => Moment::Absent(Reason::Zero),
            Ok((ns, form)) => self.within(ns, form),
            Err(why) => Moment::Not(why),
        }
    }

    /// A date that is not RFC 3339 to the letter, in nanoseconds since 1970.
    fn other_date(self, text: &str) -> Result<(i128, Form), Reason> {
        if text.len() > LONGEST_DATE {
            return Err(Reason::NoDate);
        }
        if !text.starts_with(|first: char| first.is_ascii_digit()) || !has_clock(text) {
            return rfc2822(text)
                .map(|date| (date.unix_timestamp_nanos(), Form::Rfc2822))
                .ok_or(Reason::NoDate);
        }
        // A word for the zone may stand behind an offset that says the same.
        let words = [" UTC", " GMT", " Z", "UTC", "GMT"];
        let bare = words.iter().find_map(|word| text.strip_suffix(word));
        let is_utc = bare.is_some();
        let Some(iso) = extended(bare.unwrap_or(text)) else {
            return Err(Reason::NoDate);
        };
        if let Ok(date) = OffsetDateTime::parse(&iso, &Iso8601::PARSING) {
            let agrees = !is_utc || date.offset().is_utc();
            let ns = date.unix_timestamp_nanos();
            return agrees.then_some((ns, Form::Iso8601)).ok_or(Reason::NoDate);
        }
        let Ok(local) = PrimitiveDateTime::parse(&iso, &Iso8601::PARSING) else {
            return Err(Reason::NoDate);
        };
        let ns = local.assume_utc().unix_timestamp_nanos();
        // The zero time of some languages has no zone; it is none in any.
        if is_utc || self.zoneless == Zoneless::Utc || ns == ZERO_TIME_NS {
            Ok((ns, Form::Iso8601))
        } else {
            Err(Reason::Zoneless)
        }
    }
}

/// The 1st of January of the year 1, with which Go and others say that there is no time.
const ZERO_TIME_NS: i128 = -62_135_596_800_000_000_000;

/// A date that is good to the minute is that of its last second: a beat must not look older than it is.
const REST_OF_MINUTE_NS: i128 = 59_000_000_000;

/// Whether a date with a clock has seconds.
fn has_seconds(text: &str) -> bool {
    let behind_minutes = |at: usize| text.as_bytes().get(at);
    match text.as_bytes() {
        [b'0'..=b'9', _, _, _, b'-', ..] => behind_minutes(16) == Some(&b':'),
        [b'0'..=b'9', _, _, _, b'0'..=b'9', ..] => {
            behind_minutes(13).is_some_and(u8::is_ascii_digit)
        }
        _ => memchr::memchr_iter(b':', text.as_bytes()).count() > 1,
    }
}

/// What one more in the last digit of a number with an exponent is worth; `None` without an exponent. Programs write
/// `1.79608e+12`, rounded to 10,000 s, for every number: what it says is the newest that it can mean.
fn last_digit(text: &str) -> Option<f64> {
    let (digits, exponent) = text.split_once(['e', 'E'])?;
    let fraction = digits
        .split_once('.')
        .map_or(0, |(_, fraction)| fraction.len());
    let exponent: i32 = exponent.parse().ok()?;
    Some(10f64.powi(exponent.saturating_sub(i32::try_from(fraction).unwrap_or(i32::MAX))))
}

/// How many nanoseconds one unit of a number of this size has. Dates in seconds, milliseconds, microseconds and
/// nanoseconds are so far apart that the size gives the unit away; what is smaller is a counter or a monotonic clock,
/// what is larger is no date.
fn unit_ns(number: i128) -> Option<(i128, Form)> {
    match number {
        1_000_000_000..100_000_000_000 => Some((1_000_000_000, Form::Seconds)),
        100_000_000_000..100_000_000_000_000 => Some((1_000_000, Form::Milliseconds)),
        100_000_000_000_000..100_000_000_000_000_000 => Some((1_000, Form::Microseconds)),
        100_000_000_000_000_000..100_000_000_000_000_000_000 => Some((1, Form::Nanoseconds)),
        _ => None,
    }
}

fn no_unit(number: i128) -> Moment {
    match number {
        0 => Moment::Absent(Reason::Zero),
        ..=999_999_999 => Moment::Not(Reason::Small),
        _ => Moment::Not(Reason::Large),
    }
}

/// Whether a date, whole to the day, is followed by a time, whole to the minute. ISO 8601 also counts weeks, and
/// calls an hour a time; a beat that is good to the hour is none.
fn has_clock(text: &str) -> bool {
    let shaped = |shape: &[u8]| {
        let fits = |(byte, wanted): (&u8, &u8)| match wanted {
            b'0' => byte.is_ascii_digit(),
            b'T' => matches!(byte, b'T' | b't' | b' '),
            other => byte == other,
        };
        text.len() >= shape.len() && text.as_bytes().iter().zip(shape).all(fits)
    };
    shaped(b"0000-00-00T00:00") || shaped(b"00000000T0000")
}

/// The same date as the reader of ISO 8601 wants it: a capital T and Z, no space.
fn extended(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    for (at, letter) in text.chars().enumerate() {
        match letter {
            // Between date and time, and before an offset.
            ' ' | 't' if at == 8 || at == 10 => out.push('T'),
            ' ' => {
                if !text.get(at.saturating_add(1)..)?.starts_with(['+', '-']) {
                    return None;
                }
            }
            'z' => out.push('Z'),
            letter if letter.is_ascii() => out.push(letter),
            _ => return None,
        }
    }
    Some(out)
}

fn rfc2822(text: &str) -> Option<OffsetDateTime> {
    // A single letter is a military zone; the RFC says that its meaning cannot be known.
    let zone = text.rsplit(' ').next()?;
    let is_letter = zone.len() == 1 && !zone.eq_ignore_ascii_case("z");
    let date = OffsetDateTime::parse(text, &Rfc2822);
    date.ok().filter(|_| !is_letter)
}

#[cfg(test)]
#[path = "forms_tests.rs"]
mod tests;
