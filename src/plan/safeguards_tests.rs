//! The plan with safeguards: protected ids, the second look, the breaker.

use super::*;
use crate::heartbeat::fingerprint::Fingerprinter;
use crate::plan::protect::Protected;
use crate::plan::second_look::SecondLook;
use crate::scan::fingerprints::SeenFingerprints;

/// Fingerprints of every heartbeat as it is, and the memory of a run that saw these ones.
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
