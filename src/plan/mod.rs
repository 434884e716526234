//! From what a walk gathered to what is removed: a pure function.
//!
//! No server, no clock but the one it is given. It runs on a worker thread, because a million coordinators cost it
//! most of a second. What it promises: a key goes only if at least one stale coordinator could own it and no live or
//! unreadable one could.

mod choose;
mod explain;
pub mod explanation;
mod fate;
pub mod heartbeats;
mod order;
#[cfg(test)]
pub mod plan_model;
mod prefetch;
pub mod protect;
pub mod safeguards;
#[cfg(test)]
pub mod scenario_tests;
pub mod second_look;
mod sets;
mod sieve;

pub use explain::plan_and_explain;
pub use sets::{Member, OwnerSets, SetNumber};
pub use sieve::Sieve;

use fate::{Fate, Summary};
use prefetch::Prefetch;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::cluster::locality::Locality;
use crate::heartbeat::Verdict;
use crate::keys::family::Family;
use crate::keys::layout::{AllReadings, Layout};
use crate::keys::name_bounds::Tries;
use crate::keys::owner_index::{Crowd, HeartbeatNumber, Names, OwnerIndex};
use crate::keys::pattern::Pattern;
use crate::keys::reading::Reading;
use crate::keys::segment_hash::SegmentHasher;
use crate::plan::heartbeats::{HeartbeatNames, Heartbeats, Seen, judge_heartbeats};
use crate::plan::safeguards::{Caught, Safeguards, Share};
use crate::plan::second_look::Fingerprints;
use crate::report::Counts;
use crate::report::hold::Hold;
use crate::scan::scanned_keys::{Position, Record, ScannedKeys};
use crate::util::chunked_list::ChunkedList;
use crate::util::cooperative::YieldCounter;

/// What the plan is asked.
#[derive(Clone, Debug)]
pub struct Question {
    pub layout: Arc<Layout>,
    /// Server wall clock, milliseconds since 1970: the start of the run, so that no heartbeat looks older than
    /// it was when it was read.
    pub now_ms: i64,
    pub threshold_s: u32,
    /// Narrows which coordinators may go, never which may veto.
    pub pattern: Option<Pattern>,
    /// At most this many coordinators are removed.
    pub limit: Option<u32>,
    /// At most this many ids are listed.
    pub ids: u32,
    /// The walk stopped gathering family keys: all heartbeats are there, not all keys, so heartbeats must stay for
    /// the next run to find the rest.
    pub truncated: bool,
    /// For a second walk: it kept only keys that a heartbeat which this knows as stale could own.
    pub sieve: Option<Arc<Sieve>>,
    /// What the collection and the sets of owners may take of memory, in bytes.
    pub max_bytes: usize,
    /// The server tells of every heartbeat that comes into being during the run.
    pub hears_births: bool,
    /// Orphans are not only counted but named.
    pub orphans: bool,
    /// All keys that are counted and stay are named in [`Plan::kept`]: some may not exist any more.
    pub names_kept: bool,
    /// In a cluster: what of it lies here, unless that is everything.
    pub locality: Option<Locality>,
    /// Which stale coordinators to spare, and when to remove nothing at all.
    pub safety: Safeguards,
}

/// One coordinator to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doomed {
    pub heartbeat: HeartbeatNumber,
    /// Its keys: from here up to `end` in [`Plan::removals`]; the heartbeat, if it goes, is last.
    pub first: usize,
    pub end: usize,
    /// Something of the family stays, so the heartbeat stays too, for a later run to find it.
    pub keeps_heartbeat: bool,
}

/// Several stale coordinators could own a key: if one of them beats again, it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shared {
    /// Place in [`Plan::removals`].
    pub removal: usize,
    /// All of them.
    pub owners: SetNumber,
}

/// Keys that are counted and stay, but for heartbeats, by what they are counted as.
#[derive(Debug, Default)]
pub struct Kept {
    pub vetoed: ChunkedList<Position>,
    pub orphaned: ChunkedList<Position>,
    pub held: ChunkedList<(Position, Hold)>,
}

impl Kept {
    pub fn is_empty(&self) -> bool {
        self.vetoed.len() == 0 && self.orphaned.len() == 0 && self.held.len() == 0
    }
}

