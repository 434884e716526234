//! What a run did: its status, and its reply.
//!
//! Fields are named here once; how they look on the wire is not known here.

pub mod cost;
pub mod counts;
pub mod history;
pub mod hold;
pub mod obituary;
pub mod progress;
pub mod totals;

pub use counts::Counts;

use crate::reply::value::Value;
use crate::report::cost::Cost;
use crate::report::counts::{KEYS_REMOVED, Shown};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Everything stale was seen and dealt with.
    Complete,
    /// Everything was dealt with but keys that only a later run can judge: see the reason.
    Partial,
    /// LIMIT was reached; more coordinators are stale.
    Limited,
    /// It was cancelled, or its caller went away.
    Cancelled,
    /// `blocking.collect-max-bytes` was reached; run again to go on.
    Truncated,
    /// Something changed under the run: see the reason.
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
    /// The database of a scheduled run; a caller knows its own.
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
            let counts = self.counts.shown(Shown::WithOrphans);
            fields.extend(counts.map(|(name, count)| (name, count.into())));
        }
        let held = self.counts.held.fields();
        let rest = self.counts.shown(Shown::IfAny);
        let warm_up = ("warm_up_left_s", self.warm_up_left_s);
        for (name, count) in held.chain(rest).chain([warm_up]) {
            if count > 0 {
                fields.push((name, count.into()));
            }
        }
        if let Some(database) = self.scheduled {
            fields.extend([("scheduled", true.into()), ("database", database.into())]);
        }
    }

    /// All that matters in one sentence. It comes last, which is what a terminal still shows of a long reply.
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
            "removed nothing: the run ended before it knew which coordinators are stale".to_owned()
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
        ];
        for (name, count) in self.counts.shown(Shown::Always) {
            fields.push((name, count.into()));
            if name == KEYS_REMOVED {
                fields.push(("keys_by_family", self.counts.by_family()));
            }
        }
        fields.extend(self.cost.fields());
        fields.push(("stale_ids", self.stale_ids_value()));
        self.remarks(&mut fields);
        fields.push(("summary", Value::text(self.summary())));
        Value::Map(fields)
    }

    /// The same for JSON: the five fields that existing wrappers read come first, under the names they know, and
    /// stand in for the fields that say the same.
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

    /// What subscribers are told: the same without the ids, which can take a megabyte, and with the database always.
    pub fn to_announcement(&self, database: i32) -> Value {
        let mut fields = vec![
            ("database", i64::from(database).into()),
            ("scheduled", self.scheduled.is_some().into()),
        ];
        if let Value::Map(all) = self.to_wrapper_value() {
            let is_left_out =
                |name: &str| ["stale_coordinator_ids", "scheduled", "database"].contains(&name);
            fields.extend(all.into_iter().filter(|(name, _)| !is_left_out(name)));
        }
        Value::Map(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::family::Family;
    use crate::report::hold::Hold;

    pub fn report() -> Report {
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
    fn subscribers_hear_of_the_database_and_of_no_ids() {
        let mut report = report();
        let by_hand = report.to_announcement(3);
        report.scheduled = Some(3);
        let scheduled = report.to_announcement(3);
        assert_eq!(names(&by_hand), names(&scheduled));
        assert_eq!(names(&by_hand).len(), 23);
        for (value, word) in [(by_hand, "false"), (scheduled, "true")] {
            let text = String::from_utf8(crate::reply::json::to_json(&value)).unwrap();
            let begins =
                format!("{{\"database\":3,\"scheduled\":{word},\"totalCoordinatorsChecked\":3,");
            assert!(text.starts_with(&begins), "{text}");
            assert!(!text.contains("Ids"), "{text}");
        }
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
            "removed nothing: the run ended before it knew which coordinators are stale; cancelled: why"
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
}
