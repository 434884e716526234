//! Tells subscribers of the channel `blocking:done` that a run is over, so that they need not ask again and again.
//!
//! A message, and no entry in a stream: it needs no key, no memory and no write, so dry runs and runs that a server
//! refused to let write are told of as well.

use crate::redis::api::{OwnString, RedisModuleCtx, rm};
use crate::reply::json::to_json;
use crate::reply::value::Value;

const CHANNEL: &[u8] = b"blocking:done";

/// To the subscribers of this server, and in a cluster of every node. Not to those of replicas: what goes to replicas
/// must not be sent while writes are paused, and runs end then, too.
pub fn publish(ctx: *mut RedisModuleCtx, message: &Value) {
    let channel = OwnString::new(CHANNEL);
    let message = OwnString::new(&to_json(message));
    // SAFETY: 1, 2, 3; the server takes references of its own. How many heard it does not matter.
    unsafe { rm!(RedisModule_PublishMessage)(ctx, channel.as_ptr(), message.as_ptr()) };
}
