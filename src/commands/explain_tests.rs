//! EXPLAIN's sentences and verdicts.

use super::*;
use crate::heartbeat::Reading;
use crate::heartbeat::trouble::Reason;

const NOW_MS: i64 = 1_700_000_000_000;

/// A heartbeat that the walk found in this state, and what was read of it afterwards.
fn read(state: State, age_s: Option<i64>, ttl_s: Option<i64>) -> Read {
    Read {
        beating: Beating {
            key: b"blocking:heartbeat:a".to_vec(),
            swarm: None,
            state,
            fate: KeyFate::Kept,
            by: None,
            is_named: true,
        },
        vitals: Some(HeartbeatDetails {
            reading: Reading {
                newest_ms: age_s.map(|age_s| NOW_MS - age_s * 1000),
                doubtful: age_s.is_none(),
            },
            told: None,
            expires_ms: ttl_s.map(|ttl_s| NOW_MS + ttl_s * 1000),
            trouble: age_s
                .is_none()
                .then(|| Trouble::new(Reason::OtherType, None, b"list")),
            print: None,
        }),
        seen_before: None,
        read_ms: NOW_MS,
    }
}

fn answer(heartbeats: Vec<Read>, around: Circumstances) -> Answer {
    Answer {
        explanation: Explanation::new(b"a"),
        heartbeats,
        around: Circumstances {
            now_ms: NOW_MS,
            threshold_s: 600,
            ..around
        },
    }
}

fn reasons(heartbeats: Vec<Read>) -> Vec<String> {
    let mut reasons = answer(heartbeats, Circumstances::default()).reasons();
    let last = "BLOCKING.CLEANUP would remove 0 of its keys now, and with ORPHANS 0 more";
    assert_eq!(reasons.pop().as_deref(), Some(last));
    reasons
}

#[test]
fn heartbeats_in_words() {
    let table: [(Read, &[&str]); 8] = [
        (
            read(State::Stale, Some(601), None),
            &["its heartbeat is stale: 601 s old, more than 600 s"],
        ),
        (
            read(State::Live, Some(600), None),
            &["its heartbeat is live: 600 s old, not more than 600 s"],
        ),
        (
            read(State::Live, Some(-5), None),
            &["its heartbeat is live: its beat lies 5 s in the future"],
        ),
        (
            read(State::Live, Some(100), Some(500)),
            &[
                "its heartbeat is live: 100 s old, not more than 600 s",
                "it expires in 500 s, before it can become stale: after that only ORPHANS removes its keys",
            ],
        ),
        (
            read(State::Live, Some(100), Some(501)),
            &["its heartbeat is live: 100 s old, not more than 600 s"],
        ),
        (
            read(State::Unreadable, None, None),
            &[
                "its heartbeat is unreadable because it is neither a string nor a hash: 'list'; it stays and protects \
                 its keys",
            ],
        ),
        // Refreshed while the query was on.
        (
            read(State::Stale, Some(0), None),
            &[
                "its heartbeat was stale when it was scanned and is live now: CLEANUP reads it again before it \
                 removes anything",
            ],
        ),
        (
            Read {
                vitals: None,
                ..read(State::Stale, None, None)
            },
            &["its heartbeat disappeared while EXPLAIN read it"],
        ),
    ];
    for (read, expected) in table {
        assert_eq!(reasons(vec![read]), expected);
    }
    let none = "it has no heartbeat: nothing proves that it is dead";
    assert_eq!(reasons(Vec::new()), [none]);
    let mut scoped = read(State::Live, Some(1), None);
    scoped.beating.swarm = Some(b"s\xff".to_vec());
    let text = "its heartbeat of swarm s\\xff is live: 1 s old, not more than 600 s";
    assert_eq!(reasons(vec![scoped]), [text]);
}

#[test]
fn life_in_one_place_decides() {
    let (live, stale) = (
        read(State::Live, Some(1), None),
        read(State::Stale, Some(700), None),
    );
    let mute = read(State::Unreadable, None, None);
    let verdict = |heartbeats: &[&Read]| {
        let heartbeats = heartbeats.iter().map(|read| (*read).clone()).collect();
        answer(heartbeats, Circumstances::default()).verdict()
    };
    assert_eq!(verdict(&[&stale, &mute, &live]), "live");
    assert_eq!(verdict(&[&stale, &mute]), "unreadable");
    assert_eq!(verdict(&[&stale]), "stale");
    assert_eq!(verdict(&[]), "absent");
    let around = Circumstances {
        heartbeats_denied: 1,
        ..Circumstances::default()
    };
    assert_eq!(answer(Vec::new(), around).verdict(), "denied");
}