/// The outcome.
#[derive(Debug, Default)]
pub struct Plan {
    /// Where each heartbeat's record is, by heartbeat number.
    pub heartbeats: Vec<Position>,
    /// The coordinators that go, oldest beat first.
    pub doomed: Vec<Doomed>,
    /// What goes, coordinator by coordinator.
    pub removals: Vec<Position>,
    /// Sorted by removal.
    pub shared: Vec<Shared>,
    pub sets: OwnerSets,
    /// Everything the walk and the plan know; `*_removed` is what would be removed.
    pub counts: Counts,
    /// Keys without an owner, in the order of the walk, if they were asked for.
    pub orphans: Vec<Position>,
    /// Empty unless they were asked for.
    pub kept: Kept,
    /// Stale coordinators that may be removed, oldest first.
    pub stale_ids: Vec<Vec<u8>>,
    /// The oldest stale id, if there are some and MATCH fits none of them.
    pub unmatched: Option<Vec<u8>>,
    /// More coordinators are stale than LIMIT allowed.
    pub limited: bool,
    /// The walk had to leave family keys out, so heartbeats stay.
    pub truncated: bool,
    /// A heartbeat became stale too late for the sieve, so it stays.
    pub has_latecomers: bool,
    /// The breaker is open, so nothing goes.
    pub refused: Option<Share>,
    /// With a second look: what the next run should know.
    pub fingerprints: Option<Fingerprints>,
}

/// What a key with several owners takes of memory beside its set.
const SHARED_BYTES: usize = size_of::<(usize, SetNumber)>() + size_of::<Shared>();

/// Sets of owners may take so many bytes however little is left, so that every run gets on.
const LEAST_SETS_BYTES: usize = 64 * 1024;

/// Why something of a family stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incomplete {
    /// The walk had to leave keys out, or did not look for them.
    Unseen,
    Denied,
    Held,
}

/// Answer the question, or `None` if told to stop.
pub fn plan(collection: &ScannedKeys, question: &Question, stop: &AtomicBool) -> Option<Plan> {
    let mut planner = Planner::new(collection, question, stop)?;
    planner.choose()?;
    planner.assign()?;
    planner.finish()
}

/// The work in progress; the steps are called in the order they stand.
struct Planner<'c> {
    yields: YieldCounter<'c>,
    collection: &'c ScannedKeys,
    question: &'c Question,
    hasher: SegmentHasher,
    heartbeats: Heartbeats,
    owners: OwnerIndex,
    counts: Counts,
    caught: Caught,
    limited: bool,
    /// Numbers of the chosen, oldest first.
    chosen: Vec<HeartbeatNumber>,
    /// By heartbeat number: the place among the chosen.
    ranks: Vec<Option<u32>>,
    /// By heartbeat number: stale, but its key could belong to a living coordinator.
    vetoed: Vec<bool>,
    /// By heartbeat number, in a cluster: stale, but keys or heartbeats of its may lie on other nodes.
    elsewhere: Vec<bool>,
    /// With a locality: what reads names for it.
    reader: Option<AllReadings>,
    /// By heartbeat number: something of this family stays, so the heartbeat does, too.
    incomplete: Vec<Option<Incomplete>>,
    /// By rank, in the order of the walk.
    assigned: ChunkedList<(u32, Position)>,
    /// Place in `assigned`, and the owners of that key, if they are several.
    assigned_sets: Vec<(usize, SetNumber)>,
    /// A stale heartbeat, and the owners of its key, if they are several.
    heartbeat_sets: Vec<(HeartbeatNumber, SetNumber)>,
    sets: OwnerSets,
    summaries: HashMap<Crowd, Summary>,
    /// Crowds that the key at hand could belong to; a buffer.
    crowds_met: Vec<(Crowd, Reading)>,
    /// Crowds whose heartbeats all stay.
    held_crowds: HashSet<u32>,
    /// By crowd, once it is known which go: the last of it to go, and how many stay.
    crowd_ranks: Vec<(Option<u32>, usize)>,
    /// Readings that may still be tried of names over the bounds.
    tries_left: Tries,
    /// It is not known whose a key that stays is.
    is_all_held: bool,
    /// There is no memory left to say whose keys are.
    is_full: bool,
    orphans: Vec<Position>,
    kept: Kept,
    stale_ids: Vec<Vec<u8>>,
    /// The oldest stale heartbeat whose id MATCH does not fit, unless it fits that of another.
    unmatched: Option<HeartbeatNumber>,
    /// Stale owners of the key at hand, sorted.
    stale_owners: Vec<Member>,
    ahead: Prefetch,
}

