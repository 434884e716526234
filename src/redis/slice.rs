//! What a slice of the removal may use, and the batch that it fills.

use super::acl::User;
use super::api::{OwnString, RedisModuleCtx};
use crate::heartbeat::reader::Reader;
use crate::keys::family::FamilyMap;

/// What a slice may use.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'s> {
    pub ctx: *mut RedisModuleCtx,
    pub user: &'s User,
    /// Wall clock of the run, milliseconds since 1970.
    pub now_ms: i64,
    pub threshold_s: u32,
    pub reader: &'s Reader,
    pub cluster: bool,
    /// The slice's number, so that a heartbeat is read once a slice and not once a key.
    pub number: u64,
}

/// Keys of one batch, by family, each with the number of its owner among the obituaries; 0 without
/// any.
pub type Batch = FamilyMap<Vec<(OwnString, usize)>>;
