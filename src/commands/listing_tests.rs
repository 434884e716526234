//! What LIST keeps, counts and shows.

use super::*;
use crate::commands::query;
use crate::heartbeat::Reading;
use crate::heartbeat::forms::Form;

const NOW_MS: i64 = 1_700_000_000_000;

fn vitals(age_s: Option<i64>) -> HeartbeatDetails {
    HeartbeatDetails {
        reading: Reading {
            newest_ms: age_s.map(|age_s| NOW_MS - age_s * 1000),
            doubtful: age_s.is_none(),
        },
        told: age_s.map(|_| ("timestamp".to_owned(), Form::Milliseconds)),
        expires_ms: None,
        trouble: None,
        print: None,
    }
}

fn listing(options: &str) -> Listing {
    listing_by(options, Arc::default())
}

fn listing_by(options: &str, layout: Arc<Layout>) -> Listing {
    let words: Vec<&[u8]> = options.split_whitespace().map(str::as_bytes).collect();
    Listing::new(query::parse_list(&words).unwrap(), 600, layout)
}

fn field<'v>(value: &'v Value, name: &str) -> &'v Value {
    let Value::Map(fields) = value else {
        panic!("{value:?}")
    };
    &fields.iter().find(|(known, _)| *known == name).unwrap().1
}

fn ids(value: &Value) -> Vec<String> {
    let Value::Array(entries) = field(value, "coordinators") else {
        panic!("{value:?}")
    };
    let text = |entry: &Value| match field(entry, "id") {
        Value::Text(id) => String::from_utf8_lossy(id).into_owned(),
        other => panic!("{other:?}"),
    };
    entries.iter().map(text).collect()
}

fn reply(listing: Listing) -> Value {
    listing.to_value(0, &Cost::default())
}

/// Ages of some coordinators: a stale one, one at the threshold, one from the future, one unread.
const SOME: [(&str, Option<i64>); 5] = [
    ("old", Some(5000)),
    ("edge", Some(600)),
    ("over", Some(601)),
    ("future", Some(-50)),
    ("mute", None),
];

fn filled(options: &str) -> Listing {
    let mut listing = listing(options);
    for (id, age_s) in SOME {
        let name = format!("blocking:heartbeat:{id}");
        listing.add(name.as_bytes(), vitals(age_s), NOW_MS);
    }
    listing
}

#[test]
fn oldest_first_and_those_without_a_time_last() {
    let table: [(&str, &[&str]); 7] = [
        ("", &["old", "over", "edge", "future", "mute"]),
        ("COUNT 2", &["old", "over"]),
        ("STALE", &["old", "over"]),
        ("LIVE", &["edge", "future"]),
        ("UNREADABLE", &["mute"]),
        ("MATCH o*", &["old", "over"]),
        ("MATCH *e* COUNT 2 LIVE", &["edge", "future"]),
    ];
    for (options, expected) in table {
        let reply = reply(filled(options));
        assert_eq!(ids(&reply), expected, "{options}");
        // Whatever is listed, all are counted.
        for (name, count) in [("checked", 5), ("live", 2), ("stale", 2), ("unreadable", 1)] {
            let name = format!("coordinators_{name}");
            assert_eq!(
                field(&reply, &name),
                &Value::Int(count),
                "{options}: {name}"
            );
        }
    }
    assert_eq!(
        field(&reply(filled("COUNT 1")), "coordinators_matched"),
        &Value::Int(5)
    );
    assert_eq!(
        field(&reply(filled("STALE COUNT 1")), "coordinators_matched"),
        &Value::Int(2)
    );
}

