//! One run: a job in its slices, with what must hold before each, and its end.

use redis_module::raw;

use super::accounts::Accounts;
use super::job::{Job, JobSlice, Next, QueryAnswer, RunContext, SliceKind, View};
use super::observer::RunObserver;
use super::request::RunRequest;
use super::stop::{self, StopReason};
use super::wakeup::Wakeup;
use super::worker::{Outcome, Worker};
use crate::heartbeat::forms::Rules;
use crate::heartbeat::reader::Reader;
use crate::keys::pattern::MAX_PATTERN_BYTES;
use crate::redis::api::acl::User;
use crate::redis::api::cluster::Ground;
use crate::redis::api::keyspace;
use crate::redis::api::replicas::Replicas;
use crate::redis::api::system;
use crate::redis::api::{self, RedisModuleCtx};
use crate::reply::error::Error;
use crate::reply::value::Value;
use crate::report::cost::Cost;
use crate::report::progress::{Activity, Progress, Waiting};
use crate::report::{Report, Status};
use crate::settings;

/// A run that waits asks again after this long, twice as long each time.
const FIRST_WAIT_US: u64 = 10_000;
const LAST_WAIT_US: u64 = 100_000;

/// What a turn of a run asks for.
pub enum Turn {
    Slice,
    WaitForWorker,
    Later,
    End(Box<Report>),
}

/// A run under way.
#[derive(Debug)]
pub struct Run {
    state: State,
    // Declared behind the job: a worker in there holds a waker, and is joined first.
    pub context: RunContext,
    keys_expected: u64,
    accounts: Accounts,
    /// What the run waits for, and how long until it asks again; 0 while it does not wait.
    waiting: Option<Waiting>,
    ask_after_us: u64,
    answer: Answer,
}

#[derive(Debug)]
enum State {
    Working(Box<dyn Job>),
    /// Everything is done but giving memory back.
    Releasing(Worker<()>, Box<Report>),
    Over,
}

/// What a query answers, when it is done.
#[derive(Default)]
struct Answer(Option<QueryAnswer>);

impl std::fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(if self.0.is_some() { "some" } else { "none" })
    }
}

impl Run {
    /// Begin: nothing is looked at before the first slice.
    pub fn begin(
        ctx: *mut RedisModuleCtx,
        request: RunRequest,
        wakeup: Wakeup,
        observer: &'static dyn RunObserver,
        begin_job: fn(*mut RedisModuleCtx, &mut RunContext) -> Box<dyn Job>,
    ) -> Self {
        stop::begin(request.asked.database);
        let reader = Reader {
            layout: settings::FAMILIES.get(),
            fields: settings::TIME_FIELDS.get(),
            rules: Rules::new(
                *settings::ZONELESS.get(),
                api::wall_ms(),
                settings::BEAT_WINDOW_DAYS.get(),
            ),
            max_bytes: settings::MAX_HEARTBEAT_BYTES.get() as usize,
            prints: request.second_look.as_ref().map(|look| look.prints.clone()),
        };
        let now_us = system::monotonic_us();
        wakeup.arm(0);
        let mut context = RunContext {
            request,
            observer,
            wakeup,
            ground: Ground::begin(ctx),
            reader,
            replicas: Replicas::begin(ctx),
            started_wall_ms: api::wall_ms(),
            started_us: now_us,
        };
        Self {
            state: State::Working(begin_job(ctx, &mut context)),
            context,
            keys_expected: keyspace::size(ctx),
            accounts: Accounts::begin(ctx, now_us),
            waiting: None,
            ask_after_us: 0,
            answer: Answer::default(),
        }
    }

    /// Have the next slice come when this turn asks for it.
    pub fn arm(&self, turn: &Turn) {
        let wakeup = &self.context.wakeup;
        match turn {
            Turn::Slice => wakeup.arm(self.accounts.pause_us),
            Turn::Later => wakeup.arm(self.ask_after_us),
            Turn::WaitForWorker => wakeup.wait_for_worker(),
            Turn::End(_) => {}
        }
    }

