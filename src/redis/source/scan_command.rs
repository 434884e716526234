//! A walk by the SCAN command, which gives names alone, a page at a time.

use super::scanned_key::NamedKey;
use crate::redis::api::acl::User;
use crate::redis::api::keyspace;
use crate::redis::api::{self, Answer, RedisModuleCtx, rm};
use crate::scan::expired_share::ExpiredShare;
use crate::scan::source::{Step, Visitor};

/// What SCAN is asked for at a time, and with that the smallest piece of work between two looks at
/// the clock. Measured, a hundred keys take some 40 us, and more are not cheaper by the key.
const MAX_PAGE_KEYS: u64 = 100;

/// The same where it is looked up whose each key could be, which may take some 20 us for a hostile name.
const MAX_SLOW_PAGE_KEYS: u64 = 20;

/// A page of more bytes of names than this makes the next one smaller: names may be long.
const PAGE_BYTES: u64 = 32 * 1024;

/// Where a walk by SCAN is.
#[derive(Debug)]
pub struct ScanCommand {
    /// What SCAN said last.
    place: Vec<u8>,
    page_keys: u64,
    max_page_keys: u64,
    share: ExpiredShare,
}

impl ScanCommand {
    /// At the beginning; `is_slow` if visits take longer than others.
    pub fn new(is_slow: bool) -> Self {
        let max_page_keys = match is_slow {
            true => MAX_SLOW_PAGE_KEYS,
            false => MAX_PAGE_KEYS,
        };
        Self {
            place: b"0".to_vec(),
            page_keys: 1,
            max_page_keys,
            share: ExpiredShare::default(),
        }
    }

    /// Visit the next page. The walk starts over, by another way, where there is no such command, for an operator
    /// has renamed it away, or where so much expires that the server's own expiry would suffer.
    pub fn step(
        &mut self,
        ctx: *mut RedisModuleCtx,
        user: &User,
        visitor: &mut impl Visitor,
    ) -> Step {
        let before = keyspace::size(ctx);
        let mut visited = 0u64;
        let more = self.page(ctx, &mut |name| {
            visited = visited.saturating_add(1);
            visitor.visit(&NamedKey { name, user });
        });
        // Nothing but SCAN itself can have removed keys meanwhile.
        let expired = before.saturating_sub(keyspace::size(ctx));
        let is_in_the_way = self.share.add(visited.saturating_add(expired), expired);
        let starts_over = more.is_none_or(|more| more && is_in_the_way);
        Step {
            more: more.unwrap_or(true),
            expired,
            starts_over,
        }
    }

    /// Whether there is more after this page; `None` if there is no such command.
    fn page(&mut self, ctx: *mut RedisModuleCtx, visit: &mut dyn FnMut(&[u8])) -> Option<bool> {
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
            visit(name);
        });
        let fitting = self.page_keys.saturating_mul(PAGE_BYTES) / bytes.max(1);
        let doubled = self.page_keys.saturating_mul(2).min(self.max_page_keys);
        self.page_keys = fitting.clamp(1, doubled);
        self.place = next;
        Some(self.place != b"0")
    }
}

/// Whether the server frees what has expired in the background, however large it is.
pub fn frees_in_background(ctx: *mut RedisModuleCtx) -> bool {
    api::server_setting(ctx, c"lazyfree-lazy-expire").as_deref() == Some(b"yes")
}
