//! Which known heartbeats could own a key: an index from ids to heartbeats.
//!
//! Pure and exact: a candidate found by its hash is compared byte by byte before it counts.

use std::sync::Arc;

use hashbrown::HashTable;

use crate::keys::layout::Layout;
use crate::keys::name_bounds::{self, MAX_OWNERS};
use crate::keys::reading::{Reading, SegmentCounts};
use crate::keys::segment_hash::SegmentHasher;
use crate::util::cooperative::YieldCounter;

/// A heartbeat's number, given by the caller that fills the index.
pub type HeartbeatNumber = u32;

/// Looks up names by heartbeat number, so that the index stores none.
pub trait Names {
    /// The key of the heartbeat with this number.
    fn name(&self, number: HeartbeatNumber) -> &[u8];
}

impl Names for Vec<Vec<u8>> {
    fn name(&self, number: HeartbeatNumber) -> &[u8] {
        self.get(number as usize)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }
}

/// A heartbeat as one of its readings says it. There is one for each coordinator, so they are kept small: names are
/// shorter than 4 GiB.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    heartbeat: HeartbeatNumber,
    /// The next heartbeat of the same id, by another template or in another swarm, as a place in the chain, or
    /// [`LAST`].
    next: u32,
    /// Where in the heartbeat's own name the id stands, and the swarm; empty without a swarm.
    id: (u32, u32),
    swarm: (u32, u32),
}

/// Stands for no further place in the chain.
const LAST: u32 = u32::MAX;

impl Entry {
    fn id_in(self, name: &[u8]) -> &[u8] {
        span(self.id, name)
    }

    fn swarm_in(self, name: &[u8]) -> &[u8] {
        span(self.swarm, name)
    }
}

fn span((start, end): (u32, u32), name: &[u8]) -> &[u8] {
    name.get(start as usize..end as usize).unwrap_or_default()
}

/// A byte range in 32 bits a bound; `None` for a name longer than any key.
fn short((start, end): (usize, usize)) -> Option<(u32, u32)> {
    Some((u32::try_from(start).ok()?, u32::try_from(end).ok()?))
}

/// The heartbeats of one id in so many swarms that they are not visited one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Crowd {
    /// The one that was added last.
    pub head: HeartbeatNumber,
    next: u32,
}

/// A heartbeat that could own a key, or a crowd of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    One(HeartbeatNumber),
    Crowd(Crowd),
}

/// The index. Fill it with heartbeats, then ask for the possible owners of any key.
#[derive(Debug, Default)]
pub struct OwnerIndex {
    layout: Arc<Layout>,
    // Of several heartbeats that are alike in what a table goes by, one is in it; the others follow in the
    // chain.
    /// Heartbeats without a swarm, by id.
    unscoped: HashTable<Entry>,
    /// Heartbeats of swarms, by swarm and id.
    scoped: HashTable<Entry>,
    /// The same, by id.
    any_swarm: HashTable<Entry>,
    chain: Vec<(HeartbeatNumber, u32)>,
    /// Heartbeats with names over the bounds, by each id that their end can spell. Their swarm is not known, so they
    /// own the keys of every swarm.
    over: HashTable<Entry>,
    segment_counts: SegmentCounts,
}

impl OwnerIndex {
    /// An empty index of heartbeats whose names this layout reads.
    pub fn new(layout: Arc<Layout>) -> Self {
        Self {
            layout,
            unscoped: HashTable::new(),
            scoped: HashTable::new(),
            any_swarm: HashTable::new(),
            chain: Vec::new(),
            over: HashTable::new(),
            segment_counts: SegmentCounts::default(),
        }
    }

    #[cfg(test)]
    fn entries(&self) -> usize {
        let chained = self.chain.len().saturating_add(self.any_swarm.len());
        let by_id = self.unscoped.len().saturating_add(self.over.len());
        by_id
            .saturating_add(self.scoped.len())
            .saturating_add(chained)
    }

