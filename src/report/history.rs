//! What monitoring wants to know between two runs: how long ago one was complete, and what the newest whole run over
//! each database left there.
//!
//! Pure. The figures of the last run alone are not enough for that: with several databases they are nearly always
//! those of the last database, and a run that was cut short has seen a part only.

use std::collections::BTreeMap;

use crate::report::{Report, Status};

const US_PER_S: u64 = 1_000_000;

/// What a run that saw everything left in its database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Left {
    coordinators: u64,
    stale: u64,
    unreadable: u64,
    orphans: u64,
    orphans_too_young: u64,
}

impl Left {
    /// A dry run leaves everything.
    fn by(report: &Report) -> Self {
        let counts = &report.counts;
        let gone = |removed: u64| if report.dry_run { 0 } else { removed };
        Self {
            coordinators: counts
                .coordinators_checked
                .saturating_sub(gone(counts.coordinators_removed)),
            // One that came back is not stale any more.
            stale: counts
                .coordinators_stale
                .saturating_sub(gone(counts.coordinators_removed))
                .saturating_sub(counts.coordinators_revived),
            unreadable: counts.coordinators_unreadable,
            orphans: counts
                .keys_orphaned
                .saturating_sub(gone(counts.orphans_removed)),
            orphans_too_young: counts.orphans_too_young,
        }
    }
}

/// A run that is over, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRun {
    pub run: u64,
    pub status: Status,
    pub dry_run: bool,
    pub coordinators_removed: u64,
    pub keys_removed: u64,
    pub reason: Option<String>,
    /// The monotonic clock.
    pub ended_us: u64,
}

/// The last runs over one database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastRuns {
    pub scheduled: Option<LastRun>,
    pub manual: Option<LastRun>,
}

/// What is known of runs that are over.
#[derive(Debug, Default)]
pub struct History {
    complete_us: Option<u64>,
    /// At most one for each database of the server, as the next.
    left: BTreeMap<i32, Left>,
    last: BTreeMap<i32, LastRuns>,
}

