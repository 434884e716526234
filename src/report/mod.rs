//! What a run did: counts with units, their sums since load, and their order in a reply.
//!
//! Fields are named here once; how they look on the wire is not known here.

pub mod cost;
pub mod history;
pub mod hold;
pub mod obituary;
pub mod progress;
use crate::keys::family::{Family, FamilyMap};
use crate::reply::value::Value;
use crate::report::cost::Cost;
use crate::report::hold::Held;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Everything stale was seen and dealt with.
    Complete,
    /// Everything was dealt with but keys that only a later run can judge: see the reason.
    Partial,
    /// LIMIT was reached; more coordinators are stale.
    Limited,
    /// Somebody cancelled the run, or its caller went away.
    Cancelled,
    /// `blocking.collect-max-bytes` was reached; run again to go on.
    Truncated,
    /// The ground moved under the run: see the reason.
    Interrupted,
    /// The breaker is open: nothing was removed, see the reason.
    Refused,
}

impl Status {
    /// The word in replies and logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Limited => "limited",
            Self::Cancelled => "cancelled",
            Self::Truncated => "truncated",
            Self::Interrupted => "interrupted",
            Self::Refused => "refused",
        }
    }
}

/// Coordinators and keys, counted. In a dry run, `*_removed` is what would be removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub keys_scanned: u64,
    pub coordinators_checked: u64,
    pub coordinators_stale: u64,
    pub coordinators_unreadable: u64,
    pub coordinators_removed: u64,
    pub coordinators_revived: u64,
    /// Stale, and kept for `blocking.protect`.
    pub coordinators_protected: u64,
    /// Stale, and kept because the run before did not see the same.
    pub coordinators_waiting: u64,
    pub keys_by_family: FamilyMap<u64>,
    pub keys_vetoed: u64,
    pub keys_orphaned: u64,
    pub orphans_too_young: u64,
    pub orphans_removed: u64,
    pub keys_not_owned: u64,
    /// Keys that stay without a living owner, and their stale owners' heartbeats with them.
    pub held: Held,
}

impl Counts {
    /// Keys removed, all families together.
    pub fn keys_removed(&self) -> u64 {
        let counts = self.keys_by_family.values();
        counts.fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Count `count` removed keys of a family.
    pub fn add_removed(&mut self, family: Family, count: u64) {
        let sum = &mut self.keys_by_family[family];
        *sum = sum.saturating_add(count);
    }

    fn by_family(&self) -> Value {
        let pairs = self.keys_by_family.iter();
        Value::Map(
            pairs
                .map(|(f, count)| (f.name(), (*count).into()))
                .collect(),
        )
    }
}

/// The result of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub run: u64,
    pub status: Status,
    pub dry_run: bool,
    pub threshold_s: u32,
    /// With ORPHANS: the age that was asked of their evidence.
    pub orphan_grace_s: Option<u32>,
    pub counts: Counts,
    pub cost: Cost,
    /// Oldest first.
    pub stale_ids: Vec<Vec<u8>>,
    /// Why the status is not `complete`, where the status alone does not say it.
    pub reason: Option<String>,
    /// The database of a scheduled run; nobody else could know it.
    pub scheduled: Option<u64>,
    /// How long the warm-up was to last when the run began, in seconds; 0 for none.
    pub warm_up_left_s: u64,
    /// Whether the run came so far that it was known what is stale.
    pub planned: bool,
}

impl Report {
    fn stale_ids_value(&self) -> Value {
        Value::Array(
            self.stale_ids
                .iter()
                .map(|id| Value::text(id.clone()))
                .collect(),
        )
    }

