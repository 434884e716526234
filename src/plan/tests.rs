//! Tests of the plan: named cases, the scenario files, and properties against the slow model.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::*;
use crate::heartbeat::fingerprint::Fingerprinter;
use crate::heartbeat::{self, Reading};
use crate::keys::layout::Layout;
use crate::keys::name_bounds::MAX_OWNERS;
use crate::plan::plan_model::{Outcome, model};
use crate::plan::protect::Protected;
use crate::plan::second_look::SecondLook;
use crate::scan::fingerprints::SeenFingerprints;

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

/// One id, dead in so many swarms, with a heartbeat of its own as well; and ids within one another.
fn crowded(swarms: usize) -> Keys {
    let mut keys: Keys = (0..swarms)
        .map(|n| {
            beat(
                &format!("swarm:s{n}:blocking:heartbeat:main"),
                1000 + n as i64,
            )
        })
        .collect();
    keys.push(beat("blocking:heartbeat:main", 5000));
    keys.extend((0..50).map(|n| key(&format!("blocking:ack:main:{n}"))));
    keys.push(key("blocking:signal:main"));
    keys
}

#[test]
fn there_is_no_number_of_swarms_at_which_the_dead_are_not_dead() {
    for swarms in [1, MAX_OWNERS - 1, MAX_OWNERS, MAX_OWNERS + 1, 10_000] {
        let keys = crowded(swarms);
        let (collection, plan) = planned(&keys, &question());
        let removed: BTreeSet<Vec<u8>> = names(&collection, &plan.removals).into_iter().collect();
        assert_eq!(removed.len(), keys.len(), "{swarms}");
        assert!(plan.counts.held.is_empty());
        // Of whatever is left at any moment, the heartbeat of an owner is left.
        let order = names(&collection, &plan.removals);
        let last_ack = order
            .iter()
            .rposition(|name| name.starts_with(b"blocking:ack"))
            .unwrap();
        let beats = order[last_ack..]
            .iter()
            .filter(|n| question().layout.family_of(n) == Some(Family::Heartbeat));
        assert!(beats.count() > 0);
        // Each set is kept once, however many keys have it.
        assert!(
            plan.sets.bytes() < 64 * swarms + 4096,
            "{}",
            plan.sets.bytes()
        );
    }
}

#[test]
fn one_living_swarm_of_ten_thousand_protects_the_keys_of_all() {
    let mut keys = crowded(10_000);
    keys[5_000].1 = Some(stale(1));
    let (collection, plan) = planned(&keys, &question());
    assert_eq!(plan.counts.keys_vetoed, 52);
    let removed = names(&collection, &plan.removals);
    assert_eq!(removed.len(), 9_999);
    assert!(removed.iter().all(|name| name.starts_with(b"swarm:")));
}

/// A heartbeat that could come back without an event must be read again in the slice of the removal.
#[test]
fn where_births_are_not_heard_of_too_many_owners_keep_a_key_and_their_heartbeats() {
    for (swarms, is_held) in [(MAX_OWNERS - 1, false), (MAX_OWNERS, true), (1_000, true)] {
        let asked = Question {
            hears_births: false,
            ..question()
        };
        let (_, plan) = planned(&crowded(swarms), &asked);
        // The keys without a swarm, and the heartbeat without one.
        assert_eq!(held(&plan, Hold::OverBound), if is_held { 52 } else { 0 });
        let gone = if is_held { 0 } else { swarms as u64 + 1 };
        assert_eq!(plan.counts.coordinators_removed, gone, "{swarms}");
    }
    // The same where LIMIT leaves too many of them.
    let asked = Question {
        limit: Some(1),
        ..question()
    };
    let (_, plan) = planned(&crowded(1_000), &asked);
    assert_eq!(plan.counts.coordinators_removed, 0);
    assert_eq!(held(&plan, Hold::OverBound), 52);
}

/// Owners within one another, which no crowd is made of.
#[test]
fn any_number_of_ids_within_one_another_are_dead_together() {
    let mut keys: Keys = Vec::new();
    let ids: Vec<String> = (1..=50).map(|n| vec!["x"; n].join(":")).collect();
    for (n, id) in ids.iter().enumerate() {
        keys.push(beat(&format!("blocking:heartbeat:{id}"), 700 + n as i64));
        keys.push(beat(
            &format!("swarm:s:blocking:heartbeat:{id}"),
            700 + n as i64,
        ));
    }
    keys.push(key(&format!("blocking:ack:{}", ids[49])));
    let (collection, plan) = planned(&keys, &question());
    assert_eq!(names(&collection, &plan.removals).len(), 101);
    assert_eq!(
        shared(&collection, &plan)
            .iter()
            .map(|(_, o)| o.len())
            .max(),
        Some(100)
    );
}

