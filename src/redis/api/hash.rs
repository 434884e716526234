//! The time fields of a hash, and nothing else of it: one of a million fields costs no more than one of
//! three. A field whose own TTL has passed is not there, and is not removed by being looked for.

use std::ffi::{CString, c_int};

use redis_module::raw;

use crate::heartbeat::time_fields::Names;
use crate::redis::api::open_key::with_open_key;
use crate::redis::api::{self, Answer, OwnString, RedisModuleCtx, RedisModuleString, rm};

/// Which of the names the hash has, by their places.
///
/// # Safety
/// `key` must be an open key that holds a hash (3 or 4).
pub unsafe fn places(key: *mut raw::RedisModuleKey, names: &Names) -> Vec<usize> {
    let has = |name: &String| {
        let mut found: c_int = 0;
        let field = CString::new(name.as_str());
        let flags = raw::REDISMODULE_HASH_CFIELDS | raw::REDISMODULE_HASH_EXISTS;
        let end: *const RedisModuleString = std::ptr::null();
        // SAFETY: 1, 2; the caller vouches for the key. With these flags the function takes pairs of a C
        // string and a number to write to, and a null pointer ends them.
        field.is_ok_and(|field| unsafe {
            rm!(RedisModule_HashGet)(key, flags as i32, field.as_ptr(), &raw mut found, end);
            found != 0
        })
    };
    let named = names.all.iter().enumerate();
    let found = named.filter(|(_, name)| has(name));
    found.map(|(place, _)| place).collect()
}

/// The values of these fields, each with its place; none where it is longer than `max_bytes`.
pub fn values(
    ctx: *mut RedisModuleCtx,
    key: &OwnString,
    names: &Names,
    places: &[usize],
    max_bytes: usize,
) -> Vec<(usize, Option<Vec<u8>>)> {
    let one = |place: &usize| {
        let name = names.all.get(*place)?;
        // To read a value is to copy it, so its length comes first.
        if length(ctx, key, name).is_some_and(|length| length > max_bytes) {
            return Some((*place, None));
        }
        let value = value(ctx, key, name)?;
        Some((*place, (value.len() <= max_bytes).then_some(value)))
    };
    places.iter().filter_map(one).collect()
}

/// The length of a field's value; `None` where an operator has renamed the command away.
fn length(ctx: *mut RedisModuleCtx, key: &OwnString, name: &str) -> Option<usize> {
    let field = OwnString::new(name.as_bytes());
    // SAFETY: 1, 2, 3; the format takes two strings, which outlive the call.
    let reply = unsafe {
        rm!(RedisModule_Call)(
            ctx,
            c"HSTRLEN".as_ptr(),
            c"Ess".as_ptr(),
            key.as_ptr(),
            field.as_ptr(),
        )
    };
    usize::try_from(Answer::new(reply)?.integer()?).ok()
}

fn value(ctx: *mut RedisModuleCtx, key: &OwnString, name: &str) -> Option<Vec<u8>> {
    let field = CString::new(name).ok()?;
    with_open_key(ctx, key, |key| {
        let mut value: *mut RedisModuleString = std::ptr::null_mut();
        let flags = raw::REDISMODULE_HASH_CFIELDS as i32;
        let end: *const RedisModuleString = std::ptr::null();
        // SAFETY: 1, 2, 4; the key is open for the time of this call. With this flag the function takes
        // pairs of a C string and a string to write to, and a null pointer ends them.
        unsafe { rm!(RedisModule_HashGet)(key, flags, field.as_ptr(), &raw mut value, end) };
        if value.is_null() {
            return None;
        }
        // SAFETY: 4; the server made this string for us.
        let value = unsafe { OwnString::from_raw(value) };
        // SAFETY: 3; it is not used after it is gone.
        Some(unsafe { api::bytes_of(value.as_ptr()) }.to_vec())
    })?
}
