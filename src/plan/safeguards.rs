//! What keeps stale coordinators from removal: protection, the second look, the breaker.
//!
//! Pure, and the part of the plan that comes right after the verdicts: what is spared counts as stale in the reply
//! and as living in everything else.

use std::sync::Arc;

use crate::heartbeat::Verdict;
use crate::keys::layout::Layout;
use crate::plan::heartbeats::{Heartbeats, id_of};
use crate::plan::protect::Protected;
use crate::plan::second_look::{Fingerprints, SecondLook};
use crate::report::Counts;
use crate::scan::scanned_keys::ScannedKeys;
use crate::util::cooperative::YieldCounter;

/// The breaker does not look at fewer coordinators: of three, two dead are an ordinary day.
pub const BREAKER_MIN_COORDINATORS: u64 = 20;

/// The safeguards of a run.
#[derive(Clone, Debug, Default)]
pub struct Safeguards {
    pub protected: Arc<Protected>,
    /// Remove nothing if more than this share of the judged is stale, in percent.
    pub breaker_percent: Option<u32>,
    pub second_look: Option<SecondLook>,
}

/// Why the breaker refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub stale: u64,
    /// Stale and live ones, without the protected.
    pub judged: u64,
    pub percent: u32,
}

impl Share {
    /// What replies and logs say.
    pub fn reason(&self) -> String {
        let Self {
            stale,
            judged,
            percent,
        } = self;
        format!("breaker: {stale} of {judged} coordinators are stale, more than {percent} percent")
    }
}

/// What the safeguards found.
#[derive(Debug, Default)]
pub struct Caught {
    /// Nothing may be removed.
    pub refused: Option<Share>,
    /// What the next scheduled run should know.
    pub fingerprints: Option<Fingerprints>,
}

impl Safeguards {
    /// Spare what is protected or unconfirmed: the verdict becomes `Live`, and it is counted. `None` if told to
    /// stop.
    pub fn spare(
        &self,
        collection: &ScannedKeys,
        layout: &Layout,
        heartbeats: &mut Heartbeats,
        counts: &mut Counts,
        yields: &YieldCounter,
    ) -> Option<Caught> {
        let Heartbeats {
            positions,
            verdicts,
            beats_ms,
        } = heartbeats;
        let checked = verdicts.len() as u64;
        let (mut stale, mut live) = (0u64, 0u64);
        let mut looked_at: Vec<(i64, &[u8])> = Vec::new();
        let all = verdicts.iter_mut().zip(positions).zip(beats_ms);
        for ((verdict, position), beat_ms) in all {
            yields.step()?;
            match verdict {
                Verdict::Live => live = live.saturating_add(1),
                Verdict::Unreadable => {}
                Verdict::Stale { .. } => {
                    let record = collection.get(*position);
                    let name = record.map(|record| record.name).unwrap_or_default();
                    yields.name(name)?;
                    if self.protected.matches(id_of(name, layout)) {
                        *verdict = Verdict::Live;
                        counts.coordinators_stale = counts.coordinators_stale.saturating_add(1);
                        counts.coordinators_protected =
                            counts.coordinators_protected.saturating_add(1);
                        continue;
                    }
                    stale = stale.saturating_add(1);
                    let Some(look) = &self.second_look else {
                        continue;
                    };
                    looked_at.push((*beat_ms, name));
                    if !look.confirms(name) {
                        *verdict = Verdict::Live;
                        counts.coordinators_stale = counts.coordinators_stale.saturating_add(1);
                        counts.coordinators_waiting = counts.coordinators_waiting.saturating_add(1);
                    }
                }
            }
        }
        // The oldest are remembered first, for they are the first to go.
        yields.sort_by(&mut looked_at, Ord::cmp)?;
        let names = looked_at.iter().map(|(_, name)| *name);
        let fingerprints = match &self.second_look {
            Some(look) => Some(look.remember(names, yields)?),
            None => None,
        };
        Some(Caught {
            refused: self.share(checked, stale, live),
            fingerprints,
        })
    }

    /// The share of the stale if it is too large. Unreadable heartbeats are not judged, so they do not make it
    /// smaller.
    pub fn share(&self, checked: u64, stale: u64, live: u64) -> Option<Share> {
        let percent = self.breaker_percent?;
        let judged = stale.saturating_add(live);
        let too_many = stale.saturating_mul(100) > judged.saturating_mul(u64::from(percent));
        (checked >= BREAKER_MIN_COORDINATORS && too_many).then_some(Share {
            stale,
            judged,
            percent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_breaker_opens_above_its_share_and_not_at_it() {
        // Checked, stale, live, percent, opens.
        let table = [
            (20, 10, 10, 50, false),
            (20, 11, 9, 50, true),
            (21, 11, 10, 50, true),
            (19, 19, 0, 50, false),
            (20, 20, 0, 99, true),
            (20, 20, 0, 100, false),
            (100, 1, 99, 1, false),
            (100, 2, 98, 1, true),
            // Sixty cannot be read: of the forty others nearly all are stale.
            (100, 39, 1, 50, true),
            (20, 0, 0, 1, false),
            (u64::MAX, u64::MAX, 0, 99, false),
        ];
        for (checked, stale, live, percent, opens) in table {
            let safety = Safeguards {
                breaker_percent: Some(percent),
                ..Safeguards::default()
            };
            let share = safety.share(checked, stale, live);
            assert_eq!(share.is_some(), opens, "{checked} {stale} {live} {percent}");
            assert_eq!(Safeguards::default().share(checked, stale, live), None);
        }
    }

    #[test]
    fn the_reason_has_its_numbers() {
        let share = Share {
            stale: 38,
            judged: 40,
            percent: 50,
        };
        let reason = "breaker: 38 of 40 coordinators are stale, more than 50 percent";
        assert_eq!(share.reason(), reason);
    }
}
