//! The scenario files of `tests/scenarios`, run against the pure files: heartbeat, collection, plan, with a fixed
//! clock.
//!
//! The same files run on a real server in `tests/e2e/scenarios.rs`, so nothing may be judged here that a server could
//! not show.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use crate::commands::options;
use crate::heartbeat::Stored;
use crate::heartbeat::forms::{Rules, Zoneless};
use crate::heartbeat::reader::Reader;
use crate::heartbeat::trouble::Reason;
use crate::keys::family::Family;
use crate::keys::layout::Layout;
use crate::orphans::evidence::{self, Content};
use crate::orphans::first_seen::FirstSeen;
use crate::orphans::{self, OrphanValue};
use crate::plan::{self, Plan, Question};
use crate::scan::scanned_keys::{Record, ScannedKeys};
use crate::settings;

#[path = "../../tests/scenarios/format.rs"]
mod format;

use format::{Case, Key, KeySpec, Kind, Ttl};

const NOW_MS: i64 = 1_700_000_000_000;

fn reader() -> Reader {
    Reader {
        max_bytes: settings::MAX_HEARTBEAT_BYTES.default as usize,
        rules: Rules::new(
            Zoneless::Refuse,
            NOW_MS,
            settings::BEAT_WINDOW_DAYS.default as u64,
        ),
        ..Reader::default()
    }
}

/// What a walk would gather if it met the keys in this order.
fn gathered<'k>(keys: impl Iterator<Item = &'k KeySpec>) -> ScannedKeys {
    let reader = reader();
    let layout = Layout::default();
    let mut collection = ScannedKeys::default();
    for key in keys.filter(|key| key.ttl != Ttl::Passed) {
        let name = key.name(NOW_MS);
        let Some(family) = layout.family_of(&name) else {
            continue;
        };
        let reading = match key.kind {
            Kind::String => reader.read(Stored::Text(&key.value(NOW_MS))),
            Kind::Hash => reader.read(Stored::Hash(&[])),
            _ => reader.read(Stored::Unread(Reason::OtherType, b"")),
        };
        let reading = reading.with_ttl(|| key.ttl != Ttl::None).reading;
        collection.push(Record {
            name: &name,
            family,
            denied: false,
            is_large: false,
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
        layout: Default::default(),
        now_ms: NOW_MS,
        threshold_s: options.threshold_s.unwrap_or(default_s),
        pattern: options.pattern,
        limit: options.limit,
        ids: options.ids,
        truncated: false,
        sieve: None,
        orphans: case.has_orphans(),
        names_kept: false,
        locality: None,
        max_bytes: usize::MAX,
        hears_births: true,
        safety: Default::default(),
    }
}

fn check(case: &Case, collection: &ScannedKeys) {
    let stop = AtomicBool::new(false);
    let mut plan = plan::plan(collection, &question(case), &stop).unwrap();
    let name = |position: &_| collection.get(*position).unwrap().name.to_vec();
    let removals: Vec<Key> = plan.removals.iter().map(name).collect();
    let orphans = judged(case, collection, &mut plan);
    let all = [&removals[..], &orphans].concat();
    let removed: BTreeSet<Key> = all.iter().cloned().collect();
    assert_eq!(removed.len(), all.len(), "a key is named twice");
    assert_eq!(show(&removed), show(&case.gone(NOW_MS)), "the keys removed");
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

/// The orphans that go, if the case asks for any; what is counted of them is added to the plan's counts.
fn judged(case: &Case, collection: &ScannedKeys, plan: &mut Plan) -> Vec<Key> {
    let arguments: Vec<Key> = case.arguments();
    let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
    let options = options::parse_cleanup(&arguments).unwrap();
    let Some(grace) = options.orphans else {
        return Vec::new();
    };
    let reader = reader();
    let stop = AtomicBool::new(false);
    let found = std::mem::take(&mut plan.orphans);
    let mut orphans = orphans::gather(collection, found, &Default::default(), &stop).unwrap();
    let orphan_value = |position: &_| {
        let name = collection.get(*position).unwrap().name;
        let place = case.keys.iter().position(|key| key.name(NOW_MS) == name);
        let place = place.unwrap();
        let key = &case.keys[place];
        let value = (key.kind == Kind::String).then(|| key.value(NOW_MS));
        let value = value.filter(|value| value.len() <= reader.max_bytes);
        let unread = Content::Unread { used_ms: NOW_MS };
        let content = value.as_deref().map_or(unread, Content::Read);
        Some(OrphanValue {
            evidence: evidence::of_key(name, content, &reader.layout, &reader.fields, reader.rules),
            print: place as u64,
        })
    };
    orphans.orphan_values = orphans.keys.iter().map(orphan_value).collect();
    let others = orphans.witnesses.iter().map(orphan_value);
    let others = others.map(|seen| seen.and_then(|seen| seen.evidence.newest_ms));
    orphans.testimonies_ms = others.collect();
    let default_s = settings::THRESHOLD_SECONDS.default as u32;
    let question = orphans::Question {
        now_ms: NOW_MS,
        grace_s: grace.seconds(options.threshold_s.unwrap_or(default_s)),
        pattern: options.pattern,
        began_s: 1_000,
        looked_s: 1_000,
        room: 1_000,
        dry_run: false,
    };
    let seen = FirstSeen::default();
    let counts = &mut plan.counts;
    orphans
        .judge(collection, &question, &seen, counts, &stop)
        .unwrap();
    let gone = orphans.doomed.iter();
    gone.map(|doomed| orphans.name(collection, doomed.place).unwrap().to_vec())
        .collect()
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
            ("orphans too young", counts.orphans_too_young),
            ("orphans removed", counts.orphans_removed),
            ("keys removed", counts.keys_removed()),
        ],
        [
            ("checked", expect.checked),
            ("stale", expect.stale),
            ("unreadable", expect.unreadable),
            ("removed", expect.removed),
            ("vetoed", expect.vetoed),
            ("orphaned", expect.orphaned),
            ("orphans too young", expect.orphans_too_young),
            ("orphans removed", expect.orphans_removed),
            ("keys removed", case.gone(NOW_MS).len() as u64),
        ]
    );
    if let Some(by_family) = expect.by_family {
        assert_eq!(counts.keys_by_family, by_family.into());
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
