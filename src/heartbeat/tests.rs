//! How heartbeats are read: named cases, and what the tests beside this file share.

use super::*;
use crate::heartbeat::time_fields::{self, TimeFields};

#[path = "property_tests.rs"]
mod property_tests;
#[path = "reason_tests.rs"]
mod reason_tests;
#[path = "verdict_tests.rs"]
mod verdict_tests;

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
