//! The walk of LIST: heartbeats only, each read when it is met, none kept that is not among the oldest.

use crate::commands::listing::Listing;
use crate::heartbeat::reader::Reader;
use crate::keys::family::Family;
use crate::redis::api::acl::User;
use crate::redis::api::key_reader;
use crate::redis::api::{OwnString, RedisModuleCtx};
use crate::redis::source::Cursor;

/// A walk under way.
#[derive(Debug)]
pub struct List {
    cursor: Cursor,
    pub listing: Listing,
    pub keys_scanned: u64,
    /// Heartbeats of one step of the walk, to be read when it is over.
    to_read: Vec<Vec<u8>>,
    is_over: bool,
    reader: Reader,
}

impl List {
    /// At the beginning of the keyspace.
    pub fn new(ctx: *mut RedisModuleCtx, listing: Listing, reader: Reader) -> Self {
        Self {
            cursor: Cursor::new(ctx, true),
            listing,
            keys_scanned: 0,
            to_read: Vec::new(),
            is_over: false,
            reader,
        }
    }

    /// Walk until `time_is_up`, which is asked after every step and every heartbeat; true when all
    /// is seen.
    pub fn slice(
        &mut self,
        ctx: *mut RedisModuleCtx,
        user: &User,
        now_ms: i64,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> bool {
        loop {
            while let Some(name) = self.to_read.pop() {
                self.read(ctx, user, now_ms, &name);
                if time_is_up() {
                    return false;
                }
            }
            if self.is_over {
                return true;
            }
            let Self {
                to_read,
                keys_scanned,
                reader,
                ..
            } = self;
            let step = self.cursor.step(ctx, &mut |key| {
                *keys_scanned = keys_scanned.saturating_add(1);
                let family = reader.layout.family_of(key.name);
                // A key whose TTL has passed does not exist, even while the server still holds it.
                if family == Some(Family::Heartbeat) && !key.is_expired(now_ms) {
                    to_read.push(key.name.to_vec());
                }
            });
            self.is_over = !step.more;
            if time_is_up() {
                return false;
            }
        }
    }

    fn read(&mut self, ctx: *mut RedisModuleCtx, user: &User, now_ms: i64, name: &[u8]) {
        let string = OwnString::new(name);
        if !user.may_read(string.as_ptr()) {
            self.listing.deny();
        } else if let Some(vitals) = key_reader::vitals(ctx, &string, &self.reader, None) {
            self.listing.add(name, vitals, now_ms);
        }
    }
}
