//! Medians with the smallest and the largest value, and extrapolation from a sample. No value is dropped as an
//! outlier.

/// Some measured values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// `None` without values.
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

/// The time for `all` coordinators, from the time that the first `sample` took. Each one costs a walk over all keys,
/// and its removal makes the later walks shorter. In favour of the contender, its whole cost is taken to shrink like
/// that.
pub fn extrapolated(took: f64, sample: usize, all: usize, keys: u64, keys_left: u64) -> f64 {
    let (sample, all) = (sample as f64, all as f64);
    let (keys, keys_left) = (keys as f64, keys_left as f64);
    let share_of_first = |count: f64| {
        // The mean size of the keyspace meanwhile, relative to its size at the beginning.
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
        // Walks do not get shorter: ten times as many take ten times as long.
        let same = extrapolated(2.0, 1, 10, 1_000_000, 1_000_000);
        assert!((same - 20.0).abs() < 1e-9, "{same}");
        // Every key is removed: a walk is half as long in the mean, but hardly shorter in the sample.
        let halved = extrapolated(1.0, 1, 1_000, 6_000, 0);
        assert!((halved - 500.0).abs() < 1.0, "{halved}");
        // The sample is everything: nothing to extrapolate.
        let all = extrapolated(3.0, 7, 7, 42, 0);
        assert!((all - 3.0).abs() < 1e-9, "{all}");
    }
}
