//! Which orphans go: a pure function over keys without an owner, what was read of them, and a clock.
//!
//! An orphan goes when nothing speaks for life: neither its own evidence nor that of any known id it could belong to
//! is young (`known_ids.rs` has the rule). Gathering and judging run on a worker thread; between them the values are
//! read on the main thread.

pub mod evidence;
pub mod first_seen;
pub mod known_ids;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::keys::family::Family;
use crate::keys::layout::{AllReadings, Layout};
use crate::keys::name_bounds::{self, MAX_NAME_BYTES, MAX_OWNERS, Tries};
use crate::keys::pattern::Pattern;
use crate::keys::reading::Reading;
use crate::orphans::evidence::Evidence;
use crate::orphans::first_seen::FirstSeen;
use crate::orphans::known_ids::KnownIds;
use crate::report::Counts;
use crate::report::hold::Hold;
use crate::scan::scanned_keys::{Position, ScannedKeys};
use crate::util::cooperative::YieldCounter;

/// Memory that an orphan takes beside its record, at most and about.
pub const ORPHAN_BYTES: usize = 160;

/// What a look at an orphan showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrphanValue {
    pub evidence: Evidence,
    /// A hash of all that shows when a key is written again.
    pub print: u64,
}

/// What is asked about orphans.
#[derive(Clone, Debug)]
pub struct Question {
    /// Server wall clock, milliseconds since 1970: the start of the run.
    pub now_ms: i64,
    pub grace_s: u32,
    /// Narrows what may go, never what may speak for life.
    pub pattern: Option<Pattern>,
    /// The clock of [`FirstSeen`]: at the start of the run, and after the last look at a key.
    pub began_s: u32,
    pub looked_s: u32,
    /// How many keys may be remembered as seen.
    pub room: usize,
    pub dry_run: bool,
}

/// An orphan that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// Its place in [`Orphans::keys`].
    pub place: u32,
    /// The newest evidence about it, milliseconds since 1970.
    pub newest_ms: i64,
}

/// What became of an orphan that was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was gone when it was to be read.
    Gone,
    Vetoed,
    TooYoung,
    NotAsked,
    Denied,
    Goes,
}

/// The orphans of one walk, and what is known of them so far.
#[derive(Debug, Default)]
pub struct Orphans {
    /// Where their records are, in the order of the walk.
    pub keys: Vec<Position>,
    /// Keys of others that name an id which orphans name: what they say of it counts.
    pub witnesses: Vec<Position>,
    /// By place in `keys`: what was seen; `None` where the key was gone by then.
    pub orphan_values: Vec<Option<OrphanValue>>,
    /// By place in `witnesses`: the newest time it gave.
    pub testimonies_ms: Vec<Option<i64>>,
    pub claims: KnownIds,
    /// By place in `keys`, once judged.
    pub outcomes: Vec<Outcome>,
    /// The keys that go, once judged: those that the same keys speak for stand side by side, so that reading the
    /// speakers once serves all of them.
    pub doomed: Vec<Doomed>,
    /// There are keys with names over the bounds that could speak for any id: no orphan goes.
    pub is_unheard: bool,
}

/// The one way to read a key, if there is just one.
pub fn only_reading(name: &[u8], sole: &mut AllReadings) -> Option<Reading> {
    sole.of(name).and_then(|found| found.first().copied())
}

