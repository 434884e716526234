//! The walk over the keys of one database, by whichever of the server's two ways is quicker.
//!
//! The module API visits key by key and copies each name into a string object first. The SCAN
//! command yields names alone, a page at a time. Redis charges about the same for both. Valkey
//! stores keys inside their objects since 8.1, and there SCAN takes half the time: nothing comes
//! between its look at one object and at the next, so their memory is waited for together.
//!
//! SCAN removes keys whose TTL has passed, as it does for every client; the module API leaves them.
//! So SCAN is not for dry runs, nor for servers that would free a large value on the spot, nor where
//! so much expires that the server's own expiry would suffer, see [`crate::scan::expired_share`].

mod module_scan;
mod scan_command;
mod scanned_key;

use std::sync::atomic::{AtomicBool, Ordering};

use module_scan::ModuleScan;
use scan_command::{ScanCommand, frees_in_background};

use crate::heartbeat::details::HeartbeatDetails;
use crate::heartbeat::reader::{Beat, Reader};
use crate::redis::api::acl::User;
use crate::redis::api::replicas::Replicas;
use crate::redis::api::{OwnString, RedisModuleCtx, key_reader, keyspace};
use crate::scan::source::{KeySource, Step, Visitor};

/// Whether SCAN is the quicker way on this server.
static BY_COMMAND: AtomicBool = AtomicBool::new(false);

/// How many steps of the module API's cursor may come between two looks at the clock. One visits a key or none
/// as a rule, and a look after each was 2 to 4 % of the walk.
const MAX_STEPS: u32 = 8;

/// Choose the way to walk on this server.
pub fn load(by_command: bool) {
    BY_COMMAND.store(by_command, Ordering::Relaxed);
}

/// Where a walk over the keyspace is.
#[derive(Debug)]
pub struct Cursor {
    module: ModuleScan,
    /// `None` while SCAN is not asked.
    command: Option<ScanCommand>,
    /// It must not change the keyspace in any way, or what made SCAN give way would do so again, and each time the
    /// walk would begin anew.
    without_command: bool,
}

impl Cursor {
    /// At the beginning; a dry one must not change the keyspace in any way.
    pub fn new(ctx: *mut RedisModuleCtx, is_dry: bool) -> Self {
        Self::begin(ctx, is_dry, false)
    }

    fn begin(ctx: *mut RedisModuleCtx, without_command: bool, is_slow: bool) -> Self {
        let by_command =
            !without_command && BY_COMMAND.load(Ordering::Relaxed) && frees_in_background(ctx);
        Self {
            module: ModuleScan::new(),
            command: by_command.then(|| ScanCommand::new(is_slow)),
            without_command,
        }
    }
}

/// The keys of the selected database, for one slice of a walk.
#[derive(Debug)]
pub struct ServerKeys<'s> {
    pub ctx: *mut RedisModuleCtx,
    pub user: &'s User,
    pub replicas: &'s mut Replicas,
    pub cursor: &'s mut Cursor,
}

impl ServerKeys<'_> {
    #[cold]
    fn step_by_command(&mut self, visitor: &mut impl Visitor) -> Option<Step> {
        let command = self.cursor.command.as_mut()?;
        let step = command.step(self.ctx, self.user, visitor);
        if step.starts_over {
            // The two ways number places differently.
            self.cursor.command = None;
            self.cursor.without_command = true;
        }
        Some(step)
    }
}

impl KeySource for ServerKeys<'_> {
    type Name = OwnString;

    #[inline]
    fn step(&mut self, visitor: &mut impl Visitor) -> Step {
        if self.cursor.command.is_some()
            && let Some(step) = self.step_by_command(visitor)
        {
            return step;
        }
        Step {
            more: self.cursor.module.step(self.ctx, self.user, visitor),
            expired: 0,
            starts_over: false,
        }
    }

    /// A page of SCAN is as large as a piece should be.
    fn max_steps(&self) -> u32 {
        match self.cursor.command {
            Some(_) => 1,
            None => MAX_STEPS,
        }
    }

    fn begin_again(&mut self, is_slow: bool) {
        *self.cursor = Cursor::begin(self.ctx, self.cursor.without_command, is_slow);
    }

    fn name(&self, bytes: &[u8]) -> OwnString {
        OwnString::new(bytes)
    }

    fn heartbeat(&mut self, name: &OwnString, reader: &Reader) -> Option<Beat> {
        keyspace::read_heartbeat(self.ctx, name, reader)
    }

    fn details(&mut self, name: &OwnString, reader: &Reader) -> Option<HeartbeatDetails> {
        key_reader::vitals(self.ctx, name, reader, None)
    }

    fn may_delete(&self, name: &OwnString) -> bool {
        self.user.may_delete(name.as_ptr())
    }

    fn may_read(&self, name: &OwnString) -> bool {
        self.user.may_read(name.as_ptr())
    }

    fn must_wait(&mut self) -> bool {
        self.replicas.are_too_far_behind_now(self.ctx)
    }
}
