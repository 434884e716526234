//! What DOCTOR's walk counts.

use super::*;
use crate::heartbeat::Stored;
use crate::heartbeat::reader::Reader;

const NOW_MS: i64 = 1_700_000_000_000;

fn survey(settings: Settings) -> Survey {
    Survey::new(settings, Arc::default(), Vec::new())
}

fn by_threshold(threshold_s: u32) -> Survey {
    survey(Settings {
        threshold_s,
        ..Settings::default()
    })
}

fn vitals(value: &str, expires_ms: Option<i64>) -> HeartbeatDetails {
    let reader = Reader {
        max_bytes: 100,
        ..Reader::default()
    };
    let stored = Stored::Text(value.as_bytes());
    HeartbeatDetails::of(stored, expires_ms.unwrap_or(-1), &reader, None)
}

fn beat(ms: i64, expires_ms: Option<i64>) -> HeartbeatDetails {
    vitals(&format!(r#"{{"timestamp":{ms}}}"#), expires_ms)
}

#[test]
fn who_expires_in_time_never_becomes_stale() {
    // Life in milliseconds, never stale. At its last moment it is as old as its life less one.
    for (life_ms, never) in [
        (300_000, true),
        (600_000, true),
        (601_000, true),
        (601_001, false),
        (86_400_000, false),
        (0, true),
        (-5_000, true),
    ] {
        // Whatever part of it is over.
        for age_ms in [0, 250_000] {
            let mut survey = by_threshold(600);
            let beat_ms = NOW_MS - age_ms;
            survey.add(b"h", &beat(beat_ms, Some(beat_ms + life_ms)), NOW_MS);
            assert_eq!(survey.never.heartbeats, u64::from(never), "{life_ms}");
            // It holds what the verdict says in its last millisecond.
            let reading = beat(beat_ms, None).reading;
            let last_ms = beat_ms + life_ms - 1;
            let verdict = crate::heartbeat::verdict(reading, last_ms, 600);
            assert_eq!(
                verdict == crate::heartbeat::Verdict::Live,
                never,
                "{life_ms}"
            );
        }
    }
}

#[test]
fn lives_have_a_range_and_a_most_frequent_one() {
    let mut survey = by_threshold(600);
    for life_ms in [299_600, 300_000, 300_499, 120_000, 450_000, 450_000] {
        survey.add(b"h", &beat(NOW_MS, Some(NOW_MS + life_ms)), NOW_MS);
    }
    survey.add(b"h", &beat(NOW_MS, None), NOW_MS);
    let never = &survey.never;
    assert_eq!(never.heartbeats, 6);
    assert_eq!(never.range_s, Some((120, 450)));
    assert_eq!(never.usual_s(), Some(300));
    assert_eq!((survey.heartbeats, survey.without_ttl), (7, 1));
}

#[test]
fn the_table_of_lives_is_bounded() {
    let mut survey = by_threshold(315_360_000);
    for n in 0..5_000 {
        let life_ms = (5_000 - n) * 1000;
        survey.add(b"h", &beat(NOW_MS, Some(NOW_MS + life_ms)), NOW_MS);
    }
    assert_eq!(survey.never.by_second.len(), MAX_LIVES);
    assert_eq!(survey.never.range_s, Some((1, 5_000)));
}

#[test]
fn who_lives_hardly_longer_may_be_missed_by_the_schedule() {
    let settings = |second_look: bool, databases: &[u32]| Settings {
        threshold_s: 600,
        interval_s: 100,
        second_look,
        databases: databases.to_vec(),
        ..Settings::default()
    };
    // Two rounds and a tenth, or one and a tenth.
    assert_eq!(settings(true, &[0]).window_s(), 210);
    assert_eq!(settings(false, &[0]).window_s(), 110);
    assert_eq!(settings(true, &[3]).window_s(), 0);
    for (second_look, databases, life_s, brief) in [
        (true, [0], 700, 1),
        (true, [0], 809, 1),
        (true, [0], 810, 0),
        (false, [0], 710, 0),
        (false, [0], 709, 1),
        (true, [3], 700, 0),
        // It is never stale: another finding.
        (true, [0], 600, 0),
    ] {
        let mut survey = survey(settings(second_look, &databases));
        survey.add(b"h", &beat(NOW_MS, Some(NOW_MS + life_s * 1000)), NOW_MS);
        assert_eq!(survey.brief.heartbeats, brief, "{life_s} {second_look}");
    }
}

#[test]
fn beats_of_the_future_are_those_more_than_a_second_ahead() {
    let mut survey = by_threshold(600);
    for ahead_ms in [-1, 0, 999, 1_000, 7_500] {
        survey.add(b"h", &beat(NOW_MS + ahead_ms, None), NOW_MS);
    }
    assert_eq!((survey.ahead, survey.ahead_max_s), (2, 7));
}

#[test]
fn troubles_are_counted_by_reason_with_an_example_each() {
    let mut survey = by_threshold(600);
    survey.add(b"blocking:heartbeat:m", &vitals("{}", None), NOW_MS);
    survey.add(b"blocking:heartbeat:n", &vitals("{}", None), NOW_MS);
    let both = r#"{"timestamp":1700000000000,"lastHeartbeat":"soon"}"#;
    survey.add(b"blocking:heartbeat:o", &vitals(both, Some(NOW_MS)), NOW_MS);
    survey.add(
        b"swarm:blocking:heartbeat:state",
        &beat(NOW_MS, None),
        NOW_MS,
    );
    survey.add(
        b"swarm:x:blocking:heartbeat:a:state",
        &beat(NOW_MS, None),
        NOW_MS,
    );
    let told: Vec<_> = survey
        .troubles
        .iter()
        .map(|(why, t)| (why.as_str(), t.heartbeats, t.example.as_deref()))
        .collect();
    let none = "it has none of the fields that blocking.time-fields names";
    let doubtful = "its field 'lastHeartbeat' is neither a number nor a date";
    assert_eq!(
        told,
        [
            (none, 2, Some(&b"blocking:heartbeat:m"[..])),
            (doubtful, 1, Some(&b"blocking:heartbeat:o"[..])),
            (RESERVED, 2, Some(&b"swarm:blocking:heartbeat:state"[..])),
        ]
    );
    assert_eq!(survey.troubles[doubtful].bytes, b"soon");
    assert_eq!((survey.without_ttl, survey.unreadable_without_ttl), (4, 4));
    // What is never judged never becomes stale for another reason.
    assert_eq!(survey.never.heartbeats, 0);
}

#[test]
fn presences_are_counted_apart_and_have_no_trouble() {
    let mut survey = by_threshold(600);
    survey.add(
        b"blocking:heartbeat:a",
        &vitals("1", Some(NOW_MS + 1)),
        NOW_MS,
    );
    survey.add(b"blocking:heartbeat:b", &vitals("1", None), NOW_MS);
    assert_eq!((survey.heartbeats, survey.presences), (2, 1));
    assert_eq!((survey.ahead, survey.never.heartbeats), (0, 0));
    assert!(survey.forms.is_empty());
    assert_eq!(survey.troubles.len(), 1);
}

#[test]
fn forms_are_counted_apart() {
    let mut survey = by_threshold(600);
    for value in [
        r#"{"timestamp":1700000000000}"#,
        r#"{"timestamp":1700000000}"#,
        r#"{"timestamp":1600000000}"#,
        "1700000000",
        r#"{"lastHeartbeat":"2023-11-14T22:13:20Z"}"#,
    ] {
        survey.add(b"h", &vitals(value, None), NOW_MS);
    }
    let told: Vec<_> = survey
        .forms
        .iter()
        .map(|((field, unit), n)| (field.as_str(), *unit, *n))
        .collect();
    assert_eq!(
        told,
        [
            ("(value)", "seconds", 1),
            ("lastHeartbeat", "rfc3339", 1),
            ("timestamp", "milliseconds", 1),
            ("timestamp", "seconds", 2),
        ]
    );
}

#[test]
fn who_may_not_be_seen_is_counted_only() {
    let mut survey = by_threshold(600);
    survey.deny_heartbeat();
    survey.add_unknown(b"blocking:x:1", false);
    survey.add_unknown(b"blocking:x:2", true);
    assert_eq!((survey.heartbeats, survey.heartbeats_denied), (0, 1));
    assert_eq!(survey.unknown_denied, 1);
    let group = &survey.unknown_keys.unknown[&b"blocking:x:*"[..]];
    assert_eq!(
        (group.keys, group.example.as_deref()),
        (1, Some(&b"blocking:x:2"[..]))
    );
    // A swarm's own state is left alone by the layout itself.
    survey.add_unknown(b"swarm:s:state", true);
    assert_eq!(survey.unknown_keys.left_alone.len(), 1);
}
