//! DOCTOR as a run: the walk of a cleanup with a survey beside it, a study of what it brought on a
//! worker thread, a look at some keys by name, and then the answer.

use std::sync::Arc;

use super::look::Found;
use super::{Next, Phase, Run};
use crate::commands::doctor::{self, Answer, Facts, Naming, Settings, Study, Survey, Walked};
use crate::redis::api::RedisModuleCtx;
use crate::redis::api::acl::User;
use crate::redis::api::system;
use crate::redis::jobs::collect::{Collect, Limits, Purpose};
use crate::redis::jobs::doctor::Measure;
use crate::redis::runner::stop::{self, StopReason};
use crate::redis::runner::worker::Outcome;
use crate::report::Status;
use crate::settings;

/// What is known before the study is over.
#[derive(Debug)]
pub(super) struct Diagnosis {
    survey: Box<Survey>,
    pub(super) walked: Walked,
    pub(super) keys_collected: u64,
}

/// The same when it is, and keys are looked at by name.
#[derive(Debug)]
pub(super) struct Examination {
    pub(super) diagnosis: Diagnosis,
    study: Study,
    measure: Measure,
}

impl Run {
    /// How DOCTOR begins.
    pub(super) fn doctor_phase(ctx: *mut RedisModuleCtx, limits: Limits, database: i32) -> Phase {
        let layout = Arc::clone(&limits.reader.layout);
        // What the module writes itself looks like a key without an owner.
        let own = settings::OBITUARY_STREAM.get().0.clone();
        let survey = Survey::new(settings_now(database), layout, own);
        let mut collect = Collect::new(ctx, limits, Purpose::Telling);
        collect.survey = Some(Box::new(survey));
        Phase::Collecting(collect)
    }

    /// The walk of DOCTOR is over.
    pub(super) fn start_study(&mut self, ctx: *mut RedisModuleCtx, collect: Collect) -> Next {
        let Some(survey) = collect.survey else {
            return self.stop_for(StopReason::InternalError);
        };
        self.ground.look(ctx);
        let settings = survey.settings.clone();
        let walked = Walked {
            keys_scanned: collect.keys_scanned,
            is_truncated: collect.truncated,
            is_overfull: collect.is_overfull,
        };
        let diagnosis = Diagnosis {
            survey,
            walked,
            keys_collected: collect.collection.records(),
        };
        let names = Naming {
            layout: Arc::clone(&self.reader.layout),
            protected: settings::PROTECT.get(),
            locality: self.ground.locality(&self.reader.layout),
        };
        let (collection, now_ms) = (collect.collection, self.started_wall_ms);
        let work = move || {
            let stop = &stop::STOP_WORKER;
            doctor::study(&collection, walked, &settings, &names, now_ms, stop)
        };
        self.start_work(work, |worker| Phase::Studying(worker, Box::new(diagnosis)))
    }

    pub(super) fn study_step(&mut self) -> Next {
        let Phase::Studying(worker, _) = &mut self.phase else {
            return Next::Slice;
        };
        let mut study = match worker.take() {
            Outcome::Busy => return Next::WaitForWorker,
            Outcome::Done(Some(study)) => study,
            Outcome::Done(None) | Outcome::Failed => {
                return self.stop_for(StopReason::InternalError);
            }
        };
        let Phase::Studying(_, diagnosis) = std::mem::replace(&mut self.phase, Phase::Moving)
        else {
            return self.stop_for(StopReason::InternalError);
        };
        let measure = Measure::new(study.orphaned.as_mut(), study.ids.as_mut());
        self.phase = Phase::Examining(Box::new(Examination {
            diagnosis: *diagnosis,
            study,
            measure,
        }));
        Next::Slice
    }

    pub(super) fn examine_step(
        &mut self,
        ctx: *mut RedisModuleCtx,
        user: &User,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> Next {
        let Phase::Examining(examination) = &mut self.phase else {
            return Next::Slice;
        };
        if !examination.measure.slice(ctx, user, time_is_up) {
            return Next::Slice;
        }
        let Phase::Examining(examination) = std::mem::replace(&mut self.phase, Phase::Moving)
        else {
            return self.stop_for(StopReason::InternalError);
        };
        let Examination {
            diagnosis,
            study,
            measure,
        } = *examination;
        let database = diagnosis.survey.settings.database;
        let facts = Facts {
            survey: *diagnosis.survey,
            walked: diagnosis.walked,
            study,
            seen: measure.seen,
            outlook: self.observer.outlook(database),
            last_runs: self.observer.last_runs(self.order.database),
            now_us: system::monotonic_us(),
            locality: self.ground.locality(&self.reader.layout),
        };
        let answer = Answer::new(&facts, self.order.options.json);
        self.found = Some(Found::Doctor(Box::new(answer)));
        self.stop(Status::Complete, None)
    }
}

fn settings_now(database: i32) -> Settings {
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Settings {
        database: u32::try_from(database).unwrap_or_default(),
        threshold_s: narrow(settings::THRESHOLD_SECONDS.get()),
        interval_s: settings::INTERVAL_SECONDS.get(),
        databases: settings::DATABASES.get().to_vec(),
        dry_run: settings::DRY_RUN.get(),
        second_look: settings::SECOND_LOOK.get(),
        orphan_grace_s: settings::ORPHAN_GRACE_SECONDS.get(),
        max_stale_percent: narrow(settings::MAX_STALE_PERCENT.get()),
        collect_max_bytes: settings::COLLECT_MAX_BYTES.get(),
    }
}
