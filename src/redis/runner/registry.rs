//! What the module remembers: the run under way, the last result, the totals.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use redis_module::raw;

mod lingering;

pub use lingering::*;

use crate::commands::linger::Kept;
use crate::redis::runner::request::Pending;
use crate::redis::runner::run::Run;
use crate::redis::runner::stop::{self, StopReason};
use crate::redis::runner::wakeup::Wakeup;
use crate::report::Report;
use crate::report::progress::Progress;
use crate::report::totals::Totals;
use crate::schedule::Busy;

/// The run, when it is not in the middle of a slice.
#[derive(Debug, Default)]
enum Active {
    #[default]
    None,
    Parked(Box<Run>),
    /// A slice has taken it; this is how it was. A command can meet this only if it comes from
    /// inside a call that the slice makes, such as another module's reaction to an UNLINK.
    InSlice(Box<Progress>),
}

#[derive(Debug, Default)]
struct State {
    last_run: u64,
    active: Active,
    /// What begins when the run under way has made room.
    successor: Option<Pending>,
    /// What a run answered that ended while it lingered.
    kept: Option<Kept<Answer>>,
    last_report: Option<Report>,
    totals: Totals,
}

// SAFETY: a run holds pointers of the server, so it must stay on the main thread. It does: only
// callbacks of the server reach this state (2), and worker threads are given data, never the run.
unsafe impl Send for State {}

/// Locked for moments only, and never while the server is called.
static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forget everything; at load, for the library may have been in memory before.
pub fn load() {
    *state() = State::default();
    stop::over();
}

/// A number for the next run.
pub fn next_number() -> u64 {
    let mut state = state();
    state.last_run = state.last_run.saturating_add(1);
    state.last_run
}

/// Take the run for a slice.
pub fn take() -> Option<Box<Run>> {
    let mut state = state();
    match std::mem::take(&mut state.active) {
        Active::Parked(run) => {
            state.active = Active::InSlice(Box::new(run.progress()));
            Some(run)
        }
        other => {
            state.active = other;
            None
        }
    }
}

/// Put a run back, or a new one in.
pub fn put_back(run: Box<Run>) {
    state().active = Active::Parked(run);
}

/// Whether a run waits for the one under way to make room.
pub fn has_successor() -> bool {
    state().successor.is_some()
}

/// Let a run begin when the one under way, which was asked to, has made room.
pub fn succeed(successor: Pending) {
    state().successor = Some(successor);
}

/// The run that waited, at the end of the one that was under way.
pub fn take_successor() -> Option<Pending> {
    state().successor.take()
}

/// End the run that waits as soon as it begins.
pub fn wish_for_successor(end: StopReason) {
    if let Some(successor) = &mut state().successor {
        successor.wish = Some(end);
    }
}

/// The number of the waiting run if this blocked client waits for it.
pub fn successor_of_caller(handle: *mut raw::RedisModuleBlockedClient) -> Option<u64> {
    state()
        .successor
        .as_ref()?
        .request
        .number_if_called_by(handle)
}

/// The run is over.
pub fn end(report: Report) {
    stop::over();
    let mut state = state();
    state.active = Active::None;
    state.totals.add(&report);
    state.last_report = Some(report);
}

/// The query is over; it leaves nothing behind.
pub fn end_query() {
    stop::over();
    state().active = Active::None;
}

/// The run under way, if there is one.
pub fn progress() -> Option<Progress> {
    match &state().active {
        Active::None => None,
        Active::Parked(run) => Some(run.progress()),
        Active::InSlice(progress) => Some(Progress::clone(progress)),
    }
}

/// Whether a run of the schedule may begin. A query is not in its way, but a run that waits
/// for the query to make room is.
pub fn busy() -> Busy {
    let of = |scheduled| match scheduled {
        true => Busy::Scheduled,
        false => Busy::Manual,
    };
    let Some(progress) = progress() else {
        return Busy::Idle;
    };
    if progress.query.is_none() {
        return of(progress.scheduled);
    }
    let state = state();
    let successor = state.successor.as_ref();
    successor.map_or(Busy::Idle, |next| of(next.request.scheduled))
}

/// Let the next slice of a waiting run come at once.
pub fn wake() {
    with_wakeup(|wakeup| wakeup.arm(0));
}

/// Use the wakeup of a waiting run.
pub fn with_wakeup(use_it: impl FnOnce(&Wakeup)) {
    if let Active::Parked(run) = &state().active {
        use_it(&run.context.wakeup);
    }
}

/// The number of the run that this blocked client waits for, if it does.
pub fn run_of_caller(handle: *mut raw::RedisModuleBlockedClient) -> Option<u64> {
    match &state().active {
        Active::Parked(run) => run.context.request.number_if_called_by(handle),
        _ => None,
    }
}

/// What the last run reported, and the sums of all.
pub fn with_reports<T>(use_them: impl FnOnce(Option<&Report>, &Totals) -> T) -> T {
    let state = state();
    use_them(state.last_report.as_ref(), &state.totals)
}