    /// The layout that names are read by.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Add the heartbeat with this number. Of several scoped heartbeats of one id, the ones added last are visited
    /// first by [`Self::visit`].
    pub fn add(
        &mut self,
        heartbeat: HeartbeatNumber,
        names: &impl Names,
        hasher: &mut SegmentHasher,
    ) {
        let name = names.name(heartbeat);
        if name_bounds::is_over(name) {
            return self.add_over(heartbeat, names, hasher);
        }
        hasher.load(name);
        let layout = Arc::clone(&self.layout);
        layout.beating(name, &mut |reading| {
            let spans = short(reading.id).zip(short(reading.swarm.unwrap_or_default()));
            let Some((id, swarm)) = spans else {
                return;
            };
            self.segment_counts.add(reading.id_of(name));
            let entry = |hash| Entry {
                hash,
                heartbeat,
                next: LAST,
                id,
                swarm,
            };
            let id = reading.id_of(name);
            let same_id = |known: &Entry| known.id_in(names.name(known.heartbeat)) == id;
            let hash = hasher.by_id(reading.id);
            let chain = &mut self.chain;
            let Some(swarm) = reading.swarm else {
                return insert(&mut self.unscoped, chain, entry(hash), same_id);
            };
            let of_swarm = hasher.by_swarm_and_id(swarm, reading.id);
            let same = |known: &Entry| {
                let beating = names.name(known.heartbeat);
                same_id(known) && Some(known.swarm_in(beating)) == reading.swarm_of(name)
            };
            insert(&mut self.scoped, chain, entry(of_swarm), same);
            insert(&mut self.any_swarm, chain, entry(hash), same_id);
        });
    }

    /// Add a heartbeat with a name over the bounds.
    fn add_over(
        &mut self,
        heartbeat: HeartbeatNumber,
        names: &impl Names,
        hasher: &mut SegmentHasher,
    ) {
        let name = names.name(heartbeat);
        let end_at = name_bounds::end_of(name);
        hasher.load(name.get(end_at..).unwrap_or_default());
        let layout = Arc::clone(&self.layout);
        layout.beating_at_end(name, &mut |reading| {
            let (start, end) = reading.id;
            let in_end = (start.checked_sub(end_at), end.checked_sub(end_at));
            let ((Some(from), Some(to)), Some(id)) = (in_end, short(reading.id)) else {
                return;
            };
            let hash = hasher.by_id((from, to));
            let same = |known: &Entry| {
                known.hash == hash
                    && known.id_in(names.name(known.heartbeat)) == reading.id_of(name)
            };
            if self.over.find(hash, same).is_none() {
                self.segment_counts.add(reading.id_of(name));
                let entry = Entry {
                    hash,
                    heartbeat,
                    next: LAST,
                    id,
                    swarm: (0, 0),
                };
                self.over.insert_unique(hash, entry, |entry| entry.hash);
            }
        });
    }

    /// How many readings of the key `name` would have to be tried, at most.
    pub fn tries(&self, name: &[u8]) -> usize {
        name_bounds::segments(name).saturating_mul(self.segment_counts.iter().count())
    }

    /// All heartbeats of a crowd.
    pub fn members(&self, crowd: Crowd) -> impl Iterator<Item = HeartbeatNumber> {
        let mut next = crowd.next;
        let others = std::iter::from_fn(move || {
            let (heartbeat, after) = self.chain.get(next as usize)?;
            next = *after;
            Some(*heartbeat)
        });
        std::iter::once(crowd.head).chain(others)
    }

    /// Add hashes of the ids that the key `name` could belong to, up to so many in all. The name must be
    /// the one that `hasher` has loaded.
    pub fn hashes(&self, name: &[u8], hasher: &SegmentHasher, most: usize, hashes: &mut Vec<u64>) {
        self.layout
            .readings(name, &self.segment_counts, &mut |reading| {
                let has_room = hashes.len() < most;
                if has_room {
                    hashes.push(hasher.by_id(reading.id));
                }
                has_room
            });
    }

    /// Heartbeats with ids that have these hashes. Nothing is compared: the answer is [`Self::visit`]'s, which then
    /// finds in the processor's caches what was read here.
    pub fn candidates(&self, hashes: &[u64], numbers: &mut Vec<HeartbeatNumber>) {
        for table in [&self.unscoped, &self.any_swarm] {
            if !table.is_empty() {
                let found = |hash: &u64| table.find(*hash, |entry| entry.hash == *hash);
                let entries = hashes.iter().filter_map(found);
                numbers.extend(entries.map(|entry| entry.heartbeat));
            }
        }
    }

