//! Tests of `heartbeat.rs`.

use super::*;
use crate::heartbeat::time_fields::{self, TimeFields};
use proptest::prelude::*;
use std::collections::BTreeSet;

const NOW_MS: i64 = 1_700_000_000_000;

fn said(ms: i64) -> Reading {
    Reading {
        newest_ms: Some(ms),
        doubtful: false,
    }
}

fn doubted(ms: i64) -> Reading {
    Reading {
        newest_ms: Some(ms),
        doubtful: true,
    }
}

/// With the fields of the default.
fn read(value: &[u8]) -> Reading {
    let names = &TimeFields::default().beats;
    account(Stored::Text(value), names, Rules::default()).reading()
}

fn read_text(value: &str) -> Reading {
    read(value.as_bytes())
}

/// Why a value gives no time, with fields of these names.
fn trouble(value: &[u8], names: &str) -> Option<(Reason, Option<String>, Vec<u8>)> {
    let fields = TimeFields::parse(names.as_bytes()).unwrap();
    let account = account(Stored::Text(value), &fields.beats, Rules::default());
    let trouble = account.trouble()?.clone();
    Some((trouble.reason, trouble.field, trouble.bytes))
}

/// A JSON value as the only known field.
fn field(json: &str) -> Option<i64> {
    let reading = read_text(&format!("{{\"timestamp\":{json}}}"));
    assert_eq!(reading.doubtful, reading.newest_ms.is_none(), "{json}");
    reading.newest_ms
}

#[test]
fn times() {
    const N: Option<i64> = Some(NOW_MS);
    let table = [
        // The four units.
        ("1700000000", N),
        ("1700000000000", N),
        ("1700000000000000", N),
        ("1700000000000000000", N),
        // Floored to milliseconds.
        ("1700000000000999", N),
        ("1700000000000999999", N),
        // The borders between the units.
        ("999999999", None),
        ("1000000000", Some(1_000_000_000_000)),
        ("99999999999", Some(99_999_999_999_000)),
        ("100000000000", None),
        ("99999999999999", Some(99_999_999_999_999)),
        ("100000000000000", None),
        ("99999999999999999", Some(99_999_999_999_999)),
        ("100000000000000000", None),
        ("18446744073709551615", Some(18_446_744_073_709)),
        ("18446744073709551616", Some(18_446_744_073_709)),
        ("\"99999999999999999999\"", Some(99_999_999_999_999)),
        ("100000000000000000000", None),
        ("\"100000000000000000000\"", None),
        ("1e30", None),
        ("1e300", None),
        // Floats keep their fraction.
        ("1700000000.5", Some(NOW_MS + 500)),
        ("1700000000.123", Some(NOW_MS + 123)),
        ("1700000000.1234567", Some(NOW_MS + 123)),
        ("1700000000000.0", N),
        ("1700000000000.75", N),
        // With an exponent: the newest that the digits can mean.
        ("1.7e9", Some(1_800_000_000_000)),
        ("1.7E12", Some(1_800_000_000_000)),
        ("1.70000E+12", Some(NOW_MS + 10_000_000)),
        ("1.700000000000e12", Some(NOW_MS + 1)),
        ("1.7000000000001e9", Some(NOW_MS)),
        ("17e17", Some(1_800_000_000_000)),
        ("999999999.999", None),
        // Strings that hold a number.
        ("\"1700000000000\"", N),
        ("\"1700000000.123\"", Some(NOW_MS + 123)),
        ("\"1.7e12\"", Some(1_800_000_000_000)),
        ("\"+1700000000000\"", N),
        ("\"\\u0031700000000000\"", N),
        ("\" 1700000000000\"", None),
        ("\"1700000000000 \"", None),
        ("\"1700000000000\\n\"", None),
        ("\"1_700_000_000_000\"", None),
        ("\"0x18bcfe56800\"", None),
        ("\"999999999999999999999999999999999999999999999\"", None),
        ("\"inf\"", None),
        ("\"infinity\"", None),
        ("\"NaN\"", None),
        ("\"1e400\"", None),
        ("\"\"", None),
        ("\"now\"", None),
        // Dates.
        ("\"2023-11-14T22:13:20Z\"", N),
        ("\"2023-11-14T22:13:20.123456789Z\"", Some(NOW_MS + 123)),
        ("\"2023-11-15T00:13:20+02:00\"", N),
        ("\"2023-11-14T17:13:20.999-05:00\"", Some(NOW_MS + 999)),
        ("\"2001-09-09T01:46:40Z\"", Some(1_000_000_000_000)),
        ("\"2001-09-09T01:46:39.999Z\"", None),
        ("\"1969-12-31T23:59:59Z\"", None),
        ("\"0000-01-01T00:00:00Z\"", None),
        ("\"9999-12-31T23:59:59Z\"", Some(253_402_300_799_000)),
        // Without an offset it is not known when it was.
        ("\"2023-11-14T22:13:20\"", None),
        ("\"2023-11-14\"", None),
        ("\"2023-11-14T22:13:20Z \"", None),
        ("\"2023-02-30T22:13:20Z\"", None),
        // Not a time.
        ("0", None),
        ("-0", None),
        ("-0.0", None),
        ("1", None),
        ("-1700000000000", None),
        ("-1700000000000.5", None),
        ("\"-1700000000000\"", None),
        ("null", None),
        ("true", None),
        ("false", None),
        ("[]", None),
        ("[1700000000000]", None),
        ("{}", None),
        ("{\"timestamp\":1700000000000}", None),
    ];
    for (json, expected) in table {
        assert_eq!(field(json), expected, "{json}");
    }
}

