//! Which keys and coordinators a node judges: named cases, and the plan of a node that has a part of the slots.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::heartbeat;
use crate::keys::family::Family;
use crate::keys::slots::slot_of;
use crate::plan::{Plan, Question, plan};
use crate::report::hold::Hold;
use crate::scan::scanned_keys::{Record, ScannedKeys};

/// A node that has the slots of these keys.
fn node(tags: ClusterTags, families: &str, keys: &[&str]) -> Locality {
    let layout = Arc::new(Layout::parse(families.as_bytes()).unwrap());
    let mut here = Slots::default();
    for key in keys {
        here.insert(slot_of(key.as_bytes()));
    }
    Locality::new(&layout, here, 0, tags)
}

fn holds(
    locality: &Locality,
    what: impl Fn(&Locality, &[u8], &mut AllReadings) -> bool,
    key: &str,
) -> bool {
    what(locality, key.as_bytes(), &mut locality.reader())
}

const DEFAULT: &str = crate::keys::layout_syntax::DEFAULT;

#[test]
fn a_swarm_of_unknown_name_may_beat_anywhere() {
    let here = [
        "blocking:heartbeat:x",
        "swarm:s:blocking:heartbeat:x",
        "blocking:signal:x",
    ];
    let node = node(ClusterTags::Unknown, DEFAULT, &here);
    for key in [
        "blocking:signal:x",
        "coordinator:activity:x",
        "blocking:ack:x:1",
    ] {
        assert!(!holds(&node, Locality::has_owners, key), "{key}");
    }
    for key in ["swarm:s:blocking:x", "swarm:s:agent:x:activity"] {
        assert!(holds(&node, Locality::has_owners, key), "{key}");
        assert!(!holds(&node, Locality::has_families, key), "{key}");
    }
    assert!(!holds(&node, Locality::has_owners, "swarm:t:blocking:x"));
    for heartbeat in &here[..2] {
        assert!(
            !holds(&node, Locality::has_all_of, heartbeat),
            "{heartbeat}"
        );
    }
    assert!(!node.has_heartbeats_of(b"x"));
}

#[test]
fn a_node_with_all_slots_but_one_knows_no_more() {
    let layout = Arc::new(Layout::default());
    let mut own = crate::keys::slots::Own {
        here: Slots::all(),
        ..Default::default()
    };
    own.add_job(b"7", b"snapshotting").unwrap();
    let node = Locality::new(&layout, own.here, own.open.len(), ClusterTags::Unknown);
    assert!(!holds(&node, Locality::has_owners, "blocking:signal:x"));
    assert!(holds(&node, Locality::has_owners, "swarm:s:blocking:x"));
    assert_eq!(
        node.advice(),
        "give every id the hash tag of its partners, and set blocking.cluster-tags to ids; \
         1 slot is on the move: run again when it has arrived"
    );
    assert_eq!(
        node.view(),
        "this node has 16383 of the 16384 slots of its cluster, and 1 slot is on the move"
    );
}

#[test]
fn where_only_ids_have_tags_the_tag_says_it_all() {
    let node = node(ClusterTags::Ids, DEFAULT, &["{t}"]);
    for key in [
        "blocking:signal:{t}x",
        "blocking:signal:a:{t}x",
        "blocking:ack:{t}x:1",
        "blocking:idempotency:{t}x:init",
        "blocking:idempotency:op1:{t}x",
        "blocking:idempotency:{t}x:{t}y:completion:1:1700000000000",
        "coordinator:activity:{t}x",
        "swarm:s:agent:{t}x:activity",
        "swarm:s:blocking:{t}x",
    ] {
        assert!(holds(&node, Locality::has_owners, key), "{key}");
        assert!(holds(&node, Locality::has_families, key), "{key}");
    }
    for heartbeat in ["blocking:heartbeat:{t}x", "swarm:s:blocking:heartbeat:{t}x"] {
        assert!(holds(&node, Locality::has_all_of, heartbeat), "{heartbeat}");
    }
    assert!(node.has_heartbeats_of(b"{t}x"));
    // An id without a tag, and partners with another one.
    for key in [
        "blocking:signal:x",
        "swarm:s:blocking:heartbeat:x",
        "blocking:idempotency:{t}x:{u}y:completion:1:1700000000000",
        "blocking:idempotency:x:init",
        "blocking:ack:{}:{t}x",
    ] {
        assert!(!holds(&node, Locality::has_owners, key), "{key}");
    }
    // A swarm of that name breaks the operator's word, and a family of its own is still not judged.
    assert!(!holds(
        &node,
        Locality::has_all_of,
        "swarm:{t}:blocking:heartbeat:x"
    ));
}

#[test]
fn what_can_be_read_in_too_many_ways_is_not_judged() {
    let node = node(ClusterTags::Ids, DEFAULT, &["{t}"]);
    let key = |more: usize| format!("blocking:idempotency:{{t}}x{}", ":a".repeat(more));
    assert!(holds(&node, Locality::has_owners, &key(9)));
    assert!(!holds(&node, Locality::has_owners, &key(20)));
}

#[test]
fn a_layout_that_says_every_byte_needs_no_word() {
    let families = "heartbeat=c:{id}:beat signal=c:{id}:signal";
    let here = ["c:x:beat", "c:x:signal", "c:y:beat"];
    let node = node(ClusterTags::Unknown, families, &here);
    assert!(holds(&node, Locality::has_owners, "c:x:signal"));
    assert!(holds(&node, Locality::has_all_of, "c:x:beat"));
    // The signal of this one would lie elsewhere.
    assert!(!holds(&node, Locality::has_all_of, "c:y:beat"));
    assert!(!holds(&node, Locality::has_families, "c:y:signal"));
    let tagged = "c:{t}y:beat";
    let other = self::node(ClusterTags::Unknown, families, &["{t}"]);
    assert!(holds(&other, Locality::has_all_of, tagged));
    assert!(!holds(&other, Locality::has_all_of, "c:x:beat"));
}

