//! A look as a run: LIST walks and is done; EXPLAIN goes the way of a dry run with ORPHANS as far as
//! the id's keys need it, and then says what came out. What DOCTOR does is in `doctor.rs`.

use std::sync::Arc;

use super::{Next, Phase, Run, Walked};
use crate::commands::doctor;
use crate::commands::explain::{Answer, Circumstances};
use crate::commands::listing::Listing;
use crate::commands::look::Look;
use crate::plan::explanation::Explanation;
use crate::redis::api::RedisModuleCtx;
use crate::redis::api::acl::User;
use crate::redis::jobs::collect::Limits;
use crate::redis::jobs::list::List;
use crate::redis::jobs::tell::Tell;
use crate::redis::runner::request::RunRequest;
use crate::redis::runner::stop::{self, StopReason};
use crate::redis::runner::worker::Outcome;
use crate::removal::Removal;
use crate::removal::orphans::OrphanRemoval;
use crate::reply::error::Error;
use crate::reply::value::Value;
use crate::report::{Report, Status};

/// What a look found.
#[derive(Debug)]
pub(super) enum Found {
    List(Box<Listing>, u64),
    Explain(Box<Answer>),
    Doctor(Box<doctor::Answer>),
}

/// What a worker makes of a plan that is to be explained.
#[derive(Debug)]
pub(super) struct Explained {
    explanation: Box<Explanation>,
    orphans_stay: Option<&'static str>,
}

impl Run {
    /// How a look begins; `None` for a cleanup and for EXPLAIN, which begins like one.
    pub(super) fn look_phase(
        ctx: *mut RedisModuleCtx,
        order: &RunRequest,
        limits: &Limits,
    ) -> Option<Phase> {
        let reader = &limits.reader;
        match order.look.as_ref()? {
            Look::List(options) => {
                let layout = Arc::clone(&reader.layout);
                let listing = Listing::new(options.clone(), order.threshold_s, layout);
                let list = List::new(ctx, listing, reader.clone());
                Some(Phase::Listing(Box::new(list)))
            }
            Look::Doctor(_) => Some(Self::doctor_phase(ctx, limits.clone(), order.database)),
            Look::Explain(_) => None,
        }
    }

    pub(super) fn list_step(
        &mut self,
        ctx: *mut RedisModuleCtx,
        user: &User,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> Next {
        let now_ms = self.now_ms();
        let Phase::Listing(list) = &mut self.phase else {
            return Next::Slice;
        };
        if !list.slice(ctx, user, now_ms, time_is_up) {
            return Next::Slice;
        }
        if let Phase::Listing(mut list) = std::mem::replace(&mut self.phase, Phase::Moving) {
            let locality = self.ground.locality(&self.reader.layout);
            list.listing.note = locality.map(|here| format!("{}: ask every primary", here.view()));
            self.found = Some(Found::List(Box::new(list.listing), list.keys_scanned));
        }
        self.stop(Status::Complete, None)
    }

    /// EXPLAIN has all that a dry run knows: put it together, away from the main thread.
    pub(super) fn start_explaining(
        &mut self,
        reap: Box<Removal>,
        explanation: Box<Explanation>,
    ) -> Next {
        let walked = Walked {
            keys_scanned: reap.counts.keys_scanned,
            keys_collected: reap.collection.records(),
            truncated: reap.plan.truncated,
        };
        let work = move || {
            let mut explanation = explanation;
            let orphans = reap.bury.as_ref().map(OrphanRemoval::orphans);
            explanation.close(&reap.collection, orphans, &stop::STOP_WORKER)?;
            let orphans_stay = reap.orphans_stay.map(|(_, why)| why);
            Some(Explained {
                explanation,
                orphans_stay,
            })
        };
        self.start_work(work, |worker| Phase::Explaining(worker, walked))
    }

    pub(super) fn explain_step(&mut self) -> Next {
        let Phase::Explaining(worker, walked) = &mut self.phase else {
            return Next::Slice;
        };
        let walked = *walked;
        let explained = match worker.take() {
            Outcome::Busy => return Next::WaitForWorker,
            Outcome::Done(Some(explained)) => explained,
            Outcome::Done(None) | Outcome::Failed => {
                return self.stop_for(StopReason::InternalError);
            }
        };
        let around = Circumstances {
            now_ms: self.started_wall_ms,
            threshold_s: self.order.threshold_s,
            layout: Arc::clone(&self.reader.layout),
            warm_up_left_s: self.order.warm_up_left_s,
            writers_away_s: self.observer.writers_away_s(),
            orphans_stay: explained.orphans_stay,
            is_truncated: walked.truncated,
            keys_scanned: walked.keys_scanned,
            names_denied: 0,
            heartbeats_denied: 0,
        };
        let second_look = self.observer.sights_of_the_next(self.order.database);
        let tell = Tell::new(
            *explained.explanation,
            around,
            second_look,
            self.reader.clone(),
        );
        self.phase = Phase::Telling(Box::new(tell));
        Next::Slice
    }

    pub(super) fn tell_step(
        &mut self,
        ctx: *mut RedisModuleCtx,
        user: &User,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> Next {
        let now_ms = self.now_ms();
        let Phase::Telling(tell) = &mut self.phase else {
            return Next::Slice;
        };
        if !tell.slice(ctx, user, now_ms, time_is_up) {
            return Next::Slice;
        }
        if let Phase::Telling(tell) = std::mem::replace(&mut self.phase, Phase::Moving) {
            self.found = Some(Found::Explain(Box::new(tell.into_answer())));
        }
        self.stop(Status::Complete, None)
    }

    /// What a look tells the client that asked, when it is over.
    pub fn look_answer(&mut self, command: &'static str, report: Report) -> Result<Value, Error> {
        match self.found.take() {
            Some(found) => Ok(found.to_value(&report)),
            None => Err(Error::LookEnded {
                command,
                cancelled: report.status == Status::Cancelled,
                why: report.reason.unwrap_or_default(),
            }),
        }
    }
}

impl Found {
    fn to_value(&self, report: &Report) -> Value {
        match self {
            Self::List(listing, keys_scanned) => listing.to_value(*keys_scanned, &report.cost),
            Self::Explain(answer) => answer.to_value(&report.cost),
            Self::Doctor(answer) => answer.to_value(&report.cost),
        }
    }
}
