//! What follows from all that the walk collected: away from the main thread, with the planner itself.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::overlapping_ids::{self, Ids};
use super::{Settings, Walked};
use crate::cluster::locality::Locality;
use crate::keys::family::{Family, FamilyMap};
use crate::keys::layout::Layout;
use crate::plan::protect::Protected;
use crate::plan::safeguards::{Safeguards, Share};
use crate::plan::{self, Question};
use crate::report::Counts;
use crate::scan::scanned_keys::{Position, ScannedKeys};
use crate::util::cooperative::YieldCounter;

/// Thresholds that are tried beside the one of the settings, in seconds.
const THRESHOLDS_S: [u32; 4] = [300, 600, 900, 3600];

/// At most so many orphans of a family are measured.
pub const MAX_SAMPLE: u64 = 1_000;

/// Names of orphans to be measured are not longer than this together.
const MAX_SAMPLE_BYTES: usize = 4 << 20;

/// What a cleanup would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    pub threshold_s: u32,
    pub counts: Counts,
    /// Why the breaker of a scheduled run would be open.
    pub share: Option<Share>,
}

/// Keys without an owner.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Orphaned {
    /// By family, without those that are protected.
    pub found: FamilyMap<u64>,
    pub protected: u64,
    /// Some of them, spread evenly over those of each family.
    pub sample: Vec<(Family, Vec<u8>)>,
}

impl Orphaned {
    /// All of them.
    pub fn all(&self) -> u64 {
        let add = |sum: u64, found: &u64| sum.saturating_add(*found);
        self.found.values().fold(self.protected, add)
    }
}

/// What a name says: whose the key is, whether it is protected, and where it lies.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    pub layout: Arc<Layout>,
    pub protected: Arc<Protected>,
    pub locality: Option<Locality>,
}

/// What was found out; what could not be for lack of memory is not there.
#[derive(Debug, Default)]
pub struct Study {
    /// The smallest threshold first.
    pub forecasts: Vec<Forecast>,
    pub ids: Option<Ids>,
    pub orphaned: Option<Orphaned>,
}

impl Study {
    /// The forecast for this threshold.
    pub fn at(&self, threshold_s: u32) -> Option<&Forecast> {
        let mut all = self.forecasts.iter();
        all.find(|forecast| forecast.threshold_s == threshold_s)
    }
}

/// Everything that the collection tells; `None` if told to stop. One plan is made after the other, so that only one
/// at a time takes memory.
pub fn study(
    collection: &ScannedKeys,
    walked: Walked,
    settings: &Settings,
    names: &Naming,
    now_ms: i64,
    stop: &AtomicBool,
) -> Option<Study> {
    let Naming {
        layout,
        protected,
        locality,
    } = names;
    let mut out = Study::default();
    // Without all heartbeats no key could be judged.
    if walked.is_overfull {
        return Some(out);
    }
    out.ids = Some(overlapping_ids::look(collection, layout, stop)?);
    let mut thresholds_s = THRESHOLDS_S.to_vec();
    thresholds_s.push(settings.threshold_s);
    thresholds_s.sort_unstable();
    thresholds_s.dedup();
    for threshold_s in thresholds_s {
        // Orphans are the same at every threshold: keys of which no owner has a heartbeat.
        let is_own = threshold_s == settings.threshold_s;
        let question = Question {
            layout: Arc::clone(layout),
            now_ms,
            threshold_s,
            pattern: None,
            limit: None,
            ids: 0,
            truncated: walked.is_truncated,
            sieve: None,
            orphans: is_own && !walked.is_truncated,
            names_kept: false,
            locality: locality.clone(),
            max_bytes: usize::MAX,
            hears_births: true,
            safety: Safeguards {
                protected: Arc::clone(protected),
                ..Safeguards::default()
            },
        };
        let plan = plan::plan(collection, &question, stop)?;
        out.forecasts.push(Forecast {
            threshold_s,
            counts: plan.counts,
            share: share(&plan.counts, settings.max_stale_percent),
        });
        if question.orphans {
            let all = plan.counts.keys_orphaned;
            out.orphaned = Some(sample(
                collection,
                &plan.orphans,
                all,
                &YieldCounter::new(stop),
            )?);
        }
    }
    Some(out)
}

/// What the breaker of a scheduled run would say.
fn share(counts: &Counts, percent: u32) -> Option<Share> {
    let safety = Safeguards {
        breaker_percent: Some(percent),
        ..Safeguards::default()
    };
    let (checked, stale) = (counts.coordinators_checked, counts.coordinators_stale);
    let unreadable = counts.coordinators_unreadable;
    let live = checked.saturating_sub(stale).saturating_sub(unreadable);
    let judged = stale.saturating_sub(counts.coordinators_protected);
    safety.share(checked, judged, live)
}

fn sample(
    collection: &ScannedKeys,
    orphans: &[Position],
    all: u64,
    yields: &YieldCounter,
) -> Option<Orphaned> {
    let mut out = Orphaned {
        protected: all.saturating_sub(orphans.len() as u64),
        ..Orphaned::default()
    };
    let records = || orphans.iter().filter_map(|p| collection.get(*p));
    for record in records() {
        yields.step()?;
        let found = &mut out.found[record.family];
        *found = found.saturating_add(1);
    }
    let mut passed = FamilyMap::<u64>::default();
    let mut bytes = 0usize;
    for record in records() {
        yields.step()?;
        let (found, passed) = (out.found[record.family], &mut passed[record.family]);
        let wanted = MAX_SAMPLE.min(found);
        let share = |n: u64| n.saturating_mul(wanted) / found.max(1);
        let is_chosen = share(passed.saturating_add(1)) > share(*passed);
        *passed = passed.saturating_add(1);
        let with_it = bytes.saturating_add(record.name.len());
        if is_chosen && with_it <= MAX_SAMPLE_BYTES {
            bytes = with_it;
            out.sample.push((record.family, record.name.to_vec()));
        }
    }
    Some(out)
}

#[cfg(test)]
#[path = "forecast_tests.rs"]
mod tests;
