//! An explanation in words and as a reply.

use std::sync::Arc;

use crate::heartbeat::details::HeartbeatDetails;
use crate::heartbeat::forms::Form;
use crate::heartbeat::state::State;
use crate::heartbeat::trouble::Trouble;
use crate::keys::family::Family;
use crate::keys::layout::{AllReadings, Layout};
use crate::keys::name_bounds::MAX_OWNERS;
use crate::plan::explanation::{Beating, Explanation, KeyFate, Shown};
use crate::plan::heartbeats;
use crate::reply::error::shown;
use crate::reply::value::Value;
use crate::report::cost::Cost;
use crate::schedule::kept_away;

/// What matters beside the plan.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// Start of the run, milliseconds since 1970.
    pub now_ms: i64,
    pub threshold_s: u32,
    /// How names were read.
    pub layout: Arc<Layout>,
    pub warm_up_left_s: u64,
    /// For how long writers were kept away before it.
    pub writers_away_s: u64,
    /// Why ORPHANS cannot be judged here.
    pub orphans_stay: Option<&'static str>,
    /// The walk did not gather all keys.
    pub is_truncated: bool,
    pub keys_scanned: u64,
    /// Names that the caller may not read, heartbeats of the id left out.
    pub names_denied: u64,
    pub heartbeats_denied: u64,
}

/// A heartbeat of the id with what was read of it just now.
#[derive(Clone, Debug)]
pub struct Read {
    pub beating: Beating,
    /// `None` if it is gone by now.
    pub vitals: Option<HeartbeatDetails>,
    /// Whether the schedule saw the same bytes before; `None` if it does not look.
    pub seen_before: Option<bool>,
    /// Milliseconds since 1970.
    pub read_ms: i64,
}

/// The answer: the explanation, with what was read of its heartbeats, without what the caller may not read.
#[derive(Debug)]
pub struct Answer {
    pub explanation: Explanation,
    pub heartbeats: Vec<Read>,
    pub around: Circumstances,
}

