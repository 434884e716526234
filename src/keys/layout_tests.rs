//! The built-in layout, key by key, and against a slow reader of names.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::LazyLock;

static BUILT_IN: LazyLock<Layout> = LazyLock::new(Layout::default);

fn ids(name: &str, known: &[&str]) -> Vec<String> {
    let mut counts = SegmentCounts::default();
    for id in known {
        counts.add(id.as_bytes());
    }
    let mut found = Vec::new();
    BUILT_IN.readings(name.as_bytes(), &counts, &mut |reading| {
        let id = String::from_utf8_lossy(reading.id_of(name.as_bytes())).into_owned();
        found.push(match reading.swarm_of(name.as_bytes()) {
            Some(swarm) => format!("{}/{id}", String::from_utf8_lossy(swarm)),
            None => id,
        });
        true
    });
    found.sort();
    found.dedup();
    found
}

#[test]
fn families_by_name() {
    use Family::*;
    let table: &[(&str, Option<Family>)] = &[
        ("blocking:heartbeat:c-1", Some(Heartbeat)),
        ("blocking:heartbeat:a:b", Some(Heartbeat)),
        ("blocking:heartbeat::", Some(Heartbeat)),
        ("blocking:heartbeat:", None),
        ("blocking:heartbeat", None),
        ("swarm:s:blocking:heartbeat:c", Some(Heartbeat)),
        ("swarm::blocking:heartbeat:c", None),
        ("swarm:s:blocking:heartbeat:", Some(State)),
        ("blocking:signal:c", Some(Signal)),
        ("blocking:ack:c", Some(Ack)),
        ("blocking:ack:c:s1:x", Some(Ack)),
        ("blocking:ack:", None),
        ("blocking:idempotency:a:b:t:1:9", Some(Idempotency)),
        ("coordinator:activity:c", Some(Activity)),
        ("swarm:s:agent:c:activity", Some(Activity)),
        ("swarm:s:agent::activity", None),
        ("swarm:s:agent:activity", None),
        ("swarm:s:blocking:c", Some(State)),
        ("swarm:s:state", None),
        ("swarm:s:blocking:c:state", None),
        ("swarm:s:blocking:heartbeat:c:state", Some(Heartbeat)),
        ("coordinator:work:s:c:w", None),
        ("coordinator:escalation:c", None),
        ("coordinator:spawn:c", None),
        ("blocking:retry:s1:1", None),
        ("blocking:retry:failed:s1", None),
        ("Blocking:heartbeat:c", None),
        ("user:1", None),
        ("", None),
    ];
    for (name, expected) in table {
        assert_eq!(BUILT_IN.family_of(name.as_bytes()), *expected, "{name}");
    }
    let long = [b"blocking:ack:".as_slice(), &vec![b'a'; MAX_NAME_BYTES]].concat();
    assert_eq!(BUILT_IN.family_of(&long), None);
}

#[test]
fn readings_by_name() {
    let table: &[(&str, &[&str], &[&str])] = &[
        ("blocking:signal:a:b", &["x"], &["a:b"]),
        ("blocking:ack:a:b:s1", &["x"], &["a"]),
        ("blocking:ack:a:b:s1", &["x:y", "x"], &["a", "a:b"]),
        ("blocking:ack::a", &["x", "x:y"], &[":a"]),
        ("blocking:ack:a:", &["x", "x:y"], &["a", "a:"]),
        ("blocking:idempotency:a:b", &["x"], &["a", "b"]),
        (
            "blocking:idempotency:a:b",
            &["x", "x:y"],
            &["a", "a:b", "b"],
        ),
        ("blocking:idempotency:a::b", &["x:y"], &[":b", "a:"]),
        ("swarm:s:blocking:c", &[], &["s/c"]),
        (
            "swarm:s:blocking:heartbeat:c",
            &[],
            &["s/c", "s/heartbeat:c"],
        ),
        (
            "swarm:s:blocking:blocking:c",
            &[],
            &["s/blocking:c", "s:blocking/c"],
        ),
        ("swarm:s:agent:c:activity", &[], &["s/c"]),
        (
            "swarm:a:agent:b:blocking:c:activity",
            &[],
            &["a/b:blocking:c", "a:agent:b/c:activity"],
        ),
        ("user:1", &["x"], &[]),
    ];
    for (name, known, expected) in table {
        assert_eq!(ids(name, known), *expected, "{name}");
    }
}

