//! A removal on a keyspace in memory: what each slice may take, and what must stay.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::memory::{MemoryKeyspace, NOW_MS, THRESHOLD_S, beat, reader, text};
use super::*;
use crate::commands::doctor::Survey;
use crate::plan::plan_model::owners;
use crate::plan::tests::question;
use crate::plan::{Question, Sieve, plan};
use crate::report::hold::Hold;
use crate::scan::collect::{self, Collect, Limits};
use crate::scan::memory::{Key, MemoryKeys};
use crate::scan::visit::Purpose;

const STALE_S: i64 = 700;

/// What a walk and a plan make of the keys.
fn removal(space: &MemoryKeyspace, question: Question) -> Removal {
    let keys = space.keys.iter().map(|(name, value)| Key {
        name: name.clone(),
        value: value.clone(),
        expires_ms: None,
    });
    let mut source = MemoryKeys::of(keys.collect());
    let limits = Limits {
        reader: reader(),
        collect_max_bytes: usize::MAX,
    };
    let mut collect: Collect<Sieve, Survey> = Collect::new(limits, Purpose::Removing);
    let walk = collect.slice(&mut source, NOW_MS, &mut || false);
    assert_eq!(walk, collect::Progress::Finished);
    let collection = collect.collection;
    let plan = plan(&collection, &question, &AtomicBool::new(false)).unwrap();
    let mut reap = Removal::new(collection, plan, &question.layout, question.hears_births);
    reap.new_keys = NewKeys::new(&question.layout);
    reap
}

/// One slice, which ends after its first batch.
fn slice(reap: &mut Removal, space: &mut MemoryKeyspace, number: u64) -> Progress {
    let reader = reader();
    let slice = Slice {
        now_ms: NOW_MS,
        threshold_s: THRESHOLD_S,
        reader: &reader,
        cluster: false,
        number,
        slice_us: 250,
    };
    reap.slice(space, slice, &mut || true)
}

/// Slices until nothing is left to do, with something that happens before each.
fn run(
    reap: &mut Removal,
    space: &mut MemoryKeyspace,
    mut before: impl FnMut(u64, &mut Removal, &mut MemoryKeyspace),
) {
    for number in 1..10_000 {
        before(number, reap, space);
        match slice(reap, space, number) {
            Progress::Finished => return,
            Progress::Unfinished | Progress::Paused(_) => {}
            Progress::Refused(text) => panic!("{text}"),
        }
    }
    panic!("no end");
}

fn run_out(reap: &mut Removal, space: &mut MemoryKeyspace) {
    run(reap, space, |_, _, _| {});
    assert_eq!(space.lost, [""; 0]);
}

fn stale() -> Vec<u8> {
    beat(STALE_S)
}

fn some() -> Vec<u8> {
    b"1".to_vec()
}

#[test]
fn a_family_goes_and_its_heartbeat_last() {
    let mut space = MemoryKeyspace::of(&[
        ("blocking:heartbeat:a", stale()),
        ("blocking:ack:a:1", some()),
        ("blocking:signal:a", some()),
        ("blocking:heartbeat:b", beat(1)),
        ("blocking:signal:b", some()),
        ("foreign", some()),
    ]);
    let mut reap = removal(&space, question());
    run_out(&mut reap, &mut space);
    let left = ["blocking:heartbeat:b", "blocking:signal:b", "foreign"];
    assert_eq!(space.names(), left);
    assert_eq!(space.commands.last().unwrap(), &["blocking:heartbeat:a"]);
    assert_eq!(reap.counts.coordinators_removed, 1);
    assert_eq!(reap.status(), Status::Complete);
}

#[test]
fn a_heartbeat_that_beats_again_keeps_its_family() {
    let mut space = MemoryKeyspace::of(&[
        ("blocking:heartbeat:a", stale()),
        ("blocking:signal:a", some()),
    ]);
    let mut reap = removal(&space, question());
    space.write("blocking:heartbeat:a", beat(1));
    run_out(&mut reap, &mut space);
    assert_eq!(space.names().len(), 2);
    assert_eq!(reap.counts.coordinators_revived, 1);
    assert_eq!(reap.counts.coordinators_removed, 0);
}

