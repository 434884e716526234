//! How far a run is: what STATUS and the INPROGRESS error say while it is on.

use crate::reply::error::Error;
use crate::reply::value::Value;

/// What a run that stands still waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Writes are paused: by an operator, for a failover, for a shutdown.
    Writes,
    /// A replica is so far behind that more removals could make the server cut it off.
    Replicas,
}

impl Waiting {
    /// The word in replies.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Writes => "writes",
            Self::Replicas => "replicas",
        }
    }
}

/// What the run is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    #[default]
    Collecting,
    Planning,
    Weighing,
    Reaping,
    Paused(Waiting),
}

impl Activity {
    /// The word in replies.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Collecting => "collecting",
            Self::Planning => "planning",
            Self::Weighing => "weighing",
            Self::Reaping => "reaping",
            Self::Paused(_) => "paused",
        }
    }
}

/// What a job says of how far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobProgress {
    pub activity: Activity,
    pub keys_collected: u64,
    /// Whether the walk has seen everything.
    pub walk_done: bool,
    /// Keys to be read to judge orphans, once the plan is known, and those read.
    pub keys_to_weigh: u64,
    pub keys_weighed: u64,
    /// Keys to be removed, once the plan is known.
    pub keys_planned: Option<u64>,
    /// Of these, dealt with.
    pub keys_done: u64,
}

/// How far the run under way is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub job: JobProgress,
    pub run: u64,
    pub database: u64,
    pub dry_run: bool,
    pub asynchronous: bool,
    /// The schedule started it.
    pub scheduled: bool,
    /// No client waits for it: how long it goes on unless one joins.
    pub lingering_s: Option<u64>,
    /// It removes whether clients could write or not.
    pub no_warm_up: bool,
    /// The command of a query; `None` for a cleanup.
    pub query: Option<&'static str>,
    pub threshold_s: u32,
    /// With ORPHANS: the age asked of their evidence.
    pub orphan_grace_s: Option<u32>,
    /// The glob of MATCH.
    pub pattern: Option<Vec<u8>>,
    pub limit: Option<u32>,
    pub breaker_percent: Option<u32>,
    pub elapsed_us: u64,
    /// Keys in the database when the run began.
    pub keys_expected: u64,
    pub keys_scanned: u64,
    pub coordinators_removed: u64,
    pub coordinators_revived: u64,
    pub keys_removed: u64,
    pub keys_orphaned: u64,
    pub orphans_too_young: u64,
    pub orphans_removed: u64,
}

fn percent(part: u64, whole: u64) -> u64 {
    // 100 is for what is over; a table that shrinks can report more keys than there were.
    (part.saturating_mul(100) / whole.max(1)).min(99)
}

impl Progress {
    /// Whether the run is pointless, or dangerous, while no client can write: it removes, or the schedule
    /// learns from it.
    pub fn needs_writers(&self) -> bool {
        let is_trial = self.dry_run && !self.scheduled;
        self.query.is_none() && !is_trial && !self.no_warm_up
    }

    /// Share of the keyspace that the walk has covered, in percent; `None` when it is over.
    fn keyspace_percent(&self) -> Option<u64> {
        (!self.job.walk_done).then(|| percent(self.keys_scanned, self.keys_expected))
    }

    /// Share of the whole work done, in percent, from 0 to 99. Until the plan is known, every family key is taken for
    /// one to be removed, so the figure can jump ahead but not back.
    pub fn percent(&self) -> u64 {
        let walk = self.keys_expected.max(self.keys_scanned);
        let reap = match (self.dry_run, self.job.keys_planned) {
            (true, _) => 0,
            (false, Some(planned)) => planned,
            (false, None) if self.job.walk_done => self.job.keys_collected,
            (false, None) => {
                let share = u128::from(self.job.keys_collected).saturating_mul(u128::from(walk));
                u64::try_from(share / u128::from(self.keys_scanned.max(1))).unwrap_or(u64::MAX)
            }
        };
        let scanned = if self.job.walk_done {
            walk
        } else {
            self.keys_scanned
        };
        percent(
            scanned
                .saturating_add(self.job.keys_weighed)
                .saturating_add(self.job.keys_done),
            walk.saturating_add(self.job.keys_to_weigh)
                .saturating_add(reap),
        )
    }

    /// Time left in microseconds if the rest goes like the part done; `None` before there is one, and while the
    /// plan is made, of which nothing is known beforehand.
    pub fn time_left_us(&self) -> Option<u64> {
        let done = self.percent();
        let left = 100u64.saturating_sub(done);
        let is_known = done > 0 && self.job.activity != Activity::Planning;
        is_known.then(|| self.elapsed_us.saturating_mul(left) / done)
    }

