//! The walk on a source in memory: what it keeps, what it leaves out, and how it begins anew.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::collect::{Collect, Limits, Progress};
use super::memory::{Key, MemoryKeys};
use super::source::KeySource;
use super::visit::{Filter, Observer, Purpose};
use crate::heartbeat::UNREADABLE;
use crate::heartbeat::details::HeartbeatDetails;
use crate::heartbeat::fingerprint::Fingerprinter;
use crate::heartbeat::reader::Reader;
use crate::keys::family::Family;
use crate::keys::name_bounds::MAX_NAME_BYTES;

const NOW_MS: i64 = 1_700_000_000_000;
const BEAT: &[u8] = b"{\"timestamp\":1700000000}";

/// Keeps every second key that it is asked about.
#[derive(Debug, Default)]
struct EverySecond {
    asked: usize,
    forgotten: usize,
}

impl Filter for EverySecond {
    fn tries(&self, _: &[u8]) -> usize {
        1
    }

    fn keeps(&mut self, _: &[u8]) -> bool {
        self.asked += 1;
        self.asked.is_multiple_of(2)
    }

    fn others_max_bytes(&self, of_bytes: usize) -> usize {
        of_bytes
    }

    fn forget_counts(&mut self) {
        self.forgotten += 1;
    }
}

/// Writes down what it is told.
#[derive(Debug, Default)]
struct Notes {
    heartbeats: BTreeSet<Vec<u8>>,
    denied: usize,
    unknown: Vec<(Vec<u8>, bool)>,
}

impl Observer for Notes {
    fn deny_heartbeat(&mut self) {
        self.denied += 1;
    }

    fn add(&mut self, name: &[u8], _: &HeartbeatDetails, _: i64) {
        self.heartbeats.insert(name.to_vec());
    }

    fn concerns(&self, name: &[u8]) -> bool {
        name.starts_with(b"blocking:")
    }

    fn add_unknown(&mut self, name: &[u8], may_read: bool) {
        self.unknown.push((name.to_vec(), may_read));
    }
}

type Collected = Collect<EverySecond, Notes>;

fn collect_of(purpose: Purpose, collect_max_bytes: usize) -> Collected {
    let reader = Reader {
        max_bytes: 65_536,
        ..Reader::default()
    };
    let limits = Limits {
        reader,
        collect_max_bytes,
    };
    Collect::new(limits, purpose)
}

fn roomy(purpose: Purpose) -> Collected {
    collect_of(purpose, 1 << 20)
}

/// Slices of one piece of work each, until one ends otherwise than for lack of time.
fn walk(collect: &mut Collected, source: &mut MemoryKeys) -> Progress {
    for _ in 0..100_000 {
        match collect.slice(source, NOW_MS, &mut || true) {
            Progress::Unfinished => {}
            other => return other,
        }
    }
    panic!("no end");
}

fn kept(collect: &Collected) -> BTreeSet<String> {
    let records = collect.collection.iter();
    records
        .map(|(_, record)| String::from_utf8_lossy(record.name).into_owned())
        .collect()
}

fn family() -> Vec<Key> {
    vec![
        Key::new("blocking:heartbeat:a", BEAT),
        Key::new("blocking:signal:a", b"1"),
        Key::new("foreign", b"1"),
        Key::new("blocking:ack:b", b"1"),
    ]
}

#[test]
fn family_keys_are_kept_and_every_key_is_counted() {
    for names_only in [false, true] {
        let mut source = MemoryKeys::of(family());
        source.names_only = names_only;
        let mut collect = roomy(Purpose::Removing);
        assert_eq!(walk(&mut collect, &mut source), Progress::Finished);
        let expected = [
            "blocking:ack:b",
            "blocking:heartbeat:a",
            "blocking:signal:a",
        ];
        assert_eq!(kept(&collect), expected.map(str::to_owned).into());
        assert_eq!(collect.keys_scanned, 4);
        let mut records = collect.collection.iter();
        let beat = records.find_map(|(_, record)| record.beat).unwrap();
        assert_eq!(beat.newest_ms, Some(NOW_MS));
    }
}

/// The walk that removes asks strings for no TTL, and says that it did not.
#[test]
fn what_has_expired_is_not_kept_or_the_plan_is_told() {
    let mut keys = family();
    for key in &mut keys {
        key.expires_ms = Some(NOW_MS);
    }
    let mut source = MemoryKeys::of(keys);
    let mut dry = roomy(Purpose::ReadOnly);
    assert_eq!(walk(&mut dry, &mut source), Progress::Finished);
    assert_eq!(dry.collection.records(), 0);
    assert!(!dry.has_expired);
    source.begin_again(false);
    let mut removing = roomy(Purpose::Removing);
    assert_eq!(walk(&mut removing, &mut source), Progress::Finished);
    let strings = ["blocking:ack:b", "blocking:signal:a"];
    assert_eq!(kept(&removing), strings.map(str::to_owned).into());
    assert!(removing.has_expired);
}

