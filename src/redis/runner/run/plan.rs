//! From the walk to the removal: the plan, made by a worker, and what the run makes of it.

use std::sync::Arc;

use super::{Next, Phase, Run, Walked};
use crate::commands::look::Look;
use crate::orphans::{self, Orphans};
use crate::plan::explanation::Explanation;
use crate::plan::safeguards::Safeguards;
use crate::plan::second_look::SecondLook;
use crate::plan::{self, Question};
use crate::redis::api::RedisModuleCtx;
use crate::redis::api::acl::User;
use crate::redis::events::new_keys;
use crate::redis::jobs::collect::Collect;
use crate::redis::jobs::orphan_check::OrphanCheck;
use crate::redis::jobs::server_keyspace::ServerKeyspace;
use crate::redis::runner::stop::{self, StopReason};
use crate::redis::runner::worker::Outcome;
use crate::removal::{Progress, Removal};
use crate::report::Status;
use crate::settings;
use crate::util::breath::Breath;

/// What a worker makes of a finished walk.
#[derive(Debug)]
pub(super) struct Planned {
    reap: Box<Removal>,
    /// With ORPHANS, unless not all that is needed to judge them fits the memory.
    orphans: Option<Orphans>,
    /// For EXPLAIN.
    explanation: Option<Box<Explanation>>,
}

impl Run {
    pub(super) fn start_plan(&mut self, ctx: *mut RedisModuleCtx) -> Next {
        let Phase::Collecting(mut collect) = std::mem::replace(&mut self.phase, Phase::Moving)
        else {
            return Next::Slice;
        };
        if collect.survey.is_some() {
            return self.start_study(ctx, collect);
        }
        let mut question = self.question(ctx, &mut collect);
        let walked = Walked {
            keys_scanned: collect.keys_scanned,
            keys_collected: collect.collection.records(),
            truncated: collect.truncated,
        };
        let collect_max_bytes = collect.limits.collect_max_bytes;
        let id = match &self.order.look {
            Some(Look::Explain(explain)) => Some(explain.id.clone()),
            _ => None,
        };
        let breaker_percent = settings::MAX_STALE_PERCENT.get();
        let breaker_percent = u32::try_from(breaker_percent).unwrap_or(u32::MAX);
        let collection = collect.collection;
        let work = move || {
            let stop = &stop::STOP_WORKER;
            if let Some(look) = &mut question.safety.second_look {
                look.prepare(&Breath::new(stop))?;
            }
            let (mut plan, explanation) = match id {
                None => (plan::plan(&collection, &question, stop)?, None),
                Some(id) => {
                    let both =
                        plan::plan_and_explain(&collection, &question, &id, breaker_percent, stop);
                    let (plan, explanation) = both?;
                    (plan, Some(Box::new(explanation)))
                }
            };
            let found = std::mem::take(&mut plan.orphans);
            // Orphans that the id does not own are not asked about.
            let is_asked = explanation.as_ref().is_none_or(|e| !e.orphans.is_empty());
            // What was left out of the walk could speak for any orphan.
            let needed = found.len().saturating_mul(orphans::ORPHAN_BYTES);
            let fits = collection.bytes().saturating_add(needed) <= collect_max_bytes;
            let orphans = if question.orphans && is_asked && !plan.truncated && fits {
                Some(orphans::gather(&collection, found, &question.layout, stop)?)
            } else {
                None
            };
            let reap = Box::new(Removal::new(
                collection,
                plan,
                &question.layout,
                question.hears_births,
            ));
            Some(Planned {
                reap,
                orphans,
                explanation,
            })
        };
        self.start_work(work, |worker| Phase::Planning(worker, walked))
    }