#[test]
fn the_words_of_the_setting() {
    assert_eq!(ClusterTags::parse(b"unknown"), Ok(ClusterTags::Unknown));
    assert_eq!(ClusterTags::parse(b"ids"), Ok(ClusterTags::Ids));
    for other in ["", "IDS", "ids ", "yes"] {
        assert!(ClusterTags::parse(other.as_bytes()).is_err(), "{other:?}");
    }
    assert_eq!(
        ClusterTags::parse(ClusterTags::DEFAULT.as_bytes()),
        Ok(ClusterTags::default())
    );
}

const NOW_MS: i64 = 1_700_000_000_000;

/// What a plan makes of these keys; heartbeats with a dash in front are live, all others stale.
fn planned(locality: Option<Locality>, keys: &[&str]) -> (Plan, Vec<String>) {
    let mut collection = ScannedKeys::default();
    for key in keys {
        let (name, age_ms) = match key.strip_prefix('-') {
            Some(name) => (name.as_bytes(), 0),
            None => (key.as_bytes(), 700_000),
        };
        let family = Layout::default().family_of(name).unwrap();
        let beat = heartbeat::Reading {
            newest_ms: Some(NOW_MS - age_ms),
            doubtful: false,
        };
        collection.push(Record {
            name,
            family,
            denied: false,
            is_large: false,
            beat: (family == Family::Heartbeat).then_some(beat),
        });
    }
    let question = Question {
        layout: Arc::default(),
        now_ms: NOW_MS,
        threshold_s: 600,
        pattern: None,
        limit: None,
        ids: 10,
        truncated: false,
        sieve: None,
        orphans: true,
        max_bytes: usize::MAX,
        hears_births: true,
        names_kept: false,
        locality,
        safety: Default::default(),
    };
    let plan = plan(&collection, &question, &AtomicBool::new(false)).unwrap();
    let removed = plan.removals.iter().chain(&plan.orphans);
    let name = |position: &_| collection.get(*position).unwrap().name;
    let removed = removed.map(|position| String::from_utf8_lossy(name(position)).into_owned());
    let removed = removed.collect();
    (plan, removed)
}

#[test]
fn a_key_with_an_owner_elsewhere_stays_and_holds_the_heartbeat_back() {
    let keys = [
        "blocking:heartbeat:{t}d",
        "blocking:signal:{t}d",
        "blocking:idempotency:{t}d:{u}l:completion:1:1600000000000",
    ];
    let whole = planned(None, &keys);
    assert_eq!(whole.1.len(), 3);
    let (plan, removed) = planned(Some(node(ClusterTags::Ids, DEFAULT, &["{t}"])), &keys);
    assert_eq!(removed, ["blocking:signal:{t}d"]);
    assert_eq!(plan.counts.held.count(Hold::Elsewhere), 1);
    assert_eq!(plan.counts.coordinators_removed, 0);
    let (plan, removed) = planned(Some(node(ClusterTags::Unknown, DEFAULT, &["{t}"])), &keys);
    assert_eq!(removed, [""; 0]);
    assert_eq!(plan.counts.held.count(Hold::Elsewhere), 3);
    assert!(plan.stale_ids.is_empty());
}

#[test]
fn a_key_of_a_living_one_here_is_kept_or_vetoed_as_ever() {
    let keys = [
        "blocking:heartbeat:{t}d",
        "-blocking:heartbeat:{t}l",
        "blocking:signal:{t}l",
        "blocking:idempotency:{t}d:{t}l:completion:1:1600000000000",
    ];
    for tags in [ClusterTags::Ids, ClusterTags::Unknown] {
        let (plan, _) = planned(Some(node(tags, DEFAULT, &["{t}"])), &keys);
        assert_eq!(plan.counts.keys_vetoed, 1);
    }
}

#[test]
fn what_has_no_owner_here_is_no_orphan_unless_all_of_its_family_would_be_here() {
    let keys = [
        "blocking:signal:{t}x",
        "blocking:signal:x",
        "swarm:s:blocking:{t}x",
    ];
    let (plan, removed) = planned(Some(node(ClusterTags::Ids, DEFAULT, &["{t}"])), &keys);
    assert_eq!(removed, [keys[0], keys[2]]);
    assert_eq!(plan.counts.keys_orphaned, 2);
    assert_eq!(plan.counts.held.count(Hold::Elsewhere), 1);
    let (plan, removed) = planned(Some(node(ClusterTags::Unknown, DEFAULT, &["{t}"])), &keys);
    assert!(removed.is_empty());
    assert_eq!(plan.counts.keys_orphaned, 0);
    assert_eq!(plan.counts.held.count(Hold::Elsewhere), 3);
}

#[test]
fn a_limit_is_not_used_up_by_those_that_cannot_go() {
    let keys = ["blocking:heartbeat:a", "blocking:heartbeat:{t}b"];
    let locality = node(ClusterTags::Ids, DEFAULT, &["{t}", "blocking:heartbeat:a"]);
    let (plan, removed) = planned(Some(locality), &keys);
    assert_eq!(removed, [keys[1]]);
    assert_eq!(plan.stale_ids, [b"{t}b".to_vec()]);
}
