//! The last of a run with ORPHANS: remove keys without an owner, trusting nothing older than the slice.
//!
//! In the slice that removes an orphan, everything that spoke against life is looked at again: no
//! possible owner has a heartbeat, the key itself is as it was, and so is every orphan that speaks
//! for an id it could belong to; no key was written meanwhile that would speak for one.

use std::collections::HashSet;
use std::hash::RandomState;

use super::keyspace::Keyspace;
use super::new_keys::NewKeys;
use super::slice::{Batch, Slice};
use crate::cluster::locality::{Locality, Shrunk};
use crate::keys::layout::AllReadings;
use crate::keys::name_bounds::{self, MAX_OWNERS};
use crate::keys::reading::Reading;
use crate::orphans::evidence;
use crate::orphans::{self, Doomed, OrphanValue, Orphans};
use crate::report::Counts;
use crate::report::hold::Hold;
use crate::report::obituary::{Dead, Obituaries, Rule};
use crate::scan::scanned_keys::ScannedKeys;
use crate::util::cooperative::YieldCounter;

/// Orphans on their way out.
#[derive(Debug)]
pub struct OrphanRemoval {
    orphans: Orphans,
    key: RandomState,
    grace_s: u32,
    next: usize,
    all: AllReadings,
    sole: AllReadings,
    /// What was found in the slice of this number, so that it is looked up once a slice.
    slice: u64,
    no_heartbeat: HashSet<Vec<u8>>,
    unchanged: HashSet<u32>,
    /// Keys that were written since the run began, not heard of yet.
    births: Vec<Vec<u8>>,
    /// Not all of those are known, or can be: no orphan goes any more.
    births_are_lost: bool,
}

/// What of the rest of the run a removal needs.
#[derive(Debug)]
pub struct RemovalContext<'r> {
    pub collection: &'r ScannedKeys,
    pub new_keys: &'r mut NewKeys,
    pub counts: &'r mut Counts,
    pub obituaries: Option<&'r mut Obituaries>,
    /// How many orphans may go into the batch.
    pub room: usize,
    /// In a cluster: what is still here.
    pub shrunk: Option<&'r mut Shrunk>,
}

/// What a second look at an orphan gives.
enum Fate {
    Goes,
    /// It went by itself.
    Gone,
    Vetoed,
    TooYoung,
    Denied,
    /// Slots began to move meanwhile.
    Elsewhere,
}

impl OrphanRemoval {
    /// Everything that was judged to go.
    pub fn new(orphans: Orphans, key: RandomState, grace_s: u32) -> Self {
        Self {
            all: AllReadings::up_to(MAX_OWNERS, orphans.claims.layout()),
            sole: AllReadings::up_to(1, orphans.claims.layout()),
            orphans,
            key,
            grace_s,
            next: 0,
            slice: 0,
            no_heartbeat: HashSet::new(),
            unchanged: HashSet::new(),
            births: Vec::new(),
            births_are_lost: false,
        }
    }

    /// The orphans, judged.
    pub fn orphans(&self) -> &Orphans {
        &self.orphans
    }

    /// Orphans to be removed, and those dealt with so far.
    pub fn progress(&self) -> (u64, u64) {
        (self.orphans.doomed.len() as u64, self.next as u64)
    }

    /// Whether every orphan was dealt with.
    pub fn is_over(&self) -> bool {
        self.next >= self.orphans.doomed.len()
    }

