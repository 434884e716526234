//! Why a heartbeat gives no time: one reason each, on the page as well.

use std::collections::BTreeSet;

use super::*;

/// Why a value gives no time, with fields of these names.
fn trouble(value: &[u8], names: &str) -> Option<(Reason, Option<String>, Vec<u8>)> {
    let fields = TimeFields::parse(names.as_bytes()).unwrap();
    let account = account(Stored::Text(value), &fields.beats, Rules::default());
    let trouble = account.trouble()?.clone();
    Some((trouble.reason, trouble.field, trouble.bytes))
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
