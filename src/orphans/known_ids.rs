//! Which evidence speaks for which id: the rule by which one key's youth protects another.
//!
//! The evidence of a key always counts for the key itself. Beyond that it speaks for every *known* id that the key
//! could belong to. An id is known when an orphan names it that can be read in one way only: a signal, an activity or
//! state key, `blocking:ack:{id}` without a colon in it. Without that limit an idempotency key, which has its type
//! and its iteration among its possible owners, would let one fresh message protect those of the whole fleet for
//! ever.
//!
//! Swarms are treated as with heartbeats. What a key without a swarm says of an id counts for keys of that id in
//! every swarm; what a key of a swarm says counts for keys of that id in the same swarm and for those without one.
//!
//! Ids are looked up by a keyed hash alone. Should two ever collide, they protect each other.

use std::sync::Arc;

use hashbrown::HashTable;

use crate::keys::layout::Layout;
use crate::keys::name_bounds;
use crate::keys::reading::{Reading, SegmentCounts};
use crate::keys::segment_hash::SegmentHasher;
use crate::util::cooperative::YieldCounter;

/// Told apart from an id without a swarm: the same id in whatever swarm.
const ANY_SWARM: u64 = 0x5851_f42d_4c95_7f2d;
/// The same for a whole name.
const WHOLE_NAME: u64 = 0x1405_7b7e_f767_814f;

/// What is known of one id, or of one id in one swarm, or of one id in whatever swarm.
#[derive(Clone, Copy, Debug)]
struct Claim {
    hash: u64,
    newest_ms: i64,
    /// The orphans that name this id and no other, as a chain of links.
    first_link: Option<u32>,
    links: u32,
}

/// Everything that was said of ids. Fill it with the keys that make ids known, then with evidence.
#[derive(Debug, Default)]
pub struct KnownIds {
    layout: Arc<Layout>,
    hasher: SegmentHasher,
    lengths: SegmentCounts,
    table: HashTable<Claim>,
    /// A place among the orphans, and the next link.
    links: Vec<(u32, Option<u32>)>,
}

impl KnownIds {
    /// Nothing said yet, of keys that this layout reads.
    pub fn new(layout: Arc<Layout>) -> Self {
        Self {
            layout,
            ..Self::default()
        }
    }

    /// The layout that keys are read by.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Whether no id is known.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// How many readings of the key `name` would have to be tried, at most.
    pub fn tries(&self, name: &[u8]) -> usize {
        name_bounds::segments(name).saturating_mul(self.lengths.iter().count())
    }

    /// Make `name` the key that the other calls are about.
    pub fn load(&mut self, name: &[u8]) {
        self.hasher.load(name);
    }

    /// The hashes under which a reading of the loaded key speaks.
    fn spoken(&self, reading: Reading) -> [Option<u64>; 2] {
        let by_id = self.hasher.by_id(reading.id);
        match reading.swarm {
            None => [Some(by_id), None],
            Some(swarm) => [
                Some(self.hasher.by_swarm_and_id(swarm, reading.id)),
                Some(by_id ^ ANY_SWARM),
            ],
        }
    }

    /// The hashes that a reading of the loaded key listens to.
    fn heard(&self, reading: Reading) -> [u64; 2] {
        let by_id = self.hasher.by_id(reading.id);
        match reading.swarm {
            None => [by_id, by_id ^ ANY_SWARM],
            Some(swarm) => [self.hasher.by_swarm_and_id(swarm, reading.id), by_id],
        }
    }

    fn find(&self, hash: u64) -> Option<&Claim> {
        self.table.find(hash, |claim| claim.hash == hash)
    }

    fn entry(&mut self, hash: u64) -> &mut Claim {
        let same = |claim: &Claim| claim.hash == hash;
        let new = || Claim {
            hash,
            newest_ms: i64::MIN,
            first_link: None,
            links: 0,
        };
        let entry = self.table.entry(hash, same, |claim| claim.hash);
        entry.or_insert_with(new).into_mut()
    }

