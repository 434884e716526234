//! From a finished walk to what may be removed: the plan, made by a worker; which keys that stay are there at all;
//! with ORPHANS what keys without an owner say, and a judgement of them. EXPLAIN goes the same way, as far as the
//! keys of its id need it.

use std::sync::Arc;

use super::server_keyspace::ServerKeyspace;
use super::walk::{Collect, Walked, question};
use crate::orphans::first_seen::FirstSeen;
use crate::orphans::{self, Orphans};
use crate::plan;
use crate::plan::explanation::Explanation;
use crate::redis::api::RedisModuleCtx;
use crate::redis::first_seen;
use crate::redis::runner::job::{FREED_AT_ONCE_BYTES, JobSlice, Next, RunContext, View};
use crate::redis::runner::stop::{self, StopReason};
use crate::redis::runner::worker::{Outcome, Worker};
use crate::removal::new_keys::NewKeys;
use crate::removal::orphan_check::OrphanCheck;
use crate::removal::orphans::OrphanRemoval;
use crate::removal::{Progress, Removal};
use crate::report::Status;
use crate::report::obituary::Obituaries;
use crate::report::progress::{Activity, JobProgress};
use crate::settings;
use crate::util::cooperative::YieldCounter;

/// What a worker makes of a finished walk.
#[derive(Debug)]
struct Planned {
    removal: Box<Removal>,
    /// With ORPHANS, unless not all that is needed to judge them fits the memory.
    orphans: Option<Orphans>,
    /// For EXPLAIN.
    explanation: Option<Box<Explanation>>,
}

/// What a worker makes of what was read of orphans.
#[derive(Debug)]
struct Judged {
    removal: Box<Removal>,
    seen: FirstSeen,
}

/// All that was asked about is judged.
#[derive(Debug)]
pub struct Ready {
    pub removal: Box<Removal>,
    /// For EXPLAIN.
    pub explanation: Option<Box<Explanation>>,
    /// Keys that were read to judge orphans.
    pub keys_weighed: u64,
}

/// A plan under way.
#[derive(Debug)]
pub struct Planning {
    stage: Option<Stage>,
    explanation: Option<Box<Explanation>>,
    keys_weighed: u64,
}

#[derive(Debug)]
enum Stage {
    /// No worker, if the system gave none.
    Planning(Option<Worker<Option<Planned>>>, Walked),
    Recounting(Box<Removal>),
    Weighing(Box<Removal>, Box<OrphanCheck>),
    /// What is known meanwhile.
    Judging(Option<Worker<Option<Judged>>>, Box<View>),
    Ready(Box<Removal>),
}

/// What a slice leaves: the stage that is next, and what it asks for.
type After = (Stage, Next);

