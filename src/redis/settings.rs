//! `blocking.*` in CONFIG GET, SET, REWRITE and in redis.conf.

use std::ffi::{CString, c_char, c_void};

use redis_module::raw;

use super::api::{self, RedisModuleCtx, rm};
use crate::settings::{ALL, Setting};

/// Register every setting and take over what the configuration says; at load only.
pub fn load(ctx: *mut RedisModuleCtx) -> bool {
    ALL.iter().all(|setting| register(ctx, setting))
        // SAFETY: 1, 2, 3.
        && unsafe { rm!(RedisModule_LoadConfigs)(ctx) == api::OK }
}

fn register(ctx: *mut RedisModuleCtx, setting: &'static Setting) -> bool {
    let Ok(name) = CString::new(setting.name) else {
        return false;
    };
    // The library may have been in memory before, with values of then.
    setting.set(setting.default);
    let flags = if setting.is_memory {
        raw::REDISMODULE_CONFIG_MEMORY
    } else {
        raw::REDISMODULE_CONFIG_DEFAULT
    };
    // SAFETY: 1, 2, 3; the server copies the name, and the setting is static.
    let status = unsafe {
        rm!(RedisModule_RegisterNumericConfig)(
            ctx,
            name.as_ptr(),
            setting.default,
            flags,
            setting.min,
            setting.max,
            Some(on_get),
            Some(on_set),
            None,
            std::ptr::from_ref(setting).cast_mut().cast(),
        )
    };
    status == api::OK
}

unsafe extern "C" fn on_get(_name: *const c_char, data: *mut c_void) -> i64 {
    // SAFETY: `register` passed a static setting.
    let setting = unsafe { data.cast::<Setting>().as_ref() };
    setting.map_or(0, |setting| {
        i64::try_from(setting.get()).unwrap_or(i64::MAX)
    })
}

unsafe extern "C" fn on_set(
    _name: *const c_char,
    value: i64,
    data: *mut c_void,
    _error: *mut *mut raw::RedisModuleString,
) -> i32 {
    // SAFETY: `register` passed a static setting.
    match unsafe { data.cast::<Setting>().as_ref() } {
        Some(setting) => {
            setting.set(value);
            api::OK
        }
        None => api::ERR,
    }
}
