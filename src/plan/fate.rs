//! What becomes of one key: whose it could be, and what follows from that.

use std::cmp::Reverse;

use super::{Incomplete, Member, Planner, Question};
use crate::cluster::locality::Locality;
use crate::heartbeat::Verdict;
use crate::keys::layout::AllReadings;
use crate::keys::name_bounds;
use crate::keys::owner_index::{Crowd, HeartbeatNumber, Names, Owner};
use crate::keys::reading::Reading;
use crate::plan::heartbeats::HeartbeatNames;
use crate::report::hold::Hold;

/// What becomes of a key.
pub(super) enum Fate {
    /// No stale coordinator could own it, and a living one does.
    Kept,
    /// A stale coordinator would take it, but a living one could own it, too.
    Vetoed,
    /// Stale coordinators alone could own it, and yet it stays.
    Held(Hold),
    Orphaned,
    GoesWith(HeartbeatNumber),
}

/// What is known of a crowd, so that its members are looked at once and not once a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Summary {
    /// One of its heartbeats is not stale.
    protects: bool,
    /// Of the stale, the one whose name comes first.
    first_stale: Option<HeartbeatNumber>,
    /// The stale ones, as a crowd of [`super::OwnerSets`].
    stale: u32,
}

/// Longest id first, then the one that stands first in the key; then the name decides.
type Claim = (usize, Reverse<usize>);

fn claim(reading: Reading) -> Claim {
    let (start, end) = reading.id;
    (end.saturating_sub(start), Reverse(start))
}

impl Planner<'_> {
    /// What becomes of a key, whose name the hasher has loaded; leaves its stale owners in
    /// `self.stale_owners`, sorted.
    /// `None` if told to stop.
    pub(super) fn fate(&mut self, name: &[u8]) -> Option<Fate> {
        if name_bounds::is_over(name) {
            return self.fate_over_bound(name);
        }
        let fate = self.owners_decide(name)?;
        let Question { safety, layout, .. } = self.question;
        Some(match fate {
            Fate::GoesWith(_) if safety.protected.covers(name, layout) => {
                Fate::Held(Hold::Protected)
            }
            Fate::GoesWith(_) if self.is_elsewhere(name, Locality::has_owners) => {
                Fate::Held(Hold::Elsewhere)
            }
            // The owner may beat on another node, or keys there may speak for it.
            Fate::Orphaned if self.is_elsewhere(name, Locality::has_families) => {
                Fate::Held(Hold::Elsewhere)
            }
            fate => fate,
        })
    }

    fn owners_decide(&mut self, name: &[u8]) -> Option<Fate> {
        let names = HeartbeatNames {
            collection: self.collection,
            positions: &self.heartbeats.positions,
        };
        let verdicts = &self.heartbeats.verdicts;
        let mut protected = false;
        let mut best: Option<(Claim, HeartbeatNumber)> = None;
        let mut consider = |reading: Reading, number: HeartbeatNumber| {
            let mine = claim(reading);
            let better = best.is_none_or(|(theirs, holder)| {
                mine > theirs || (mine == theirs && names.name(number) < names.name(holder))
            });
            if better {
                best = Some((mine, number));
            }
        };
        let mut crowds = std::mem::take(&mut self.crowds_met);
        crowds.clear();
        self.stale_owners.clear();
        let stale = &mut self.stale_owners;
        let yields = &self.yields;
        let mut look = |owner, reading| {
            match owner {
                Owner::Crowd(crowd) => crowds.push((crowd, reading)),
                Owner::One(number) => match verdicts.get(number as usize) {
                    Some(Verdict::Stale { .. }) => {
                        stale.push(Member::One(number));
                        consider(reading, number);
                    }
                    _ => protected = true,
                },
            }
            !protected || stale.is_empty()
        };
        self.owners
            .visit(name, &names, &self.hasher, yields, &mut look);
        yields.go_on()?;
        for (crowd, reading) in &crowds {
            let summary = summary(
                &mut self.summaries,
                &mut self.sets,
                &self.owners,
                verdicts,
                &names,
                *crowd,
            );
            protected = protected || summary.protects;
            if let Some(first) = summary.first_stale {
                self.stale_owners.push(Member::Crowd(summary.stale));
                consider(*reading, first);
            }
        }
        self.crowds_met = crowds;
        Some(match best {
            None if protected => Fate::Kept,
            None => Fate::Orphaned,
            Some(_) if protected => Fate::Vetoed,
            Some((_, owner)) => {
                self.stale_owners.sort_unstable();
                self.stale_owners.dedup();
                Fate::GoesWith(owner)
            }
        })
    }

    /// In a cluster: whether not all that matters for this key would lie here.
    pub(super) fn is_elsewhere(
        &mut self,
        name: &[u8],
        lies_here: impl Fn(&Locality, &[u8], &mut AllReadings) -> bool,
    ) -> bool {
        let question = self.question;
        match (&question.locality, &mut self.reader) {
            (Some(locality), Some(reader)) => !lies_here(locality, name, reader),
            _ => false,
        }
    }

    /// A key with such a name stays. Whether a stale coordinator owns it is looked up as long as all names like
    /// it together do not take too long; after that it counts as one that any of them could own.
    fn fate_over_bound(&mut self, name: &[u8]) -> Option<Fate> {
        self.stale_owners.clear();
        let tries = self.owners.tries(name);
        if !self.tries_left.take(tries) {
            if self.counts.coordinators_stale == 0 {
                return Some(Fate::Kept);
            }
            self.is_all_held = true;
            return Some(Fate::Held(Hold::OverBound));
        }
        Some(match self.owners_decide(name)? {
            Fate::GoesWith(_) => Fate::Held(Hold::OverBound),
            fate => fate,
        })
    }

    /// The heartbeats of all stale owners of the key that [`Self::fate`] was asked for last stay, for it can be found
    /// again only through them.
    pub(super) fn hold_back(&mut self) {
        let incomplete = &mut self.incomplete;
        let mut hold = |number: HeartbeatNumber| {
            if let Some(incomplete) = incomplete.get_mut(number as usize) {
                *incomplete = Some(Incomplete::Held);
            }
        };
        for member in &self.stale_owners {
            match member {
                Member::One(number) => hold(*number),
                // Once for all keys of the same crowd.
                Member::Crowd(crowd) if self.held_crowds.insert(*crowd) => {
                    self.sets.crowd(*crowd).iter().copied().for_each(&mut hold);
                }
                Member::Crowd(_) => {}
            }
        }
    }
}

/// What is known of a crowd; it is looked at when it is first asked for.
fn summary(
    summaries: &mut std::collections::HashMap<Crowd, Summary>,
    sets: &mut super::OwnerSets,
    owners: &crate::keys::owner_index::OwnerIndex,
    verdicts: &[Verdict],
    names: &HeartbeatNames,
    crowd: Crowd,
) -> Summary {
    *summaries.entry(crowd).or_insert_with(|| {
        let mut protects = false;
        let mut stale = Vec::new();
        for number in owners.members(crowd) {
            match verdicts.get(number as usize) {
                Some(Verdict::Stale { .. }) => stale.push(number),
                _ => protects = true,
            }
        }
        let first_stale = stale
            .iter()
            .copied()
            .min_by_key(|number| names.name(*number));
        Summary {
            protects,
            first_stale,
            stale: sets.add_crowd(stale),
        }
    })
}
