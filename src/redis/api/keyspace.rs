//! The keys of one database: read a heartbeat, unlink.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use redis_module::raw;

use crate::heartbeat::Stored;
use crate::heartbeat::reader::{Beat, Reader};
use crate::heartbeat::trouble::Reason;
use crate::redis::api::hash;
use crate::redis::api::open_key::with_open_key;
use crate::redis::api::system;
use crate::redis::api::{self, Answer, OwnString, RedisModuleCtx, RedisModuleString, rm};
use crate::removal::keyspace::Refusal;

/// Strings up to this long may be stored inside the object that holds them. Direct access to such
/// a one makes the server rewrite the stored value, so those are read with GET instead.
static EMBEDDED_MAX_BYTES: AtomicUsize = AtomicUsize::new(EMBEDDED_MAX_BYTES_NEW);

/// Redis up to 8.0: 44 bytes. Valkey embeds up to two cache lines, key included; leave some room.
const EMBEDDED_MAX_BYTES_OLD: usize = 44;
const EMBEDDED_MAX_BYTES_NEW: usize = 192;

/// Choose how values are read on a server that embeds long ones, or not.
pub fn load(embeds_long: bool) {
    let bytes = if embeds_long {
        EMBEDDED_MAX_BYTES_NEW
    } else {
        EMBEDDED_MAX_BYTES_OLD
    };
    EMBEDDED_MAX_BYTES.store(bytes, Ordering::Relaxed);
}

/// Make `db` the database of the calls that follow; false if there is none of that number.
pub fn select(ctx: *mut RedisModuleCtx, db: i32) -> bool {
    // SAFETY: 1, 2, 3.
    unsafe { rm!(RedisModule_SelectDb)(ctx, db) == api::OK }
}

/// Number of the selected database.
pub fn selected(ctx: *mut RedisModuleCtx) -> i32 {
    // SAFETY: 1, 2, 3.
    unsafe { rm!(RedisModule_GetSelectedDb)(ctx) }
}

/// How many databases there are: the first number that cannot be selected. The server's setting
/// does not say it, for in a cluster another one counts.
pub fn databases(ctx: *mut RedisModuleCtx) -> u32 {
    let selected = selected(ctx);
    let (mut there, mut not_there) = (0, i32::MAX);
    while not_there.saturating_sub(there) > 1 {
        let middle = there.midpoint(not_there);
        if select(ctx, middle) {
            there = middle;
        } else {
            not_there = middle;
        }
    }
    select(ctx, selected);
    u32::try_from(not_there).unwrap_or(1)
}

/// Keys in the selected database.
pub fn size(ctx: *mut RedisModuleCtx) -> u64 {
    // SAFETY: 1, 2, 3.
    unsafe { rm!(RedisModule_DbSize)(ctx) }
}

/// What has to be read by name, for the server changes what is stored when it is read in another way,
/// or answers in more than one step.
enum Later {
    Text,
    /// The time fields that a hash has.
    Fields(Vec<usize>),
}

/// What is stored in an open key, as far as it can be seen there.
///
/// # Safety
/// `key` must be an open key (3 or 4); what is given must not be used after it is closed.
unsafe fn stored_in<'v>(
    key: *mut raw::RedisModuleKey,
    reader: &Reader,
) -> Result<Stored<'v>, Later> {
    // SAFETY: 1, 2; the caller vouches for the key.
    let (kind, length) = unsafe {
        (
            rm!(RedisModule_KeyType)(key),
            rm!(RedisModule_ValueLength)(key),
        )
    };
    match kind as isize {
        raw::REDISMODULE_KEYTYPE_STRING if length > reader.max_bytes => {
            Ok(Stored::Unread(Reason::TooLong, b""))
        }
        raw::REDISMODULE_KEYTYPE_STRING if is_small(length) => Err(Later::Text),
        // SAFETY: as above.
        raw::REDISMODULE_KEYTYPE_STRING => Ok(unsafe { text_in(key) }),
        raw::REDISMODULE_KEYTYPE_HASH => {
            // SAFETY: as above, and it holds a hash.
            Err(Later::Fields(unsafe {
                hash::places(key, &reader.fields.beats)
            }))
        }
        kind => Ok(Stored::Unread(Reason::OtherType, type_name(kind))),
    }
}

fn type_name(kind: isize) -> &'static [u8] {
    match kind {
        raw::REDISMODULE_KEYTYPE_LIST => b"list",
        raw::REDISMODULE_KEYTYPE_SET => b"set",
        raw::REDISMODULE_KEYTYPE_ZSET => b"zset",
        raw::REDISMODULE_KEYTYPE_STREAM => b"stream",
        _ => b"a module's type",
    }
}

/// Bytes of values that were read so far.
static BYTES_READ: AtomicUsize = AtomicUsize::new(0);

/// See [`BYTES_READ`].
pub fn bytes_read() -> usize {
    BYTES_READ.load(Ordering::Relaxed)
}

/// # Safety
/// As [`stored_in`], and the key must hold a string.
unsafe fn text_in<'v>(key: *mut raw::RedisModuleKey) -> Stored<'v> {
    let mut length = 0usize;
    // SAFETY: 1, 2; the caller vouches for the key.
    let start =
        unsafe { rm!(RedisModule_StringDMA)(key, &mut length, raw::REDISMODULE_READ as i32) };
    if start.is_null() {
        return Stored::Unread(Reason::Unavailable, b"");
    }
    // SAFETY: the value stays in place until the key is closed or written.
    let value = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) };
    BYTES_READ.fetch_add(length, Ordering::Relaxed);
    Stored::Text(value)
}

