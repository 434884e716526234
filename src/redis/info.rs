//! INFO blocking: flat numeric fields.

use std::ffi::CString;

use redis_module::raw;

use crate::redis::api::{self, RedisModuleCtx, rm};
use crate::redis::history;
use crate::redis::obituaries;
use crate::redis::schedule;
use crate::redis::status;

/// Register the section; at load only.
pub fn load(ctx: *mut RedisModuleCtx) -> bool {
    // SAFETY: 1, 2, 3; the callback lives as long as the module.
    unsafe { rm!(RedisModule_RegisterInfoFunc)(ctx, Some(on_info)) == api::OK }
}

unsafe extern "C" fn on_info(ctx: *mut raw::RedisModuleInfoCtx, for_crash_report: i32) {
    // A crash report runs in a signal handler, perhaps in the middle of an allocation or of a
    // slice: no locks, no memory, nothing.
    if for_crash_report != 0 {
        return;
    }
    api::guard((), || {
        // SAFETY: 1, 2, 3; the empty section name makes it `# blocking`.
        unsafe { rm!(RedisModule_InfoAddSection)(ctx, c"".as_ptr()) };
        for (name, value) in status::info_fields()
            .into_iter()
            .chain(schedule::info_fields())
            .chain(obituaries::info_fields())
            .chain(history::info_fields())
        {
            let Ok(name) = CString::new(name) else {
                continue;
            };
            // SAFETY: 1, 2, 3; the server copies the name.
            unsafe { rm!(RedisModule_InfoAddFieldULongLong)(ctx, name.as_ptr(), value) };
        }
    });
}
