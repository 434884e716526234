//! Tests of the sieve: named cases, and properties against the slow model and against the plan of everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::super::tests::{Keys, any_keys, any_question, collect, names, question};
use super::super::{Plan, Question, plan};
use super::*;
use crate::cluster::locality::ClusterTags;
use crate::heartbeat::Reading;
use crate::keys::layout::Layout;
use crate::keys::slots::Slots;
use crate::plan::plan_model;
use crate::plan::protect::Protected;
use crate::plan::safeguards::Safeguards;

static GO_ON: AtomicBool = AtomicBool::new(false);

fn sieve_of(keys: &Keys, question: &Question) -> Sieve {
    Sieve::new(&collect(keys), question, &GO_ON).unwrap()
}

/// What a second walk over these keys brings, and the plan of that.
fn sifted(mut sieve: Sieve, keys: &Keys, question: &Question) -> (ScannedKeys, Plan) {
    let is_kept = |(name, beat): &&(Vec<u8>, Option<Reading>)| {
        let is_family = question.layout.family_of(name).is_some();
        beat.is_some() || (is_family && sieve.keeps(name))
    };
    let kept: Keys = keys.iter().filter(is_kept).cloned().collect();
    let question = Question {
        sieve: Some(Arc::new(sieve)),
        ..question.clone()
    };
    let collection = collect(&kept);
    let plan = plan(&collection, &question, &GO_ON).unwrap();
    (collection, plan)
}

fn removed(collection: &ScannedKeys, plan: &Plan) -> BTreeSet<Vec<u8>> {
    names(collection, &plan.removals).into_iter().collect()
}

fn key(name: &str, age_s: Option<i64>) -> (Vec<u8>, Option<Reading>) {
    let beat = age_s.map(|age_s| Reading {
        newest_ms: Some(question().now_ms - age_s * 1000),
        doubtful: false,
    });
    (name.as_bytes().to_vec(), beat)
}

/// The walk reports each key once.
fn once(keys: Keys) -> Keys {
    let keys: BTreeMap<_, _> = keys.into_iter().collect();
    keys.into_iter().collect()
}

#[test]
fn keys_that_the_stale_could_own_are_kept_and_orphans_counted() {
    let keys = vec![
        key("blocking:heartbeat:dead", Some(700)),
        key("blocking:heartbeat:live", Some(1)),
        key("swarm:s:blocking:heartbeat:dead", Some(1)),
        key("blocking:heartbeat:odd", Some(-999_999_999)),
    ];
    let mut sieve = sieve_of(&keys, &question());
    let table = [
        ("blocking:signal:dead", true, 0),
        ("blocking:signal:live", false, 0),
        ("blocking:signal:odd", false, 0),
        ("blocking:signal:nobody", false, 1),
        ("blocking:idempotency:live:dead:1", true, 0),
        ("blocking:idempotency:live:nobody:1", false, 0),
        ("swarm:t:blocking:dead", true, 0),
        // Its own heartbeat may be gone when the plan is made.
        ("swarm:s:blocking:dead", true, 0),
        ("swarm:s:blocking:live", false, 0),
        ("swarm:s:blocking:nobody", false, 1),
    ];
    for (name, is_kept, orphaned) in table {
        sieve.forget_counts();
        assert_eq!(sieve.keeps(name.as_bytes()), is_kept, "{name}");
        assert_eq!(sieve.counts().keys_orphaned, orphaned, "{name}");
    }
    assert!(sieve.knows(b"blocking:heartbeat:dead"));
    for other in ["live", "odd", "dea", "deadd", ""] {
        assert!(!sieve.knows(format!("blocking:heartbeat:{other}").as_bytes()));
    }
    assert!(!sieve.knows(b"swarm:s:blocking:heartbeat:dead"));
}

#[test]
fn names_that_would_take_long_are_kept_and_the_others_tried_within_the_bound() {
    let mut keys: Keys = (1..=10)
        .map(|count| {
            key(
                &format!("blocking:heartbeat:{}", vec!["l"; count].join(":")),
                Some(1),
            )
        })
        .collect();
    keys.push(key("blocking:heartbeat:dead", Some(700)));
    let mut sieve = sieve_of(&keys, &question());
    for count in 1..200 {
        let name = format!("blocking:idempotency:{}", vec!["x"; count].join(":"));
        let is_kept = sieve.keeps(name.as_bytes());
        let takes_long = sieve.tries(name.as_bytes()) > MAX_TRIES_IN_WALK;
        assert_eq!(is_kept, takes_long || count > 62, "{count}");
        assert!(takes_long || count < 25, "{count}");
    }
    let tried = sieve.counts().keys_orphaned;
    assert!((15..25).contains(&tried), "{tried}");
}

