//! One key after the other into the batch, unless something speaks against it in this slice.

use super::keyspace::Keyspace;
use super::owners::Standing;
use super::slice::{Batch, Slice};
use super::{KEY_OVERHEAD_BYTES, Removal, heartbeat_name};
use crate::cluster::locality::Locality;
use crate::plan::Doomed;
use crate::report::hold::Hold;

impl Removal {
    /// Put the next key of the family into the batch, unless something speaks against it; gives
    /// the length of its name. `None` if it has to come again, for its owners are too many for one piece of work.
    pub(super) fn take_key<K: Keyspace>(
        &mut self,
        space: &mut K,
        slice: Slice,
        family: &Doomed,
        owner: usize,
        heartbeat: &mut Option<K::Name>,
        batch: &mut Batch<K::Name>,
    ) -> Option<usize> {
        let place = self.next_key;
        self.next_key = place.saturating_add(1);
        let owners = self.owners_at(place);
        let mut others = owners.map_or(Standing::Dead, |owners| {
            self.standing_of_owners(space, slice, owners)
        });
        if others == Standing::NotYet {
            self.next_key = place;
            self.put_back_owners();
            return None;
        }
        if self.by_name.is_some() && others != Standing::Alive {
            let by_name = self.standing_by_name(space, slice, place);
            if by_name != Standing::Dead {
                others = by_name;
            }
        }
        let position = self.plan.removals.get(place);
        let Some(record) = position.and_then(|position| self.collection.get(*position)) else {
            return Some(0);
        };
        let name = record.name;
        let is_heartbeat = !family.keeps_heartbeat && self.next_key == family.end;
        self.others.steps = self.others.steps.saturating_add(self.new_keys.tries(name));
        let length = name.len();
        if others == Standing::Alive || self.new_keys.protects(name) {
            self.counts.keys_vetoed = self.counts.keys_vetoed.saturating_add(1);
            return Some(length);
        }
        let lies_here = match is_heartbeat {
            true => Locality::has_all_of,
            false => Locality::has_owners,
        };
        let shrunk = self.shrunk.as_mut();
        let why = match others {
            Standing::Held(hold) => Some(hold),
            _ if shrunk.is_some_and(|shrunk| shrunk.lacks(name, lies_here)) => {
                Some(Hold::Elsewhere)
            }
            _ => None,
        };
        if let Some(why) = why {
            self.counts.held.add(why);
            self.hold(family.heartbeat);
            if let Some(owners) = owners {
                self.hold_owners(owners);
            }
            return Some(length);
        }
        let heartbeat = heartbeat.take_if(|_| is_heartbeat);
        let string = heartbeat.unwrap_or_else(|| space.name(name));
        if !space.may_delete(&string) {
            if !space.exists(&string) {
                return Some(length);
            }
            self.counts.held.add(Hold::Denied);
            self.hold(family.heartbeat);
            return Some(length);
        }
        // What was kept can be found again only through the heartbeat.
        if is_heartbeat && self.held.get(family.heartbeat as usize) == Some(&true) {
            return Some(length);
        }
        let bytes = KEY_OVERHEAD_BYTES.saturating_add(name.len() as u64);
        self.written_bytes = self.written_bytes.saturating_add(bytes);
        batch[record.family].push((string, owner));
        self.has_large |= record.is_large;
        if is_heartbeat {
            self.leaving.push(family.heartbeat);
        }
        Some(length)
    }

    /// Leave the next key of a family whose heartbeat is gone. A key that others could own as well can
    /// be found again through their heartbeats, as far as these are there, for they have had their turn; any
    /// other has no owner now.
    pub(super) fn leave_key(&mut self, space: &mut impl Keyspace, family: &Doomed) {
        let place = self.next_key;
        self.next_key = place.saturating_add(1);
        if !family.keeps_heartbeat && self.next_key == family.end {
            return;
        }
        let owners = self.owners_at(place);
        if owners.is_some_and(|owners| self.is_another_left(space, owners, family.heartbeat)) {
            self.counts.held.add(Hold::OwnerGone);
            return;
        }
        let name = heartbeat_name(&self.collection, &self.plan, family.heartbeat);
        let shrunk = self.shrunk.as_mut();
        if shrunk.is_some_and(|shrunk| shrunk.lacks(name, Locality::has_all_of)) {
            self.counts.held.add(Hold::Elsewhere);
        } else {
            self.counts.keys_orphaned = self.counts.keys_orphaned.saturating_add(1);
        }
    }
}
