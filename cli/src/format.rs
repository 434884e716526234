//! Numbers, times and long names for people: `1,234,567`, `0.52 ms`, `3d 4h`, `a-rather-lo~`.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// With a comma before every three digits.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 key`, `2,000 keys`.
pub fn many(number: u64, one: &str, more: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{} {more}", count(number)),
    }
}

/// Microseconds, as milliseconds or seconds.
pub fn micros(micros: u64) -> String {
    match micros {
        0..1_000_000 => format!("{:.2} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}

/// Seconds in the two largest units that they fill.
pub fn seconds(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400 * 365, "y"), (86_400, "d"), (3_600, "h"), (60, "m")];
    let mut below = (1, "s");
    let mut found = None;
    for unit in UNITS.into_iter().rev() {
        if seconds >= unit.0 {
            found = Some((unit, below));
        }
        below = unit;
    }
    match found {
        None => format!("{seconds}s"),
        Some(((long, name), (short, below))) => {
            format!("{}{name} {}{below}", seconds / long, seconds % long / short)
        }
    }
}

/// What does not fit into so many columns ends in `~`.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (mut kept, mut used) = (String::new(), 0);
    for c in text.chars() {
        used += c.width().unwrap_or_default();
        if used >= width {
            break;
        }
        kept.push(c);
    }
    if width > 0 {
        kept.push('~');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_short() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [152, 999_999, 1_500_000].map(micros),
            ["0.15 ms", "1000.00 ms", "1.5 s"]
        );
        let times = [0, 59, 60, 3_599, 3_600, 90_000, 86_400 * 365, 96_138_105];
        let shown = [
            "0s", "59s", "1m 0s", "59m 59s", "1h 0m", "1d 1h", "1y 0d", "3y 17d",
        ];
        assert_eq!(times.map(seconds), shown);
        assert_eq!(many(1, "key", "keys"), "1 key");
        assert_eq!(many(1_000, "key", "keys"), "1,000 keys");
    }

    #[test]
    fn what_is_cut_fits() {
        assert_eq!(cut("abcdef", 4), "abc~");
        assert_eq!(cut("\u{4e16}\u{4e16}\u{4e16}", 4), "\u{4e16}~");
        assert_eq!(cut("abcd", 4), "abcd");
    }
}