/// Ids of a key by trying every byte range: slow and obviously right.
fn every_range(rest: &[u8], only_head: bool) -> Vec<(usize, usize)> {
    let colon_or_edge = |at: Option<usize>| at.is_none_or(|at| rest.get(at) == Some(&b':'));
    let mut found = Vec::new();
    for from in 0..rest.len() {
        for to in from + 1..=rest.len() {
            let begins = colon_or_edge(from.checked_sub(1)) && !(only_head && from > 0);
            let ends = colon_or_edge(Some(to).filter(|to| *to < rest.len()));
            if begins && ends {
                found.push((from, to));
            }
        }
    }
    found
}

proptest! {
    #[test]
    fn readings_are_all_ranges_between_colons(rest in "[ab:]{0,9}") {
        let mut known = SegmentCounts::default();
        for count in 0..12 {
            known.add(&b":".repeat(count));
        }
        for (prefix, only_head) in [("blocking:ack:", true), ("blocking:idempotency:", false)] {
            let name = format!("{prefix}{rest}");
            let mut found = Vec::new();
            BUILT_IN.readings(name.as_bytes(), &known, &mut |reading| {
                found.push((reading.id.0 - prefix.len(), reading.id.1 - prefix.len()));
                true
            });
            found.sort_unstable();
            prop_assert_eq!(found, every_range(rest.as_bytes(), only_head));
        }
    }

    #[test]
    fn a_family_has_a_reading_and_a_foreign_key_has_none_that_counts(name in "[:a-c]{0,6}|(swarm:|blocking:|heartbeat:|ack:|agent:|activity|state|s:|:){0,7}") {
        let mut known = SegmentCounts::default();
        for count in 0..20 {
            known.add(&b":".repeat(count));
        }
        let mut count = 0;
        BUILT_IN.readings(name.as_bytes(), &known, &mut |_| {
            count += 1;
            true
        });
        let family = BUILT_IN.family_of(name.as_bytes());
        prop_assert_eq!(family.is_some(), count > 0 && (family == Some(Family::Heartbeat) || !BUILT_IN.is_never_touched(name.as_bytes())));
    }
}

/// Every way to read `name` by a template, by trying every split: slow and obviously right.
fn every_split(template: &str, name: &[u8]) -> BTreeSet<Reading> {
    fn is_border(name: &[u8], at: usize) -> bool {
        at == 0 || at == name.len() || name[at - 1] == b':' || name[at] == b':'
    }
    fn split(
        template: &str,
        name: &[u8],
        at: usize,
        so_far: Reading,
        found: &mut BTreeSet<Reading>,
    ) {
        let part = |length: usize| (at, at + length);
        let lengths = 0..=name.len() - at;
        let may_hold = |length: usize| {
            let (begin, end) = part(length);
            let begins = begin == 0 || name[begin - 1] == b':';
            let ends = end == name.len() || name[end] == b':';
            length > 0 && begins && ends && is_border(name, begin)
        };
        if let Some(rest) = template.strip_prefix("{id}") {
            for length in lengths.filter(|length| may_hold(*length)) {
                let id = part(length);
                split(rest, name, id.1, Reading { id, ..so_far }, found);
            }
        } else if let Some(rest) = template.strip_prefix("{swarm}") {
            for length in lengths.filter(|length| may_hold(*length)) {
                let swarm = Some(part(length));
                split(rest, name, at + length, Reading { swarm, ..so_far }, found);
            }
        } else if let Some(rest) = template.strip_prefix('*') {
            for length in lengths {
                split(rest, name, at + length, so_far, found);
            }
        } else if let Some(byte) = template.bytes().next() {
            if name.get(at) == Some(&byte) {
                split(&template[1..], name, at + 1, so_far, found);
            }
        } else if at == name.len() {
            found.insert(so_far);
        }
    }
    let mut found = BTreeSet::new();
    let nothing = Reading {
        swarm: None,
        id: (0, 0),
    };
    split(template, name, 0, nothing, &mut found);
    found
}

