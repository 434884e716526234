//! The walk of a run, or its two: where not everything fits, a worker finds out in between what the next one has
//! to keep.

use std::sync::Arc;

use crate::commands::doctor::Survey;
use crate::plan::safeguards::Safeguards;
use crate::plan::second_look::SecondLook;
use crate::plan::{Question, Sieve};
use crate::redis::api::RedisModuleCtx;
use crate::redis::api::acl::User;
use crate::redis::events::new_keys;
use crate::redis::runner::job::{FREED_AT_ONCE_BYTES, JobSlice, Next, RunContext, View};
use crate::redis::runner::stop::{self, StopReason};
use crate::redis::runner::worker::{Outcome, Worker};
use crate::redis::source::{Cursor, ServerKeys};
use crate::report::Status;
use crate::report::progress::Waiting;
use crate::scan::collect::{self, Limits};
use crate::scan::visit::Purpose;
use crate::settings;
use crate::util::cooperative::YieldCounter;

/// A walk that a sieve may filter and a survey observe.
pub type Collect = collect::Collect<Sieve, Survey>;

/// What the second walk keeps; none if a walk begins anew and keeps what it kept.
type Sifted = Option<Box<Sieve>>;

const OUTGROWN: &str = "more heartbeats came between two walks than blocking.collect-max-bytes left room for; \
                        raise it or run again";

/// Walks under way.
#[derive(Debug)]
pub struct Walk {
    collect: Box<Collect>,
    cursor: Cursor,
    /// Between two walks, or while what a walk has forgotten is freed.
    sifting: Option<Worker<Option<Sifted>>>,
}

/// What a finished walk leaves for the report.
#[derive(Clone, Copy, Debug)]
pub struct Walked {
    pub keys_scanned: u64,
    pub keys_collected: u64,
    pub is_truncated: bool,
}

impl Walk {
    /// At the beginning of the keyspace. Queries tell of all keys, so they do not walk twice.
    pub fn begin(
        ctx: *mut RedisModuleCtx,
        run: &RunContext,
        purpose: Purpose,
        survey: Option<Box<Survey>>,
    ) -> Self {
        let limits = Limits {
            reader: run.reader.clone(),
            collect_max_bytes: settings::COLLECT_MAX_BYTES.get() as usize,
        };
        let mut collect = Collect::new(limits, purpose);
        collect.walks_twice = !run.request.asked.task.is_query();
        collect.observer = survey;
        Self {
            collect: Box::new(collect),
            cursor: Cursor::new(ctx, purpose.is_dry()),
            sifting: None,
        }
    }

    /// Go on; `Ok` when all is seen.
    pub fn slice(&mut self, slice: &mut JobSlice) -> Result<(), Next> {
        if self.sifting.is_some() {
            return Err(self.walk_again(slice));
        }
        slice.kind.walked = true;
        let now_ms = slice.run.now_ms();
        let mut source = keys(slice.ctx, slice.user, slice.run, &mut self.cursor);
        match self.collect.slice(&mut source, now_ms, slice.time_is_up) {
            collect::Progress::Unfinished => Err(Next::Slice),
            collect::Progress::WaitForReplicas => Err(Next::Later(Waiting::Replicas)),
            collect::Progress::TooManyHeartbeats => Err(self.after_overflow(slice)),
            collect::Progress::StartsOver => Err(self.free_forgotten(slice)),
            collect::Progress::Finished if self.collect.is_worth_a_second_walk() => {
                Err(self.start_sieve(slice))
            }
            collect::Progress::Finished => Ok(()),
        }
    }

    /// What it brought.
    pub fn into_collect(self) -> Box<Collect> {
        self.collect
    }

    /// How far it is.
    pub fn view(&self) -> View {
        let mut view = View::of_walk(self.collect.keys_scanned);
        if self.sifting.is_none() {
            view.progress.keys_collected = self.collect.collection.records();
        }
        view
    }

    /// What takes long to free.
    pub fn into_heavy(self) -> Option<Box<dyn Send>> {
        let collect = *self.collect;
        if self.sifting.is_some() {
            // The drop of a worker waits until it has heard that it is to stop.
            return Some(Box::new((self.sifting, collect.filter)));
        }
        // A sieve is of many parts.
        let is_heavy = collect.filter.is_some() || collect.bytes() > FREED_AT_ONCE_BYTES;
        is_heavy.then(|| -> Box<dyn Send> {
            Box::new((collect.collection, collect.seen, collect.filter))
        })
    }