    /// Fields that come last and only when there is something to say.
    fn remarks(&self, fields: &mut Vec<(&'static str, Value)>) {
        if let Some(reason) = &self.reason {
            fields.push(("reason", Value::text(reason.as_bytes())));
        }
        if let Some(grace_s) = self.orphan_grace_s {
            fields.push(("orphan_grace_s", u64::from(grace_s).into()));
            fields.push(("orphans_too_young", self.counts.orphans_too_young.into()));
        }
        let rest = [
            ("keys_not_owned", self.counts.keys_not_owned),
            ("coordinators_protected", self.counts.coordinators_protected),
            ("coordinators_waiting", self.counts.coordinators_waiting),
            ("warm_up_left_s", self.warm_up_left_s),
        ];
        for (name, count) in self.counts.held.fields().chain(rest) {
            if count > 0 {
                fields.push((name, count.into()));
            }
        }
        if let Some(database) = self.scheduled {
            fields.extend([("scheduled", true.into()), ("database", database.into())]);
        }
    }

    /// All that matters in one sentence. It comes last, which is what a terminal still shows of a long
    /// reply.
    fn summary(&self) -> String {
        let counts = &self.counts;
        let many = |count: u64, one: &str, more: &str| match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {more}"),
        };
        let verb = if self.dry_run {
            "would remove"
        } else {
            "removed"
        };
        let mut text = if self.planned {
            format!(
                "{verb} {} of {} and {}",
                counts.coordinators_removed,
                many(
                    counts.coordinators_stale,
                    "stale coordinator",
                    "stale coordinators"
                ),
                many(counts.keys_removed(), "key", "keys"),
            )
        } else {
            "removed nothing, for it ended before it was known what is stale".to_owned()
        };
        if counts.orphans_removed > 0 {
            text.push_str(&format!(", {} of them orphans", counts.orphans_removed));
        }
        if self.status != Status::Complete {
            text.push_str(&format!("; {}", self.status.word()));
        }
        if let Some(reason) = &self.reason {
            text.push_str(&format!(": {reason}"));
        }
        text
    }

    /// The reply of CLEANUP, in the order it documents.
    pub fn to_value(&self) -> Value {
        let mut fields = vec![
            ("run", self.run.into()),
            ("status", Value::text(self.status.word())),
            ("dry_run", self.dry_run.into()),
            ("threshold_s", u64::from(self.threshold_s).into()),
            ("keys_scanned", self.counts.keys_scanned.into()),
            (
                "coordinators_checked",
                self.counts.coordinators_checked.into(),
            ),
            ("coordinators_stale", self.counts.coordinators_stale.into()),
            (
                "coordinators_unreadable",
                self.counts.coordinators_unreadable.into(),
            ),
            (
                "coordinators_removed",
                self.counts.coordinators_removed.into(),
            ),
            (
                "coordinators_revived",
                self.counts.coordinators_revived.into(),
            ),
            ("keys_removed", self.counts.keys_removed().into()),
            ("keys_by_family", self.counts.by_family()),
            ("keys_vetoed", self.counts.keys_vetoed.into()),
            ("keys_orphaned", self.counts.keys_orphaned.into()),
            ("orphans_removed", self.counts.orphans_removed.into()),
        ];
        fields.extend(self.cost.fields());
        fields.push(("stale_ids", self.stale_ids_value()));
        self.remarks(&mut fields);
        fields.push(("summary", Value::text(self.summary())));
        Value::Map(fields)
    }

    /// The same for JSON: the five fields that existing wrappers read come first, under the names
    /// they know, and stand in for the fields that say the same.
    pub fn to_wrapper_value(&self) -> Value {
        const STANDS_FOR: [&str; 4] = [
            "coordinators_checked",
            "coordinators_stale",
            "keys_removed",
            "stale_ids",
        ];
        let mut fields = vec![
            (
                "total_coordinators_checked",
                self.counts.coordinators_checked.into(),
            ),
            (
                "stale_coordinators_found",
                self.counts.coordinators_stale.into(),
            ),
            ("keys_deleted", self.counts.keys_removed().into()),
            ("execution_time_ms", (self.cost.elapsed_us / 1000).into()),
            ("stale_coordinator_ids", self.stale_ids_value()),
        ];
        if let Value::Map(all) = self.to_value() {
            fields.extend(
                all.into_iter()
                    .filter(|(name, _)| !STANDS_FOR.contains(name)),
            );
        }
        Value::Map(fields)
    }
}