impl History {
    pub const fn new() -> Self {
        Self {
            complete_us: None,
            left: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }

    /// A run is over; the clock is the monotonic one.
    pub fn ended(&mut self, now_us: u64, database: i32, report: &Report) {
        if matches!(report.status, Status::Complete | Status::Partial) {
            self.complete_us = Some(now_us);
        }
        // Others have not seen everything, or not counted the orphans.
        if matches!(
            report.status,
            Status::Complete | Status::Partial | Status::Limited
        ) {
            self.left.insert(database, Left::by(report));
        }
        let last = self.last.entry(database).or_default();
        let place = match report.scheduled {
            Some(_) => &mut last.scheduled,
            None => &mut last.manual,
        };
        *place = Some(LastRun {
            run: report.run,
            status: report.status,
            dry_run: report.dry_run,
            coordinators_removed: report.counts.coordinators_removed,
            keys_removed: report.counts.keys_removed(),
            reason: report.reason.clone(),
            ended_us: now_us,
        });
    }

    /// The last runs over this database, whatever became of its content since.
    pub fn last_runs(&self, database: i32) -> LastRuns {
        self.last.get(&database).cloned().unwrap_or_default()
    }

    /// A database has other content than before; all of them if the number is negative.
    pub fn forget(&mut self, database: i32) {
        self.left
            .retain(|known, _| database >= 0 && *known != database);
    }

    /// The fields of INFO. `judging_since_us` is when the warm-up was over, or will be; none on a replica, where
    /// nothing runs and nothing is late.
    pub fn info_fields(
        &self,
        now_us: u64,
        judging_since_us: Option<u64>,
    ) -> [(&'static str, u64); 6] {
        let since_s = judging_since_us.map(|judging_us| {
            let since_us = judging_us.max(self.complete_us.unwrap_or_default());
            now_us.saturating_sub(since_us) / US_PER_S
        });
        let sum = |of: fn(&Left) -> u64| self.left.values().map(of).fold(0, u64::saturating_add);
        [
            ("since_complete_s", since_s.unwrap_or_default()),
            ("left_coordinators", sum(|left| left.coordinators)),
            ("left_stale", sum(|left| left.stale)),
            ("left_unreadable", sum(|left| left.unreadable)),
            ("left_orphans", sum(|left| left.orphans)),
            ("left_orphans_too_young", sum(|left| left.orphans_too_young)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Counts;
    use crate::report::cost::Cost;

    const S: u64 = US_PER_S;

    fn report(status: Status, dry_run: bool, counts: Counts) -> Report {
        Report {
            planned: true,
            run: 1,
            status,
            dry_run,
            threshold_s: 600,
            orphan_grace_s: None,
            counts,
            cost: Cost::default(),
            stale_ids: Vec::new(),
            reason: None,
            scheduled: None,
            warm_up_left_s: 0,
        }
    }

    fn counts() -> Counts {
        Counts {
            coordinators_checked: 10,
            coordinators_stale: 6,
            coordinators_unreadable: 2,
            coordinators_removed: 3,
            coordinators_revived: 1,
            keys_orphaned: 9,
            orphans_removed: 4,
            orphans_too_young: 5,
            ..Counts::default()
        }
    }

    fn left(watch: &History) -> Vec<u64> {
        let fields = watch.info_fields(0, None);
        fields.iter().skip(1).map(|(_, value)| *value).collect()
    }

    fn since_s(watch: &History, now_us: u64, judging_since_us: Option<u64>) -> u64 {
        watch.info_fields(now_us, judging_since_us)[0].1
    }

    #[test]
    fn only_whole_runs_say_what_is_left() {
        for (status, is_whole) in [
            (Status::Complete, true),
            (Status::Partial, true),
            (Status::Limited, true),
            (Status::Cancelled, false),
            (Status::Truncated, false),
            (Status::Interrupted, false),
            (Status::Refused, false),
        ] {
            let mut watch = History::new();
            watch.ended(1, 0, &report(status, false, counts()));
            let expected = if is_whole { [7, 2, 2, 5, 5] } else { [0; 5] };
            assert_eq!(left(&watch), expected, "{status:?}");
        }
    }

    #[test]
    fn a_dry_run_leaves_everything_and_the_newest_run_counts() {
        let mut watch = History::new();
        watch.ended(1, 0, &report(Status::Complete, false, counts()));
        watch.ended(2, 0, &report(Status::Complete, true, counts()));
        assert_eq!(left(&watch), [10, 5, 2, 9, 5]);
    }

    #[test]
    fn databases_are_summed_and_forgotten_one_by_one() {
        let mut watch = History::new();
        for database in [0, 3, 7] {
            watch.ended(1, database, &report(Status::Complete, false, counts()));
        }
        assert_eq!(left(&watch), [21, 6, 6, 15, 15]);
        watch.forget(3);
        watch.forget(4);
        assert_eq!(left(&watch), [14, 4, 4, 10, 10]);
        watch.forget(-1);
        assert_eq!(left(&watch), [0; 5]);
    }

    #[test]
    fn the_last_runs_of_each_database_are_kept_whatever_becomes_of_it() {
        let mut watch = History::new();
        assert_eq!(watch.last_runs(0), LastRuns::default());
        let run = |number: u64, scheduled: Option<u64>, status: Status| Report {
            run: number,
            scheduled,
            ..report(status, false, counts())
        };
        watch.ended(7, 0, &run(1, None, Status::Complete));
        watch.ended(8, 3, &run(2, Some(3), Status::Refused));
        watch.ended(9, 0, &run(3, Some(0), Status::Complete));
        watch.ended(10, 0, &run(4, None, Status::Cancelled));
        watch.forget(-1);
        let numbers = |database: i32| {
            let LastRuns { scheduled, manual } = watch.last_runs(database);
            let number = |run: Option<LastRun>| run.map(|run| (run.run, run.ended_us));
            (number(scheduled), number(manual))
        };
        assert_eq!(numbers(0), (Some((3, 9)), Some((4, 10))));
        assert_eq!(numbers(3), (Some((2, 8)), None));
        let refused = watch.last_runs(3).scheduled.unwrap();
        assert_eq!(
            (refused.status, refused.coordinators_removed),
            (Status::Refused, 3)
        );
    }

    #[test]
    fn seconds_count_from_the_last_complete_run_or_the_end_of_the_warm_up() {
        let mut watch = History::new();
        // The warm-up lasts until second 100.
        let warm_us = Some(100 * S);
        assert_eq!(since_s(&watch, 40 * S, warm_us), 0);
        assert_eq!(since_s(&watch, 130 * S, warm_us), 30);
        assert_eq!(since_s(&watch, 130 * S, None), 0, "a replica");
        for status in [Status::Limited, Status::Cancelled, Status::Refused] {
            watch.ended(140 * S, 0, &report(status, false, counts()));
        }
        assert_eq!(since_s(&watch, 150 * S, warm_us), 50);
        watch.ended(160 * S, 0, &report(Status::Complete, true, counts()));
        assert_eq!(since_s(&watch, 165 * S, warm_us), 5);
        // Another warm-up, and the run of before does not count.
        assert_eq!(since_s(&watch, 165 * S, Some(900 * S)), 0);
        assert_eq!(since_s(&watch, 905 * S, Some(900 * S)), 5);
    }
}
