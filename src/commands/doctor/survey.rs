//! What DOCTOR's walk counts as it meets heartbeats and keys that look like family keys.
//!
//! Bounded, however many there are: every table has a most, and so have the names kept as examples.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Settings;
use super::examples::Examples;
use super::unknown_keys::UnknownKeys;
use crate::heartbeat::details::HeartbeatDetails;
use crate::heartbeat::forms::Form;
use crate::keys::layout::Layout;
use crate::scan::visit::Observer;

/// Different lives are counted one by one up to this many.
const MAX_LIVES: usize = 1024;

/// A beat is in the future when it is so far ahead: clocks of good servers differ by less.
const AHEAD_MS: i64 = 1000;

/// Why a heartbeat is not judged although it gives a time.
const RESERVED: &str = "its name is reserved";

/// Heartbeats with the same trouble.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    pub heartbeats: u64,
    /// One of them.
    pub example: Option<Vec<u8>>,
    /// The bytes of that one that are to blame.
    pub bytes: Vec<u8>,
}

/// How long some heartbeats last after the beat, in seconds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lives {
    pub heartbeats: u64,
    /// The shortest and the longest.
    pub range_s: Option<(u64, u64)>,
    by_second: BTreeMap<u64, u64>,
}

impl Lives {
    fn add(&mut self, life_s: u64) {
        self.heartbeats = self.heartbeats.saturating_add(1);
        let (min, max) = self.range_s.unwrap_or((life_s, life_s));
        self.range_s = Some((min.min(life_s), max.max(life_s)));
        let has_room = self.by_second.len() < MAX_LIVES;
        if has_room || self.by_second.contains_key(&life_s) {
            bump(self.by_second.entry(life_s).or_default());
        }
    }

    /// The most frequent.
    pub fn usual_s(&self) -> Option<u64> {
        let most = |(_, one): &(&u64, &u64), (_, other): &(&u64, &u64)| one.cmp(other);
        self.by_second
            .iter()
            .max_by(most)
            .map(|(life_s, _)| *life_s)
    }
}

fn bump(sum: &mut u64) {
    *sum = sum.saturating_add(1);
}

/// What was met.
#[derive(Debug)]
pub struct Survey {
    /// As they were when the run began.
    pub settings: Settings,
    pub layout: Arc<Layout>,
    examples: Examples,
    /// Heartbeats that the caller may read.
    pub heartbeats: u64,
    pub heartbeats_denied: u64,
    pub without_ttl: u64,
    /// Those of them that can never be judged.
    pub unreadable_without_ttl: u64,
    /// Those that give no time, and are alive while they are there.
    pub presences: u64,
    /// Those that can never be judged, by reason.
    pub troubles: BTreeMap<String, Trouble>,
    /// Where the time stands and in which form.
    pub forms: BTreeMap<(String, &'static str), u64>,
    /// Beats in the future, and how far the furthest is, in seconds.
    pub ahead: u64,
    pub ahead_max_s: u64,
    /// Those that expire before they can become stale.
    pub never: Lives,
    /// Those that expire so soon after that the schedule may not meet them.
    pub brief: Lives,
    pub unknown_keys: UnknownKeys,
    pub unknown_denied: u64,
}

impl Survey {
    /// Nothing met yet. `own` is a key of the module itself, which is not counted.
    pub fn new(settings: Settings, layout: Arc<Layout>, own: Vec<u8>) -> Self {
        Self {
            settings,
            examples: Examples::default(),
            heartbeats: 0,
            heartbeats_denied: 0,
            without_ttl: 0,
            unreadable_without_ttl: 0,
            presences: 0,
            troubles: BTreeMap::new(),
            forms: BTreeMap::new(),
            ahead: 0,
            ahead_max_s: 0,
            never: Lives::default(),
            brief: Lives::default(),
            unknown_keys: UnknownKeys::new(&layout, own),
            unknown_denied: 0,
            layout,
        }
    }

    /// A heartbeat can be judged for so long after its beat.
    fn add_life(&mut self, life_ms: i64) {
        // Ages are floored to whole seconds, and in the moment it expires it is gone.
        let oldest_s = life_ms.saturating_sub(1).div_euclid(1000);
        let threshold_s = self.settings.threshold_s;
        let soon_s = u64::from(threshold_s).saturating_add(self.settings.window_s());
        let life_s = u64::try_from(life_ms.saturating_add(500).div_euclid(1000)).unwrap_or(0);
        if oldest_s <= i64::from(threshold_s) {
            self.never.add(life_s);
        } else if life_s < soon_s {
            self.brief.add(life_s);
        }
    }
}

impl Observer for Survey {
    fn deny_heartbeat(&mut self) {
        bump(&mut self.heartbeats_denied);
    }

    fn add(&mut self, name: &[u8], vitals: &HeartbeatDetails, now_ms: i64) {
        bump(&mut self.heartbeats);
        if vitals.is_presence() {
            return bump(&mut self.presences);
        }
        if vitals.expires_ms.is_none() {
            bump(&mut self.without_ttl);
        }
        if let Some((field, form)) = &vitals.told {
            bump(
                self.forms
                    .entry((field.clone(), Form::word(*form)))
                    .or_default(),
            );
        }
        let beat_ms = vitals.reading.newest_ms;
        let ahead_ms = beat_ms.unwrap_or(now_ms).saturating_sub(now_ms);
        if ahead_ms >= AHEAD_MS {
            bump(&mut self.ahead);
            let ahead_s = u64::try_from(ahead_ms / 1000).unwrap_or_default();
            self.ahead_max_s = self.ahead_max_s.max(ahead_s);
        }
        let trouble = vitals.trouble.as_ref();
        let why = match trouble {
            Some(trouble) => Some(trouble.cause()),
            None => (self.layout.is_never_touched(name)).then(|| RESERVED.to_owned()),
        };
        if let Some(why) = why {
            if vitals.expires_ms.is_none() {
                bump(&mut self.unreadable_without_ttl);
            }
            let alike = self.troubles.entry(why).or_default();
            bump(&mut alike.heartbeats);
            if alike.example.is_none() {
                alike.example = self.examples.keep(name);
                alike.bytes = trouble.map(|t| t.bytes.clone()).unwrap_or_default();
            }
        } else if let (Some(beat_ms), Some(expires_ms)) = (beat_ms, vitals.expires_ms) {
            self.add_life(expires_ms.saturating_sub(beat_ms));
        }
    }

    fn concerns(&self, name: &[u8]) -> bool {
        self.unknown_keys.concern(name)
    }

    fn add_unknown(&mut self, name: &[u8], may_read: bool) {
        if may_read {
            let is_left_alone = self.layout.is_never_touched(name);
            self.unknown_keys
                .add(name, is_left_alone, &mut self.examples);
        } else {
            bump(&mut self.unknown_denied);
        }
    }
}

#[cfg(test)]
#[path = "survey_tests.rs"]
mod tests;
