//! The plan, asked about one id: which keys it could own, what becomes of each, and which heartbeat decides that.
//!
//! The plan decides; this only writes down what it decided, with the very functions that decide.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

use memchr::memmem::Finder;

use super::{Fate, Incomplete, Plan, Planner, Question};
use crate::heartbeat::Verdict;
use crate::heartbeat::state::State;
use crate::keys::family::Family;
use crate::keys::name_bounds::Tries;
use crate::keys::owner_index::{HeartbeatNumber, Owner};
use crate::keys::reading::{Reading, SegmentCounts};
use crate::plan::explanation::{Beating, Explanation, KeyFate};
use crate::plan::heartbeats::{HeartbeatNames, id_of};
use crate::plan::safeguards::Safeguards;
use crate::report::hold::Hold;
use crate::scan::scanned_keys::{Position, Record, ScannedKeys};

/// The plan, and what it means for this id. `breaker_percent` is what a scheduled run would ask.
pub fn plan_and_explain(
    collection: &ScannedKeys,
    question: &Question,
    id: &[u8],
    breaker_percent: u32,
    stop: &AtomicBool,
) -> Option<(Plan, Explanation)> {
    let mut planner = Planner::new(collection, question, stop)?;
    planner.choose()?;
    planner.assign()?;
    let mut explanation = Explanation::new(id);
    let own = planner.explain_heartbeats(id, &mut explanation)?;
    let is_all_held = planner.is_all_held;
    planner.tries_left = Tries::default();
    planner.explain_keys(id, &own, &mut explanation)?;
    planner.is_all_held = is_all_held;
    explanation.share = planner.share(breaker_percent);
    explanation.is_protected = question.safety.protected.matches(id);
    let locality = question.locality.as_ref();
    explanation.is_elsewhere = locality.is_some_and(|here| !here.has_heartbeats_of(id));
    let plan = planner.finish()?;
    explanation.counts = plan.counts;
    Some((plan, explanation))
}

impl<'c> Planner<'c> {
    /// The heartbeats that prove this id's life; gives their numbers.
    fn explain_heartbeats(
        &mut self,
        id: &[u8],
        out: &mut Explanation,
    ) -> Option<HashSet<HeartbeatNumber>> {
        let mut own = HashSet::new();
        let count = HeartbeatNumber::try_from(self.ranks.len()).unwrap_or(HeartbeatNumber::MAX);
        for number in 0..count {
            let name = self.heartbeat_name(number);
            self.yields.name(name)?;
            let mut found: Option<Reading> = None;
            self.question.layout.beating(name, &mut |reading| {
                if reading.id_of(name) == id {
                    found.get_or_insert(reading);
                }
            });
            let Some(reading) = found else {
                continue;
            };
            own.insert(number);
            let state = self.state(number);
            let (fate, by) = self.heartbeat_fate(number, id);
            out.add_heartbeat(Beating {
                key: name.to_vec(),
                swarm: reading.swarm_of(name).map(<[u8]>::to_vec),
                state,
                fate,
                by: by.map(<[u8]>::to_vec),
                is_named: true,
            });
        }
        Some(own)
    }

    /// What the heartbeat itself says, whether its coordinator is spared or not.
    fn state(&self, number: HeartbeatNumber) -> State {
        let verdict = self.heartbeats.verdicts.get(number as usize).copied();
        let age_ms = self.question.now_ms.saturating_sub(self.beat_ms(number));
        let is_old = age_ms.div_euclid(1000) > i64::from(self.question.threshold_s);
        match verdict.unwrap_or(Verdict::Unreadable) {
            // Spared.
            Verdict::Live if is_old => State::Stale,
            verdict => State::from(verdict),
        }
    }

    fn heartbeat_fate(
        &mut self,
        number: HeartbeatNumber,
        id: &[u8],
    ) -> (KeyFate, Option<&'c [u8]>) {
        let name = self.heartbeat_name(number);
        if !self.is_stale(number) {
            return (KeyFate::Kept, None);
        }
        if self.vetoed.get(number as usize) == Some(&true) {
            return (KeyFate::Vetoed, self.protector(name));
        }
        if self.elsewhere.get(number as usize) == Some(&true) {
            return (KeyFate::Elsewhere, None);
        }
        match self.ranks.get(number as usize).copied().flatten() {
            Some(_) => {
                let position = self.heartbeats.positions.get(number as usize);
                let record = position.and_then(|p| self.collection.get(*p));
                match self.incomplete.get(number as usize).copied().flatten() {
                    _ if record.is_some_and(|record| record.denied) => (KeyFate::Denied, None),
                    Some(Incomplete::Held) => (KeyFate::Held, None),
                    Some(Incomplete::Denied | Incomplete::Unseen) => (KeyFate::Denied, None),
                    None => (KeyFate::Removed, None),
                }
            }
            // Named by a longer id, under which it goes.
            None if id_of(name, &self.question.layout) != id => (KeyFate::Others, None),
            None => (KeyFate::Kept, None),
        }
    }

