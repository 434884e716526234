//! What coordinators write into their heartbeats, in the shapes that real writers use.
//! Must say of every value which time it stands for: a shape may not be able to give every millisecond.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use blocking_harness::BeatLog;
use fastrand::Rng;

/// Shapes of heartbeats that give a time.
const SHAPES: u8 = 7;
/// Servers store long values in another way than short ones.
const PADDING: usize = 200;
/// The value of a heartbeat that gives no time, which protects for ever.
const UNREADABLE: &[u8] = b"busy";

pub fn wall_ms() -> Result<i64> {
    Ok(SystemTime::now()
        .duration_since(UNIX_EPOCH)?
        .as_millis()
        .try_into()?)
}

/// A value that says `ms`, in any shape; the log hears of it.
pub fn beat(log: &mut BeatLog, ms: i64, rng: &mut Rng) -> Vec<u8> {
    let (text, meaning_ms) = shaped(ms, rng);
    log.insert(text.as_bytes(), meaning_ms);
    text.into_bytes()
}

/// A value that says nothing.
pub fn unreadable(log: &mut BeatLog) -> Vec<u8> {
    log.insert(UNREADABLE, i64::MAX);
    UNREADABLE.to_vec()
}

/// A value, and the time that it gives: not every shape can give every millisecond.
fn shaped(ms: i64, rng: &mut Rng) -> (String, i64) {
    let second_ms = ms.div_euclid(1_000) * 1_000;
    let note = if rng.bool() {
        "x".repeat(PADDING)
    } else {
        String::new()
    };
    match rng.u8(..SHAPES) {
        0 => (
            format!(r#"{{"lastHeartbeat":{ms},"iteration":1,"note":"{note}"}}"#),
            ms,
        ),
        1 => (format!(r#"{{"note":"{note}","timestamp":{ms}}}"#), ms),
        2 => (ms.to_string(), ms),
        3 => ((second_ms / 1_000).to_string(), second_ms),
        4 => (
            format!(r#"{{"last_heartbeat":"{}","note":"{note}"}}"#, rfc3339(ms)),
            ms,
        ),
        5 => (
            format!(r#"{{"timestamp":{},"lastHeartbeat":"{ms}"}}"#, ms - 5_000),
            ms,
        ),
        _ => (
            format!(r#"{{"state":{{"timestamp":1}},"timestamp":{ms}000}}"#),
            ms,
        ),
    }
}

/// The date of a moment in the years after 1970: days are turned into a civil date by Howard Hinnant's algorithm.
fn rfc3339(ms: i64) -> String {
    let (days, of_day_ms) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (s, rest_ms) = (of_day_ms / 1_000, of_day_ms % 1_000);
    let (hour, minute, second) = (s / 3_600, s / 60 % 60, s % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{rest_ms:03}Z")
}

#[test]
fn dates_are_written_as_all_readers_take_them() {
    assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    assert_eq!(rfc3339(1_709_164_800_000), "2024-02-29T00:00:00.000Z");
    assert_eq!(rfc3339(1_798_761_599_999), "2026-12-31T23:59:59.999Z");
}