    /// What fills the memory may be nothing but what stays anyway.
    fn start_sieve(&mut self, slice: &mut JobSlice) -> Next {
        let mut question = question(slice.ctx, slice.run, &mut self.collect);
        let collection = std::mem::take(&mut self.collect.collection);
        let work = move || {
            let stop = &stop::STOP_WORKER;
            if let Some(look) = &mut question.safety.second_look {
                look.prepare(&YieldCounter::new(stop))?;
            }
            Some(Some(Box::new(Sieve::new(&collection, &question, stop)?)))
        };
        let (worker, next) = slice.run.start_work(work);
        self.sifting = worker;
        next
    }

    /// There was no room for a heartbeat: walk again for those alone if other keys took it.
    fn after_overflow(&mut self, slice: &mut JobSlice) -> Next {
        let collect = &mut self.collect;
        if collect.can_do_without_others() {
            let mut source = keys(slice.ctx, slice.user, slice.run, &mut self.cursor);
            collect.begin_again_without_others(&mut source);
            return self.free_forgotten(slice);
        }
        let why = if collect.filter.is_some() && collect.has_others() {
            OUTGROWN
        } else {
            "the heartbeats alone exceed blocking.collect-max-bytes; raise it"
        };
        Next::End(Status::Truncated, Some(why.into()))
    }

    /// A walk begins anew, when what it had gathered is freed.
    fn free_forgotten(&mut self, slice: &mut JobSlice) -> Next {
        let forgotten = std::mem::take(&mut self.collect.forgotten);
        let work = move || {
            drop(forgotten);
            Some(None)
        };
        let (worker, next) = slice.run.start_work(work);
        self.sifting = worker;
        next
    }

    fn walk_again(&mut self, slice: &mut JobSlice) -> Next {
        let sieve = match self.sifting.as_mut().map(Worker::take) {
            Some(Outcome::Busy) => return Next::WaitForWorker,
            Some(Outcome::Done(Some(sieve))) => sieve,
            // It stops only when told to, and then there is a wish, which came first.
            _ => return Next::Stop(StopReason::InternalError),
        };
        self.sifting = None;
        if let Some(sieve) = sieve {
            let mut source = keys(slice.ctx, slice.user, slice.run, &mut self.cursor);
            self.collect.begin_again_with(&mut source, sieve);
        }
        Next::Slice
    }
}

fn keys<'s>(
    ctx: *mut RedisModuleCtx,
    user: &'s User,
    run: &'s mut RunContext,
    cursor: &'s mut Cursor,
) -> ServerKeys<'s> {
    ServerKeys {
        ctx,
        user,
        replicas: &mut run.replicas,
        cursor,
    }
}

/// What a worker is asked about a finished walk.
pub fn question(ctx: *mut RedisModuleCtx, run: &mut RunContext, collect: &mut Collect) -> Question {
    run.ground.look(ctx);
    let order = &run.request;
    let request = &order.asked;
    let second_look = order.second_look.clone().map(|look| SecondLook {
        seen: std::mem::take(&mut collect.seen),
        ..look
    });
    let sieve = collect.filter.take();
    let task = &request.task;
    Question {
        layout: Arc::clone(&run.reader.layout),
        now_ms: run.started_wall_ms,
        threshold_s: request.threshold_s,
        pattern: task.pattern(),
        limit: task.limit(),
        ids: task.ids(),
        truncated: collect.truncated,
        // What is not kept could speak for any orphan.
        orphans: sieve.is_none() && (request.orphan_grace_s.is_some() || task.is_query()),
        sieve: sieve.map(Arc::from),
        names_kept: collect.has_expired,
        locality: run.locality(),
        max_bytes: collect.limits.collect_max_bytes,
        hears_births: new_keys::hears_all(),
        safety: Safeguards {
            protected: settings::PROTECT.get(),
            breaker_percent: task.breaker_percent(),
            second_look,
        },
    }
}