    /// Visit every known heartbeat that could own the key `name`, with the reading of the key
    /// that says so, until `visit` returns false or it is told to stop, which is looked at with each
    /// reading. A heartbeat may be visited more than once, and those of an id in very many swarms come
    /// together.
    /// The name must be the one that `hasher` has loaded.
    ///
    /// A reading without a swarm belongs to the unscoped heartbeat of its id and to those of any swarm. A reading
    /// with a swarm follows the heartbeat of that swarm; where that swarm has none for the id, the unscoped one.
    pub fn visit(
        &self,
        name: &[u8],
        names: &impl Names,
        hasher: &SegmentHasher,
        yields: &YieldCounter,
        visit: &mut dyn FnMut(Owner, Reading) -> bool,
    ) {
        let mut visit = |number, reading| !yields.is_told_to_stop() && visit(number, reading);
        self.layout
            .readings(name, &self.segment_counts, &mut |reading| {
                if yields.is_told_to_stop() {
                    return false;
                }
                let id = reading.id_of(name);
                let by_id = hasher.by_id(reading.id);
                let same_id = |entry: &Entry| {
                    entry.hash == by_id && entry.id_in(names.name(entry.heartbeat)) == id
                };
                let unscoped = || self.unscoped.find(by_id, same_id);
                let first = match reading.swarm {
                    None => unscoped(),
                    Some(swarm) => {
                        let of_swarm = hasher.by_swarm_and_id(swarm, reading.id);
                        let same = |entry: &Entry| {
                            let beating = names.name(entry.heartbeat);
                            entry.hash == of_swarm
                                && entry.id_in(beating) == id
                                && Some(entry.swarm_in(beating)) == reading.swarm_of(name)
                        };
                        self.scoped.find(of_swarm, same).or_else(unscoped)
                    }
                };
                let mut go_on =
                    self.follow(first, &mut |number| visit(Owner::One(number), reading));
                if go_on && !self.over.is_empty() {
                    let over = self.over.find(by_id, same_id);
                    go_on = self.follow(over, &mut |number| visit(Owner::One(number), reading));
                }
                if reading.swarm.is_none() && go_on && !self.any_swarm.is_empty() {
                    let head = self.any_swarm.find(by_id, same_id);
                    let crowd = head.map(|entry| Crowd {
                        head: entry.heartbeat,
                        next: entry.next,
                    });
                    let is_crowd = |crowd: &Crowd| self.members(*crowd).nth(MAX_OWNERS).is_some();
                    go_on = match crowd.filter(is_crowd) {
                        Some(crowd) => visit(Owner::Crowd(crowd), reading),
                        None => self.follow(head, &mut |number| visit(Owner::One(number), reading)),
                    };
                }
                go_on
            });
    }

    /// Visit the heartbeat of an entry and those that follow it, until `visit` returns false; gives what it
    /// returned last.
    fn follow(&self, head: Option<&Entry>, visit: &mut dyn FnMut(HeartbeatNumber) -> bool) -> bool {
        let Some(head) = head else {
            return true;
        };
        let mut go_on = visit(head.heartbeat);
        let mut next = head.next;
        while go_on && next != LAST {
            let Some((heartbeat, after)) = self.chain.get(next as usize) else {
                break;
            };
            go_on = visit(*heartbeat);
            next = *after;
        }
        go_on
    }
}

/// Put an entry into a table, in front of those that are the same.
fn insert(
    table: &mut HashTable<Entry>,
    chain: &mut Vec<(HeartbeatNumber, u32)>,
    entry: Entry,
    same: impl Fn(&Entry) -> bool,
) {
    match table.find_mut(entry.hash, |known| known.hash == entry.hash && same(known)) {
        None => drop(table.insert_unique(entry.hash, entry, |entry| entry.hash)),
        Some(head) => {
            // The head keeps its place in the table; the newcomer takes it over and the former head goes on in the
            // chain.
            let place = u32::try_from(chain.len()).unwrap_or(LAST);
            chain.push((head.heartbeat, head.next));
            *head = Entry {
                next: place,
                ..entry
            };
        }
    }
}

#[cfg(test)]
#[path = "owner_index_tests.rs"]
mod tests;
