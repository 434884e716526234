//! Tests of the judgement that the scenario files cannot show: what is remembered from run to run, what is read, and
//! the rule of `known_ids.rs` over every template of the layout.

use super::*;
use crate::keys::layout::Layout;
use crate::report::hold::Hold;
use crate::scan::scanned_keys::Record;

const NOW_MS: i64 = 1_700_000_000_000;
const OLD: Option<i64> = Some(NOW_MS - 900_000);
const YOUNG: Option<i64> = Some(NOW_MS - 5_000);

/// A key with the time its value gives; all of them are orphans but those with a name that begins with `!`.
type Keys<'k> = &'k [(&'k str, Option<i64>)];

fn question() -> Question {
    Question {
        now_ms: NOW_MS,
        grace_s: 600,
        pattern: None,
        began_s: 1_000,
        looked_s: 1_000,
        room: 100,
        dry_run: false,
    }
}

fn orphan_value(name: &str, newest_ms: Option<i64>) -> OrphanValue {
    OrphanValue {
        evidence: Evidence {
            newest_ms,
            conclusive: newest_ms.is_some(),
        },
        print: name.bytes().fold(7, |print: u64, byte| {
            print.wrapping_mul(31).wrapping_add(byte.into())
        }),
    }
}

struct Judged {
    gone: Vec<String>,
    counts: Counts,
    seen: FirstSeen,
    witnesses: usize,
}

fn judged(keys: Keys, question: &Question, seen: &FirstSeen) -> Judged {
    let stop = AtomicBool::new(false);
    let mut collection = ScannedKeys::default();
    let bare = |name: &str| name.trim_start_matches(['!', '-']).to_owned();
    for (name, _) in keys {
        let bytes = bare(name).into_bytes();
        collection.push(Record {
            name: &bytes,
            family: Layout::default().family_of(&bytes).unwrap(),
            denied: name.starts_with('-'),
            is_large: false,
            beat: None,
        });
    }
    let records: Vec<(Position, Record)> = collection.iter().collect();
    let places = records.iter().zip(keys);
    let orphans = places.filter(|(_, (name, _))| !name.starts_with('!'));
    let orphans = orphans.map(|((position, _), _)| *position).collect();
    let mut orphans = gather(&collection, orphans, &Arc::default(), &stop).unwrap();
    let time_of = |position: &Position| {
        let place = records.iter().position(|(known, _)| known == position);
        keys[place.unwrap()]
    };
    let seen_now = orphans.keys.iter().map(time_of);
    orphans.orphan_values = seen_now
        .map(|(name, ms)| Some(orphan_value(name, ms)))
        .collect();
    orphans.testimonies_ms = orphans.witnesses.iter().map(|p| time_of(p).1).collect();
    let mut counts = Counts::default();
    let seen = orphans
        .judge(&collection, question, seen, &mut counts, &stop)
        .unwrap();
    let name = |doomed: &Doomed| orphans.name(&collection, doomed.place).unwrap();
    let gone = orphans.doomed.iter().map(name);
    Judged {
        gone: gone
            .map(|name| String::from_utf8_lossy(name).into())
            .collect(),
        counts,
        seen,
        witnesses: orphans.witnesses.len(),
    }
}

fn gone(keys: Keys) -> Vec<String> {
    judged(keys, &question(), &FirstSeen::default()).gone
}

/// One key of each template that names `{id}`, in swarm `s` where there is one, and whether it makes the id known.
const TEMPLATES: [(&str, bool); 8] = [
    ("blocking:signal:{id}", true),
    ("blocking:ack:{id}", true),
    ("blocking:ack:{id}:s1", false),
    ("blocking:idempotency:{id}", true),
    ("blocking:idempotency:{id}:zz:completion:1:x", false),
    ("coordinator:activity:{id}", true),
    ("swarm:s:agent:{id}:activity", true),
    ("swarm:s:blocking:{id}", true),
];

#[test]
fn youth_of_each_template_protects_each_other_that_names_a_known_id() {
    for (young, young_is_known) in TEMPLATES {
        for (template, old_is_known) in TEMPLATES {
            if young == template {
                continue;
            }
            let (young, old) = (young.replace("{id}", "a"), template.replace("{id}", "a"));
            let stays = young_is_known || old_is_known;
            let left = gone(&[(&young, YOUNG), (&old, OLD)]);
            assert_eq!(left.is_empty(), stays, "{young} beside {old}");
            // A third key that makes the id known is enough for the others.
            let left = gone(&[
                (&young, YOUNG),
                (&old, OLD),
                ("coordinator:activity:a", OLD),
            ]);
            assert!(left.is_empty(), "{young} beside {old}: {left:?}");
            // An id that only looks alike has no part in it.
            let other = template.replace("{id}", "ab");
            assert_eq!(gone(&[(&young, YOUNG), (&other, OLD)]), [other]);
        }
    }
}

#[test]
fn a_swarm_speaks_for_itself_and_for_keys_without_one() {
    for scoped in ["swarm:s:agent:a:activity", "swarm:s:blocking:a"] {
        let other = "swarm:t:blocking:a";
        assert_eq!(gone(&[(scoped, YOUNG), (other, OLD)]), [other]);
        assert_eq!(gone(&[("blocking:signal:a", YOUNG), (other, OLD)]).len(), 0);
        assert_eq!(
            gone(&[(scoped, YOUNG), ("blocking:signal:a", OLD)]).len(),
            0
        );
    }
}

#[test]
fn keys_of_others_are_read_where_they_name_a_known_id_only() {
    let keys: Keys = &[
        ("blocking:signal:a", OLD),
        ("!blocking:idempotency:l:a:completion:1:x", OLD),
        ("!blocking:idempotency:l:b:completion:1:x", YOUNG),
        ("!blocking:signal:l", YOUNG),
        ("!blocking:ack:a:s1", OLD),
    ];
    let outcome = judged(keys, &question(), &FirstSeen::default());
    assert_eq!(outcome.witnesses, 2);
    assert_eq!(outcome.gone, ["blocking:signal:a"]);
    assert!(gone(&[keys[0], ("!blocking:ack:a:s1", YOUNG)]).is_empty());
}

#[test]
fn what_tells_no_time_goes_when_the_grace_after_the_first_look_is_over() {
    let keys: Keys = &[("blocking:signal:a", None), ("blocking:ack:b:s1", None)];
    let first = judged(keys, &question(), &FirstSeen::default());
    assert_eq!((first.counts.orphans_too_young, first.seen.len()), (2, 2));
    // Seen in second 1,000, counted from 1,001.
    for (began_s, left) in [(1_000, 2), (1_601, 2), (1_602, 0)] {
        let later = Question {
            began_s,
            looked_s: began_s,
            ..question()
        };
        let again = judged(keys, &later, &first.seen);
        assert_eq!(again.counts.orphans_too_young, left, "{began_s}");
        assert_eq!(again.counts.orphans_removed, 2 - left, "{began_s}");
        // What goes is forgotten.
        assert_eq!(again.seen.len() as u64, left, "{began_s}");
        let dry = Question {
            dry_run: true,
            ..later
        };
        assert_eq!(judged(keys, &dry, &first.seen).seen.len(), 2);
    }
    // What one run does not see is forgotten.
    let other = judged(&[("blocking:signal:c", None)], &question(), &first.seen);
    assert_eq!(other.seen.len(), 1);
    let print = orphan_value("blocking:signal:a", None).print;
    assert_eq!(first.seen.moment_s(print), Some(1_001));
    assert_eq!(other.seen.moment_s(print), None);
}

#[test]
fn without_room_keys_wait() {
    let none = Question {
        room: 0,
        ..question()
    };
    let keys: Keys = &[("blocking:signal:a", None)];
    let mut seen = FirstSeen::default();
    for began_s in [1_000, 2_000, 3_000] {
        let question = Question {
            began_s,
            looked_s: began_s,
            ..none.clone()
        };
        let outcome = judged(keys, &question, &seen);
        assert_eq!(outcome.counts.orphans_too_young, 1);
        seen = outcome.seen;
    }
}

#[test]
fn what_may_not_be_deleted_stays_and_is_counted() {
    let keys: Keys = &[("-blocking:signal:a", OLD), ("-blocking:signal:b", YOUNG)];
    let outcome = judged(keys, &question(), &FirstSeen::default());
    assert!(outcome.gone.is_empty());
    assert_eq!(outcome.counts.held.count(Hold::Denied), 1);
    assert_eq!(outcome.counts.orphans_too_young, 1);
    assert_eq!(outcome.counts.keys_removed(), 0);
}

#[test]
fn an_id_of_too_many_swarms_keeps_what_has_no_swarm_and_nothing_else() {
    let mut names: Vec<String> = (0..70).map(|n| format!("swarm:{n}:blocking:a")).collect();
    names.push("blocking:ack:a:s1".into());
    let keys: Vec<(&str, Option<i64>)> = names.iter().map(|name| (name.as_str(), OLD)).collect();
    let outcome = judged(&keys, &question(), &FirstSeen::default());
    assert_eq!(outcome.gone.len(), 70);
    assert_eq!(outcome.counts.keys_vetoed, 1);
}

#[test]
fn a_name_too_long_for_its_many_readings_stays() {
    let id = "x".repeat(20_000);
    let long = format!("blocking:idempotency:{id}:b:completion:1:1");
    let short = format!("blocking:signal:{id}");
    let keys: Keys = &[(&long, OLD), (&short, OLD)];
    let outcome = judged(keys, &question(), &FirstSeen::default());
    assert_eq!(outcome.gone, [short]);
    assert_eq!(outcome.counts.keys_vetoed, 1);
}

#[test]
fn names_full_of_colons_are_judged_quickly() {
    let colons = "a:".repeat(32 * 1024);
    let keys: Vec<(String, Option<i64>)> = (0..50)
        .map(|n| (format!("blocking:idempotency:{colons}{n}"), OLD))
        .chain([("blocking:signal:a".to_owned(), OLD)])
        .collect();
    let keys: Vec<(&str, Option<i64>)> = keys.iter().map(|(n, ms)| (n.as_str(), *ms)).collect();
    let outcome = judged(&keys, &question(), &FirstSeen::default());
    assert_eq!(outcome.counts.keys_vetoed, 50);
    assert_eq!(outcome.gone, ["blocking:signal:a"]);
}

#[test]
fn told_to_stop_it_stops() {
    let stop = AtomicBool::new(true);
    let mut collection = ScannedKeys::default();
    collection.push(Record {
        name: b"blocking:signal:a",
        family: Family::Signal,
        denied: false,
        is_large: false,
        beat: None,
    });
    let keys: Vec<Position> = collection.iter().map(|(position, _)| position).collect();
    assert!(gather(&collection, keys.clone(), &Arc::default(), &stop).is_none());
    let go_on = AtomicBool::new(false);
    let mut orphans = gather(&collection, keys, &Arc::default(), &go_on).unwrap();
    orphans.orphan_values = vec![None];
    let mut counts = Counts::default();
    let judged = orphans.judge(
        &collection,
        &question(),
        &FirstSeen::default(),
        &mut counts,
        &stop,
    );
    assert!(judged.is_none());
}
