//! DOCTOR: the walk of a cleanup with a survey beside it, a study of what it brought on a worker thread, a look at
//! some keys by name, and then the answer.

use std::sync::Arc;

use super::orphan_sample::Measure;
use super::planning::walk_is_done;
use super::walk::{Collect, Walk};
use crate::commands::doctor::{self, Answer, Facts, Naming, Settings, Study, Survey, Walked};
use crate::commands::query::DoctorOptions;
use crate::redis::api::RedisModuleCtx;
use crate::redis::api::system;
use crate::redis::runner::job::{Job, JobSlice, Next, RunContext, View};
use crate::redis::runner::stop::{self, StopReason};
use crate::redis::runner::worker::{Outcome, Worker};
use crate::report::progress::Activity;
use crate::scan::visit::Purpose;
use crate::settings;

/// What is known before the study is over.
#[derive(Debug)]
struct Diagnosis {
    survey: Box<Survey>,
    walked: Walked,
    keys_collected: u64,
}

/// The same when it is, and keys are looked at by name.
#[derive(Debug)]
struct Examination {
    diagnosis: Diagnosis,
    study: Study,
    measure: Measure,
}

/// A DOCTOR under way.
#[derive(Debug)]
pub struct Doctor {
    stage: Option<Stage>,
    json: bool,
}

#[derive(Debug)]
enum Stage {
    Walking(Box<Walk>),
    /// No worker, if the system gave none.
    Studying(Option<Worker<Option<Study>>>, Box<Diagnosis>),
    Examining(Box<Examination>),
    Over,
}

impl Doctor {
    /// At the beginning of its walk.
    pub fn begin(ctx: *mut RedisModuleCtx, run: &mut RunContext, options: DoctorOptions) -> Self {
        let layout = Arc::clone(&run.reader.layout);
        // What the module writes itself looks like a key without an owner.
        let own = settings::OBITUARY_STREAM.get().0.clone();
        let survey = Survey::new(settings_now(run.request.asked.database), layout, own);
        let walk = Walk::begin(ctx, run, Purpose::ReadOnly, Some(Box::new(survey)));
        Self {
            stage: Some(Stage::Walking(Box::new(walk))),
            json: options.json,
        }
    }

    fn examine(&self, mut examination: Box<Examination>, slice: &mut JobSlice) -> After {
        if !examination.measure.slice(slice) {
            return Some((Stage::Examining(examination), Next::Slice));
        }
        let run = &slice.run;
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
            outlook: run.observer.outlook(database),
            last_runs: run.observer.last_runs(run.request.asked.database),
            now_us: system::monotonic_us(),
            locality: run.locality(),
        };
        let answer = Answer::new(&facts, self.json);
        let next = Next::Answer(Box::new(move |cost| answer.to_value(cost)));
        Some((Stage::Over, next))
    }
}

/// The stage that is next and what it asks for; `None` for what cannot be.
type After = Option<(Stage, Next)>;

/// The walk is over.
fn start_study(collect: Collect, slice: &mut JobSlice) -> After {
    let survey = collect.observer?;
    let run = &mut *slice.run;
    run.ground.look(slice.ctx);
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
        layout: Arc::clone(&run.reader.layout),
        protected: settings::PROTECT.get(),
        locality: run.locality(),
    };
    let (collection, now_ms) = (collect.collection, run.started_wall_ms);
    let work = move || {
        let stop = &stop::STOP_WORKER;
        doctor::study(&collection, walked, &settings, &names, now_ms, stop)
    };
    let (worker, next) = run.start_work(work);
    Some((Stage::Studying(worker, Box::new(diagnosis)), next))
}

fn after_study(mut worker: Option<Worker<Option<Study>>>, diagnosis: Box<Diagnosis>) -> After {
    let mut study = match worker.as_mut().map(Worker::take) {
        Some(Outcome::Busy) => {
            return Some((Stage::Studying(worker, diagnosis), Next::WaitForWorker));
        }
        Some(Outcome::Done(Some(study))) => study,
        _ => return None,
    };
    let measure = Measure::new(study.orphaned.as_mut(), study.ids.as_mut());
    let examination = Examination {
        diagnosis: *diagnosis,
        study,
        measure,
    };
    Some((Stage::Examining(Box::new(examination)), Next::Slice))
}

impl Job for Doctor {
    fn slice(&mut self, slice: &mut JobSlice) -> Next {
        let after = match self.stage.take() {
            Some(Stage::Walking(mut walk)) => match walk.slice(slice) {
                Ok(()) => start_study(*walk.into_collect(), slice),
                Err(next) => Some((Stage::Walking(walk), next)),
            },
            Some(Stage::Studying(worker, diagnosis)) => after_study(worker, diagnosis),
            Some(Stage::Examining(examination)) => self.examine(examination, slice),
            Some(Stage::Over) | None => None,
        };
        let Some((stage, next)) = after else {
            return Next::Stop(StopReason::InternalError);
        };
        self.stage = Some(stage);
        next
    }

    fn view(&self) -> View {
        let diagnosis = match &self.stage {
            Some(Stage::Walking(walk)) => return walk.view(),
            Some(Stage::Studying(_, diagnosis)) => Some(&**diagnosis),
            Some(Stage::Examining(examination)) => Some(&examination.diagnosis),
            Some(Stage::Over) | None => None,
        };
        let mut view = View::of_walk(diagnosis.map_or(0, |d| d.walked.keys_scanned));
        view.progress = walk_is_done(
            Activity::Planning,
            diagnosis.map_or(0, |d| d.keys_collected),
        );
        view
    }

    fn into_heavy(self: Box<Self>) -> Option<Box<dyn Send>> {
        match self.stage? {
            Stage::Walking(walk) => walk.into_heavy(),
            Stage::Studying(worker, _) => Some(Box::new(worker)),
            Stage::Examining(_) | Stage::Over => None,
        }
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