/// Every reading of a name by one template, as the layout gives it.
fn every_reading(layout: &Layout, name: &[u8]) -> BTreeSet<Reading> {
    let mut found = BTreeSet::new();
    layout.readings(name, &SegmentCounts::up_to(32), &mut |reading| {
        found.insert(reading);
        true
    });
    found
}

fn layout_of(text: &str) -> Arc<Layout> {
    Arc::new(Layout::parse(text.as_bytes()).unwrap_or_else(|why| panic!("{text}: {why}")))
}

const LEADS: [&str; 8] = [
    "",
    "{swarm}:",
    "{swarm}:x:",
    "{swarm}:a:a:",
    "*",
    "*:",
    "*x:",
    "*:a:",
];
const TAILS: [&str; 8] = ["", ":", ":x", ":a:a", "*", ":*", ":x*", ":a:*"];

proptest! {
    /// Whatever a template says: its readings, its family, and what is read without known ids.
    #[test]
    fn any_template_is_read_by_the_letter(
        lead in prop::sample::select(&LEADS[..]),
        tail in prop::sample::select(&TAILS[..]),
        prefix in "(p:|a:|x:a:)",
        name in "(p:|a:|x:a:)[ax:]{0,9}",
    ) {
        let template = format!("{prefix}{lead}{{id}}{tail}");
        let layout = layout_of(&format!("heartbeat=zzz:{{id}} ack={template}"));
        let expected = every_split(&template, name.as_bytes());
        prop_assert_eq!(every_reading(&layout, name.as_bytes()), expected.clone(), "{}", template);
        let family = layout.family_of(name.as_bytes());
        prop_assert_eq!(family, (!expected.is_empty()).then_some(Family::Ack), "{}", template);
        let most = expected.len();
        let mut all = AllReadings::up_to(most, &layout);
        let all: Option<Vec<Reading>> = all.of(name.as_bytes()).map(<[Reading]>::to_vec);
        prop_assert_eq!(all, Some(expected.iter().copied().collect()), "{}", template);
        if most > 0 {
            let mut too_few = AllReadings::up_to(most - 1, &layout);
            prop_assert_eq!(too_few.of(name.as_bytes()), None, "{}", template);
        }
    }

    /// Only known numbers of segments, and none of those is missed.
    #[test]
    fn known_ids_are_found_by_any_template(
        lead in prop::sample::select(&LEADS[..]),
        tail in prop::sample::select(&TAILS[..]),
        name in "p:[ax:]{0,9}",
        segments in 1usize..4,
    ) {
        let template = format!("p:{lead}{{id}}{tail}");
        let layout = layout_of(&format!("heartbeat=zzz:{{id}} ack={template}"));
        let mut known = SegmentCounts::default();
        known.add(&b":".repeat(segments - 1));
        let mut found = BTreeSet::new();
        layout.readings(name.as_bytes(), &known, &mut |reading| {
            found.insert(reading);
            true
        });
        let count = |reading: &Reading| {
            let id = reading.id_of(name.as_bytes());
            id.iter().filter(|byte| **byte == b':').count() + 1
        };
        let expected = every_split(&template, name.as_bytes());
        prop_assert!(found.is_subset(&expected), "{}", template);
        for reading in expected.iter().filter(|reading| count(reading) == segments) {
            prop_assert!(found.contains(reading), "{}: {:?}", template, reading);
        }
    }

    /// The key of a coordinator's heartbeat is read as that coordinator's.
    #[test]
    fn heartbeats_are_found_by_id(
        id in "[a:]{1,5}",
        swarm in prop::option::of("[a:]{1,5}"),
        tail in prop::sample::select(vec!["", ":beat"]),
    ) {
        let layout = layout_of(&format!("heartbeat=h:{{id}}{tail} heartbeat=s:{{swarm}}:h:{{id}}{tail}"));
        let (id, swarm) = (id.as_bytes(), swarm.as_deref().map(str::as_bytes));
        let name = layout.heartbeats_of(swarm, id).next().unwrap();
        prop_assert_eq!(layout.family_of(&name), Some(Family::Heartbeat));
        let mut found = false;
        layout.beating(&name, &mut |reading| {
            found |= reading.id_of(&name) == id && reading.swarm_of(&name) == swarm;
        });
        prop_assert!(found);
    }
}

