//! What a run costs the main thread: its slices, and what made them long.

use crate::reply::value::Value;

/// What a run cost. Times are microseconds; all but `elapsed_us` on the main thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub slices: u64,
    pub longest_slice_us: u64,
    pub busy_us: u64,
    pub elapsed_us: u64,
    /// Slices that took longer than `blocking.slice-us`.
    pub overruns: u64,
    /// Slices that took longer than twice `blocking.slice-us`.
    pub long_slices: u64,
    /// Of these, those in which the main thread was taken off the processor for the time that is too much.
    pub long_preempted: u64,
    /// Of the others, those that one call to the server made so long, or one series of short ones.
    pub long_calls: u64,
    pub longest_scan_us: u64,
    pub longest_read_us: u64,
    pub longest_unlink_us: u64,
}

/// What one slice took, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct SliceCost {
    pub took_us: u64,
    /// What the main thread had of the processor in that time.
    pub cpu_us: u64,
    /// What was meant: `blocking.slice-us`.
    pub allowed_us: u64,
    /// The longest piece of the walk in it, 0 for none: a step of the server's scan, or a few short ones, with the
    /// look at the keys there.
    pub scan_us: u64,
    /// The longest reading of heartbeats before an UNLINK in it, 0 for none.
    pub read_us: u64,
    /// The longest UNLINK in it, 0 for none.
    pub unlink_us: u64,
}

impl Cost {
    /// The fields of a reply.
    pub fn fields(&self) -> [(&'static str, Value); 4] {
        [
            ("slices", self.slices.into()),
            ("longest_slice_us", self.longest_slice_us.into()),
            ("busy_us", self.busy_us.into()),
            ("elapsed_us", self.elapsed_us.into()),
        ]
    }

    /// Account for one slice.
    pub fn add_slice(&mut self, slice: SliceCost) {
        let SliceCost {
            took_us,
            cpu_us,
            allowed_us,
            scan_us,
            read_us,
            unlink_us,
        } = slice;
        let bump = |sum: &mut u64, by: bool| *sum = sum.saturating_add(by.into());
        self.busy_us = self.busy_us.saturating_add(took_us);
        self.longest_slice_us = self.longest_slice_us.max(took_us);
        self.longest_scan_us = self.longest_scan_us.max(scan_us);
        self.longest_read_us = self.longest_read_us.max(read_us);
        self.longest_unlink_us = self.longest_unlink_us.max(unlink_us);
        bump(&mut self.slices, true);
        bump(&mut self.overruns, took_us > allowed_us);
        let twice_us = allowed_us.saturating_mul(2);
        let is_long = took_us > twice_us;
        let is_preempted = is_long && cpu_us <= twice_us;
        let rest_us = took_us.saturating_sub(scan_us.max(read_us).max(unlink_us));
        let is_call = is_long && !is_preempted && rest_us <= twice_us;
        bump(&mut self.long_slices, is_long);
        bump(&mut self.long_preempted, is_preempted);
        bump(&mut self.long_calls, is_call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_long_by_itself_or_by_one_call_or_off_the_processor() {
        let mut cost = Cost::default();
        for (took_us, cpu_us, scan_us, read_us, unlink_us) in [
            (250, 250, 1, 0, 0),
            (251, 251, 40, 0, 0),
            (500, 500, 0, 0, 300),
            // Long: by an UNLINK, by a step of the scan, by a reading of heartbeats, by many calls, by nothing
            // that is known.
            (6_000, 5_900, 0, 0, 5_500),
            (900, 900, 400, 0, 0),
            (900, 900, 0, 400, 50),
            (900, 900, 0, 300, 399),
            (501, 501, 0, 0, 0),
            // Off the processor, for all the time that was too much or for some of it.
            (3_000, 240, 0, 0, 2_900),
            (3_000, 501, 0, 0, 100),
        ] {
            cost.add_slice(SliceCost {
                took_us,
                cpu_us,
                allowed_us: 250,
                scan_us,
                read_us,
                unlink_us,
            });
        }
        let expected = Cost {
            slices: 10,
            busy_us: 16_202,
            longest_slice_us: 6_000,
            overruns: 9,
            long_slices: 7,
            long_preempted: 1,
            long_calls: 3,
            longest_scan_us: 400,
            longest_read_us: 400,
            longest_unlink_us: 5_500,
            elapsed_us: 0,
        };
        assert_eq!(cost, expected);
    }
}