    /// One slice with its accounts: time, pace, latency monitor, statistics of the command.
    pub fn turn(&mut self, ctx: *mut RedisModuleCtx) -> Turn {
        let began = self.accounts.begin_slice();
        if let Some(caller) = &self.context.request.caller {
            caller.begin_slice();
        }
        let slice_us = settings::SLICE_US.get();
        // Who asks while a slice is under way waits for the rest of it. Measured with a probe that rests
        // for 0.2 ms between two questions: p99.9 of its waits 389 us instead of 543. What comes with a slice
        // takes too long for one below the shortest that can be set.
        let aim_us = if self.context.wakeup.clients_are_active(began.at_us) {
            (slice_us / 2).max(settings::SLICE_US.min.unsigned_abs())
        } else {
            slice_us
        };
        let (turn, kind) = self.slice(ctx, began.at_us.saturating_add(aim_us));
        if let Some(caller) = &self.context.request.caller {
            caller.end_slice();
        }
        self.accounts.end_slice(began, kind, slice_us);
        match turn {
            Turn::End(mut report) => {
                report.cost = self.cost_so_far();
                Turn::End(report)
            }
            turn => turn,
        }
    }

    fn slice(&mut self, ctx: *mut RedisModuleCtx, deadline_us: u64) -> (Turn, SliceKind) {
        let mut kind = SliceKind::default();
        if let State::Releasing(worker, _) = &mut self.state {
            let turn = match worker.take() {
                Outcome::Busy => Turn::WaitForWorker,
                _ => self.released(),
            };
            return (turn, kind);
        }
        let next = self.step(ctx, deadline_us, &mut kind);
        if !matches!(next, Next::Later(_)) {
            self.waiting = None;
            self.ask_after_us = 0;
        }
        let turn = match next {
            Next::Slice => Turn::Slice,
            Next::WaitForWorker => Turn::WaitForWorker,
            Next::Later(waiting) => {
                self.waiting = Some(waiting);
                let longer_us = self.ask_after_us.saturating_mul(2);
                self.ask_after_us = longer_us.clamp(FIRST_WAIT_US, LAST_WAIT_US);
                Turn::Later
            }
            Next::End(status, reason) => self.end(status, reason),
            Next::Stop(reason) => self.stop(reason),
            Next::Answer(answer) => {
                self.answer = Answer(Some(answer));
                self.end(Status::Complete, None)
            }
        };
        (turn, kind)
    }

    /// Everything that must hold before a slice may touch the keyspace, then the slice itself.
    fn step(&mut self, ctx: *mut RedisModuleCtx, deadline_us: u64, kind: &mut SliceKind) -> Next {
        let State::Working(job) = &mut self.state else {
            return Next::Stop(StopReason::InternalError);
        };
        self.context.observer.before_slice();
        if let Some(reason) = stop::wished() {
            return Next::Stop(reason);
        }
        let flags = api::context_flags(ctx);
        let request = &self.context.request.asked;
        let is_query = request.task.is_query();
        if !is_query && flags & raw::REDISMODULE_CTX_FLAGS_MASTER == 0 {
            return Next::Stop(StopReason::RoleChanged);
        }
        if flags & api::LOADING != 0 {
            return Next::Stop(StopReason::Loading);
        }
        // A query writes nothing.
        if !is_query && api::writes_are_paused() {
            return Next::Later(Waiting::Writes);
        }
        let Some(user) = User::resolve(request.user.as_deref()) else {
            return Next::Stop(StopReason::UserGone);
        };
        if !keyspace::select(ctx, request.database) {
            return Next::End(Status::Interrupted, Some("the database is gone".into()));
        }
        let mut last_us = system::monotonic_us();
        let mut longest_us = 0;
        // The next piece of work will take about as long as the last one.
        let mut time_is_up = || {
            let now_us = system::monotonic_us();
            let piece_us = now_us.saturating_sub(last_us);
            longest_us = piece_us.max(longest_us);
            last_us = now_us;
            now_us.saturating_add(piece_us) > deadline_us
        };
        let mut slice = JobSlice {
            ctx,
            user: &user,
            run: &mut self.context,
            time_is_up: &mut time_is_up,
            in_cluster: flags & raw::REDISMODULE_CTX_FLAGS_CLUSTER != 0,
            number: self.accounts.cost.slices.saturating_add(1),
            kind: SliceKind::default(),
        };
        let next = job.slice(&mut slice);
        *kind = slice.kind;
        kind.longest_piece_us = longest_us;
        next
    }

    /// End with the status that goes with a wish.
    fn stop(&mut self, reason: StopReason) -> Turn {
        // What ended it is asked for until it is over.
        stop::wish(reason);
        let status = match reason {
            StopReason::Cancelled
            | StopReason::CallerGone
            | StopReason::ManualRun
            | StopReason::Cleanup => Status::Cancelled,
            _ => Status::Interrupted,
        };
        let said = match reason {
            StopReason::WritesRefused => self.context.observer.refusal(),
            _ => None,
        };
        self.end(status, Some(said.unwrap_or_else(|| reason.reason().into())))
    }

