//! What a run is asked to do, and an order that has to wait for its turn.

use redis_module::raw;

use crate::commands::linger::{Departure, Request};
use crate::commands::look::Look;
use crate::commands::options::CleanupOptions;
use crate::plan::second_look::SecondLook;
use crate::redis::runner::blocked_client::BlockedClient;
use crate::redis::runner::stop::StopReason;
use crate::redis::runner::wakeup::Wakeup;

/// What the command, or the schedule, knew.
#[derive(Debug)]
pub struct RunRequest {
    pub number: u64,
    pub options: CleanupOptions,
    pub threshold_s: u32,
    pub database: i32,
    pub user: Option<Vec<u8>>,
    /// The client that waits; none with ASYNC, and while the run lingers.
    pub caller: Option<BlockedClient>,
    /// The client's connection went away, and no other client has joined since.
    pub departure: Option<Departure>,
    /// The client that waits is not the first.
    pub joined: bool,
    /// The schedule gave it.
    pub scheduled: bool,
    pub second_look: Option<SecondLook>,
    /// Orphans go, when the evidence about them is older than this.
    pub orphan_grace_s: Option<u32>,
    /// What the reply says of the warm-up; 0 for nothing.
    pub warm_up_left_s: u64,
    /// A look instead of a cleanup.
    pub look: Option<Look>,
}

impl RunRequest {
    /// What it was asked for, and by which user.
    pub fn request(&self) -> Request {
        Request {
            database: self.database,
            user: self.user.clone(),
            options: self.options.clone(),
            threshold_s: self.threshold_s,
            orphan_grace_s: self.orphan_grace_s,
            look: self.look.clone(),
        }
    }

    /// The order for a request, with the client that waits for it and the number of its run.
    pub fn new(
        number: u64,
        request: Request,
        caller: Option<BlockedClient>,
        warm_up_left_s: u64,
    ) -> Self {
        Self {
            number,
            options: request.options,
            threshold_s: request.threshold_s,
            database: request.database,
            user: request.user,
            caller,
            departure: None,
            joined: false,
            scheduled: false,
            second_look: None,
            orphan_grace_s: request.orphan_grace_s,
            warm_up_left_s,
            look: request.look,
        }
    }

    /// Whether it lingers and was asked for by this request.
    pub fn lingers_for(&self, request: &Request) -> bool {
        self.departure.is_some() && self.request() == *request
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

/// A run that waits for another to make room: a manual one for a scheduled one, either for a look.
#[derive(Debug)]
pub struct Pending {
    pub order: RunRequest,
    pub wakeup: Wakeup,
    /// Why it should end at once, if its caller went away or cancelled meanwhile.
    pub wish: Option<StopReason>,
}
