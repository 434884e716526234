//! A key that a walk is at, as the two ways to walk show it.

use redis_module::raw;

use crate::heartbeat::reader::{Beat, Reader};
use crate::redis::api::acl::User;
use crate::redis::api::keyspace;
use crate::redis::api::{OwnString, RedisModuleString, rm};
use crate::scan::source::ScannedKey;

/// Measured, 24 MB take the server more than a millisecond, for it gives such memory back to the system at once.
const LONG_BYTES: usize = 1 << 20;

/// A key that the server opened for the visit.
#[derive(Debug)]
pub struct OpenKey<'v> {
    pub name: &'v [u8],
    pub string: *mut RedisModuleString,
    pub key: *mut raw::RedisModuleKey,
    pub user: &'v User,
}

impl ScannedKey for OpenKey<'_> {
    #[inline]
    fn name(&self) -> &[u8] {
        self.name
    }

    fn is_expired(&self, now_ms: i64) -> bool {
        // SAFETY: 1, 2, 3.
        let expires_ms = unsafe { rm!(RedisModule_GetAbsExpire)(self.key) };
        expires_ms >= 0 && expires_ms <= now_ms
    }

    fn is_string(&self) -> bool {
        // SAFETY: 1, 2, 3.
        let kind = unsafe { rm!(RedisModule_KeyType)(self.key) };
        kind as isize == raw::REDISMODULE_KEYTYPE_STRING
    }

    fn is_long(&self) -> bool {
        // SAFETY: 1, 2, 3.
        unsafe { rm!(RedisModule_ValueLength)(self.key) > LONG_BYTES }
    }

    fn may_be_deleted(&self) -> bool {
        self.user.may_delete(self.string)
    }

    fn may_be_read(&self) -> bool {
        self.user.may_read(self.string)
    }

    fn heartbeat(&self, reader: &Reader) -> Option<Beat> {
        // SAFETY: 3.
        unsafe { keyspace::read_open_key(self.key, reader) }
    }
}

/// A key of which nothing but the name is at hand. It has not expired, for SCAN removes what has.
#[derive(Debug)]
pub struct NamedKey<'v> {
    pub name: &'v [u8],
    pub user: &'v User,
}

impl ScannedKey for NamedKey<'_> {
    fn name(&self) -> &[u8] {
        self.name
    }

    fn is_expired(&self, _now_ms: i64) -> bool {
        false
    }

    fn is_string(&self) -> bool {
        false
    }

    fn is_long(&self) -> bool {
        false
    }

    fn may_be_deleted(&self) -> bool {
        self.user.may_delete(OwnString::new(self.name).as_ptr())
    }

    fn may_be_read(&self) -> bool {
        self.user.may_read(OwnString::new(self.name).as_ptr())
    }

    fn heartbeat(&self, _reader: &Reader) -> Option<Beat> {
        None
    }
}