/// It beats no more, but holds what cannot be read with certainty.
#[test]
fn a_heartbeat_that_became_unreadable_keeps_its_family() {
    let mut space = MemoryKeyspace::of(&[
        ("blocking:heartbeat:a", stale()),
        ("blocking:signal:a", some()),
    ]);
    let mut reap = removal(&space, question());
    space.write("blocking:heartbeat:a", b"{\"timestamp\":\"soon\"}".to_vec());
    run_out(&mut reap, &mut space);
    assert_eq!(space.names().len(), 2);
}

#[test]
fn what_another_could_own_stays_if_that_one_beats_again() {
    let shared = "blocking:idempotency:a:bb:t:1:9";
    let keys = [
        ("blocking:heartbeat:a", stale()),
        ("blocking:heartbeat:bb", beat(STALE_S + 100)),
        (shared, some()),
    ];
    let mut space = MemoryKeyspace::of(&keys);
    let mut reap = removal(&space, question());
    space.write("blocking:heartbeat:bb", beat(1));
    run_out(&mut reap, &mut space);
    assert!(space.names().contains(&shared.to_owned()));
    assert_eq!(reap.counts.keys_vetoed, 1);
    // And without that both go, and the key with the last of them.
    let mut space = MemoryKeyspace::of(&keys);
    let mut reap = removal(&space, question());
    run_out(&mut reap, &mut space);
    assert_eq!(space.names(), [""; 0]);
}

#[test]
fn what_a_newborn_heartbeat_could_own_stays() {
    let keys = [
        ("blocking:heartbeat:a", stale()),
        ("blocking:signal:a", some()),
        ("blocking:heartbeat:b", stale()),
        ("blocking:signal:b", some()),
    ];
    let mut space = MemoryKeyspace::of(&keys);
    let mut reap = removal(&space, question());
    space.write("swarm:s:blocking:heartbeat:a", beat(0));
    run_out(&mut reap, &mut space);
    let left = [
        "blocking:heartbeat:a",
        "blocking:signal:a",
        "swarm:s:blocking:heartbeat:a",
    ];
    assert_eq!(space.names(), left);
}

/// The newborn owns the key in another reading of its name than the stale coordinator does.
#[test]
fn a_newborn_heartbeat_protects_what_it_shares_with_the_stale() {
    let mut space = MemoryKeyspace::of(&[
        ("blocking:heartbeat:a:b", stale()),
        ("blocking:ack:a:b", some()),
        ("blocking:signal:a:b", some()),
    ]);
    let mut reap = removal(&space, question());
    space.write("blocking:heartbeat:a", beat(0));
    run_out(&mut reap, &mut space);
    assert_eq!(space.names(), ["blocking:ack:a:b", "blocking:heartbeat:a"]);
    assert_eq!(reap.counts.keys_vetoed, 1);
}

/// Its heartbeat may have left the key to another coordinator, which the next run will know.
#[test]
fn a_key_stays_when_the_heartbeat_of_another_owner_is_gone() {
    let shared = "blocking:idempotency:a:bb:t:1:9";
    let mut space = MemoryKeyspace::of(&[
        ("blocking:heartbeat:a", stale()),
        ("blocking:heartbeat:bb", beat(STALE_S + 100)),
        (shared, some()),
    ]);
    let mut reap = removal(&space, question());
    space.keys.remove(b"blocking:heartbeat:bb".as_slice());
    run_out(&mut reap, &mut space);
    assert_eq!(space.names(), ["blocking:heartbeat:a", shared]);
    assert_eq!(reap.counts.held.count(Hold::OwnerGone), 1);
}

