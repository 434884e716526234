//! Tests of the plan: named cases, and what the tests beside this file share.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::*;
use crate::heartbeat::{self, Reading};
use crate::keys::layout::Layout;
use crate::plan::plan_model::Outcome;

#[path = "many_owners_tests.rs"]
mod many_owners_tests;
#[path = "model_tests.rs"]
mod model_tests;
#[path = "safeguards_tests.rs"]
mod safeguards_tests;

const NOW_MS: i64 = 1_700_000_000_000;

fn stale(age_s: i64) -> Reading {
    Reading {
        newest_ms: Some(NOW_MS - age_s * 1000),
        doubtful: false,
    }
}

/// What the tests ask unless they say otherwise.
pub fn question() -> Question {
    Question {
        layout: Arc::clone(&BUILT_IN),
        now_ms: NOW_MS,
        threshold_s: 600,
        pattern: None,
        limit: None,
        ids: 100,
        truncated: false,
        sieve: None,
        orphans: false,
        names_kept: false,
        locality: None,
        max_bytes: usize::MAX,
        hears_births: true,
        safety: Default::default(),
    }
}

/// With LIMIT or without, and with `MATCH a*` or without.
pub(super) fn any_question() -> impl Strategy<Value = Question> {
    let limit = prop_oneof![Just(None), (1u32..5).prop_map(Some)];
    (limit, any::<bool>()).prop_map(|(limit, only_a)| Question {
        limit,
        pattern: only_a.then(|| Pattern::new(b"a*").unwrap()),
        ..question()
    })
}

/// Read once: these tests look at millions of names.
static BUILT_IN: LazyLock<Arc<Layout>> = LazyLock::new(Arc::default);

pub(super) type Keys = Vec<(Vec<u8>, Option<Reading>)>;

pub(super) fn collect(keys: &Keys) -> ScannedKeys {
    let mut collection = ScannedKeys::default();
    for (name, beat) in keys {
        if let Some(family) = BUILT_IN.family_of(name) {
            collection.push(Record {
                name,
                family,
                denied: false,
                is_large: false,
                beat: *beat,
            });
        }
    }
    collection
}

fn planned(keys: &Keys, question: &Question) -> (ScannedKeys, Plan) {
    let collection = collect(keys);
    let plan = plan(&collection, question, &AtomicBool::new(false)).unwrap();
    (collection, plan)
}

pub(super) fn names(collection: &ScannedKeys, positions: &[Position]) -> Vec<Vec<u8>> {
    let name = |p: &Position| collection.get(*p).unwrap().name.to_vec();
    positions.iter().map(name).collect()
}

fn outcome(collection: &ScannedKeys, plan: &Plan) -> Outcome {
    let removed: Vec<Vec<u8>> = names(collection, &plan.removals);
    let set: BTreeSet<Vec<u8>> = removed.iter().cloned().collect();
    assert_eq!(set.len(), removed.len(), "a key is named twice");
    Outcome {
        removed: set,
        checked: plan.counts.coordinators_checked,
        stale: plan.counts.coordinators_stale,
        unreadable: plan.counts.coordinators_unreadable,
        coordinators_removed: plan.counts.coordinators_removed,
        vetoed: plan.counts.keys_vetoed,
        orphaned: plan.counts.keys_orphaned,
        held: held(plan, Hold::OverBound),
        limited: plan.limited,
    }
}

fn held(plan: &Plan, hold: Hold) -> u64 {
    let found = plan.counts.held.iter().find(|(cause, _)| *cause == hold);
    found.map_or(0, |(_, count)| count)
}

fn beat(name: &str, age_s: i64) -> (Vec<u8>, Option<Reading>) {
    (name.as_bytes().to_vec(), Some(stale(age_s)))
}

fn key(name: &str) -> (Vec<u8>, Option<Reading>) {
    (name.as_bytes().to_vec(), None)
}

#[test]
fn oldest_first_heartbeat_last_and_limit() {
    let keys = vec![
        key("blocking:ack:b:1"),
        beat("blocking:heartbeat:a", 700),
        beat("blocking:heartbeat:b", 900),
        key("blocking:signal:a"),
        beat("blocking:heartbeat:c", 800),
        key("blocking:signal:b"),
    ];
    let (collection, plan) = planned(&keys, &question());
    let order: Vec<String> = names(&collection, &plan.removals)
        .into_iter()
        .map(|name| String::from_utf8(name).unwrap())
        .collect();
    assert_eq!(
        order,
        [
            "blocking:ack:b:1",
            "blocking:signal:b",
            "blocking:heartbeat:b",
            "blocking:heartbeat:c",
            "blocking:signal:a",
            "blocking:heartbeat:a",
        ]
    );
    assert_eq!(
        plan.stale_ids,
        [b"b".to_vec(), b"c".to_vec(), b"a".to_vec()]
    );
    let limited = Question {
        limit: Some(2),
        ids: 1,
        ..question()
    };
    let (_, plan) = planned(&keys, &limited);
    assert_eq!(plan.doomed.len(), 2);
    assert!(plan.limited);
    assert_eq!(plan.stale_ids, [b"b".to_vec()]);
}

