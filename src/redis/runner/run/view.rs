//! What a run says of itself: its report, its progress, its line in the log.

use super::{Phase, Run};
use crate::commands::look::Look;
use crate::keys::pattern::{MAX_PATTERN_BYTES, Pattern};
use crate::redis::api::system;
use crate::redis::api::{self, Level, RedisModuleCtx};
use crate::report::cost::Cost;
use crate::report::progress::{Activity, Progress};
use crate::report::{Counts, Report, Status};
use crate::settings;

impl Run {
    pub(super) fn cost_so_far(&self) -> Cost {
        Cost {
            elapsed_us: system::monotonic_us().saturating_sub(self.started_us),
            ..self.cost
        }
    }

    /// The counts as far as they are known in this state.
    fn counts(&self) -> Counts {
        match &self.phase {
            Phase::Collecting(collect) | Phase::Sifting(_, collect) => Counts {
                keys_scanned: collect.keys_scanned,
                ..Counts::default()
            },
            Phase::Planning(_, walked) | Phase::Explaining(_, walked) => Counts {
                keys_scanned: walked.keys_scanned,
                ..Counts::default()
            },
            Phase::Studying(_, diagnosis) => Counts {
                keys_scanned: diagnosis.walked.keys_scanned,
                ..Counts::default()
            },
            Phase::Examining(examination) => Counts {
                keys_scanned: examination.diagnosis.walked.keys_scanned,
                ..Counts::default()
            },
            Phase::Listing(list) => Counts {
                keys_scanned: list.keys_scanned,
                ..Counts::default()
            },
            Phase::Recounting(reap) | Phase::Weighing(reap, _) | Phase::Reaping(reap) => {
                reap.counts
            }
            Phase::Judging(_, judging) => judging.counts,
            Phase::Releasing(_, report) => report.counts,
            Phase::Telling(_) | Phase::Moving => Counts::default(),
        }
    }

    pub fn report(&mut self, status: Status, reason: Option<String>) -> Report {
        let stale_ids = match &mut self.phase {
            Phase::Recounting(reap) | Phase::Weighing(reap, _) | Phase::Reaping(reap) => {
                std::mem::take(&mut reap.plan.stale_ids)
            }
            _ => Vec::new(),
        };
        let planned = matches!(
            self.phase,
            Phase::Recounting(_) | Phase::Judging(..) | Phase::Weighing(..) | Phase::Reaping(_)
        );
        Report {
            run: self.order.number,
            status,
            dry_run: self.order.options.dry_run,
            threshold_s: self.order.threshold_s,
            orphan_grace_s: self.order.orphan_grace_s,
            counts: self.counts(),
            cost: self.cost_so_far(),
            stale_ids,
            reason,
            scheduled: self
                .order
                .scheduled
                .then(|| u64::try_from(self.order.database).unwrap_or_default()),
            warm_up_left_s: self.order.warm_up_left_s,
            planned,
        }
    }

