//! The index against a search without one, and its sizes.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

fn owners_of(heartbeats: &[&str], key: &str) -> Vec<String> {
    owners_by(&Arc::default(), heartbeats, key)
}

fn owners_by(layout: &Arc<Layout>, heartbeats: &[&str], key: &str) -> Vec<String> {
    let names: Vec<Vec<u8>> = heartbeats.iter().map(|n| n.as_bytes().to_vec()).collect();
    let mut hasher = SegmentHasher::default();
    let mut owners = OwnerIndex::new(Arc::clone(layout));
    for number in 0..names.len() {
        owners.add(number as u32, &names, &mut hasher);
    }
    let mut found = Vec::new();
    hasher.load(key.as_bytes());
    let yields = YieldCounter::unstoppable();
    owners.visit(key.as_bytes(), &names, &hasher, &yields, &mut |owner, _| {
        match owner {
            Owner::One(number) => found.push(heartbeats[number as usize].to_owned()),
            Owner::Crowd(crowd) => {
                let members = owners.members(crowd);
                found.extend(members.map(|number| heartbeats[number as usize].to_owned()));
            }
        }
        true
    });
    found.sort();
    found.dedup();
    found
}

#[test]
fn possible_owners() {
    let (a, ab) = ("blocking:heartbeat:a", "blocking:heartbeat:a:b");
    let (s1a, s2a) = (
        "swarm:s1:blocking:heartbeat:a",
        "swarm:s2:blocking:heartbeat:a",
    );
    let table: &[(&[&str], &str, &[&str])] = &[
        (&[a, ab], "blocking:ack:a:b:s1", &[a, ab]),
        (&[a, ab], "blocking:ack:a:s1", &[a]),
        (&[a, ab], "blocking:ack:a1:s1", &[]),
        (&[a, ab], "blocking:idempotency:x:a:b", &[a, ab]),
        (&[a], "blocking:signal:a", &[a]),
        (&[a, s1a, s2a], "blocking:signal:a", &[a, s1a, s2a]),
        (&[s1a, s2a], "blocking:signal:a", &[s1a, s2a]),
        (&[a, s1a], "swarm:s1:blocking:a", &[s1a]),
        (&[a, s1a], "swarm:s3:blocking:a", &[a]),
        (&[a, s1a], "swarm:s1:agent:a:activity", &[s1a]),
        (&[a, s1a], a, &[a, s1a]),
        (&[a, s1a], s1a, &[s1a]),
        (
            &["blocking:heartbeat:heartbeat:a", s1a],
            s1a,
            &["blocking:heartbeat:heartbeat:a", s1a],
        ),
        (&[a], "user:a", &[]),
    ];
    for (heartbeats, key, expected) in table {
        assert_eq!(owners_of(heartbeats, key), *expected, "{key}");
    }
}

/// One id in so many swarms is one visit, and each of them is found all the same.
#[test]
fn every_heartbeat_of_an_id_owns_its_keys() {
    let layout = "heartbeat=a:{id} heartbeat=b:{id} heartbeat=c:{swarm}:{id} \
                  heartbeat=d:{swarm}:{id} signal=s:{id} state=t:{swarm}:{id}";
    let layout = Arc::new(Layout::parse(layout.as_bytes()).unwrap());
    let all = ["a:x", "a:y", "b:x", "c:1:x", "c:2:x", "d:1:x"];
    let table: [(&str, &[&str]); 4] = [
        ("s:x", &["a:x", "b:x", "c:1:x", "c:2:x", "d:1:x"]),
        ("s:y", &["a:y"]),
        ("t:1:x", &["c:1:x", "d:1:x"]),
        ("t:3:x", &["a:x", "b:x"]),
    ];
    for (key, expected) in table {
        assert_eq!(owners_by(&layout, &all, key), expected, "{key}");
    }
}

/// One id in so many swarms is one visit, and each of them is found all the same.
#[test]
fn a_crowd_is_one_visit() {
    for (swarms, visits) in [(MAX_OWNERS, MAX_OWNERS), (MAX_OWNERS + 1, 1), (3000, 1)] {
        let heartbeats: Vec<String> = (0..swarms)
            .map(|n| format!("swarm:s{n}:blocking:heartbeat:a"))
            .collect();
        let mut hasher = SegmentHasher::default();
        let mut owners = OwnerIndex::default();
        let names: Vec<Vec<u8>> = heartbeats.iter().map(|n| n.clone().into_bytes()).collect();
        (0..swarms).for_each(|n| owners.add(n as u32, &names, &mut hasher));
        let key = b"blocking:signal:a";
        hasher.load(key);
        let mut seen = 0;
        let yields = YieldCounter::unstoppable();
        owners.visit(key, &names, &hasher, &yields, &mut |_, _| {
            seen += 1;
            true
        });
        assert_eq!(seen, visits);
        let mut expected = heartbeats.clone();
        expected.sort();
        let heartbeats: Vec<&str> = heartbeats.iter().map(String::as_str).collect();
        assert_eq!(owners_of(&heartbeats, "blocking:signal:a"), expected);
    }
}

