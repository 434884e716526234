//! The plan of small keyspaces against the slow model: the same keys go, the same counts come out, nothing goes that a
//! living coordinator could own, and every further coordinator that could own a key is named for a second look.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use blocking_cleanup_fuzz::heartbeat::{self, Reading, Verdict};
use blocking_cleanup_fuzz::keys::family::Family;
use blocking_cleanup_fuzz::keys::layout::Layout;
use blocking_cleanup_fuzz::keys::pattern::Pattern;
use blocking_cleanup_fuzz::oracle_pattern::stringmatchlen;
use blocking_cleanup_fuzz::plan::{self, Plan, Question};
use blocking_cleanup_fuzz::plan_model::{self, Outcome};
use blocking_cleanup_fuzz::scan::scanned_keys::{Position, Record, ScannedKeys};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

static BUILT_IN: std::sync::LazyLock<Layout> = std::sync::LazyLock::new(Layout::default);

const NOW_MS: i64 = 1_700_000_000_000;
const THRESHOLD_S: u32 = 600;
const MOST_KEYS: usize = 10;

type Keys = Vec<(Vec<u8>, Option<Reading>)>;

fuzz_target!(|data: &[u8]| {
    let mut from = Unstructured::new(data);
    if let (Ok(question), Ok(keys)) = (question(&mut from), keys(&mut from)) {
        check(&keys, &question);
    }
});

fn question(from: &mut Unstructured) -> Result<Question> {
    let limit = if from.ratio(1, 4)? {
        Some(from.int_in_range(1..=3)?)
    } else {
        None
    };
    let pattern = match from.int_in_range(0..=7)? {
        0 => Some(*from.choose(&["a", "a*", "[ab]", "?:*", "*heartbeat*", "\\*"])?),
        _ => None,
    };
    Ok(Question {
        layout: Default::default(),
        now_ms: NOW_MS,
        threshold_s: THRESHOLD_S,
        pattern: pattern.map(|glob| Pattern::new(glob.as_bytes()).expect("a valid glob")),
        limit,
        ids: 100,
        truncated: false,
        sieve: None,
        orphans: false,
        max_bytes: usize::MAX,
        hears_births: true,
        names_kept: true,
        locality: None,
        safety: Default::default(),
    })
}

/// Ids and swarms that are parts of one another and of the templates.
fn word(from: &mut Unstructured) -> Result<&'static str> {
    Ok(*from.choose(&[
        "a",
        "b",
        "a",
        "b",
        "a:b",
        "b:a",
        "a:a",
        "ab",
        "a:b:a",
        ":",
        "a:",
        ":a",
        "*",
        "heartbeat:a",
        "a:state",
        "blocking:a",
        "a:activity",
        "t",
        "1",
    ])?)
}

fn keys(from: &mut Unstructured) -> Result<Keys> {
    let mut keys = Keys::new();
    while !from.is_empty() && keys.len() < MOST_KEYS {
        let (id, other) = (word(from)?, word(from)?);
        let swarm = *from.choose(&["s", "s", "t", "s:blocking", "s:agent:a"])?;
        let name = match from.int_in_range(0..=15)? {
            0..=4 => format!("blocking:heartbeat:{id}"),
            5 | 6 => format!("swarm:{swarm}:blocking:heartbeat:{id}"),
            7 => format!("blocking:signal:{id}"),
            8 => format!("blocking:ack:{id}:{other}"),
            9 => format!("blocking:ack:{id}"),
            10 => format!("blocking:idempotency:{id}:{other}:t:1"),
            11 => format!("blocking:idempotency:t:{other}"),
            12 => format!("coordinator:activity:{id}"),
            13 => format!("swarm:{swarm}:agent:{id}:activity"),
            14 => format!("swarm:{swarm}:blocking:{id}"),
            _ => (*from.choose(&[
                "swarm:s:state",
                "coordinator:work:s:a:1",
                "blocking:retry:a:1",
                "user:a",
            ])?)
            .to_owned(),
        }
        .into_bytes();
        let age_ms = from.int_in_range(599_000..=605_000)?;
        let beat = match from.int_in_range(0..=9)? {
            0..=4 => Reading {
                newest_ms: Some(NOW_MS - age_ms - 5_000),
                doubtful: false,
            },
            5 | 6 => Reading {
                newest_ms: Some(NOW_MS - age_ms),
                doubtful: false,
            },
            7 => Reading {
                newest_ms: Some(NOW_MS + age_ms),
                doubtful: false,
            },
            8 => Reading {
                newest_ms: Some(NOW_MS - age_ms - 5_000),
                doubtful: true,
            },
            _ => heartbeat::UNREADABLE,
        };
        let is_heartbeat = BUILT_IN.family_of(&name) == Some(Family::Heartbeat);
        keys.push((name, is_heartbeat.then_some(beat)));
    }
    Ok(keys)
}

