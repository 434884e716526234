//! Heartbeats that came into being during a run, and with ORPHANS every other family key as well.
//!
//! The walk may have passed the place of a heartbeat before it was written, and a heartbeat of a
//! swarm that is not known cannot be looked up by id. So the server tells of every new key while
//! a run is on, and every key that a new heartbeat could own stays.
//!
//! The subscription is for the event `new` alone where the server allows it, which overwriting a
//! key does not raise; without a run it costs one comparison for each key that is created.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use redis_module::raw;

use crate::keys::family::Family;
use crate::keys::layout::Layout;
use crate::keys::name_bounds;
use crate::redis::api::{self, RedisModuleCtx, RedisModuleString, rm};
use crate::redis::runner::stop::{self, StopReason};

/// More bytes of names than this end the run: it would otherwise grow without bound.
const MAX_BYTES: usize = 64 << 20;

/// Whether a run listens: looks do not.
static WANTED: AtomicBool = AtomicBool::new(false);

/// Names not yet taken over by the run, and the bytes of all names since it began.
static ARRIVED: Mutex<(Vec<Vec<u8>>, usize)> = Mutex::new((Vec::new(), 0));

/// Longer names are not taken apart in the event.
const MAX_BYTES_AT_ONCE: usize = 1024;

/// More bytes of names of other family keys than this, and no orphan goes any more.
const KEYS_MAX_BYTES: usize = 16 << 20;

/// Whether the server tells of every key that comes into being.
static HEARS_ALL: AtomicBool = AtomicBool::new(false);

/// Whether the server tells of every new heartbeat.
pub fn hears_all() -> bool {
    HEARS_ALL.load(Ordering::Relaxed)
}

/// The layout of the run under way.
static LAYOUT: Mutex<Option<Arc<Layout>>> = Mutex::new(None);

/// Whether other family keys than heartbeats are asked for.
static KEYS_WANTED: AtomicBool = AtomicBool::new(false);

/// The same for those; `None` when they became too many.
static KEYS: Mutex<(Option<Vec<Vec<u8>>>, usize)> = Mutex::new((None, 0));

/// Which of the server's events tell of a new heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    /// The event of every key that comes into being, by whatever command.
    NewKeys,
    /// The events of commands that write strings and hashes. On some servers an event about another database
    /// than the client's leaves the client in that database, and MOVE and COPY send such ones:
    /// there the event of new keys must not be asked for. A heartbeat that appears in another way
    /// during a run is looked up by name, see `removal/by_name.rs`.
    ValueWrites,
}

/// Subscribe; at load only.
pub fn load(ctx: *mut RedisModuleCtx, events: Events) -> bool {
    HEARS_ALL.store(events == Events::NewKeys, Ordering::Relaxed);
    let kinds = match events {
        Events::NewKeys => raw::REDISMODULE_NOTIFY_NEW,
        Events::ValueWrites => raw::REDISMODULE_NOTIFY_STRING | raw::REDISMODULE_NOTIFY_HASH,
    };
    // SAFETY: 1, 2, 3; the callback lives as long as the module.
    let status = unsafe { rm!(RedisModule_SubscribeToKeyspaceEvents)(ctx, kinds, Some(on_event)) };
    status == api::OK
}

/// The database is not looked at: inside a transaction some servers name another one than the
/// event's, and life in another database protects no less.
unsafe extern "C" fn on_event(
    _ctx: *mut RedisModuleCtx,
    _kind: i32,
    _event: *const std::ffi::c_char,
    key: *mut RedisModuleString,
) -> i32 {
    if WANTED.load(Ordering::Relaxed) {
        api::guard((), || {
            // SAFETY: 3.
            let name = unsafe { api::bytes_of(key) };
            let family = match LAYOUT.lock() {
                Ok(layout) => layout.as_ref().and_then(|layout| {
                    // A long name is looked at in a slice: here its client waits.
                    if name.len() <= MAX_BYTES_AT_ONCE {
                        layout.family_of(name)
                    } else {
                        layout.begins_as(name)
                    }
                }),
                Err(_) => return stop::wish(StopReason::InternalError),
            };
            match family {
                Some(Family::Heartbeat) => arrive(name),
                Some(_) if KEYS_WANTED.load(Ordering::Relaxed) => key_arrives(name),
                _ => {}
            }
        });
    }
    api::OK
}

fn arrive(name: &[u8]) {
    let Ok(mut arrived) = ARRIVED.lock() else {
        stop::wish(StopReason::InternalError);
        return;
    };
    let name = name_bounds::shortened(name);
    arrived.1 = arrived.1.saturating_add(name.len());
    if arrived.1 > MAX_BYTES {
        stop::wish(StopReason::TooManyBorn);
    } else {
        arrived.0.push(name);
    }
}

fn end() {
    WANTED.store(false, Ordering::Relaxed);
    KEYS_WANTED.store(false, Ordering::Relaxed);
    if let Ok(mut layout) = LAYOUT.lock() {
        *layout = None;
    }
    if let Ok(mut arrived) = KEYS.lock() {
        *arrived = (None, 0);
    }
}

fn key_arrives(name: &[u8]) {
    let Ok(mut arrived) = KEYS.lock() else {
        stop::wish(StopReason::InternalError);
        return;
    };
    arrived.1 = arrived.1.saturating_add(name.len());
    // It is not known whose a key over the bounds is, so it could be evidence for any id.
    if arrived.1 > KEYS_MAX_BYTES || name.len() > name_bounds::MAX_NAME_BYTES {
        arrived.0 = None;
    } else if let Some(names) = arrived.0.as_mut() {
        names.push(name.to_vec());
    }
}

/// New keys are listened for, for one run, until this is dropped.
#[derive(Debug)]
pub struct Listening(());

impl Listening {
    /// For a run that begins, and reads names by this layout; `with_keys` for more than heartbeats.
    pub fn begin(layout: &Arc<Layout>, with_keys: bool) -> Self {
        begin(layout, with_keys);
        Self(())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        end();
    }
}

fn begin(layout: &Arc<Layout>, with_keys: bool) {
    match LAYOUT.lock() {
        Ok(mut known) => *known = Some(Arc::clone(layout)),
        Err(_) => stop::wish(StopReason::InternalError),
    }
    WANTED.store(true, Ordering::Relaxed);
    KEYS_WANTED.store(with_keys, Ordering::Relaxed);
    if let Ok(mut arrived) = KEYS.lock() {
        *arrived = (with_keys.then(Vec::new), 0);
    }
    if let Ok(mut arrived) = ARRIVED.lock() {
        *arrived = (Vec::new(), 0);
    }
}

/// The heartbeats that arrived since the last look; `None` if they are lost, and then the run ends.
pub fn take_heartbeats() -> Option<Vec<Vec<u8>>> {
    match ARRIVED.lock() {
        Ok(mut arrived) => Some(std::mem::take(&mut arrived.0)),
        Err(_) => {
            stop::wish(StopReason::InternalError);
            None
        }
    }
}

/// The family keys that were written since the last look, heartbeats left out; `None` if there
/// were too many.
pub fn take_keys() -> Option<Vec<Vec<u8>>> {
    let mut arrived = KEYS.lock().ok()?;
    arrived.0.as_mut().map(std::mem::take)
}

/// A name that came as one of a heartbeat is another family key's.
pub fn note_key(name: &[u8]) {
    if KEYS_WANTED.load(Ordering::Relaxed) {
        key_arrives(name);
    }
}
