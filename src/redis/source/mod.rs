//! The walk over the keys of one database, by whichever of the server's two ways is quicker.
//!
//! The module API visits key by key and copies each name into a string object first. The SCAN
//! command yields names alone, a page at a time. Redis charges about the same for both. Valkey
//! stores keys inside their objects since 8.1, and there SCAN takes half the time: nothing comes
//! between its look at one object and at the next, so their memory is waited for together.
//!
//! SCAN removes keys whose TTL has passed, as it does for every client; the module API leaves them.
//! So SCAN is not for dry runs, nor for servers that would free a large value on the spot, nor where
//! so much expires that the server's own expiry would suffer, see [`crate::scan::expired_share`].

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};

use redis_module::raw;

use crate::heartbeat::reader::{Beat, Reader};
use crate::redis::api::acl::User;
use crate::redis::api::keyspace;
use crate::redis::api::{self, Answer, OwnString, RedisModuleCtx, RedisModuleString, rm};
use crate::scan::expired_share::ExpiredShare;

/// Whether SCAN is the quicker way on this server.
static BY_COMMAND: AtomicBool = AtomicBool::new(false);

/// What SCAN is asked for at a time, and with that the smallest piece of work between two looks at
/// the clock. Measured, a hundred keys take some 40 us, and more are not cheaper by the key.
const MAX_PAGE_KEYS: u64 = 100;

/// The same where it is looked up whose each key could be, which may take some 20 us for a hostile name.
const MAX_SLOW_PAGE_KEYS: u64 = 20;

/// A page of more bytes of names than this makes the next one smaller: names may be long.
const PAGE_BYTES: u64 = 32 * 1024;

/// How many steps of the module API's cursor may come between two looks at the clock. One visits a key or none
/// as a rule, and a look after each was 2 to 4 % of the walk.
const MAX_STEPS: u32 = 8;

/// Measured, 24 MB take the server more than a millisecond, for it gives such memory back to the system at once.
const LONG_BYTES: usize = 1 << 20;

/// Choose the way to walk on this server.
pub fn load(by_command: bool) {
    BY_COMMAND.store(by_command, Ordering::Relaxed);
}

/// A key that the walk is at. Only this key may be looked at, and only while the visit lasts.
#[derive(Debug)]
pub struct SeenKey<'v> {
    pub name: &'v [u8],
    /// What the server opened for the visit; null where it gives names only.
    string: *mut RedisModuleString,
    key: *mut raw::RedisModuleKey,
}

impl SeenKey<'_> {
    /// Whether its TTL has passed, though the server has not removed it yet.
    pub fn is_expired(&self, now_ms: i64) -> bool {
        if self.key.is_null() {
            return false;
        }
        // SAFETY: 1, 2, 3.
        let expires_ms = unsafe { rm!(RedisModule_GetAbsExpire)(self.key) };
        expires_ms >= 0 && expires_ms <= now_ms
    }

    /// Whether it is a string, as far as the visit shows it.
    pub fn is_string(&self) -> bool {
        if self.key.is_null() {
            return false;
        }
        // SAFETY: 1, 2, 3.
        let kind = unsafe { rm!(RedisModule_KeyType)(self.key) };
        kind as isize == raw::REDISMODULE_KEYTYPE_STRING
    }

    /// Whether this string, as [`Self::is_string`] says, is one that the server takes long to free.
    pub fn is_long(&self) -> bool {
        // SAFETY: 1, 2, 3.
        unsafe { rm!(RedisModule_ValueLength)(self.key) > LONG_BYTES }
    }

    /// Whether the user may delete it.
    pub fn may_be_deleted_by(&self, user: &User) -> bool {
        if self.string.is_null() {
            user.may_delete(OwnString::new(self.name).as_ptr())
        } else {
            user.may_delete(self.string)
        }
    }

    /// Whether the user may read it.
    pub fn may_be_read_by(&self, user: &User) -> bool {
        if self.string.is_null() {
            user.may_read(OwnString::new(self.name).as_ptr())
        } else {
            user.may_read(self.string)
        }
    }

    /// What its value says as a heartbeat; `None` if it must be read by name after the visit.
    pub fn heartbeat(&self, reader: &Reader) -> Option<Beat> {
        if self.key.is_null() {
            return None;
        }
        // SAFETY: 3.
        unsafe { keyspace::read_open_key(self.key, reader) }
    }
}

/// Where a walk over the keyspace is.
#[derive(Debug)]
pub struct Cursor {
    native: NativeCursor,
    /// `None` while SCAN is not asked.
    command: Option<CommandCursor>,
    /// SCAN was asked, and is no longer.
    gave_way: bool,
}

/// What a step came to.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// False when the walk is over; this last step may have visited keys, too.
    pub more: bool,
    /// Keys whose TTL had passed: removed instead of visited.
    pub expired: u64,
    /// The walk goes on from the beginning, and what it has visited comes again.
    pub starts_over: bool,
}

/// Where a walk by SCAN is.
#[derive(Debug)]
struct CommandCursor {
    /// What SCAN said last.
    place: Vec<u8>,
    page_keys: u64,
    max_page_keys: u64,
    share: ExpiredShare,
}

impl Cursor {
    /// At the beginning; a dry one must not change the keyspace in any way.
    pub fn new(ctx: *mut RedisModuleCtx, dry: bool) -> Self {
        let by_command = !dry && BY_COMMAND.load(Ordering::Relaxed) && frees_in_background(ctx);
        Self {
            native: NativeCursor::new(),
            command: by_command.then(CommandCursor::new),
            gave_way: false,
        }
    }

