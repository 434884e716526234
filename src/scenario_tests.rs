//! The scenario files of `tests/scenarios`, run against the pure files: heartbeat, collection, plan, with a fixed clock.
//!
//! The same files run on a real server in `tests/e2e/scenarios.rs`, so nothing may be judged here that a server could
//! not show.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use crate::collection::{Collection, Record};
use crate::heartbeat::{self, UNREADABLE};
use crate::layout::{self, Family};
use crate::options;
use crate::plan::{self, Plan, Question};
use crate::settings;

#[path = "../tests/scenarios/format.rs"]
mod format;

use format::{Case, Key, KeySpec, Kind, Ttl};

const NOW_MS: i64 = 1_700_000_000_000;

/// What a walk would gather if it met the keys in this order.
fn gathered<'k>(keys: impl Iterator<Item = &'k KeySpec>) -> Collection {
    let max_bytes = settings::MAX_HEARTBEAT_BYTES.default as usize;
    let mut collection = Collection::default();
    for key in keys.filter(|key| key.ttl != Ttl::Passed) {
        let name = key.name();
        let Some(family) = layout::family_of(&name) else {
            continue;
        };
        let reading = match key.kind {
            Kind::String => heartbeat::read(&key.value(NOW_MS), max_bytes),
            _ => UNREADABLE,
        };
        collection.push(Record {
            name: &name,
            family,
            denied: false,
            beat: (family == Family::Heartbeat).then_some(reading),
        });
    }
    collection
}

fn question(case: &Case) -> Question {
    let arguments: Vec<Key> = case.arguments();
    let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
    let options = options::parse_cleanup(&arguments).unwrap();
    let default_s = settings::THRESHOLD_SECONDS.default as u32;
    Question {
        now_ms: NOW_MS,
        threshold_s: options.threshold_s.unwrap_or(default_s),
        pattern: options.pattern,
        limit: options.limit,
        ids: options.ids,
        truncated: false,
        safety: Default::default(),
    }
}

fn check(case: &Case, collection: &Collection) {
    let stop = AtomicBool::new(false);
    let plan = plan::plan(collection, &question(case), &stop).unwrap();
    let name = |position: &_| collection.get(*position).unwrap().name.to_vec();
    let removals: Vec<Key> = plan.removals.iter().map(name).collect();
    let removed: BTreeSet<Key> = removals.iter().cloned().collect();
    assert_eq!(removed.len(), removals.len(), "a key is named twice");
    assert_eq!(show(&removed), show(&case.gone()), "the keys removed");
    check_counts(case, &plan);
    if let Some(ids) = case.stale_ids() {
        assert_eq!(plan.stale_ids, ids);
    }
    for doomed in &plan.doomed {
        let family = &removals[doomed.first..doomed.end];
        assert_eq!(
            family.last(),
            Some(&name(&plan.heartbeats[doomed.heartbeat as usize])),
            "the heartbeat goes last"
        );
    }
}

fn check_counts(case: &Case, plan: &Plan) {
    let (counts, expect) = (&plan.counts, &case.expect);
    let status = if plan.limited { "limited" } else { "complete" };
    assert_eq!(status, expect.status);
    assert_eq!(
        [
            ("checked", counts.coordinators_checked),
            ("stale", counts.coordinators_stale),
            ("unreadable", counts.coordinators_unreadable),
            ("removed", counts.coordinators_removed),
            ("vetoed", counts.keys_vetoed),
            ("orphaned", counts.keys_orphaned),
            ("keys removed", counts.keys_removed()),
        ],
        [
            ("checked", expect.checked),
            ("stale", expect.stale),
            ("unreadable", expect.unreadable),
            ("removed", expect.removed),
            ("vetoed", expect.vetoed),
            ("orphaned", expect.orphaned),
            ("keys removed", case.gone().len() as u64),
        ]
    );
    if let Some(by_family) = expect.by_family {
        assert_eq!(counts.keys_by_family, by_family);
    }
}

fn show(keys: &BTreeSet<Key>) -> Vec<String> {
    let escaped = |key: &Key| key.escape_ascii().to_string();
    keys.iter().map(escaped).collect()
}

/// Runs `test` on every case, and only then fails, naming all that failed.
fn for_every_case(test: fn(&Case)) {
    let mut failed = Vec::new();
    for (file, cases) in format::all() {
        assert!(!cases.is_empty(), "{file} holds no case");
        for case in cases {
            assert!(!case.why.is_empty(), "{}: say why", case.name);
            if std::panic::catch_unwind(|| test(&case)).is_err() {
                failed.push(format!("{file}: {}", case.name));
            }
        }
    }
    assert!(failed.is_empty(), "failed: {failed:#?}");
}

#[test]
fn the_plan_does_what_every_scenario_says() {
    for_every_case(|case| check(case, &gathered(case.keys.iter())));
}

#[test]
fn the_order_of_the_walk_changes_nothing() {
    for_every_case(|case| check(case, &gathered(case.keys.iter().rev())));
}

#[test]
fn keys_reported_twice_change_nothing() {
    for_every_case(|case| {
        let twice = case.keys.iter().chain(case.keys.iter().rev());
        check(case, &gathered(twice));
    });
}