/// Where the server tells of no births, owners are looked up by name: in the swarms that the walk saw.
#[test]
fn where_births_are_not_heard_of_owners_are_looked_up() {
    let mut space = MemoryKeyspace::of(&[
        ("blocking:heartbeat:a", stale()),
        ("blocking:signal:a", some()),
        ("swarm:s:blocking:heartbeat:z", beat(1)),
    ]);
    space.is_silent = true;
    let silent = Question {
        hears_births: false,
        ..question()
    };
    let mut reap = removal(&space, silent);
    space.write("swarm:s:blocking:heartbeat:a", beat(0));
    run_out(&mut reap, &mut space);
    assert_eq!(space.names().len(), 4);
}

fn large_family() -> Vec<(String, Vec<u8>)> {
    let acks = (0..1_000).map(|number| (format!("blocking:ack:a:{number}"), some()));
    acks.chain([("blocking:heartbeat:a".to_owned(), stale())])
        .collect()
}

fn space_of(keys: &[(String, Vec<u8>)]) -> MemoryKeyspace {
    let keys: Vec<(&str, Vec<u8>)> = keys.iter().map(|(n, v)| (n.as_str(), v.clone())).collect();
    MemoryKeyspace::of(&keys)
}

#[test]
fn a_large_family_goes_in_parts_and_its_heartbeat_in_the_last() {
    let mut space = space_of(&large_family());
    let mut reap = removal(&space, question());
    let mut slices = 0;
    run(&mut reap, &mut space, |number, _, space| {
        slices = number;
        assert!(space.names().contains(&"blocking:heartbeat:a".to_owned()));
    });
    assert!(slices > 10, "{slices}");
    assert!(space.commands.iter().all(|keys| keys.len() <= BATCH_KEYS));
    assert_eq!(space.names(), [""; 0]);
}

#[test]
fn a_large_family_stops_going_when_its_heartbeat_beats_again() {
    let mut space = space_of(&large_family());
    let mut reap = removal(&space, question());
    run(&mut reap, &mut space, |number, _, space| {
        if number == 4 {
            space.write("blocking:heartbeat:a", beat(0));
        }
    });
    let left = space.names().len();
    assert!((700..1_000).contains(&left), "{left}");
    assert_eq!(reap.counts.coordinators_revived, 1);
}

/// Without it nothing proves death.
#[test]
fn a_large_family_stops_going_when_its_heartbeat_is_gone() {
    let mut space = space_of(&large_family());
    let mut reap = removal(&space, question());
    run(&mut reap, &mut space, |number, _, space| {
        if number == 4 {
            space.keys.remove(b"blocking:heartbeat:a".as_slice());
        }
    });
    let left = space.names().len() as u64;
    assert!((700..1_000).contains(&left), "{left}");
    assert_eq!(reap.counts.keys_orphaned, left);
}

#[test]
fn a_denied_key_keeps_the_heartbeat_that_finds_it_again() {
    let mut space = MemoryKeyspace::of(&[
        ("blocking:heartbeat:a", stale()),
        ("blocking:ack:a:1", some()),
        ("blocking:signal:a", some()),
    ]);
    space.denied.insert(b"blocking:signal:a".to_vec());
    let mut reap = removal(&space, question());
    run_out(&mut reap, &mut space);
    assert_eq!(space.names(), ["blocking:heartbeat:a", "blocking:signal:a"]);
    assert_eq!(reap.counts.held.count(Hold::Denied), 1);
    assert_eq!(reap.status(), Status::Partial);
    // One that is gone meanwhile does not count as denied.
    let mut space = MemoryKeyspace::of(&[
        ("blocking:heartbeat:a", stale()),
        ("blocking:signal:a", some()),
    ]);
    space.denied.insert(b"blocking:signal:a".to_vec());
    let mut reap = removal(&space, question());
    space.keys.remove(b"blocking:signal:a".as_slice());
    run_out(&mut reap, &mut space);
    assert_eq!(space.names(), [""; 0]);
}

