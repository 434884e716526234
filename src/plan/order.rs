//! The last step of the plan: everything that goes, coordinator by coordinator, oldest first.

use std::sync::Arc;

use super::{Doomed, Incomplete, Plan, Planner, Shared};
use crate::keys::family::Family;
use crate::keys::owner_index::{HeartbeatNumber, OwnerIndex};
use crate::plan::heartbeats::id_of;
use crate::scan::scanned_keys::Position;

impl Planner<'_> {
    /// Bring the keys into the order of their coordinators, heartbeats last. `None` if told to stop.
    pub(super) fn finish(mut self) -> Option<Plan> {
        let chosen = self.chosen.clone();
        let mut has_latecomers = false;
        for number in &chosen {
            let name = self.heartbeat_name(*number);
            self.yields.name(name)?;
            let sieve = self.question.sieve.as_ref();
            if sieve.is_some_and(|sieve| !sieve.knows(name)) {
                has_latecomers = true;
                if let Some(incomplete) = self.incomplete.get_mut(*number as usize) {
                    *incomplete = Some(Incomplete::Unseen);
                }
            }
            let denied = self
                .heartbeats
                .positions
                .get(*number as usize)
                .and_then(|position| self.collection.get(*position))
                .is_some_and(|record| record.denied);
            if denied {
                self.deny(*number);
            }
        }
        if self.is_full {
            self.incomplete.fill(Some(Incomplete::Unseen));
        } else if self.is_all_held {
            self.incomplete.fill(Some(Incomplete::Held));
        }
        // Nothing is looked up any more, and what follows takes as much memory.
        self.owners = OwnerIndex::new(Arc::clone(&self.question.layout));
        let ranks = &self.ranks;
        let rank = |number: &HeartbeatNumber| {
            let rank = ranks.get(*number as usize).copied().flatten();
            rank.unwrap_or(u32::MAX)
        };
        for crowd in self.sets.crowds_mut() {
            self.yields.sort_by(crowd, |a, b| rank(a).cmp(&rank(b)))?;
        }
        let doomed = self.lay_out()?;
        let mut removals = vec![Position::default(); doomed.last().map_or(0, |last| last.end)];
        let mut shared = Vec::with_capacity(self.assigned_sets.len());
        self.sets.close();
        let mut cursors: Vec<usize> = doomed.iter().map(|d| d.first).collect();
        let mut pending = self.assigned_sets.iter().peekable();
        for (place, (rank, position)) in self.assigned.iter().enumerate() {
            self.yields.step()?;
            let Some(cursor) = cursors.get_mut(*rank as usize) else {
                continue;
            };
            let removal = *cursor;
            *cursor = cursor.saturating_add(1);
            if let Some(slot) = removals.get_mut(removal) {
                *slot = *position;
            }
            if let Some((_, owners)) = pending.next_if(|(of, _)| *of == place) {
                let owners = *owners;
                shared.push(Shared { removal, owners });
            }
        }
        for d in doomed.iter().filter(|d| !d.keeps_heartbeat) {
            self.yields.step()?;
            let removal = d.end.saturating_sub(1);
            let position = self.heartbeats.positions.get(d.heartbeat as usize);
            if let (Some(slot), Some(position)) = (removals.get_mut(removal), position) {
                *slot = *position;
            }
        }
        for (number, owners) in &self.heartbeat_sets {
            self.yields.step()?;
            let rank = self.ranks.get(*number as usize).copied().flatten();
            let of = rank.and_then(|rank| doomed.get(rank as usize));
            if let Some(of) = of.filter(|d| !d.keeps_heartbeat) {
                shared.push(Shared {
                    removal: of.end.saturating_sub(1),
                    owners: *owners,
                });
            }
        }
        self.yields.sort_by(&mut shared, Ord::cmp)?;
        let whole = doomed.iter().filter(|d| !d.keeps_heartbeat).count() as u64;
        self.counts.add_removed(Family::Heartbeat, whole);
        self.counts.coordinators_removed = whole;
        self.yields.go_on()?;
        let id = |number| id_of(self.heartbeat_name(number), &self.question.layout).to_vec();
        let unmatched = self.unmatched.map(id);
        Some(Plan {
            unmatched,
            heartbeats: self.heartbeats.positions,
            doomed,
            removals,
            shared,
            sets: self.sets,
            counts: self.counts,
            orphans: self.orphans,
            kept: self.kept,
            stale_ids: self.stale_ids,
            limited: self.limited,
            truncated: self.question.truncated || self.is_full,
            has_latecomers,
            refused: self.caught.refused,
            fingerprints: self.caught.fingerprints,
        })
    }

    /// One entry for each chosen coordinator, with room for its keys.
    fn lay_out(&self) -> Option<Vec<Doomed>> {
        let mut sizes = vec![0usize; self.chosen.len()];
        for (rank, _) in self.assigned.iter() {
            self.yields.step()?;
            if let Some(size) = sizes.get_mut(*rank as usize) {
                *size = size.saturating_add(1);
            }
        }
        let mut first = 0usize;
        let families = self.chosen.iter().zip(sizes);
        let mut doomed = Vec::with_capacity(self.chosen.len());
        for (heartbeat, size) in families {
            self.yields.step()?;
            let incomplete = self.incomplete.get(*heartbeat as usize);
            let keeps_heartbeat = incomplete.is_some_and(Option::is_some);
            let end = first
                .saturating_add(size)
                .saturating_add(usize::from(!keeps_heartbeat));
            doomed.push(Doomed {
                heartbeat: *heartbeat,
                first,
                end,
                keeps_heartbeat,
            });
            first = end;
        }
        Some(doomed)
    }
}
