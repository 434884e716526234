//! Whether a replica is so far behind that a removal must wait for it.

use std::ffi::CString;

use crate::redis::api::server_info::Info;
use crate::redis::api::{self, Answer, RedisModuleCtx, rm};
use crate::schedule::replica_lag;

/// What a removal knows of the replicas it writes to.
#[derive(Debug, Default)]
pub struct Replicas {
    /// How far one may be behind, in bytes.
    allowed_bytes: u64,
    /// The next look is due when the removal has written this much.
    look_at_bytes: u64,
}

impl Replicas {
    /// Learn the server's limit; the first look comes with the first question.
    pub fn begin(ctx: *mut RedisModuleCtx) -> Self {
        let limits = api::server_setting(ctx, c"client-output-buffer-limit").unwrap_or_default();
        Self {
            allowed_bytes: replica_lag::allowed_bytes(&limits),
            look_at_bytes: 0,
        }
    }

    /// The same after something was written that was not measured: looks at once.
    pub fn are_too_far_behind_now(&mut self, ctx: *mut RedisModuleCtx) -> bool {
        self.look_at_bytes = 0;
        self.are_too_far_behind(ctx, 0)
    }

    /// Whether the removal, which has written so many bytes, must wait. Cheap unless a look is due.
    pub fn are_too_far_behind(&mut self, ctx: *mut RedisModuleCtx, written_bytes: u64) -> bool {
        if written_bytes < self.look_at_bytes {
            return false;
        }
        let behind = behind_bytes(ctx, self.allowed_bytes);
        if behind > self.allowed_bytes {
            return true;
        }
        let next = replica_lag::until_next_look_bytes(self.allowed_bytes, behind);
        self.look_at_bytes = written_bytes.saturating_add(next);
        false
    }
}

/// How far the farthest replica is behind. INFO costs little but counts what is on its way, too; CLIENT LIST knows
/// exactly, but looks at every client, so it is asked only when INFO leaves a doubt.
fn behind_bytes(ctx: *mut RedisModuleCtx, allowed: u64) -> u64 {
    match unacknowledged_bytes() {
        Some(bytes) if bytes <= allowed => bytes,
        unsure => buffered_bytes(ctx).or(unsure).unwrap_or_default(),
    }
}

/// The most that a replica has not acknowledged; `None` if one of them does not say.
fn unacknowledged_bytes() -> Option<u64> {
    let info = Info::new(c"replication")?;
    let written = std::str::from_utf8(info.field(c"master_repl_offset")?)
        .ok()?
        .parse()
        .ok()?;
    let mut most = 0;
    for number in 0u32.. {
        let name = CString::new(format!("slave{number}")).ok()?;
        let Some(line) = info.field(&name) else {
            break;
        };
        most = most.max(replica_lag::unacknowledged_bytes(line, written)?);
    }
    Some(most)
}

/// What waits for the farthest replica; `None` if there is no CLIENT command, which an operator can rename away.
fn buffered_bytes(ctx: *mut RedisModuleCtx) -> Option<u64> {
    // SAFETY: 1, 2, 3; the format takes three C strings, which outlive the call.
    let reply = unsafe {
        rm!(RedisModule_Call)(
            ctx,
            c"CLIENT".as_ptr(),
            c"Eccc".as_ptr(),
            c"LIST".as_ptr(),
            c"TYPE".as_ptr(),
            c"replica".as_ptr(),
        )
    };
    Answer::new(reply)?
        .string()
        .map(replica_lag::buffered_bytes)
}
