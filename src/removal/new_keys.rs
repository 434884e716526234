//! Heartbeats that came into being during a run, and whose keys they could own: those stay.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::keyspace::Keyspace;
use crate::keys::family::Family;
use crate::keys::layout::Layout;
use crate::keys::name_bounds;
use crate::keys::owner_index::{HeartbeatNumber, Names, OwnerIndex};
use crate::keys::segment_hash::SegmentHasher;
use crate::util::cooperative::YieldCounter;

/// Every heartbeat that appeared since the run began, indexed by what it could own.
#[derive(Debug, Default)]
pub struct NewKeys {
    /// Taken over, but not indexed yet.
    arrived: Vec<Vec<u8>>,
    names: Vec<Vec<u8>>,
    /// Which of them are known already.
    known: HashTable<HeartbeatNumber>,
    key: RandomState,
    owners: OwnerIndex,
    hasher: SegmentHasher,
}

impl NewKeys {
    /// None yet; names are read by this layout.
    pub fn new(layout: &Arc<Layout>) -> Self {
        Self {
            owners: OwnerIndex::new(Arc::clone(layout)),
            ..Self::default()
        }
    }

    /// Take over what arrived since the last look, until `time_is_up`, which is asked after every
    /// name; true when all is known. Until then nothing may be removed.
    pub fn drain(
        &mut self,
        space: &mut impl Keyspace,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> bool {
        loop {
            while let Some(name) = self.arrived.pop() {
                let Ok(number) = HeartbeatNumber::try_from(self.names.len()) else {
                    space.too_many_new_heartbeats();
                    return false;
                };
                let is_heartbeat = name_bounds::is_over(&name)
                    || self.owners.layout().family_of(&name) == Some(Family::Heartbeat);
                // The same name may appear twice; one entry is enough.
                if is_heartbeat {
                    self.add(number, name);
                } else {
                    space.note_key(&name);
                }
                if time_is_up() {
                    return false;
                }
            }
            match space.new_heartbeats() {
                Some(names) if names.is_empty() => return true,
                Some(names) => self.arrived = names,
                None => return false,
            }
        }
    }

    fn add(&mut self, number: HeartbeatNumber, name: Vec<u8>) {
        let Self {
            names, known, key, ..
        } = self;
        let hash = key.hash_one(&name);
        let same = |number: &HeartbeatNumber| names.name(*number) == name;
        if known.find(hash, same).is_none() {
            known.insert_unique(hash, number, |number| key.hash_one(names.name(*number)));
            names.push(name);
            self.owners.add(number, names, &mut self.hasher);
        }
    }

    /// How many readings of this key [`Self::protects`] tries, at most.
    #[inline]
    pub fn tries(&self, name: &[u8]) -> usize {
        if self.names.is_empty() {
            return 0;
        }
        self.owners.tries(name)
    }

    /// Whether a new heartbeat could own this key.
    #[inline]
    pub fn protects(&mut self, name: &[u8]) -> bool {
        !self.names.is_empty() && self.has_owner_of(name)
    }

    fn has_owner_of(&mut self, name: &[u8]) -> bool {
        // No such key goes anyway.
        if name_bounds::is_over(name) {
            return true;
        }
        let mut found = false;
        self.hasher.load(name);
        self.owners.visit(
            name,
            &self.names,
            &self.hasher,
            &YieldCounter::unstoppable(),
            &mut |_, _| {
                found = true;
                false
            },
        );
        found
    }
}