/// What several could own, with the names of all of them, in the order of removal.
fn shared(collection: &ScannedKeys, plan: &Plan) -> Vec<(String, Vec<String>)> {
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let order = names(collection, &plan.removals);
    let heartbeats = names(collection, &plan.heartbeats);
    let owners = |set| {
        let numbers = plan.sets.heartbeats(set);
        let mut owners: Vec<String> = numbers.map(|n| text(&heartbeats[n as usize])).collect();
        owners.sort();
        owners
    };
    let shared = plan.shared.iter();
    shared
        .map(|s| (text(&order[s.removal]), owners(s.owners)))
        .collect()
}

/// By then the run has removed the others, each proved dead in its own slice.
#[test]
fn a_key_of_several_goes_in_the_turn_of_the_last_of_them() {
    let shared_key = "blocking:idempotency:a:bb:t:1:9";
    let keys = vec![
        beat("blocking:heartbeat:a", 700),
        beat("blocking:heartbeat:bb", 800),
        key(shared_key),
        key("blocking:signal:a"),
        key("blocking:signal:bb"),
    ];
    let (collection, plan) = planned(&keys, &question());
    let order = names(&collection, &plan.removals);
    let place = |wanted: &str| order.iter().position(|n| n == wanted.as_bytes()).unwrap();
    assert!(place("blocking:heartbeat:bb") < place(shared_key));
    assert!(place(shared_key) < place("blocking:heartbeat:a"));
    let owners = ["blocking:heartbeat:a", "blocking:heartbeat:bb"].map(str::to_owned);
    let expected = [(shared_key.to_owned(), owners.to_vec())];
    assert_eq!(shared(&collection, &plan), expected);
}

/// Found by fuzzing: the heartbeat of `a` in swarm `s` can also be read as the state that `heartbeat:a` has there, and
/// that longer id was taken for the coordinator's own.
#[test]
fn a_heartbeat_that_could_be_anothers_state_is_looked_at_twice() {
    let (own, other) = (
        "swarm:s:blocking:heartbeat:a",
        "blocking:heartbeat:heartbeat:a",
    );
    let (collection, plan) = planned(&vec![beat(own, 700), beat(other, 800)], &question());
    let owners = vec![other.to_owned(), own.to_owned()];
    assert_eq!(shared(&collection, &plan), [(own.to_owned(), owners)]);
}

#[test]
fn a_denied_key_stays_and_keeps_its_heartbeat() {
    let mut collection = collect(&vec![
        beat("blocking:heartbeat:a", 700),
        key("blocking:signal:a"),
    ]);
    collection.push(Record {
        name: b"coordinator:activity:a",
        family: Family::Activity,
        denied: true,
        is_large: false,
        beat: None,
    });
    let plan = plan(&collection, &question(), &AtomicBool::new(false)).unwrap();
    assert_eq!(
        names(&collection, &plan.removals),
        [b"blocking:signal:a".to_vec()]
    );
    assert_eq!(held(&plan, Hold::Denied), 1);
    assert_eq!(plan.counts.coordinators_removed, 0);
    assert!(plan.doomed[0].keeps_heartbeat);
}

#[test]
fn a_truncated_walk_keeps_every_heartbeat() {
    let truncated = Question {
        truncated: true,
        ..question()
    };
    let keys = vec![beat("blocking:heartbeat:a", 700), key("blocking:signal:a")];
    let (collection, plan) = planned(&keys, &truncated);
    assert_eq!(
        names(&collection, &plan.removals),
        [b"blocking:signal:a".to_vec()]
    );
    assert_eq!(plan.counts.coordinators_removed, 0);
}

