//! EXPLAIN: the way of a dry run with ORPHANS, as far as the keys of one id need it, and then what it says of that
//! id.

use std::sync::Arc;

use super::explained_keys::ExplainedKeys;
use super::planning::{Planning, Ready, walk_is_done};
use super::walk::{Walk, Walked};
use crate::commands::explain::Circumstances;
use crate::commands::query::ExplainOptions;
use crate::plan::explanation::Explanation;
use crate::redis::api::RedisModuleCtx;
use crate::redis::runner::job::{Job, JobSlice, Next, RunContext, View};
use crate::redis::runner::stop::{self, StopReason};
use crate::redis::runner::worker::{Outcome, Worker};
use crate::removal::orphans::OrphanRemoval;
use crate::report::progress::Activity;
use crate::scan::visit::Purpose;

/// What a worker makes of a plan that is to be explained.
#[derive(Debug)]
struct Explained {
    explanation: Box<Explanation>,
    orphans_stay: Option<&'static str>,
}

/// An EXPLAIN under way.
#[derive(Debug)]
pub struct Explain {
    stage: Option<Stage>,
    id: Vec<u8>,
}

#[derive(Debug)]
enum Stage {
    Walking(Box<Walk>),
    Planning(Box<Planning>),
    /// All is known: it is put together. No worker, if the system gave none.
    Explaining(Option<Worker<Option<Explained>>>, Walked),
    /// The heartbeats of the id are read.
    Reading(Box<ExplainedKeys>),
}

impl Explain {
    /// At the beginning of its walk.
    pub fn begin(ctx: *mut RedisModuleCtx, run: &mut RunContext, options: ExplainOptions) -> Self {
        let walk = Walk::begin(ctx, run, Purpose::ReadOnly, None);
        Self {
            stage: Some(Stage::Walking(Box::new(walk))),
            id: options.id,
        }
    }

    fn plan(&self, walk: Walk, slice: &mut JobSlice) -> (Stage, Next) {
        let id = Some(self.id.clone());
        let collect = walk.into_collect();
        let (planning, next) = Planning::start(slice.ctx, slice.run, collect, None, id);
        (Stage::Planning(Box::new(planning)), next)
    }
}

/// It has all that a dry run knows: put it together, away from the main thread.
fn start_explaining(ready: Ready, run: &RunContext) -> Option<(Stage, Next)> {
    let Ready {
        removal,
        explanation,
        ..
    } = ready;
    let mut explanation = explanation?;
    let walked = Walked {
        keys_scanned: removal.counts.keys_scanned,
        keys_collected: removal.collection.records(),
        is_truncated: removal.plan.truncated,
    };
    let work = move || {
        let orphans = removal.orphan_removal.as_ref().map(OrphanRemoval::orphans);
        explanation.close(&removal.collection, orphans, &stop::STOP_WORKER)?;
        let orphans_stay = removal.orphans_stay.map(|(_, why)| why);
        Some(Explained {
            explanation,
            orphans_stay,
        })
    };
    let (worker, next) = run.start_work(work);
    Some((Stage::Explaining(worker, walked), next))
}

fn after_worker(
    mut worker: Option<Worker<Option<Explained>>>,
    walked: Walked,
    run: &RunContext,
) -> (Stage, Next) {
    let explained = match worker.as_mut().map(Worker::take) {
        Some(Outcome::Busy) => return (Stage::Explaining(worker, walked), Next::WaitForWorker),
        Some(Outcome::Done(Some(explained))) => explained,
        _ => {
            let next = Next::Stop(StopReason::InternalError);
            return (Stage::Explaining(worker, walked), next);
        }
    };
    let request = &run.request.asked;
    let around = Circumstances {
        now_ms: run.started_wall_ms,
        threshold_s: request.threshold_s,
        layout: Arc::clone(&run.reader.layout),
        warm_up_left_s: run.request.warm_up_left_s,
        writers_away_s: run.observer.writers_away_s(),
        orphans_stay: explained.orphans_stay,
        is_truncated: walked.is_truncated,
        keys_scanned: walked.keys_scanned,
        names_denied: 0,
        heartbeats_denied: 0,
    };
    let second_look = run.observer.fingerprints_for_the_next(request.database);
    let reader = run.reader.clone();
    let keys = ExplainedKeys::new(*explained.explanation, around, second_look, reader);
    (Stage::Reading(Box::new(keys)), Next::Slice)
}

impl Job for Explain {
    fn slice(&mut self, slice: &mut JobSlice) -> Next {
        let after = match self.stage.take() {
            Some(Stage::Walking(mut walk)) => Some(match walk.slice(slice) {
                Ok(()) => self.plan(*walk, slice),
                Err(next) => (Stage::Walking(walk), next),
            }),
            Some(Stage::Planning(mut planning)) => match planning.slice(slice) {
                Ok(ready) => start_explaining(ready, slice.run),
                Err(next) => Some((Stage::Planning(planning), next)),
            },
            Some(Stage::Explaining(worker, walked)) => {
                Some(after_worker(worker, walked, slice.run))
            }
            Some(Stage::Reading(mut keys)) => {
                if keys.slice(slice) {
                    let answer = keys.into_answer();
                    return Next::Answer(Box::new(move |cost| answer.to_value(cost)));
                }
                Some((Stage::Reading(keys), Next::Slice))
            }
            None => None,
        };
        let Some((stage, next)) = after else {
            return Next::Stop(StopReason::InternalError);
        };
        self.stage = Some(stage);
        next
    }

    fn view(&self) -> View {
        match &self.stage {
            Some(Stage::Walking(walk)) => walk.view(),
            Some(Stage::Planning(planning)) => planning.view(),
            Some(Stage::Explaining(_, walked)) => {
                let mut view = View::of_walk(walked.keys_scanned);
                view.progress = walk_is_done(Activity::Planning, walked.keys_collected);
                view
            }
            Some(Stage::Reading(_)) | None => View {
                progress: walk_is_done(Activity::Planning, 0),
                ..View::default()
            },
        }
    }

    fn into_heavy(self: Box<Self>) -> Option<Box<dyn Send>> {
        match self.stage? {
            Stage::Walking(walk) => walk.into_heavy(),
            Stage::Planning(planning) => planning.into_heavy(),
            Stage::Explaining(worker, _) => Some(Box::new(worker)),
            Stage::Reading(_) => None,
        }
    }
}
