//! Runs begin, have their turns and end. Above the run itself, for this is what the rest of the module hears of it.

use crate::commands::linger::joined;
use crate::plan::second_look::{Fingerprints, SecondLook};
use crate::redis::announcement;
use crate::redis::api::keyspace;
use crate::redis::api::{self, Level, RedisModuleCtx};
use crate::redis::history;
use crate::redis::jobs;
use crate::redis::runner::linger;
use crate::redis::runner::observer::RunObserver;
use crate::redis::runner::registry::{self, Answer};
use crate::redis::runner::request::{Pending, RunRequest};
use crate::redis::runner::run::{Run, Turn};
use crate::redis::runner::stop::{self, StopReason};
use crate::redis::runner::wakeup::Wakeup;
use crate::redis::schedule;
use crate::redis::writers;
use crate::report::history::LastRuns;
use crate::report::{Report, Status};
use crate::schedule::{Change, Outlook};

/// What lives longer than a run.
#[derive(Debug)]
struct Module;

impl RunObserver for Module {
    fn before_slice(&self) {
        writers::look_at_clocks();
    }

    fn refusal(&self) -> Option<String> {
        writers::refusal()
    }

    fn remember(&self, database: i32, fingerprints: Fingerprints) {
        schedule::remember(database, fingerprints);
    }

    fn fingerprints_for_the_next(&self, database: i32) -> Option<SecondLook> {
        schedule::fingerprints_for_the_next(database)
    }

    fn writers_away_s(&self) -> u64 {
        schedule::absence().map_or(0, |absence| absence.away_s)
    }

    fn outlook(&self, database: u32) -> Outlook {
        schedule::outlook(database)
    }

    fn last_runs(&self, database: i32) -> LastRuns {
        history::last_runs(database)
    }
}

/// Begin a run, or let the one under way make room for it, and tell that one why.
pub fn begin(ctx: *mut RedisModuleCtx, request: RunRequest, wakeup: Wakeup, why: StopReason) {
    if registry::progress().is_none() {
        return begin_now(ctx, request, wakeup);
    }
    registry::succeed(Pending {
        request,
        wakeup,
        wish: None,
    });
    stop::wish(why);
    registry::wake();
}

/// There is room for it.
fn begin_now(ctx: *mut RedisModuleCtx, request: RunRequest, wakeup: Wakeup) {
    let run = Run::begin(ctx, request, wakeup, &Module, jobs::begin);
    registry::put_back(Box::new(run));
}

/// A turn of the run under way, if there is one. Called by the module's timer.
pub fn on_turn(ctx: *mut RedisModuleCtx) {
    registry::with_wakeup(Wakeup::begin_slice);
    linger::settle();
    let Some(mut run) = registry::take() else {
        return;
    };
    match api::guard(None, || Some(run.turn(ctx))) {
        Some(Turn::End(report)) => over(ctx, run, *report),
        Some(turn) => {
            run.arm(&turn);
            registry::put_back(run);
        }
        None => {
            let why = StopReason::InternalError.reason().into();
            let report = run.report(Status::Interrupted, Some(why));
            over(ctx, run, report);
        }
    }
}

/// The run is over: log, remember, answer. A query leaves nothing behind.
fn over(ctx: *mut RedisModuleCtx, mut run: Box<Run>, mut report: Report) {
    let answer = run.reply(&report);
    let request = &run.context.request;
    if request.asked.task.is_query() {
        return tell(ctx, run, answer, registry::end_query);
    }
    let database = request.asked.database;
    let change = if request.scheduled {
        schedule::ended(database, &report)
    } else {
        Change::None
    };
    history::ended(database, &report);
    log_end(ctx, &report, database);
    schedule::log_change(ctx, change, &report, database);
    tell(ctx, run, answer, || {
        // The ids are not told, and can take a megabyte: they are not copied for it.
        let ids = std::mem::take(&mut report.stale_ids);
        let message = report.to_announcement(database);
        report.stale_ids = ids;
        registry::end(report);
        // STATUS shows the run as `last` by now.
        announcement::publish(ctx, &message);
    });
}

/// Make room, then tell the client that waits, or keep the answer for one that may come, and begin what waits
/// for room.
fn tell(ctx: *mut RedisModuleCtx, mut run: Box<Run>, answer: Answer, make_room: impl FnOnce()) {
    let request = &mut run.context.request;
    let joiner = request.departure.filter(|_| !linger::is_ending());
    let joiner = joiner.map(|departure| (request.asked.clone(), departure));
    let caller = request.caller.take();
    let (has_joined, json) = (request.joined, request.asked.task.json());
    // The wakeup goes with the run, before another one can begin.
    drop(run);
    make_room();
    if let Some(caller) = caller {
        let answer = match has_joined {
            true => answer.map(joined),
            false => answer,
        };
        caller.answer(answer, json);
    } else if let Some((asked, departure)) = joiner {
        linger::keep(asked, departure, answer);
    }
    if let Some(next) = registry::take_successor() {
        // For the number of keys; each slice selects by itself.
        keyspace::select(ctx, next.request.asked.database);
        begin_now(ctx, next.request, next.wakeup);
        if let Some(wish) = next.wish {
            stop::wish(wish);
        }
    }
}

/// One line for a run that removed something, and one for a run that was cut short. What the
/// breaker of the schedule has to say is not said here, for it is said once and not every time.
fn log_end(ctx: *mut RedisModuleCtx, report: &Report, database: i32) {
    let removed = !report.dry_run && report.counts.keys_removed() > 0;
    let whole = [Status::Complete, Status::Partial, Status::Limited].contains(&report.status);
    let line = format!(
        "{}cleanup run {} of database {database}: {}{}; coordinators removed {}, keys removed {}{}, \
         revived {}, slices {}, longest slice {} us, elapsed {} ms",
        if report.scheduled.is_some() {
            "scheduled "
        } else {
            ""
        },
        report.run,
        report.status.word(),
        report
            .reason
            .as_ref()
            .map(|why| format!(" ({why})"))
            .unwrap_or_default(),
        if report.dry_run {
            0
        } else {
            report.counts.coordinators_removed
        },
        if report.dry_run {
            0
        } else {
            report.counts.keys_removed()
        },
        if removed && report.counts.orphans_removed > 0 {
            format!(" ({} orphans)", report.counts.orphans_removed)
        } else {
            String::new()
        },
        report.counts.coordinators_revived,
        report.cost.slices,
        report.cost.longest_slice_us,
        report.cost.elapsed_us / 1000,
    );
    let said_once = report.scheduled.is_some() && report.status == Status::Refused;
    if !whole && !said_once {
        api::log(ctx, Level::Warning, &line);
    } else if removed {
        api::log(ctx, Level::Notice, &line);
    } else if report.scheduled.is_some() {
        api::log(ctx, Level::Verbose, &line);
    }
}
