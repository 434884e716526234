//! `blocking.*` in CONFIG GET, SET, REWRITE and in redis.conf.

use std::ffi::{CString, c_char, c_void};
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use redis_module::raw;

use crate::redis::api::keyspace;
use crate::redis::api::{self, OwnString, RedisModuleCtx, RedisModuleString, rm};
use crate::redis::runner::registry;
use crate::redis::runner::stop::{self, StopReason};
use crate::settings::{self, AnyText, NUMBERS, SWITCHES, Setting, Switch, TEXTS};

/// A setting as the server hands it back: text settings by the place where they stand, for a
/// pointer to a trait object is two words long.
type TextPlace = &'static dyn AnyText;

/// The texts that CONFIG GET was last given: the server reads them after the callback has returned.
static SHOWN: Mutex<[Option<Shown>; TEXTS.len()]> = Mutex::new([const { None }; TEXTS.len()]);

struct Shown(OwnString);

// SAFETY: made, used and freed on the main thread only (2).
unsafe impl Send for Shown {}

/// Register every setting and take over what the configuration says; at load only.
pub fn load(ctx: *mut RedisModuleCtx) -> bool {
    settings::SERVER_DATABASES.store(keyspace::databases(ctx), Ordering::Relaxed);
    NUMBERS.iter().all(|setting| register_number(ctx, setting))
        && SWITCHES.iter().all(|setting| register_switch(ctx, setting))
        && TEXTS.iter().all(|setting| register_text(ctx, setting))
        // SAFETY: 1, 2, 3.
        && unsafe { rm!(RedisModule_LoadConfigs)(ctx) == api::OK }
}

/// Give back what CONFIG GET was shown.
pub fn unload() {
    if let Ok(mut shown) = SHOWN.lock() {
        *shown = [const { None }; TEXTS.len()];
    }
}

// Each registration first puts the default in force: the library may have been in memory before,
// with values of then.

fn register_number(ctx: *mut RedisModuleCtx, setting: &'static Setting) -> bool {
    let Ok(name) = CString::new(setting.name) else {
        return false;
    };
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
            Some(on_get_number),
            Some(on_set_number),
            None,
            std::ptr::from_ref(setting).cast_mut().cast(),
        )
    };
    status == api::OK
}

fn register_switch(ctx: *mut RedisModuleCtx, setting: &'static Switch) -> bool {
    let Ok(name) = CString::new(setting.name) else {
        return false;
    };
    setting.set(setting.default);
    // SAFETY: 1, 2, 3; the server copies the name, and the setting is static.
    let status = unsafe {
        rm!(RedisModule_RegisterBoolConfig)(
            ctx,
            name.as_ptr(),
            i32::from(setting.default),
            raw::REDISMODULE_CONFIG_DEFAULT,
            Some(on_get_switch),
            Some(on_set_switch),
            None,
            std::ptr::from_ref(setting).cast_mut().cast(),
        )
    };
    status == api::OK
}

fn register_text(ctx: *mut RedisModuleCtx, setting: &'static TextPlace) -> bool {
    let (Ok(name), Ok(default)) = (
        CString::new(setting.name()),
        CString::new(setting.default()),
    ) else {
        return false;
    };
    if setting.set(setting.default().as_bytes()).is_err() {
        return false;
    }
    // SAFETY: 1, 2, 3; the server copies both texts, and the setting is static.
    let status = unsafe {
        rm!(RedisModule_RegisterStringConfig)(
            ctx,
            name.as_ptr(),
            default.as_ptr(),
            raw::REDISMODULE_CONFIG_DEFAULT,
            Some(on_get_text),
            Some(on_set_text),
            None,
            std::ptr::from_ref(setting).cast_mut().cast(),
        )
    };
    status == api::OK
}

unsafe extern "C" fn on_get_number(_name: *const c_char, data: *mut c_void) -> i64 {
    // SAFETY: `register_number` passed a static setting.
    let setting = unsafe { data.cast::<Setting>().as_ref() };
    setting.map_or(0, Setting::as_set)
}

unsafe extern "C" fn on_set_number(
    _name: *const c_char,
    value: i64,
    data: *mut c_void,
    _error: *mut *mut RedisModuleString,
) -> i32 {
    // SAFETY: `register_number` passed a static setting.
    match unsafe { data.cast::<Setting>().as_ref() } {
        Some(setting) => {
            setting.set(value);
            api::OK
        }
        None => api::ERR,
    }
}

unsafe extern "C" fn on_get_switch(_name: *const c_char, data: *mut c_void) -> i32 {
    // SAFETY: `register_switch` passed a static setting.
    let setting = unsafe { data.cast::<Switch>().as_ref() };
    setting.map_or(0, |setting| i32::from(setting.get()))
}

unsafe extern "C" fn on_set_switch(
    _name: *const c_char,
    value: i32,
    data: *mut c_void,
    _error: *mut *mut RedisModuleString,
) -> i32 {
    // SAFETY: `register_switch` passed a static setting.
    match unsafe { data.cast::<Switch>().as_ref() } {
        Some(setting) => {
            setting.set(value != 0);
            api::OK
        }
        None => api::ERR,
    }
}

unsafe extern "C" fn on_get_text(
    _name: *const c_char,
    data: *mut c_void,
) -> *mut RedisModuleString {
    api::guard(std::ptr::null_mut(), || {
        // SAFETY: `register_text` passed a place in a static table.
        let setting = unsafe { data.cast::<TextPlace>().as_ref() };
        let place = TEXTS
            .iter()
            .position(|text| Some(text.name()) == setting.map(|s| s.name()));
        let (Some(setting), Some(place), Ok(mut shown)) = (setting, place, SHOWN.lock()) else {
            return std::ptr::null_mut();
        };
        let text = Shown(OwnString::new(&setting.as_set()));
        let pointer = text.0.as_ptr();
        // What was shown before has been read by now.
        if let Some(slot) = shown.get_mut(place) {
            *slot = Some(text);
        }
        pointer
    })
}

unsafe extern "C" fn on_set_text(
    _name: *const c_char,
    value: *mut RedisModuleString,
    data: *mut c_void,
    error: *mut *mut RedisModuleString,
) -> i32 {
    api::guard(api::ERR, || {
        // SAFETY: `register_text` passed a place in a static table.
        let Some(setting) = (unsafe { data.cast::<TextPlace>().as_ref() }) else {
            return api::ERR;
        };
        // SAFETY: 3.
        match setting.set(unsafe { api::bytes_of(value) }) {
            Ok(changed) => {
                if changed && setting.name() == settings::PROTECT.name() {
                    // The plan of a run under way does not know of it.
                    stop::wish(StopReason::ProtectChanged);
                    registry::wake();
                }
                api::OK
            }
            Err(why) => {
                if !error.is_null() {
                    let text = OwnString::new(why.to_string().as_bytes());
                    // SAFETY: 3; the server frees the string that it is given here.
                    unsafe { *error = std::mem::ManuallyDrop::new(text).as_ptr() };
                }
                api::ERR
            }
        }
    })
}
