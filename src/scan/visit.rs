//! What a walk does at a key: keep it, leave it out, or have it read when the visit is over.

use super::fingerprints::SeenFingerprints;
use super::scanned_keys::{Record, ScannedKeys};
use super::source::{ScannedKey, Visitor};
use crate::heartbeat::UNREADABLE;
use crate::heartbeat::details::HeartbeatDetails;
use crate::heartbeat::reader::{Beat, Reader};
use crate::keys::family::Family;
use crate::keys::name_bounds;

/// To look up whose a key could be by one reading of its name takes about as long as so many bytes.
const TRY_BYTES: usize = 8;

/// In a second walk: which keys other than heartbeats are kept.
pub trait Filter {
    /// How many readings of this name [`Self::keeps`] would have to try, at most.
    fn tries(&self, name: &[u8]) -> usize;

    /// Whether to keep the key of this name. If not, it is counted here.
    fn keeps(&mut self, name: &[u8]) -> bool;

    /// Of so many bytes, what keys other than heartbeats may use.
    fn others_max_bytes(&self, of_bytes: usize) -> usize;

    /// The walk begins anew.
    fn forget_counts(&mut self);
}

/// Counts beside the walk, as DOCTOR does. With one every heartbeat is read in full.
pub trait Observer {
    /// A heartbeat that the user may not read.
    fn deny_heartbeat(&mut self);

    /// A heartbeat of this name, seen at this moment.
    fn add(&mut self, name: &[u8], details: &HeartbeatDetails, now_ms: i64);

    /// Whether a key of this name, which is of no family, is to be added.
    fn concerns(&self, name: &[u8]) -> bool;

    /// A key of no family, and whether the user may read it.
    fn add_unknown(&mut self, name: &[u8], may_read: bool);
}

/// What the keys are gathered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A dry run or a query: nothing may change.
    ReadOnly,
    /// The keys of the stale go.
    Removing,
    /// And those without an owner, which are evidence, too.
    RemovingOrphans,
}

impl Purpose {
    /// Whether the walk must not change the keyspace in any way.
    pub fn is_dry(self) -> bool {
        self == Self::ReadOnly
    }

    /// Whether it is noted of each key that the user may not delete it. Who removes finds that out
    /// in time, when the key is to go; who only tells has no other occasion.
    pub fn notes_denied(self) -> bool {
        self == Self::ReadOnly
    }

    /// Whether strings are asked for their TTL, too. It takes 6 % of the main thread's time of a run, for it is
    /// another look into a large table. UNLINK looks there anyway, and of the few keys that stay it is asked
    /// when the plan is known. What is not a string may be so large that its removal must not be left to
    /// UNLINK, which would free it on the spot, like everything that has expired.
    pub fn asks_strings_for_ttl(self) -> bool {
        self != Self::Removing
    }
}

/// What takes the memory for keys other than heartbeats: everything, unless it is known what heartbeats take.
pub fn bytes_in_the_way<F>(
    kept: &ScannedKeys,
    seen: &SeenFingerprints,
    filter: Option<&F>,
) -> usize {
    match filter {
        Some(_) => kept.bytes().saturating_sub(kept.heartbeat_bytes()),
        None => kept.bytes().saturating_add(seen.bytes()),
    }
}

/// Keep a heartbeat.
pub fn push_heartbeat(collection: &mut ScannedKeys, name: &[u8], denied: bool, beat: Beat) {
    collection.push(Record {
        name,
        family: Family::Heartbeat,
        denied,
        is_large: false,
        beat: Some(beat.reading),
    });
}

/// What a visit to a key may look at and add to.
pub struct Visit<'c, F, O> {
    pub collection: &'c mut ScannedKeys,
    pub seen: &'c mut SeenFingerprints,
    pub keys_scanned: &'c mut u64,
    pub to_read: &'c mut Vec<Vec<u8>>,
    pub reader: &'c Reader,
    pub observer: Option<&'c mut O>,
    pub truncated: bool,
    pub filter: Option<&'c mut F>,
    /// Asked for each key, so that a dry run and a run leave out the same.
    pub others_max_bytes: usize,
    pub purpose: Purpose,
    pub asks_strings_for_ttl: bool,
    pub has_expired: &'c mut bool,
    pub now_ms: i64,
    /// Bytes of names that were visited.
    pub bytes: usize,
    /// Whether a heartbeat was visited, which may have taken long.
    pub has_read: bool,
}

impl<F: Filter, O: Observer> Visit<'_, F, O> {
    fn is_full(&self) -> bool {
        let filter = self.filter.as_deref();
        bytes_in_the_way(self.collection, self.seen, filter) > self.others_max_bytes
    }

    #[inline]
    fn is_denied(&self, key: &impl ScannedKey) -> bool {
        self.purpose.notes_denied() && !key.may_be_deleted()
    }

    /// Whether a key does not exist, for its TTL has passed, even while the server still holds it.
    fn is_gone(&mut self, key: &impl ScannedKey, is_plain_string: bool) -> bool {
        if is_plain_string && !self.asks_strings_for_ttl {
            *self.has_expired = true;
            return false;
        }
        key.is_expired(self.now_ms)
    }

    /// Whether this walk is for a key like this one, which is no heartbeat.
    fn is_wanted(&mut self, name: &[u8]) -> bool {
        let Some(filter) = &mut self.filter else {
            return true;
        };
        let tried_bytes = filter.tries(name).saturating_mul(TRY_BYTES);
        self.bytes = self.bytes.saturating_add(tried_bytes);
        filter.keeps(name)
    }

    /// It is not read, for it can never be judged dead; what its end spells is protected.
    fn add_long_heartbeat(&mut self, name: &[u8]) {
        let name = name_bounds::shortened(name);
        self.collection.push(Record {
            name: &name,
            family: Family::Heartbeat,
            denied: false,
            is_large: false,
            beat: Some(UNREADABLE),
        });
    }
}

impl<F: Filter, O: Observer> Visitor for Visit<'_, F, O> {
    #[inline]
    fn visit(&mut self, key: &impl ScannedKey) {
        let name = key.name();
        *self.keys_scanned = self.keys_scanned.saturating_add(1);
        self.bytes = self.bytes.saturating_add(name.len());
        let Some(family) = self.reader.layout.family_of(name) else {
            if self.reader.layout.is_long_heartbeat(name) {
                self.add_long_heartbeat(name);
            }
            if let Some(observer) = &mut self.observer
                && observer.concerns(name)
                && !key.is_expired(self.now_ms)
            {
                observer.add_unknown(name, key.may_be_read());
            }
            return;
        };
        let is_plain_string = family != Family::Heartbeat && key.is_string();
        if self.is_gone(key, is_plain_string) {
            return;
        }
        if family == Family::Heartbeat {
            self.has_read = true;
            let at_once = match self.observer {
                Some(_) => None,
                None => key.heartbeat(self.reader),
            };
            match at_once {
                Some(beat) => {
                    if let Some(prints) = &self.reader.prints {
                        self.seen.push(prints, name, beat.print);
                    }
                    let denied = self.is_denied(key);
                    push_heartbeat(self.collection, name, denied, beat);
                }
                None => self.to_read.push(name.to_vec()),
            }
        } else if self.is_wanted(name) && !self.truncated && !self.is_full() {
            self.collection.push(Record {
                name,
                family,
                denied: self.is_denied(key),
                is_large: is_plain_string && key.is_long(),
                beat: None,
            });
        }
    }
}