impl Answer {
    /// The worst for removal first: life in one place protects, whatever the others say.
    fn verdict(&self) -> &'static str {
        let states = || self.heartbeats.iter().map(|read| read.beating.state);
        let found = [State::Live, State::Unreadable, State::Stale];
        match found
            .into_iter()
            .find(|state| states().any(|s| s == *state))
        {
            Some(state) => state.word(),
            None if self.around.heartbeats_denied > 0 => "denied",
            None if self.explanation.is_elsewhere => "elsewhere",
            None => "absent",
        }
    }

    /// The reply.
    pub fn to_value(&self, cost: &Cost) -> Value {
        let Self {
            explanation,
            around,
            ..
        } = self;
        let counts = &explanation.counts;
        let reasons = self.reasons().into_iter().map(Value::text);
        let heartbeats = self.heartbeats.iter().map(Read::to_value);
        let keys = explanation.shown.iter().map(Shown::to_value);
        let evidence_ms = explanation.newest_evidence_ms;
        let evidence_age_s =
            evidence_ms.map(|ms| around.now_ms.saturating_sub(ms).div_euclid(1000));
        let share = explanation.share.as_ref();
        let mut fields = vec![
            ("reasons", Value::Array(reasons.collect())),
            ("verdict", Value::Status(self.verdict())),
            ("id", Value::text(explanation.id.as_slice())),
            ("threshold_s", u64::from(around.threshold_s).into()),
            ("heartbeats", Value::Array(heartbeats.collect())),
            ("heartbeats_found", explanation.heartbeats_found.into()),
            ("families", explanation.families()),
            ("keys", Value::Array(keys.collect())),
            ("protected", explanation.is_protected.into()),
            (
                "breaker",
                share.map_or(Value::Null, |s| Value::text(s.reason())),
            ),
            ("warm_up_left_s", around.warm_up_left_s.into()),
            ("coordinators_removed", counts.coordinators_removed.into()),
            ("keys_removed", counts.keys_removed().into()),
            (
                "orphans_removed",
                explanation.sum(KeyFate::OrphanRemoved).into(),
            ),
            (
                "evidence_age_s",
                evidence_age_s.map_or(Value::Null, Value::from),
            ),
            ("keys_scanned", around.keys_scanned.into()),
        ];
        fields.extend(cost.fields());
        let denied = around.names_denied.saturating_add(around.heartbeats_denied);
        if denied > 0 {
            fields.push(("names_denied", denied.into()));
        }
        Value::Map(fields)
    }

    /// Every reason in a sentence of its own, what decides most first. Ids and keys stand in other fields, whole;
    /// here they would have to be escaped.
    fn reasons(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.say_of_heartbeats(&mut out);
        self.say_of_safeguards(&mut out);
        self.say_of_keys(&mut out);
        out
    }

    fn say_of_heartbeats(&self, out: &mut Vec<String>) {
        let threshold_s = self.around.threshold_s;
        if self.around.heartbeats_denied > 0 {
            let denied = self.around.heartbeats_denied;
            out.push(format!("you may not read {denied} of its heartbeats"));
        } else if self.heartbeats.is_empty() && self.explanation.is_elsewhere {
            out.push(
                "it has no heartbeat on this node, but may have one on another node of the cluster"
                    .into(),
            );
        } else if self.heartbeats.is_empty() {
            out.push("it has no heartbeat: nothing proves that it is dead".into());
            out.extend(self.say_of_a_key());
        }
        for read in &self.heartbeats {
            let Beating { swarm, state, .. } = &read.beating;
            let whose = match swarm {
                None => "its heartbeat".to_owned(),
                Some(swarm) => format!("its heartbeat of swarm {}", shown(swarm)),
            };
            let Some(vitals) = &read.vitals else {
                out.push(format!("{whose} disappeared while EXPLAIN read it"));
                continue;
            };
            let key = &read.beating.key;
            let layout = &self.around.layout;
            let now = heartbeats::judge(key, vitals.reading, read.read_ms, threshold_s, layout);
            let now = State::from(now);
            if now != *state {
                out.push(format!(
                    "{whose} was {} when it was scanned and is {} now: CLEANUP reads it again before it removes anything",
                    state.word(),
                    now.word()
                ));
                continue;
            }
            let age_s = vitals.age_s(read.read_ms);
            out.push(match (state, age_s.unwrap_or_default()) {
                (State::Unreadable, _) => {
                    let why = vitals.trouble.as_ref().map(Trouble::sentence);
                    let why = why.unwrap_or_else(|| "its name is reserved".into());
                    format!("{whose} is unreadable because {why}; it stays and protects its keys")
                }
                (State::Live, _) if vitals.is_presence() => {
                    let ttl_s = vitals.ttl_s(read.read_ms).unwrap_or_default();
                    format!(
                        "{whose} is live while it exists: it gives no time, and expires in {ttl_s} s unless it is \
                         written again; after that only ORPHANS removes its keys"
                    )
                }
                (State::Live, age_s) if age_s < 0 => {
                    let ahead_s = age_s.saturating_neg();
                    format!("{whose} is live: its beat lies {ahead_s} s in the future")
                }
                (State::Live, age_s) => {
                    format!("{whose} is live: {age_s} s old, not more than {threshold_s} s")
                }
                (State::Stale, age_s) => {
                    format!("{whose} is stale: {age_s} s old, more than {threshold_s} s")
                }
            });
            if let (State::Live, Some(age_s), Some(ttl_s)) =
                (state, age_s, vitals.ttl_s(read.read_ms))
                && age_s.saturating_add(ttl_s) <= i64::from(threshold_s)
            {
                out.push(format!(
                    "it expires in {ttl_s} s, before it can become stale: after that only ORPHANS removes its keys"
                ));
            }
            if read.seen_before == Some(false) && *state == State::Stale {
                out.push("second look: the schedule has not seen this value before, so it waits one interval".into());
            }
        }
    }

    /// If not an id was asked for but a key: whose key it is.
    fn say_of_a_key(&self) -> Option<String> {
        let name = self.explanation.id.as_slice();
        let family = self.around.layout.family_of(name)?;
        let mut readings = AllReadings::up_to(MAX_OWNERS, &self.around.layout);
        let readings = readings.of(name).unwrap_or_default();
        let ids = readings.iter().map(|reading| reading.id_of(name));
        // Where several could be meant, the longest decides, as with a heartbeat.
        let id = shown(ids.clone().max_by_key(|id| id.len())?);
        let kind = family.name();
        Some(if ids.count() == 1 || family == Family::Heartbeat {
            format!("this is the name of the {kind} key of '{id}': ask for that id")
        } else {
            format!(
                "this is the name of a key of family {kind}: ask for an id in it, such as '{id}'"
            )
        })
    }

    fn say_of_safeguards(&self, out: &mut Vec<String>) {
        if self.explanation.is_protected {
            out.push("blocking.protect names it: none of its keys is removed".into());
        }
        if let Some(share) = &self.explanation.share {
            let reason = share.reason();
            out.push(format!(
                "{reason}: scheduled runs remove nothing, manual ones do"
            ));
        }
        let left_s = self.around.warm_up_left_s;
        if left_s > 0 {
            out.push(kept_away::sentence(left_s, self.around.writers_away_s));
        }
        if self.around.is_truncated {
            out.push(
                "not all keys fit blocking.collect-max-bytes: keys and counts here are incomplete"
                    .into(),
            );
        }
    }

    fn say_of_keys(&self, out: &mut Vec<String>) {
        let explanation = &self.explanation;
        let mut say = |fate: KeyFate, text: &str| {
            let count = explanation.sum(fate);
            if count > 0 {
                out.push(format!("{count} {text}"));
            }
        };
        say(
            KeyFate::Vetoed,
            "of its keys are vetoed: another possible owner is not dead",
        );
        say(
            KeyFate::Held,
            "of its keys are held: their name or their owners are over a bound, or blocking.protect may cover them",
        );
        say(
            KeyFate::Elsewhere,
            "of its keys stay because they may belong to coordinators of other nodes; see blocking.cluster-tags",
        );
        say(
            KeyFate::Kept,
            "of its keys are kept: none of their possible owners is dead",
        );
        say(
            KeyFate::Others,
            "of its keys go with another stale coordinator",
        );
        say(
            KeyFate::Denied,
            "of its keys stay because you may not delete them, or other keys of the id",
        );
        say(
            KeyFate::OrphanTooYoung,
            "of its keys are orphans too young for ORPHANS",
        );
        say(
            KeyFate::OrphanKept,
            "of its keys are orphans that are protected, or that too many coordinators could own",
        );
        say(
            KeyFate::Orphan,
            "of its keys are orphans that were not judged",
        );
        if let Some(why) = self.around.orphans_stay {
            out.push(why.into());
        }
        let keys = explanation.counts.keys_removed();
        let orphans = explanation.sum(KeyFate::OrphanRemoved);
        out.push(format!(
            "BLOCKING.CLEANUP would remove {keys} of its keys now, and with ORPHANS {orphans} more"
        ));
    }
}

