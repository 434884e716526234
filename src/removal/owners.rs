//! Whether the other coordinators that could own a key are dead in this slice.
//!
//! A key that several could own goes in the turn of the last of them. By then the run has removed the
//! others, each proved dead in its own slice; one that comes back is a new key, of which the server tells the run.
//! Read again are only the owners that are still there, or that could come back without an event.

use super::keyspace::Keyspace;
use super::slice::Slice;
use super::{Removal, heartbeat_name};
use crate::heartbeat::Verdict;
use crate::keys::name_bounds::{MAX_OWNERS, MAX_OWNERS_BYTES};
use crate::keys::owner_index::HeartbeatNumber;
use crate::plan::{Member, SetNumber};
use crate::report::hold::Hold;

/// What another coordinator that could own a key is in this slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Dead,
    Alive,
    /// It stays, for a cause that is no life.
    Held(Hold),
    /// There is more to look at than a piece of work is for: ask again.
    NotYet,
}

/// The heartbeat of an owner has gone in another way than by this run, because its TTL passed or a
/// client removed it. That may have left the key to another: a key of a swarm belongs to the
/// unscoped heartbeat where its swarm has none. The next run will know which one that is now.
const GONE: Standing = Standing::Held(Hold::OwnerGone);

/// So many members of a crowd are looked at in one piece of work.
const CROWD_PIECE: usize = 4096;

/// What is known of a crowd.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// How many of it have gone from its beginning on; it is in the order of removal.
    gone: usize,
    /// In the slice of this number it stood so.
    slice: u64,
    standing: Standing,
    /// The heartbeats of all of it stay.
    is_held: bool,
}

/// What is known of the owners of keys that several could own.
#[derive(Debug, Default)]
pub(super) struct Others {
    next_shared: usize,
    crowds: Vec<Known>,
    /// Heartbeats that may still be read for the key at hand, and the bytes of their names so far.
    reads_left: usize,
    name_bytes: usize,
    /// Bytes of values that were read before that key.
    read_before: usize,
    /// Steps since the clock was looked at, about as long as a key takes that has one possible owner.
    pub steps: usize,
    /// A crowd whose heartbeats stay, and from which of them on that is still to be noted.
    to_hold: Vec<(u32, usize)>,
}

impl Removal {
    /// The worst that any of these owners of the key at hand is.
    pub(super) fn standing_of_owners(
        &mut self,
        space: &mut impl Keyspace,
        slice: Slice,
        owners: SetNumber,
    ) -> Standing {
        self.others.reads_left = MAX_OWNERS;
        self.others.name_bytes = 0;
        self.others.read_before = space.bytes_read();
        let mut worst = Standing::Dead;
        let count = self.plan.sets.members(owners).len();
        for at in 0..count {
            self.others.steps = self.others.steps.saturating_add(1);
            let standing = match self.plan.sets.members(owners).get(at).copied() {
                Some(Member::One(number)) => self.standing(space, slice, number),
                Some(Member::Crowd(crowd)) => self.standing_of_crowd(space, slice, crowd),
                None => Standing::Dead,
            };
            match standing {
                Standing::Dead => {}
                Standing::Alive | Standing::NotYet => return standing,
                Standing::Held(_) => worst = standing,
            }
        }
        worst
    }

    /// The key at hand comes again.
    pub(super) fn put_back_owners(&mut self) {
        self.others.next_shared = self.others.next_shared.saturating_sub(1);
    }

    /// The owners of the key at this place, if they are several. Places are asked for in order.
    pub(super) fn owners_at(&mut self, place: usize) -> Option<SetNumber> {
        while let Some(shared) = self.plan.shared.get(self.others.next_shared) {
            if shared.removal > place {
                break;
            }
            self.others.next_shared = self.others.next_shared.saturating_add(1);
            if shared.removal == place {
                return Some(shared.owners);
            }
        }
        None
    }

    #[inline]
    fn standing(
        &mut self,
        space: &mut impl Keyspace,
        slice: Slice,
        number: HeartbeatNumber,
    ) -> Standing {
        if self.found_dead.get(number as usize) == Some(&slice.number) {
            return Standing::Dead;
        }
        let is_removed = self.removed.get(number as usize) == Some(&true);
        if is_removed && self.hears_births {
            return Standing::Dead;
        }
        let bytes = space.bytes_read().saturating_sub(self.others.read_before);
        let bytes = bytes.saturating_add(self.others.name_bytes);
        if self.others.reads_left == 0 || bytes > MAX_OWNERS_BYTES {
            return Standing::Held(Hold::OverBound);
        }
        self.others.reads_left = self.others.reads_left.saturating_sub(1);
        let before = space.bytes_read();
        let name = heartbeat_name(&self.collection, &self.plan, number);
        self.others.name_bytes = self.others.name_bytes.saturating_add(name.len());
        let string = space.name(name);
        let standing = match space.heartbeat(&string, slice.reader) {
            Some(beat) => match self.verdict(slice, name, beat) {
                Verdict::Stale { .. } => Standing::Dead,
                Verdict::Live | Verdict::Unreadable => Standing::Alive,
            },
            None if is_removed => Standing::Dead,
            None => GONE,
        };
        let bytes = space.bytes_read().saturating_sub(before);
        let bytes = bytes.saturating_add(name.len());
        self.others.steps = self
            .others
            .steps
            .saturating_add(2)
            .saturating_add(bytes / 64);
        if standing == Standing::Dead {
            self.mark_dead(slice, number);
        }
        standing
    }