/// # Safety
/// `key` must be an open key (3 or 4).
unsafe fn expires_in(key: *mut raw::RedisModuleKey) -> i64 {
    // SAFETY: 1, 2; the caller vouches for the key.
    unsafe { rm!(RedisModule_GetAbsExpire)(key) }
}

/// Read a heartbeat that the walk is at; `None` if it must be read by name.
///
/// # Safety
/// `key` must be an open key (3 or 4).
pub unsafe fn read_open_key(key: *mut raw::RedisModuleKey, reader: &Reader) -> Option<Beat> {
    // SAFETY: the caller vouches for the key, which stays open while this is read.
    let stored = unsafe { stored_in(key, reader) }.ok()?;
    // SAFETY: as above.
    let has_ttl = || unsafe { expires_in(key) } >= 0;
    Some(reader.read(stored).with_ttl(has_ttl))
}

/// Read a heartbeat by name; `None` if there is none (any more).
pub fn read_heartbeat(ctx: *mut RedisModuleCtx, name: &OwnString, reader: &Reader) -> Option<Beat> {
    with_stored(ctx, name, reader, |stored, expires_ms| {
        reader.read(stored).with_ttl(|| expires_ms() >= 0)
    })
}

/// Look at what is stored under the name of a heartbeat, and when it expires, which is negative if it
/// does not and costs nothing unless it is asked for; `None` if there is none (any more).
pub(super) fn with_stored<T>(
    ctx: *mut RedisModuleCtx,
    name: &OwnString,
    reader: &Reader,
    use_it: impl Fn(Stored, &dyn Fn() -> i64) -> T,
) -> Option<T> {
    let at_once = with_open_key(ctx, name, |key| {
        // SAFETY: 4; open for the time of this call.
        let stored = unsafe { stored_in(key, reader) }?;
        // SAFETY: as above.
        Ok(use_it(stored, &|| unsafe { expires_in(key) }))
    })?;
    let later = match at_once {
        Ok(result) => return Some(result),
        Err(later) => later,
    };
    let expires_ms = || {
        // SAFETY: 4; open for the time of this call.
        let expires_ms = with_open_key(ctx, name, |key| unsafe { expires_in(key) });
        expires_ms.unwrap_or(-1)
    };
    if let Later::Fields(places) = later {
        let names = &reader.fields.beats;
        let values = hash::values(ctx, name, names, &places, reader.max_bytes);
        return Some(use_it(Stored::Hash(&values), &expires_ms));
    }
    // SAFETY: 1, 2, 3; the format takes one string, which outlives the call.
    let reply =
        unsafe { rm!(RedisModule_Call)(ctx, c"GET".as_ptr(), c"Es".as_ptr(), name.as_ptr()) };
    let answer = Answer::new(reply)?;
    if answer.error().is_none() {
        let value = answer.string();
        return value.map(|value| use_it(Stored::Text(value), &expires_ms));
    }
    // There may be no GET: an operator can rename commands away. Better a rewritten value than a
    // coordinator that cannot be judged.
    with_open_key(ctx, name, |key| {
        // SAFETY: 4; open for the time of this call.
        let stored = unsafe { text_in(key) };
        // SAFETY: as above.
        use_it(stored, &|| unsafe { expires_in(key) })
    })
}

/// Whether a string of this length must be read with GET.
pub(super) fn is_small(length: usize) -> bool {
    length <= EMBEDDED_MAX_BYTES.load(Ordering::Relaxed)
}

/// The longest UNLINK since this was last asked. The server takes the time for more than the keys:
/// when its table of keys has shrunk, the call that moves the last key also gives back the old table.
static LONGEST_UNLINK_US: AtomicU64 = AtomicU64::new(0);

/// See [`LONGEST_UNLINK_US`]; 0 if there was none.
pub fn take_longest_unlink_us() -> u64 {
    LONGEST_UNLINK_US.swap(0, Ordering::Relaxed)
}

/// Unlink keys of the selected database, replicated; gives how many there were to unlink.
pub fn unlink<'k>(
    ctx: *mut RedisModuleCtx,
    keys: impl Iterator<Item = &'k OwnString>,
) -> Result<u64, Refusal> {
    let mut arguments: Vec<*mut RedisModuleString> = keys.map(OwnString::as_ptr).collect();
    let began_us = system::monotonic_us();
    // SAFETY: 1, 2, 3; `v` takes an array and its length, and both outlive the call. `!` brings
    // the effect to AOF and replicas, `S` the checks a client would meet, `E` errors as replies.
    let reply = unsafe {
        rm!(RedisModule_Call)(
            ctx,
            c"UNLINK".as_ptr(),
            c"!ESv".as_ptr(),
            arguments.as_mut_ptr(),
            arguments.len(),
        )
    };
    let took_us = system::monotonic_us().saturating_sub(began_us);
    LONGEST_UNLINK_US.fetch_max(took_us, Ordering::Relaxed);
    let refused = |text: &[u8]| Refusal::Refused(String::from_utf8_lossy(text).trim().to_owned());
    let Some(answer) = Answer::new(reply) else {
        return Err(refused(b"ERR the server gave no answer to UNLINK"));
    };
    if let Some(text) = answer.error() {
        return Err(if memchr::memmem::find(text, b"non local key").is_some() {
            Refusal::NotOwned
        } else {
            refused(text)
        });
    }
    let count = answer.integer().and_then(|count| u64::try_from(count).ok());
    count.ok_or_else(|| refused(b"ERR UNLINK did not answer with a number"))
}
