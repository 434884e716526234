//! Tests of the plan: named cases, the scenario files, and properties against the slow model.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::*;
use crate::heartbeat::{self, Reading};
use crate::layout::Layout;
use crate::plan_model::{Outcome, model};
use crate::protect::Protected;
use crate::second_look::{Prints, SecondLook, Seen};

const NOW_MS: i64 = 1_700_000_000_000;

fn stale(age_s: i64) -> Reading {
    Reading {
        newest_ms: Some(NOW_MS - age_s * 1000),
        doubtful: false,
    }
}

pub(super) fn question() -> Question {
    Question {
        layout: Arc::clone(&BUILT_IN),
        now_ms: NOW_MS,
        threshold_s: 600,
        pattern: None,
        limit: None,
        ids: 100,
        truncated: false,
        orphans: false,
        names_kept: false,
        locality: None,
        safety: Default::default(),
    }
}

/// Read once: these tests look at millions of names.
static BUILT_IN: LazyLock<Arc<Layout>> = LazyLock::new(Arc::default);

pub(super) type Keys = Vec<(Vec<u8>, Option<Reading>)>;

pub(super) fn collect(keys: &Keys) -> Collection {
    let mut collection = Collection::default();
    for (name, beat) in keys {
        if let Some(family) = BUILT_IN.family_of(name) {
            collection.push(Record {
                name,
                family,
                denied: false,
                beat: *beat,
            });
        }
    }
    collection
}

fn planned(keys: &Keys, question: &Question) -> (Collection, Plan) {
    let collection = collect(keys);
    let plan = plan(&collection, question, &AtomicBool::new(false)).unwrap();
    (collection, plan)
}

pub(super) fn names(collection: &Collection, positions: &[Position]) -> Vec<Vec<u8>> {
    let name = |p: &Position| collection.get(*p).unwrap().name.to_vec();
    positions.iter().map(name).collect()
}