    /// Fill a batch until `time_is_up`, which is asked after every orphan. Gives how many bytes the
    /// names in it have.
    pub fn fill<K: Keyspace>(
        &mut self,
        space: &mut K,
        slice: Slice,
        run: RemovalContext,
        batch: &mut Batch<K::Name>,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> u64 {
        let RemovalContext {
            collection,
            new_keys,
            counts,
            mut obituaries,
            room,
            mut shrunk,
        } = run;
        if self.slice != slice.number {
            self.slice = slice.number;
            self.no_heartbeat.clear();
            self.unchanged.clear();
        }
        let mut bytes = 0u64;
        for _ in 0..room {
            let Some(doomed) = self.orphans.doomed.get(self.next).copied() else {
                break;
            };
            self.next = self.next.saturating_add(1);
            let position = self.orphans.keys.get(doomed.place as usize);
            let Some(record) = position.and_then(|position| collection.get(*position)) else {
                continue;
            };
            let name = space.name(record.name);
            let shrunk = shrunk.as_deref_mut();
            let fate = if shrunk.is_some_and(|s| s.lacks(record.name, Locality::has_families)) {
                Fate::Elsewhere
            } else if new_keys.protects(record.name) {
                Fate::Vetoed
            } else if !self.births_are_lost {
                self.look_again(space, slice, collection, &name, doomed)
            } else {
                Fate::TooYoung
            };
            let count = |sum: &mut u64| *sum = sum.saturating_add(1);
            match fate {
                Fate::Goes => {
                    bytes = bytes.saturating_add(record.name.len() as u64);
                    let owner = obituaries.as_mut().map(|all| {
                        let reading = self.whose(record.name);
                        let age_ms = slice.now_ms.saturating_sub(doomed.newest_ms);
                        all.open(Dead {
                            rule: Rule::Orphan,
                            id: reading.map(|r| r.id_of(record.name)).unwrap_or_default(),
                            swarm: reading.and_then(|r| r.swarm_of(record.name)),
                            age_s: age_ms.div_euclid(1000),
                            beat: &[],
                        })
                    });
                    batch[record.family].push((name, owner.unwrap_or_default()));
                }
                Fate::Gone => {}
                Fate::Vetoed => count(&mut counts.keys_vetoed),
                Fate::TooYoung => count(&mut counts.orphans_too_young),
                Fate::Denied => counts.held.add(Hold::Denied),
                Fate::Elsewhere => counts.held.add(Hold::Elsewhere),
            }
            if time_is_up() {
                break;
            }
        }
        bytes
    }

    /// Take over the keys that were written since the run began, until `time_is_up`, which is asked
    /// after every key; true when that is done. Until then no orphan may be removed.
    pub fn hear_of_births(
        &mut self,
        space: &mut impl Keyspace,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> bool {
        while !self.births_are_lost {
            while let Some(name) = self.births.pop() {
                // It could speak for more ids than can be looked up in a slice.
                if name_bounds::is_over(&name) {
                    self.births_are_lost = true;
                    return true;
                }
                let only_reading = orphans::only_reading(&name, &mut self.sole);
                self.orphans.claims.load(&name);
                self.orphans.claims.note_new_key(&name, only_reading);
                if time_is_up() {
                    return false;
                }
            }
            match space.new_keys() {
                Some(names) if names.is_empty() => return true,
                Some(names) => self.births = names,
                None => self.births_are_lost = true,
            }
        }
        true
    }

    /// Whose an orphan is said to have been: the only id that it can be read with, or the first known one.
    fn whose(&mut self, name: &[u8]) -> Option<Reading> {
        self.orphans.claims.load(name);
        let only = orphans::only_reading(name, &mut self.sole);
        only.or_else(|| {
            self.orphans
                .claims
                .first_known(name, &YieldCounter::unstoppable())
        })
    }

    fn look_again<K: Keyspace>(
        &mut self,
        space: &mut K,
        slice: Slice,
        collection: &ScannedKeys,
        string: &K::Name,
        doomed: Doomed,
    ) -> Fate {
        let Some(name) = self.orphans.name(collection, doomed.place) else {
            return Fate::Gone;
        };
        let Some(readings) = self.all.of(name) else {
            return Fate::Vetoed;
        };
        let tags = space.tags();
        let is_id = tags.ids_in(name, readings);
        let has_heartbeat = readings.iter().any(|reading| {
            // Another node's slot says nothing of what can be no id.
            let ask_cluster = slice.cluster && is_id(reading);
            has_heartbeat(
                space,
                slice,
                name,
                *reading,
                ask_cluster,
                &mut self.no_heartbeat,
            )
        });
        if has_heartbeat {
            return Fate::Vetoed;
        }
        self.orphans.claims.load(name);
        let newest_ms = self.orphans.claims.newest_ms(readings);
        let newest_ms = newest_ms.max(doomed.newest_ms);
        // The clock may have been set back meanwhile.
        if evidence::is_young(newest_ms, slice.now_ms, self.grace_s) {
            return Fate::TooYoung;
        }
        let orphan_values = &self.orphans.orphan_values;
        let was = |place: u32| orphan_values.get(place as usize).copied().flatten();
        let key = &self.key;
        let look = |space: &mut K, name: &[u8], string: &K::Name| {
            space.orphan_value(name, string, slice.reader, key)
        };
        // Of what is not read the print may be the same after a write.
        let grace_s = self.grace_s;
        let is_unchanged = |now: OrphanValue, was: Option<OrphanValue>| {
            let newest_ms = now.evidence.newest_ms;
            let is_young =
                newest_ms.is_some_and(|ms| evidence::is_young(ms, slice.now_ms, grace_s));
            was.is_some_and(|was| was.print == now.print) && !is_young
        };
        match look(space, name, string) {
            None => return Fate::Gone,
            Some(now) if is_unchanged(now, was(doomed.place)) => {}
            Some(_) => return Fate::TooYoung,
        }
        self.unchanged.insert(doomed.place);
        let unchanged = &mut self.unchanged;
        let mut has_changed = false;
        self.orphans.claims.visit_speakers(readings, &mut |place| {
            if has_changed || unchanged.contains(&place) {
                return;
            }
            let Some(speaker) = self.orphans.name(collection, place) else {
                return;
            };
            let string = space.name(speaker);
            let now = look(space, speaker, &string);
            // One that is gone says nothing: this run may have removed it.
            has_changed = now.is_some_and(|now| !is_unchanged(now, was(place)));
            if !has_changed {
                unchanged.insert(place);
            }
        });
        if has_changed {
            return Fate::TooYoung;
        }
        if !space.may_delete(string) {
            return Fate::Denied;
        }
        Fate::Goes
    }
}

/// Whether the coordinator of this reading has a heartbeat, be it its own or, for one of a swarm,
/// that of its id without a swarm.
fn has_heartbeat(
    space: &mut impl Keyspace,
    slice: Slice,
    name: &[u8],
    reading: Reading,
    ask_cluster: bool,
    no_heartbeat: &mut HashSet<Vec<u8>>,
) -> bool {
    let id = reading.id_of(name);
    let scoped = reading.swarm_of(name).map(Some);
    let layout = &slice.reader.layout;
    let swarms = scoped.into_iter().chain([None]);
    let mut heartbeats = swarms.flat_map(|swarm| layout.heartbeats_of(swarm, id));
    heartbeats.any(|heartbeat| {
        if no_heartbeat.contains(&heartbeat) {
            return false;
        }
        let string = space.name(&heartbeat);
        let found = if ask_cluster {
            space.may_exist(&string)
        } else {
            space.exists(&string)
        };
        if !found {
            no_heartbeat.insert(heartbeat);
        }
        found
    })
}
