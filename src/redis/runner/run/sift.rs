//! Between two walks: not everything fitted, so a worker finds out what the next one has to keep.

use super::{Next, Phase, Run};
use crate::plan::Sieve;
use crate::redis::api::RedisModuleCtx;
use crate::redis::runner::stop::{self, StopReason};
use crate::redis::runner::worker::Outcome;
use crate::report::Status;
use crate::util::breath::Breath;

/// What the second walk keeps; none if a walk begins anew and keeps what it kept.
pub(super) type Sifted = Option<Box<Sieve>>;

const OUTGROWN: &str = "more heartbeats came between two walks than blocking.collect-max-bytes left room for; \
                        raise it or run again";

impl Run {
    /// A walk is over: plan, or walk again if what fills the memory may be nothing but what stays anyway. A look
    /// does not: it tells of all keys.
    pub(super) fn after_walk(&mut self, ctx: *mut RedisModuleCtx) -> Next {
        match &self.phase {
            Phase::Collecting(collect)
                if collect.truncated && collect.walks_twice && collect.sieve.is_none() =>
            {
                self.start_sieve(ctx)
            }
            _ => self.start_plan(ctx),
        }
    }

    fn start_sieve(&mut self, ctx: *mut RedisModuleCtx) -> Next {
        let Phase::Collecting(mut collect) = std::mem::replace(&mut self.phase, Phase::Moving)
        else {
            return Next::Slice;
        };
        let mut question = self.question(ctx, &mut collect);
        let collection = std::mem::take(&mut collect.collection);
        let work = move || {
            let stop = &stop::STOP_WORKER;
            if let Some(look) = &mut question.safety.second_look {
                look.prepare(&Breath::new(stop))?;
            }
            Some(Some(Box::new(Sieve::new(&collection, &question, stop)?)))
        };
        self.start_work(work, |worker| Phase::Sifting(worker, collect))
    }

    /// There was no room for a heartbeat: walk again for those alone if other keys took it.
    pub(super) fn after_overflow(&mut self, ctx: *mut RedisModuleCtx) -> Next {
        match &self.phase {
            Phase::Collecting(collect) if collect.can_do_without_others() => {
                self.walk_without_others(ctx)
            }
            Phase::Collecting(collect) if collect.sieve.is_some() && collect.has_others() => {
                self.stop(Status::Truncated, Some(OUTGROWN.into()))
            }
            _ => {
                let why = "the heartbeats alone exceed blocking.collect-max-bytes; raise it";
                self.stop(Status::Truncated, Some(why.into()))
            }
        }
    }

    fn walk_without_others(&mut self, ctx: *mut RedisModuleCtx) -> Next {
        if let Phase::Collecting(collect) = &mut self.phase {
            collect.begin_again_without_others(ctx);
        }
        self.free_forgotten()
    }

    /// A walk begins anew, when what it had gathered is freed.
    pub(super) fn free_forgotten(&mut self) -> Next {
        let Phase::Collecting(mut collect) = std::mem::replace(&mut self.phase, Phase::Moving)
        else {
            return Next::Slice;
        };
        let forgotten = std::mem::take(&mut collect.forgotten);
        let work = move || {
            drop(forgotten);
            Some(None)
        };
        self.start_work(work, |worker| Phase::Sifting(worker, collect))
    }

    pub(super) fn sift_step(&mut self, ctx: *mut RedisModuleCtx) -> Next {
        let Phase::Sifting(worker, _) = &mut self.phase else {
            return Next::Slice;
        };
        let sieve = match worker.take() {
            Outcome::Busy => return Next::WaitForWorker,
            Outcome::Done(Some(sieve)) => sieve,
            Outcome::Done(None) | Outcome::Failed => {
                return self.stop_for(StopReason::InternalError);
            }
        };
        match std::mem::replace(&mut self.phase, Phase::Moving) {
            Phase::Sifting(_, mut collect) => {
                if let Some(sieve) = sieve {
                    collect.begin_again_with(ctx, sieve);
                }
                self.phase = Phase::Collecting(collect);
                Next::Slice
            }
            _ => self.stop_for(StopReason::InternalError),
        }
    }
}
