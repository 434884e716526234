//! A batch of keys leaves the keyspace, and is counted.

use super::keyspace::{Keyspace, Refusal};
use super::slice::{Batch, Slice};
use super::{BATCH_KEYS, Removal};
use crate::keys::family::Family;
use crate::report::hold::Hold;

impl Removal {
    /// Remove a batch: one UNLINK for each family, so that its count says what was removed of which
    /// kind, and heartbeats last. All of it is one transaction in AOF and replicas.
    pub(super) fn unlink<K: Keyspace>(
        &mut self,
        space: &mut K,
        slice: Slice,
        batch: &Batch<K::Name>,
    ) -> Result<(), String> {
        let order = Family::ALL.into_iter().filter(|f| *f != Family::Heartbeat);
        let not_owned = self.counts.keys_not_owned;
        for family in order.chain([Family::Heartbeat]) {
            if family == Family::Heartbeat && self.counts.keys_not_owned > not_owned {
                self.keep_heartbeats();
                break;
            }
            let keys = &batch[family];
            // In a cluster one command may name keys of one slot only.
            let size = if slice.cluster {
                1
            } else {
                BATCH_KEYS.max(keys.len())
            };
            // For obituaries what went must be counted by owner; without them all have the same.
            let parts = keys.chunk_by(|(_, owner), (_, next)| owner == next);
            for part in parts.flat_map(|part| part.chunks(size)) {
                match space.unlink(part.iter().map(|(key, _)| key)) {
                    Ok(count) => {
                        self.count(family, count, part.len());
                        let owner = part.first().map(|(_, owner)| *owner);
                        if let (Some(all), Some(owner)) = (&mut self.obituaries, owner) {
                            all.removed(owner, family, count);
                        }
                    }
                    Err(Refusal::NotOwned) => {
                        self.count(family, 0, part.len());
                        let count = part.len() as u64;
                        self.counts.keys_not_owned =
                            self.counts.keys_not_owned.saturating_add(count);
                    }
                    Err(Refusal::Refused(text)) => return Err(text),
                }
            }
        }
        Ok(())
    }

    /// Keys have gone to another node since the last look at the slots. Their owners are not known any more, and
    /// they can be found again only through a heartbeat: no heartbeat of this batch goes, nor that of an unfinished
    /// family.
    fn keep_heartbeats(&mut self) {
        let leaving = std::mem::take(&mut self.leaving);
        let unfinished = self.plan.doomed.get(self.next_family).map(|d| d.heartbeat);
        for number in leaving {
            self.counts.held.add(Hold::Elsewhere);
            self.hold(number);
        }
        if let Some(number) = unfinished {
            self.hold(number);
        }
    }

    /// Counts what UNLINK says that it removed of so many keys.
    fn count(&mut self, family: Family, count: u64, asked: usize) {
        self.counts.add_removed(family, count);
        if family != Family::Heartbeat {
            return;
        }
        self.counts.coordinators_removed = self.counts.coordinators_removed.saturating_add(count);
        // Where one had gone already, the server does not say which.
        let all = count == asked as u64;
        for number in self.leaving.drain(..asked.min(self.leaving.len())) {
            if let Some(removed) = self.removed.get_mut(number as usize) {
                *removed = all;
            }
        }
    }
}
