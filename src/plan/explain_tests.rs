//! The explanation against the plan it explains, against the plan without MATCH, and against the slow model.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::keys::pattern::Pattern;
use crate::plan::plan_model;
use crate::plan::tests::{any_keys, collect, names, question};

type Names = BTreeSet<Vec<u8>>;

fn explained(
    keys: &[(Vec<u8>, Option<crate::heartbeat::Reading>)],
    id: &[u8],
) -> (ScannedKeys, Plan, Explanation) {
    let collection = collect(&keys.to_vec());
    let question = Question {
        pattern: Some(Pattern::exactly(id)),
        orphans: true,
        ..question()
    };
    let stop = AtomicBool::new(false);
    let (plan, mut explanation) = plan_and_explain(&collection, &question, id, 50, &stop).unwrap();
    explanation.close(&collection, None, &stop);
    (collection, plan, explanation)
}

fn with_fates(explanation: &Explanation, wanted: &[KeyFate]) -> Names {
    let heartbeats = explanation.heartbeats.iter().map(|b| (&b.key, b.fate));
    let keys = explanation.shown.iter().map(|s| (&s.key, s.fate));
    let all = heartbeats.chain(keys);
    let found = all.filter(|(_, fate)| wanted.contains(fate));
    found.map(|(key, _)| key.clone()).collect()
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[ab]", 3 => "[ab]:[ab]", 1 => "(a|b|heartbeat|:){1,3}", 1 => "heartbeat:[ab]"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn an_explanation_says_what_the_plan_does(keys in any_keys(), id in id()) {
        let id = id.as_bytes();
        let (collection, plan, explanation) = explained(&keys, id);
        // So few keys that all of them are shown.
        let shown = explanation.shown.len() + explanation.heartbeats.len();
        prop_assume!(shown as u64 == explanation.found());
        let removed: Names = names(&collection, &plan.removals).into_iter().collect();
        prop_assert_eq!(with_fates(&explanation, &[KeyFate::Removed]), removed);

        // Every key that the model knows a reading for, and none besides.
        let of_id = |(name, beat): &(Vec<u8>, _)| {
            let found = match beat {
                Some(_) => plan_model::beats_for(name),
                None => plan_model::readings(name).into_iter().map(|(owner, _)| owner).collect(),
            };
            found.iter().any(|(_, known)| known == id)
        };
        let family = |(name, _): &&(Vec<u8>, _)| question().layout.family_of(name).is_some();
        let own = keys.iter().filter(family).filter(|key| of_id(key));
        let own: Names = own.map(|(name, _)| name.clone()).collect();
        prop_assert_eq!(with_fates(&explanation, &KeyFate::ALL), own);

        // What a cleanup without MATCH removes.
        let stop = AtomicBool::new(false);
        let whole = crate::plan::plan(&collection, &question(), &stop).unwrap();
        let gone: Names = names(&collection, &whole.removals).into_iter().collect();
        for key in with_fates(&explanation, &[KeyFate::Removed, KeyFate::Others]) {
            prop_assert!(gone.contains(&key), "{:?}", key.escape_ascii().to_string());
        }
        for key in with_fates(&explanation, &[KeyFate::Kept, KeyFate::Vetoed, KeyFate::Orphan]) {
            prop_assert!(!gone.contains(&key), "{:?}", key.escape_ascii().to_string());
        }

        // A heartbeat that is named as the one that decides could own the key, and is live or not as the fate says.
        for shown in &explanation.shown {
            let Some(by) = &shown.by else {
                prop_assert!(!matches!(shown.fate, KeyFate::Kept), "no heartbeat is named");
                continue;
            };
            let ids: BTreeSet<_> = plan_model::readings(&shown.key).into_iter().map(|(owner, _)| owner.1).collect();
            prop_assert!(plan_model::beats_for(by).iter().any(|(_, id)| ids.contains(id)));
            prop_assert_eq!(gone.contains(by) || shown.fate != KeyFate::Others, true);
            prop_assert!(shown.fate == KeyFate::Others || !gone.contains(by));
        }
    }
}

#[test]
fn very_many_acks_are_counted_and_a_few_are_shown() {
    let mut keys = vec![(b"blocking:heartbeat:a".to_vec(), None)];
    keys[0].1 = Some(crate::heartbeat::Reading {
        newest_ms: Some(question().now_ms - 700_000),
        doubtful: false,
    });
    keys.extend((0..10_000).map(|n| (format!("blocking:ack:a:{n}").into_bytes(), None)));
    let (_, plan, explanation) = explained(&keys, b"a");
    assert_eq!(plan.counts.keys_removed(), 10_001);
    assert_eq!(explanation.found(), 10_001);
    assert_eq!(explanation.shown.len(), 5);
}

#[test]
fn the_breaker_counts_as_a_scheduled_run_does() {
    let beat = |n: usize, age_s: i64| {
        let reading = crate::heartbeat::Reading {
            newest_ms: Some(question().now_ms - age_s * 1000),
            doubtful: false,
        };
        (
            format!("blocking:heartbeat:c-{n:02}").into_bytes(),
            Some(reading),
        )
    };
    let keys: Vec<_> = (0..20)
        .map(|n| beat(n, if n < 11 { 700 } else { 5 }))
        .collect();
    let (_, plan, explanation) = explained(&keys, b"c-00");
    assert_eq!((plan.counts.coordinators_removed, plan.refused), (1, None));
    let share = explanation.share.unwrap();
    assert_eq!((share.stale, share.judged), (11, 20));
    let (_, _, explanation) = explained(&keys[1..], b"c-01");
    assert_eq!(explanation.share, None);
}
