//! The last part of a run: remove what the plan named, trusting nothing older than this slice.
//!
//! Before a coordinator's keys go, its heartbeat is read again, and so are those of every other
//! stale coordinator that could own one of them; every key that a newer heartbeat could own stays.
//! A small family goes in one piece. A large one goes in parts, its heartbeat in the last.

mod batch;
mod by_name;
mod keys;
pub mod keyspace;
pub mod new_keys;
pub mod orphan_check;
pub mod orphans;
mod owners;
mod recount;
pub mod slice;

use by_name::ByName;
use keyspace::Keyspace;
use new_keys::NewKeys;
use orphans::{OrphanRemoval, RemovalContext};
use owners::Others;
use slice::{Batch, Slice};

use std::sync::Arc;

use crate::cluster::locality::Shrunk;
use crate::heartbeat::reader::Beat;
use crate::heartbeat::{self, Verdict};
use crate::keys::family::Family;
use crate::keys::layout::Layout;
use crate::keys::owner_index::HeartbeatNumber;
use crate::plan::heartbeats::{self, HeartbeatNames};
use crate::plan::second_look::Fingerprints;
use crate::plan::{Doomed, Plan};
use crate::report::obituary::{Dead, MAX_VALUE_BYTES, Obituaries, Rule};
use crate::report::progress::Waiting;
use crate::report::{Counts, Status};
use crate::scan::scanned_keys::ScannedKeys;

/// Keys that one batch unlinks. It is the smallest piece of work between two looks at the clock;
/// measured, a batch of small keys takes some 40 us.
const BATCH_KEYS: usize = 64;

/// Bytes of names that one batch looks at. Names may be as long as 256 KiB, and copying and hashing
/// 64 of those would take many slices' time.
const BATCH_BYTES: usize = 32 * 1024;

/// After so many steps, of which a usual key takes one, a batch looks at the clock.
const BATCH_STEPS: usize = 256;

/// The server frees strings on the spot. After an UNLINK that took longer than so many slices, the next has
/// fewer keys, as many as that time was for, and then twice as many each time.
const SLOW_UNLINK_SLICES: u64 = 16;

/// What a key costs in the stream to replicas and AOF beside its name.
const KEY_OVERHEAD_BYTES: u64 = 16;

/// How a slice of the removal ended.
#[derive(Debug)]
pub enum Progress {
    Unfinished,
    Finished,
    Paused(Waiting),
    /// The server refuses to remove anything; its own words.
    Refused(String),
}

/// A removal under way.
#[derive(Debug)]
pub struct Removal {
    pub collection: ScannedKeys,
    pub plan: Plan,
    pub new_keys: NewKeys,
    /// The server tells of every heartbeat that comes into being.
    hears_births: bool,
    shrunk: Option<Shrunk>,
    /// None while they are switched off.
    pub obituaries: Option<Obituaries>,
    /// Keys without an owner, which go when the families are gone.
    pub orphan_removal: Option<OrphanRemoval>,
    /// Why orphans that should have been judged were not, and the status that goes with it.
    pub orphans_stay: Option<(Status, &'static str)>,
    /// For a second look: what the run before saw.
    pub before: Option<Arc<Fingerprints>>,
    /// What was really removed, kept and found; starts from what the plan only knew.
    pub counts: Counts,
    next_family: usize,
    next_key: usize,
    others: Others,
    /// Where the server does not tell of every new key.
    by_name: Option<ByName>,
    /// How many keys the next batch may have.
    room: usize,
    /// The batch at hand has a key that takes long to free.
    has_large: bool,
    /// By heartbeat number: something was kept that it still owns, so it stays.
    held: Vec<bool>,
    /// By heartbeat number: the slice in which it was last found not to protect anything.
    found_dead: Vec<u64>,
    /// By heartbeat number: removed by this run.
    removed: Vec<bool>,
    /// The coordinators whose heartbeats are in the batch at hand, in its order.
    leaving: Vec<HeartbeatNumber>,
    /// What the removals so far take in the stream to replicas, about.
    written_bytes: u64,
    /// The longest reading of heartbeats before an UNLINK, since the run took this into its account.
    pub longest_read_us: u64,
}

impl Removal {
    /// The status that goes with a run that was not cut short.
    pub fn status(&self) -> Status {
        let plan = &self.plan;
        if plan.refused.is_some() {
            Status::Refused
        } else if plan.truncated || plan.has_latecomers {
            Status::Truncated
        } else if plan.limited {
            Status::Limited
        } else if self.counts.held.is_empty() && self.counts.keys_not_owned == 0 {
            Status::Complete
        } else {
            Status::Partial
        }
    }