#[test]
fn where_the_newest_time_stands_and_in_which_form() {
    use Form::{Microseconds, Milliseconds, Nanoseconds, Rfc3339, Seconds};
    let fields = TimeFields::default().beats;
    type Place = (Option<&'static str>, Form);
    let table: [(&str, Option<Place>); 12] = [
        (
            r#"{"timestamp":1700000000}"#,
            Some((Some("timestamp"), Seconds)),
        ),
        (
            r#"{"lastHeartbeat":"1700000000000"}"#,
            Some((Some("lastHeartbeat"), Milliseconds)),
        ),
        (
            r#"{"last_heartbeat":1700000000000000}"#,
            Some((Some("last_heartbeat"), Microseconds)),
        ),
        ("1700000000000000000", Some((None, Nanoseconds))),
        ("1700000000.5", Some((None, Seconds))),
        ("2023-11-14T22:13:20Z", Some((None, Rfc3339))),
        (
            r#"{"timestamp":"2023-11-14T22:13:20Z"}"#,
            Some((Some("timestamp"), Rfc3339)),
        ),
        // The newest, wherever it stands; of equal ones the first.
        (
            r#"{"timestamp":1600000000,"lastHeartbeat":1700000000000}"#,
            Some((Some("lastHeartbeat"), Milliseconds)),
        ),
        (
            r#"{"timestamp":1700000000,"lastHeartbeat":1600000000000,"timestamp":null}"#,
            Some((Some("timestamp"), Seconds)),
        ),
        (
            r#"{"lastHeartbeat":1700000000,"timestamp":1700000000000}"#,
            Some((Some("lastHeartbeat"), Seconds)),
        ),
        (r#"{"timestamp":null}"#, None),
        ("not JSON", None),
    ];
    for (value, expected) in table {
        let stored = Stored::Text(value.as_bytes());
        let found = account(stored, &fields, Rules::default()).told();
        assert_eq!(found, expected, "{value}");
    }
}

#[test]
fn whole_values() {
    let old = NOW_MS - 1_000_000;
    let table = [
        (r#"{"timestamp":1700000000000}"#, said(NOW_MS)),
        (r#"{"lastHeartbeat":1700000000000}"#, said(NOW_MS)),
        (r#"{"last_heartbeat":1700000000000}"#, said(NOW_MS)),
        // The newest wins, in any order, duplicates included.
        (
            r#"{"timestamp":1699999000000,"lastHeartbeat":1700000000000}"#,
            said(NOW_MS),
        ),
        (
            r#"{"last_heartbeat":1700000000000,"timestamp":1699999000000}"#,
            said(NOW_MS),
        ),
        (
            r#"{"timestamp":1700000000000,"timestamp":1699999000000}"#,
            said(NOW_MS),
        ),
        (
            r#"{"timestamp":1699999000000,"timestamp":1700000000}"#,
            said(NOW_MS),
        ),
        // A field that is no time makes the rest doubtful, not unread.
        (
            r#"{"timestamp":true,"lastHeartbeat":1700000000000}"#,
            doubted(NOW_MS),
        ),
        // Null, 0 and the zero time of a language are as good as not there, but for themselves.
        (
            r#"{"timestamp":null,"lastHeartbeat":1700000000000}"#,
            said(NOW_MS),
        ),
        (
            r#"{"lastHeartbeat":1700000000000,"timestamp":0,"last_heartbeat":-0.0}"#,
            said(NOW_MS),
        ),
        (
            r#"{"timestamp":"0001-01-01T00:00:00Z","lastHeartbeat":1700000000000}"#,
            said(NOW_MS),
        ),
        (
            r#"{"timestamp":"0001-01-01T00:00:00","lastHeartbeat":1700000000000}"#,
            said(NOW_MS),
        ),
        (
            r#"{"timestamp":null,"lastHeartbeat":"soon","last_heartbeat":1700000000000}"#,
            doubted(NOW_MS),
        ),
        (r#"{"timestamp":null,"lastHeartbeat":0}"#, UNREADABLE),
        ("null", UNREADABLE),
        ("0", UNREADABLE),
        (
            r#"{"timestamp":1699999000000,"timestamp":"soon"}"#,
            doubted(old),
        ),
        (
            r#"{"timestamp":[[{"timestamp":1}]],"lastHeartbeat":1699999000000}"#,
            doubted(old),
        ),
        // Layout, escapes, neighbours and nesting must not fool it.
        (" \t\r\n{ \"timestamp\" :\n1700000000000 } \n", said(NOW_MS)),
        (r#"{"\u0074imest\u0061mp":1700000000000}"#, said(NOW_MS)),
        (
            r#"{"x":{"timestamp":1700000000000},"y":[{"lastHeartbeat":1700000000000}],"timestamp":1699999000000}"#,
            said(old),
        ),
        (
            r#"{"note":"\"timestamp\":1700000000000,","timestamp":1699999000000}"#,
            said(old),
        ),
        (
            r#"{"a":1,"b":-1,"c":1.5,"d":null,"e":true,"f":"\u00e9","g":[],"h":{},"timestamp":1699999000000}"#,
            said(old),
        ),
        // Bare numbers.
        ("1700000000000", said(NOW_MS)),
        (" 1700000000.5\n", said(NOW_MS + 500)),
        ("12345", UNREADABLE),
        ("-1700000000000", UNREADABLE),
        // No known field, or one that only looks like it.
        ("{}", UNREADABLE),
        (r#"{"status":"active"}"#, UNREADABLE),
        (r#"{"x":{"timestamp":1700000000000}}"#, UNREADABLE),
        (r#"{"Timestamp":1700000000000}"#, UNREADABLE),
        (r#"{"timestamp ":1700000000000}"#, UNREADABLE),
        (r#"{"timestamp\u0000":1700000000000}"#, UNREADABLE),
        (r#"{"\\u0074imestamp":1700000000000}"#, UNREADABLE),
        (r#"{"lastActivity":1700000000000}"#, UNREADABLE),
        // Not an object.
        (r#"[{"timestamp":1700000000000}]"#, UNREADABLE),
        (r#""1700000000000""#, said(NOW_MS)),
        (r#""2023-11-14T22:13:20Z""#, said(NOW_MS)),
        (" 2023-11-14T22:13:20Z\n", said(NOW_MS)),
        ("true", UNREADABLE),
        // What Python writes and JSON does not know.
        (
            r#"{"load":NaN,"x":[-Infinity, Infinity ],"timestamp":1700000000000}"#,
            said(NOW_MS),
        ),
        (
            r#"{"s":"a\\\":NaN,","load": NaN ,"timestamp":1700000000000}"#,
            said(NOW_MS),
        ),
        (
            r#"{"timestamp":NaN,"lastHeartbeat":1700000000000}"#,
            doubted(NOW_MS),
        ),
        (r#"{NaN:1,"timestamp":1700000000000}"#, UNREADABLE),
        (r#"{"load":NaNa,"timestamp":1700000000000}"#, UNREADABLE),
        (r#"{"load":NaN NaN,"timestamp":1700000000000}"#, UNREADABLE),
        // Not JSON, even where a time could be seen.
        ("", UNREADABLE),
        (" ", UNREADABLE),
        (r#"{"timestamp":1700000000000"#, UNREADABLE),
        (r#"{"timestamp":1700000000000}}"#, UNREADABLE),
        (r#"{"timestamp":1700000000000}x"#, UNREADABLE),
        (r#"{"timestamp":1700000000000,}"#, UNREADABLE),
        (r#"{'timestamp':1700000000000}"#, UNREADABLE),
        (r#"{timestamp:1700000000000}"#, UNREADABLE),
        (r#"{"timestamp":NaN}"#, UNREADABLE),
        (r#"{"timestamp":01700000000000}"#, UNREADABLE),
        (r#"{"timestamp":1e400}"#, UNREADABLE),
        ("1700000000000 1700000000000", UNREADABLE),
        ("01700000000000", said(NOW_MS)),
        ("\u{feff}{\"timestamp\":1700000000000}", UNREADABLE),
    ];
    for (value, expected) in table {
        assert_eq!(read_text(value), expected, "{value}");
    }
}

#[test]
fn ignored_strings_must_be_text_too() {
    let value = b"{\"timestamp\":1700000000000,\"x\":\"\xff\"}";
    assert_eq!(read(value), UNREADABLE);
    let value = b"{\"timestamp\":1700000000000,\"x\":{\"\xff\":1}}";
    assert_eq!(read(value), UNREADABLE);
}

#[test]
fn a_dotted_name_is_a_field_or_the_way_to_one() {
    let fields = TimeFields::parse(b"at stats.at a.b.c x x.y").unwrap();
    let read = |value: &str| {
        let stored = Stored::Text(value.as_bytes());
        account(stored, &fields.beats, Rules::default()).reading()
    };
    let table = [
        (r#"{"at":1700000000}"#, said(NOW_MS)),
        (r#"{"stats":{"at":1700000000}}"#, said(NOW_MS)),
        (r#"{"stats.at":1700000000}"#, said(NOW_MS)),
        (r#"{"\u0073tats":{"x":1,"at":1700000000}}"#, said(NOW_MS)),
        (r#"{"a":{"b":{"c":1700000000}}}"#, said(NOW_MS)),
        (r#"{"a.b":{"c":1700000000}}"#, said(NOW_MS)),
        (r#"{"a":{"b.c":1700000000}}"#, said(NOW_MS)),
        // A name may be both.
        (r#"{"x":1700000000}"#, said(NOW_MS)),
        (r#"{"x":{"y":1700000000}}"#, said(NOW_MS)),
        (
            r#"{"stats":{"at":1600000000},"at":1700000000}"#,
            said(NOW_MS),
        ),
        // Elsewhere the same words mean nothing.
        (r#"{"stats":{"stats":{"at":1700000000}}}"#, UNREADABLE),
        (r#"{"other":{"at":1700000000}}"#, UNREADABLE),
        (r#"{"a":{"c":1700000000}}"#, UNREADABLE),
        (r#"{"stats":[{"at":1700000000}]}"#, UNREADABLE),
        (r#"{"stats":1700000000}"#, UNREADABLE),
        (
            r#"{"stats":{"at":"soon"},"at":1700000000}"#,
            doubted(NOW_MS),
        ),
        (
            r#"{"at":{"at":1},"stats":{"at":1700000000}}"#,
            doubted(NOW_MS),
        ),
    ];
    for (value, expected) in table {
        assert_eq!(read(value), expected, "{value}");
    }
}

#[test]
fn every_heartbeat_without_a_time_has_a_reason_of_its_own() {
    use Reason::*;
    let long = "x".repeat(40);
    let nested = format!(r#"{{"timestamp":"{long}"}}"#);
    type Case<'c> = (&'c [u8], Reason, Option<&'c str>, &'c [u8]);
    let table: &[Case] = &[
        (b"", Empty, None, b""),
        (b" ", Empty, None, b""),
        (b"\xff\xfe\x00", Binary, None, b"\xff\xfe\x00"),
        (b"{\"timestamp\":1", BrokenJson, None, b"{\"timestamp\":1"),
        (b"{\"x\":\"\xff\"}", BrokenJson, None, b"{\"x\":\"\xff\"}"),
        (b"{}", NoField, None, b""),
        (b"{\"Timestamp\":1700000000}", NoField, None, b""),
        (b"soon", NoDate, None, b"soon"),
        (b"2026-11-30", NoDate, None, b"2026-11-30"),
        (
            nested.as_bytes(),
            NoDate,
            Some("timestamp"),
            &long.as_bytes()[..32],
        ),
        (
            b"{\"timestamp\":{\"at\":1}}",
            Nested,
            Some("timestamp"),
            b"",
        ),
        (b"[1700000000]", NoScalar, None, b""),
        (
            b"{\"timestamp\":true}",
            NoScalar,
            Some("timestamp"),
            b"true",
        ),
        (b"{\"timestamp\":null}", Null, Some("timestamp"), b""),
        (b"{\"timestamp\":0}", Zero, Some("timestamp"), b"0"),
        (
            b"{\"timestamp\":\"0001-01-01T00:00:00Z\"}",
            Zero,
            Some("timestamp"),
            b"0001-01-01T00:00:00Z",
        ),
        (b"12345", Small, None, b"12345"),
        (b"{\"timestamp\":-5}", Small, Some("timestamp"), b"-5"),
        (b"0.5", Small, None, b"0.5"),
        (
            b"\"100000000000000000000\"",
            Large,
            None,
            b"100000000000000000000",
        ),
        (b"{\"timestamp\":NaN}", NotFinite, Some("timestamp"), b"NaN"),
        (b"638000000000000000", TooOld, None, b"638000000000000000"),
        (
            b"1999-12-31T23:59:59Z",
            TooOld,
            None,
            b"1999-12-31T23:59:59Z",
        ),
        (
            b"2026-11-30 18:12:00",
            Zoneless,
            None,
            b"2026-11-30 18:12:00",
        ),
    ];
    let mut sentences = BTreeSet::new();
    for (value, reason, field, bytes) in table {
        let shown = String::from_utf8_lossy(value);
        let expected = (*reason, field.map(str::to_owned), bytes.to_vec());
        assert_eq!(trouble(value, "timestamp x"), Some(expected), "{shown}");
        sentences.insert(reason.words());
    }
    sentences.extend([OtherType, Unavailable, TooLong].map(Reason::words));
    assert_eq!(sentences.len(), 17, "{sentences:?}");
    for words in sentences {
        assert!(
            crate::pages::KEYS.contains(&format!("\n- {words}\n")),
            "{words}"
        );
    }
    // A field that is as good as absent is to blame only where no other is.
    let both = br#"{"x":null,"timestamp":"soon","x":0}"#;
    assert_eq!(trouble(both, "timestamp x").unwrap().0, NoDate);
    assert_eq!(
        trouble(br#"{"x":null,"timestamp":1700000000}"#, "timestamp x"),
        None
    );
}

#[test]
fn the_sentence_shows_what_is_to_blame() {
    let soon = Trouble::new(Reason::NoDate, Some("at"), b"so\xffon");
    assert_eq!(
        soon.sentence(),
        "its field 'at' is neither a number nor a date: 'so\\xffon'"
    );
    let none = Trouble::new(Reason::Empty, None, b"");
    assert_eq!(none.sentence(), "it is empty");
}

#[test]
fn a_hash_is_read_by_its_time_fields() {
    let names = TimeFields::default().beats;
    let read = |fields: &[(usize, Option<&str>)]| {
        let owned = |value: &str| value.as_bytes().to_vec();
        let fields: Vec<_> = fields.iter().map(|(at, v)| (*at, v.map(owned))).collect();
        let account = account(Stored::Hash(&fields), &names, Rules::default());
        let field = account.told().and_then(|(field, _)| field);
        let reason = account.trouble().map(|trouble| trouble.reason);
        (account.reading(), field, reason)
    };
    let date = "2023-11-14T22:13:20.0Z";
    assert_eq!(
        read(&[(2, Some(date))]),
        (said(NOW_MS), Some("last_heartbeat"), None)
    );
    for number in ["1700000000000", "1700000000", "\"1700000000.0\""] {
        assert_eq!(read(&[(0, Some(number))]).0, said(NOW_MS), "{number}");
    }
    let newest = read(&[(0, Some("1600000000")), (1, Some("1700000000"))]);
    assert_eq!(newest, (said(NOW_MS), Some("lastHeartbeat"), None));
    assert_eq!(read(&[(0, Some("0")), (1, Some(date))]).0, said(NOW_MS));
    let doubtful = read(&[(0, Some("soon")), (1, Some(date))]);
    assert_eq!(
        (doubtful.0, doubtful.2),
        (doubted(NOW_MS), Some(Reason::NoDate))
    );
    assert_eq!(read(&[]), (UNREADABLE, None, Some(Reason::NoField)));
    assert_eq!(
        read(&[(0, None)]),
        (UNREADABLE, None, Some(Reason::TooLong))
    );
}

#[test]
fn depth_is_limited_in_every_place() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for (depth, expected) in [(100, said(NOW_MS)), (200, UNREADABLE)] {
            let deep = open.repeat(depth) + "1" + &close.repeat(depth);
            let before = format!("{{\"x\":{deep},\"timestamp\":1700000000000}}");
            assert_eq!(read_text(&before), expected, "{depth}");
            let after = format!("{{\"timestamp\":1700000000000,\"x\":{deep}}}");
            assert_eq!(read_text(&after), expected, "{depth}");
        }
        let deep = open.repeat(200) + "1" + &close.repeat(200);
        let inside = format!("{{\"lastHeartbeat\":1700000000000,\"timestamp\":{deep}}}");
        assert_eq!(read_text(&inside), UNREADABLE);
        assert_eq!(read_text(&open.repeat(60_000 / open.len())), UNREADABLE);
    }
}

#[test]
fn merging() {
    let table = [
        (said(1), said(2), said(2)),
        (said(2), said(2), said(2)),
        (said(2), doubted(1), doubted(2)),
        (said(2), UNREADABLE, doubted(2)),
        (UNREADABLE, UNREADABLE, UNREADABLE),
    ];
    for (one, other, expected) in table {
        assert_eq!(one.merged(other), expected);
        assert_eq!(other.merged(one), expected);
    }
}

#[test]
fn verdicts() {
    let table = [
        (said(NOW_MS), 600, Verdict::Live),
        (said(NOW_MS + 1), 600, Verdict::Live),
        (said(NOW_MS + 1_000_000_000), 1, Verdict::Live),
        (said(i64::MAX), 1, Verdict::Live),
        // Exactly 600 s is kept, 601 s goes.
        (said(NOW_MS - 600_000), 600, Verdict::Live),
        (said(NOW_MS - 600_999), 600, Verdict::Live),
        (said(NOW_MS - 601_000), 600, Verdict::Stale { age_s: 601 }),
        (said(NOW_MS - 601_999), 600, Verdict::Stale { age_s: 601 }),
        (said(NOW_MS - 1_999), 1, Verdict::Live),
        (said(NOW_MS - 2_000), 1, Verdict::Stale { age_s: 2 }),
        (
            said(i64::MIN),
            u32::MAX,
            Verdict::Stale {
                age_s: i64::MAX / 1_000,
            },
        ),
        // Doubt protects, but does not hide a fresh beat.
        (doubted(NOW_MS - 600_000), 600, Verdict::Live),
        (doubted(NOW_MS - 601_000), 600, Verdict::Unreadable),
        (UNREADABLE, 600, Verdict::Unreadable),
    ];
    for (reading, threshold_s, expected) in table {
        assert_eq!(
            verdict(reading, NOW_MS, threshold_s),
            expected,
            "{reading:?}"
        );
    }
}

/// One JSON value, of the kinds that meet a time field in practice.
fn json_value() -> impl Strategy<Value = String> {
    let ms = NOW_MS - 2_000_000..NOW_MS + 2_000_000;
    prop_oneof![
        4 => ms.clone().prop_map(|ms| ms.to_string()),
        2 => ms.clone().prop_map(|ms| format!("\"{ms}\"")),
        2 => ms.prop_map(|ms| format!("{}.{:03}", ms / 1_000, ms % 1_000)),
        1 => any::<f64>().prop_map(|x| if x.is_finite() { x.to_string() } else { "null".into() }),
        1 => any::<i64>().prop_map(|x| x.to_string()),
        1 => prop::sample::select(vec![
            "null", "true", "\"soon\"", "[]", "{\"timestamp\":1700000000000}", "\"\\u0000\"",
        ]).prop_map(String::from),
    ]
}

fn fields() -> impl Strategy<Value = Vec<String>> {
    let name = prop::sample::select(vec![
        "timestamp",
        "lastHeartbeat",
        "last_heartbeat",
        "\\u0074imestamp",
        "status",
        "",
    ]);
    let field = (name, json_value()).prop_map(|(name, json)| format!("\"{name}\":{json}"));
    prop::collection::vec(field, 0..6)
}

fn object(fields: &[String]) -> Reading {
    read_text(&format!("{{{}}}", fields.join(",")))
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(value: Vec<u8>) {
        let reading = read(&value);
        let _ = verdict(reading, NOW_MS, 600);
    }

    #[test]
    fn nothing_like_json_makes_it_panic(pieces in prop::collection::vec(
        prop::sample::select(vec![
            "{", "}", "[", "]", "\"", ":", ",", "\"timestamp\"", "\"lastHeartbeat\":", "17",
            "00000000000", ".5", "e", "-", "\\u", "d800", "null", " ", "\u{e9}", "NaN", "Infinity",
        ]), 0..20,
    )) {
        let reading = read_text(&pieces.concat());
        prop_assert!(reading.doubtful || reading.newest_ms.is_some());
    }

    #[test]
    fn milliseconds_survive_every_spelling(ms in 1_000_000_000_000_i64..2_100_000_000_000) {
        let (s, fraction) = (ms / 1_000, ms % 1_000);
        for json in [
            format!("{ms}"),
            format!("\"{ms}\""),
            format!("{ms}.0"),
            format!("{ms}999"),
            format!("{ms}000000"),
            format!("{s}.{fraction:03}"),
            format!("\"{s}.{fraction:03}\""),
            format!("{s}.{fraction:03}0000"),
        ] {
            prop_assert_eq!(field(&json), Some(ms), "{}", json);
        }
    }

    #[test]
    fn a_fresh_field_more_never_kills(
        mut fields in fields(), at: prop::sample::Index, threshold_s in 1_u32..2_000,
        name in prop::sample::select(time_fields::DEFAULT.split(' ').collect::<Vec<_>>()), ahead_ms in 0_i64..1_000_000,
    ) {
        let before = verdict(object(&fields), NOW_MS, threshold_s);
        fields.insert(
            at.index(fields.len() + 1),
            format!("\"{name}\":{}", NOW_MS + ahead_ms),
        );
        let after = verdict(object(&fields), NOW_MS, threshold_s);
        prop_assert_eq!(after, Verdict::Live, "before: {:?}", before);
    }

    #[test]
    fn the_order_of_fields_does_not_matter(
        (fields, shuffled) in fields()
            .prop_flat_map(|fields| (Just(fields.clone()), Just(fields).prop_shuffle())),
    ) {
        prop_assert_eq!(object(&fields), object(&shuffled));
    }

    #[test]
    fn doubt_never_makes_stale(ms in any::<Option<i64>>(), now_ms: i64, threshold_s: u32) {
        let reading = Reading { newest_ms: ms, doubtful: true };
        let stale = matches!(verdict(reading, now_ms, threshold_s), Verdict::Stale { .. });
        prop_assert!(!stale);
    }

    #[test]
    fn a_verdict_is_the_age_and_nothing_else(
        age_ms in -10_000_i64..10_000_000, threshold_s in 1_u32..9_000,
    ) {
        let verdict = verdict(said(NOW_MS - age_ms), NOW_MS, threshold_s);
        let stale = age_ms >= (i64::from(threshold_s) + 1) * 1_000;
        prop_assert_eq!(verdict == Verdict::Live, !stale);
    }
}
