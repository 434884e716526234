//! What EXPLAIN answers about one id: its heartbeats, its keys, what becomes of each, and why.
//!
//! Pure, and it decides nothing: the plan says what it decided, and here that is counted, bounded and put into
//! words.

use std::sync::atomic::AtomicBool;

use crate::heartbeat::state::State;
use crate::keys::family::{Family, FamilyMap};
use crate::orphans::{Orphans, Outcome};
use crate::plan::safeguards::Share;
use crate::reply::room::Room;
use crate::report::Counts;
use crate::scan::scanned_keys::{Position, ScannedKeys};
use crate::util::cooperative::YieldCounter;
use crate::util::named_enum::named_enum;

/// How many heartbeats of one id are shown; an id may beat in any number of swarms.
pub const MAX_HEARTBEATS: usize = 20;

/// How many names are shown of one family with the same fate.
const MAX_NAMES: u64 = 5;

named_enum! {
    /// What becomes of a key.
    pub enum KeyFate {
        /// CLEANUP removes it with this id.
        Removed = removed,
        /// A stale coordinator would take it, but it stays.
        Vetoed = vetoed,
        /// Stale coordinators alone could own it, and yet it stays, and so do their heartbeats.
        Held = held,
        /// It may belong to a coordinator of another node of the cluster.
        Elsewhere = elsewhere,
        /// It stays: every coordinator that could own it is alive.
        Kept = kept,
        /// Another stale coordinator takes it.
        Others = others,
        /// It would go, but the caller may not delete it, or something else of the family.
        Denied = denied,
        /// It has no owner, and was not judged.
        Orphan = orphan,
        /// ORPHANS removes it.
        OrphanRemoved = orphan_removed,
        /// ORPHANS keeps it for now: something that speaks for life is too young.
        OrphanTooYoung = orphan_too_young,
        /// ORPHANS keeps it: it is protected, or too many coordinators could own it.
        OrphanKept = orphan_kept,
    }

    /// Something of each fate.
    pub struct FateMap;
}

/// A heartbeat of the id.
#[derive(Clone, Debug)]
pub struct Beating {
    pub key: Vec<u8>,
    pub swarm: Option<Vec<u8>>,
    pub state: State,
    pub fate: KeyFate,
    /// The heartbeat that vetoes it.
    pub by: Option<Vec<u8>>,
    /// There is room for its names in the answer.
    pub is_named: bool,
}

/// A key as it is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    pub key: Vec<u8>,
    pub family: Family,
    pub fate: KeyFate,
    /// The heartbeat that decided: that vetoes the key, keeps it, or takes it.
    pub by: Option<Vec<u8>>,
}

/// Everything about one id.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub id: Vec<u8>,
    /// The first of its heartbeats, and how many there are.
    pub heartbeats: Vec<Beating>,
    pub heartbeats_found: u64,
    pub by_family: FamilyMap<FateMap<u64>>,
    pub shown: Vec<Shown>,
    room: Room,
    /// Keys without an owner, in the order of the walk, until they are judged.
    pub orphans: Vec<Position>,
    /// What the plan counted, with MATCH for this id.
    pub counts: Counts,
    /// The breaker of a scheduled run would be open.
    pub share: Option<Share>,
    pub is_protected: bool,
    /// In a cluster: heartbeats of the id may lie on other nodes.
    pub is_elsewhere: bool,
    /// The newest time that its orphans give, milliseconds since 1970.
    pub newest_evidence_ms: Option<i64>,
}

impl Explanation {
    /// Nothing found yet.
    pub fn new(id: &[u8]) -> Self {
        Self {
            id: id.to_vec(),
            heartbeats: Vec::new(),
            heartbeats_found: 0,
            by_family: FamilyMap::default(),
            shown: Vec::new(),
            room: Room::default(),
            orphans: Vec::new(),
            counts: Counts::default(),
            share: None,
            is_protected: false,
            is_elsewhere: false,
            newest_evidence_ms: None,
        }
    }

    /// A heartbeat of the id.
    pub fn add_heartbeat(&mut self, beating: Beating) {
        self.heartbeats_found = self.heartbeats_found.saturating_add(1);
        self.count(Family::Heartbeat, beating.fate);
        let Some(place) = self.place_for(beating.state) else {
            return;
        };
        let swarm = beating.swarm.as_deref().unwrap_or_default();
        let by = beating.by.as_deref().unwrap_or_default();
        // The id that was asked for stands in the name once more.
        let is_named = self.room.take(&[&beating.key, swarm, by]);
        let beating = Beating {
            is_named,
            ..beating
        };
        match self.heartbeats.get_mut(place) {
            Some(former) => *former = beating,
            None => self.heartbeats.push(beating),
        }
    }

    /// Where to put a heartbeat; life in one place protects, so the stale ones make room.
    fn place_for(&self, state: State) -> Option<usize> {
        if self.heartbeats.len() < MAX_HEARTBEATS {
            return Some(self.heartbeats.len());
        }
        let is_stale = |beating: &Beating| beating.state == State::Stale;
        let place = self.heartbeats.iter().rposition(is_stale);
        place.filter(|_| state != State::Stale)
    }

    /// A key that could belong to the id, and the heartbeat that decided about it.
    pub fn add_key(&mut self, name: &[u8], family: Family, fate: KeyFate, by: Option<&[u8]>) {
        let so_far = self.count(family, fate);
        if so_far <= MAX_NAMES && self.room.take(&[name, by.unwrap_or_default()]) {
            self.shown.push(Shown {
                key: name.to_vec(),
                family,
                fate,
                by: by.map(<[u8]>::to_vec),
            });
        }
    }

    fn count(&mut self, family: Family, fate: KeyFate) -> u64 {
        let sum = &mut self.by_family[family][fate];
        *sum = sum.saturating_add(1);
        *sum
    }

    /// How many heartbeats and keys there are of the id.
    #[cfg(test)]
    pub fn found(&self) -> u64 {
        self.by_family.values().flat_map(FateMap::values).sum()
    }

    pub fn sum(&self, fate: KeyFate) -> u64 {
        let counts = self.by_family.values().map(|fates| fates[fate]);
        counts.fold(0, u64::saturating_add)
    }

    /// Write down what became of keys without an owner, if they were judged; `None` if told to stop.
    pub fn close(
        &mut self,
        collection: &ScannedKeys,
        judged: Option<&Orphans>,
        stop: &AtomicBool,
    ) -> Option<()> {
        let yields = YieldCounter::new(stop);
        for position in std::mem::take(&mut self.orphans) {
            yields.step()?;
            let Some(record) = collection.get(position) else {
                continue;
            };
            let place = judged.and_then(|orphans| orphans.keys.binary_search(&position).ok());
            let judged = judged.zip(place);
            let orphan_value =
                judged.and_then(|(o, place)| o.orphan_values.get(place).copied().flatten());
            let told_ms = orphan_value.and_then(|orphan_value| orphan_value.evidence.newest_ms);
            self.newest_evidence_ms = self.newest_evidence_ms.max(told_ms);
            let outcome = judged.and_then(|(o, place)| o.outcomes.get(place).copied());
            let fate = match outcome {
                None | Some(Outcome::Gone | Outcome::NotAsked) => KeyFate::Orphan,
                Some(Outcome::Vetoed) => KeyFate::OrphanKept,
                Some(Outcome::TooYoung) => KeyFate::OrphanTooYoung,
                Some(Outcome::Denied) => KeyFate::Denied,
                Some(Outcome::Goes) => KeyFate::OrphanRemoved,
            };
            self.add_key(record.name, record.family, fate, None);
        }
        Some(())
    }
}