    /// At the beginning again. What made SCAN give way would do so again, and each time the walk would begin
    /// anew.
    pub fn anew(&self, ctx: *mut RedisModuleCtx, dry: bool) -> Self {
        Self {
            gave_way: self.gave_way,
            ..Self::new(ctx, dry || self.gave_way)
        }
    }

    /// For visits that take longer than others.
    pub fn shorten_pages(&mut self) {
        if let Some(command) = &mut self.command {
            command.max_page_keys = MAX_SLOW_PAGE_KEYS;
        }
    }

    /// How many steps may be one piece of work. A page of SCAN is as large as a piece should be.
    pub fn max_steps(&self) -> u32 {
        match self.command {
            Some(_) => 1,
            None => MAX_STEPS,
        }
    }

    /// Go on by one step and visit what is there: often one key, often none, some more than once.
    #[inline]
    pub fn step(&mut self, ctx: *mut RedisModuleCtx, visit: &mut dyn FnMut(SeenKey)) -> Step {
        if self.command.is_some() {
            return self.page(ctx, visit);
        }
        Step {
            more: self.native.step(ctx, visit),
            expired: 0,
            starts_over: false,
        }
    }

    /// A step by SCAN.
    #[cold]
    fn page(&mut self, ctx: *mut RedisModuleCtx, visit: &mut dyn FnMut(SeenKey)) -> Step {
        let before = keyspace::size(ctx);
        let mut visited = 0u64;
        let mut is_in_the_way = false;
        let mut expired = 0;
        let more = self.command.as_mut().and_then(|cursor| {
            let more = cursor.step(ctx, &mut |key| {
                visited = visited.saturating_add(1);
                visit(key);
            });
            // Nothing but SCAN itself can have removed keys meanwhile.
            expired = before.saturating_sub(keyspace::size(ctx));
            is_in_the_way = cursor.share.add(visited.saturating_add(expired), expired);
            more
        });
        match more {
            Some(more) if !(more && is_in_the_way) => Step {
                more,
                expired,
                starts_over: false,
            },
            // Or an operator has renamed SCAN away. The two ways number places differently.
            _ => {
                self.command = None;
                self.gave_way = true;
                Step {
                    more: true,
                    expired,
                    starts_over: true,
                }
            }
        }
    }
}

impl CommandCursor {
    fn new() -> Self {
        Self {
            place: b"0".to_vec(),
            page_keys: 1,
            max_page_keys: MAX_PAGE_KEYS,
            share: ExpiredShare::default(),
        }
    }

    /// Visit the next page; `None` if there is no such command.
    fn step(&mut self, ctx: *mut RedisModuleCtx, visit: &mut dyn FnMut(SeenKey)) -> Option<bool> {
        // SAFETY: 1, 2, 3; the format takes bytes with their length, a C string and a number, and
        // all outlive the call.
        let reply = unsafe {
            rm!(RedisModule_Call)(
                ctx,
                c"SCAN".as_ptr(),
                c"Ebcl".as_ptr(),
                self.place.as_ptr(),
                self.place.len(),
                c"COUNT".as_ptr(),
                self.page_keys,
            )
        };
        let answer = Answer::new(reply)?;
        let next = answer.element(0)?;
        let mut bytes = 0u64;
        answer.child(1)?.each_string(&mut |name| {
            bytes = bytes.saturating_add(name.len() as u64);
            visit(SeenKey {
                name,
                string: std::ptr::null_mut(),
                key: std::ptr::null_mut(),
            });
        });
        let fitting = self.page_keys.saturating_mul(PAGE_BYTES) / bytes.max(1);
        let doubled = self.page_keys.saturating_mul(2).min(self.max_page_keys);
        self.page_keys = fitting.clamp(1, doubled);
        self.place = next;
        Some(self.place != b"0")
    }
}

/// Whether the server frees what has expired in the background, however large it is.
fn frees_in_background(ctx: *mut RedisModuleCtx) -> bool {
    api::server_setting(ctx, c"lazyfree-lazy-expire").as_deref() == Some(b"yes")
}

/// The module API's own cursor.
#[derive(Debug)]
struct NativeCursor(*mut raw::RedisModuleScanCursor);

impl NativeCursor {
    fn new() -> Self {
        // SAFETY: 1, 2, 4.
        Self(unsafe { rm!(RedisModule_ScanCursorCreate)() })
    }

    /// A step of the server's own size: one bucket of its table.
    #[inline]
    fn step(&self, ctx: *mut RedisModuleCtx, visit: &mut dyn FnMut(SeenKey)) -> bool {
        let mut visit = visit;
        let data = (&raw mut visit).cast::<c_void>();
        // SAFETY: 1, 2, 3, 4; `data` outlives the call, and `on_key` casts it back.
        unsafe { rm!(RedisModule_Scan)(ctx, self.0, Some(on_key), data) != 0 }
    }
}

impl Drop for NativeCursor {
    fn drop(&mut self) {
        // SAFETY: 1, 2, 4.
        unsafe { rm!(RedisModule_ScanCursorDestroy)(self.0) };
    }
}

unsafe extern "C" fn on_key(
    _ctx: *mut RedisModuleCtx,
    name: *mut RedisModuleString,
    key: *mut raw::RedisModuleKey,
    data: *mut c_void,
) {
    api::guard((), || {
        // SAFETY: `step` passed a pointer to its `visit`, which nobody else holds meanwhile.
        let visit = unsafe { &mut *data.cast::<&mut dyn FnMut(SeenKey)>() };
        visit(SeenKey {
            // SAFETY: 3.
            name: unsafe { api::bytes_of(name) },
            string: name,
            key,
        });
    });
}