/// Whatever a heartbeat over the bounds could be the heartbeat of, in whatever swarm.
#[test]
fn a_heartbeat_over_the_bounds_owns_what_its_end_can_spell() {
    let marker = ":blocking:heartbeat";
    let many = format!("swarm:s{}:z:y", marker.repeat(500));
    let long = format!("swarm:{}{marker}:z:y", "x".repeat(300_000));
    for heartbeat in [many.as_str(), &long] {
        for key in [
            "blocking:signal:z:y",
            "blocking:ack:z:y:1",
            "blocking:idempotency:q:z:y:1",
            "swarm:any:blocking:z:y",
            "blocking:heartbeat:z:y",
        ] {
            assert_eq!(owners_of(&[heartbeat], key), [heartbeat], "{key}");
        }
        assert!(owners_of(&[heartbeat], "blocking:signal:y").is_empty());
    }
    let inner = format!("blocking:signal:blocking:heartbeat{marker}:z:y");
    assert_eq!(owners_of(&[&many], &inner), [many.as_str()]);
}

/// Names that are made to be read in as many ways as can be.
fn hostile() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let part = prop_oneof![
        4 => Just(":".to_owned()),
        4 => "[ab]:",
        2 => Just(":blocking:heartbeat".to_owned()),
        1 => Just(":agent:blocking:".to_owned()),
        1 => "[xyz]{1,200}",
    ];
    let begin = prop_oneof![
        Just("swarm:s"),
        Just("blocking:idempotency:"),
        Just("blocking:ack:"),
        Just("blocking:heartbeat:"),
        Just("coordinator:activity:"),
    ];
    (begin, prop::collection::vec((part, 1..400usize), 1..6)).prop_map(|(begin, parts)| {
        let rest = parts.iter().map(|(part, times)| part.repeat(*times));
        format!("{begin}{}:z", rest.collect::<String>())
    })
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    /// In steps, not in time: what a name may cost does not depend on the machine.
    #[test]
    fn no_name_takes_more_steps_than_the_bounds_say(heartbeats in proptest::collection::vec(hostile(), 1..20), key in hostile()) {
        use crate::keys::layout::AllReadings;
        use name_bounds::{MAX_READINGS, MAX_SEGMENTS, is_over};
        let names: Vec<Vec<u8>> = heartbeats.iter().map(|n| n.clone().into_bytes()).collect();
        let mut hasher = SegmentHasher::default();
        let mut owners = OwnerIndex::default();
        let layout = Layout::default();
        for (number, name) in names.iter().enumerate() {
            let before = owners.entries();
            owners.add(number as u32, &names, &mut hasher);
            proptest::prop_assert!(owners.entries() - before <= 3 * MAX_SEGMENTS);
            let mut spelled = 0;
            layout.beating_at_end(name, &mut |_| spelled += 1);
            proptest::prop_assert!(spelled <= MAX_SEGMENTS);
        }
        // So every key within the bounds is looked up in so many ways at most.
        proptest::prop_assert!(owners.segment_counts.iter().all(|count| count <= MAX_SEGMENTS));
        let key = key.as_bytes();
        let all = SegmentCounts::up_to(MAX_SEGMENTS);
        if !is_over(key) {
            let mut readings = 0;
            layout.readings(key, &all, &mut |_| {
                readings += 1;
                true
            });
            proptest::prop_assert!(readings <= 2 * MAX_READINGS);
            proptest::prop_assert!(owners.tries(key) <= MAX_SEGMENTS * MAX_SEGMENTS);
        } else {
            // Never taken apart.
            let mut readings = AllReadings::up_to(MAX_READINGS, &Arc::new(Layout::default()));
            proptest::prop_assert!(readings.of(key).is_none());
        }
    }
}

#[test]
fn who_is_told_to_stop_within_a_name_looks_at_none_of_its_other_readings() {
    let names: Vec<Vec<u8>> = ["blocking:heartbeat:a", "blocking:heartbeat:a:a"]
        .map(|name| name.as_bytes().to_vec())
        .into();
    let key = format!("blocking:idempotency:{}", "a:".repeat(32 * 1024));
    let mut hasher = SegmentHasher::default();
    let mut owners = OwnerIndex::default();
    for number in 0..2 {
        owners.add(number, &names, &mut hasher);
    }
    hasher.load(key.as_bytes());
    let stop = AtomicBool::new(false);
    let mut visits = 0;
    owners.visit(
        key.as_bytes(),
        &names,
        &hasher,
        &YieldCounter::new(&stop),
        &mut |_, _| {
            visits += 1;
            stop.store(visits == 10, Ordering::Relaxed);
            true
        },
    );
    assert_eq!(visits, 10);
}
