//! The key matcher against the slow model, which tries every range of every name: the same readings, every id a part
//! of the name between colons, and a family exactly where there is a reading. Names are spelled out of a few words, or
//! are bytes as they come.
#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use blocking_cleanup_fuzz::keys::family::Family;
use blocking_cleanup_fuzz::keys::layout::Layout;
use blocking_cleanup_fuzz::keys::reading::{Reading, SegmentCounts};
use blocking_cleanup_fuzz::plan_model;
use libfuzzer_sys::fuzz_target;

/// What names are spelled with; a byte of the input picks one.
const WORDS: [&str; 32] = [
    "blocking:heartbeat:",
    "blocking:signal:",
    "blocking:ack:",
    "blocking:idempotency:",
    "coordinator:activity:",
    "swarm:",
    ":blocking:heartbeat:",
    ":agent:",
    ":activity",
    ":blocking:",
    ":state",
    "blocking:",
    "heartbeat:",
    "coordinator:work:",
    "blocking:retry:",
    ":",
    "::",
    "a",
    "b",
    "ab",
    "a:b",
    "s",
    "*",
    "?",
    "[",
    "\\",
    "\0",
    "\u{e9}",
    "state",
    "activity",
    "agent",
    "heartbeat",
];

/// The model takes time by the square of the length.
const MODEL_BYTES: usize = 64;

/// What layouts are spelled with.
const TEMPLATE_WORDS: [&str; 32] = [
    "heartbeat=",
    "signal=",
    "ack=",
    "idempotency=",
    "never=",
    "heartbeat=a:{id}",
    " heartbeat=s:{swarm}:{id}",
    " signal=a:{id}",
    " ack=a:",
    " idempotency=b:",
    " state=s:",
    " activity=a:b:",
    " never=",
    " ",
    "{id}",
    "{swarm}",
    "*",
    ":",
    ":{id}",
    "{id}:",
    "*{id}",
    "{id}*",
    ":*",
    "*:",
    "{swarm}:",
    "a",
    "b",
    "a:",
    ":b",
    "{",
    "}",
    "\"",
];

static BUILT_IN: LazyLock<Layout> = LazyLock::new(Layout::default);

type Found = (Option<Vec<u8>>, Vec<u8>, usize);

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let spelled: Vec<u8>;
    if *choice >= 192 {
        return check_template(rest);
    }
    let name = if choice % 4 == 0 {
        rest
    } else {
        spelled = rest
            .iter()
            .flat_map(|byte| WORDS[usize::from(byte % 32)].bytes())
            .collect();
        &spelled
    };
    check(name, usize::from(choice / 4 % 8));
});

/// Any text, taken or refused with a place in it; what is taken has a family exactly where there is a reading.
fn check_template(data: &[u8]) {
    let (text, name) = data.split_at(data.len() / 2);
    let text: Vec<u8> = text
        .iter()
        .flat_map(|byte| TEMPLATE_WORDS[usize::from(byte % 32)].bytes())
        .collect();
    let name: Vec<u8> = name
        .iter()
        .take(16)
        .map(|byte| b"ab:s"[usize::from(byte % 4)])
        .collect();
    let Ok(layout) = Layout::parse(&text) else {
        return;
    };
    let mut found = 0;
    layout.readings(&name, &SegmentCounts::up_to(32), &mut |reading| {
        let (start, end) = reading.id;
        assert!(start < end && name[start - 1] == b':', "{reading:?}");
        assert!(end == name.len() || name[end] == b':', "{reading:?}");
        found += 1;
        true
    });
    let family = layout.family_of(&name);
    let counts_as_family = family == Some(Family::Heartbeat) || !layout.is_never_touched(&name);
    assert_eq!(family.is_some(), found > 0 && counts_as_family);
    let mut beats = false;
    layout.beating(&name, &mut |_| beats = true);
    assert_eq!(family == Some(Family::Heartbeat), beats);
}

fn readings(name: &[u8], counts: &SegmentCounts) -> Vec<Reading> {
    let mut found = Vec::new();
    BUILT_IN.readings(name, counts, &mut |reading| {
        found.push(reading);
        true
    });
    found
}

fn segments(id: &[u8]) -> usize {
    id.split(|byte| *byte == b':').count()
}

fn check(name: &[u8], only_segments: usize) {
    let shown = || String::from_utf8_lossy(name).into_owned();
    let mut counts = SegmentCounts::default();
    // With every number of segments known the readings of a long name are as many as its length squared.
    let most = if name.len() <= MODEL_BYTES {
        name.len() + 1
    } else {
        3
    };
    for count in 0..most {
        counts.add(&b":".repeat(count));
    }
    let found = readings(name, &counts);
    for reading in &found {
        let (start, end) = reading.id;
        assert!(
            start < end && end <= name.len(),
            "{reading:?} of {}",
            shown()
        );
        assert!(
            start > 0 && name[start - 1] == b':',
            "{reading:?} of {}",
            shown()
        );
        assert!(
            end == name.len() || name[end] == b':',
            "{reading:?} of {}",
            shown()
        );
        if let Some((from, to)) = reading.swarm {
            assert!(
                from < to && to < start && name[from - 1] == b':',
                "{reading:?} of {}",
                shown()
            );
        }
    }
    let family = BUILT_IN.family_of(name);
    let counts_as_family = family == Some(Family::Heartbeat) || !BUILT_IN.is_never_touched(name);
    assert_eq!(
        family.is_some(),
        !found.is_empty() && counts_as_family,
        "{family:?} {}",
        shown()
    );
    let mut beating = BTreeSet::new();
    BUILT_IN.beating(name, &mut |reading| {
        beating.insert((
            reading.swarm_of(name).map(<[u8]>::to_vec),
            reading.id_of(name).to_vec(),
        ));
    });
    assert_eq!(
        family == Some(Family::Heartbeat),
        !beating.is_empty(),
        "{family:?} {}",
        shown()
    );
    if name.len() > MODEL_BYTES {
        return;
    }
    let named = |reading: &Reading| -> Found {
        (
            reading.swarm_of(name).map(<[u8]>::to_vec),
            reading.id_of(name).to_vec(),
            reading.id.0,
        )
    };
    let found: BTreeSet<Found> = found.iter().map(named).collect();
    let model: BTreeSet<Found> = plan_model::readings(name)
        .into_iter()
        .map(|((swarm, id), at)| (swarm, id, at))
        .collect();
    assert_eq!(found, model, "{}", shown());
    let model_beating: BTreeSet<_> = plan_model::beats_for(name).into_iter().collect();
    assert_eq!(beating, model_beating, "{}", shown());
    // Ids of one number of segments known: none of these is missed, and where a line of the table leaves the extent
    // open no other comes.
    let mut counts = SegmentCounts::default();
    counts.add(&b":".repeat(only_segments));
    let some: BTreeSet<Found> = readings(name, &counts).iter().map(named).collect();
    assert!(some.is_subset(&model), "{}", shown());
    let is_open = name.starts_with(b"blocking:ack:") || name.starts_with(b"blocking:idempotency:");
    for reading in &model {
        let wanted = segments(&reading.1) == only_segments + 1;
        assert_eq!(
            some.contains(reading),
            wanted || !is_open,
            "{reading:?} of {}",
            shown()
        );
    }
}
