//! One run as named states: collect, plan, with ORPHANS weigh and judge, reap; one step of it a
//! slice. A look is a run that ends before anything is removed.

mod doctor;
mod end;
mod judge;
mod look;
mod plan;
mod sift;
mod view;

pub use view::log_end;

use doctor::{Diagnosis, Examination};
use judge::{Judged, Judging};
use look::{Explained, Found};
use plan::Planned;
use sift::Sifted;

use crate::commands::doctor::Study;
use crate::heartbeat::forms::Rules;
use crate::heartbeat::reader::Reader;
use crate::plan::explanation::Explanation;
use crate::redis::api::acl::User;
use crate::redis::api::cluster::Ground;
use crate::redis::api::keyspace;
use crate::redis::api::replicas::Replicas;
use crate::redis::api::system;
use crate::redis::api::{self, RedisModuleCtx};
use crate::redis::events::new_keys;
use crate::redis::jobs::collect::{Collect, Limits, Purpose, Walk};
use crate::redis::jobs::list::List;
use crate::redis::jobs::server_keyspace::ServerKeyspace;
use crate::removal::new_keys::NewKeys;
use crate::removal::{self, Removal};

use crate::redis::jobs::orphan_check::OrphanCheck;
use crate::redis::jobs::tell::Tell;
use crate::redis::obituaries;
use crate::redis::runner::observer::RunObserver;
use crate::redis::runner::request::RunRequest;
use crate::redis::runner::stop::{self, StopReason};
use crate::redis::runner::wakeup::Wakeup;
use crate::redis::runner::worker::Worker;
use crate::removal::slice::Slice;
use crate::report::cost::{Cost, SliceCost};
use crate::report::obituary::Obituaries;
use crate::report::progress::Waiting;
use crate::report::{Report, Status};
use crate::schedule::pace::{self, Pace, Shares, Turn};
use crate::settings;

use redis_module::raw;

/// A run that waits looks again after this long, twice as long each time.
const FIRST_LOOK_US: u64 = 10_000;
const LAST_LOOK_US: u64 = 100_000;

/// Where the run is.
#[derive(Debug)]
enum Phase {
    Collecting(Collect),
    /// Not everything fitted: what a second walk has to keep. Or a walk begins anew.
    Sifting(Worker<Option<Sifted>>, Collect),
    Planning(Worker<Option<Planned>>, Walked),
    /// Which of the keys that stay are there at all.
    Recounting(Box<Removal>),
    /// With ORPHANS: reading what keys without an owner say.
    Weighing(Box<Removal>, Box<OrphanCheck>),
    Judging(Worker<Option<Judged>>, Judging),
    Reaping(Box<Removal>),
    /// LIST.
    Listing(Box<List>),
    /// EXPLAIN, when all is known: putting it together, and reading the heartbeats of the id.
    Explaining(Worker<Option<Explained>>, Walked),
    Telling(Box<Tell>),
    /// DOCTOR, when the walk is over: the study of what it brought, and a look at some keys by name.
    Studying(Worker<Option<Study>>, Box<Diagnosis>),
    Examining(Box<Examination>),
    /// Everything is done but giving memory back.
    Releasing(Worker<()>, Box<Report>),
    /// Between two states, and after the last.
    Moving,
}

/// What a finished walk leaves for the report.
#[derive(Clone, Copy, Debug)]
struct Walked {
    keys_scanned: u64,
    keys_collected: u64,
    truncated: bool,
}

/// What a step asks for.
pub enum Next {
    Slice,
    WaitForWorker,
    Look,
    End(Box<Report>),
}

