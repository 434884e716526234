//! The last part of DOCTOR on the main thread: ask what some orphans weigh, and choose examples that the
//! caller may see.

use redis_module::raw;

use crate::commands::doctor::{Ids, Orphaned, Seen};
use crate::keys::family::Family;
use crate::redis::api::acl::User;
use crate::redis::api::open_key::with_open_key;
use crate::redis::api::{Answer, OwnString, RedisModuleCtx, rm};
use crate::redis::runner::job::JobSlice;

/// What is still to be looked at, the last first.
#[derive(Debug)]
pub struct Measure {
    orphans: Vec<(Family, Vec<u8>)>,
    colons: Vec<Vec<u8>>,
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    pub seen: Seen,
}

impl Measure {
    /// Nothing looked at yet.
    pub fn new(orphaned: Option<&mut Orphaned>, ids: Option<&mut Ids>) -> Self {
        let (colons, pairs) = ids
            .map(|ids| {
                (
                    std::mem::take(&mut ids.colons),
                    std::mem::take(&mut ids.pairs),
                )
            })
            .unwrap_or_default();
        let orphans = orphaned.map(|orphaned| std::mem::take(&mut orphaned.sample));
        Self {
            orphans: orphans.unwrap_or_default(),
            colons,
            pairs,
            seen: Seen::default(),
        }
    }

    /// Look until time is up, which is asked after every key; true when all are looked at.
    pub fn slice(&mut self, slice: &mut JobSlice) -> bool {
        while self.step(slice.ctx, slice.user) {
            if (slice.time_is_up)() {
                return false;
            }
        }
        true
    }

    /// Deal with one name; false if there is none.
    fn step(&mut self, ctx: *mut RedisModuleCtx, user: &User) -> bool {
        let may_read = |key: &[u8]| user.may_read(OwnString::new(key).as_ptr());
        if let Some((family, name)) = self.orphans.pop() {
            self.weigh(ctx, user, family, &name);
        } else if let Some(name) = self.colons.pop() {
            if may_read(&name) {
                self.seen.colon = Some(name);
            }
        } else if let Some((one, other)) = self.pairs.pop() {
            if may_read(&one) && may_read(&other) {
                self.seen.pair = Some((one, other));
            }
        } else {
            return false;
        }
        true
    }

    fn weigh(&mut self, ctx: *mut RedisModuleCtx, user: &User, family: Family, name: &[u8]) {
        let name = OwnString::new(name);
        if !user.may_read(name.as_ptr()) {
            self.seen.orphans_denied = self.seen.orphans_denied.saturating_add(1);
            return;
        }
        let Some(bytes) = memory_usage(ctx, &name) else {
            return;
        };
        let measured = &mut self.seen.measured[family];
        measured.keys = measured.keys.saturating_add(1);
        measured.bytes = measured.bytes.saturating_add(bytes);
    }
}

/// What the server says that a key takes, in bytes; `None` if it is gone, or must not be asked about.
///
/// Of a collection the server looks at five elements: on Redis 7.0 a hash, list, set or sorted set of
/// a million takes some 10 us. Of a stream it looks at every consumer: one with a million takes 33 ms,
/// so streams are not asked about. What another module's type takes is not known.
fn memory_usage(ctx: *mut RedisModuleCtx, name: &OwnString) -> Option<u64> {
    const QUICK: [isize; 5] = [
        raw::REDISMODULE_KEYTYPE_STRING,
        raw::REDISMODULE_KEYTYPE_LIST,
        raw::REDISMODULE_KEYTYPE_HASH,
        raw::REDISMODULE_KEYTYPE_SET,
        raw::REDISMODULE_KEYTYPE_ZSET,
    ];
    let kind = with_open_key(ctx, name, |key| {
        // SAFETY: 1, 2, 4; open for the time of this call.
        unsafe { rm!(RedisModule_KeyType)(key) }
    })?;
    if !QUICK.contains(&(kind as isize)) {
        return None;
    }
    // SAFETY: 1, 2, 3; the format takes a C string and a string, which outlive the call.
    let reply = unsafe {
        rm!(RedisModule_Call)(
            ctx,
            c"MEMORY".as_ptr(),
            c"Ecs".as_ptr(),
            c"USAGE".as_ptr(),
            name.as_ptr(),
        )
    };
    let bytes = Answer::new(reply)?.integer()?;
    u64::try_from(bytes).ok()
}
