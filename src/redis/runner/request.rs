//! What a run is asked to do and who waits for it, and one that has to wait for its turn.

use redis_module::raw;

use super::blocked_client::BlockedClient;
use super::stop::StopReason;
use super::wakeup::Wakeup;
use crate::commands::linger::Departure;
use crate::commands::request::Request;
use crate::plan::second_look::SecondLook;

/// What the command, or the schedule, knew.
#[derive(Debug)]
pub struct RunRequest {
    pub number: u64,
    pub asked: Request,
    /// The client that waits; none with ASYNC, and while the run lingers.
    pub caller: Option<BlockedClient>,
    /// The client's connection went away, and no other client has joined since.
    pub departure: Option<Departure>,
    /// The client that waits is not the first.
    pub joined: bool,
    /// The schedule gave it.
    pub scheduled: bool,
    pub second_look: Option<SecondLook>,
    /// What the reply says of the warm-up; 0 for nothing.
    pub warm_up_left_s: u64,
}

impl RunRequest {
    /// Whether it lingers and was asked for by this request.
    pub fn lingers_for(&self, request: &Request) -> bool {
        self.departure.is_some() && self.asked == *request
    }

    /// A client waits for it again.
    pub fn join(&mut self, caller: BlockedClient) {
        self.caller = Some(caller);
        self.departure = None;
        self.joined = true;
    }

    /// If this is the client that waits: it has gone, and is given back.
    pub fn leave(
        &mut self,
        handle: *mut raw::RedisModuleBlockedClient,
        departure: Departure,
    ) -> Option<BlockedClient> {
        let caller = self.caller.take_if(|caller| caller.is(handle))?;
        self.departure = Some(departure);
        Some(caller)
    }

    /// Whether this is the client that waits for the run; gives the run's number.
    pub fn number_if_called_by(&self, handle: *mut raw::RedisModuleBlockedClient) -> Option<u64> {
        let caller = self.caller.as_ref()?;
        caller.is(handle).then_some(self.number)
    }
}

/// A run that waits for another to make room: a manual one for a scheduled one, either for a query.
#[derive(Debug)]
pub struct Pending {
    pub request: RunRequest,
    pub wakeup: Wakeup,
    /// Why it should end at once, if its caller went away or cancelled meanwhile.
    pub wish: Option<StopReason>,
}