#[test]
fn nothing_goes_while_the_removal_has_to_wait() {
    let mut space = space_of(&large_family());
    let mut reap = removal(&space, question());
    assert!(matches!(
        slice(&mut reap, &mut space, 1),
        Progress::Unfinished
    ));
    let left = space.names().len();
    space.waiting = Some(Waiting::Replicas);
    for number in 2..5 {
        let progress = slice(&mut reap, &mut space, number);
        assert!(matches!(progress, Progress::Paused(Waiting::Replicas)));
    }
    assert_eq!(space.names().len(), left);
    space.waiting = None;
    run_out(&mut reap, &mut space);
    assert_eq!(space.names(), [""; 0]);
}

#[test]
fn a_refused_unlink_ends_the_removal_in_the_servers_words() {
    let mut space = space_of(&large_family());
    let mut reap = removal(&space, question());
    space.refusal = Some("MISCONF no disk".to_owned());
    let progress = slice(&mut reap, &mut space, 1);
    assert!(matches!(progress, Progress::Refused(text) if text == "MISCONF no disk"));
    assert_eq!(space.names().len(), 1_001);
}

/// However many keys it shares with others, a heartbeat is read once a slice.
#[test]
fn a_heartbeat_is_read_once_a_slice() {
    let mut keys = vec![
        ("blocking:heartbeat:a".to_owned(), stale()),
        ("blocking:heartbeat:bb".to_owned(), stale()),
    ];
    let shared = (0..30).map(|n| (format!("blocking:idempotency:a:bb:t:{n}:9"), some()));
    keys.extend(shared);
    let mut space = space_of(&keys);
    let mut reap = removal(&space, question());
    assert!(matches!(
        slice(&mut reap, &mut space, 1),
        Progress::Finished
    ));
    assert_eq!(space.names(), [""; 0]);
    assert_eq!(space.reads, 2);
}

const SWARMS: usize = 20_000;

/// As many swarms with a stale coordinator of one id, and a key that all of them could own.
fn crowd() -> MemoryKeyspace {
    let heartbeats = (0..SWARMS).map(|n| (format!("swarm:{n}:blocking:heartbeat:a"), stale()));
    let keys: Vec<_> = heartbeats
        .chain([("blocking:signal:a".to_owned(), some())])
        .collect();
    let mut space = space_of(&keys);
    space.is_unchecked = true;
    space
}

/// How many slices of one batch it takes until all is done.
fn slices(reap: &mut Removal, space: &mut MemoryKeyspace) -> u64 {
    let mut slices = 0;
    run(reap, space, |number, _, _| slices = number);
    slices
}

#[test]
fn however_many_have_one_id_they_are_looked_at_in_pieces() {
    let mut space = crowd();
    let mut reap = removal(&space, question());
    let with_shared = slices(&mut reap, &mut space);
    assert_eq!(space.names(), [""; 0]);
    let mut space = crowd();
    space.keys.remove(b"blocking:signal:a".as_slice());
    let mut reap = removal(&space, question());
    let without = slices(&mut reap, &mut space);
    let pieces = SWARMS as u64 / 4096;
    assert!(
        with_shared >= without + pieces,
        "{with_shared} of {without}"
    );
}

/// The heartbeat of one of them is gone, which may have left the key to another.
#[test]
fn however_many_have_one_id_what_is_still_there_stays_with_the_key() {
    let mut space = crowd();
    let mut reap = removal(&space, question());
    space
        .keys
        .remove(b"swarm:5:blocking:heartbeat:a".as_slice());
    slices(&mut reap, &mut space);
    let left = space.names();
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(left[0], "blocking:signal:a");
    assert!(reap.held.iter().all(|is_held| *is_held));
}

/// What may happen between two slices.
#[derive(Clone, Debug)]
enum Event {
    Beat(usize),
    WriteStale(usize),
    Remove(usize),
}

