//! Before anything is removed: which of the keys that stay are there at all.
//!
//! A walk that removes does not ask every key for its TTL, so it may have counted keys that have
//! expired.

use super::keyspace::Keyspace;
use super::{KEY_OVERHEAD_BYTES, Progress, Removal};

impl Removal {
    /// Look for the keys that the plan leaves and counts, and count those no more that are gone, until
    /// `time_is_up`, which is asked after every key. The server removes what it finds expired, as it
    /// does for every reader, and tells its replicas.
    pub fn recount(
        &mut self,
        space: &mut impl Keyspace,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> Progress {
        loop {
            if let Some(waiting) = space.must_wait(self.written_bytes) {
                return Progress::Paused(waiting);
            }
            let kept = &mut self.plan.kept;
            let counts = &mut self.counts;
            let (position, hold) = if let Some(position) = kept.vetoed.pop() {
                (position, Err(&mut counts.keys_vetoed))
            } else if let Some(position) = kept.orphaned.pop() {
                (position, Err(&mut counts.keys_orphaned))
            } else if let Some((position, hold)) = kept.held.pop() {
                (position, Ok(hold))
            } else {
                return Progress::Finished;
            };
            if let Some(record) = self.collection.get(position)
                && !space.exists(&space.name(record.name))
            {
                match hold {
                    Ok(hold) => counts.held.take_back(hold),
                    Err(count) => *count = count.saturating_sub(1),
                }
                let bytes = KEY_OVERHEAD_BYTES.saturating_add(record.name.len() as u64);
                self.written_bytes = self.written_bytes.saturating_add(bytes);
            }
            if time_is_up() {
                return Progress::Unfinished;
            }
        }
    }
}