    /// Everything still to do.
    ///
    /// Called on the worker thread: at a million heartbeats it would take a slice of its own.
    pub fn new(
        collection: ScannedKeys,
        plan: Plan,
        layout: &Arc<Layout>,
        hears_births: bool,
    ) -> Self {
        let heartbeats = HeartbeatNames {
            collection: &collection,
            positions: &plan.heartbeats,
        };
        let by_name = (!hears_births).then(|| ByName::new(layout, &heartbeats));
        let mut counts = plan.counts;
        counts.coordinators_removed = 0;
        counts.keys_by_family = Default::default();
        Self {
            found_dead: vec![0; plan.heartbeats.len()],
            removed: vec![false; plan.heartbeats.len()],
            held: vec![false; plan.heartbeats.len()],
            leaving: Vec::new(),
            collection,
            plan,
            new_keys: NewKeys::default(),
            hears_births,
            shrunk: None,
            obituaries: None,
            orphan_removal: None,
            orphans_stay: None,
            before: None,
            counts,
            next_family: 0,
            next_key: 0,
            others: Others::default(),
            by_name,
            room: BATCH_KEYS,
            has_large: false,
            written_bytes: 0,
            longest_read_us: 0,
        }
    }

    /// Keys to be removed, and those dealt with so far.
    pub fn progress(&self) -> (u64, u64) {
        let (planned, done) = self
            .orphan_removal
            .as_ref()
            .map(OrphanRemoval::progress)
            .unwrap_or_default();
        let families = self.plan.removals.len() as u64;
        let families_done = self.next_key as u64;
        (
            families.saturating_add(planned),
            families_done.saturating_add(done),
        )
    }

    fn families_are_over(&self) -> bool {
        self.next_family >= self.plan.doomed.len()
    }

    /// Whether nothing is left to remove.
    pub fn is_over(&self) -> bool {
        self.families_are_over()
            && self
                .orphan_removal
                .as_ref()
                .is_none_or(OrphanRemoval::is_over)
    }

