//! A client that cancels a run does not wait for its worker: every phase, whatever the names it is about, checks
//! often whether to stop, and gives nothing once it was told to.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::tests::question;
use super::*;
use crate::commands::doctor::{self, Settings, Walked};
use crate::heartbeat::Reading;
use crate::heartbeat::fingerprint::Fingerprinter;
use crate::orphans::evidence::Evidence;
use crate::orphans::first_seen::FirstSeen;
use crate::orphans::{self, OrphanValue, Orphans};
use crate::plan::protect::Protected;
use crate::plan::second_look::SecondLook;
use crate::scan::fingerprints::SeenFingerprints;
use crate::scan::scanned_keys::Record;
use crate::util::cooperative::gauge;

/// Records read and hashes made between two looks, at most. A hundred thousand take some 20 ms.
const STRETCH: u64 = 2_000;

static GO_ON: AtomicBool = AtomicBool::new(false);

/// Heartbeats of ids of many lengths and of one id in many swarms, keys full of colons, markers in names,
/// orphans, and enough of all that sorts and passes over everything are long.
fn hostile() -> ScannedKeys {
    let mut names: Vec<(String, Family)> = Vec::new();
    let mut add = |name: String, family| names.push((name, family));
    for segments in 1..30 {
        let id = vec!["a"; segments].join(":");
        add(format!("blocking:heartbeat:{id}"), Family::Heartbeat);
    }
    for n in 0..100 {
        add(
            format!("swarm:s{n}:blocking:heartbeat:a"),
            Family::Heartbeat,
        );
        add(format!("blocking:heartbeat:b{n}"), Family::Heartbeat);
        add(format!("blocking:signal:b{n}"), Family::Signal);
        add(format!("blocking:signal:o{n}"), Family::Signal);
        add(format!("swarm:s:blocking:o{n}:a"), Family::State);
    }
    let markers = ":blocking:heartbeat".repeat(200);
    add(format!("swarm:s{markers}:z"), Family::Heartbeat);
    for (end, segments) in [("q", 300), ("a", 200), ("o1", 200)] {
        let middle = "a:".repeat(segments);
        add(
            format!("blocking:idempotency:{middle}{end}"),
            Family::Idempotency,
        );
        add(format!("blocking:ack:{middle}{end}"), Family::Ack);
    }
    let mut collection = ScannedKeys::default();
    for (name, family) in &names {
        let beat = Reading {
            newest_ms: Some(1),
            doubtful: false,
        };
        collection.push(Record {
            name: name.as_bytes(),
            family: *family,
            denied: false,
            is_large: false,
            beat: (*family == Family::Heartbeat).then_some(beat),
        });
    }
    collection
}

fn second_look(collection: &ScannedKeys, yields: &YieldCounter) -> Option<SecondLook> {
    let mut look = SecondLook {
        prints: Fingerprinter::default(),
        before: Arc::default(),
        most: 10_000,
        seen: SeenFingerprints::default(),
    };
    for (_, record) in collection.iter().filter(|(_, r)| r.beat.is_some()) {
        look.seen.push(&look.prints, record.name, 1);
    }
    // What the walk does is no work of the worker.
    gauge::look();
    look.prepare(yields)?;
    Some(look)
}

fn asked() -> Question {
    Question {
        ids: 100,
        orphans: true,
        names_kept: true,
        locality: None,
        ..question()
    }
}

fn orphaned(collection: &ScannedKeys) -> Option<Orphans> {
    let keys = plan(collection, &asked(), &GO_ON)?.orphans;
    orphans::gather(collection, keys, &question().layout, &GO_ON)
}

fn judged(collection: &ScannedKeys, mut orphans: Orphans) -> Option<FirstSeen> {
    let orphan_value = |conclusive| OrphanValue {
        evidence: Evidence {
            newest_ms: Some(1),
            conclusive,
        },
        print: 1,
    };
    orphans.orphan_values = orphans
        .keys
        .iter()
        .map(|_| Some(orphan_value(false)))
        .collect();
    orphans.testimonies_ms = orphans.witnesses.iter().map(|_| Some(1)).collect();
    let question = orphans::Question {
        now_ms: 1_000_000,
        grace_s: 60,
        pattern: None,
        began_s: 9,
        looked_s: 9,
        room: 100,
        dry_run: true,
    };
    let seen = FirstSeen::default();
    orphans.judge(collection, &question, &seen, &mut Counts::default(), &GO_ON)
}

type Work<'c> = Box<dyn Fn() -> Option<()> + 'c>;

fn phases(collection: &ScannedKeys) -> Vec<(&'static str, Work<'_>)> {
    let settings = Settings {
        threshold_s: 600,
        max_stale_percent: 50,
        ..Settings::default()
    };
    vec![
        (
            "plan",
            Box::new(|| plan(collection, &asked(), &GO_ON).map(drop)),
        ),
        (
            "plan with the safeguards",
            Box::new(|| {
                let protected = Protected::parse(b"no* [x-z]?").unwrap();
                let look = second_look(collection, &YieldCounter::new(&GO_ON))?;
                let safety = Safeguards {
                    protected: Arc::new(protected),
                    second_look: Some(look),
                    ..Safeguards::default()
                };
                let question = Question { safety, ..asked() };
                plan(collection, &question, &GO_ON).map(drop)
            }),
        ),
        (
            "sieve",
            Box::new(|| Sieve::new(collection, &asked(), &GO_ON).map(drop)),
        ),
        (
            "explain",
            Box::new(|| {
                let both = plan_and_explain(collection, &asked(), b"o1", 50, &GO_ON);
                let (_, mut explanation) = both?;
                explanation.close(collection, None, &GO_ON)
            }),
        ),
        ("gather", Box::new(|| orphaned(collection).map(drop))),
        (
            "judge",
            Box::new(|| judged(collection, orphaned(collection)?).map(drop)),
        ),
        (
            "study",
            Box::new(move || {
                let walked = Walked::default();
                let names = doctor::Naming {
                    layout: question().layout,
                    ..Default::default()
                };
                doctor::study(collection, walked, &settings, &names, 1, &GO_ON).map(drop)
            }),
        ),
    ]
}

#[test]
fn every_phase_looks_often_at_whether_to_stop_and_gives_nothing_when_told_to() {
    let collection = hostile();
    for (phase, work) in phases(&collection) {
        let (result, looks, longest) = gauge::stop_after(u64::MAX, &work);
        assert!(result.is_some(), "{phase}");
        assert!(longest <= STRETCH, "{phase}: {longest} between two looks");
        // At the first moments and at the last ones, and spread over what is between.
        let spread = (1..5).map(|n| looks / 5 * n);
        // Tables of random order lie in between, so that two runs may differ by a few looks.
        let last = looks.saturating_sub(12)..looks.saturating_sub(10);
        for moment in (0..2).chain(spread).chain(last) {
            let (result, after, longest) = gauge::stop_after(moment, &work);
            assert!(
                result.is_none(),
                "{phase}, told at look {moment} of {looks}"
            );
            assert!(longest <= STRETCH, "{phase}: {longest} after look {moment}");
            assert!(
                after <= moment + 3,
                "{phase}: {after} looks, told at {moment}"
            );
        }
    }
}
