//! A key of the selected database, open to be read.

use redis_module::raw;

use crate::redis::api::{OwnString, RedisModuleCtx, rm};

/// Open a key to read, without counting that as a use of it; `None` if it does not exist.
pub fn with_open_key<T>(
    ctx: *mut RedisModuleCtx,
    name: &OwnString,
    read: impl FnOnce(*mut raw::RedisModuleKey) -> T,
) -> Option<T> {
    let mode = raw::REDISMODULE_READ | raw::REDISMODULE_OPEN_KEY_NOTOUCH;
    // SAFETY: 1, 2, 3.
    let key = unsafe { rm!(RedisModule_OpenKey)(ctx, name.as_ptr(), mode as i32) };
    if key.is_null() {
        return None;
    }
    let result = read(key);
    // SAFETY: 1, 2, 4; opened above, and no copy was kept.
    unsafe { rm!(RedisModule_CloseKey)(key) };
    Some(result)
}
