//! The plan against the slow model, on random keyspaces built to collide.

use super::*;
use crate::plan::plan_model::model;

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