#[test]
fn keys_that_stay_are_named_when_asked_for() {
    let keys = vec![
        beat("blocking:heartbeat:s", 700),
        beat("blocking:heartbeat:r", 5),
        key("blocking:idempotency:s:r:1"),
        key("blocking:signal:o"),
        key("blocking:idempotency:r:s:2"),
        key("blocking:ack:s:1"),
        key("blocking:ack:r:1"),
        key("blocking:signal:o"),
    ];
    let (_, plan) = planned(&keys, &question());
    assert!(plan.kept.is_empty());
    let asked = Question {
        names_kept: true,
        ..question()
    };
    let (collection, plan) = planned(&keys, &asked);
    let named = |list: &ChunkedList<Position>| {
        let positions: Vec<Position> = list.iter().copied().collect();
        names(&collection, &positions)
    };
    assert_eq!(
        named(&plan.kept.vetoed),
        [b"blocking:idempotency:s:r:1", b"blocking:idempotency:r:s:2"]
    );
    assert_eq!(named(&plan.kept.orphaned), [b"blocking:signal:o"]);
    assert_eq!((plan.counts.keys_vetoed, plan.counts.keys_orphaned), (2, 1));
}

#[test]
fn told_to_stop_it_stops() {
    let collection = collect(&vec![beat("blocking:heartbeat:a", 700)]);
    assert!(plan(&collection, &question(), &AtomicBool::new(true)).is_none());
}

/// Ids and names built to collide.
fn any_key() -> impl Strategy<Value = (Vec<u8>, Option<Reading>)> {
    let id = "(a|b|ab|heartbeat|blocking|\\*|:){1,4}";
    let id = prop_oneof![4 => "[ab]", 2 => "[ab]:[ab]", 1 => id, 1 => "[ab]:state"];
    let swarm = prop_oneof!["[st]", "s:blocking", "s:agent:a"];
    let beat = prop_oneof![
        4 => (595i64..900).prop_map(stale),
        2 => (-100i64..595).prop_map(stale),
        1 => Just(heartbeat::UNREADABLE),
        1 => (595i64..900).prop_map(|age| Reading { doubtful: true, ..stale(age) }),
    ];
    let template = prop_oneof![
        6 => Just("blocking:heartbeat:{id}"),
        3 => Just("swarm:{swarm}:blocking:heartbeat:{id}"),
        2 => Just("blocking:signal:{id}"),
        2 => Just("blocking:ack:{id}"),
        2 => Just("blocking:ack:{id}:{other}"),
        2 => Just("blocking:idempotency:{id}:{other}:t:1"),
        1 => Just("blocking:idempotency:t:{other}"),
        2 => Just("coordinator:activity:{id}"),
        2 => Just("swarm:{swarm}:agent:{id}:activity"),
        2 => Just("swarm:{swarm}:blocking:{id}"),
        1 => Just("coordinator:work:s:{id}:1"),
        1 => Just("swarm:{swarm}:state"),
        1 => Just("blocking:retry:{id}:1"),
    ];
    (template, swarm, id.clone(), id, beat).prop_map(|(template, swarm, id, other, beat)| {
        let name = template
            .replace("{swarm}", &swarm)
            .replace("{id}", &id)
            .replace("{other}", &other);
        let is_heartbeat = BUILT_IN.family_of(name.as_bytes()) == Some(Family::Heartbeat);
        (name.into_bytes(), is_heartbeat.then_some(beat))
    })
}

pub(super) fn any_keys() -> impl Strategy<Value = Keys> {
    prop::collection::vec(any_key(), 0..30)
}

/// A key that fits two templates has the possible owners of both, whatever stands first in the setting.
#[test]
fn two_templates_that_fit_one_key_are_resolved_for_life() {
    for text in [
        "heartbeat=h:{id} signal=k:{id}:s ack=k:{id}*",
        "ack=k:{id}* signal=k:{id}:s heartbeat=h:{id}",
    ] {
        let layout = Arc::new(Layout::parse(text.as_bytes()).unwrap());
        for (age_of_a_s, age_of_ab_s, removed) in [
            (700, 700, vec!["h:a", "h:a:b", "k:a:b:s"]),
            (0, 700, vec!["h:a:b"]),
            (700, 0, vec!["h:a"]),
            (0, 0, vec![]),
        ] {
            let mut collection = ScannedKeys::default();
            for (name, beat) in [
                beat("h:a", age_of_a_s),
                beat("h:a:b", age_of_ab_s),
                key("k:a:b:s"),
            ] {
                let family = layout.family_of(&name).unwrap();
                collection.push(Record {
                    name: &name,
                    family,
                    denied: false,
                    is_large: false,
                    beat,
                });
            }
            let question = Question {
                layout: Arc::clone(&layout),
                ..question()
            };
            let plan = plan(&collection, &question, &AtomicBool::new(false)).unwrap();
            let mut gone = names(&collection, &plan.removals);
            gone.sort();
            let removed: Vec<Vec<u8>> = removed
                .iter()
                .map(|name| name.as_bytes().to_vec())
                .collect();
            assert_eq!(gone, removed, "{text} {age_of_a_s} {age_of_ab_s}");
        }
    }
}