impl<'c> Planner<'c> {
    /// Read every heartbeat, judge it, and index it by id.
    fn new(
        collection: &'c ScannedKeys,
        question: &'c Question,
        stop: &'c AtomicBool,
    ) -> Option<Self> {
        let yields = YieldCounter::new(stop);
        let mut hasher = SegmentHasher::default();
        let mut heartbeats = judge_heartbeats(collection, question, &mut hasher, &yields)?;
        let sieve = question.sieve.as_ref();
        let mut counts = sieve.map_or_else(Counts::default, |sieve| sieve.counts());
        let safety = &question.safety;
        let layout = &question.layout;
        let caught = safety.spare(collection, layout, &mut heartbeats, &mut counts, &yields)?;
        let names = HeartbeatNames {
            collection,
            positions: &heartbeats.positions,
        };
        let mut owners = OwnerIndex::new(Arc::clone(&question.layout));
        // What protects comes in last and so is visited first among the swarms of an id.
        for protecting in [false, true] {
            for (verdict, number) in heartbeats.verdicts.iter().zip(0..) {
                let stale = matches!(verdict, Verdict::Stale { .. });
                if stale != protecting {
                    yields.name(names.name(number))?;
                    owners.add(number, &names, &mut hasher);
                }
            }
        }
        for verdict in &heartbeats.verdicts {
            let count = match verdict {
                Verdict::Live => continue,
                Verdict::Stale { .. } => &mut counts.coordinators_stale,
                Verdict::Unreadable => &mut counts.coordinators_unreadable,
            };
            *count = count.saturating_add(1);
        }
        counts.coordinators_checked = heartbeats.positions.len() as u64;
        let unseen = question.truncated.then_some(Incomplete::Unseen);
        Some(Self {
            yields,
            collection,
            question,
            hasher,
            owners,
            counts,
            caught,
            limited: false,
            chosen: Vec::new(),
            ranks: vec![None; heartbeats.positions.len()],
            vetoed: vec![false; heartbeats.positions.len()],
            elsewhere: match question.locality {
                Some(_) => vec![false; heartbeats.positions.len()],
                None => Vec::new(),
            },
            reader: question.locality.as_ref().map(Locality::reader),
            incomplete: vec![unseen; heartbeats.positions.len()],
            assigned: ChunkedList::default(),
            assigned_sets: Vec::new(),
            heartbeat_sets: Vec::new(),
            sets: OwnerSets::default(),
            summaries: HashMap::new(),
            crowds_met: Vec::new(),
            held_crowds: HashSet::new(),
            crowd_ranks: Vec::new(),
            tries_left: Tries::default(),
            is_all_held: false,
            is_full: false,
            orphans: Vec::new(),
            kept: Kept::default(),
            stale_ids: Vec::new(),
            unmatched: None,
            stale_owners: Vec::new(),
            ahead: Prefetch::default(),
            heartbeats,
        })
    }