    /// The loaded key `name`, at this place among the orphans, can be read in this one way only: its id is known from
    /// now on.
    pub fn make_known(&mut self, name: &[u8], reading: Reading, place: u32) {
        self.lengths.add(reading.id_of(name));
        for hash in self.spoken(reading).into_iter().flatten() {
            let link = u32::try_from(self.links.len()).ok();
            let claim = self.entry(hash);
            let next = std::mem::replace(&mut claim.first_link, link);
            claim.links = claim.links.saturating_add(1);
            self.links.push((place, next));
        }
    }

    /// Every reading of the loaded key `name` that gives a known id, until `visit` returns false or it is told to
    /// stop, which is looked at with each reading: a name may have very many.
    fn known_readings(
        &self,
        name: &[u8],
        yields: &YieldCounter,
        visit: &mut dyn FnMut(Reading) -> bool,
    ) {
        self.layout.readings(name, &self.lengths, &mut |reading| {
            let mut heard = self.heard(reading).into_iter();
            let is_known = heard.any(|hash| self.find(hash).is_some());
            !yields.is_told_to_stop() && (!is_known || visit(reading))
        });
    }

    /// The first reading of the loaded key `name` that gives a known id.
    pub fn first_known(&self, name: &[u8], yields: &YieldCounter) -> Option<Reading> {
        let mut first = None;
        self.known_readings(name, yields, &mut |reading| {
            first = Some(reading);
            false
        });
        first
    }

    /// The loaded key `name` is as young as this: say so of every known id it could belong to.
    pub fn speak(&mut self, name: &[u8], newest_ms: i64, yields: &YieldCounter) {
        let mut hashes = Vec::new();
        self.known_readings(name, yields, &mut |reading| {
            hashes.extend(self.spoken(reading).into_iter().flatten());
            true
        });
        for hash in hashes {
            let claim = self.entry(hash);
            claim.newest_ms = claim.newest_ms.max(newest_ms);
        }
    }

    /// The loaded key `name` was written while the run is on: it is as young as can be, and so is every id that it
    /// makes known.
    pub fn note_new_key(&mut self, name: &[u8], only_reading: Option<Reading>) {
        self.entry(self.hasher.whole() ^ WHOLE_NAME).newest_ms = i64::MAX;
        if let Some(reading) = only_reading {
            self.lengths.add(reading.id_of(name));
            for hash in self.spoken(reading).into_iter().flatten() {
                self.entry(hash).newest_ms = i64::MAX;
            }
        }
        self.speak(name, i64::MAX, &YieldCounter::unstoppable());
    }

    /// The newest that was said of any id in these readings of the loaded key, or of the key itself.
    pub fn newest_ms(&self, readings: &[Reading]) -> i64 {
        let heard = readings.iter().flat_map(|reading| self.heard(*reading));
        let hashes = heard.chain([self.hasher.whole() ^ WHOLE_NAME]);
        let claims = hashes.filter_map(|hash| self.find(hash));
        claims
            .map(|claim| claim.newest_ms)
            .max()
            .unwrap_or(i64::MIN)
    }

    /// How many orphans there are that speak for an id in these readings of the loaded key; one that does so in
    /// several ways counts as often.
    pub fn speakers(&self, readings: &[Reading]) -> usize {
        let heard = readings.iter().flat_map(|reading| self.heard(*reading));
        let claims = heard.filter_map(|hash| self.find(hash));
        claims.fold(0, |sum, claim| sum.saturating_add(claim.links as usize))
    }

    /// The places of those orphans.
    pub fn visit_speakers(&self, readings: &[Reading], visit: &mut dyn FnMut(u32)) {
        for hash in readings.iter().flat_map(|reading| self.heard(*reading)) {
            let mut next = self.find(hash).and_then(|claim| claim.first_link);
            while let Some((place, after)) = next.and_then(|at| self.links.get(at as usize)) {
                visit(*place);
                next = *after;
            }
        }
    }
}