#[test]
fn what_may_not_be_deleted_is_noted_where_nothing_is_removed() {
    for (purpose, is_noted) in [(Purpose::ReadOnly, true), (Purpose::Removing, false)] {
        let mut source = MemoryKeys::of(family());
        source.denied = family().into_iter().map(|key| key.name).collect();
        let mut collect = roomy(purpose);
        walk(&mut collect, &mut source);
        let mut records = collect.collection.iter();
        assert!(records.all(|(_, record)| record.denied == is_noted));
    }
}

#[test]
fn a_walk_that_starts_over_forgets_what_it_had() {
    let mut source = MemoryKeys::of(family());
    source.starts_over.insert(4);
    let mut collect = roomy(Purpose::Removing);
    assert_eq!(walk(&mut collect, &mut source), Progress::StartsOver);
    assert_eq!(collect.keys_scanned, 0);
    assert_eq!(collect.collection.records(), 0);
    assert_eq!(collect.forgotten.0.records(), 2);
    assert_eq!(walk(&mut collect, &mut source), Progress::Finished);
    assert_eq!((collect.keys_scanned, collect.collection.records()), (4, 3));
}

#[test]
fn replicas_are_waited_for_when_keys_have_expired() {
    let mut keys = family();
    keys[0].expires_ms = Some(0);
    let mut source = MemoryKeys::of(keys);
    source.names_only = true;
    source.must_wait = true;
    let mut collect = roomy(Purpose::Removing);
    assert_eq!(walk(&mut collect, &mut source), Progress::WaitForReplicas);
    let steps = source.steps;
    assert_eq!(walk(&mut collect, &mut source), Progress::WaitForReplicas);
    assert_eq!(source.steps, steps, "it went on");
    source.must_wait = false;
    assert_eq!(walk(&mut collect, &mut source), Progress::Finished);
    assert_eq!((collect.keys_scanned, collect.collection.records()), (4, 2));
}

/// It is not read, and whose it is must be known all the same.
#[test]
fn a_heartbeat_with_a_name_over_the_bounds_is_unreadable() {
    let name = format!("blocking:heartbeat:{}", "x".repeat(4 * MAX_NAME_BYTES));
    let mut source = MemoryKeys::of(vec![Key::new(&name, BEAT)]);
    let mut collect = roomy(Purpose::Removing);
    walk(&mut collect, &mut source);
    let (_, record) = collect.collection.iter().next().unwrap();
    assert_eq!(record.family, Family::Heartbeat);
    assert_eq!(record.beat, Some(UNREADABLE));
    assert!(record.name.len() < name.len());
}

fn many(heartbeats: usize, others: usize) -> MemoryKeys {
    let one = |n| Key::new(&format!("blocking:signal:{n}"), b"1");
    let two = |n| Key::new(&format!("blocking:heartbeat:{n}"), BEAT);
    MemoryKeys::of(
        (0..others)
            .map(one)
            .chain((0..heartbeats).map(two))
            .collect(),
    )
}

fn count(collect: &Collected, family: Family) -> usize {
    let records = collect.collection.iter();
    records
        .filter(|(_, record)| record.family == family)
        .count()
}

#[test]
fn other_keys_leave_room_for_heartbeats() {
    let mut source = many(40, 400);
    let mut collect = collect_of(Purpose::Removing, 8_192);
    collect.walks_twice = true;
    assert_eq!(walk(&mut collect, &mut source), Progress::Finished);
    assert!(collect.truncated && collect.is_worth_a_second_walk());
    assert_eq!(count(&collect, Family::Heartbeat), 40);
    assert!(count(&collect, Family::Signal) < 400);
    // The second walk keeps what its filter lets through.
    collect.begin_again_with(&mut source, Box::default());
    assert!(source.is_slow && source.walks == 2);
    assert_eq!(walk(&mut collect, &mut source), Progress::Finished);
    assert!(!collect.is_worth_a_second_walk());
    assert_eq!(count(&collect, Family::Heartbeat), 40);
    assert_eq!(collect.filter.as_ref().unwrap().asked, 400);
    assert_eq!(collect.keys_scanned, 440);
}

#[test]
fn heartbeats_that_find_no_room_send_the_walk_back() {
    // The other keys come first, and their names are long enough to fill their part in one piece.
    let mut source = many(60, 400);
    let mut collect = collect_of(Purpose::Removing, 4_096);
    collect.walks_twice = true;
    assert_eq!(walk(&mut collect, &mut source), Progress::TooManyHeartbeats);
    assert!(collect.can_do_without_others());
    collect.begin_again_without_others(&mut source);
    assert!(!source.is_slow);
    assert_eq!(walk(&mut collect, &mut source), Progress::Finished);
    assert!(collect.truncated && !collect.has_others());
    assert_eq!(count(&collect, Family::Heartbeat), 60);
    // One that walks once, and one for heartbeats alone, has no other way.
    assert!(!collect.can_do_without_others());
    let mut small = collect_of(Purpose::Removing, 64);
    small.walks_twice = true;
    assert_eq!(
        walk(&mut small, &mut many(60, 0)),
        Progress::TooManyHeartbeats
    );
    assert!(!small.can_do_without_others());
}