    fn standing_of_crowd(
        &mut self,
        space: &mut impl Keyspace,
        slice: Slice,
        crowd: u32,
    ) -> Standing {
        let unknown = Known {
            gone: 0,
            slice: 0,
            standing: Standing::Dead,
            is_held: false,
        };
        if self.others.crowds.len() < self.plan.sets.crowds() {
            self.others.crowds.resize(self.plan.sets.crowds(), unknown);
        }
        let Some(known) = self.others.crowds.get(crowd as usize).copied() else {
            return Standing::Held(Hold::OverBound);
        };
        if known.slice == slice.number {
            return known.standing;
        }
        let heartbeats = self.plan.sets.crowd(crowd);
        let is_gone = |number: &HeartbeatNumber| {
            self.hears_births && self.removed.get(*number as usize) == Some(&true)
        };
        let rest = heartbeats.get(known.gone..).unwrap_or_default();
        let piece = rest.iter().take(CROWD_PIECE);
        let more = piece.take_while(|number| is_gone(number)).count();
        let gone = known.gone.saturating_add(more);
        self.others.steps = self.others.steps.saturating_add(more / 16);
        if more == CROWD_PIECE {
            if let Some(known) = self.others.crowds.get_mut(crowd as usize) {
                known.gone = gone;
            }
            return Standing::NotYet;
        }
        let mut worst = Standing::Dead;
        let end = gone.saturating_add(CROWD_PIECE);
        if heartbeats.len() > end {
            worst = Standing::Held(Hold::OverBound);
        }
        for at in gone..heartbeats.len().min(end) {
            self.others.steps = self
                .others
                .steps
                .saturating_add(usize::from(at.is_multiple_of(16)));
            let Some(number) = self.plan.sets.crowd(crowd).get(at).copied() else {
                break;
            };
            match self.standing(space, slice, number) {
                Standing::Dead => {}
                Standing::Alive => {
                    worst = Standing::Alive;
                    break;
                }
                Standing::NotYet => {}
                standing => {
                    worst = standing;
                    if standing == Standing::Held(Hold::OverBound) {
                        break;
                    }
                }
            }
        }
        if let Some(known) = self.others.crowds.get_mut(crowd as usize) {
            known.gone = gone;
            known.slice = slice.number;
            known.standing = worst;
        }
        worst
    }

    /// Whether the heartbeat of an owner, other than the given one, is still there. Of a crowd those are looked
    /// at that go last; where there is more to look at than a slice is for, one may be.
    pub(super) fn is_another_left(
        &mut self,
        space: &mut impl Keyspace,
        owners: SetNumber,
        than: HeartbeatNumber,
    ) -> bool {
        let sets = &self.plan.sets;
        let members = sets.members(owners);
        let last = members.iter().take(MAX_OWNERS).flat_map(|member| {
            let (one, crowd) = match member {
                Member::One(number) => (Some(*number), &[][..]),
                // It is in the order of removal.
                Member::Crowd(crowd) => (None, sets.crowd(*crowd)),
            };
            let crowd = crowd.iter().rev().take(MAX_OWNERS).copied();
            one.into_iter().chain(crowd)
        });
        let is_left = |number: &HeartbeatNumber| {
            *number != than && self.removed.get(*number as usize) != Some(&true)
        };
        let mut bytes = 0usize;
        let (mut looks, mut found) = (0usize, members.len() > MAX_OWNERS);
        for number in last.filter(is_left) {
            if found || looks == MAX_OWNERS || bytes > MAX_OWNERS_BYTES {
                found = true;
                break;
            }
            let name = heartbeat_name(&self.collection, &self.plan, number);
            looks = looks.saturating_add(1);
            bytes = bytes.saturating_add(name.len());
            found = space.exists(&space.name(name));
        }
        let steps = looks.saturating_add(bytes / 64);
        self.others.steps = self.others.steps.saturating_add(steps);
        found
    }

    /// The heartbeat stays.
    pub(super) fn hold(&mut self, number: HeartbeatNumber) {
        if let Some(held) = self.held.get_mut(number as usize) {
            *held = true;
        }
    }

    /// The heartbeats of all these owners stay, as far as they are still there.
    pub(super) fn hold_owners(&mut self, owners: SetNumber) {
        let count = self.plan.sets.members(owners).len();
        for member in 0..count {
            match self.plan.sets.members(owners).get(member).copied() {
                Some(Member::One(number)) => self.hold(number),
                Some(Member::Crowd(crowd)) => self.hold_crowd(crowd),
                None => {}
            }
        }
    }

    fn hold_crowd(&mut self, crowd: u32) {
        if let Some(known) = self.others.crowds.get_mut(crowd as usize)
            && !std::mem::replace(&mut known.is_held, true)
        {
            self.others.to_hold.push((crowd, 0));
        }
    }

    /// Note of crowds that their heartbeats stay, until `time_is_up`, which is asked after every piece; true when
    /// that is done. Until then nothing more may go.
    pub(super) fn hold_crowds(&mut self, time_is_up: &mut dyn FnMut() -> bool) -> bool {
        while let Some((crowd, at)) = self.others.to_hold.pop() {
            let rest = self.plan.sets.crowd(crowd).get(at..).unwrap_or_default();
            for number in rest.iter().take(CROWD_PIECE) {
                if let Some(held) = self.held.get_mut(*number as usize) {
                    *held = true;
                }
            }
            if rest.len() > CROWD_PIECE {
                let next = at.saturating_add(CROWD_PIECE);
                self.others.to_hold.push((crowd, next));
                if time_is_up() {
                    return false;
                }
            }
        }
        true
    }

    /// Whether heartbeats have to be held before anything else is looked at.
    pub(super) fn has_crowds_to_hold(&self) -> bool {
        !self.others.to_hold.is_empty()
    }
}