fn outcome(collection: &Collection, plan: &Plan) -> Outcome {
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

#[test]
fn further_stale_owners_are_named_for_a_second_look() {
    let keys = vec![
        beat("blocking:heartbeat:a", 700),
        beat("blocking:heartbeat:bb", 800),
        key("blocking:idempotency:a:bb:t:1:9"),
        key("blocking:signal:a"),
    ];
    let (collection, plan) = planned(&keys, &question());
    let order = names(&collection, &plan.removals);
    let place = order
        .iter()
        .position(|n| n.starts_with(b"blocking:idem"))
        .unwrap();
    let heartbeats = names(&collection, &plan.heartbeats);
    let rivals: Vec<_> = plan
        .rivals
        .iter()
        .map(|r| (r.removal, &heartbeats[r.heartbeat as usize]))
        .collect();
    // It goes with the longer id, and the other coordinator must still be dead then.
    assert_eq!(rivals, [(place, &b"blocking:heartbeat:a".to_vec())]);
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
    let order = names(&collection, &plan.removals);
    let heartbeats = names(&collection, &plan.heartbeats);
    let rivals: Vec<_> = plan
        .rivals
        .iter()
        .map(|r| {
            (
                order[r.removal].as_slice(),
                heartbeats[r.heartbeat as usize].as_slice(),
            )
        })
        .collect();
    assert_eq!(rivals, [(own.as_bytes(), other.as_bytes())]);
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
        beat: None,
    });
    let plan = plan(&collection, &question(), &AtomicBool::new(false)).unwrap();
    assert_eq!(
        names(&collection, &plan.removals),
        [b"blocking:signal:a".to_vec()]
    );
    assert_eq!(plan.counts.keys_denied, 1);
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
fn too_many_possible_owners_keep_a_key() {
    let mut keys: Keys = Vec::new();
    let mut id = String::new();
    for _ in 0..=MAX_OWNERS {
        id += if id.is_empty() { "x" } else { ":x" };
        keys.push(beat(&format!("blocking:heartbeat:{id}"), 700));
    }
    keys.push(key(&format!("blocking:ack:{id}")));
    let (_, plan) = planned(&keys, &question());
    assert_eq!(held(&plan, Hold::OverBound), 1);
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
    let named = |list: &Chunked<Position>| {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_plan_equals_the_model(
        keys in any_keys(),
        limit in prop_oneof![Just(None), (1u32..5).prop_map(Some)],
        only_a in any::<bool>(),
    ) {
        let question = Question {
            limit,
            pattern: only_a.then(|| Pattern::new(b"a*").unwrap()),
            ..question()
        };
        let (collection, plan) = planned(&keys, &question);
        let admits = |id: &[u8]| !only_a || id.starts_with(b"a");
        let expected = model(&keys, NOW_MS, 600, &admits, limit);
        prop_assert_eq!(outcome(&collection, &plan), expected);
    }

    #[test]
    fn duplicates_and_order_change_nothing(
        (keys, again) in any_keys().prop_flat_map(|keys| {
            let twice: Keys = keys.iter().chain(&keys).cloned().collect();
            (Just(keys), Just(twice).prop_shuffle())
        }),
    ) {
        // One key has one value: duplicates in the generated set would be different beats.
        let mut seen = BTreeSet::new();
        let keys: Keys = keys.into_iter().filter(|(name, _)| seen.insert(name.clone())).collect();
        let values: std::collections::BTreeMap<_, _> = keys.iter().cloned().collect();
        let again: Keys = again.into_iter().map(|(name, _)| { let beat = values[&name]; (name, beat) }).collect();
        let (once, plan_once) = planned(&keys, &question());
        let (twice, plan_twice) = planned(&again, &question());
        prop_assert_eq!(outcome(&once, &plan_once), outcome(&twice, &plan_twice));
        prop_assert_eq!(plan_once.stale_ids, plan_twice.stale_ids);
    }

    /// A walk cut into slices reports the keys around a cut again when the table shrinks meanwhile.
    #[test]
    fn any_slicing_of_a_walk_gives_the_result_of_one_slice(
        keys in any_keys(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..5), 0..6),
    ) {
        let mut seen = BTreeSet::new();
        let keys: Keys = keys.into_iter().filter(|(name, _)| seen.insert(name.clone())).collect();
        let mut sliced = Keys::new();
        let mut cuts: Vec<(usize, usize)> =
            cuts.iter().map(|(at, again)| (at.index(keys.len() + 1), *again)).collect();
        cuts.push((keys.len(), 0));
        cuts.sort_unstable();
        let mut from = 0;
        for (to, again) in cuts {
            sliced.extend_from_slice(&keys[from..to]);
            from = to.saturating_sub(again).min(from.max(to));
        }
        sliced.extend_from_slice(&keys[from..]);
        let (whole, plan_whole) = planned(&keys, &question());
        let (parts, plan_parts) = planned(&sliced, &question());
        prop_assert_eq!(outcome(&whole, &plan_whole), outcome(&parts, &plan_parts));
    }

    #[test]
    fn nothing_of_a_living_or_unreadable_coordinator_goes(keys in any_keys()) {
        let (collection, plan) = planned(&keys, &question());
        let removed = names(&collection, &plan.removals);
        for (name, beat) in &keys {
            let Some(beat) = beat else { continue };
            let verdict = heartbeat::verdict(*beat, NOW_MS, 600);
            if matches!(verdict, Verdict::Stale { .. }) || !crate::plan_model::beats_for(name).iter().any(|(swarm, _)| swarm.is_none()) {
                continue;
            }
            let id = &name[b"blocking:heartbeat:".len()..];
            for prefix in ["blocking:heartbeat:", "blocking:signal:", "coordinator:activity:", "blocking:ack:"] {
                let own = [prefix.as_bytes(), id].concat();
                prop_assert!(!removed.contains(&own));
                let longer = [own.as_slice(), b":"].concat();
                prop_assert!(prefix != "blocking:ack:" || !removed.iter().any(|r| r.starts_with(&longer)));
            }
        }
    }
}

/// Prints of every heartbeat as it is, and the memory of a run that saw these ones.
fn looked_at(keys: &Keys, seen_before: &[&str]) -> SecondLook {
    let prints = Prints::default();
    let mut look = SecondLook {
        prints: prints.clone(),
        before: Arc::default(),
        most: 100,
        seen: Seen::default(),
    };
    for (name, reading) in keys {
        if let Some(ms) = reading.and_then(|reading| reading.newest_ms) {
            look.seen.push(&prints, name, prints.of(&ms.to_le_bytes()));
        }
    }
    let breath = Breath::unstoppable();
    look.prepare(&breath).unwrap();
    let names = seen_before.iter().map(|name| name.as_bytes());
    look.before = Arc::new(look.remember(names, &breath).unwrap());
    look
}

fn with(safety: Safety) -> Question {
    Question {
        safety,
        ..question()
    }
}

#[test]
fn whoever_is_protected_counts_as_stale_and_protects_like_the_living() {
    let keys = vec![
        beat("blocking:heartbeat:keep", 700),
        beat("blocking:heartbeat:dead", 700),
        key("blocking:signal:keep"),
        key("blocking:signal:dead"),
        key("blocking:idempotency:dead:keep:1"),
        // No heartbeat tells of this one, but its name does.
        key("blocking:idempotency:dead:kept-too:1"),
    ];
    let safety = Safety {
        protected: Arc::new(Protected::parse(b"keep kept-*").unwrap()),
        ..Safety::default()
    };
    let (collection, plan) = planned(&keys, &with(safety));
    let removed = names(&collection, &plan.removals);
    // The heartbeat stays with what may be the protected one's, which has none of its own.
    let expected: [&[u8]; 1] = [b"blocking:signal:dead"];
    assert_eq!(removed, expected);
    assert_eq!(plan.counts.coordinators_stale, 2);
    assert_eq!(plan.counts.coordinators_protected, 1);
    assert_eq!(plan.counts.coordinators_removed, 0);
    assert_eq!(plan.counts.keys_vetoed, 1);
    assert_eq!(held(&plan, Hold::Protected), 1);
    assert_eq!(plan.stale_ids, [b"dead"]);
}