#[test]
fn an_observer_is_told_of_every_heartbeat_and_of_names_that_concern_it() {
    let mut keys = family();
    keys.push(Key::new("blocking:hearbeat:c", b"1"));
    keys.push(Key::new("blocking:heartbeat:d", BEAT));
    let mut source = MemoryKeys::of(keys);
    source.denied.insert(b"blocking:heartbeat:d".to_vec());
    let mut collect = roomy(Purpose::ReadOnly);
    collect.observer = Some(Box::default());
    assert_eq!(walk(&mut collect, &mut source), Progress::Finished);
    // The plan must know it.
    assert_eq!(count(&collect, Family::Heartbeat), 2);
    let notes = collect.observer.unwrap();
    assert_eq!(notes.heartbeats, [b"blocking:heartbeat:a".to_vec()].into());
    assert_eq!(notes.denied, 1);
    assert_eq!(notes.unknown, [(b"blocking:hearbeat:c".to_vec(), true)]);
}

#[test]
fn an_observer_goes_on_when_heartbeats_find_no_room() {
    let mut source = many(60, 0);
    let mut collect = collect_of(Purpose::ReadOnly, 512);
    collect.observer = Some(Box::default());
    assert_eq!(walk(&mut collect, &mut source), Progress::Finished);
    assert!(collect.is_overfull);
    assert!(count(&collect, Family::Heartbeat) < 60);
    assert_eq!(collect.observer.unwrap().heartbeats.len(), 60);
}

#[test]
fn fingerprints_are_taken_of_every_heartbeat() {
    for names_only in [false, true] {
        let mut source = MemoryKeys::of(family());
        source.names_only = names_only;
        let mut collect = roomy(Purpose::Removing);
        let prints = Fingerprinter::default();
        collect.limits.reader.prints = Some(prints.clone());
        walk(&mut collect, &mut source);
        let name = prints.of(b"blocking:heartbeat:a");
        assert_eq!(collect.seen.value(name), Some(prints.of(BEAT)));
    }
}

fn any_key() -> impl Strategy<Value = Key> {
    let name = prop_oneof![
        2 => "[ab]".prop_map(|id| format!("blocking:heartbeat:{id}")),
        2 => "[a-z]".prop_map(|id| format!("blocking:signal:{id}")),
        1 => "[a-z]".prop_map(|id| format!("swarm:{id}:agent:x:activity")),
        1 => "[a-z]{1,3}",
    ];
    let expires_ms =
        prop_oneof![3 => Just(None), 1 => Just(Some(NOW_MS)), 1 => Just(Some(NOW_MS + 1))];
    (name, expires_ms).prop_map(|(name, expires_ms)| Key {
        expires_ms,
        ..Key::new(&name, BEAT)
    })
}

proptest! {
    /// However a walk is cut into slices and steps, whatever a visit shows, and however often it starts over: it
    /// keeps the family keys that exist, each once, and counts the keys.
    #[test]
    fn a_walk_keeps_what_is_there(
        keys in prop::collection::vec(any_key(), 0..40),
        step_keys in 1usize..7,
        names_only in any::<bool>(),
        starts_over in prop::collection::btree_set(1u64..12, 0..3),
        pauses in prop::collection::vec(any::<bool>(), 1..8),
    ) {
        let mut all = keys;
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all.dedup_by(|one, other| one.name == other.name);
        let mut source = MemoryKeys::of(all.clone());
        source.step_keys = step_keys;
        source.names_only = names_only;
        source.now_ms = NOW_MS;
        source.starts_over = starts_over;
        let mut collect = roomy(Purpose::RemovingOrphans);
        let mut pauses = pauses.iter().cycle();
        for slices in 0.. {
            prop_assert!(slices < 1_000, "no end");
            match collect.slice(&mut source, NOW_MS, &mut || *pauses.next().unwrap()) {
                Progress::Finished => break,
                Progress::Unfinished | Progress::StartsOver => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
        let reader = &collect.limits.reader;
        let is_there = |key: &&Key| key.expires_ms.is_none_or(|at_ms| at_ms > NOW_MS);
        let mut expected: Vec<&[u8]> = all
            .iter()
            .filter(is_there)
            .filter(|key| reader.layout.family_of(&key.name).is_some())
            .map(|key| key.name.as_slice())
            .collect();
        let mut found: Vec<&[u8]> = collect.collection.iter().map(|(_, r)| r.name).collect();
        expected.sort_unstable();
        found.sort_unstable();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(collect.keys_scanned, all.len() as u64);
    }
}
