//! The context without client: for timers, filters and log lines outside of any callback.

use std::sync::atomic::{AtomicPtr, Ordering};

use crate::redis::api::{RedisModuleCtx, rm};

/// Made at load, freed at unload.
static DETACHED: AtomicPtr<RedisModuleCtx> = AtomicPtr::new(std::ptr::null_mut());

/// Make it.
pub fn load(ctx: *mut RedisModuleCtx) {
    // SAFETY: 1, 2, 3.
    let detached = unsafe { rm!(RedisModule_GetDetachedThreadSafeContext)(ctx) };
    DETACHED.store(detached, Ordering::Relaxed);
}

/// Give it back.
pub fn unload() {
    let detached = DETACHED.swap(std::ptr::null_mut(), Ordering::Relaxed);
    if !detached.is_null() {
        // SAFETY: 1, 2; made by `load` and taken out of its place just above.
        unsafe { rm!(RedisModule_FreeThreadSafeContext)(detached) };
    }
}

/// The context.
pub fn context() -> *mut RedisModuleCtx {
    DETACHED.load(Ordering::Relaxed)
}