    /// A heartbeat that could own this key and protects it.
    fn protector(&mut self, name: &[u8]) -> Option<&'c [u8]> {
        self.hasher.load(name);
        let names = HeartbeatNames {
            collection: self.collection,
            positions: &self.heartbeats.positions,
        };
        let mut found = None;
        self.owners
            .visit(name, &names, &self.hasher, &self.yields, &mut |owner, _| {
                let protects = |number| (!self.is_stale(number)).then_some(number);
                found = match owner {
                    Owner::One(number) => protects(number),
                    Owner::Crowd(crowd) => self.owners.members(crowd).find_map(protects),
                };
                found.is_none()
            });
        found.map(|number| self.heartbeat_name(number))
    }

    fn explain_keys(
        &mut self,
        id: &[u8],
        own: &HashSet<HeartbeatNumber>,
        out: &mut Explanation,
    ) -> Option<()> {
        let collection = self.collection;
        let layout = &self.question.layout;
        let mut lengths = SegmentCounts::default();
        lengths.add(id);
        let holds_id = Finder::new(id);
        let mut seen: HashSet<&[u8]> = HashSet::new();
        for (position, record) in collection.iter() {
            self.yields.name(record.name)?;
            if record.family == Family::Heartbeat || holds_id.find(record.name).is_none() {
                continue;
            }
            let mut is_own = false;
            layout.readings(record.name, &lengths, &mut |reading| {
                is_own = is_own || reading.id_of(record.name) == id;
                !is_own && !self.yields.is_told_to_stop()
            });
            if is_own && seen.insert(record.name) {
                self.explain_key(position, &record, own, out)?;
            }
        }
        Some(())
    }

    fn explain_key(
        &mut self,
        position: Position,
        record: &Record<'c>,
        own: &HashSet<HeartbeatNumber>,
        out: &mut Explanation,
    ) -> Option<()> {
        let name = record.name;
        let Question { safety, layout, .. } = self.question;
        self.hasher.load(name);
        let (fate, by) = match self.fate(name)? {
            Fate::Kept => (KeyFate::Kept, self.protector(name)),
            Fate::Vetoed => (KeyFate::Vetoed, self.protector(name)),
            Fate::Held(Hold::Elsewhere) => (KeyFate::Elsewhere, None),
            Fate::Held(_) => (KeyFate::Held, None),
            Fate::Orphaned if safety.protected.covers(name, layout) => (KeyFate::OrphanKept, None),
            Fate::Orphaned => {
                out.orphans.push(position);
                return Some(());
            }
            Fate::GoesWith(owner) => {
                let rank = self.ranks.get(owner as usize).copied().flatten();
                let is_vetoed = self.vetoed.get(owner as usize) == Some(&true);
                let is_elsewhere = self.elsewhere.get(owner as usize) == Some(&true);
                match rank {
                    Some(_) if record.denied => (KeyFate::Denied, None),
                    Some(_) => (KeyFate::Removed, None),
                    None if is_vetoed => (KeyFate::Vetoed, None),
                    None if is_elsewhere => (KeyFate::Elsewhere, None),
                    None if own.contains(&owner) => (KeyFate::Others, None),
                    None => (KeyFate::Others, Some(self.heartbeat_name(owner))),
                }
            }
        };
        out.add_key(name, record.family, fate, by);
        Some(())
    }

    /// What the breaker of a scheduled run would say.
    fn share(&self, percent: u32) -> Option<crate::plan::safeguards::Share> {
        let safety = Safeguards {
            breaker_percent: Some(percent),
            ..Safeguards::default()
        };
        let count = |wanted: fn(&Verdict) -> bool| {
            let verdicts = self.heartbeats.verdicts.iter();
            verdicts.filter(|verdict| wanted(verdict)).count() as u64
        };
        let stale = count(|verdict| matches!(verdict, Verdict::Stale { .. }));
        let live = count(|verdict| matches!(verdict, Verdict::Live));
        let live = live.saturating_sub(self.counts.coordinators_protected);
        safety.share(self.heartbeats.verdicts.len() as u64, stale, live)
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