/// Sums over all runs since the module was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub runs: u64,
    pub dry_runs: u64,
    pub runs_complete: u64,
    pub runs_partial: u64,
    pub runs_limited: u64,
    pub runs_cancelled: u64,
    pub runs_truncated: u64,
    pub runs_interrupted: u64,
    pub runs_refused: u64,
    pub keys_scanned: u64,
    pub coordinators_removed: u64,
    pub coordinators_revived: u64,
    pub keys_removed: u64,
    pub orphans_removed: u64,
    pub slices: u64,
    pub overruns: u64,
    pub longest_slice_us: u64,
    pub busy_us: u64,
    pub long_slices: u64,
    pub long_preempted: u64,
    pub long_calls: u64,
    pub longest_scan_us: u64,
    pub longest_read_us: u64,
    pub longest_unlink_us: u64,
}

impl Totals {
    /// Add an ended run. What a dry run would have removed is not added: nothing was.
    pub fn add(&mut self, report: &Report) {
        let bump = |sum: &mut u64, by: u64| *sum = sum.saturating_add(by);
        bump(&mut self.runs, 1);
        bump(&mut self.dry_runs, u64::from(report.dry_run));
        let ended = match report.status {
            Status::Complete => &mut self.runs_complete,
            Status::Partial => &mut self.runs_partial,
            Status::Limited => &mut self.runs_limited,
            Status::Cancelled => &mut self.runs_cancelled,
            Status::Truncated => &mut self.runs_truncated,
            Status::Interrupted => &mut self.runs_interrupted,
            Status::Refused => &mut self.runs_refused,
        };
        bump(ended, 1);
        bump(&mut self.keys_scanned, report.counts.keys_scanned);
        if !report.dry_run {
            bump(
                &mut self.coordinators_removed,
                report.counts.coordinators_removed,
            );
            bump(&mut self.keys_removed, report.counts.keys_removed());
            bump(&mut self.orphans_removed, report.counts.orphans_removed);
        }
        bump(
            &mut self.coordinators_revived,
            report.counts.coordinators_revived,
        );
        bump(&mut self.slices, report.cost.slices);
        bump(&mut self.overruns, report.cost.overruns);
        bump(&mut self.busy_us, report.cost.busy_us);
        bump(&mut self.long_slices, report.cost.long_slices);
        bump(&mut self.long_preempted, report.cost.long_preempted);
        bump(&mut self.long_calls, report.cost.long_calls);
        let raise = |most: &mut u64, to: u64| *most = to.max(*most);
        raise(&mut self.longest_slice_us, report.cost.longest_slice_us);
        raise(&mut self.longest_scan_us, report.cost.longest_scan_us);
        raise(&mut self.longest_read_us, report.cost.longest_read_us);
        raise(&mut self.longest_unlink_us, report.cost.longest_unlink_us);
    }