    /// What a worker is asked about a finished walk.
    pub(super) fn question(&mut self, ctx: *mut RedisModuleCtx, collect: &mut Collect) -> Question {
        self.ground.look(ctx);
        let second_look = self.order.second_look.clone().map(|look| SecondLook {
            seen: std::mem::take(&mut collect.seen),
            ..look
        });
        let sieve = collect.sieve.take();
        Question {
            layout: Arc::clone(&self.reader.layout),
            now_ms: self.started_wall_ms,
            threshold_s: self.order.threshold_s,
            pattern: self.order.options.pattern.clone(),
            limit: self.order.options.limit,
            ids: self.order.options.ids,
            truncated: collect.truncated,
            // What is not kept could speak for any orphan.
            orphans: sieve.is_none()
                && (self.order.orphan_grace_s.is_some() || self.order.look.is_some()),
            sieve: sieve.map(Arc::from),
            names_kept: collect.has_expired,
            locality: self.ground.locality(&self.reader.layout),
            max_bytes: collect.limits.collect_max_bytes,
            hears_births: new_keys::hears_all(),
            safety: Safeguards {
                protected: settings::PROTECT.get(),
                breaker_percent: self.order.options.breaker,
                second_look,
            },
        }
    }

    pub(super) fn plan_step(&mut self) -> Next {
        let Phase::Planning(worker, walked) = &mut self.phase else {
            return Next::Slice;
        };
        let keys_scanned = walked.keys_scanned;
        let Planned {
            mut reap,
            orphans,
            explanation,
        } = match worker.take() {
            Outcome::Busy => return Next::WaitForWorker,
            Outcome::Done(Some(planned)) => planned,
            // It stops only when told to, and then there is a wish, which came first.
            Outcome::Done(None) | Outcome::Failed => {
                return self.stop_for(StopReason::InternalError);
            }
        };
        self.explanation = explanation;
        reap.born = std::mem::take(&mut self.born);
        reap.obituaries = self.obituaries.take();
        reap.before = self
            .order
            .second_look
            .as_ref()
            .map(|l| Arc::clone(&l.before));
        if let Some(sights) = reap.plan.sights.take() {
            self.observer.remember(self.order.database, sights);
        }
        if self.order.options.dry_run {
            // What the plan says is what is told.
            reap.counts = reap.plan.counts;
        }
        reap.counts.keys_scanned = keys_scanned;
        if reap.plan.kept.is_empty() {
            return self.after_plan(reap, orphans);
        }
        // Without ORPHANS only, see `Purpose`.
        self.phase = Phase::Recounting(reap);
        Next::Slice
    }

    pub(super) fn recount_step(
        &mut self,
        ctx: *mut RedisModuleCtx,
        user: &User,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> Next {
        let Phase::Recounting(reap) = &mut self.phase else {
            return Next::Slice;
        };
        let mut space = ServerKeyspace {
            ctx,
            user,
            replicas: &mut self.replicas,
            ground: &mut self.ground,
        };
        match reap.recount(&mut space, time_is_up) {
            Progress::Unfinished => return Next::Slice,
            Progress::Paused(waiting) => return self.look_later(waiting),
            Progress::Refused(text) => return self.stop(Status::Interrupted, Some(text)),
            Progress::Finished => {}
        }
        match std::mem::replace(&mut self.phase, Phase::Moving) {
            Phase::Recounting(reap) => self.after_plan(reap, None),
            _ => self.stop_for(StopReason::InternalError),
        }
    }

    /// All that was counted is there: refuse, weigh orphans, or remove.
    fn after_plan(&mut self, mut reap: Box<Removal>, orphans: Option<Orphans>) -> Next {
        if let Some(share) = &reap.plan.refused {
            let (status, why) = (reap.status(), share.reason());
            self.phase = Phase::Reaping(reap);
            return self.stop(status, Some(why));
        }
        let Some(orphans) = orphans else {
            let asked = self.explanation.as_ref().map(|e| !e.orphans.is_empty());
            let wanted = asked.unwrap_or(self.order.orphan_grace_s.is_some());
            if wanted && reap.counts.keys_orphaned > 0 {
                let why = "orphans stay while blocking.collect-max-bytes is too small; raise it";
                reap.orphans_stay = Some((Status::Truncated, why));
            }
            return self.start_reap(reap);
        };
        let weigh = OrphanCheck::new(orphans, self.order.database, self.reader.clone());
        self.phase = Phase::Weighing(reap, Box::new(weigh));
        Next::Slice
    }
}
