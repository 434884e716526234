//! Medians with their smallest and largest value, ratios, and what a sample says about the whole.
//! Must not hide anything: no value is thrown away as an outlier.

use serde::{Deserialize, Serialize};

/// Some measured values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Some(Self { median, min, max })
    }
}

/// How long all of `all` would take when the first `sample` took this long, where the time for one is that of walking
/// all keys: every one that is cleaned up takes its keys out of the later walks. In favour of the sampled contender, all
/// of its cost is taken to shrink like that.
pub fn extrapolated(took: f64, sample: usize, all: usize, keys: u64, keys_left: u64) -> f64 {
    let (sample, all) = (sample as f64, all as f64);
    let (keys, keys_left) = (keys as f64, keys_left as f64);
    let share_of_first = |count: f64| {
        // The mean size of the keyspace while this many are cleaned up, relative to its size at the beginning.
        let gone = (keys - keys_left) * count / all;
        (keys - gone / 2.0) / keys
    };
    took * (all * share_of_first(all)) / (sample * share_of_first(sample))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_middle_and_the_ends() {
        let odd = Spread::of([3.0, 1.0, 10.0]).unwrap();
        assert_eq!((odd.median, odd.min, odd.max), (3.0, 1.0, 10.0));
        let even = Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!((even.median, even.min, even.max), (2.5, 1.0, 4.0));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn a_sample_stands_for_all_and_walks_get_shorter() {
        // Nothing to speak of is removed: ten times as many take ten times as long.
        let same = extrapolated(2.0, 1, 10, 1_000_000, 1_000_000);
        assert!((same - 20.0).abs() < 1e-9, "{same}");
        // Everything is removed: the walks are half as long in the mean, those of the sample almost full.
        let halved = extrapolated(1.0, 1, 1_000, 6_000, 0);
        assert!((halved - 500.0).abs() < 1.0, "{halved}");
        // All of them is all of them.
        let all = extrapolated(3.0, 7, 7, 42, 0);
        assert!((all - 3.0).abs() < 1e-9, "{all}");
    }
}
