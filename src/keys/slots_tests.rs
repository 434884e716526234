//! Slots of names, and how CLUSTER NODES is read.

use super::*;
use proptest::prelude::*;

const A: &str = "07c37dfeb235213a872192d90877d0cd55635b91";
const B: &str = "67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1";

/// A list that a test over the wire has the server confirm.
const NAMES: &str = include_str!("../../tests/slots.txt");

#[test]
fn a_key_lies_where_the_server_says() {
    for line in NAMES.lines() {
        let (slot, name) = line.split_once(' ').unwrap();
        assert_eq!(slot_of(name.as_bytes()).to_string(), slot, "{name}");
    }
}

#[test]
fn only_the_first_tag_counts_and_an_empty_one_is_none() {
    let table: &[(&str, Option<&str>)] = &[
        ("a{b}c", Some("b")),
        ("{b}{c}", Some("b")),
        ("{{b}}", Some("{b")),
        ("a}{b}", Some("b")),
        ("{}{b}", None),
        ("{b", None),
        ("b}", None),
        ("}{", None),
        ("a{b:c}d", Some("b:c")),
    ];
    for (key, tag) in table {
        assert_eq!(hash_tag(key.as_bytes()), tag.map(str::as_bytes), "{key}");
        let alone = tag.map(|tag| slot_of(tag.as_bytes()));
        let whole = CRC.checksum(key.as_bytes()) % SLOTS;
        assert_eq!(slot_of(key.as_bytes()), alone.unwrap_or(whole), "{key}");
    }
}

fn text(text: &str) -> Part<'_> {
    Part::Text(text.as_bytes())
}

#[test]
fn what_is_not_known_decides_unless_a_tag_stands_before_it_or_no_brace_can() {
    let of = |key: &str| Some(slot_of(key.as_bytes()));
    let table: Vec<(Vec<Part>, Option<u16>)> = vec![
        (vec![text("a"), text("b")], of("ab")),
        (vec![text("a{b"), text("}c")], of("b")),
        (vec![text("a{b}"), Part::Any, text("c")], of("b")),
        (vec![text("a"), Part::Any, text("{b}")], None),
        (vec![text("a"), Part::Braceless, text("{b}")], of("b")),
        (vec![text("a"), Part::Braceless, text("b")], None),
        (vec![text("a{"), Part::Braceless, text("b}")], None),
        (vec![text("a{}"), Part::Braceless, text("{b}")], None),
        (vec![text("a}"), Part::Braceless, text("{b}")], of("b")),
        (vec![Part::Braceless, text("{b}"), Part::Any], of("b")),
        (vec![text("a{}"), text("{b}")], of("a{}{b}")),
        (vec![text("a"), Part::Any], None),
    ];
    for (parts, slot) in table {
        assert_eq!(slot_of_parts(parts.iter().copied()), slot, "{parts:?}");
    }
}

fn list(own: &Own) -> Vec<u16> {
    (0..SLOTS).filter(|slot| own.here.contains(*slot)).collect()
}

#[test]
fn slots_are_read_from_the_line_of_this_node() {
    let nodes = format!(
        "{B} 127.0.0.1:30004@31004,host master - 0 1426238317239 4 connected 0-1 16383\n\
         {A} 127.0.0.1:30001@31001 myself,master - 0 0 1 connected 5 7-9 [7->-{B}] [100-<-{B}]\n"
    );
    let own = own(nodes.as_bytes()).unwrap();
    assert_eq!(list(&own), [5, 8, 9]);
    assert!(own.open.contains(7) && own.open.contains(100));
    assert_eq!((own.here.len(), own.open.len()), (3, 2));
    assert!(!own.here.are_all());
}

#[test]
fn a_replica_has_the_slots_of_its_primary() {
    let nodes = format!(
        "{A} :0@0 myself,slave {B} 0 0 1 connected\n\
         {B} 127.0.0.1:30004@31004 master - 0 1426238317239 4 connected 0-16383\n"
    );
    let own = own(nodes.as_bytes()).unwrap();
    assert!(own.here.are_all());
    assert_eq!(own.here, Slots::all());
}

#[test]
fn a_node_without_slots_has_none_and_an_unreadable_text_says_nothing() {
    let line = |slots: &str| format!("{A} :0@0 myself,master - 0 0 1 connected{slots}\n");
    let read = |text: &str| own(text.as_bytes());
    assert_eq!(read(&line("")), Some(Own::default()));
    assert_eq!(read(&line(" ")), Some(Own::default()));
    for slots in [
        " 16384",
        " 5-3",
        " x",
        " 1-",
        " -1",
        " 1-2-3",
        " [5",
        " [x->-b]",
        " [16384->-b]",
        " 65536",
        " +5",
        " 1\t2",
    ] {
        let found = read(&line(slots));
        if slots == " [5" {
            // Moving to or from somewhere.
            assert!(found.unwrap().open.contains(5));
        } else {
            assert_eq!(found, None, "{slots:?}");
        }
    }
    for text in [
        "",
        "\n",
        "myself",
        &line(" 1").replace("myself,", ""),
        "ERR no",
    ] {
        assert_eq!(read(text), None, "{text:?}");
    }
    // A replica whose primary is not known.
    assert_eq!(read(&line("").replace("master -", "slave -")), None);
}

#[test]
fn the_slots_of_a_job_that_is_not_over_are_open() {
    let mut own = Own {
        here: Slots::all(),
        ..Own::default()
    };
    for over in ["success", "failed", "cancelled"] {
        assert_eq!(own.add_job(b"0-99", over.as_bytes()), Some(()));
    }
    assert!(own.here.are_all());
    assert_eq!(own.add_job(b"0-99 200", b"snapshotting"), Some(()));
    assert_eq!((own.here.len(), own.open.len()), (SLOTS - 101, 101));
    assert_eq!(own.add_job(b"0-x", b"snapshotting"), None);
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = own(&text);
        let mut line = format!("{A} :0@0 myself,master - 0 0 1 connected ").into_bytes();
        line.extend(&text);
        let _ = own(&line);
        let _ = slot_of(&text);
    }

    /// Whatever is put in the place of what is not known lies in the slot that was named.
    #[test]
    fn a_slot_that_is_named_is_that_of_every_such_key(
        before in "[ab{}]{0,4}", middle in "[ab{}]{0,4}", behind in "[ab{}]{0,4}",
    ) {
        let known = [before.as_str(), middle.as_str(), behind.as_str()].concat();
        let real = slot_of(known.as_bytes());
        let unknown = [text(&before), Part::Any, text(&behind)];
        if let Some(slot) = slot_of_parts(unknown) {
            prop_assert_eq!(slot, real);
        }
        if !middle.contains(['{', '}']) {
            let braceless = [text(&before), Part::Braceless, text(&behind)];
            if let Some(slot) = slot_of_parts(braceless) {
                prop_assert_eq!(slot, real);
            }
        }
        let whole = [text(&before), text(&middle), text(&behind)];
        prop_assert_eq!(slot_of_parts(whole), Some(real));
    }
}
