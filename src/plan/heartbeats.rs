//! Every different heartbeat that the walk kept, once, with its verdict and its id.
//!
//! The first step of the plan, and what the other steps know of heartbeats. Which keys go with which heartbeat is not
//! decided here.

use hashbrown::HashTable;

use crate::heartbeat::{self, Verdict};
use crate::keys::layout::Layout;
use crate::keys::name_bounds;
use crate::keys::owner_index::{HeartbeatNumber, Names};
use crate::keys::reading::Reading;
use crate::keys::segment_hash::SegmentHasher;
use crate::plan::Question;
use crate::scan::scanned_keys::{Position, ScannedKeys};
use crate::util::cooperative::YieldCounter;

/// A heartbeat's name by its number, as the owners index wants it.
pub struct HeartbeatNames<'c> {
    pub collection: &'c ScannedKeys,
    pub positions: &'c [Position],
}

impl Names for HeartbeatNames<'_> {
    fn name(&self, number: HeartbeatNumber) -> &[u8] {
        self.positions
            .get(number as usize)
            .and_then(|position| self.collection.get(*position))
            .map(|record| record.name)
            .unwrap_or_default()
    }
}

/// Each different heartbeat once, with all that was read of it.
pub struct Heartbeats {
    pub positions: Vec<Position>,
    pub verdicts: Vec<Verdict>,
    pub beats_ms: Vec<i64>,
}

/// Every different heartbeat of the collection with its verdict. One that the walk saw twice counts with its newest
/// beat and with every doubt.
pub fn judge_heartbeats(
    collection: &ScannedKeys,
    question: &Question,
    hasher: &mut SegmentHasher,
    yields: &YieldCounter,
) -> Option<Heartbeats> {
    let mut positions: Vec<Position> = Vec::new();
    let mut readings: Vec<heartbeat::Reading> = Vec::new();
    let mut numbers: HashTable<(u64, usize)> = HashTable::new();
    for (position, record) in collection.iter() {
        yields.step()?;
        let Some(beat) = record.beat else {
            continue;
        };
        yields.name(record.name)?;
        hasher.load(record.name);
        let hash = hasher.whole();
        let same = |(_, number): &(u64, usize)| {
            let known = positions.get(*number).and_then(|p| collection.get(*p));
            known.is_some_and(|known| known.name == record.name)
        };
        if let Some((_, number)) = numbers.find(hash, same) {
            if let Some(reading) = readings.get_mut(*number) {
                *reading = reading.merged(beat);
            }
        } else {
            numbers.insert_unique(hash, (hash, positions.len()), |(hash, _)| *hash);
            positions.push(position);
            readings.push(beat);
        }
    }
    let layout = &question.layout;
    let mut verdicts = Vec::with_capacity(readings.len());
    let mut beats_ms = Vec::with_capacity(readings.len());
    for (reading, position) in readings.iter().zip(&positions) {
        let record = collection.get(*position);
        let name = record.map(|record| record.name).unwrap_or_default();
        yields.name(name)?;
        let Question {
            now_ms,
            threshold_s,
            ..
        } = question;
        verdicts.push(judge(name, *reading, *now_ms, *threshold_s, layout));
        beats_ms.push(reading.newest_ms.unwrap_or_default());
    }
    Some(Heartbeats {
        verdicts,
        beats_ms,
        positions,
    })
}

/// The verdict on a heartbeat of this name.
pub fn judge(
    name: &[u8],
    reading: heartbeat::Reading,
    now_ms: i64,
    threshold_s: u32,
    layout: &Layout,
) -> Verdict {
    match heartbeat::verdict(reading, now_ms, threshold_s) {
        // Stale, but under a name that no cleanup may remove, or that is over the bounds: it proves nothing.
        Verdict::Stale { .. } if layout.is_never_touched(name) || name_bounds::is_over(name) => {
            Verdict::Unreadable
        }
        verdict => verdict,
    }
}

/// Room for a number of names met before, so that a key the walk reported twice counts once.
pub struct Seen {
    table: HashTable<Position>,
}

impl Seen {
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            table: HashTable::with_capacity(capacity),
        }
    }

    /// Whether a name with this hash may have been seen. Looks where [`Self::is_new`] will look.
    pub fn may_hold(&self, hash: u64) -> bool {
        self.table.find(hash, |_| true).is_some()
    }

    /// Whether this name, which has this hash, comes for the first time.
    pub fn is_new(
        &mut self,
        collection: &ScannedKeys,
        name: &[u8],
        position: Position,
        hash: u64,
    ) -> bool {
        let name_at = |p: &Position| {
            collection
                .get(*p)
                .map(|record| record.name)
                .unwrap_or_default()
        };
        if self.table.find(hash, |p| name_at(p) == name).is_some() {
            return false;
        }
        // The capacity was given, so the table never grows and never hashes again.
        self.table.insert_unique(hash, position, |_| hash);
        true
    }
}

/// The reading of a heartbeat's name that names the coordinator: the one with the longest id.
pub fn coordinator(name: &[u8], layout: &Layout) -> Option<Reading> {
    let length = |reading: Reading| reading.id.1.saturating_sub(reading.id.0);
    let mut longest = None;
    layout.beating(name, &mut |reading| {
        if longest.is_none_or(|known| length(known) < length(reading)) {
            longest = Some(reading);
        }
    });
    longest
}

/// The id that MATCH looks at.
pub fn id_of<'n>(heartbeat: &'n [u8], layout: &Layout) -> &'n [u8] {
    coordinator(heartbeat, layout)
        .map(|reading| reading.id_of(heartbeat))
        .unwrap_or_default()
}

/// The id as listed: `{id}`, or `swarm:{swarm}:{id}` for a swarm-scoped coordinator.
pub fn shown_id(heartbeat: &[u8], layout: &Layout) -> Vec<u8> {
    let Some(reading) = coordinator(heartbeat, layout) else {
        return Vec::new();
    };
    let id = reading.id_of(heartbeat);
    match reading.swarm_of(heartbeat) {
        None => id.to_vec(),
        Some(swarm) => [b"swarm:", swarm, b":", id].concat(),
    }
}