/// Everything that must be read before the orphans `keys` can be judged; `None` if told to stop.
pub fn gather(
    collection: &ScannedKeys,
    keys: Vec<Position>,
    layout: &Arc<Layout>,
    stop: &AtomicBool,
) -> Option<Orphans> {
    let mut sole = AllReadings::up_to(1, layout);
    let mut claims = KnownIds::new(Arc::clone(layout));
    let yields = YieldCounter::new(stop);
    for (place, position) in keys.iter().enumerate() {
        let Some(record) = collection.get(*position) else {
            continue;
        };
        yields.name(record.name)?;
        let place = u32::try_from(place).ok();
        if let (Some(reading), Some(place)) = (only_reading(record.name, &mut sole), place) {
            claims.load(record.name);
            claims.make_known(record.name, reading, place);
        }
    }
    let mut witnesses = Vec::new();
    let mut tries_left = Tries::default();
    let mut is_unheard = false;
    if !claims.is_empty() {
        let mut orphans = keys.iter().copied().peekable();
        for (position, record) in collection.iter() {
            yields.name(record.name)?;
            let is_orphan = orphans.next_if_eq(&position).is_some();
            if name_bounds::is_over(record.name) {
                is_unheard = is_unheard || !tries_left.take(claims.tries(record.name));
                if is_unheard {
                    continue;
                }
            }
            if is_orphan || record.family == Family::Heartbeat {
                continue;
            }
            claims.load(record.name);
            if claims.first_known(record.name, &yields).is_some() {
                witnesses.push(position);
            }
            yields.go_on()?;
        }
    }
    Some(Orphans {
        orphan_values: Vec::with_capacity(keys.len()),
        testimonies_ms: Vec::with_capacity(witnesses.len()),
        keys,
        witnesses,
        claims,
        outcomes: Vec::new(),
        doomed: Vec::new(),
        is_unheard,
    })
}