    /// The key of a heartbeat; it lives as long as the collection, not only as long as `self`.
    fn heartbeat_name(&self, number: HeartbeatNumber) -> &'c [u8] {
        let position = self.heartbeats.positions.get(number as usize);
        position
            .and_then(|position| self.collection.get(*position))
            .map(|record| record.name)
            .unwrap_or_default()
    }

    fn is_stale(&self, number: HeartbeatNumber) -> bool {
        let verdict = self.heartbeats.verdicts.get(number as usize);
        matches!(verdict, Some(Verdict::Stale { .. }))
    }

    fn beat_ms(&self, number: HeartbeatNumber) -> i64 {
        let beat = self.heartbeats.beats_ms.get(number as usize);
        beat.copied().unwrap_or_default()
    }

    /// Decide about every key that is not a heartbeat.
    fn assign(&mut self) -> Option<()> {
        let collection = self.collection;
        let others = collection.records() as usize;
        let others = others.saturating_sub(self.heartbeats.positions.len());
        let mut seen = Seen::with_capacity(others);
        let mut keys = collection
            .iter()
            .filter(|(_, r)| r.family != Family::Heartbeat);
        let mut next = Vec::with_capacity(prefetch::KEYS);
        loop {
            next.clear();
            next.extend(keys.by_ref().take(prefetch::KEYS));
            if next.is_empty() {
                break;
            }
            self.read_ahead(next.iter().map(|(_, record)| record.name), Some(&seen));
            for (position, record) in &next {
                self.yields.name(record.name)?;
                self.hasher.load(record.name);
                if seen.is_new(collection, record.name, *position, self.hasher.whole()) {
                    self.assign_one(*position, record)?;
                }
            }
        }
        Some(())
    }

    fn assign_one(&mut self, position: Position, record: &Record) -> Option<()> {
        let owner = match self.fate(record.name)? {
            Fate::Kept => return Some(()),
            Fate::Vetoed => {
                self.veto(position);
                return Some(());
            }
            Fate::Held(hold) => {
                self.hold(position, hold);
                return Some(());
            }
            Fate::Orphaned => {
                self.counts.keys_orphaned = self.counts.keys_orphaned.saturating_add(1);
                if self.question.names_kept {
                    self.kept.orphaned.push(position);
                }
                let protected = &self.question.safety.protected;
                let is_protected = || protected.covers(record.name, &self.question.layout);
                if self.question.orphans && !is_protected() {
                    self.orphans.push(position);
                }
                return Some(());
            }
            Fate::GoesWith(owner) => owner,
        };
        let Some(rank) = self.ranks.get(owner as usize).copied().flatten() else {
            // Its owner is stale and stays: beyond LIMIT, not in MATCH, vetoed itself, or not only here.
            if self.vetoed.get(owner as usize) == Some(&true) {
                self.veto(position);
            } else if self.elsewhere.get(owner as usize) == Some(&true) {
                self.hold(position, Hold::Elsewhere);
            }
            return Some(());
        };
        if record.denied {
            self.deny(owner);
            return Some(());
        }
        if !self.is_shared() {
            self.assigned.push((rank, position));
            self.counts.add_removed(record.family, 1);
            return Some(());
        }
        // It goes with the last of its owners: by then the run has removed the others, each proved dead in its own
        // slice, and would hear of one that comes back.
        let Some(last) = self.last_owner() else {
            self.hold(position, Hold::OverBound);
            return Some(());
        };
        let Some(set) = self.add_set() else {
            self.is_full = true;
            return Some(());
        };
        self.assigned_sets.push((self.assigned.len(), set));
        self.assigned.push((last, position));
        self.counts.add_removed(record.family, 1);
        Some(())
    }

    /// The number of the set of the stale owners of the key at hand; `None` if there is no memory for more.
    fn add_set(&mut self) -> Option<SetNumber> {
        let shared = self
            .assigned_sets
            .len()
            .saturating_add(self.heartbeat_sets.len());
        let taken = shared.saturating_mul(SHARED_BYTES);
        let taken = taken.saturating_add(self.sets.bytes());
        let room = self
            .question
            .max_bytes
            .saturating_sub(self.collection.bytes());
        let has_room = taken < room.max(LEAST_SETS_BYTES);
        has_room
            .then(|| self.sets.add(&self.stale_owners))
            .flatten()
    }

    fn veto(&mut self, position: Position) {
        self.counts.keys_vetoed = self.counts.keys_vetoed.saturating_add(1);
        if self.question.names_kept {
            self.kept.vetoed.push(position);
        }
    }

    fn hold(&mut self, position: Position, hold: Hold) {
        self.counts.held.add(hold);
        if self.question.names_kept {
            self.kept.held.push((position, hold));
        }
        self.hold_back();
    }

    fn deny(&mut self, owner: HeartbeatNumber) {
        self.counts.held.add(Hold::Denied);
        if let Some(incomplete) = self.incomplete.get_mut(owner as usize) {
            *incomplete = Some(Incomplete::Denied);
        }
    }
}

#[cfg(test)]
#[path = "stop_tests.rs"]
mod stop_tests;
#[cfg(test)]
pub mod tests;
