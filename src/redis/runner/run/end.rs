//! How a run ends: with a status and a reason, giving back its memory, and then saying so.

use super::judge::Judged;
use super::look::Explained;
use super::plan::Planned;
use super::sift::Sifted;
use super::{Next, Phase, Run};
use crate::commands::doctor::Study;
use crate::keys::pattern::nothing_fits;
use crate::plan::Sieve;
use crate::plan::second_look::Seen;
use crate::redis::jobs::orphan_check::OrphanCheck;
use crate::redis::runner::stop::{self, StopReason};
use crate::redis::runner::worker::{Outcome, Worker};
use crate::removal::Removal;
use crate::report::Status;
use crate::report::hold::Hold;
use crate::scan::scanned_keys::ScannedKeys;

/// Memory that is freed on the spot; more is freed by a worker, for it takes long.
const FREED_AT_ONCE_BYTES: usize = 1 << 20;

const NO_ROOM: &str =
    "nothing can be removed while keys that stay fill blocking.collect-max-bytes; raise it";

const LATECOMERS: &str = "heartbeats became stale too late to go with this run; run again";

impl Run {
    /// End with the status of a run that was not cut short.
    pub(super) fn finish(&mut self) -> Next {
        let Phase::Reaping(reap) = &self.phase else {
            return self.stop_for(StopReason::InternalError);
        };
        let held = reap.counts.held.reason();
        let (status, stay) = match reap.orphans_stay {
            Some((Status::Complete, why)) => (reap.status(), Some(why.to_owned())),
            Some((status, why)) => (status, Some(why.to_owned())),
            None => (reap.status(), None),
        };
        let removed = reap.counts.keys_removed() > 0;
        let unmatched = reap.plan.unmatched.as_ref().filter(|_| !removed);
        let unmatched = unmatched.map(|id| nothing_fits("stale id", id));
        // Then the next run would gather the same.
        let is_stuck = reap.plan.truncated && !removed && stay.is_none() && unmatched.is_none();
        let stuck = is_stuck.then(|| NO_ROOM.to_owned());
        let late = reap.plan.has_latecomers.then(|| LATECOMERS.to_owned());
        let is_elsewhere = reap.counts.held.count(Hold::Elsewhere) > 0;
        let locality = self.ground.locality(&self.reader.layout);
        let advice = locality.filter(|_| is_elsewhere).map(|here| here.advice());
        let gone = match reap.counts.keys_not_owned {
            0 => None,
            count => Some(format!(
                "{count} in slots that went to another node; run again"
            )),
        };
        let reasons = stay
            .into_iter()
            .chain(stuck)
            .chain(late)
            .chain(held)
            .chain(advice)
            .chain(gone)
            .chain(unmatched);
        let reasons: Vec<String> = reasons.collect();
        self.stop(status, (!reasons.is_empty()).then(|| reasons.join("; ")))
    }

    /// End with the status that goes with a wish.
    pub(super) fn stop_for(&mut self, end: StopReason) -> Next {
        // What ended it is asked for until it is over.
        stop::wish(end);
        let status = match end {
            StopReason::Cancelled
            | StopReason::CallerGone
            | StopReason::ManualRun
            | StopReason::Cleanup => Status::Cancelled,
            _ => Status::Interrupted,
        };
        let said = match end {
            StopReason::WritesRefused => self.observer.refusal(),
            _ => None,
        };
        self.stop(status, Some(said.unwrap_or_else(|| end.reason().into())))
    }

    /// End, giving back what takes long to give back elsewhere than on the main thread.
    pub(super) fn stop(&mut self, status: Status, reason: Option<String>) -> Next {
        let report = Box::new(self.report(status, reason));
        let phase = std::mem::replace(&mut self.phase, Phase::Moving);
        let heavy = match &phase {
            Phase::Collecting(collect) if collect.sieve.is_none() => collect
                .collection
                .bytes()
                .saturating_add(collect.seen.bytes()),
            Phase::Recounting(reap) | Phase::Weighing(reap, _) | Phase::Reaping(reap) => {
                reap.collection.bytes()
            }
            // A sieve is of many parts; and the drop of a worker waits until it has heard that it is to stop.
            Phase::Collecting(_)
            | Phase::Sifting(..)
            | Phase::Planning(..)
            | Phase::Judging(..)
            | Phase::Explaining(..)
            | Phase::Studying(..) => usize::MAX,
            _ => 0,
        };
        if heavy <= FREED_AT_ONCE_BYTES {
            return Next::End(report);
        }
        let rest = match phase {
            Phase::Collecting(collect) => {
                Rest::Walk(collect.collection, collect.seen, collect.sieve)
            }
            Phase::Sifting(worker, collect) => Rest::Sifting(worker, collect.sieve),
            Phase::Recounting(reap) | Phase::Reaping(reap) => Rest::Removal(reap),
            Phase::Weighing(reap, weigh) => Rest::Weighing(reap, weigh),
            Phase::Planning(worker, _) => Rest::Planning(worker),
            Phase::Judging(worker, _) => Rest::Judging(worker),
            Phase::Explaining(worker, _) => Rest::Explaining(worker),
            Phase::Studying(worker, _) => Rest::Studying(worker),
            _ => return Next::End(report),
        };
        match Worker::start(self.wakeup.waker(), move || drop(rest)) {
            Some(worker) => {
                self.phase = Phase::Releasing(worker, report);
                Next::WaitForWorker
            }
            None => Next::End(report),
        }
    }

    pub(super) fn release_step(&mut self) -> Next {
        let Phase::Releasing(worker, _) = &mut self.phase else {
            return Next::Slice;
        };
        if let Outcome::Busy = worker.take() {
            return Next::WaitForWorker;
        }
        match std::mem::replace(&mut self.phase, Phase::Moving) {
            Phase::Releasing(_, report) => Next::End(report),
            _ => self.stop_for(StopReason::InternalError),
        }
    }
}

/// What may take long to free.
#[expect(dead_code, reason = "held only to be dropped by a worker")]
enum Rest {
    Walk(ScannedKeys, Seen, Option<Box<Sieve>>),
    Sifting(Worker<Option<Sifted>>, Option<Box<Sieve>>),
    Removal(Box<Removal>),
    Planning(Worker<Option<Planned>>),
    Weighing(Box<Removal>, Box<OrphanCheck>),
    Judging(Worker<Option<Judged>>),
    Explaining(Worker<Option<Explained>>),
    Studying(Worker<Option<Study>>),
}