impl Planning {
    /// Have a worker plan. With an id it explains the plan for that one.
    pub fn start(
        ctx: *mut RedisModuleCtx,
        run: &mut RunContext,
        mut collect: Box<Collect>,
        obituaries: Option<Obituaries>,
        id: Option<Vec<u8>>,
    ) -> (Self, Next) {
        let mut question = question(ctx, run, &mut collect);
        let walked = Walked {
            keys_scanned: collect.keys_scanned,
            keys_collected: collect.collection.records(),
            is_truncated: collect.truncated,
        };
        let collect_max_bytes = collect.limits.collect_max_bytes;
        let breaker_percent = settings::MAX_STALE_PERCENT.get();
        let breaker_percent = u32::try_from(breaker_percent).unwrap_or(u32::MAX);
        let collection = collect.collection;
        let before = run.request.second_look.as_ref();
        let before = before.map(|look| Arc::clone(&look.before));
        let work = move || {
            let stop = &stop::STOP_WORKER;
            if let Some(look) = &mut question.safety.second_look {
                look.prepare(&YieldCounter::new(stop))?;
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
            let hears_births = question.hears_births;
            let mut removal = Removal::new(collection, plan, &question.layout, hears_births);
            removal.new_keys = NewKeys::new(&question.layout);
            removal.obituaries = obituaries;
            removal.before = before;
            Some(Planned {
                removal: Box::new(removal),
                orphans,
                explanation,
            })
        };
        let (worker, next) = run.start_work(work);
        let planning = Self {
            stage: Some(Stage::Planning(worker, walked)),
            explanation: None,
            keys_weighed: 0,
        };
        (planning, next)
    }

    /// Go on; `Ok` when all is judged.
    pub fn slice(&mut self, slice: &mut JobSlice) -> Result<Ready, Next> {
        let (stage, next) = match self.stage.take() {
            Some(Stage::Planning(worker, walked)) => self.after_worker(worker, walked, slice.run),
            Some(Stage::Recounting(removal)) => self.recount(removal, slice),
            Some(Stage::Weighing(removal, check)) => self.weigh(removal, check, slice),
            Some(Stage::Judging(worker, view)) => after_judge(worker, view, slice.run),
            Some(Stage::Ready(removal)) => (Stage::Ready(removal), Next::Slice),
            None => return Err(Next::Stop(StopReason::InternalError)),
        };
        match (stage, next) {
            (Stage::Ready(removal), Next::Slice) => Ok(Ready {
                removal,
                explanation: self.explanation.take(),
                keys_weighed: self.keys_weighed,
            }),
            (stage, next) => {
                self.stage = Some(stage);
                Err(next)
            }
        }
    }

    fn after_worker(
        &mut self,
        mut worker: Option<Worker<Option<Planned>>>,
        walked: Walked,
        run: &mut RunContext,
    ) -> After {
        let planned = match worker.as_mut().map(Worker::take) {
            Some(Outcome::Busy) => return (Stage::Planning(worker, walked), Next::WaitForWorker),
            Some(Outcome::Done(Some(planned))) => planned,
            // It stops only when told to, and then there is a wish, which came first.
            _ => {
                let next = Next::Stop(StopReason::InternalError);
                return (Stage::Planning(worker, walked), next);
            }
        };
        let Planned {
            mut removal,
            orphans,
            explanation,
        } = planned;
        self.explanation = explanation;
        let request = &run.request.asked;
        if let Some(fingerprints) = removal.plan.fingerprints.take() {
            run.observer.remember(request.database, fingerprints);
        }
        if request.task.is_dry_run() {
            // What the plan says is what is told.
            removal.counts = removal.plan.counts;
        }
        removal.counts.keys_scanned = walked.keys_scanned;
        if removal.plan.kept.is_empty() {
            return self.after_plan(removal, orphans, run);
        }
        // Without ORPHANS only, see `Purpose`.
        (Stage::Recounting(removal), Next::Slice)
    }

    fn recount(&mut self, mut removal: Box<Removal>, slice: &mut JobSlice) -> After {
        let mut keys = ServerKeyspace::new(slice.ctx, slice.user, slice.run);
        let next = match removal.recount(&mut keys, slice.time_is_up) {
            Progress::Finished => return self.after_plan(removal, None, slice.run),
            Progress::Unfinished => Next::Slice,
            Progress::Paused(waiting) => Next::Later(waiting),
            Progress::Refused(text) => Next::End(Status::Interrupted, Some(text)),
        };
        (Stage::Recounting(removal), next)
    }

    /// All that was counted is there: refuse, weigh orphans, or be done.
    fn after_plan(
        &mut self,
        mut removal: Box<Removal>,
        orphans: Option<Orphans>,
        run: &RunContext,
    ) -> After {
        if let Some(share) = &removal.plan.refused {
            let next = Next::End(removal.status(), Some(share.reason()));
            return (Stage::Ready(removal), next);
        }
        let request = &run.request.asked;
        let Some(orphans) = orphans else {
            let asked = self.explanation.as_ref().map(|e| !e.orphans.is_empty());
            let wanted = asked.unwrap_or(request.orphan_grace_s.is_some());
            if wanted && removal.counts.keys_orphaned > 0 {
                let why = "orphans stay while blocking.collect-max-bytes is too small; raise it";
                removal.orphans_stay = Some((Status::Truncated, why));
            }
            return (Stage::Ready(removal), Next::Slice);
        };
        let (seen, key) = first_seen::of(request.database, &run.reader.layout);
        let check = OrphanCheck::new(orphans, seen, key, run.reader.clone());
        (Stage::Weighing(removal, Box::new(check)), Next::Slice)
    }

    fn weigh(
        &mut self,
        removal: Box<Removal>,
        mut check: Box<OrphanCheck>,
        slice: &mut JobSlice,
    ) -> After {
        let mut keys = ServerKeyspace::new(slice.ctx, slice.user, slice.run);
        if !check.slice(&mut keys, &removal.collection, slice.time_is_up) {
            return (Stage::Weighing(removal, check), Next::Slice);
        }
        self.keys_weighed = check.progress().0;
        start_judge(removal, check, slice.run)
    }

    /// How far it is.
    pub fn view(&self) -> View {
        match &self.stage {
            Some(Stage::Planning(_, walked)) => {
                let mut view = View::of_walk(walked.keys_scanned);
                view.progress = walk_is_done(Activity::Planning, walked.keys_collected);
                view
            }
            Some(Stage::Recounting(removal)) => View {
                counts: removal.counts,
                progress: walk_is_done(Activity::Planning, removal.collection.records()),
                is_planned: true,
            },
            Some(Stage::Weighing(removal, check)) => view_of_orphans(removal, check),
            Some(Stage::Judging(_, view)) => **view,
            Some(Stage::Ready(removal)) => view_of_removal(removal, self.keys_weighed),
            None => View::default(),
        }
    }

    /// The stale ids, as far as they are known.
    pub fn take_stale_ids(&mut self) -> Vec<Vec<u8>> {
        match &mut self.stage {
            Some(
                Stage::Recounting(removal) | Stage::Weighing(removal, _) | Stage::Ready(removal),
            ) => std::mem::take(&mut removal.plan.stale_ids),
            _ => Vec::new(),
        }
    }

    /// What takes long to free: the drop of a worker waits until it has heard that it is to stop.
    pub fn into_heavy(self) -> Option<Box<dyn Send>> {
        match self.stage? {
            Stage::Planning(worker, _) => Some(Box::new(worker)),
            Stage::Judging(worker, _) => Some(Box::new(worker)),
            Stage::Weighing(removal, check) => {
                let is_heavy = removal.collection.bytes() > FREED_AT_ONCE_BYTES;
                is_heavy.then(|| -> Box<dyn Send> { Box::new((removal, check)) })
            }
            Stage::Recounting(removal) | Stage::Ready(removal) => heavy(removal),
        }
    }
}

/// What of a removal takes long to free.
pub fn heavy(removal: Box<Removal>) -> Option<Box<dyn Send>> {
    if removal.collection.bytes() > FREED_AT_ONCE_BYTES {
        return Some(removal);
    }
    None
}

/// A removal before its first slice, and under way.
pub fn view_of_removal(removal: &Removal, keys_weighed: u64) -> View {
    let (planned, done) = removal.progress();
    View {
        counts: removal.counts,
        progress: JobProgress {
            keys_planned: Some(planned),
            keys_done: done,
            keys_to_weigh: keys_weighed,
            keys_weighed,
            ..walk_is_done(Activity::Reaping, removal.collection.records())
        },
        is_planned: true,
    }
}

/// What is known of progress when the walk has seen everything.
pub fn walk_is_done(activity: Activity, keys_collected: u64) -> JobProgress {
    JobProgress {
        activity,
        keys_collected,
        walk_done: true,
        ..JobProgress::default()
    }
}

fn view_of_orphans(removal: &Removal, check: &OrphanCheck) -> View {
    let (keys_to_weigh, keys_weighed) = check.progress();
    let planned = removal.progress().0;
    View {
        counts: removal.counts,
        progress: JobProgress {
            keys_to_weigh,
            keys_weighed,
            keys_planned: Some(keys_to_weigh.saturating_add(planned)),
            ..walk_is_done(Activity::Weighing, removal.collection.records())
        },
        is_planned: true,
    }
}

fn start_judge(mut removal: Box<Removal>, check: Box<OrphanCheck>, run: &RunContext) -> After {
    let request = &run.request.asked;
    // EXPLAIN says what ORPHANS without a number would do.
    let grace_s = request.orphan_grace_s.unwrap_or(request.threshold_s);
    let view = view_of_orphans(&removal, &check);
    let is_dry_run = request.task.is_dry_run();
    let question = orphans::Question {
        now_ms: run.started_wall_ms,
        grace_s,
        pattern: request.task.pattern(),
        began_s: u32::try_from(run.started_us / 1_000_000).unwrap_or(u32::MAX),
        looked_s: first_seen::now_s(),
        room: first_seen::room(request.database),
        dry_run: is_dry_run,
    };
    let work = move || {
        let OrphanCheck {
            mut orphans,
            seen,
            key,
            ..
        } = *check;
        let mut counts = removal.counts;
        let stop = &stop::STOP_WORKER;
        let seen = orphans.judge(&removal.collection, &question, &seen, &mut counts, stop)?;
        if !is_dry_run {
            // Nothing is removed yet.
            counts.orphans_removed = removal.counts.orphans_removed;
            counts.keys_by_family = removal.counts.keys_by_family;
        }
        removal.counts = counts;
        removal.orphan_removal = Some(OrphanRemoval::new(orphans, key, grace_s));
        Some(Judged { removal, seen })
    };
    let (worker, next) = run.start_work(work);
    (Stage::Judging(worker, Box::new(view)), next)
}

fn after_judge(
    mut worker: Option<Worker<Option<Judged>>>,
    view: Box<View>,
    run: &RunContext,
) -> After {
    let next = match worker.as_mut().map(Worker::take) {
        Some(Outcome::Busy) => Next::WaitForWorker,
        Some(Outcome::Done(Some(Judged { removal, seen }))) => {
            let request = &run.request.asked;
            // A query leaves nothing behind.
            if !request.task.is_query() {
                first_seen::remember(request.database, seen);
            }
            return (Stage::Ready(removal), Next::Slice);
        }
        _ => Next::Stop(StopReason::InternalError),
    };
    (Stage::Judging(worker, view), next)
}