#[test]
fn spared_coordinators_do_not_fill_the_memory() {
    let keys = vec![
        key("blocking:heartbeat:dead", Some(700)),
        key("blocking:heartbeat:dear", Some(700)),
    ];
    let asked = Question {
        safety: Safeguards {
            protected: Arc::new(Protected::parse(b"dear").unwrap()),
            ..Safeguards::default()
        },
        ..question()
    };
    let mut sieve = sieve_of(&keys, &asked);
    assert!(sieve.keeps(b"blocking:signal:dead") && !sieve.keeps(b"blocking:signal:dear"));
    assert!(!sieve.knows(b"blocking:heartbeat:dear"));
    assert_eq!(sieve.counts().keys_orphaned, 0);
    // The protection is lifted, the heartbeats are as they were.
    let all: Keys = ["dead", "dear"]
        .iter()
        .map(|id| key(&format!("blocking:signal:{id}"), None))
        .chain(keys.iter().cloned())
        .collect();
    let (collection, plan) = sifted(sieve, &all, &question());
    assert_eq!(removed(&collection, &plan).len(), 2);
    assert!(plan.has_latecomers && !plan.truncated);
}

#[test]
fn a_coordinator_that_becomes_stale_too_late_keeps_its_heartbeat() {
    let signal = |id: &str| key(&format!("blocking:signal:{id}"), None);
    let beat = |id: &str, age_s| key(&format!("blocking:heartbeat:{id}"), Some(age_s));
    let before = vec![beat("a", 700), beat("late", 1), beat("back", 800)];
    let after = vec![
        beat("a", 700),
        beat("late", 700),
        beat("back", 1),
        beat("new", 900),
    ];
    let all: Keys = ["a", "late", "back", "new"]
        .map(signal)
        .into_iter()
        .chain(after)
        .collect();
    let sieve = sieve_of(&before, &question());
    let (collection, plan) = sifted(sieve, &all, &question());
    let gone = ["blocking:heartbeat:a", "blocking:signal:a"].map(|name| name.as_bytes().to_vec());
    assert_eq!(removed(&collection, &plan), gone.into());
    assert!(plan.has_latecomers);
    assert_eq!(plan.counts.coordinators_stale, 3);
    assert_eq!(plan.counts.coordinators_removed, 1);
    // One that LIMIT leaves anyway does not count.
    let limited = Question {
        limit: Some(1),
        ..question()
    };
    let oldest: Keys = all
        .into_iter()
        .filter(|(name, _)| !name.ends_with(b"new"))
        .collect();
    let sieve = sieve_of(&vec![beat("a", 700)], &question());
    assert!(!sifted(sieve, &oldest, &limited).1.has_latecomers);
}

#[test]
fn in_a_cluster_orphans_are_counted_as_the_plan_counts_them() {
    let layout = Arc::new(Layout::default());
    let elsewhere = crate::keys::slots::slot_of(b"blocking:heartbeat:nobody");
    let mut here = Slots::default();
    (0..crate::keys::slots::SLOTS)
        .filter(|slot| *slot != elsewhere)
        .for_each(|slot| here.insert(slot));
    let asked = Question {
        locality: Some(Locality::new(&layout, here, 0, ClusterTags::Unknown)),
        ..question()
    };
    let keys = vec![
        key("blocking:heartbeat:live", Some(1)),
        key("blocking:signal:live", None),
        key("blocking:signal:nobody", None),
        key("blocking:signal:{x}", None),
        key("coordinator:activity:somebody", None),
    ];
    let whole = plan(&collect(&keys), &asked, &GO_ON).unwrap();
    let (_, second) = sifted(sieve_of(&keys, &asked), &keys, &asked);
    assert!(!whole.counts.held.is_empty());
    assert_eq!(second.counts, whole.counts);
}

#[test]
fn heartbeats_have_room_and_other_keys_the_rest() {
    let keys: Keys = (0..1_000)
        .map(|n| key(&format!("blocking:heartbeat:{n:04}"), Some(n)))
        .collect();
    let heartbeats_bytes = collect(&keys).bytes();
    let sieve = sieve_of(&keys, &question());
    for (of_bytes, least) in [
        (0, 0),
        (heartbeats_bytes, 0),
        (65_536, 20_000),
        (1 << 40, 1 << 39),
    ] {
        let others = sieve.others_max_bytes(of_bytes);
        assert!(others >= least, "{others} of {of_bytes}");
        assert!(others == 0 || others + heartbeats_bytes * 17 / 16 <= of_bytes);
    }
}

