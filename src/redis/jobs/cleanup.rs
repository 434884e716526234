//! A cleanup: walk, plan, remove.

use super::planning::{Planning, Ready, heavy, view_of_removal};
use super::server_keyspace::ServerKeyspace;
use super::walk::Walk;
use crate::commands::options::CleanupOptions;
use crate::keys::pattern::nothing_fits;
use crate::redis::api::RedisModuleCtx;
use crate::redis::events::new_keys::Listening;
use crate::redis::obituaries;
use crate::redis::runner::job::{Job, JobSlice, Next, RunContext, View};
use crate::redis::runner::stop::StopReason;
use crate::removal::slice::Slice;
use crate::removal::{Progress, Removal};
use crate::report::Status;
use crate::report::hold::Hold;
use crate::report::obituary::Obituaries;
use crate::scan::visit::Purpose;
use crate::settings;

const NO_ROOM: &str =
    "nothing can be removed while keys that stay fill blocking.collect-max-bytes; raise it";

const LATECOMERS: &str = "heartbeats became stale too late to go with this run; run again";

/// A cleanup under way.
#[derive(Debug)]
pub struct Cleanup {
    stage: Option<Stage>,
    /// Until the plan has them.
    obituaries: Option<Obituaries>,
    is_dry_run: bool,
    _listening: Listening,
}

#[derive(Debug)]
enum Stage {
    Walking(Box<Walk>),
    Planning(Box<Planning>),
    /// And the number of keys that were read to judge orphans.
    Removing(Box<Removal>, u64),
}

impl Cleanup {
    /// At the beginning of its walk.
    pub fn begin(ctx: *mut RedisModuleCtx, run: &mut RunContext, options: CleanupOptions) -> Self {
        let with_orphans = run.request.asked.orphan_grace_s.is_some();
        let purpose = match (options.dry_run, with_orphans) {
            (true, _) => Purpose::ReadOnly,
            (false, true) => Purpose::RemovingOrphans,
            (false, false) => Purpose::Removing,
        };
        Self {
            stage: Some(Stage::Walking(Box::new(Walk::begin(
                ctx, run, purpose, None,
            )))),
            obituaries: obituaries::begin(run.request.number, &run.reader.layout),
            is_dry_run: options.dry_run,
            _listening: Listening::begin(&run.reader.layout, with_orphans),
        }
    }

    fn plan(&mut self, walk: Walk, slice: &mut JobSlice) -> (Stage, Next) {
        let obituaries = self.obituaries.take();
        let collect = walk.into_collect();
        let (planning, next) = Planning::start(slice.ctx, slice.run, collect, obituaries, None);
        (Stage::Planning(Box::new(planning)), next)
    }

    /// Everything is judged: remove, unless it is a dry run or there is nothing to remove.
    fn start_removal(&self, ready: Ready, run: &RunContext) -> (Stage, Next) {
        let removal = ready.removal;
        let next = match self.is_dry_run || removal.is_over() {
            true => finish(&removal, run),
            false => Next::Slice,
        };
        (Stage::Removing(removal, ready.keys_weighed), next)
    }
}

impl Job for Cleanup {
    fn slice(&mut self, slice: &mut JobSlice) -> Next {
        // In place, so that what was removed counts even if a slice of it should panic.
        if let Some(Stage::Removing(removal, _)) = &mut self.stage {
            return remove(removal, slice);
        }
        let (stage, next) = match self.stage.take() {
            Some(Stage::Walking(mut walk)) => match walk.slice(slice) {
                Ok(()) => self.plan(*walk, slice),
                Err(next) => (Stage::Walking(walk), next),
            },
            Some(Stage::Planning(mut planning)) => match planning.slice(slice) {
                Ok(ready) => self.start_removal(ready, slice.run),
                Err(next) => (Stage::Planning(planning), next),
            },
            Some(Stage::Removing(..)) | None => return Next::Stop(StopReason::InternalError),
        };
        self.stage = Some(stage);
        next
    }

    fn view(&self) -> View {
        match &self.stage {
            Some(Stage::Walking(walk)) => walk.view(),
            Some(Stage::Planning(planning)) => planning.view(),
            Some(Stage::Removing(removal, weighed)) => view_of_removal(removal, *weighed),
            None => View::default(),
        }
    }

    fn take_stale_ids(&mut self) -> Vec<Vec<u8>> {
        match &mut self.stage {
            Some(Stage::Planning(planning)) => planning.take_stale_ids(),
            Some(Stage::Removing(removal, _)) => std::mem::take(&mut removal.plan.stale_ids),
            _ => Vec::new(),
        }
    }

    fn into_heavy(self: Box<Self>) -> Option<Box<dyn Send>> {
        match self.stage? {
            Stage::Walking(walk) => walk.into_heavy(),
            Stage::Planning(planning) => planning.into_heavy(),
            Stage::Removing(removal, _) => heavy(removal),
        }
    }
}

fn remove(removal: &mut Removal, slice: &mut JobSlice) -> Next {
    slice.kind.removed = true;
    let reader = slice.run.reader.clone();
    let facts = Slice {
        now_ms: slice.run.now_ms(),
        threshold_s: slice.run.request.asked.threshold_s,
        reader: &reader,
        cluster: slice.in_cluster,
        number: slice.number,
        slice_us: settings::SLICE_US.get(),
    };
    let mut keys = ServerKeyspace::new(slice.ctx, slice.user, slice.run);
    let progress = removal.slice(&mut keys, facts, slice.time_is_up);
    slice.kind.longest_read_us = std::mem::take(&mut removal.longest_read_us);
    match progress {
        Progress::Unfinished => Next::Slice,
        Progress::Paused(waiting) => Next::Later(waiting),
        Progress::Refused(text) => Next::End(Status::Interrupted, Some(text)),
        Progress::Finished => finish(removal, slice.run),
    }
}

/// End with the status of a run that was not cut short.
fn finish(removal: &Removal, run: &RunContext) -> Next {
    let held = removal.counts.held.reason();
    let (status, stay) = match removal.orphans_stay {
        Some((Status::Complete, why)) => (removal.status(), Some(why.to_owned())),
        Some((status, why)) => (status, Some(why.to_owned())),
        None => (removal.status(), None),
    };
    let removed = removal.counts.keys_removed() > 0;
    let unmatched = removal.plan.unmatched.as_ref().filter(|_| !removed);
    let unmatched = unmatched.map(|id| nothing_fits("stale id", id));
    // Then the next run would gather the same.
    let is_stuck = removal.plan.truncated && !removed && stay.is_none() && unmatched.is_none();
    let stuck = is_stuck.then(|| NO_ROOM.to_owned());
    let late = removal.plan.has_latecomers.then(|| LATECOMERS.to_owned());
    let is_elsewhere = removal.counts.held.count(Hold::Elsewhere) > 0;
    let locality = run.locality().filter(|_| is_elsewhere);
    let advice = locality.map(|here| here.advice());
    let gone = match removal.counts.keys_not_owned {
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
    Next::End(status, (!reasons.is_empty()).then(|| reasons.join("; ")))
}