impl Explanation {
    /// Families in which something was found, with what becomes of it. What there is none of is left out.
    fn families(&self) -> Value {
        let found = self.by_family.iter().filter_map(|(family, fates)| {
            let there = || fates.iter().filter(|(_, count)| **count > 0);
            let add = |sum: u64, (_, count): (_, &u64)| sum.saturating_add(*count);
            let all = [("found", there().fold(0, add))].into_iter();
            let each = there().map(|(fate, count)| (fate.name(), *count));
            let fields = all.chain(each).map(|(name, count)| (name, count.into()));
            let is_there = there().next().is_some();
            is_there.then(|| (family.name(), Value::Map(fields.collect())))
        });
        Value::Map(found.collect())
    }
}

fn bytes_or_null(bytes: Option<&Vec<u8>>) -> Value {
    bytes.map_or(Value::Null, |bytes| Value::text(bytes.as_slice()))
}

impl Shown {
    fn to_value(&self) -> Value {
        Value::Map(vec![
            ("key", Value::text(self.key.as_slice())),
            ("family", Value::Status(self.family.name())),
            ("fate", Value::Status(self.fate.name())),
            ("by", bytes_or_null(self.by.as_ref())),
        ])
    }
}

impl Read {
    fn to_value(&self) -> Value {
        let Self {
            beating,
            vitals,
            seen_before,
            read_ms,
        } = self;
        let vitals = vitals.as_ref();
        let number = |number: Option<i64>| number.map_or(Value::Null, Value::from);
        let told = vitals.and_then(|v| v.told.as_ref());
        let field = told.map(|(field, _)| Value::text(field.as_bytes()));
        let form: Option<Form> = told.map(|(_, form)| *form);
        let trouble = vitals.and_then(|v| v.trouble.as_ref());
        let trouble = trouble.map(Trouble::sentence);
        let name = |name: Option<&Vec<u8>>| bytes_or_null(name.filter(|_| beating.is_named));
        Value::Map(vec![
            ("key", name(Some(&beating.key))),
            ("swarm", name(beating.swarm.as_ref())),
            ("state", Value::Status(beating.state.word())),
            ("age_s", number(vitals.and_then(|v| v.age_s(*read_ms)))),
            ("ttl_s", number(vitals.and_then(|v| v.ttl_s(*read_ms)))),
            ("field", field.unwrap_or(Value::Null)),
            (
                "unit",
                form.map_or(Value::Null, |form| Value::Status(form.word())),
            ),
            ("trouble", trouble.map_or(Value::Null, Value::text)),
            ("fate", Value::Status(beating.fate.name())),
            ("by", name(beating.by.as_ref())),
            ("seen_before", seen_before.map_or(Value::Null, Value::from)),
        ])
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
