//! The heartbeat reader against a second one: the same beat, the same doubt, and never stale where there is doubt.
//! Half of the inputs are values as they come, half are recipes for values that are nearly right.
#![no_main]

use std::sync::LazyLock;

use blocking_cleanup_fuzz::heartbeat::forms::Rules;
use blocking_cleanup_fuzz::heartbeat::time_fields::TimeFields;
use blocking_cleanup_fuzz::heartbeat::{self, Reading, Stored, Verdict};
use blocking_cleanup_fuzz::oracle_heartbeat;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

const NOW_MS: i64 = 1_700_000_000_000;

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    if first % 2 == 0 {
        check(rest, *first);
    } else if let Ok(value) = cooked(&mut Unstructured::new(rest)) {
        check(value.as_bytes(), *first);
    }
});

/// With the fields of the default, which the oracle knows.
fn read(value: &[u8]) -> Reading {
    static FIELDS: LazyLock<TimeFields> = LazyLock::new(TimeFields::default);
    let account = heartbeat::account(Stored::Text(value), &FIELDS.beats, Rules::default());
    let reading = account.reading();
    // Whatever is not certain has a reason, and its sentence is text.
    let trouble = account.trouble();
    assert_eq!(trouble.is_some(), reading.doubtful);
    assert!(
        trouble.is_none_or(|trouble| trouble.sentence().is_ascii() && trouble.bytes.len() <= 32)
    );
    assert!(!account.may_be_presence() || reading.newest_ms.is_none());
    reading
}

fn check(value: &[u8], choice: u8) {
    let said = read(value);
    let expected = oracle_heartbeat::read(value);
    let shown = || String::from_utf8_lossy(value).into_owned();
    // Of all thresholds some; small ones make most beats stale.
    let threshold_s = [1, 600, 86_400, 315_360_000][usize::from(choice / 2 % 4)];
    let verdict = heartbeat::verdict(said, NOW_MS, threshold_s);
    let is_stale = matches!(verdict, Verdict::Stale { .. });
    assert!(
        !(is_stale && expected.doubtful),
        "doubtful, yet stale: {}",
        shown()
    );
    if let (true, Some((_, newest_ms))) = (is_stale && !expected.open, expected.newest_ms) {
        let age_ms = NOW_MS - newest_ms;
        assert!(
            age_ms + 1 >= (i64::from(threshold_s) + 1) * 1_000,
            "too young to be stale: {}",
            shown()
        );
    }
    if !expected.open {
        assert_eq!(said.doubtful, expected.doubtful, "{}", shown());
        let fits = match (said.newest_ms, expected.newest_ms) {
            (None, None) => true,
            (Some(ms), Some((from, to))) => from <= ms && ms <= to,
            _ => false,
        };
        assert!(fits, "{said:?}, expected {expected:?}: {}", shown());
        if let (false, Some((from, to))) = (expected.doubtful, expected.newest_ms) {
            let stale_by = |ms: i64| NOW_MS - ms >= (i64::from(threshold_s) + 1) * 1_000;
            if stale_by(from) == stale_by(to) {
                assert_eq!(is_stale, stale_by(from), "{}", shown());
            }
        }
    }
}

/// An object of fields, or a bare number.
fn cooked(from: &mut Unstructured) -> Result<String> {
    if from.ratio(1, 8)? {
        return number(from);
    }
    let mut fields = Vec::new();
    for _ in 0..from.int_in_range(1..=4)? {
        let name = *from.choose(&[
            "timestamp",
            "lastHeartbeat",
            "last_heartbeat",
            "\\u0074imestamp",
            "timestamps",
            "a",
            "",
            "Timestamp",
        ])?;
        fields.push(format!("\"{name}\":{}", moment(from)?));
    }
    let space = *from.choose(&["", " ", "\n", "\t", "\u{b}"])?;
    Ok(format!("{{{space}{}{space}}}", fields.join(",")))
}

fn moment(from: &mut Unstructured) -> Result<String> {
    Ok(match from.int_in_range(0..=7)? {
        0..=2 => number(from)?,
        3 => format!("\"{}\"", number(from)?),
        4 => date(from)?,
        5 => (*from.choose(&[
            "null",
            "NaN",
            "-Infinity",
            "0",
            "true",
            "[]",
            "{}",
            "\"\"",
            "\"NaN\"",
            "\"inf\"",
            "{\"timestamp\":1700000000000}",
        ])?)
        .to_owned(),
        6 => format!("[{}]", number(from)?),
        _ => {
            let length = from.int_in_range(0..=12)?;
            format!("\"{}\"", String::from_utf8_lossy(from.bytes(length)?))
        }
    })
}

fn digits(from: &mut Unstructured, count: usize) -> Result<String> {
    // Runs of one digit are where units and floats have their borders.
    if from.ratio(1, 4)? {
        let digit = *from.choose(&['0', '1', '9'])?;
        return Ok(std::iter::repeat_n(digit, count).collect());
    }
    (0..count)
        .map(|_| Ok(char::from(b'0' + from.int_in_range(0..=9)?)))
        .collect()
}

fn number(from: &mut Unstructured) -> Result<String> {
    let sign = if from.ratio(1, 16)? { "-" } else { "" };
    let beginning = *from.choose(&["17", "16999", "1700000000", "1", "9", "25", ""])?;
    let length = from.int_in_range(1..=21)?;
    let whole = format!("{beginning}{}", digits(from, length)?);
    let fraction = if from.ratio(1, 3)? {
        let length = from.int_in_range(0..=24)?;
        format!(".{}", digits(from, length)?)
    } else {
        String::new()
    };
    let exponent = if from.ratio(1, 4)? {
        format!("e{}", from.int_in_range(-30..=30)?)
    } else {
        String::new()
    };
    Ok(format!("{sign}{whole}{fraction}{exponent}"))
}

fn date(from: &mut Unstructured) -> Result<String> {
    let year = *from.choose(&[2023, 2024, 2001, 2000, 1900, 1969, 9999, 0])?;
    let (month, day) = (from.int_in_range(0..=13)?, from.int_in_range(0..=32)?);
    let (hour, minute, second) = (
        from.int_in_range(0..=24)?,
        from.int_in_range(0..=60)?,
        from.int_in_range(0..=61)?,
    );
    let fraction = if from.ratio(1, 2)? {
        let length = from.int_in_range(0..=12)?;
        format!(".{}", digits(from, length)?)
    } else {
        String::new()
    };
    let offset = *from.choose(&[
        "Z",
        "z",
        "+00:00",
        "-00:00",
        "+02:00",
        "-23:59",
        "+24:00",
        "+0200",
        "+02",
        "",
        " Z",
        " UTC",
        " +0000 UTC",
    ])?;
    let separator = *from.choose(&["T", "t", " ", "x", ""])?;
    Ok(format!(
        "\"{year:04}-{month:02}-{day:02}{separator}{hour:02}:{minute:02}:{second:02}{fraction}{offset}\""
    ))
}