#[test]
fn whoever_waits_for_a_second_look_protects_like_the_living() {
    let keys = vec![
        beat("blocking:heartbeat:seen", 700),
        beat("blocking:heartbeat:new", 800),
        beat("blocking:heartbeat:live", 1),
        key("blocking:signal:seen"),
        key("blocking:idempotency:seen:new:1"),
    ];
    let safety = Safety {
        second_look: Some(looked_at(&keys, &["blocking:heartbeat:seen"])),
        ..Safety::default()
    };
    let (collection, plan) = planned(&keys, &with(safety));
    let removed = names(&collection, &plan.removals);
    let expected: [&[u8]; 2] = [b"blocking:signal:seen", b"blocking:heartbeat:seen"];
    assert_eq!(removed, expected);
    assert_eq!(plan.counts.coordinators_stale, 2);
    assert_eq!(plan.counts.coordinators_waiting, 1);
    assert_eq!(plan.counts.keys_vetoed, 1);
    assert_eq!(plan.sights.map(|sights| sights.len()), Some(2));
}

#[test]
fn an_open_breaker_lets_nobody_go_whatever_match_and_limit_say() {
    let mut keys: Keys = (0..20)
        .map(|n| beat(&format!("blocking:heartbeat:d{n}"), 700))
        .collect();
    keys.push(key("blocking:signal:d7"));
    let look = looked_at(&keys, &[]);
    for (pattern, limit, percent, refused) in [
        (None, None, 99, true),
        (Some("d7"), None, 99, true),
        (None, Some(1), 99, true),
        (None, None, 100, false),
    ] {
        let mut asked = with(Safety {
            breaker_percent: Some(percent),
            ..Safety::default()
        });
        asked.pattern = pattern.map(|glob| Pattern::new(glob.as_bytes()).unwrap());
        asked.limit = limit;
        let (_, plan) = planned(&keys, &asked);
        assert_eq!(plan.refused.is_some(), refused);
        assert_eq!(plan.removals.is_empty(), refused);
        assert_eq!(plan.counts.coordinators_removed == 0, refused);
        assert!(!plan.stale_ids.is_empty());
        assert!(!plan.limited);
    }
    // Those who wait are in the share, too.
    let safety = Safety {
        breaker_percent: Some(50),
        second_look: Some(look),
        ..Safety::default()
    };
    let (_, plan) = planned(&keys, &with(safety));
    assert!(plan.refused.is_some());
    assert_eq!(plan.sights.map(|sights| sights.len()), Some(20));
}

/// Whatever of a family stays without a living owner can be found again through every stale one.
#[test]
fn a_key_that_stays_without_a_living_owner_holds_the_heartbeats_of_all_its_owners() {
    let keys = vec![
        beat("blocking:heartbeat:a", 900),
        beat("blocking:heartbeat:b", 800),
        beat("swarm:s:blocking:heartbeat:b", 700),
        beat("blocking:heartbeat:c", 700),
        key("blocking:idempotency:a:b:kept-1:1"),
        key("blocking:signal:a"),
        key("blocking:signal:b"),
        key("blocking:signal:c"),
    ];
    let safety = Safety {
        protected: Arc::new(Protected::parse(b"kept-*").unwrap()),
        ..Safety::default()
    };
    for limit in [None, Some(1)] {
        let asked = Question {
            limit,
            ..with(safety.clone())
        };
        let (collection, plan) = planned(&keys, &asked);
        let removed: BTreeSet<Vec<u8>> = names(&collection, &plan.removals).into_iter().collect();
        let expected: &[&str] = match limit {
            None => &[
                "blocking:signal:a",
                "blocking:signal:b",
                "blocking:signal:c",
                "blocking:heartbeat:c",
            ],
            Some(_) => &["blocking:signal:a"],
        };
        let expected: BTreeSet<Vec<u8>> = expected.iter().map(|n| n.as_bytes().to_vec()).collect();
        assert_eq!(removed, expected);
        assert_eq!(held(&plan, Hold::Protected), 1);
        assert_eq!(plan.counts.keys_vetoed, 0);
    }
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
            let mut collection = Collection::default();
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