/// A key with a name over the bounds stays, and so does the heartbeat of a stale coordinator that could own it.
#[test]
fn a_name_over_the_bounds_stays_with_the_heartbeats_of_its_owners() {
    let long = format!("blocking:idempotency:x:{}q", "a:".repeat(16_000));
    let keys = vec![
        beat("blocking:heartbeat:x", 700),
        beat("blocking:heartbeat:y", 700),
        key(&long),
        key("blocking:signal:x"),
        key("blocking:signal:y"),
    ];
    let (collection, plan) = planned(&keys, &question());
    let removed: BTreeSet<Vec<u8>> = names(&collection, &plan.removals).into_iter().collect();
    let expected = [
        "blocking:signal:x",
        "blocking:signal:y",
        "blocking:heartbeat:y",
    ];
    assert_eq!(
        removed,
        expected.map(|name| name.as_bytes().to_vec()).into()
    );
    assert_eq!(held(&plan, Hold::OverBound), 1);
    // Without an owner, or only with living ones: a run leaves them alone.
    for keys in [&keys[1..], &[key(&long), beat("blocking:heartbeat:x", 1)]] {
        let (_, plan) = planned(&keys.to_vec(), &question());
        assert!(plan.counts.held.is_empty());
    }
}

/// So many that their owners cannot be found out: every coordinator could own them.
#[test]
fn names_over_the_bounds_cost_a_plan_no_more_than_so_many_steps() {
    let mut keys: Keys = (1..=40)
        .map(|n| {
            beat(
                &format!("blocking:heartbeat:{}", vec!["s"; n].join(":")),
                700,
            )
        })
        .collect();
    keys.push(key("blocking:signal:s"));
    let long = "a:".repeat(60_000);
    keys.extend((0..20).map(|n| key(&format!("blocking:idempotency:{n}:{long}q"))));
    let (collection, plan) = planned(&keys, &question());
    assert_eq!(names(&collection, &plan.removals), [b"blocking:signal:s"]);
    assert!(held(&plan, Hold::OverBound) > 0);
}

#[test]
fn a_heartbeat_over_the_bounds_is_never_stale_and_protects_what_its_end_spells() {
    let long = format!("swarm:s{}:z", ":blocking:heartbeat".repeat(500));
    let keys = vec![
        beat(&long, 700),
        beat("blocking:heartbeat:z", 700),
        beat("blocking:heartbeat:y", 700),
        key("blocking:signal:z"),
        key("swarm:t:blocking:z"),
        key("blocking:idempotency:y:z:1"),
        key("blocking:signal:y"),
    ];
    let (collection, plan) = planned(&keys, &question());
    let removed: BTreeSet<Vec<u8>> = names(&collection, &plan.removals).into_iter().collect();
    let expected = ["blocking:signal:y", "blocking:heartbeat:y"];
    assert_eq!(
        removed,
        expected.map(|name| name.as_bytes().to_vec()).into()
    );
    assert_eq!(plan.counts.coordinators_unreadable, 1);
}

