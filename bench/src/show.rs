//! Numbers with units, for tables and pictures.

use indicatif::HumanCount;

use crate::stats::Spread;

/// Milliseconds, in a unit that suits.
pub fn time(ms: f64) -> String {
    match ms {
        ms if ms < 1.0 => format!("{:.0} µs", ms * 1_000.0),
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms if ms < 10_000.0 => format!("{ms:.0} ms"),
        ms if ms < 600_000.0 => format!("{:.1} s", ms / 1_000.0),
        ms if ms < 7_200_000.0 => format!("{:.0} min", ms / 60_000.0),
        ms if ms < 172_800_000.0 => format!("{:.1} h", ms / 3_600_000.0),
        ms if ms < 8_640_000_000.0 => format!("{:.1} days", ms / 86_400_000.0),
        ms => format!("{} days", count(ms / 86_400_000.0)),
    }
}

/// Median, smallest and largest.
pub fn spread(spread: Spread) -> String {
    let Spread { median, min, max } = spread;
    match min == max {
        true => time(median),
        false => format!("{} ({} – {})", time(median), time(min), time(max)),
    }
}

pub fn us(us: u64) -> String {
    time(us as f64 / 1_000.0)
}

pub fn count(count: f64) -> String {
    HumanCount(count.max(0.0).round() as u64).to_string()
}

pub fn times(ratio: f64) -> String {
    match ratio {
        ratio if ratio < 10.0 => format!("{ratio:.2} ×"),
        ratio => format!("{} ×", count(ratio)),
    }
}

pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

pub fn mib(bytes: i64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_that_suits() {
        let shown = [0.25, 12.34, 1_234.0, 12_340.0, 600_000.0].map(time);
        assert_eq!(shown, ["250 µs", "12.3 ms", "1234 ms", "12.3 s", "10 min"]);
        let hours = [10.0, 55.1, 17_960.1, 27_777.8].map(|h| time(h * 3_600_000.0));
        assert_eq!(hours, ["10.0 h", "2.3 days", "748 days", "1,157 days"]);
        assert_eq!(spread(Spread::of([1.0]).unwrap()), "1.0 ms");
        assert_eq!(
            spread(Spread::of([1.0, 2.0, 4.0]).unwrap()),
            "2.0 ms (1.0 ms – 4.0 ms)"
        );
    }

    #[test]
    fn counts_have_commas() {
        assert_eq!(count(12_345.4), "12,345");
        assert_eq!(
            (times(1.234), times(1_234.0)),
            ("1.23 ×".to_owned(), "1,234 ×".to_owned())
        );
    }
}
