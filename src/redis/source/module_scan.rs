//! A walk by the module API's own cursor, which opens each key for the visit.

use std::ffi::c_void;

use redis_module::raw;

use super::scanned_key::OpenKey;
use crate::redis::api::acl::User;
use crate::redis::api::{self, RedisModuleCtx, RedisModuleString, rm};
use crate::scan::source::Visitor;

/// The module API's own cursor.
#[derive(Debug)]
pub struct ModuleScan(*mut raw::RedisModuleScanCursor);

impl ModuleScan {
    /// At the beginning.
    pub fn new() -> Self {
        // SAFETY: 1, 2, 4.
        Self(unsafe { rm!(RedisModule_ScanCursorCreate)() })
    }

    /// A step of the server's own size: one bucket of its table. False when the walk is over.
    #[inline]
    pub fn step<V: Visitor>(&self, ctx: *mut RedisModuleCtx, user: &User, visitor: &mut V) -> bool {
        let mut visit = Visit { user, visitor };
        let data = (&raw mut visit).cast::<c_void>();
        // SAFETY: 1, 2, 3, 4; `data` outlives the call, and `on_key` casts it back to the same type.
        unsafe { rm!(RedisModule_Scan)(ctx, self.0, Some(on_key::<V>), data) != 0 }
    }
}

impl Drop for ModuleScan {
    fn drop(&mut self) {
        // SAFETY: 1, 2, 4.
        unsafe { rm!(RedisModule_ScanCursorDestroy)(self.0) };
    }
}

/// What [`on_key`] needs to know.
struct Visit<'v, V> {
    user: &'v User,
    visitor: &'v mut V,
}

unsafe extern "C" fn on_key<V: Visitor>(
    _ctx: *mut RedisModuleCtx,
    name: *mut RedisModuleString,
    key: *mut raw::RedisModuleKey,
    data: *mut c_void,
) {
    api::guard((), || {
        // SAFETY: `step` passed a pointer to its `visit`, and uses it no more until the server returns.
        let visit = unsafe { &mut *data.cast::<Visit<V>>() };
        visit.visitor.visit(&OpenKey {
            // SAFETY: 3.
            name: unsafe { api::bytes_of(name) },
            string: name,
            key,
            user: visit.user,
        });
    });
}
