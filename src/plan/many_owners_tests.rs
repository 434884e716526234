//! The plan where a key has very many possible owners, and where names are over the bounds.

use super::*;
use crate::keys::name_bounds::MAX_OWNERS;

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