/// The order of the templates in the setting decides nothing: what may be a heartbeat is one.
#[test]
fn what_may_be_a_heartbeat_is_one() {
    for text in [
        "signal=c:{id}* heartbeat=c:{id}:beat",
        "heartbeat=c:{id}:beat signal=c:{id}*",
    ] {
        let layout = layout_of(text);
        assert_eq!(
            layout.family_of(b"c:a:beat"),
            Some(Family::Heartbeat),
            "{text}"
        );
        assert_eq!(
            layout.family_of(b"c:a:beat:x"),
            Some(Family::Signal),
            "{text}"
        );
        let readings = every_reading(&layout, b"c:a:beat");
        assert_eq!(readings.len(), 2, "of a, and of a:beat");
    }
}

#[test]
fn what_is_never_touched_is_no_family_but_a_heartbeat() {
    let layout = layout_of(
        "heartbeat=h:{id} state=s:{swarm}:{id} never=s:{swarm}:state never=h:x never=s:keep:*",
    );
    for (name, family) in [
        ("s:a:b", Some(Family::State)),
        ("s:a:state", None),
        ("s:a:b:state", None),
        ("s::state", None),
        ("s:state:state:", Some(Family::State)),
        ("s:keep:", None),
        ("s:keep:b", None),
        ("s:keeper:b", Some(Family::State)),
        ("h:x", Some(Family::Heartbeat)),
    ] {
        assert_eq!(layout.family_of(name.as_bytes()), family, "{name}");
    }
    assert!(layout.is_never_touched(b"h:x") && !layout.is_never_touched(b"h:x:y"));
    assert!(!layout.is_never_touched(b"s::state") && layout.is_never_touched(b"s:a:state"));
}

#[test]
fn a_time_in_a_name_stands_at_its_open_end() {
    let layout =
        layout_of("heartbeat=h:{id} idempotency=i:{id}:at:* idempotency=j:{id} ack=k:{id}*");
    assert_eq!(
        layout.idempotency_tail(b"i:a:at:x:17"),
        Some(b"17".as_slice())
    );
    for name in ["i:a:17", "j:17", "k:a:17", "h:17", "x:17"] {
        assert_eq!(layout.idempotency_tail(name.as_bytes()), None, "{name}");
    }
}

/// Only heartbeats of the kinds that the layout has.
#[test]
fn a_heartbeat_without_a_template_has_no_key() {
    let layout = layout_of("heartbeat=s:{swarm}:{id} signal=x:{id}");
    assert_eq!(layout.heartbeats_of(None, b"a").count(), 0);
    let scoped: Vec<Vec<u8>> = layout.heartbeats_of(Some(b"s"), b"a").collect();
    assert_eq!(scoped, [b"s:s:a".to_vec()]);
}

#[test]
fn an_id_may_have_several_heartbeats() {
    let layout =
        layout_of("heartbeat={{app}}:hb:{id} heartbeat=s:{swarm}:{id} heartbeat=b:{id}:at");
    let keys: Vec<Vec<u8>> = layout.heartbeats_of(None, b"a").collect();
    assert_eq!(keys, [b"{app}:hb:a".to_vec(), b"b:a:at".to_vec()]);
    for name in ["{app}:hb:a", "b:a:at", "s:s:a"] {
        assert_eq!(layout.family_of(name.as_bytes()), Some(Family::Heartbeat));
    }
}

proptest! {
    #[test]
    fn what_is_never_touched_is_read_by_the_letter(
        parts in prop::collection::vec(prop::sample::select(vec!["a", ":", "ab", "*", "{id}", "{swarm}"]), 1..6),
        name in "[ab:]{0,8}",
    ) {
        let never = parts.concat();
        let layout = layout_of(&format!("heartbeat=zzz:{{id}} never={never}"));
        let some = never.replace("{id}", ".+").replace("{swarm}", ".+").replace('*', ".*");
        let some = regex::bytes::Regex::new(&format!("^{some}$")).unwrap();
        prop_assert_eq!(layout.is_never_touched(name.as_bytes()), some.is_match(name.as_bytes()), "{}", never);
    }
}
