//! What of the state belongs to callers who have gone: requests that linger, and the answer that is kept.

use redis_module::raw;

use super::{Active, State, state};
use crate::commands::linger::{Departure, Kept};
use crate::commands::request::Request;
use crate::redis::runner::blocked_client::BlockedClient;
use crate::redis::runner::request::RunRequest;
use crate::reply::error::Error;
use crate::reply::value::Value;

/// What a run replies.
pub type Answer = Result<Value, Error>;

impl State {
    /// The requests that a client can wait for: of the run under way, unless it is in the middle of a slice, and
    /// of the one that waits.
    fn requests(&mut self) -> impl Iterator<Item = &mut RunRequest> {
        let parked = match &mut self.active {
            Active::Parked(run) => Some(&mut run.context.request),
            _ => None,
        };
        let waiting = self.successor.as_mut().map(|next| &mut next.request);
        parked.into_iter().chain(waiting)
    }

    /// The one that lingers for this request, and does not end at once: neither a run under way that ends, nor one
    /// that waits and will end as soon as it begins.
    fn joinable(&mut self, request: &Request, is_ending: bool) -> Option<&mut RunRequest> {
        let parked = match &mut self.active {
            Active::Parked(run) if !is_ending => Some(&mut run.context.request),
            _ => None,
        };
        let waiting = self.successor.as_mut().filter(|next| next.wish.is_none());
        let waiting = waiting.map(|next| &mut next.request);
        let mut requests = parked.into_iter().chain(waiting);
        requests.find(|one| one.lingers_for(request))
    }
}

/// Whether this blocked client waits.
pub fn is_waiting(handle: *mut raw::RedisModuleBlockedClient) -> bool {
    let waits = |request: &mut RunRequest| request.caller.as_ref().is_some_and(|c| c.is(handle));
    state().requests().any(waits)
}

/// This client has gone, and what it waited for lingers. It is given back, to be let go when the state is
/// not locked any more.
pub fn leave(
    handle: *mut raw::RedisModuleBlockedClient,
    departure: Departure,
) -> Option<BlockedClient> {
    state()
        .requests()
        .find_map(|request| request.leave(handle, departure))
}

/// Whether a client has gone, and it is not yet known whether a command took it away.
pub fn has_unsettled() -> bool {
    let unsettled = |request: &mut RunRequest| request.departure.is_some_and(|d| d.is_unsettled());
    state().requests().any(unsettled)
}

/// Settle it, with the number of such commands that are over; says whose caller was taken away.
pub fn settle(takings: u64) -> Ended {
    ended(|departure| departure.was_taken(takings))
}

/// Whose time to be joined is over.
pub fn run_out(now_us: u64, linger_s: u64) -> Ended {
    ended(|departure| departure.left_us(now_us, linger_s).is_none())
}

/// Which of the two does not linger any more.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ended {
    pub run: bool,
    pub successor: bool,
}

fn ended(mut is_ended: impl FnMut(&mut Departure) -> bool) -> Ended {
    let mut of = |request: &mut RunRequest| request.departure.as_mut().is_some_and(&mut is_ended);
    let mut state = state();
    let run = match &mut state.active {
        Active::Parked(run) => of(&mut run.context.request),
        _ => false,
    };
    let successor = state.successor.as_mut().is_some_and(|s| of(&mut s.request));
    Ended { run, successor }
}

/// Whether something lingers for this request; the run under way does not if it ends.
pub fn lingers_for(request: &Request, is_ending: bool) -> bool {
    state().joinable(request, is_ending).is_some()
}

/// Let this client wait for what lingers for its request.
pub fn join(
    request: &Request,
    is_ending: bool,
    caller: BlockedClient,
) -> Result<(), BlockedClient> {
    match state().joinable(request, is_ending) {
        Some(waiting) => {
            waiting.join(caller);
            Ok(())
        }
        None => Err(caller),
    }
}

/// Keep the answer of a run that ended while it lingered. Of several the newest is kept.
pub fn keep(kept: Kept<Answer>) {
    state().kept = Some(kept);
}

/// The answer that is kept for this request; it is given once.
pub fn take_kept(request: &Request, now_us: u64, linger_s: u64) -> Option<Answer> {
    let kept = &mut state().kept;
    let kept = kept.take_if(|kept| kept.is_for(request, now_us, linger_s))?;
    Some(kept.answer)
}

/// Forget what no client gets any more.
pub fn forget_kept(now_us: u64, linger_s: u64) {
    state().kept.take_if(|kept| kept.is_over(now_us, linger_s));
}

/// Forget what is kept of this database, or of any with -1, however long it has yet.
pub fn forget_kept_of(database: i32) {
    let kept = &mut state().kept;
    kept.take_if(|kept| database == -1 || kept.request.database == database);
}
