//! Prefetching: the tables and names that the next keys need lie all over memory. Independent reads wait for
//! memory together, and the reads that follow find it in the cache.

use std::hint::black_box;

use super::Planner;
use crate::keys::name_bounds;
use crate::keys::owner_index::HeartbeatNumber;
use crate::plan::heartbeats::Seen;
use crate::scan::scanned_keys::Position;

/// How many keys are looked at together.
pub(super) const KEYS: usize = 32;

/// Whether a collection of so many bytes is in the processor's caches anyway. In tests none is, so that they would
/// notice if reading ahead made a difference to the plan.
fn is_cached(bytes: usize) -> bool {
    const CACHED_BYTES: usize = 8 * 1024 * 1024;
    bytes < CACHED_BYTES && !cfg!(test)
}

/// Of a name with thousands of readings not all are read ahead.
const MAX_HASHES: usize = 256;

/// What was found so far of the keys at hand; a buffer that is used again and again.
#[derive(Debug, Default)]
pub(super) struct Prefetch {
    wholes: Vec<u64>,
    ids: Vec<u64>,
    numbers: Vec<HeartbeatNumber>,
    positions: Vec<Position>,
}

impl Planner<'_> {
    /// Read what it takes to find the possible owners of these keys, and whether they were seen.
    pub(super) fn read_ahead<'n>(
        &mut self,
        names: impl Iterator<Item = &'n [u8]>,
        seen: Option<&Seen>,
    ) {
        if is_cached(self.collection.bytes()) {
            return;
        }
        let Prefetch {
            wholes,
            ids,
            numbers,
            positions,
        } = &mut self.ahead;
        wholes.clear();
        ids.clear();
        numbers.clear();
        positions.clear();
        for name in names {
            self.hasher.load(name);
            wholes.push(self.hasher.whole());
            if name_bounds::is_over(name) {
                continue;
            }
            self.owners.hashes(name, &self.hasher, MAX_HASHES, ids);
        }
        if let Some(seen) = seen {
            black_box(wholes.iter().filter(|hash| seen.may_hold(**hash)).count());
        }
        self.owners.candidates(ids, numbers);
        let known = &self.heartbeats.positions;
        positions.extend(numbers.iter().filter_map(|n| known.get(*n as usize)));
        self.collection.touch(positions.iter());
    }
}
