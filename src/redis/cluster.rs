//! Cluster mode: whether this node sees every key.

use super::api::{self, Answer, OwnString, RedisModuleCtx, rm};
use redis_module::raw;

/// Whether keys may be on other nodes: the server is in cluster mode, and not alone. What cannot be
/// found out is taken for yes.
pub fn has_others(ctx: *mut RedisModuleCtx) -> bool {
    if api::context_flags(ctx) & raw::REDISMODULE_CTX_FLAGS_CLUSTER == 0 {
        return false;
    }
    // SAFETY: 1, 2, 3; the format takes one C string, which outlives the call.
    let reply = unsafe {
        rm!(RedisModule_Call)(ctx, c"CLUSTER".as_ptr(), c"Ec".as_ptr(), c"INFO".as_ptr())
    };
    let answer = Answer::new(reply);
    let info = answer.as_ref().and_then(Answer::string);
    // The number of nodes that serve a slot.
    !info.is_some_and(|info| {
        info.split(|byte| *byte == b'\n')
            .any(|line| line.trim_ascii_end() == b"cluster_size:1")
    })
}

/// Whether a key exists, or may exist on a node that its slot is moving to.
pub fn may_exist(ctx: *mut RedisModuleCtx, name: &OwnString) -> bool {
    // SAFETY: 1, 2, 3; the format takes one string, which outlives the call.
    let reply =
        unsafe { rm!(RedisModule_Call)(ctx, c"EXISTS".as_ptr(), c"Es".as_ptr(), name.as_ptr()) };
    Answer::new(reply).and_then(|answer| answer.integer()) != Some(0)
}