    /// The answer to a command that this run is in the way of.
    pub fn in_the_way(&self) -> Error {
        Error::InProgress {
            what: self.query.unwrap_or("a cleanup"),
            run: self.run,
            percent: self.keyspace_percent(),
            activity: self.job.activity.word(),
            started_s_ago: self.elapsed_us / 1_000_000,
            lingering_s: self.lingering_s,
        }
    }

    /// What the run waits for, if it does.
    fn waiting_for(&self) -> Option<&'static str> {
        match self.job.activity {
            Activity::Paused(waiting) => Some(waiting.word()),
            _ => None,
        }
    }

    /// The field `current` of STATUS.
    pub fn to_value(&self) -> Value {
        let number_or_null = |number: Option<u64>| number.map_or(Value::Null, Value::from);
        let pattern = self.pattern.clone();
        Value::Map(vec![
            ("run", self.run.into()),
            ("database", self.database.into()),
            ("dry_run", self.dry_run.into()),
            ("async", self.asynchronous.into()),
            ("scheduled", self.scheduled.into()),
            ("threshold_s", u64::from(self.threshold_s).into()),
            ("match", pattern.map_or(Value::Null, Value::Text)),
            ("limit", number_or_null(self.limit.map(u64::from))),
            (
                "breaker_percent",
                number_or_null(self.breaker_percent.map(u64::from)),
            ),
            ("progress_percent", self.percent().into()),
            (
                "waiting_for",
                self.waiting_for().map_or(Value::Null, Value::Status),
            ),
            ("elapsed_us", self.elapsed_us.into()),
            ("time_left_us", number_or_null(self.time_left_us())),
            ("keys_scanned", self.keys_scanned.into()),
            ("keys_collected", self.job.keys_collected.into()),
            ("coordinators_removed", self.coordinators_removed.into()),
            ("coordinators_revived", self.coordinators_revived.into()),
            ("keys_removed", self.keys_removed.into()),
            (
                "orphan_grace_s",
                number_or_null(self.orphan_grace_s.map(u64::from)),
            ),
            ("keys_orphaned", self.keys_orphaned.into()),
            ("orphans_too_young", self.orphans_too_young.into()),
            ("orphans_removed", self.orphans_removed.into()),
            ("look", self.query.map_or(Value::Null, Value::Status)),
            ("lingering_s", number_or_null(self.lingering_s)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_by_phase() {
        let walk = Progress {
            keys_expected: 1000,
            ..Progress::default()
        };
        let walked = Progress {
            keys_scanned: 1000,
            job: JobProgress {
                keys_collected: 200,
                walk_done: true,
                ..JobProgress::default()
            },
            ..walk.clone()
        };
        let table = [
            (walk.clone(), Some(0), 0),
            (
                Progress {
                    keys_scanned: 500,
                    ..walk.clone()
                },
                Some(50),
                50,
            ),
            (
                Progress {
                    keys_scanned: 500,
                    job: JobProgress {
                        keys_collected: 500,
                        ..walk.job
                    },
                    ..walk.clone()
                },
                Some(50),
                25,
            ),
            (
                Progress {
                    keys_scanned: 5000,
                    ..walk.clone()
                },
                Some(99),
                99,
            ),
            (walked.clone(), None, 83),
            (
                Progress {
                    job: JobProgress {
                        keys_planned: Some(0),
                        ..walked.job
                    },
                    ..walked.clone()
                },
                None,
                99,
            ),
            (
                Progress {
                    job: JobProgress {
                        keys_planned: Some(1000),
                        keys_done: 500,
                        ..walked.job
                    },
                    ..walked.clone()
                },
                None,
                75,
            ),
            (
                Progress {
                    dry_run: true,
                    ..walked.clone()
                },
                None,
                99,
            ),
        ];
        for (progress, keyspace, whole) in table {
            assert_eq!(progress.keyspace_percent(), keyspace, "{progress:?}");
            assert_eq!(progress.percent(), whole, "{progress:?}");
        }
    }

    #[test]
    fn time_left_by_extrapolation() {
        let mut progress = Progress {
            keys_expected: 100,
            keys_scanned: 25,
            elapsed_us: 1000,
            dry_run: true,
            ..Progress::default()
        };
        assert_eq!(progress.time_left_us(), Some(3000));
        progress.job.activity = Activity::Planning;
        assert_eq!(progress.time_left_us(), None);
        progress.job.activity = Activity::Collecting;
        progress.keys_scanned = 0;
        assert_eq!(progress.time_left_us(), None);
    }
}
