//! One key after the other into the batch, unless something speaks against it in this slice.

use super::super::api::OwnString;
use super::super::{glimpse, keyspace};
use super::{Batch, KEY_OVERHEAD_BYTES, Reap, Slice, heartbeat_name};
use crate::heartbeat::Verdict;
use crate::hold::Hold;
use crate::locality::Locality;
use crate::owners::HeartbeatNumber;
use crate::plan::Doomed;

/// What another coordinator that could own a key is in this slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Dead,
    Alive,
    /// Its heartbeat has gone in another way than by this run, because its TTL passed or by
    /// somebody's hand. That may have left the key to another: a key of a swarm belongs to the
    /// unscoped heartbeat where its swarm has none. Who that is now, the next run will know.
    Gone,
}

impl Reap {
    /// Put the next key of the family into the batch, unless something speaks against it; gives
    /// the length of its name.
    pub(super) fn take_key(
        &mut self,
        slice: Slice,
        family: &Doomed,
        owner: usize,
        heartbeat: &mut Option<OwnString>,
        batch: &mut Batch,
    ) -> usize {
        let place = self.next_key;
        self.next_key = place.saturating_add(1);
        let rivals = self.standing_of_rivals(slice, place);
        let position = self.plan.removals.get(place);
        let Some(record) = position.and_then(|position| self.collection.get(*position)) else {
            return 0;
        };
        let name = record.name;
        let is_heartbeat = !family.keeps_heartbeat && self.next_key == family.end;
        if rivals == Standing::Alive || self.born.protects(name) {
            self.counts.keys_vetoed = self.counts.keys_vetoed.saturating_add(1);
            return name.len();
        }
        let length = name.len();
        if rivals == Standing::Gone {
            self.counts.held.add(Hold::OwnerGone);
            self.hold(family.heartbeat);
            self.hold_rivals(place);
            return length;
        }
        let lies_here = match is_heartbeat {
            true => Locality::has_all_of,
            false => Locality::has_owners,
        };
        let shrunk = self.shrunk.as_mut();
        if shrunk.is_some_and(|shrunk| shrunk.lacks(name, lies_here)) {
            self.counts.held.add(Hold::Elsewhere);
            self.hold(family.heartbeat);
            self.hold_rivals(place);
            return length;
        }
        // What was kept can be found again only through the heartbeat.
        if is_heartbeat && self.held.get(family.heartbeat as usize) == Some(&true) {
            return name.len();
        }
        let heartbeat = heartbeat.take_if(|_| is_heartbeat);
        let string = heartbeat.unwrap_or_else(|| OwnString::new(name));
        if !slice.user.may_delete(string.as_ptr()) {
            if !glimpse::exists(slice.ctx, &string) {
                return name.len();
            }
            self.counts.keys_denied = self.counts.keys_denied.saturating_add(1);
            self.hold(family.heartbeat);
            return length;
        }
        let bytes = KEY_OVERHEAD_BYTES.saturating_add(name.len() as u64);
        self.written_bytes = self.written_bytes.saturating_add(bytes);
        batch[record.family].push((string, owner));
        if is_heartbeat {
            self.leaving.push(family.heartbeat);
        }
        name.len()
    }

    /// The heartbeat stays.
    pub(super) fn hold(&mut self, number: HeartbeatNumber) {
        if let Some(held) = self.held.get_mut(number as usize) {
            *held = true;
        }
    }

    /// The heartbeats of all further owners of this key stay, as far as they are still there.
    pub(super) fn hold_rivals(&mut self, place: usize) {
        let first = self.plan.rivals.partition_point(|r| r.removal < place);
        let rivals = self.plan.rivals.get(first..).unwrap_or_default();
        for rival in rivals.iter().take_while(|r| r.removal == place) {
            if let Some(held) = self.held.get_mut(rival.heartbeat as usize) {
                *held = true;
            }
        }
    }

    fn standing_of_rivals(&mut self, slice: Slice, place: usize) -> Standing {
        let mut worst = Standing::Dead;
        while let Some(rival) = self.plan.rivals.get(self.next_rival).copied() {
            if rival.removal > place {
                break;
            }
            self.next_rival = self.next_rival.saturating_add(1);
            if rival.removal == place && worst != Standing::Alive {
                let standing = self.standing(slice, rival.heartbeat);
                if standing != Standing::Dead {
                    worst = standing;
                }
            }
        }
        worst
    }

    fn standing(&mut self, slice: Slice, number: HeartbeatNumber) -> Standing {
        if self.found_dead.get(number as usize) == Some(&slice.number) {
            return Standing::Dead;
        }
        let name = heartbeat_name(&self.collection, &self.plan, number);
        let string = OwnString::new(name);
        let standing = match keyspace::read_heartbeat(slice.ctx, &string, slice.reader) {
            Some(beat) => match self.verdict(slice, name, beat) {
                Verdict::Stale { .. } => Standing::Dead,
                Verdict::Live | Verdict::Unreadable => Standing::Alive,
            },
            None if self.removed.get(number as usize) == Some(&true) => Standing::Dead,
            None => Standing::Gone,
        };
        if standing == Standing::Dead {
            self.mark_dead(slice, number);
        }
        standing
    }
}