    /// Every sum with its name, for STATUS and INFO alike.
    pub fn fields(&self) -> [(&'static str, u64); 24] {
        [
            ("runs", self.runs),
            ("dry_runs", self.dry_runs),
            ("runs_complete", self.runs_complete),
            ("runs_limited", self.runs_limited),
            ("runs_cancelled", self.runs_cancelled),
            ("runs_truncated", self.runs_truncated),
            ("runs_interrupted", self.runs_interrupted),
            ("runs_refused", self.runs_refused),
            ("keys_scanned", self.keys_scanned),
            ("coordinators_removed", self.coordinators_removed),
            ("coordinators_revived", self.coordinators_revived),
            ("keys_removed", self.keys_removed),
            ("slices", self.slices),
            ("overruns", self.overruns),
            ("longest_slice_us", self.longest_slice_us),
            ("busy_us", self.busy_us),
            ("orphans_removed", self.orphans_removed),
            ("long_slices", self.long_slices),
            ("long_preempted", self.long_preempted),
            ("long_calls", self.long_calls),
            ("longest_scan_us", self.longest_scan_us),
            ("longest_read_us", self.longest_read_us),
            ("longest_unlink_us", self.longest_unlink_us),
            ("runs_partial", self.runs_partial),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::hold::Hold;

    fn report() -> Report {
        let mut counts = Counts {
            coordinators_checked: 3,
            coordinators_stale: 2,
            ..Counts::default()
        };
        counts.add_removed(Family::Ack, 4);
        counts.add_removed(Family::Heartbeat, 2);
        Report {
            run: 7,
            status: Status::Complete,
            dry_run: false,
            threshold_s: 600,
            orphan_grace_s: None,
            counts,
            cost: Cost::default(),
            stale_ids: vec![b"a".to_vec()],
            reason: None,
            scheduled: None,
            warm_up_left_s: 0,
            planned: true,
        }
    }

    fn names(value: &Value) -> Vec<&'static str> {
        match value {
            Value::Map(fields) => fields.iter().map(|(name, _)| *name).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn keys_of_every_family_count() {
        let mut counts = Counts::default();
        for (family, count) in Family::ALL.into_iter().zip(1..) {
            counts.add_removed(family, count);
            assert_eq!(counts.keys_by_family[family], count);
        }
        let n = Family::ALL.len() as u64;
        assert_eq!(counts.keys_removed(), n * (n + 1) / 2);
    }

    #[test]
    fn fields_by_name_and_order() {
        let documented = [
            "run",
            "status",
            "dry_run",
            "threshold_s",
            "keys_scanned",
            "coordinators_checked",
            "coordinators_stale",
            "coordinators_unreadable",
            "coordinators_removed",
            "coordinators_revived",
            "keys_removed",
            "keys_by_family",
            "keys_vetoed",
            "keys_orphaned",
            "orphans_removed",
            "slices",
            "longest_slice_us",
            "busy_us",
            "elapsed_us",
            "stale_ids",
            "summary",
        ];
        let mut report = report();
        assert_eq!(names(&report.to_value()), documented);
        report.reason = Some("why".to_owned());
        report.counts.held.add(Hold::Denied);
        report.counts.keys_not_owned = 1;
        report.counts.coordinators_protected = 1;
        report.counts.coordinators_waiting = 1;
        report.warm_up_left_s = 1;
        report.scheduled = Some(0);
        let all = names(&report.to_value());
        assert_eq!(
            all.get(20..),
            Some(
                [
                    "reason",
                    "keys_denied",
                    "keys_not_owned",
                    "coordinators_protected",
                    "coordinators_waiting",
                    "warm_up_left_s",
                    "scheduled",
                    "database",
                    "summary",
                ]
                .as_slice()
            )
        );
        report.orphan_grace_s = Some(60);
        let all = names(&report.to_value());
        assert_eq!(
            all.get(20..23),
            Some(["reason", "orphan_grace_s", "orphans_too_young"].as_slice())
        );
    }

    #[test]
    fn json_names_that_wrappers_read_come_first_and_nothing_twice() {
        let json = crate::reply::json::to_json(&report().to_wrapper_value());
        let text = String::from_utf8(json).unwrap();
        assert!(
            text.starts_with(
                "{\"totalCoordinatorsChecked\":3,\"staleCoordinatorsFound\":2,\"keysDeleted\":6,\
             \"executionTimeMs\":0,\"staleCoordinatorIds\":[\"a\"],\"run\":7,"
            ),
            "{text}"
        );
        let names = names(&report().to_wrapper_value());
        assert_eq!(names.len(), 22);
        assert!(!names.contains(&"stale_ids"));
    }

    #[test]
    fn the_summary_says_in_one_sentence_what_happened() {
        let mut report = report();
        report.counts.coordinators_removed = 1;
        let whole = "removed 1 of 2 stale coordinators and 6 keys";
        assert_eq!(report.summary(), whole);
        report.counts.orphans_removed = 4;
        report.status = Status::Cancelled;
        report.reason = Some("why".into());
        let cut = format!("{whole}, 4 of them orphans; cancelled: why");
        assert_eq!(report.summary(), cut);
        let early = Report {
            planned: false,
            counts: Counts::default(),
            ..report.clone()
        };
        assert_eq!(
            early.summary(),
            "removed nothing, for it ended before it was known what is stale; cancelled: why"
        );
        let nothing = Report {
            dry_run: true,
            counts: Counts::default(),
            status: Status::Complete,
            reason: None,
            ..report
        };
        assert_eq!(
            nothing.summary(),
            "would remove 0 of 0 stale coordinators and 0 keys"
        );
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
        assert_eq!((totals.runs, totals.dry_runs), (2, 1));
        assert_eq!((totals.runs_complete, totals.runs_limited), (1, 1));
        assert_eq!(totals.keys_removed, 6);
    }
}
