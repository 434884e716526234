//! Where the server does not tell of every new key: owners are looked up by name before a key goes.
//!
//! Looked up are the heartbeats without a swarm and those of the swarms that the walk saw, for every
//! way to read the key. A heartbeat that appears in another swarm without an event is not found.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::Removal;
use super::keyspace::Keyspace;
use super::owners::Standing;
use super::slice::Slice;
use crate::heartbeat::Verdict;
use crate::keys::layout::{AllReadings, Layout};
use crate::keys::name_bounds::MAX_OWNERS_BYTES;
use crate::keys::owner_index::Names;
use crate::plan::heartbeats::HeartbeatNames;
use crate::report::hold::Hold;

/// In so many swarms owners are looked up, the first that the walk saw: each costs a look for each way to read
/// a key.
const MAX_SWARMS: usize = 16;

/// Nor are the owners of a key that can be read in more ways than this: it stays.
const MAX_READINGS: usize = 256;

/// Nor those of a key whose owners' names have more bytes together.
const MAX_NAMES_BYTES: usize = 1 << 20;

/// What it takes to look owners up.
#[derive(Debug)]
pub(super) struct ByName {
    layout: Arc<Layout>,
    swarms: Vec<Vec<u8>>,
    /// Keyed hashes of the heartbeats in swarms that the walk saw.
    scoped: HashSet<u64>,
    key: RandomState,
    all: AllReadings,
    /// Found in the slice of this number: whether there is life under a heartbeat's name.
    slice: u64,
    found: HashMap<Vec<u8>, bool>,
}

impl ByName {
    /// Everything that is needed.
    pub fn new(layout: &Arc<Layout>, heartbeats: &HeartbeatNames) -> Self {
        let mut swarms = BTreeSet::new();
        let mut scoped = HashSet::new();
        let key = RandomState::new();
        for number in (0..).take(heartbeats.positions.len()) {
            let name = heartbeats.name(number);
            layout.beating(name, &mut |reading| {
                let Some(swarm) = reading.swarm_of(name) else {
                    return;
                };
                scoped.insert(key.hash_one(name));
                if swarms.len() < MAX_SWARMS {
                    swarms.insert(swarm.to_vec());
                }
            });
        }
        Self {
            layout: Arc::clone(layout),
            swarms: swarms.into_iter().collect(),
            scoped,
            key,
            all: AllReadings::up_to(MAX_READINGS, layout),
            slice: 0,
            found: HashMap::new(),
        }
    }

    /// The heartbeats that could own this key, by name; `None` if they are too many.
    fn owners_of(&mut self, name: &[u8]) -> Option<BTreeSet<Vec<u8>>> {
        let Self {
            layout,
            swarms,
            scoped,
            key,
            all,
            ..
        } = self;
        let mut owners = BTreeSet::new();
        let mut bytes = 0usize;
        let mut add = |heartbeat: Vec<u8>| {
            bytes = bytes.saturating_add(heartbeat.len());
            owners.insert(heartbeat);
            bytes <= MAX_NAMES_BYTES
        };
        for reading in all.of(name)? {
            let id = reading.id_of(name);
            let mut has_room = true;
            let Some(own) = reading.swarm_of(name) else {
                let known = swarms.iter().map(Vec::as_slice);
                for swarm in known.map(Some).chain([None]) {
                    has_room = has_room && layout.heartbeats_of(swarm, id).all(&mut add);
                }
                has_room.then_some(())?;
                continue;
            };
            // The key follows the heartbeat of its swarm, which this run may have removed.
            let mut had_own = false;
            for heartbeat in layout.heartbeats_of(Some(own), id) {
                had_own = had_own || scoped.contains(&key.hash_one(&heartbeat));
                has_room = add(heartbeat);
            }
            if !had_own {
                has_room = has_room && layout.heartbeats_of(None, id).all(&mut add);
            }
            has_room.then_some(())?;
        }
        Some(owners)
    }
}

impl Removal {
    /// What is found under the names of the heartbeats that could own the key at this place.
    pub(super) fn standing_by_name(
        &mut self,
        space: &mut impl Keyspace,
        slice: Slice,
        place: usize,
    ) -> Standing {
        let position = self.plan.removals.get(place);
        let record = position.and_then(|position| self.collection.get(*position));
        let (Some(record), Some(mut by_name)) = (record, self.by_name.take()) else {
            return Standing::Dead;
        };
        let name = record.name;
        let mut steps = self.others.steps;
        if by_name.slice != slice.number {
            by_name.slice = slice.number;
            by_name.found.clear();
        }
        let mut standing = Standing::Dead;
        let before = space.bytes_read();
        match by_name.owners_of(name) {
            None => standing = Standing::Held(Hold::OverBound),
            Some(owners) => {
                for heartbeat in owners {
                    let bytes = space.bytes_read().saturating_sub(before);
                    let lives = match by_name.found.get(&heartbeat) {
                        Some(lives) => *lives,
                        None if bytes > MAX_OWNERS_BYTES => {
                            standing = Standing::Held(Hold::OverBound);
                            break;
                        }
                        None => {
                            let string = space.name(&heartbeat);
                            let beat = space.heartbeat(&string, slice.reader);
                            let verdict = beat.map(|beat| self.verdict(slice, &heartbeat, beat));
                            steps = steps.saturating_add(1);
                            let lives =
                                matches!(verdict, Some(Verdict::Live | Verdict::Unreadable));
                            by_name.found.insert(heartbeat, lives);
                            lives
                        }
                    };
                    if lives {
                        standing = Standing::Alive;
                        break;
                    }
                }
            }
        }
        let bytes = space.bytes_read().saturating_sub(before);
        steps = steps.saturating_add(bytes / 64);
        self.by_name = Some(by_name);
        self.others.steps = steps;
        standing
    }
}