#[test]
fn only_as_many_as_asked_for_are_kept_whatever_the_order() {
    let mut up = listing("COUNT 10");
    let mut down = listing("COUNT 10");
    for n in 0..1000i64 {
        let name = |n: i64| format!("blocking:heartbeat:{n:04}");
        up.add(name(n).as_bytes(), vitals(Some(n)), NOW_MS);
        down.add(name(999 - n).as_bytes(), vitals(Some(999 - n)), NOW_MS);
        assert!(up.oldest.len() <= 10 && down.oldest.len() <= 10);
    }
    let expected: Vec<String> = (990..1000)
        .rev()
        .map(|n| n.to_string().to_owned())
        .collect();
    let expected: Vec<String> = expected.iter().map(|n| format!("{n:0>4}")).collect();
    assert_eq!(ids(&reply(up)), expected);
    assert_eq!(ids(&reply(down)), expected);
}

#[test]
fn long_names_are_given_up_before_memory_is() {
    let mut listing = listing("COUNT 1000");
    for n in 0..200i64 {
        let name = format!("blocking:heartbeat:{n:03}{}", "x".repeat(250 * 1024));
        listing.add(name.as_bytes(), vitals(Some(n)), NOW_MS);
        assert!(listing.name_bytes <= room::MAX_BYTES);
    }
    let (reply, held) = (listing.matched, ids(&reply(listing)));
    assert_eq!(reply, 200);
    assert!(held.len() == 4, "{}", held.len());
    assert!(held[0].starts_with("199"));
}

#[test]
fn a_heartbeat_that_comes_twice_is_listed_once_with_its_newest_beat() {
    let mut listing = listing("");
    for age_s in [900, 900, 5] {
        listing.add(b"blocking:heartbeat:a", vitals(Some(age_s)), NOW_MS);
    }
    listing.deny();
    let reply = reply(listing);
    assert_eq!(ids(&reply), ["a"]);
    assert_eq!(field(&reply, "heartbeats_denied"), &Value::Int(1));
    let Value::Array(entries) = field(&reply, "coordinators") else {
        panic!("{reply:?}")
    };
    assert_eq!(field(&entries[0], "age_s"), &Value::Int(5));
}

#[test]
fn a_coordinator_of_a_swarm_has_its_swarm_beside_it() {
    let mut listing = listing("MATCH a:*");
    listing.add(
        b"swarm:s:1:blocking:heartbeat:a:\xff",
        vitals(Some(700)),
        NOW_MS,
    );
    // Stale, but under a name that nothing may remove.
    listing.add(
        b"swarm:s:blocking:heartbeat:a:state",
        vitals(Some(700)),
        NOW_MS,
    );
    let reply = reply(listing);
    let Value::Array(entries) = field(&reply, "coordinators") else {
        panic!("{reply:?}")
    };
    assert_eq!(field(&entries[1], "state"), &Value::Status("unreadable"));
    assert_eq!(
        entries[0],
        Value::Map(vec![
            ("id", Value::text(b"a:\xff")),
            ("swarm", Value::text(b"s:1")),
            ("state", Value::Status("stale")),
            ("age_s", Value::Int(700)),
            ("ttl_s", Value::Null),
            ("field", Value::text("timestamp")),
            ("trouble", Value::Null),
        ])
    );
}

#[test]
fn names_are_read_by_the_layout() {
    let layout = b"heartbeat=hb:{swarm}:of:{id} never=hb:{swarm}:of:kept";
    let mut listing = listing_by("MATCH [ak]*", Arc::new(Layout::parse(layout).unwrap()));
    for name in ["hb:s:1:of:a", "hb:s:of:kept", "hb:s:of:b"] {
        listing.add(name.as_bytes(), vitals(Some(700)), NOW_MS);
    }
    let reply = reply(listing);
    assert_eq!(ids(&reply), ["a", "kept"]);
    let Value::Array(entries) = field(&reply, "coordinators") else {
        panic!("{reply:?}")
    };
    assert_eq!(field(&entries[0], "swarm"), &Value::text("s:1"));
    let states = entries.iter().map(|entry| field(entry, "state"));
    let expected = [Value::Status("stale"), Value::Status("unreadable")];
    assert!(states.eq(expected.iter()));
}