    /// A look at the run, for STATUS.
    pub fn progress(&self) -> Progress {
        let counts = self.counts();
        // The one id that EXPLAIN is asked about may be long.
        let pattern = self.order.options.pattern.as_ref().map(Pattern::source);
        let pattern = pattern.filter(|source| source.len() <= MAX_PATTERN_BYTES);
        let mut progress = Progress {
            run: self.order.number,
            database: u64::try_from(self.order.database).unwrap_or_default(),
            dry_run: self.order.options.dry_run,
            asynchronous: self.order.options.asynchronous,
            scheduled: self.order.scheduled,
            no_warm_up: self.order.options.no_warm_up,
            threshold_s: self.order.threshold_s,
            orphan_grace_s: self.order.orphan_grace_s,
            pattern: pattern.map(<[u8]>::to_vec),
            limit: self.order.options.limit,
            breaker_percent: self.order.options.breaker,
            elapsed_us: system::monotonic_us().saturating_sub(self.started_us),
            keys_expected: self.keys_expected,
            keys_scanned: counts.keys_scanned,
            coordinators_removed: counts.coordinators_removed,
            coordinators_revived: counts.coordinators_revived,
            keys_removed: counts.keys_removed(),
            keys_orphaned: counts.keys_orphaned,
            orphans_too_young: counts.orphans_too_young,
            orphans_removed: counts.orphans_removed,
            look: self.order.look.as_ref().map(Look::command),
            lingering_s: self.order.departure.map(|departure| {
                departure.left_s(system::monotonic_us(), settings::LINGER_SECONDS.get())
            }),
            walk_done: !matches!(
                self.phase,
                Phase::Collecting(_) | Phase::Sifting(..) | Phase::Listing(_)
            ),
            ..Progress::default()
        };
        match &self.phase {
            Phase::Collecting(collect) => {
                progress.keys_collected = collect.collection.records();
            }
            Phase::Listing(_) | Phase::Sifting(..) => {}
            Phase::Planning(_, walked) | Phase::Explaining(_, walked) => {
                progress.activity = Activity::Planning;
                progress.keys_collected = walked.keys_collected;
            }
            Phase::Recounting(reap) => {
                progress.activity = Activity::Planning;
                progress.keys_collected = reap.collection.records();
            }
            Phase::Weighing(reap, weigh) => {
                progress.activity = Activity::Weighing;
                progress.keys_collected = reap.collection.records();
                (progress.keys_to_weigh, progress.keys_weighed) = weigh.progress();
                progress.keys_planned =
                    Some(progress.keys_to_weigh.saturating_add(reap.progress().0));
            }
            Phase::Judging(_, judging) => {
                progress.activity = Activity::Weighing;
                progress.keys_collected = judging.keys_collected;
                progress.keys_to_weigh = judging.keys_weighed;
                progress.keys_weighed = judging.keys_weighed;
                progress.keys_planned =
                    Some(judging.keys_weighed.saturating_add(judging.keys_planned));
            }
            Phase::Reaping(reap) => {
                progress.activity = Activity::Reaping;
                progress.keys_collected = reap.collection.records();
                let (planned, done) = reap.progress();
                progress.keys_planned = Some(planned);
                progress.keys_done = done;
                progress.keys_to_weigh = self.keys_weighed;
                progress.keys_weighed = self.keys_weighed;
            }
            Phase::Studying(_, diagnosis) => {
                progress.activity = Activity::Planning;
                progress.keys_collected = diagnosis.keys_collected;
            }
            Phase::Examining(examination) => {
                progress.activity = Activity::Planning;
                progress.keys_collected = examination.diagnosis.keys_collected;
            }
            Phase::Telling(_) => progress.activity = Activity::Planning,
            Phase::Releasing(..) | Phase::Moving => progress.activity = Activity::Reaping,
        }
        if let Some(waiting) = self.waiting {
            progress.activity = Activity::Paused(waiting);
        }
        progress
    }
}

/// One line for a run that removed something, and one for a run that was cut short. What the
/// breaker of the schedule has to say is not said here, for it is said once and not every time.
pub fn log_end(ctx: *mut RedisModuleCtx, report: &Report, database: i32) {
    let removed = !report.dry_run && report.counts.keys_removed() > 0;
    let whole = [Status::Complete, Status::Partial, Status::Limited].contains(&report.status);
    let line = format!(
        "{}cleanup run {} of database {database}: {}{}; coordinators removed {}, keys removed {}{}, \
         revived {}, slices {}, longest slice {} us, elapsed {} ms",
        if report.scheduled.is_some() {
            "scheduled "
        } else {
            ""
        },
        report.run,
        report.status.word(),
        report
            .reason
            .as_ref()
            .map(|why| format!(" ({why})"))
            .unwrap_or_default(),
        if report.dry_run {
            0
        } else {
            report.counts.coordinators_removed
        },
        if report.dry_run {
            0
        } else {
            report.counts.keys_removed()
        },
        if removed && report.counts.orphans_removed > 0 {
            format!(" ({} orphans)", report.counts.orphans_removed)
        } else {
            String::new()
        },
        report.counts.coordinators_revived,
        report.cost.slices,
        report.cost.longest_slice_us,
        report.cost.elapsed_us / 1000,
    );
    let said_once = report.scheduled.is_some() && report.status == Status::Refused;
    if !whole && !said_once {
        api::log(ctx, Level::Warning, &line);
    } else if removed {
        api::log(ctx, Level::Notice, &line);
    } else if report.scheduled.is_some() {
        api::log(ctx, Level::Verbose, &line);
    }
}
