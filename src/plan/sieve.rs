//! What the second walk of a run keeps, where not everything fits: what may have to go.
//!
//! Made of the heartbeats of the first walk, by a worker, and asked in the walk. The plan decides as ever, and
//! from heartbeats that were read anew: a key that is kept in vain costs room, one that is left out stays.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::Question;
use crate::cluster::locality::Locality;
use crate::heartbeat::Verdict;
use crate::keys::layout::AllReadings;
use crate::keys::name_bounds::{self, MAX_TRIES_IN_WALK};
use crate::keys::owner_index::{HeartbeatNumber, Names, OwnerIndex};
use crate::keys::segment_hash::SegmentHasher;
use crate::plan::heartbeats::{HeartbeatNames, judge_heartbeats};
use crate::report::Counts;
use crate::report::hold::Hold;
use crate::scan::scanned_keys::{Position, ScannedKeys};
use crate::scan::visit::Filter;
use crate::util::cooperative::YieldCounter;

/// Which heartbeats were stale after the first walk, and what the second one left out.
#[derive(Debug)]
pub struct Sieve {
    /// Every heartbeat once, and nothing else.
    heartbeats: ScannedKeys,
    positions: Vec<Position>,
    /// Of the heartbeats that may have to go. They have an index of their own, so that no other heartbeat hides them:
    /// that one may be gone when the plan is made.
    stale: OwnerIndex,
    others: OwnerIndex,
    /// The stale ones in the order of their names.
    by_name: Vec<HeartbeatNumber>,
    hasher: SegmentHasher,
    /// In a cluster, with what reads names for it.
    locality: Option<(Locality, AllReadings)>,
    /// Keys that are counted though they are not kept.
    counts: Counts,
    /// What the first walk kept of heartbeats.
    heartbeat_bytes: usize,
}

impl Sieve {
    /// From all that a walk brought, of which only the heartbeats are used; `None` if told to stop.
    pub fn new(collection: &ScannedKeys, question: &Question, stop: &AtomicBool) -> Option<Self> {
        let yields = YieldCounter::new(stop);
        let mut hasher = SegmentHasher::default();
        let mut judged = judge_heartbeats(collection, question, &mut hasher, &yields)?;
        let Question { safety, layout, .. } = question;
        // A coordinator that is spared keeps everything, and its keys may fill the memory as those of the living do.
        let mut counts = Counts::default();
        safety.spare(collection, layout, &mut judged, &mut counts, &yields)?;
        let mut heartbeats = ScannedKeys::default();
        for position in &judged.positions {
            if let Some(record) = collection.get(*position) {
                yields.name(record.name)?;
                heartbeats.push(record);
            }
        }
        let mut positions = Vec::with_capacity(judged.positions.len());
        for (position, _) in heartbeats.iter() {
            yields.step()?;
            positions.push(position);
        }
        let names = HeartbeatNames {
            collection: &heartbeats,
            positions: &positions,
        };
        let mut stale = OwnerIndex::new(Arc::clone(layout));
        let mut others = OwnerIndex::new(Arc::clone(layout));
        let mut by_name = Vec::new();
        for (verdict, number) in judged.verdicts.iter().zip(0..) {
            yields.name(names.name(number))?;
            if matches!(verdict, Verdict::Stale { .. }) {
                stale.add(number, &names, &mut hasher);
                by_name.push(number);
            } else {
                others.add(number, &names, &mut hasher);
            }
        }
        yields.sort_by(&mut by_name, |a, b| names.name(*a).cmp(names.name(*b)))?;
        let locality = question.locality.clone();
        Some(Self {
            heartbeats,
            positions,
            stale,
            others,
            by_name,
            hasher,
            locality: locality.map(|here| {
                let reader = here.reader();
                (here, reader)
            }),
            counts: Counts::default(),
            heartbeat_bytes: {
                let look = safety.second_look.as_ref();
                let seen_bytes = look.map_or(0, |look| look.seen.bytes());
                collection.heartbeat_bytes().saturating_add(seen_bytes)
            },
        })
    }

    fn has_owner(&self, owners: &OwnerIndex, name: &[u8]) -> bool {
        let names = self.names();
        let mut found = false;
        let mut look = |_, _| {
            found = true;
            false
        };
        let yields = YieldCounter::unstoppable();
        owners.visit(name, &names, &self.hasher, &yields, &mut look);
        found
    }

    fn add_orphan(&mut self, name: &[u8]) {
        let here = self.locality.as_mut();
        if here.is_some_and(|(here, reader)| !here.has_families(name, reader)) {
            self.counts.held.add(Hold::Elsewhere);
        } else {
            self.counts.keys_orphaned = self.counts.keys_orphaned.saturating_add(1);
        }
    }

    /// Keys without an owner that were not kept.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the heartbeat of this name was stale, so that all keys were kept that it could own.
    pub fn knows(&self, heartbeat: &[u8]) -> bool {
        let names = self.names();
        let by_name = |number: &HeartbeatNumber| names.name(*number).cmp(heartbeat);
        self.by_name.binary_search_by(by_name).is_ok()
    }

    fn names(&self) -> HeartbeatNames<'_> {
        HeartbeatNames {
            collection: &self.heartbeats,
            positions: &self.positions,
        }
    }
}

impl Filter for Sieve {
    fn tries(&self, name: &[u8]) -> usize {
        let tries = self.stale.tries(name);
        tries.saturating_add(self.others.tries(name))
    }

    /// Whether to keep a key that is no heartbeat: one of the stale could own it. If not it is counted, as the plan
    /// would count it, but a key that is met twice counts twice. A name over the bounds, or one that would take long,
    /// is kept.
    fn keeps(&mut self, name: &[u8]) -> bool {
        if name_bounds::is_over(name) || self.tries(name) > MAX_TRIES_IN_WALK {
            return true;
        }
        self.hasher.load(name);
        if self.has_owner(&self.stale, name) {
            return true;
        }
        if !self.has_owner(&self.others, name) {
            self.add_orphan(name);
        }
        false
    }

    /// Of so many bytes, what the second walk may use for keys other than heartbeats: it will find about as
    /// many of those as the first.
    fn others_max_bytes(&self, of_bytes: usize) -> usize {
        let more_bytes = self.heartbeat_bytes.saturating_add(of_bytes) / 16;
        let needed_bytes = self.heartbeat_bytes.saturating_add(more_bytes);
        of_bytes.saturating_sub(needed_bytes)
    }

    fn forget_counts(&mut self) {
        self.counts = Counts::default();
    }
}

#[cfg(test)]
#[path = "sieve_tests.rs"]
mod tests;