/// A run under way.
#[derive(Debug)]
pub struct Run {
    pub order: RunRequest,
    observer: &'static dyn RunObserver,
    phase: Phase,
    // Declared behind the phase: a worker in there holds a waker, and is joined first.
    pub wakeup: Wakeup,
    born: NewKeys,
    ground: Ground,
    reader: Reader,
    replicas: Replicas,
    obituaries: Option<Obituaries>,
    started_wall_ms: i64,
    started_us: u64,
    keys_expected: u64,
    pace: Pace,
    cost: Cost,
    turn_began_us: u64,
    turn_began_cpu_us: u64,
    paused_us: u64,
    /// Length of the last slice if it removed keys.
    removing_us: u64,
    /// The longest piece of the walk in the slice under way, and the longest reading of heartbeats.
    longest_scan_us: u64,
    longest_read_us: u64,
    /// What the run waits for, and how long until it looks again; 0 while it does not wait.
    waiting: Option<Waiting>,
    /// Keys that were read to judge orphans.
    keys_weighed: u64,
    look_after_us: u64,
    /// For EXPLAIN: what the plan says of the id.
    explanation: Option<Box<Explanation>>,
    /// What a look found, when it is done.
    found: Option<Found>,
    latency_threshold_ms: i64,
}

impl Run {
    /// Begin: nothing is looked at before the first slice.
    pub fn begin(
        ctx: *mut RedisModuleCtx,
        order: RunRequest,
        wakeup: Wakeup,
        observer: &'static dyn RunObserver,
    ) -> Self {
        stop::begin(order.database);
        let reader = Reader {
            layout: settings::FAMILIES.get(),
            fields: settings::TIME_FIELDS.get(),
            rules: Rules::new(
                *settings::ZONELESS.get(),
                api::wall_ms(),
                settings::BEAT_WINDOW_DAYS.get(),
            ),
            max_bytes: settings::MAX_HEARTBEAT_BYTES.get() as usize,
            prints: order.second_look.as_ref().map(|look| look.prints.clone()),
        };
        let limits = Limits {
            reader: reader.clone(),
            collect_max_bytes: settings::COLLECT_MAX_BYTES.get() as usize,
        };
        let now_us = system::monotonic_us();
        wakeup.arm(0);
        let look = Self::look_phase(ctx, &order, &limits);
        let purpose = match (order.options.dry_run, order.orphan_grace_s) {
            (true, _) => Purpose::Telling,
            (false, Some(_)) => Purpose::RemovingOrphans,
            (false, None) => Purpose::Removing,
        };
        Self {
            phase: look.unwrap_or_else(|| {
                let mut collect = Collect::new(ctx, limits, purpose);
                collect.walks_twice = order.look.is_none();
                Phase::Collecting(collect)
            }),
            observer,
            wakeup,
            born: match order.look {
                // Nothing is removed, so nothing has to be kept for those who are born meanwhile.
                Some(_) => NewKeys::default(),
                None => {
                    new_keys::begin(&reader.layout, order.orphan_grace_s.is_some());
                    NewKeys::new(&reader.layout)
                }
            },
            ground: Ground::begin(ctx),
            replicas: Replicas::begin(ctx),
            obituaries: obituaries::begin(order.number, &reader.layout),
            reader,
            started_wall_ms: api::wall_ms(),
            started_us: now_us,
            keys_expected: keyspace::size(ctx),
            pace: Pace::default(),
            cost: Cost::default(),
            turn_began_us: now_us,
            turn_began_cpu_us: system::thread_cpu_us(),
            paused_us: 0,
            removing_us: 0,
            longest_scan_us: 0,
            longest_read_us: 0,
            waiting: None,
            keys_weighed: 0,
            look_after_us: 0,
            explanation: None,
            found: None,
            latency_threshold_ms: api::server_setting(ctx, c"latency-monitor-threshold")
                .and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok())
                .unwrap_or_default(),
            order,
        }
    }

    /// Have the next slice come when this step asks for it.
    pub fn arm(&self, next: &Next) {
        match next {
            Next::Slice => self.wakeup.arm(self.paused_us),
            Next::Look => self.wakeup.arm(self.look_after_us),
            Next::WaitForWorker => self.wakeup.wait_for_worker(),
            Next::End(_) => {}
        }
    }

    /// Milliseconds since 1970, as seen from the start of the run: a clock set forward meanwhile
    /// makes no heartbeat look older, and one set back counts at once.
    fn now_ms(&self) -> i64 {
        let elapsed_us = system::monotonic_us().saturating_sub(self.started_us);
        let elapsed_ms = i64::try_from(elapsed_us / 1000).unwrap_or(i64::MAX);
        api::wall_ms().min(self.started_wall_ms.saturating_add(elapsed_ms))
    }

    /// One slice with its accounts: time, pace, latency monitor, statistics of the command.
    pub fn slice(&mut self, ctx: *mut RedisModuleCtx) -> Next {
        let begin_us = system::monotonic_us();
        let begin_cpu_us = system::thread_cpu_us();
        let before = Turn {
            cpu_us: begin_cpu_us.saturating_sub(self.turn_began_cpu_us),
            own_us: pace::propagation_us(self.removing_us),
            wall_us: begin_us.saturating_sub(self.turn_began_us),
            asked_us: self.paused_us,
        };
        if let Some(caller) = &self.order.caller {
            caller.begin_slice();
        }
        let slice_us = settings::SLICE_US.get();
        // Who asks while a slice is under way waits for the rest of it. Measured with a probe that rests
        // for 0.2 ms between two questions: p99.9 of its waits 389 us instead of 543. What comes with a slice
        // takes too long for one below the shortest that can be set.
        let aim_us = if self.wakeup.clients_are_active(begin_us) {
            (slice_us / 2).max(settings::SLICE_US.min.unsigned_abs())
        } else {
            slice_us
        };
        let next = self.step(ctx, begin_us.saturating_add(aim_us));
        if let Some(caller) = &self.order.caller {
            caller.end_slice();
        }
        self.turn_began_us = system::monotonic_us();
        self.turn_began_cpu_us = system::thread_cpu_us();
        let took_us = self.turn_began_us.saturating_sub(begin_us);
        self.cost.add_slice(SliceCost {
            took_us,
            cpu_us: self.turn_began_cpu_us.saturating_sub(begin_cpu_us),
            allowed_us: slice_us,
            scan_us: std::mem::take(&mut self.longest_scan_us),
            read_us: std::mem::take(&mut self.longest_read_us),
            unlink_us: keyspace::take_longest_unlink_us(),
        });
        let removed = matches!(self.phase, Phase::Reaping(_));
        self.removing_us = if removed { took_us } else { 0 };
        self.sample_latency(took_us);
        let shares = Shares {
            busy: settings::CPU_PERCENT.get(),
            idle: settings::IDLE_CPU_PERCENT.get(),
        };
        self.paused_us = self.pace.pause_us(before, took_us, shares);
        match next {
            Next::End(mut report) => {
                report.cost = self.cost_so_far();
                Next::End(report)
            }
            next => next,
        }
    }

    /// Some servers take samples even while their monitor is off, hence our own test.
    fn sample_latency(&self, took_us: u64) {
        let took_ms = i64::try_from(took_us / 1000).unwrap_or(i64::MAX);
        if self.latency_threshold_ms > 0 && took_ms >= self.latency_threshold_ms {
            // SAFETY: 1, 2; the server copies the name.
            unsafe {
                api::rm!(RedisModule_LatencyAddSample)(c"blocking-cleanup".as_ptr(), took_ms)
            };
        }
    }

    /// Everything that must hold before a slice may touch the keyspace, then the slice itself.
    fn step(&mut self, ctx: *mut RedisModuleCtx, deadline_us: u64) -> Next {
        if let Phase::Releasing(..) = self.phase {
            return self.release_step();
        }
        self.observer.before_slice();
        if let Some(end) = stop::wished() {
            return self.stop_for(end);
        }
        let flags = api::context_flags(ctx);
        let is_look = self.order.look.is_some();
        if !is_look && flags & raw::REDISMODULE_CTX_FLAGS_MASTER == 0 {
            return self.stop_for(StopReason::RoleChanged);
        }
        if flags & api::LOADING != 0 {
            return self.stop_for(StopReason::Loading);
        }
        match self.phase {
            Phase::Sifting(..) => return self.sift_step(ctx),
            Phase::Planning(..) => return self.plan_step(),
            Phase::Judging(..) => return self.judge_step(),
            Phase::Explaining(..) => return self.explain_step(),
            Phase::Studying(..) => return self.study_step(),
            _ => {}
        }
        // A look writes nothing.
        if !is_look && api::writes_are_paused() {
            return self.look_later(Waiting::Writes);
        }
        let Some(user) = User::resolve(self.order.user.as_deref()) else {
            return self.stop_for(StopReason::UserGone);
        };
        if !keyspace::select(ctx, self.order.database) {
            return self.stop(Status::Interrupted, Some("the database is gone".into()));
        }
        let is_walk = matches!(self.phase, Phase::Collecting(_));
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
        let next = match &mut self.phase {
            Phase::Collecting(_) => self.collect_step(ctx, &user, &mut time_is_up),
            Phase::Recounting(_) => self.recount_step(ctx, &user, &mut time_is_up),
            Phase::Weighing(..) => self.weigh_step(ctx, &mut time_is_up),
            Phase::Listing(_) => self.list_step(ctx, &user, &mut time_is_up),
            Phase::Telling(_) => self.tell_step(ctx, &user, &mut time_is_up),
            Phase::Examining(_) => self.examine_step(ctx, &user, &mut time_is_up),
            Phase::Reaping(_) => {
                let cluster = flags & raw::REDISMODULE_CTX_FLAGS_CLUSTER != 0;
                self.reap_step(ctx, &user, cluster, &mut time_is_up)
            }
            _ => self.stop_for(StopReason::InternalError),
        };
        if is_walk {
            self.longest_scan_us = longest_us;
        }
        if !matches!(next, Next::Look) {
            self.waiting = None;
            self.look_after_us = 0;
        }
        next
    }

    /// Have a worker do this, and wait for it in the phase that goes with it.
    fn start_work<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
        phase: impl FnOnce(Worker<T>) -> Phase,
    ) -> Next {
        let Some(worker) = Worker::start(self.wakeup.waker(), work) else {
            let why = "the system gave no thread";
            return self.stop(Status::Interrupted, Some(why.into()));
        };
        self.phase = phase(worker);
        Next::WaitForWorker
    }

    fn look_later(&mut self, waiting: Waiting) -> Next {
        self.waiting = Some(waiting);
        let longer_us = self.look_after_us.saturating_mul(2);
        self.look_after_us = longer_us.clamp(FIRST_LOOK_US, LAST_LOOK_US);
        Next::Look
    }

    fn collect_step(
        &mut self,
        ctx: *mut RedisModuleCtx,
        user: &User,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> Next {
        let now_ms = self.now_ms();
        let Phase::Collecting(collect) = &mut self.phase else {
            return Next::Slice;
        };
        match collect.slice(ctx, user, now_ms, &mut self.replicas, time_is_up) {
            Walk::Unfinished => Next::Slice,
            Walk::WaitForReplicas => self.look_later(Waiting::Replicas),
            Walk::Finished => self.after_walk(ctx),
            Walk::TooManyHeartbeats => self.after_overflow(ctx),
            Walk::StartsOver => self.free_forgotten(),
        }
    }

    /// Everything is judged: remove, unless it is a dry run or there is nothing to remove.
    fn start_reap(&mut self, reap: Box<Removal>) -> Next {
        if let Some(explanation) = self.explanation.take() {
            return self.start_explaining(reap, explanation);
        }
        let done = self.order.options.dry_run || reap.is_over();
        self.phase = Phase::Reaping(reap);
        if done { self.finish() } else { Next::Slice }
    }

    fn reap_step(
        &mut self,
        ctx: *mut RedisModuleCtx,
        user: &User,
        cluster: bool,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> Next {
        let slice = Slice {
            now_ms: self.now_ms(),
            threshold_s: self.order.threshold_s,
            reader: &self.reader,
            cluster,
            // Never 0, which stands for never.
            number: self.cost.slices.saturating_add(1),
            slice_us: settings::SLICE_US.get(),
        };
        let mut space = ServerKeyspace {
            ctx,
            user,
            replicas: &mut self.replicas,
            ground: &mut self.ground,
        };
        let Phase::Reaping(reap) = &mut self.phase else {
            return Next::Slice;
        };
        let progress = reap.slice(&mut space, slice, time_is_up);
        self.longest_read_us = std::mem::take(&mut reap.longest_read_us);
        match progress {
            removal::Progress::Unfinished => Next::Slice,
            removal::Progress::Paused(waiting) => self.look_later(waiting),
            removal::Progress::Refused(text) => self.stop(Status::Interrupted, Some(text)),
            removal::Progress::Finished => self.finish(),
        }
    }
}