    /// Remove until `time_is_up`, which is asked after every batch.
    pub fn slice<K: Keyspace>(
        &mut self,
        space: &mut K,
        slice: Slice,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> Progress {
        let mut batch = Batch::default();
        for family in Family::ALL {
            batch[family].reserve(BATCH_KEYS / Family::ALL.len());
        }
        loop {
            if let Some(waiting) = space.must_wait(self.written_bytes) {
                return Progress::Paused(waiting);
            }
            if let Some(rest) = space.moved_slots(&slice.reader.layout) {
                self.shrunk = Some(Shrunk::new(rest));
            }
            let orphans = self.families_are_over();
            let Self {
                new_keys,
                orphan_removal,
                ..
            } = self;
            let orphan_removal = orphan_removal.as_mut().filter(|_| orphans);
            if !new_keys.drain(space, time_is_up)
                || orphan_removal
                    .is_some_and(|orphan_removal| !orphan_removal.hear_of_births(space, time_is_up))
            {
                return Progress::Unfinished;
            }
            if orphans {
                self.fill_orphans(space, slice, &mut batch, time_is_up);
            } else {
                let began_us = space.now_us();
                self.fill(space, slice, &mut batch, time_is_up);
                let took_us = space.now_us().saturating_sub(began_us);
                self.longest_read_us = took_us.max(self.longest_read_us);
            }
            let before = self.counts.keys_removed();
            let began_us = space.now_us();
            let outcome = self.unlink(space, slice, &batch);
            let took_us = space.now_us().saturating_sub(began_us);
            let keys = batch.values().map(Vec::len).sum::<usize>() as u64;
            Family::ALL
                .into_iter()
                .for_each(|family| batch[family].clear());
            let slow_us = slice.slice_us.saturating_mul(SLOW_UNLINK_SLICES);
            self.room = if took_us > slow_us {
                let fewer = keys.saturating_mul(slow_us).checked_div(took_us);
                fewer.unwrap_or_default().clamp(1, BATCH_KEYS as u64) as usize
            } else {
                self.room.saturating_mul(2).min(BATCH_KEYS)
            };
            if let Some(obituaries) = &mut self.obituaries {
                let bytes = space.write_obituaries(obituaries);
                self.written_bytes = self.written_bytes.saturating_add(bytes);
            }
            if orphans {
                let removed = self.counts.keys_removed().saturating_sub(before);
                self.counts.orphans_removed = self.counts.orphans_removed.saturating_add(removed);
            }
            if let Err(refused) = outcome {
                return Progress::Refused(refused);
            }
            if self.is_over() {
                return Progress::Finished;
            }
            if time_is_up() {
                return Progress::Unfinished;
            }
        }
    }

    /// Fill a batch with whole families, or with a part of one that is larger than a batch, be it
    /// by its keys or by the length of their names.
    /// Whatever of that takes longer than usual is followed by a look at the clock.
    fn fill<K: Keyspace>(
        &mut self,
        space: &mut K,
        slice: Slice,
        batch: &mut Batch<K::Name>,
        time_is_up: &mut dyn FnMut() -> bool,
    ) {
        let next = self.plan.removals.get(self.next_key..).unwrap_or_default();
        self.collection.touch(next.iter().take(BATCH_KEYS));
        let most = self.room;
        let mut room = most;
        self.has_large = false;
        self.others.steps = 0;
        let mut bytes = 0usize;
        while let Some(family) = self.plan.doomed.get(self.next_family).copied() {
            let left = family.end.saturating_sub(self.next_key);
            let is_small = family.end.saturating_sub(family.first) <= most;
            if self.others.steps > BATCH_STEPS {
                self.others.steps = 0;
                if time_is_up() {
                    return;
                }
            }
            if self.has_crowds_to_hold() && !self.hold_crowds(time_is_up) {
                return;
            }
            if room == 0 || bytes > BATCH_BYTES || self.has_large || (is_small && left > room) {
                return;
            }
            let name = heartbeat_name(&self.collection, &self.plan, family.heartbeat);
            bytes = bytes.saturating_add(name.len());
            let heartbeat = space.name(name);
            let read_before = space.bytes_read();
            let verdict = self.look_again(space, slice, &family, &heartbeat);
            let read_bytes = space.bytes_read().saturating_sub(read_before);
            match verdict {
                Some(Verdict::Stale { age_s }) => {
                    let owner = self.open_obituary(space, slice, &family, age_s);
                    let mut heartbeat = Some(heartbeat);
                    let mut own_bytes = 0usize;
                    for _ in 0..left.min(room) {
                        let Some(name_bytes) =
                            self.take_key(space, slice, &family, owner, &mut heartbeat, batch)
                        else {
                            return;
                        };
                        own_bytes = own_bytes.saturating_add(name_bytes);
                        room = room.saturating_sub(1);
                        // Only a family that is too long by itself is cut, or one that takes long.
                        if own_bytes > BATCH_BYTES
                            || self.has_large
                            || self.others.steps > BATCH_STEPS
                            || self.has_crowds_to_hold()
                        {
                            break;
                        }
                    }
                    bytes = bytes.saturating_add(own_bytes);
                    if self.next_key >= family.end {
                        self.skip_family(&family);
                    }
                }
                Some(Verdict::Live | Verdict::Unreadable) => {
                    self.counts.coordinators_revived =
                        self.counts.coordinators_revived.saturating_add(1);
                    self.skip_family(&family);
                }
                // Whether another owner of its keys is still there is known when the batch is gone.
                None if !self.leaving.is_empty() => return,
                // Its TTL passed, or a client removed it. Without it nothing proves death.
                None => {
                    for _ in 0..left.min(room) {
                        self.leave_key(space, &family);
                        room = room.saturating_sub(1);
                        if self.others.steps > BATCH_STEPS {
                            break;
                        }
                    }
                    if self.next_key >= family.end {
                        self.skip_family(&family);
                    }
                }
            }
            self.others.steps = self.others.steps.saturating_add(read_bytes / 64);
            // Reading the heartbeat takes time of its own, so it counts as a key.
            room = room.saturating_sub(1);
        }
    }

    fn fill_orphans<K: Keyspace>(
        &mut self,
        space: &mut K,
        slice: Slice,
        batch: &mut Batch<K::Name>,
        time_is_up: &mut dyn FnMut() -> bool,
    ) {
        let Some(orphan_removal) = &mut self.orphan_removal else {
            return;
        };
        let rest = RemovalContext {
            collection: &self.collection,
            new_keys: &mut self.new_keys,
            counts: &mut self.counts,
            obituaries: self.obituaries.as_mut(),
            room: BATCH_KEYS,
            shrunk: self.shrunk.as_mut(),
        };
        let bytes = orphan_removal.fill(space, slice, rest, batch, time_is_up);
        let keys = batch
            .values()
            .fold(0u64, |sum, keys| sum.saturating_add(keys.len() as u64));
        let bytes = bytes.saturating_add(keys.saturating_mul(KEY_OVERHEAD_BYTES));
        self.written_bytes = self.written_bytes.saturating_add(bytes);
    }

    /// The number of a coordinator among the obituaries.
    fn open_obituary(
        &mut self,
        space: &mut impl Keyspace,
        slice: Slice,
        family: &Doomed,
        age_s: i64,
    ) -> usize {
        let Some(obituaries) = &mut self.obituaries else {
            return 0;
        };
        let name = heartbeat_name(&self.collection, &self.plan, family.heartbeat);
        let reading = heartbeats::coordinator(name, &slice.reader.layout);
        let string = space.name(name);
        let beat = space.beginning(&string, slice.reader, MAX_VALUE_BYTES);
        obituaries.open(Dead {
            rule: Rule::Stale,
            id: reading.map(|r| r.id_of(name)).unwrap_or_default(),
            swarm: reading.and_then(|r| r.swarm_of(name)),
            age_s,
            beat: &beat,
        })
    }

    fn skip_family(&mut self, family: &Doomed) {
        self.next_key = family.end;
        self.next_family = self.next_family.saturating_add(1);
    }

    /// The verdict on a coordinator in this slice; `None` if its heartbeat is gone.
    fn look_again<K: Keyspace>(
        &mut self,
        space: &mut K,
        slice: Slice,
        family: &Doomed,
        heartbeat: &K::Name,
    ) -> Option<Verdict> {
        let name = heartbeat_name(&self.collection, &self.plan, family.heartbeat);
        if self.new_keys.protects(name) {
            return Some(Verdict::Live);
        }
        let beat = space.heartbeat(heartbeat, slice.reader)?;
        let verdict = self.verdict(slice, name, beat);
        if matches!(verdict, Verdict::Stale { .. }) {
            self.mark_dead(slice, family.heartbeat);
        }
        Some(verdict)
    }

    /// What a heartbeat means in this slice. One that is old but holds other bytes than the run
    /// before saw has been written since, so its coordinator is alive.
    fn verdict(&self, slice: Slice, name: &[u8], beat: Beat) -> Verdict {
        let verdict = heartbeat::verdict(beat.reading, slice.now_ms, slice.threshold_s);
        match (verdict, &self.before, &slice.reader.prints) {
            (Verdict::Stale { .. }, Some(before), Some(prints))
                if !before.confirm(prints.of(name), beat.print) =>
            {
                Verdict::Live
            }
            _ => verdict,
        }
    }

    fn mark_dead(&mut self, slice: Slice, number: HeartbeatNumber) {
        if let Some(found) = self.found_dead.get_mut(number as usize) {
            *found = slice.number;
        }
    }
}

/// The key of a heartbeat by its number.
fn heartbeat_name<'c>(
    collection: &'c ScannedKeys,
    plan: &Plan,
    number: HeartbeatNumber,
) -> &'c [u8] {
    let position = plan.heartbeats.get(number as usize);
    position
        .and_then(|position| collection.get(*position))
        .map(|record| record.name)
        .unwrap_or_default()
}

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;
