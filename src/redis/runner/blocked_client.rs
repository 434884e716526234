//! The client that waits for a run: blocked, watched, answered, exactly once.

use std::sync::OnceLock;

use redis_module::raw;

use crate::redis::api::reply;
use crate::redis::api::{self, RedisModuleCtx, RedisModuleString, rm};
use crate::redis::runner::stop::StopReason;
use crate::reply::error::Error;
use crate::reply::value::Value;

/// What happens when a client goes before it is answered.
#[derive(Debug)]
pub struct Going {
    /// CLIENT UNBLOCK; gives the number of the run that the client waited for.
    pub unblocked: fn(*mut raw::RedisModuleBlockedClient) -> Option<u64>,
    pub disconnected: fn(*mut raw::RedisModuleBlockedClient),
}

static GOING: OnceLock<Going> = OnceLock::new();

/// Say what happens then; at load only.
pub fn load(going: Going) {
    GOING.get_or_init(|| going);
}

/// What the client is told in the end.
struct DeferredReply {
    result: Result<Value, Error>,
    json: bool,
}

/// A blocked client. Dropping it without an answer ends the wait with an error (invariant 7).
#[derive(Debug)]
pub struct BlockedClient {
    handle: *mut raw::RedisModuleBlockedClient,
}

impl BlockedClient {
    /// Block the client of this command. The context must not deny blocking.
    pub fn block(ctx: *mut RedisModuleCtx) -> Result<Self, Error> {
        // SAFETY: 1, 2, 3; the callbacks live as long as the module, which the server does not
        // unload while it has blocked clients. Timeout 0 is none; the callback for it is what lets
        // CLIENT UNBLOCK work.
        let handle = unsafe {
            rm!(RedisModule_BlockClient)(ctx, Some(on_reply), Some(on_timeout), Some(on_free), 0)
        };
        if handle.is_null() {
            let why = "the client cannot be blocked";
            return Err(Error::CannotStart { why });
        }
        // SAFETY: 1, 2; the handle is valid until it is unblocked.
        unsafe { rm!(RedisModule_SetDisconnectCallback)(handle, Some(on_disconnect)) };
        Ok(Self { handle })
    }

    /// Whether this is the client with that handle.
    pub fn is(&self, handle: *mut raw::RedisModuleBlockedClient) -> bool {
        self.handle == handle
    }

    /// A slice begins: its time counts as the command's.
    pub fn begin_slice(&self) {
        // SAFETY: 1, 2, 7: the handle is valid, this value still owns it.
        unsafe { rm!(RedisModule_BlockedClientMeasureTimeStart)(self.handle) };
    }

    /// A slice ends.
    pub fn end_slice(&self) {
        // SAFETY: 1, 2, 7.
        unsafe { rm!(RedisModule_BlockedClientMeasureTimeEnd)(self.handle) };
    }

    /// Answer, perhaps as JSON, and let go. A client that is gone meanwhile costs nothing.
    pub fn answer(self, result: Result<Value, Error>, json: bool) {
        let reply = Box::new(DeferredReply { result, json });
        // SAFETY: 1, 2, 7; the server passes the pointer to `on_reply` and then to `on_free`.
        unsafe { rm!(RedisModule_UnblockClient)(self.handle, Box::into_raw(reply).cast()) };
        std::mem::forget(self);
    }
}

impl Drop for BlockedClient {
    fn drop(&mut self) {
        // SAFETY: 1, 2, 7.
        unsafe { rm!(RedisModule_UnblockClient)(self.handle, std::ptr::null_mut()) };
    }
}

unsafe extern "C" fn on_reply(
    ctx: *mut RedisModuleCtx,
    _argv: *mut *mut RedisModuleString,
    _argc: i32,
) -> i32 {
    api::guard(api::ERR, || {
        // SAFETY: 1, 2, 3.
        let data = unsafe { rm!(RedisModule_GetBlockedClientPrivateData)(ctx) };
        // SAFETY: `answer` passed a reply or `drop` passed null; `on_free` comes later.
        match unsafe { data.cast::<DeferredReply>().as_ref() } {
            Some(DeferredReply { result, json }) => match result {
                Ok(value) if *json => reply::json(ctx, value),
                Ok(value) => reply::value(ctx, value),
                Err(error) => reply::error(ctx, error),
            },
            None => {
                let why = StopReason::InternalError.reason();
                reply::error(ctx, &Error::CannotStart { why });
            }
        }
        api::OK
    })
}

unsafe extern "C" fn on_free(_ctx: *mut RedisModuleCtx, data: *mut std::ffi::c_void) {
    if !data.is_null() {
        // SAFETY: made by `answer` with `Box::into_raw`, and freed only here.
        let reply = unsafe { Box::from_raw(data.cast::<DeferredReply>()) };
        api::guard((), || drop(reply));
    }
}

/// CLIENT UNBLOCK: tell the client, and end its run.
unsafe extern "C" fn on_timeout(
    ctx: *mut RedisModuleCtx,
    _argv: *mut *mut RedisModuleString,
    _argc: i32,
) -> i32 {
    api::guard(api::ERR, || {
        // SAFETY: 1, 2, 3.
        let handle = unsafe { rm!(RedisModule_GetBlockedClientHandle)(ctx) };
        let run = GOING.get().and_then(|going| (going.unblocked)(handle));
        let run = run.unwrap_or_default();
        reply::error(ctx, &Error::CallerUnblocked { run });
        api::OK
    })
}

/// The connection closed, or the server took the client away: the run lingers, if it may.
unsafe extern "C" fn on_disconnect(
    _ctx: *mut RedisModuleCtx,
    handle: *mut raw::RedisModuleBlockedClient,
) {
    api::guard((), || {
        if let Some(going) = GOING.get() {
            (going.disconnected)(handle);
        }
    });
}
