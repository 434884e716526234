//! Between plan and reap, with ORPHANS: read what keys without an owner say, and judge them.

use super::{Next, Phase, Run};
use crate::orphans;
use crate::orphans::first_seen::FirstSeen;
use crate::redis::api::RedisModuleCtx;
use crate::redis::jobs::orphan_check::OrphanCheck;
use crate::redis::runner::stop::{self, StopReason};
use crate::redis::runner::worker::Outcome;
use crate::redis::sightings;
use crate::removal::Removal;
use crate::removal::orphans::OrphanRemoval;
use crate::report::Counts;

/// What a worker makes of what was read of orphans.
#[derive(Debug)]
pub(super) struct Judged {
    reap: Box<Removal>,
    seen: FirstSeen,
}

/// What is known of the run while a worker judges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judging {
    pub(super) counts: Counts,
    pub(super) keys_collected: u64,
    pub(super) keys_weighed: u64,
    pub(super) keys_planned: u64,
}

impl Run {
    pub(super) fn weigh_step(
        &mut self,
        ctx: *mut RedisModuleCtx,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> Next {
        let Phase::Weighing(reap, weigh) = &mut self.phase else {
            return Next::Slice;
        };
        if !weigh.slice(ctx, &reap.collection, time_is_up) {
            return Next::Slice;
        }
        self.start_judging()
    }

    fn start_judging(&mut self) -> Next {
        let phase = std::mem::replace(&mut self.phase, Phase::Moving);
        let Phase::Weighing(mut reap, weigh) = phase else {
            return self.stop_for(StopReason::InternalError);
        };
        // EXPLAIN says what ORPHANS without a number would do.
        let grace_s = self.order.orphan_grace_s.unwrap_or(self.order.threshold_s);
        self.keys_weighed = weigh.progress().0;
        let judging = Judging {
            counts: reap.counts,
            keys_collected: reap.collection.records(),
            keys_weighed: self.keys_weighed,
            keys_planned: reap.progress().0,
        };
        let dry_run = self.order.options.dry_run;
        let question = orphans::Question {
            now_ms: self.started_wall_ms,
            grace_s,
            pattern: self.order.options.pattern.clone(),
            began_s: u32::try_from(self.started_us / 1_000_000).unwrap_or(u32::MAX),
            looked_s: sightings::now_s(),
            room: sightings::room(self.order.database),
            dry_run,
        };
        let work = move || {
            let OrphanCheck {
                mut orphans,
                seen,
                key,
                ..
            } = *weigh;
            let mut counts = reap.counts;
            let stop = &stop::STOP_WORKER;
            let seen = orphans.judge(&reap.collection, &question, &seen, &mut counts, stop)?;
            if !dry_run {
                // Nothing is removed yet.
                counts.orphans_removed = reap.counts.orphans_removed;
                counts.keys_by_family = reap.counts.keys_by_family;
            }
            reap.counts = counts;
            reap.bury = Some(OrphanRemoval::new(orphans, key, grace_s));
            Some(Judged { reap, seen })
        };
        self.start_work(work, |worker| Phase::Judging(worker, judging))
    }

    pub(super) fn judge_step(&mut self) -> Next {
        let Phase::Judging(worker, _) = &mut self.phase else {
            return Next::Slice;
        };
        match worker.take() {
            Outcome::Busy => Next::WaitForWorker,
            Outcome::Done(Some(Judged { reap, seen })) => {
                // A look leaves nothing behind.
                if self.order.look.is_none() {
                    sightings::remember(self.order.database, seen);
                }
                self.start_reap(reap)
            }
            Outcome::Done(None) | Outcome::Failed => self.stop_for(StopReason::InternalError),
        }
    }
}