impl Orphans {
    /// The record of an orphan.
    pub fn name<'c>(&self, collection: &'c ScannedKeys, place: u32) -> Option<&'c [u8]> {
        let position = self.keys.get(place as usize)?;
        collection.get(*position).map(|record| record.name)
    }

    /// Judge every orphan by what was read: the keys that go are in `self.doomed` then, what is counted is
    /// added to `counts`. Gives what is to be remembered as seen; `None` if told to stop.
    pub fn judge(
        &mut self,
        collection: &ScannedKeys,
        question: &Question,
        seen: &FirstSeen,
        counts: &mut Counts,
        stop: &AtomicBool,
    ) -> Option<FirstSeen> {
        let yields = YieldCounter::new(stop);
        let newest_ms = self.newest_of_each(question, seen, &yields)?;
        self.add_all_evidence(collection, &newest_ms, &yields)?;
        let mut all = AllReadings::up_to(MAX_OWNERS, self.claims.layout());
        let mut remembered = Vec::new();
        let mut doomed = Vec::new();
        let mut outcomes = Vec::with_capacity(self.keys.len());
        for (place, position) in self.keys.iter().enumerate() {
            yields.step()?;
            let own_ms = newest_ms.get(place).copied().flatten();
            let (Some(record), Some(own_ms)) = (collection.get(*position), own_ms) else {
                outcomes.push(Outcome::Gone);
                continue;
            };
            yields.name(record.name)?;
            self.claims.load(record.name);
            let fate = self.fate(record.name, own_ms, question, &mut all);
            let outcome = match fate {
                Fate::Vetoed => Outcome::Vetoed,
                Fate::TooYoung => Outcome::TooYoung,
                Fate::NotAsked => Outcome::NotAsked,
                Fate::Goes { .. } if record.denied => Outcome::Denied,
                Fate::Goes { .. } => Outcome::Goes,
            };
            outcomes.push(outcome);
            let count = |sum: &mut u64| *sum = sum.saturating_add(1);
            match fate {
                Fate::Vetoed => count(&mut counts.keys_vetoed),
                Fate::TooYoung => count(&mut counts.orphans_too_young),
                Fate::NotAsked => {}
                Fate::Goes { .. } if record.denied => counts.held.add(Hold::Denied),
                Fate::Goes { newest_ms, speaker } => {
                    let Ok(place) = u32::try_from(place) else {
                        continue;
                    };
                    let group = speaker.unwrap_or(place);
                    doomed.push((group, Doomed { place, newest_ms }));
                    counts.add_removed(record.family, 1);
                    count(&mut counts.orphans_removed);
                }
            }
            // What this run removes is forgotten: should it come back, it is new.
            if question.dry_run || outcome != Outcome::Goes {
                remembered.extend(self.to_remember(place, question, seen));
            }
        }
        self.outcomes = outcomes;
        let by_group = |(group, doomed): &(u32, Doomed)| (*group, doomed.place);
        yields.sort_by(&mut doomed, |a, b| by_group(a).cmp(&by_group(b)))?;
        self.doomed = doomed.into_iter().map(|(_, doomed)| doomed).collect();
        FirstSeen::new(remembered, question.room, &yields)
    }

    /// For keys that do not tell their age: the print, and when it was first seen.
    fn to_remember(
        &self,
        place: usize,
        question: &Question,
        seen: &FirstSeen,
    ) -> Option<(u64, u32)> {
        let orphan_value = self.orphan_values.get(place).copied().flatten()?;
        // Rounded up, so that nothing looks older than it is.
        let new_s = question.looked_s.saturating_add(1);
        let moment_s = seen.moment_s(orphan_value.print).unwrap_or(new_s);
        (!orphan_value.evidence.conclusive).then_some((orphan_value.print, moment_s))
    }

    /// By place: the newest evidence of each key that is there.
    fn newest_of_each(
        &self,
        question: &Question,
        seen: &FirstSeen,
        yields: &YieldCounter,
    ) -> Option<Vec<Option<i64>>> {
        let newest = |(place, orphan_value): (usize, &Option<OrphanValue>)| {
            let own_ms = orphan_value.as_ref()?.evidence.newest_ms;
            let seen_ms = self
                .to_remember(place, question, seen)
                .map(|(_, moment_s)| {
                    let age_s = question.began_s.saturating_sub(moment_s);
                    question
                        .now_ms
                        .saturating_sub(i64::from(age_s).saturating_mul(1000))
                });
            own_ms.max(seen_ms)
        };
        let mut all = Vec::with_capacity(self.orphan_values.len());
        for orphan_value in self.orphan_values.iter().enumerate() {
            yields.step()?;
            all.push(newest(orphan_value));
        }
        Some(all)
    }

    /// Let every key speak for the ids it could belong to.
    fn add_all_evidence(
        &mut self,
        collection: &ScannedKeys,
        newest_ms: &[Option<i64>],
        yields: &YieldCounter,
    ) -> Option<()> {
        let own = self.keys.iter().zip(newest_ms);
        let others = self.witnesses.iter().zip(&self.testimonies_ms);
        for (position, newest_ms) in own.chain(others) {
            if self.is_unheard {
                break;
            }
            if let (Some(record), Some(newest_ms)) = (collection.get(*position), newest_ms) {
                yields.name(record.name)?;
                self.claims.load(record.name);
                self.claims.speak(record.name, *newest_ms, yields);
                yields.go_on()?;
            }
        }
        Some(())
    }

    /// What becomes of the loaded key `name`.
    fn fate(&self, name: &[u8], own_ms: i64, question: &Question, all: &mut AllReadings) -> Fate {
        // Each possible owner, and each key that speaks for one, is looked at again before the key goes, all in one
        // slice.
        let Some(readings) = all.of(name).filter(|_| !self.is_unheard) else {
            return Fate::Vetoed;
        };
        let bytes = name.len().saturating_mul(readings.len());
        if self.claims.speakers(readings) > MAX_OWNERS || bytes > MAX_NAME_BYTES {
            return Fate::Vetoed;
        }
        let newest_ms = own_ms.max(self.claims.newest_ms(readings));
        if evidence::is_young(newest_ms, question.now_ms, question.grace_s) {
            return Fate::TooYoung;
        }
        let admits = |pattern: &Pattern| readings.iter().any(|r| pattern.matches(r.id_of(name)));
        if question.pattern.as_ref().is_none_or(admits) {
            let mut speaker: Option<u32> = None;
            self.claims.visit_speakers(readings, &mut |place| {
                speaker = Some(speaker.map_or(place, |first| first.min(place)));
            });
            Fate::Goes { newest_ms, speaker }
        } else {
            Fate::NotAsked
        }
    }
}

/// What becomes of an orphan.
enum Fate {
    /// Too many could own it, or could speak for it.
    Vetoed,
    TooYoung,
    /// MATCH admits none of its possible owners.
    NotAsked,
    Goes {
        newest_ms: i64,
        /// The first of the orphans that speak for it.
        speaker: Option<u32>,
    },
}

#[cfg(test)]
mod tests;