#[test]
fn told_to_stop_it_stops() {
    let keys = vec![key("blocking:heartbeat:dead", Some(700))];
    let stop = AtomicBool::new(true);
    assert!(Sieve::new(&collect(&keys), &question(), &stop).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_key_is_kept_if_and_only_if_a_stale_one_could_own_it(keys in any_keys(), asked in any_keys()) {
        let mut sieve = sieve_of(&keys, &question());
        let mut beats: BTreeMap<Vec<u8>, Reading> = BTreeMap::new();
        for (name, beat) in &keys {
            if let Some(beat) = beat {
                let merged = beats.get(name).map_or(*beat, |known| known.merged(*beat));
                beats.insert(name.clone(), merged);
            }
        }
        let Question { layout, now_ms, threshold_s, .. } = question();
        let judge = |(name, beat): (Vec<u8>, Reading)| {
            let verdict = crate::plan::heartbeats::judge(&name, beat, now_ms, threshold_s, &layout);
            (name, verdict)
        };
        let all: BTreeMap<Vec<u8>, Verdict> = beats.into_iter().map(judge).collect();
        let is_stale = |verdict: &Verdict| matches!(verdict, Verdict::Stale { .. });
        let mut stale = all.clone();
        stale.retain(|_, verdict| is_stale(verdict));
        for (name, verdict) in &all {
            prop_assert_eq!(sieve.knows(name), is_stale(verdict));
        }
        for (name, _) in keys.iter().chain(&asked).filter(|(_, beat)| beat.is_none()) {
            if layout.family_of(name).is_none() {
                continue;
            }
            sieve.forget_counts();
            let is_kept = !plan_model::owners(name, &stale).is_empty();
            prop_assert_eq!(sieve.keeps(name), is_kept);
            let is_orphan = plan_model::owners(name, &all).is_empty();
            prop_assert_eq!(sieve.counts().keys_orphaned, u64::from(is_orphan));
        }
    }

    #[test]
    fn what_a_second_walk_brings_is_planned_as_everything_would_be(
        keys in any_keys().prop_map(once),
        question in any_question(),
    ) {
        let whole = collect(&keys);
        let plan_of_all = plan(&whole, &question, &GO_ON).unwrap();
        let (kept, second) = sifted(sieve_of(&keys, &question), &keys, &question);
        prop_assert!(!second.truncated && !second.has_latecomers);
        prop_assert_eq!(second.counts, plan_of_all.counts);
        prop_assert_eq!(names(&kept, &second.removals), names(&whole, &plan_of_all.removals));
        prop_assert_eq!(second.stale_ids, plan_of_all.stale_ids);
        prop_assert_eq!(second.limited, plan_of_all.limited);
    }

    /// Between the walks heartbeats come, go and change.
    #[test]
    fn what_changes_between_the_walks_is_left_to_a_later_run(
        before in any_keys(),
        keys in any_keys().prop_map(once),
    ) {
        let whole = collect(&keys);
        let plan_of_all = plan(&whole, &question(), &GO_ON).unwrap();
        let all = removed(&whole, &plan_of_all);
        let both: Keys = before.iter().cloned().chain(
            keys.iter().step_by(2).filter(|(name, _)| before.iter().all(|(known, _)| known != name)).cloned(),
        ).collect();
        let (kept, second) = sifted(sieve_of(&both, &question()), &keys, &question());
        let gone = removed(&kept, &second);
        prop_assert!(gone.is_subset(&all));
        prop_assert!(second.has_latecomers || gone == all);
        // What is left can be found again.
        let judge = |(name, beat): &(Vec<u8>, Option<Reading>)| {
            let Question { layout, now_ms, threshold_s, .. } = question();
            Some((name.clone(), crate::plan::heartbeats::judge(name, (*beat)?, now_ms, threshold_s, &layout)))
        };
        let heartbeats: BTreeMap<Vec<u8>, Verdict> = keys.iter().filter_map(judge).collect();
        for left in all.difference(&gone).filter(|name| !heartbeats.contains_key(*name)) {
            let owners = plan_model::owners(left, &heartbeats);
            prop_assert!(owners.keys().any(|owner| !gone.contains(owner)));
        }
    }
}
