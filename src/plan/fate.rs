//! What becomes of one key: whose it could be, and what follows from that.

use super::{Incomplete, MAX_OWNERS, Planner, Question};
use crate::census::HeartbeatNames;
use crate::heartbeat::Verdict;
use crate::hold::Hold;
use crate::layout::AllReadings;
use crate::locality::Locality;
use crate::owners::{HeartbeatNumber, Names};

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

impl Planner<'_> {
    /// What becomes of a key, whose name the hasher has loaded; leaves its further stale owners in
    /// `self.rivals`. `None` if told to stop.
    pub(super) fn fate(&mut self, name: &[u8]) -> Option<Fate> {
        let names = HeartbeatNames {
            collection: self.collection,
            positions: &self.heartbeats.positions,
        };
        let verdicts = &self.heartbeats.verdicts;
        let mut protected = false;
        // Longest id first, then the one that stands first in the key, then by name.
        let mut best: Option<(usize, usize, HeartbeatNumber)> = None;
        self.rivals.clear();
        let stale = &mut self.rivals;
        self.owners.visit(
            name,
            &names,
            &self.hasher,
            &self.breath,
            &mut |number, reading| {
                if !matches!(verdicts.get(number as usize), Some(Verdict::Stale { .. })) {
                    protected = true;
                } else {
                    if stale.len() <= MAX_OWNERS && !stale.contains(&number) {
                        stale.push(number);
                    }
                    let (start, end) = reading.id;
                    let better = best.is_none_or(|(length, first, holder)| {
                        let mine = (end.saturating_sub(start), std::cmp::Reverse(start));
                        let theirs = (length, std::cmp::Reverse(first));
                        mine > theirs || (mine == theirs && names.name(number) < names.name(holder))
                    });
                    if better {
                        best = Some((end.saturating_sub(start), start, number));
                    }
                }
                !(protected && best.is_some())
            },
        );
        self.breath.go_on()?;
        let Some((_, _, owner)) = best else {
            return Some(if protected {
                Fate::Kept
            } else if self.is_elsewhere(name, Locality::has_families) {
                // The owner may beat on another node, or keys there may speak for it.
                Fate::Held(Hold::Elsewhere)
            } else {
                Fate::Orphaned
            });
        };
        if protected {
            return Some(Fate::Vetoed);
        }
        let Question { safety, layout, .. } = self.question;
        if stale.len() > MAX_OWNERS {
            return Some(Fate::Held(Hold::OverBound));
        }
        if safety.protected.covers(name, layout) {
            return Some(Fate::Held(Hold::Protected));
        }
        stale.retain(|number| *number != owner);
        if self.is_elsewhere(name, Locality::has_owners) {
            return Some(Fate::Held(Hold::Elsewhere));
        }
        Some(Fate::GoesWith(owner))
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

    /// The key of this name, which the hasher has loaded, stays: so do the heartbeats of all who
    /// could own it, for it can be found again only through them. `None` if told to stop.
    pub(super) fn hold_back(&mut self, name: &[u8]) -> Option<()> {
        let names = HeartbeatNames {
            collection: self.collection,
            positions: &self.heartbeats.positions,
        };
        let incomplete = &mut self.incomplete;
        self.owners.visit(
            name,
            &names,
            &self.hasher,
            &self.breath,
            &mut |number, _| {
                if let Some(incomplete) = incomplete.get_mut(number as usize) {
                    *incomplete = Some(Incomplete::Held);
                }
                true
            },
        );
        self.breath.go_on()
    }
}