    /// End, giving back what takes long to give back elsewhere than on the main thread.
    fn end(&mut self, status: Status, reason: Option<String>) -> Turn {
        let report = Box::new(self.report(status, reason));
        let State::Working(job) = std::mem::replace(&mut self.state, State::Over) else {
            return Turn::End(report);
        };
        let Some(heavy) = job.into_heavy() else {
            return Turn::End(report);
        };
        match Worker::start(self.context.wakeup.waker(), move || drop(heavy)) {
            Some(worker) => {
                self.state = State::Releasing(worker, report);
                Turn::WaitForWorker
            }
            None => Turn::End(report),
        }
    }

    fn released(&mut self) -> Turn {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Releasing(_, report) => Turn::End(report),
            _ => self.stop(StopReason::InternalError),
        }
    }

    fn cost_so_far(&self) -> Cost {
        Cost {
            elapsed_us: self.context.elapsed_us(),
            ..self.accounts.cost
        }
    }

    fn view(&self) -> View {
        match &self.state {
            State::Working(job) => job.view(),
            State::Releasing(_, report) => {
                let mut view = View {
                    counts: report.counts,
                    ..View::default()
                };
                view.progress.activity = Activity::Reaping;
                view.progress.walk_done = true;
                view
            }
            State::Over => View::default(),
        }
    }

    /// What the run did so far, as its end.
    pub fn report(&mut self, status: Status, reason: Option<String>) -> Report {
        let View {
            counts, is_planned, ..
        } = self.view();
        let stale_ids = match &mut self.state {
            State::Working(job) => job.take_stale_ids(),
            _ => Vec::new(),
        };
        let order = &self.context.request;
        let request = &order.asked;
        Report {
            run: order.number,
            status,
            dry_run: request.task.is_dry_run(),
            threshold_s: request.threshold_s,
            orphan_grace_s: request.orphan_grace_s,
            counts,
            cost: self.cost_so_far(),
            stale_ids,
            reason,
            scheduled: order
                .scheduled
                .then(|| u64::try_from(request.database).unwrap_or_default()),
            warm_up_left_s: order.warm_up_left_s,
            planned: is_planned,
        }
    }

    /// What the client that waits is told when the run is over.
    pub fn reply(&mut self, report: &Report) -> Result<Value, Error> {
        let task = &self.context.request.asked.task;
        if !task.is_query() {
            return Ok(match task.json() {
                true => report.to_wrapper_value(),
                false => report.to_value(),
            });
        }
        match self.answer.0.take() {
            Some(answer) => Ok(answer(&report.cost)),
            None => Err(Error::QueryEnded {
                command: task.command(),
                cancelled: report.status == Status::Cancelled,
                why: report.reason.clone().unwrap_or_default(),
            }),
        }
    }

    /// How far the run is, for STATUS.
    pub fn progress(&self) -> Progress {
        let View {
            counts,
            progress: mut job,
            ..
        } = self.view();
        if let Some(waiting) = self.waiting {
            job.activity = Activity::Paused(waiting);
        }
        let order = &self.context.request;
        let request = &order.asked;
        let task = &request.task;
        // The one id that EXPLAIN is asked about may be long.
        let pattern = task
            .pattern_source()
            .filter(|source| source.len() <= MAX_PATTERN_BYTES);
        Progress {
            job,
            run: order.number,
            database: u64::try_from(request.database).unwrap_or_default(),
            dry_run: task.is_dry_run(),
            asynchronous: task.is_asynchronous(),
            scheduled: order.scheduled,
            lingering_s: order.departure.map(|departure| {
                departure.left_s(system::monotonic_us(), settings::LINGER_SECONDS.get())
            }),
            no_warm_up: task.is_without_warm_up(),
            query: task.is_query().then(|| task.command()),
            threshold_s: request.threshold_s,
            orphan_grace_s: request.orphan_grace_s,
            pattern: pattern.map(<[u8]>::to_vec),
            limit: task.limit(),
            breaker_percent: task.breaker_percent(),
            elapsed_us: self.context.elapsed_us(),
            keys_expected: self.keys_expected,
            keys_scanned: counts.keys_scanned,
            coordinators_removed: counts.coordinators_removed,
            coordinators_revived: counts.coordinators_revived,
            keys_removed: counts.keys_removed(),
            keys_orphaned: counts.keys_orphaned,
            orphans_too_young: counts.orphans_too_young,
            orphans_removed: counts.orphans_removed,
        }
    }
}
