//! A look at a key of any type: what kind it is, how long, when it expires, and its value if that is
//! a string that is not too long.

use std::hash::{BuildHasher, RandomState};

use redis_module::raw;

use crate::heartbeat::Stored;
use crate::heartbeat::details::HeartbeatDetails;
use crate::heartbeat::fingerprint::Fingerprinter;
use crate::heartbeat::reader::Reader;
use crate::orphans::OrphanValue;
use crate::orphans::evidence::{self, Content};
use crate::redis::api::keyspace;
use crate::redis::api::open_key::with_open_key;
use crate::redis::api::{self, Answer, OwnString, RedisModuleCtx, rm};

/// All that shows of a key without taking it apart.
#[derive(Debug)]
struct KeyInfo<'v> {
    kind: i32,
    /// Bytes of a string, elements of anything else.
    length: usize,
    expires_ms: i64,
    value: Option<&'v [u8]>,
    /// When it was last used, as far as is known and as it matters: only of what was not read.
    used_ms: i64,
}

/// The server's clock for uses of keys counts seconds, and its copy may be old.
const USED_MARGIN_MS: i64 = 2_000;

/// Whether a key exists.
pub fn exists(ctx: *mut RedisModuleCtx, name: &OwnString) -> bool {
    with_open_key(ctx, name, |_| ()).is_some()
}

/// What an orphan says, and its print; `None` if there is none (any more). A string longer than the
/// reader takes is not read.
pub fn orphan_value(
    ctx: *mut RedisModuleCtx,
    bytes: &[u8],
    name: &OwnString,
    reader: &Reader,
    key: &RandomState,
) -> Option<OrphanValue> {
    glimpse(ctx, name, reader.max_bytes, |seen| OrphanValue {
        evidence: evidence::of_key(
            bytes,
            seen.content(),
            &reader.layout,
            &reader.fields,
            reader.rules,
        ),
        print: print_of(bytes, &seen, key),
    })
}

/// The beginning of a heartbeat, for its obituary: of its text, or of the time fields of a hash as a JSON object.
/// Empty if there is nothing to read.
pub fn beginning(
    ctx: *mut RedisModuleCtx,
    name: &OwnString,
    reader: &Reader,
    most: usize,
) -> Vec<u8> {
    let found = keyspace::with_stored(ctx, name, reader, |stored, _| match stored {
        Stored::Text(value) => value.get(..most).unwrap_or(value).to_vec(),
        Stored::Hash(fields) => reader.fields.beats.json_of(fields, most),
        Stored::Unread(..) => Vec::new(),
    });
    found.unwrap_or_default()
}

/// A heartbeat, looked at in full; `None` if there is none (any more).
pub fn vitals(
    ctx: *mut RedisModuleCtx,
    name: &OwnString,
    reader: &Reader,
    prints: Option<&Fingerprinter>,
) -> Option<HeartbeatDetails> {
    keyspace::with_stored(ctx, name, reader, |stored, expires_ms| {
        HeartbeatDetails::of(stored, expires_ms(), reader, prints)
    })
}

impl<'v> KeyInfo<'v> {
    fn content(&self) -> Content<'v> {
        let used_ms = self.used_ms;
        self.value
            .map_or(Content::Unread { used_ms }, Content::Read)
    }
}

/// When a key was last used, read or written, as far as the server knows: not if it counts how often
/// instead (maxmemory-policy with LFU), and not while a child of it saves. Then that is now.
///
/// # Safety
/// `key` must be an open key (4).
unsafe fn used_ms(ctx: *mut RedisModuleCtx, key: *mut raw::RedisModuleKey) -> i64 {
    let now_ms = api::wall_ms();
    let mut idle_ms = -1;
    // SAFETY: 1, 2; the caller vouches for the key.
    unsafe { rm!(RedisModule_GetLRU)(key, &mut idle_ms) };
    let has_child = api::context_flags(ctx) & raw::REDISMODULE_CTX_FLAGS_ACTIVE_CHILD != 0;
    if idle_ms < 0 || has_child {
        return now_ms;
    }
    now_ms
        .saturating_sub(idle_ms)
        .saturating_add(USED_MARGIN_MS)
}

fn print_of(name: &[u8], seen: &KeyInfo, key: &RandomState) -> u64 {
    key.hash_one((name, seen.kind, seen.length, seen.expires_ms, seen.value))
}

/// Look at a key; `use_it` is called once if it is there.
fn glimpse<T>(
    ctx: *mut RedisModuleCtx,
    name: &OwnString,
    max_bytes: usize,
    use_it: impl Fn(KeyInfo) -> T,
) -> Option<T> {
    let look = |with_value: bool| {
        with_open_key(ctx, name, |key| {
            // SAFETY: 1, 2, 4; open for the time of this call.
            let mut seen = unsafe {
                KeyInfo {
                    kind: rm!(RedisModule_KeyType)(key),
                    length: rm!(RedisModule_ValueLength)(key),
                    expires_ms: rm!(RedisModule_GetAbsExpire)(key),
                    value: None,
                    used_ms: 0,
                }
            };
            let is_read =
                seen.kind as isize == raw::REDISMODULE_KEYTYPE_STRING && seen.length <= max_bytes;
            if is_read && !with_value && keyspace::is_small(seen.length) {
                return Err((seen.kind, seen.expires_ms));
            }
            if is_read {
                // SAFETY: 4; as above, and the value is not used after the key is closed.
                seen.value = unsafe { value_of(key) };
            }
            if seen.value.is_none() {
                // SAFETY: 4; as above.
                seen.used_ms = unsafe { used_ms(ctx, key) };
            }
            Ok(use_it(seen))
        })
    };
    let (kind, expires_ms) = match look(false)? {
        Ok(result) => return Some(result),
        Err(facts) => facts,
    };
    // SAFETY: 1, 2, 3; the format takes one string, which outlives the call.
    let reply =
        unsafe { rm!(RedisModule_Call)(ctx, c"GET".as_ptr(), c"Es".as_ptr(), name.as_ptr()) };
    let answer = Answer::new(reply)?;
    if answer.error().is_none() {
        return answer.string().map(|value| {
            use_it(KeyInfo {
                kind,
                length: value.len(),
                expires_ms,
                value: Some(value),
                used_ms: 0,
            })
        });
    }
    // There may be no GET, see `keyspace::with_stored`.
    look(true)?.ok()
}

/// # Safety
/// `key` must be an open key that holds a string (3 or 4); the bytes must not be used after it is
/// closed.
unsafe fn value_of<'v>(key: *mut raw::RedisModuleKey) -> Option<&'v [u8]> {
    let mut length = 0usize;
    // SAFETY: 1, 2; the caller vouches for the key.
    let start =
        unsafe { rm!(RedisModule_StringDMA)(key, &mut length, raw::REDISMODULE_READ as i32) };
    // SAFETY: the value stays in place until the key is closed or written.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) })
}
