//! Which coordinators go, and in which order.

use std::collections::HashSet;

use super::fate::Fate;
use super::prefetch;
use super::{Member, Planner};
use crate::cluster::locality::Locality;
use crate::keys::name_bounds::MAX_OWNERS;
use crate::keys::owner_index::HeartbeatNumber;
use crate::plan::heartbeats::{id_of, shown_id};
use crate::reply::room::Room;
use crate::report::hold::Hold;

impl Planner<'_> {
    /// Choose which coordinators go: stale, admitted by MATCH, not vetoed, the oldest first, up to LIMIT.
    pub(super) fn choose(&mut self) -> Option<()> {
        let mut candidates = Vec::new();
        let mut fits_any = false;
        let count = HeartbeatNumber::try_from(self.ranks.len()).unwrap_or(HeartbeatNumber::MAX);
        for number in 0..count {
            self.yields.step()?;
            if (number as usize).is_multiple_of(prefetch::KEYS) {
                let known = &self.heartbeats.positions;
                let next = known.iter().skip(number as usize).take(prefetch::KEYS);
                let records = next.filter_map(|position| self.collection.get(*position));
                let names: Vec<&[u8]> = records.map(|record| record.name).collect();
                self.read_ahead(names.into_iter(), None);
            }
            if !self.is_stale(number) {
                continue;
            }
            let name = self.heartbeat_name(number);
            self.yields.name(name)?;
            self.hasher.load(name);
            let fate = self.fate(name)?;
            match fate {
                // The name of a heartbeat may be a key of other stale coordinators.
                Fate::GoesWith(_) if self.is_shared() => match self.add_set() {
                    Some(set) => self.heartbeat_sets.push((number, set)),
                    None => self.is_full = true,
                },
                Fate::Held(_) | Fate::GoesWith(_) | Fate::Kept | Fate::Vetoed | Fate::Orphaned => {}
            }
            let pattern = self.question.pattern.as_ref();
            let fits = pattern.is_none_or(|p| p.matches(id_of(name, &self.question.layout)));
            fits_any = fits_any || fits;
            let is_older = |than: HeartbeatNumber| self.beat_ms(number) < self.beat_ms(than);
            if !fits && self.unmatched.is_none_or(is_older) {
                self.unmatched = Some(number);
            }
            if matches!(fate, Fate::Vetoed) {
                self.counts.keys_vetoed = self.counts.keys_vetoed.saturating_add(1);
                if let Some(vetoed) = self.vetoed.get_mut(number as usize) {
                    *vetoed = true;
                }
                continue;
            }
            if self.is_elsewhere(name, Locality::has_all_of) {
                self.counts.held.add(Hold::Elsewhere);
                self.hold_back();
                if let Some(elsewhere) = self.elsewhere.get_mut(number as usize) {
                    *elsewhere = true;
                }
                continue;
            }
            if let Fate::Held(hold) = fate {
                // The key alone stays: that its coordinator is dead is known all the same.
                self.counts.held.add(hold);
                self.hold_back();
            }
            if fits {
                candidates.push(number);
            }
        }
        if fits_any {
            self.unmatched = None;
        }
        self.yields.sort_by(&mut candidates, |a, b| {
            let by_age = self.beat_ms(*a).cmp(&self.beat_ms(*b));
            by_age.then_with(|| self.heartbeat_name(*a).cmp(self.heartbeat_name(*b)))
        })?;
        let listed = candidates.iter().take(self.question.ids as usize);
        let shown = |n: &HeartbeatNumber| shown_id(self.heartbeat_name(*n), &self.question.layout);
        let mut room = Room::default();
        let ids = listed.map(shown).take_while(|id| room.take(&[id]));
        self.stale_ids = ids.collect();
        if let Some(limit) = self.question.limit {
            self.limited = candidates.len() > limit as usize;
            candidates.truncate(limit as usize);
        }
        if self.caught.refused.is_some() {
            candidates.clear();
            self.limited = false;
        }
        // A heartbeat that many others could own goes behind all of them, which are read again only where they are
        // still there.
        let sizes = self.heartbeat_sets.iter();
        let sizes = sizes.filter(|(_, set)| self.sets.heartbeats(*set).count() > MAX_OWNERS);
        let crowded: HashSet<HeartbeatNumber> = sizes.map(|(number, _)| *number).collect();
        if !crowded.is_empty() {
            candidates.sort_by_key(|number| crowded.contains(number));
        }
        for (number, rank) in candidates.iter().zip(0..) {
            self.yields.step()?;
            if let Some(place) = self.ranks.get_mut(*number as usize) {
                *place = Some(rank);
            }
        }
        self.chosen = candidates;
        self.hold_heartbeats_of_too_many();
        Some(())
    }

    /// Whether several stale coordinators could own the key at hand.
    pub(super) fn is_shared(&self) -> bool {
        !matches!(self.stale_owners.as_slice(), [] | [Member::One(_)])
    }

    /// Heartbeats that more coordinators could own than can be read again before they go.
    fn hold_heartbeats_of_too_many(&mut self) {
        for (number, set) in std::mem::take(&mut self.heartbeat_sets) {
            self.stale_owners.clear();
            let members = self.sets.members(set);
            self.stale_owners.extend_from_slice(members);
            let is_chosen = self.ranks.get(number as usize).copied().flatten().is_some();
            if is_chosen && self.last_owner().is_none() {
                self.counts.held.add(Hold::OverBound);
                self.hold_back();
            } else {
                self.heartbeat_sets.push((number, set));
            }
        }
    }

    /// The place of the last of the stale owners of the key at hand among those that go; `None` if too many of them
    /// stay, or can come back without an event, to be read again in the slice that removes the key.
    pub(super) fn last_owner(&mut self) -> Option<u32> {
        for crowd in self.crowd_ranks.len()..self.sets.crowds() {
            let crowd = u32::try_from(crowd).unwrap_or(u32::MAX);
            let heartbeats = self.sets.crowd(crowd).iter();
            let ranks =
                heartbeats.map(|number| self.ranks.get(*number as usize).copied().flatten());
            let known = ranks.fold((None, 0usize), |(last, stay), rank: Option<u32>| {
                (
                    last.max(rank),
                    stay.saturating_add(usize::from(rank.is_none())),
                )
            });
            self.crowd_ranks.push(known);
        }
        let (mut last, mut stay, mut all) = (None, 0usize, 0usize);
        for member in &self.stale_owners {
            let (rank, staying, size) = match member {
                Member::One(number) => {
                    let rank = self.ranks.get(*number as usize).copied().flatten();
                    (rank, usize::from(rank.is_none()), 1)
                }
                Member::Crowd(crowd) => {
                    let known = self.crowd_ranks.get(*crowd as usize);
                    let (rank, staying) = known.copied().unwrap_or((None, usize::MAX));
                    (rank, staying, self.sets.crowd(*crowd).len())
                }
            };
            last = last.max(rank);
            stay = stay.saturating_add(staying);
            all = all.saturating_add(size);
        }
        let to_read = if self.question.hears_births {
            stay
        } else {
            all
        };
        last.filter(|_| to_read <= MAX_OWNERS)
    }
}
