//! Where the names of keys come from: all that a walk may ask of the server, in the slice at hand.

use crate::heartbeat::details::HeartbeatDetails;
use crate::heartbeat::reader::{Beat, Reader};

/// A key that the walk is at. It may be looked at while the visit lasts, and no other key may.
pub trait ScannedKey {
    /// Its name.
    fn name(&self) -> &[u8];

    /// Whether its TTL has passed, though the server has not removed it yet. Where a source gives names alone, it
    /// gives none of such keys.
    fn is_expired(&self, now_ms: i64) -> bool;

    /// Whether it is a string, as far as the visit shows it.
    fn is_string(&self) -> bool;

    /// Whether this string, as [`Self::is_string`] says, is one that the server takes long to free.
    fn is_long(&self) -> bool;

    /// Whether the user of the run may delete it.
    fn may_be_deleted(&self) -> bool;

    /// Whether the user of the run may read it.
    fn may_be_read(&self) -> bool;

    /// What its value says as a heartbeat; `None` if it must be read by name after the visit.
    fn heartbeat(&self, reader: &Reader) -> Option<Beat>;
}

/// What a walk does with each key.
pub trait Visitor {
    /// The walk is at this key. It may come to a key more than once.
    fn visit(&mut self, key: &impl ScannedKey);
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

/// A walk over the keys of one database. It comes to every key that is there from its beginning to its end.
pub trait KeySource {
    /// The name of a key as the server takes it.
    type Name;

    /// Go on by one step and visit what is there: often one key, often none, some more than once.
    fn step(&mut self, visitor: &mut impl Visitor) -> Step;

    /// How many steps may be one piece of work.
    fn max_steps(&self) -> u32;

    /// Go back to the beginning; `is_slow` if visits take longer than others.
    fn begin_again(&mut self, is_slow: bool);

    /// A name from its bytes.
    fn name(&self, bytes: &[u8]) -> Self::Name;

    /// What a heartbeat says; `None` if it is not there (any more).
    fn heartbeat(&mut self, name: &Self::Name, reader: &Reader) -> Option<Beat>;

    /// A heartbeat looked at in full; `None` if it is not there (any more).
    fn details(&mut self, name: &Self::Name, reader: &Reader) -> Option<HeartbeatDetails>;

    /// Whether the user of the run may delete it.
    fn may_delete(&self, name: &Self::Name) -> bool;

    /// Whether the user of the run may read it.
    fn may_read(&self, name: &Self::Name) -> bool;

    /// Whether replicas are too far behind to be told of more expired keys.
    fn must_wait(&mut self) -> bool;
}