/// Sets of owners are held to the memory that a run may take, and a run at its limit gets on all the same.
#[test]
fn sets_of_owners_count_as_memory() {
    let mut keys: Keys = (0..40)
        .map(|n| beat(&format!("blocking:heartbeat:c{n}"), 700))
        .collect();
    for n in 0..4_000usize {
        let named: Vec<String> = (0..30)
            .map(|m| format!("c{}", (n * 7 + m * m + n / 40) % 40))
            .collect();
        keys.push(key(&format!(
            "blocking:idempotency:{n}:{}",
            named.join(":")
        )));
    }
    let asked = Question {
        max_bytes: 0,
        ..question()
    };
    let (_, plan) = planned(&keys, &asked);
    assert!(plan.truncated);
    assert_eq!(plan.counts.coordinators_removed, 0);
    assert!(plan.sets.bytes() < 2 * LEAST_SETS_BYTES);
    assert!(plan.counts.keys_removed() > 100);
    let (_, plan) = planned(&keys, &question());
    assert!(!plan.truncated);
    assert_eq!(plan.counts.keys_removed(), 4_040);
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

proptest! {
    // The model tries every part of such long names.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn names_around_the_bounds_equal_the_model(
        segments in prop::collection::vec(60usize..64, 1..4),
        ages_s in prop::collection::vec(prop_oneof![Just(1i64), 700i64..800], 4),
    ) {
        let [one, other, long, swarm] = [0, 1, 2, 3].map(|n| ages_s[n]);
        let mut keys = vec![beat("blocking:heartbeat:a", one), beat("blocking:heartbeat:a:b", other)];
        for (n, count) in segments.iter().enumerate() {
            let more = "a:".repeat(*count);
            keys.push(key(&format!("blocking:ack:a:{more}{n}")));
            keys.push(key(&format!("swarm:s:blocking:{more}{n}")));
            keys.push(beat(&format!("blocking:heartbeat:{more}{n}"), long));
            keys.push(beat(&format!("swarm:{more}x:blocking:heartbeat:a:b"), swarm));
        }
        keys.push(key("blocking:signal:a:b"));
        keys.push(key("swarm:t:blocking:a:b"));
        keys.sort_by(|one, other| one.0.cmp(&other.0));
        keys.dedup_by(|one, other| one.0 == other.0);
        let (collection, plan) = planned(&keys, &question());
        let expected = model(&keys, NOW_MS, 600, &|_| true, None);
        prop_assert_eq!(outcome(&collection, &plan), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_plan_equals_the_model(
        keys in any_keys(),
        question in any_question(),
    ) {
        let Question { limit, pattern, .. } = &question;
        let (collection, plan) = planned(&keys, &question);
        let admits = |id: &[u8]| pattern.is_none() || id.starts_with(b"a");
        let expected = model(&keys, NOW_MS, 600, &admits, *limit);
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
            if matches!(verdict, Verdict::Stale { .. }) || !crate::plan::plan_model::beats_for(name).iter().any(|(swarm, _)| swarm.is_none()) {
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

/// Fingerprinter of every heartbeat as it is, and the memory of a run that saw these ones.
fn looked_at(keys: &Keys, seen_before: &[&str]) -> SecondLook {
    let prints = Fingerprinter::default();
    let mut look = SecondLook {
        prints: prints.clone(),
        before: Arc::default(),
        most: 100,
        seen: SeenFingerprints::default(),
    };
    for (name, reading) in keys {
        if let Some(ms) = reading.and_then(|reading| reading.newest_ms) {
            look.seen.push(&prints, name, prints.of(&ms.to_le_bytes()));
        }
    }
    let yields = YieldCounter::unstoppable();
    look.prepare(&yields).unwrap();
    let names = seen_before.iter().map(|name| name.as_bytes());
    look.before = Arc::new(look.remember(names, &yields).unwrap());
    look
}

fn with(safety: Safeguards) -> Question {
    Question {
        safety,
        ..question()
    }
}

#[test]
fn a_protected_coordinator_counts_as_stale_and_protects_like_a_live_one() {
    let keys = vec![
        beat("blocking:heartbeat:keep", 700),
        beat("blocking:heartbeat:dead", 700),
        key("blocking:signal:keep"),
        key("blocking:signal:dead"),
        key("blocking:idempotency:dead:keep:1"),
        // No heartbeat tells of this one, but its name does.
        key("blocking:idempotency:dead:kept-too:1"),
    ];
    let safety = Safeguards {
        protected: Arc::new(Protected::parse(b"keep kept-*").unwrap()),
        ..Safeguards::default()
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
fn a_coordinator_that_waits_for_a_second_look_protects_like_a_live_one() {
    let keys = vec![
        beat("blocking:heartbeat:seen", 700),
        beat("blocking:heartbeat:new", 800),
        beat("blocking:heartbeat:live", 1),
        key("blocking:signal:seen"),
        key("blocking:idempotency:seen:new:1"),
    ];
    let safety = Safeguards {
        second_look: Some(looked_at(&keys, &["blocking:heartbeat:seen"])),
        ..Safeguards::default()
    };
    let (collection, plan) = planned(&keys, &with(safety));
    let removed = names(&collection, &plan.removals);
    let expected: [&[u8]; 2] = [b"blocking:signal:seen", b"blocking:heartbeat:seen"];
    assert_eq!(removed, expected);
    assert_eq!(plan.counts.coordinators_stale, 2);
    assert_eq!(plan.counts.coordinators_waiting, 1);
    assert_eq!(plan.counts.keys_vetoed, 1);
    assert_eq!(
        plan.fingerprints.map(|fingerprints| fingerprints.len()),
        Some(2)
    );
}

#[test]
fn an_open_breaker_lets_no_coordinator_go_whatever_match_and_limit_say() {
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
        let mut asked = with(Safeguards {
            breaker_percent: Some(percent),
            ..Safeguards::default()
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
    // Those that wait are in the share, too.
    let safety = Safeguards {
        breaker_percent: Some(50),
        second_look: Some(look),
        ..Safeguards::default()
    };
    let (_, plan) = planned(&keys, &with(safety));
    assert!(plan.refused.is_some());
    assert_eq!(
        plan.fingerprints.map(|fingerprints| fingerprints.len()),
        Some(20)
    );
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
    let safety = Safeguards {
        protected: Arc::new(Protected::parse(b"kept-*").unwrap()),
        ..Safeguards::default()
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
