//! Whether coordinators can write their beats: both clocks are compared, and a write that changes nothing is
//! tried.
//!
//! The server's cron looks many times a second, whether there is a schedule or not, and a run before
//! each of its slices. What is noticed goes to the schedule, whose warm-up it begins or prolongs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use redis_module::raw;

use crate::redis::api::system;
use crate::redis::api::{self, Answer, Level, OwnString, RedisModuleCtx, rm};
use crate::redis::runner::registry;
use crate::redis::runner::stop::{self, StopReason};
use crate::redis::schedule;
use crate::reply::error::CLUSTER_DOWN;
use crate::schedule::kept_away::{Clocks, Moment, Tried, standstill_ms};
use crate::settings;

/// What was seen at the last looks.
#[derive(Debug)]
struct Watch {
    clocks: Option<Clocks>,
    /// The server's own words if it refuses writes.
    refusal: Option<String>,
    /// Which name is in a slot of this node, as far as is known.
    probe: u32,
}

/// Locked for moments only, and never while the server is called.
static WATCH: Mutex<Watch> = Mutex::new(Watch {
    clocks: None,
    refusal: None,
    probe: 0,
});

fn watch() -> MutexGuard<'static, Watch> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begin with nothing known; at load only.
pub fn load() {
    *watch() = Watch {
        clocks: Some(Clocks::new(moment())),
        refusal: None,
        probe: 0,
    };
}

fn moment() -> Moment {
    Moment {
        before_us: system::monotonic_us(),
        wall_ms: api::wall_ms(),
        after_us: system::monotonic_us(),
    }
}

/// A server that was stopped has missed beats, and one whose clock was set forward makes every heartbeat look
/// older. A run under way ends: it would find heartbeats expired that no client could refresh, and take the keys
/// of living coordinators for orphans.
///
/// While writes are paused no coordinator can beat either, so the time counts as one in which the server
/// stood still. Runs ask before every slice: the first one after a pause must know.
pub fn look_at_clocks() {
    if api::writes_are_paused() {
        return;
    }
    let threshold_s = settings::THRESHOLD_SECONDS.get();
    let allowed_ms = standstill_ms(threshold_s, settings::ORPHAN_GRACE_SECONDS.get());
    let now = moment();
    let missed_us = watch()
        .clocks
        .as_mut()
        .and_then(|clocks| clocks.missed_us(now, allowed_ms));
    let Some(missed_us) = missed_us else {
        return;
    };
    schedule::stood_still(missed_us);
    if registry::progress().is_some_and(|run| run.query.is_none()) {
        stop::wish(StopReason::StoodStill);
        registry::wake();
    }
}

/// Try a write if it is time to, or at once: refused beats make every coordinator look dead. A run under way
/// that removes ends, unless it was told to remove anyway.
pub fn look_at_writes(ctx: *mut RedisModuleCtx, at_once: bool) {
    let now_us = system::monotonic_us();
    if !at_once && !schedule::is_a_write_due(now_us) {
        return;
    }
    let flags = api::context_flags(ctx);
    let is_primary = flags & raw::REDISMODULE_CTX_FLAGS_MASTER != 0;
    if !is_primary || flags & api::LOADING != 0 || api::writes_are_paused() {
        return;
    }
    let (tried, refusal) = try_a_write(ctx);
    watch().refusal.clone_from(&refusal);
    let noticed = schedule::tried_a_write(now_us, tried);
    if let Some(why) = refusal.filter(|_| noticed.begins) {
        let level = if noticed.is_start {
            Level::Notice
        } else {
            Level::Warning
        };
        let line = format!("the server refuses writes, so a warm-up begins: {why}");
        api::log(ctx, level, &line);
    }
    if noticed.is_first && registry::progress().is_some_and(|run| run.needs_writers()) {
        stop::wish(StopReason::WritesRefused);
        registry::wake();
    }
}

/// Why the server refuses writes, in its own words.
pub fn refusal() -> Option<String> {
    watch().refusal.clone()
}

/// How many names are tried in one look until one of them is in a slot of this node. With many nodes it
/// may take several looks, once.
const NAMES_A_LOOK: u32 = 16;

/// Try a write, under a name that is in a slot of this node: some servers look at the slot first.
fn try_a_write(ctx: *mut RedisModuleCtx) -> (Tried, Option<String>) {
    let first = watch().probe;
    for number in (0..NAMES_A_LOOK).map(|more| first.wrapping_add(more)) {
        match write_nothing(ctx, number) {
            Write::Taken => {
                watch().probe = number;
                return (Tried::Taken, None);
            }
            Write::Refused(why) => return (Tried::Refused, Some(why)),
            Write::NotOwned => {}
        }
    }
    watch().probe = first.wrapping_add(NAMES_A_LOOK);
    (Tried::Unknown, None)
}

enum Write {
    Taken,
    /// The server's own words.
    Refused(String),
    /// The slot of this name is another node's, or not assigned.
    NotOwned,
}

/// SETRANGE of nothing changes no key, whatever there is under that name, and is refused like any
/// write: when the memory is full, the disk cannot be written to, replicas are too few, the cluster
/// is down.
fn write_nothing(ctx: *mut RedisModuleCtx, number: u32) -> Write {
    let name = format!("blocking:probe:{{{number}}}");
    let arguments = [name.as_bytes(), b"0", b""].map(OwnString::new);
    let mut arguments = arguments.each_ref().map(OwnString::as_ptr);
    // SAFETY: 1, 2, 3; `v` takes an array and its length, and both outlive the call. `S` and `M` are
    // the checks a client would meet, `E` errors as replies.
    let reply = unsafe {
        rm!(RedisModule_Call)(
            ctx,
            c"SETRANGE".as_ptr(),
            c"ESMv".as_ptr(),
            arguments.as_mut_ptr(),
            arguments.len(),
        )
    };
    let answer = Answer::new(reply);
    let Some(text) = answer.as_ref().and_then(Answer::error) else {
        return Write::Taken;
    };
    let text = text.trim_ascii();
    let contains = |words: &[u8]| memchr::memmem::find(text, words).is_some();
    if contains(b"non local key") {
        return Write::NotOwned;
    }
    // These are the words for modules; clients know others.
    if contains(b"while the cluster is down") {
        return Write::Refused(CLUSTER_DOWN.to_owned());
    }
    let codes = [&b"MISCONF"[..], b"NOREPLICAS", b"OOM"];
    if codes.iter().any(|code| text.starts_with(code)) {
        return Write::Refused(String::from_utf8_lossy(text).into_owned());
    }
    // No such command here, or a key of another type: then nothing speaks against it.
    Write::Taken
}