const HEARTBEATS: [&str; 7] = [
    "blocking:heartbeat:a",
    "blocking:heartbeat:b",
    "blocking:heartbeat:a:b",
    "swarm:s:blocking:heartbeat:a",
    "swarm:s:blocking:heartbeat:b",
    "swarm:t:blocking:heartbeat:a",
    "swarm:s:t:blocking:heartbeat:a:b",
];

const OTHERS: [&str; 16] = [
    "blocking:signal:a",
    "blocking:signal:b",
    "blocking:signal:a:b",
    "blocking:ack:a",
    "blocking:ack:a:b",
    "blocking:ack:a:b:1",
    "blocking:ack:b:a",
    "blocking:idempotency:a:b:x",
    "blocking:idempotency:x:a",
    "blocking:idempotency:b",
    "coordinator:activity:a",
    "coordinator:activity:a:b",
    "swarm:s:agent:a:activity",
    "swarm:s:blocking:b",
    "swarm:t:blocking:a",
    "swarm:s:t:blocking:a:b",
];

fn any_event() -> impl Strategy<Value = Event> {
    let which = 0..HEARTBEATS.len();
    (which, 0..3u8).prop_map(|(which, kind)| match kind {
        0 => Event::Beat(which),
        1 => Event::WriteStale(which),
        _ => Event::Remove(which),
    })
}

fn any_keys() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let ages = prop_oneof![3 => Just(Some(STALE_S)), 1 => Just(Some(1i64)), 2 => Just(None)];
    let heartbeats = prop::collection::vec((ages, 0..300i64), HEARTBEATS.len());
    let others = prop::sample::subsequence(OTHERS.to_vec(), 0..=OTHERS.len());
    (heartbeats, others).prop_map(|(ages, others)| {
        let heartbeats = HEARTBEATS
            .iter()
            .zip(ages)
            .filter_map(|(name, (age_s, more))| {
                let age_s = age_s?;
                let more = if age_s == STALE_S { more } else { 0 };
                Some(((*name).to_owned(), beat(age_s + more)))
            });
        let others = others.into_iter().map(|name| (name.to_owned(), some()));
        heartbeats.chain(others).collect()
    })
}

proptest! {
    /// Whatever happens between slices, however small batches are: no key goes that a heartbeat could own which
    /// is not stale at that moment, and no key is left of which the run has removed every heartbeat that it had.
    #[test]
    fn nothing_of_the_living_goes_and_nothing_of_the_dead_is_stranded(
        keys in any_keys(),
        events in prop::collection::vec(prop::option::of(any_event()), 0..12),
        room in 1usize..6,
    ) {
        let mut space = space_of(&keys);
        let at_first = space.heartbeats();
        let mut reap = removal(&space, question());
        let mut events = events.into_iter();
        let mut meddled = BTreeSet::new();
        run(&mut reap, &mut space, |_, reap, space| {
            reap.room = room;
            let Some(Some(event)) = events.next() else {
                return;
            };
            let (Event::Beat(which) | Event::WriteStale(which) | Event::Remove(which)) = event;
            meddled.insert(HEARTBEATS[which].as_bytes().to_vec());
            match event {
                Event::Beat(_) => space.write(HEARTBEATS[which], beat(0)),
                Event::WriteStale(_) => space.write(HEARTBEATS[which], stale()),
                Event::Remove(_) => {
                    space.keys.remove(HEARTBEATS[which].as_bytes());
                }
            }
        });
        prop_assert_eq!(&space.lost, &[""; 0]);
        // One that was written or removed by others may have protected a key for a while.
        let mut all = at_first;
        all.extend(meddled.iter().map(|name| (name.clone(), Verdict::Live)));
        let now = space.heartbeats();
        for name in space.keys.keys().filter(|name| !now.contains_key(*name)) {
            let had = owners(name, &all);
            let all_went = had.keys().all(|owner| {
                space.removed.contains_key(owner) && !meddled.contains(owner)
            });
            let is_stranded = !had.is_empty() && all_went && owners(name, &now).is_empty();
            prop_assert!(!is_stranded, "{} is stranded: {:?}", text(name), space.commands);
        }
    }
}
