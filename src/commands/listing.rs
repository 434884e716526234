//! What LIST answers: the oldest coordinators that fit, and how many there are in all.
//!
//! Pure. Memory is bounded by COUNT and by the length of the names kept, however many heartbeats there are: all are
//! counted, the oldest are kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::commands::query::ListOptions;
use crate::heartbeat::Verdict;
use crate::heartbeat::details::HeartbeatDetails;
use crate::heartbeat::state::State;
use crate::heartbeat::trouble::Trouble;
use crate::keys::layout::Layout;
use crate::keys::pattern;
use crate::plan::heartbeats;
use crate::reply::room;
use crate::reply::value::Value;
use crate::report::cost::Cost;

/// One coordinator as it is listed.
#[derive(Debug)]
struct Entry {
    state: State,
    age_s: Option<i64>,
    ttl_s: Option<i64>,
    field: Option<String>,
    trouble: Option<Trouble>,
}

/// A list under way.
#[derive(Debug)]
pub struct Listing {
    options: ListOptions,
    threshold_s: u32,
    layout: Arc<Layout>,
    /// By the last beat in milliseconds, and by name: the oldest first, those without a time last.
    oldest: BTreeMap<(i64, Vec<u8>), Entry>,
    name_bytes: usize,
    /// An id that would have been listed, had MATCH fitted it.
    unmatched: Option<Vec<u8>>,
    checked: u64,
    live: u64,
    stale: u64,
    unreadable: u64,
    matched: u64,
    denied: u64,
    /// In a cluster: why this is not all.
    pub note: Option<String>,
}

impl Listing {
    /// Nothing seen yet, and names read by this layout.
    pub fn new(options: ListOptions, threshold_s: u32, layout: Arc<Layout>) -> Self {
        Self {
            options,
            threshold_s,
            layout,
            oldest: BTreeMap::new(),
            name_bytes: 0,
            unmatched: None,
            checked: 0,
            live: 0,
            stale: 0,
            unreadable: 0,
            matched: 0,
            denied: 0,
            note: None,
        }
    }

    /// A heartbeat that the caller may not read.
    pub fn deny(&mut self) {
        self.denied = self.denied.saturating_add(1);
    }

    /// A heartbeat of this name, seen at this moment.
    pub fn add(&mut self, name: &[u8], vitals: HeartbeatDetails, now_ms: i64) {
        let verdict =
            heartbeats::judge(name, vitals.reading, now_ms, self.threshold_s, &self.layout);
        let count = |sum: &mut u64| *sum = sum.saturating_add(1);
        count(&mut self.checked);
        count(match verdict {
            Verdict::Live => &mut self.live,
            Verdict::Stale { .. } => &mut self.stale,
            Verdict::Unreadable => &mut self.unreadable,
        });
        let state = State::from(verdict);
        let is_wanted = self.options.state.is_none_or(|wanted| wanted == state);
        if !is_wanted {
            return;
        }
        if let Some(pattern) = &self.options.pattern {
            let id = heartbeats::id_of(name, &self.layout);
            if !pattern.matches(id) {
                self.unmatched.get_or_insert_with(|| id.to_vec());
                return;
            }
        }
        count(&mut self.matched);
        let beat_ms = vitals.reading.newest_ms.unwrap_or(i64::MAX);
        let is_full = self.oldest.len() >= self.options.count as usize;
        let youngest = self.oldest.last_key_value();
        let is_younger =
            youngest.is_some_and(|((ms, known), _)| (*ms, known.as_slice()) < (beat_ms, name));
        if is_full && is_younger {
            return;
        }
        let entry = Entry {
            state,
            age_s: vitals.age_s(now_ms),
            ttl_s: vitals.ttl_s(now_ms),
            field: vitals.told.map(|(field, _)| field),
            trouble: vitals.trouble,
        };
        if self
            .oldest
            .insert((beat_ms, name.to_vec()), entry)
            .is_none()
        {
            self.name_bytes = self.name_bytes.saturating_add(room::written_bytes(name));
        }
        while self.oldest.len() > self.options.count as usize || self.name_bytes > room::MAX_BYTES {
            let Some(((_, name), _)) = self.oldest.pop_last() else {
                return;
            };
            self.name_bytes = self.name_bytes.saturating_sub(room::written_bytes(&name));
        }
    }

    /// The reply.
    pub fn to_value(&self, keys_scanned: u64, cost: &Cost) -> Value {
        let mut fields = vec![
            ("threshold_s", u64::from(self.threshold_s).into()),
            ("keys_scanned", keys_scanned.into()),
            ("coordinators_checked", self.checked.into()),
            ("coordinators_live", self.live.into()),
            ("coordinators_stale", self.stale.into()),
            ("coordinators_unreadable", self.unreadable.into()),
            ("coordinators_matched", self.matched.into()),
        ];
        fields.extend(cost.fields());
        // The server may report a heartbeat twice, and the writer may have been in between.
        let mut newest: HashMap<&[u8], i64> = HashMap::new();
        for (beat_ms, name) in self.oldest.keys() {
            newest.insert(name, *beat_ms);
        }
        let listed = self
            .oldest
            .iter()
            .filter(|((beat_ms, name), _)| newest.get(name.as_slice()) == Some(beat_ms));
        let listed = listed.map(|((_, name), entry)| entry.to_value(name, &self.layout));
        fields.push(("coordinators", Value::Array(listed.collect())));
        if self.denied > 0 {
            fields.push(("heartbeats_denied", self.denied.into()));
        }
        if let Some(id) = self.unmatched.as_ref().filter(|_| self.matched == 0) {
            let state = self.options.state.map(State::word);
            let what = state.map_or("id".into(), |state| format!("{state} id"));
            let why = pattern::nothing_fits(&what, id);
            fields.push(("reason", Value::text(why)));
        }
        if let Some(note) = &self.note {
            fields.push(("note", Value::text(note.as_bytes())));
        }
        Value::Map(fields)
    }
}

impl Entry {
    fn to_value(&self, heartbeat: &[u8], layout: &Layout) -> Value {
        let reading = heartbeats::coordinator(heartbeat, layout);
        let id = reading.map(|r| r.id_of(heartbeat)).unwrap_or_default();
        let swarm = reading.and_then(|r| r.swarm_of(heartbeat));
        let field = self.field.as_ref();
        Value::Map(vec![
            ("id", Value::text(id)),
            ("swarm", swarm.map_or(Value::Null, Value::text)),
            ("state", Value::Status(self.state.word())),
            ("age_s", self.age_s.map_or(Value::Null, Value::from)),
            ("ttl_s", self.ttl_s.map_or(Value::Null, Value::from)),
            (
                "field",
                field.map_or(Value::Null, |f| Value::text(f.as_bytes())),
            ),
            (
                "trouble",
                self.trouble
                    .as_ref()
                    .map_or(Value::Null, |trouble| Value::text(trouble.sentence())),
            ),
        ])
    }
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
