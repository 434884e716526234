//! Runs begin, have their turns and end. Above the run itself, for this is what the rest of the module hears of it.

use crate::commands::linger::joined;
use crate::commands::look::Look;
use crate::plan::second_look::{SecondLook, Sights};
use crate::redis::api::keyspace;
use crate::redis::api::{self, RedisModuleCtx};
use crate::redis::events::new_keys;
use crate::redis::history;
use crate::redis::runner::linger;
use crate::redis::runner::observer::RunObserver;
use crate::redis::runner::registry::{self, Answer};
use crate::redis::runner::request::{Pending, RunRequest};
use crate::redis::runner::run::{Next, Run, log_end};
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

    fn remember(&self, database: i32, sights: Sights) {
        schedule::remember(database, sights);
    }

    fn sights_of_the_next(&self, database: i32) -> Option<SecondLook> {
        schedule::sights_of_the_next(database)
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
pub fn begin(ctx: *mut RedisModuleCtx, order: RunRequest, wakeup: Wakeup, why: StopReason) {
    if registry::progress().is_none() {
        return begin_now(ctx, order, wakeup);
    }
    registry::succeed(Pending {
        order,
        wakeup,
        wish: None,
    });
    stop::wish(why);
    registry::wake();
}

/// Begin a run; there is room for it.
pub fn begin_now(ctx: *mut RedisModuleCtx, order: RunRequest, wakeup: Wakeup) {
    registry::put_back(Box::new(Run::begin(ctx, order, wakeup, &Module)));
}

/// A turn of the run under way, if there is one. Called by the module's timer.
pub fn on_turn(ctx: *mut RedisModuleCtx) {
    registry::with_wakeup(Wakeup::begin_slice);
    linger::settle();
    let Some(mut run) = registry::take() else {
        return;
    };
    match api::guard(None, || Some(run.slice(ctx))) {
        Some(Next::End(report)) => over(ctx, run, *report),
        Some(next) => {
            run.arm(&next);
            registry::put_back(run);
        }
        None => {
            let why = StopReason::InternalError.reason().into();
            let report = run.report(Status::Interrupted, Some(why));
            over(ctx, run, report);
        }
    }
}

/// The run is over: log, remember, answer. A look leaves nothing behind.
fn over(ctx: *mut RedisModuleCtx, mut run: Box<Run>, report: Report) {
    if let Some(command) = run.order.look.as_ref().map(Look::command) {
        let answer = run.look_answer(command, report);
        return tell(ctx, run, answer, registry::end_look);
    }
    let database = run.order.database;
    let change = if run.order.scheduled {
        schedule::ended(database, &report)
    } else {
        Change::None
    };
    history::ended(database, &report);
    log_end(ctx, &report, database);
    schedule::log_change(ctx, change, &report, database);
    new_keys::end();
    let answer = if run.order.options.json {
        report.to_wrapper_value()
    } else {
        report.to_value()
    };
    tell(ctx, run, Ok(answer), || registry::end(report));
}

/// Make room, then tell the client that waits, or keep the answer for one that may come, and begin what waits
/// for room.
fn tell(ctx: *mut RedisModuleCtx, mut run: Box<Run>, answer: Answer, make_room: impl FnOnce()) {
    let joiner = run.order.departure.filter(|_| !linger::is_ending());
    let joiner = joiner.map(|departure| (run.order.request(), departure));
    let caller = run.order.caller.take();
    let has_joined = run.order.joined;
    // The wakeup goes with the run, before anybody can begin another one.
    drop(run);
    make_room();
    if let Some(caller) = caller {
        caller.answer(if has_joined {
            answer.map(joined)
        } else {
            answer
        });
    } else if let Some((request, departure)) = joiner {
        linger::keep(request, departure, answer);
    }
    if let Some(successor) = registry::take_successor() {
        // For the number of keys; each slice selects by itself.
        keyspace::select(ctx, successor.order.database);
        begin_now(ctx, successor.order, successor.wakeup);
        if let Some(wish) = successor.wish {
            stop::wish(wish);
        }
    }
}
