//! Sums over all runs since the module was loaded. One line of the list is all that a sum needs.

use super::{Report, Status};

/// How a figure of a run is added to those of the runs before.
#[derive(Clone, Copy, Debug)]
enum How {
    Sum,
    /// Not of a dry run: nothing was removed.
    SumOfRuns,
    Longest,
}

struct Total {
    name: &'static str,
    how: How,
    of: fn(&Report) -> u64,
}

const fn total(name: &'static str, how: How, of: fn(&Report) -> u64) -> Total {
    Total { name, how, of }
}

fn is(report: &Report, status: Status) -> u64 {
    u64::from(report.status == status)
}

/// Every sum, as STATUS and INFO name it and in their order.
const TOTALS: [Total; 24] = [
    total("runs", How::Sum, |_| 1),
    total("dry_runs", How::Sum, |run| u64::from(run.dry_run)),
    total("runs_complete", How::Sum, |run| is(run, Status::Complete)),
    total("runs_limited", How::Sum, |run| is(run, Status::Limited)),
    total("runs_cancelled", How::Sum, |run| is(run, Status::Cancelled)),
    total("runs_truncated", How::Sum, |run| is(run, Status::Truncated)),
    total("runs_interrupted", How::Sum, |run| {
        is(run, Status::Interrupted)
    }),
    total("runs_refused", How::Sum, |run| is(run, Status::Refused)),
    total("keys_scanned", How::Sum, |run| run.counts.keys_scanned),
    total("coordinators_removed", How::SumOfRuns, |run| {
        run.counts.coordinators_removed
    }),
    total("coordinators_revived", How::Sum, |run| {
        run.counts.coordinators_revived
    }),
    total("keys_removed", How::SumOfRuns, |run| {
        run.counts.keys_removed()
    }),
    total("slices", How::Sum, |run| run.cost.slices),
    total("overruns", How::Sum, |run| run.cost.overruns),
    total("longest_slice_us", How::Longest, |run| {
        run.cost.longest_slice_us
    }),
    total("busy_us", How::Sum, |run| run.cost.busy_us),
    total("orphans_removed", How::SumOfRuns, |run| {
        run.counts.orphans_removed
    }),
    total("long_slices", How::Sum, |run| run.cost.long_slices),
    total("long_preempted", How::Sum, |run| run.cost.long_preempted),
    total("long_calls", How::Sum, |run| run.cost.long_calls),
    total("longest_scan_us", How::Longest, |run| {
        run.cost.longest_scan_us
    }),
    total("longest_read_us", How::Longest, |run| {
        run.cost.longest_read_us
    }),
    total("longest_unlink_us", How::Longest, |run| {
        run.cost.longest_unlink_us
    }),
    total("runs_partial", How::Sum, |run| is(run, Status::Partial)),
];

/// The sums over all runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals([u64; TOTALS.len()]);

impl Totals {
    /// Add an ended run.
    pub fn add(&mut self, report: &Report) {
        for (sum, total) in self.0.iter_mut().zip(&TOTALS) {
            let figure = (total.of)(report);
            *sum = match total.how {
                How::SumOfRuns if report.dry_run => *sum,
                How::Sum | How::SumOfRuns => sum.saturating_add(figure),
                How::Longest => figure.max(*sum),
            };
        }
    }

    /// Every sum with its name, for STATUS and INFO alike.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let sums = self.0.iter().copied();
        TOTALS.iter().map(|total| total.name).zip(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    fn of(totals: &Totals, name: &str) -> u64 {
        totals.fields().find(|(known, _)| *known == name).unwrap().1
    }

    #[test]
    fn totals_do_not_count_what_a_dry_run_left_alone() {
        let mut totals = Totals::default();
        totals.add(&report());
        totals.add(&Report {
            dry_run: true,
            status: Status::Limited,
            ..report()
        });
        let sums = [
            "runs",
            "dry_runs",
            "runs_complete",
            "runs_limited",
            "keys_removed",
        ];
        assert_eq!(sums.map(|name| of(&totals, name)), [2, 1, 1, 1, 6]);
    }

    #[test]
    fn of_the_longest_only_the_longest_counts() {
        let mut totals = Totals::default();
        for us in [5, 9, 7] {
            let mut report = report();
            report.cost.longest_slice_us = us;
            report.cost.busy_us = us;
            totals.add(&report);
        }
        assert_eq!(of(&totals, "longest_slice_us"), 9);
        assert_eq!(of(&totals, "busy_us"), 21);
    }
}
