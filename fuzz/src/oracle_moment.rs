//! The oracle for times: numbers as exact decimals, dates by civil calendar arithmetic.
//! Must use neither floats nor the libraries that the module reads times with.

/// What a time field may be read as. The module reads fractions as binary floats, so an exact decimal gives a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Not a time.
    None,
    /// Zero: as good as not there, where there is a time.
    Absent,
    /// A time of at least this and at most that, milliseconds.
    Between(i64, i64),
    /// So close to the border between two units, or so unusual, that either answer is right.
    Either,
}

/// From here on (the year 2200) a float's error may be more than the module makes up for.
const FAR_MS: i64 = 7_258_118_400_000;
const EARLIEST_MS: i128 = 1_000_000_000_000;

/// A decimal, taken apart: `digits` without leading zeros, times ten to the power of `exponent`.
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
    /// Written as digits only.
    integer: bool,
}

/// Reads a number as JSON or Rust would write one, the leading sign `+` and bare dots included: the caller has checked
/// the grammar where it is stricter.
fn decimal(text: &str) -> Option<Decimal> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let power = match exponent {
        None => 0,
        Some(power) => {
            let digits = power.strip_prefix(['+', '-']).unwrap_or(power);
            if digits.is_empty() || !is_digits(digits) {
                return None;
            }
            let size = digits.trim_start_matches('0').parse::<i64>();
            let size = size.unwrap_or(if digits.trim_start_matches('0').is_empty() {
                0
            } else {
                1 << 40
            });
            if power.starts_with('-') {
                -size.min(1 << 40)
            } else {
                size.min(1 << 40)
            }
        }
    };
    let digits: Vec<u8> = whole
        .bytes()
        .chain(fraction.bytes())
        .skip_while(|byte| *byte == b'0')
        .collect();
    Some(Decimal {
        negative,
        exponent: power - fraction.len() as i64,
        digits,
        integer: !mantissa.contains('.') && exponent.is_none(),
    })
}

/// A number's time. `exact_digits` is how many digits an integer may have to be read without a float.
pub fn of_number(text: &str, fits_exactly: impl Fn(&str) -> bool) -> Moment {
    let Some(number) = decimal(text) else {
        return Moment::None;
    };
    let exact = number.integer && fits_exactly(text);
    let length = number.digits.len() as i64 + number.exponent;
    // The number of digits before the point gives the unit away.
    let shift = match length {
        _ if number.digits.is_empty() => return Moment::Absent,
        _ if number.negative => return Moment::None,
        10..=11 => 3,
        12..=14 => 0,
        15..=17 => -3,
        18..=20 => -6,
        _ => i64::MIN,
    };
    // 99999999999.9999999 is the next unit's smallest number when it is rounded. Ten is at either end.
    let rounds_up =
        number.digits.len() > 14 && number.digits[..14].iter().all(|digit| *digit == b'9');
    let at_border = matches!(length, 9 | 11 | 14 | 17 | 20) && rounds_up;
    let begins_unit = matches!(length, 10 | 12 | 15 | 18 | 21)
        && number.digits[0] == b'1'
        && number
            .digits
            .iter()
            .skip(1)
            .take(13)
            .all(|digit| *digit == b'0');
    if !exact && (at_border || begins_unit) {
        return Moment::Either;
    }
    if shift == i64::MIN {
        return Moment::None;
    }
    // The first digits of the number are those of its milliseconds.
    let places = usize::try_from(length + shift).unwrap_or_default();
    let ms = (0..places).fold(0_i64, |ms, place| {
        ms * 10 + i64::from(number.digits.get(place).map_or(0, |digit| digit - b'0'))
    });
    // Before the window, or so close to its border that a float may lie on either side.
    let earliest_ms = EARLIEST_MS as i64;
    match ms {
        _ if !exact && ms.abs_diff(earliest_ms) <= 1 => return Moment::Either,
        _ if ms < earliest_ms => return Moment::None,
        _ => {}
    }
    match (exact, ms >= FAR_MS) {
        (true, _) => Moment::Between(ms, ms),
        // Never older than was written; at most a microsecond or the float's own error newer.
        (false, false) => Moment::Between(ms, ms + 1),
        (false, true) => Moment::Between(ms - 1, ms + 1),
    }
}

/// A string's time: a number, or a date. What is not RFC 3339 and has the digits of a date may be one.
pub fn of_text(text: &str) -> Moment {
    if decimal(text).is_some() {
        return of_number(text, |text| text.parse::<i128>().is_ok());
    }
    of_date(text.as_bytes())
}

fn of_date(text: &[u8]) -> Moment {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        let is_number = digits.iter().all(u8::is_ascii_digit);
        is_number.then(|| {
            digits
                .iter()
                .fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
        })
    };
    let parse = || -> Option<Moment> {
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let punctuation = [text[4], text[7], text[13], text[16]];
        if punctuation != *b"--::" {
            return None;
        }
        let mut at = 19;
        let mut fraction_ms = 0;
        if text.get(at) == Some(&b'.') {
            let digits = text[at + 1..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            if digits == 0 {
                return None;
            }
            for place in 0..3 {
                let digit = if place < digits {
                    text[at + 1 + place] - b'0'
                } else {
                    0
                };
                fraction_ms = fraction_ms * 10 + i128::from(digit);
            }
            at += 1 + digits;
        }
        let offset_min = match text.get(at)? {
            b'Z' | b'z' => {
                at += 1;
                0
            }
            sign @ (b'+' | b'-') => {
                let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
                if text.get(at + 3) != Some(&b':') || hours > 23 || minutes > 59 {
                    return None;
                }
                at += 6;
                let offset = hours * 60 + minutes;
                if *sign == b'-' { -offset } else { offset }
            }
            _ => return None,
        };
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = [
            31,
            if leap { 29 } else { 28 },
            31,
            30,
            31,
            30,
            31,
            31,
            30,
            31,
            30,
            31,
        ];
        let last = *days.get(usize::try_from(month - 1).ok()?)?;
        if at != text.len() || !(1..=last).contains(&day) || hour > 23 || minute > 59 || second > 60
        {
            return None;
        }
        // A leap second is one only at the end of some months, and RFC 3339 leaves the separator open.
        if second == 60 || !matches!(text[10], b'T' | b't' | b' ') {
            return Some(Moment::Either);
        }
        let before: i64 = days.iter().take(month as usize - 1).sum();
        let leap_days = |years: i64| years / 4 - years / 100 + years / 400;
        let years_before = (year - 1).max(0);
        // Year 0 is a leap year, and the first of all.
        let day_number = if year == 0 {
            before + day - 1
        } else {
            366 + years_before * 365 + leap_days(years_before) + before + day - 1
        };
        // The 1st of January 1970 has this number.
        let since_1970 = day_number - 719_528;
        let seconds = since_1970 * 86_400 + hour * 3_600 + (minute - offset_min) * 60 + second;
        let ms = i128::from(seconds) * 1_000 + fraction_ms;
        // The first moment of the year 1 stands for no time.
        if ms.abs_diff(-62_135_596_800_000) <= 1_000 {
            return Some(Moment::Either);
        }
        if ms < EARLIEST_MS {
            return Some(Moment::None);
        }
        let ms = i64::try_from(ms).ok()?;
        Some(Moment::Between(ms, ms))
    };
    let exact = if text.len() < 20 { None } else { parse() };
    // The other forms, which have a year, a day and a minute in digits: the table's examples hold the module to them.
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    match exact {
        Some(moment) => moment,
        None if digits >= 8 && text.len() >= 13 => Moment::Either,
        None => Moment::None,
    }
}
