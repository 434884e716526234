//! What DOCTOR forecasts of small keyspaces.

use super::*;
use crate::heartbeat::Reading;
use crate::scan::scanned_keys::Record;

const NOW_MS: i64 = 1_700_000_000_000;

/// Keys as they are read by the built-in layout; heartbeats with their age in seconds.
fn collected(keys: &[(&str, Option<i64>)]) -> ScannedKeys {
    let layout = Layout::default();
    let mut collection = ScannedKeys::default();
    for (name, age_s) in keys {
        let name = name.as_bytes();
        collection.push(Record {
            name,
            family: layout.family_of(name).unwrap(),
            denied: false,
            is_large: false,
            beat: age_s.map(|age_s| Reading {
                newest_ms: Some(NOW_MS - age_s * 1000),
                doubtful: false,
            }),
        });
    }
    collection
}

fn settings(threshold_s: u32) -> Settings {
    Settings {
        threshold_s,
        max_stale_percent: 50,
        ..Settings::default()
    }
}

fn studied(collection: &ScannedKeys, walked: Walked, threshold_s: u32, protect: &str) -> Study {
    let names = Naming {
        protected: Arc::new(Protected::parse(protect.as_bytes()).unwrap()),
        ..Naming::default()
    };
    let stop = AtomicBool::new(false);
    let settings = settings(threshold_s);
    study(collection, walked, &settings, &names, NOW_MS, &stop).unwrap()
}

/// Threshold, stale, removed coordinators and keys.
fn told(study: &Study) -> Vec<(u32, u64, u64, u64)> {
    let one = |f: &Forecast| {
        let c = &f.counts;
        let removed = (c.coordinators_removed, c.keys_removed());
        (f.threshold_s, c.coordinators_stale, removed.0, removed.1)
    };
    study.forecasts.iter().map(one).collect()
}

#[test]
fn every_threshold_is_tried_once_and_in_order() {
    let collection = collected(&[
        ("blocking:heartbeat:a", Some(400)),
        ("blocking:signal:a", None),
        ("blocking:heartbeat:b", Some(700)),
        ("blocking:heartbeat:c", Some(5_000)),
        ("blocking:signal:c", None),
        ("blocking:ack:c:1", None),
    ]);
    let study = studied(&collection, Walked::default(), 450, "");
    assert_eq!(
        told(&study),
        [
            (300, 3, 3, 6),
            (450, 2, 2, 4),
            (600, 2, 2, 4),
            (900, 1, 1, 3),
            (3600, 1, 1, 3),
        ]
    );
    assert_eq!(study.at(450).unwrap().counts.coordinators_stale, 2);
    assert_eq!(
        studied(&collection, Walked::default(), 600, "")
            .forecasts
            .len(),
        4
    );
    // A protected one is stale and stays.
    let study = studied(&collection, Walked::default(), 600, "c");
    assert_eq!(told(&study)[1], (600, 2, 1, 1));
}

#[test]
fn the_breaker_is_asked_as_a_scheduled_run_would() {
    let names: Vec<String> = (0..20).map(|n| format!("blocking:heartbeat:{n}")).collect();
    let keys = |stale: usize| -> Vec<(&str, Option<i64>)> {
        let age_s = |n: usize| if n < stale { 5_000 } else { 10 };
        let keys = names.iter().enumerate();
        keys.map(|(n, name)| (name.as_str(), Some(age_s(n))))
            .collect()
    };
    for (stale, protect, expected) in [
        (10, "", None),
        (11, "", Some((11, 20))),
        (20, "1*", Some((9, 9))),
    ] {
        let study = studied(&collected(&keys(stale)), Walked::default(), 600, protect);
        let share = study.at(600).unwrap().share;
        assert_eq!(
            share.map(|s| (s.stale, s.judged)),
            expected,
            "{stale} {protect}"
        );
    }
}

#[test]
fn orphans_are_counted_by_family_and_sampled_evenly() {
    let names: Vec<String> = (0..2_500)
        .map(|n| format!("blocking:signal:gone-{n:04}"))
        .collect();
    let mut keys: Vec<(&str, Option<i64>)> = names.iter().map(|n| (n.as_str(), None)).collect();
    keys.push(("blocking:ack:gone:1", None));
    keys.push(("blocking:heartbeat:a", Some(10)));
    keys.push(("blocking:signal:a", None));
    keys.push(("blocking:signal:kept", None));
    let study = studied(&collected(&keys), Walked::default(), 600, "kept");
    let orphaned = study.orphaned.unwrap();
    assert_eq!(orphaned.found, [0, 2_500, 1, 0, 0, 0].into());
    assert_eq!((orphaned.protected, orphaned.all()), (1, 2_502));
    let of = |family| orphaned.sample.iter().filter(move |(f, _)| *f == family);
    assert_eq!(
        (of(Family::Signal).count(), of(Family::Ack).count()),
        (1_000, 1)
    );
    let firsts =
        of(Family::Signal).filter(|(_, name)| name < &b"blocking:signal:gone-1250".to_vec());
    assert_eq!(firsts.count(), 500);
}

#[test]
fn long_names_make_the_sample_smaller() {
    let names: Vec<String> = (0..100)
        .map(|n| format!("blocking:signal:{n:03}{}", "x".repeat(128 << 10)))
        .collect();
    let keys: Vec<(&str, Option<i64>)> = names.iter().map(|n| (n.as_str(), None)).collect();
    let study = studied(&collected(&keys), Walked::default(), 600, "");
    let orphaned = study.orphaned.unwrap();
    assert_eq!(
        (orphaned.found[Family::Signal], orphaned.sample.len()),
        (100, 31)
    );
}

#[test]
fn what_does_not_fit_is_not_guessed() {
    let collection = collected(&[
        ("blocking:heartbeat:a", Some(5_000)),
        ("blocking:signal:a", None),
    ]);
    let truncated = Walked {
        is_truncated: true,
        ..Walked::default()
    };
    let study = studied(&collection, truncated, 600, "");
    assert_eq!(study.at(600).unwrap().counts.coordinators_stale, 1);
    assert!(study.orphaned.is_none() && study.ids.is_some());
    let overfull = Walked {
        is_overfull: true,
        ..truncated
    };
    let study = studied(&collection, overfull, 600, "");
    assert!(study.forecasts.is_empty() && study.orphaned.is_none() && study.ids.is_none());
}

#[test]
fn it_stops_when_told_to() {
    let collection = collected(&[("blocking:heartbeat:a", Some(5_000))]);
    let stop = AtomicBool::new(true);
    let (walked, names) = (Walked::default(), Naming::default());
    let settings = settings(600);
    assert!(study(&collection, walked, &settings, &names, NOW_MS, &stop).is_none());
}