fn collect(keys: &Keys) -> ScannedKeys {
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

fn check(keys: &Keys, question: &Question) {
    let collection = collect(keys);
    let plan = plan::plan(&collection, question, &AtomicBool::new(false))
        .expect("it was not told to stop");
    let name_at = |position: &Position| collection.get(*position).expect("a record").name.to_vec();
    let removals: Vec<Vec<u8>> = plan.removals.iter().map(name_at).collect();
    let admits = |id: &[u8]| {
        question
            .pattern
            .as_ref()
            .is_none_or(|p| stringmatchlen(p.source(), id))
    };
    let expected = plan_model::model(keys, NOW_MS, THRESHOLD_S, &admits, question.limit);
    let outcome = Outcome {
        removed: removals.iter().cloned().collect(),
        checked: plan.counts.coordinators_checked,
        stale: plan.counts.coordinators_stale,
        unreadable: plan.counts.coordinators_unreadable,
        coordinators_removed: plan.counts.coordinators_removed,
        vetoed: plan.counts.keys_vetoed,
        orphaned: plan.counts.keys_orphaned,
        held: plan.counts.held.iter().map(|(_, count)| count).sum(),
        limited: plan.limited,
    };
    assert_eq!(outcome, expected, "{}", shown(keys));
    // A heartbeat that is vetoed is counted, too.
    let (vetoed, orphaned) = (plan.kept.vetoed.len(), plan.kept.orphaned.len());
    assert!(vetoed as u64 <= outcome.vetoed, "{}", shown(keys));
    assert_eq!(orphaned as u64, outcome.orphaned, "{}", shown(keys));
    let mut kept = plan.kept.vetoed.iter().chain(plan.kept.orphaned.iter());
    assert!(
        kept.all(|position| !outcome.removed.contains(&name_at(position))),
        "a key stays and goes: {}",
        shown(keys)
    );
    assert_eq!(
        outcome.removed.len(),
        removals.len(),
        "a key is named twice: {}",
        shown(keys)
    );
    check_owners(keys, &plan, &removals, &name_at);
}

/// The promise itself, asked of the model's owners and of nothing else.
fn check_owners(
    keys: &Keys,
    plan: &Plan,
    removals: &[Vec<u8>],
    name_at: &dyn Fn(&Position) -> Vec<u8>,
) {
    let mut read: BTreeMap<Vec<u8>, Reading> = BTreeMap::new();
    for (name, beat) in keys {
        if let Some(beat) = beat {
            read.entry(name.clone())
                .and_modify(|known| *known = known.merged(*beat))
                .or_insert(*beat);
        }
    }
    let verdicts: BTreeMap<Vec<u8>, Verdict> = read
        .iter()
        .map(|(name, beat)| (name.clone(), heartbeat::verdict(*beat, NOW_MS, THRESHOLD_S)))
        .collect();
    let heartbeats: Vec<Vec<u8>> = plan.heartbeats.iter().map(name_at).collect();
    let mut covered = 0;
    let mut oldest = i64::MIN;
    for doomed in &plan.doomed {
        let own = &heartbeats[doomed.heartbeat as usize];
        let beat_ms = read[own].newest_ms.expect("a stale heartbeat has a beat");
        assert!(oldest <= beat_ms, "not the oldest first: {}", shown(keys));
        oldest = beat_ms;
        assert_eq!(doomed.first, covered, "{}", shown(keys));
        covered = doomed.end;
        assert_eq!(
            removals[doomed.end - 1],
            *own,
            "the heartbeat is not the last: {}",
            shown(keys)
        );
        for (place, name) in removals
            .iter()
            .enumerate()
            .take(doomed.end)
            .skip(doomed.first)
        {
            let owners = plan_model::owners(name, &verdicts);
            for owner in owners.keys() {
                assert!(
                    matches!(verdicts[owner], Verdict::Stale { .. }),
                    "{} goes although {} could own it: {}",
                    String::from_utf8_lossy(name),
                    String::from_utf8_lossy(owner),
                    shown(keys)
                );
            }
            let expected: BTreeSet<&Vec<u8>> = match owners.len() {
                0 | 1 => BTreeSet::new(),
                _ => owners.keys().collect(),
            };
            let shared: BTreeSet<&Vec<u8>> = plan
                .shared
                .iter()
                .filter(|shared| shared.removal == place)
                .flat_map(|shared| plan.sets.heartbeats(shared.owners))
                .map(|number| &heartbeats[number as usize])
                .collect();
            assert_eq!(
                shared,
                expected,
                "owners of {}: {}",
                String::from_utf8_lossy(name),
                shown(keys)
            );
        }
    }
    assert_eq!(covered, removals.len(), "{}", shown(keys));
}

fn shown(keys: &Keys) -> String {
    let lines = keys
        .iter()
        .map(|(name, beat)| format!("\n  {} {beat:?}", String::from_utf8_lossy(name)));
    lines.collect()
}
