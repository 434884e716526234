//! Every refusal by its words, and that no caller's bytes can spoil them.

use super::*;
use crate::heartbeat::time_fields::{MAX_FIELD_BYTES, MAX_FIELDS};
use crate::keys::bad_template::BadTemplate;
use crate::keys::pattern::MAX_PATTERN_BYTES;
use crate::plan::protect::MAX_PATTERNS;
use crate::settings::obituary_stream::MAX_STREAM_BYTES;
use proptest::prelude::*;

const INTEGER: &str = "an integer from 1 to 315360000 seconds";

/// One sample of every variant with its exact text. The match below stops compiling when a variant is added, as a
/// reminder to add its sample here.
fn samples() -> Vec<(Error, &'static str)> {
    fn reminder(error: &Error) {
        match error {
            Error::UnknownCommand { .. }
            | Error::UnknownOption { .. }
            | Error::RepeatedOption { .. }
            | Error::MissingValue { .. }
            | Error::BadValue { .. }
            | Error::PatternLength { .. }
            | Error::ExclusiveOptions { .. }
            | Error::IdLength { .. }
            | Error::InProgress { .. }
            | Error::NotBusy
            | Error::InMulti
            | Error::QueryInMulti { .. }
            | Error::ClusterDown
            | Error::WarmUp { .. }
            | Error::NotPrimary
            | Error::Loading { .. }
            | Error::CallerUnblocked { .. }
            | Error::CannotStart { .. }
            | Error::QueryEnded { .. } => {}
        }
    }
    let samples = vec![
        (
            Error::UnknownCommand {
                shown: shown(b"FOO"),
                accepted: "CLEANUP, LIST".into(),
            },
            "ERR BLOCKING.HELP takes one of CLEANUP, LIST, or nothing, got 'FOO'",
        ),
        (
            Error::UnknownOption {
                shown: shown(b"FOO"),
                command: "BLOCKING.CLEANUP",
                accepted: "THRESHOLD, DRYRUN".into(),
            },
            "ERR unknown option 'FOO' for BLOCKING.CLEANUP; accepted are THRESHOLD, DRYRUN",
        ),
        (
            Error::UnknownOption {
                shown: shown(b"FOO"),
                command: "BLOCKING.STATUS",
                accepted: "JSON".into(),
            },
            "ERR unknown option 'FOO' for BLOCKING.STATUS; accepted is JSON",
        ),
        (
            Error::RepeatedOption { option: "MATCH" },
            "ERR MATCH is given more than once; each option is accepted at most once",
        ),
        (
            Error::MissingValue {
                option: "THRESHOLD",
                accepted: INTEGER.into(),
            },
            "ERR THRESHOLD needs a value: an integer from 1 to 315360000 seconds",
        ),
        (
            Error::BadValue {
                option: "THRESHOLD",
                shown: shown(b"abc"),
                accepted: INTEGER.into(),
            },
            "ERR THRESHOLD must be an integer from 1 to 315360000 seconds, got 'abc'",
        ),
        (
            Error::PatternLength { got_bytes: 0 },
            "ERR MATCH takes a glob pattern of 1 to 512 bytes, got 0",
        ),
        (
            Error::ExclusiveOptions {
                options: &["STALE", "LIVE", "UNREADABLE"],
            },
            "ERR at most one of STALE, LIVE and UNREADABLE is accepted",
        ),
        (
            Error::IdLength { got_bytes: 0 },
            "ERR the id must be 1 to 262144 bytes, got 0",
        ),
        (
            Error::InProgress {
                what: "BLOCKING.LIST",
                run: 8,
                percent: Some(0),
                activity: "collecting",
                started_s_ago: 0,
                lingering_s: None,
            },
            "INPROGRESS BLOCKING.LIST is running: run 8, 0% of the keyspace, started 0 s ago; \
             see BLOCKING.STATUS",
        ),
        (
            Error::QueryInMulti {
                command: "BLOCKING.LIST",
            },
            "ERR BLOCKING.LIST cannot wait inside MULTI; call it outside of MULTI",
        ),
        (
            Error::QueryEnded {
                command: "BLOCKING.LIST",
                cancelled: true,
                why: "cancelled by BLOCKING.CANCEL".into(),
            },
            "CANCELLED BLOCKING.LIST was stopped: cancelled by BLOCKING.CANCEL",
        ),
        (
            Error::QueryEnded {
                command: "BLOCKING.EXPLAIN",
                cancelled: false,
                why: "the database was flushed".into(),
            },
            "INTERRUPTED BLOCKING.EXPLAIN was stopped: the database was flushed",
        ),
        (
            Error::InProgress {
                what: "a cleanup",
                run: 7,
                percent: None,
                activity: "reaping",
                started_s_ago: 3,
                lingering_s: None,
            },
            "INPROGRESS a cleanup is running: run 7, reaping, started 3 s ago; see BLOCKING.STATUS",
        ),
        (
            Error::InProgress {
                what: "a cleanup",
                run: 7,
                percent: Some(42),
                activity: "collecting",
                started_s_ago: 3,
                lingering_s: None,
            },
            "INPROGRESS a cleanup is running: run 7, 42% of the keyspace, started 3 s ago; \
             see BLOCKING.STATUS",
        ),
        (
            Error::InProgress {
                what: "a cleanup",
                run: 7,
                percent: Some(42),
                activity: "collecting",
                started_s_ago: 3,
                lingering_s: Some(12),
            },
            "INPROGRESS a cleanup is running: run 7, 42% of the keyspace, started 3 s ago; \
             its caller went away, and it ends in 12 s unless the same command joins it; \
             see BLOCKING.STATUS",
        ),
        (
            Error::NotBusy,
            "NOTBUSY no cleanup is running; BLOCKING.STATUS shows the last one",
        ),
        (
            Error::InMulti,
            "ERR BLOCKING.CLEANUP cannot wait inside MULTI; add ASYNC",
        ),
        (
            Error::ClusterDown,
            "CLUSTERDOWN The cluster is down, so no key can be removed; DRYRUN is accepted",
        ),
        (
            Error::WarmUp {
                away_s: 17,
                left_s: 590,
            },
            "WARMUP clients could not write for 17 s, so living coordinators may look dead; 590 s left; add NOWARMUP \
             to remove anyway",
        ),
        (
            Error::NotPrimary,
            "READONLY BLOCKING.CLEANUP runs on a primary only; this server is a replica",
        ),
        (
            Error::Loading {
                command: "BLOCKING.CLEANUP",
            },
            "LOADING BLOCKING.CLEANUP cannot run while the server loads its data; \
             try again when it is done",
        ),
        (
            Error::CallerUnblocked { run: 7 },
            "CANCELLED run 7 was cancelled by CLIENT UNBLOCK; see BLOCKING.STATUS",
        ),
        (
            Error::CannotStart {
                why: "no timer is free",
            },
            "ERR the cleanup could not start: no timer is free; try again",
        ),
    ];
    samples.iter().for_each(|(error, _)| reminder(error));
    samples
}

const CODES: [&str; 9] = [
    "ERR",
    "INPROGRESS",
    "NOTBUSY",
    "READONLY",
    "LOADING",
    "WARMUP",
    "CLUSTERDOWN",
    "CANCELLED",
    "INTERRUPTED",
];

#[test]
fn every_text_is_exact_and_well_formed() {
    for (error, expected) in samples() {
        let text = error.to_string();
        assert_eq!(text, expected);
        assert!(text.is_ascii(), "{text}");
        assert!(!text.contains(['\r', '\n', '\t']), "{text}");
        assert!(!text.contains("  "), "{text}");
        assert!(!text.ends_with('.'), "{text}");
        let code = text.split(' ').next().unwrap();
        assert!(CODES.contains(&code), "{text}");
    }
}

/// A test over the wire would need a server that refuses writes, so the page is compared with them here.
#[test]
fn the_page_has_the_refusals_while_no_client_can_write() {
    let page = crate::pages::COMMANDS;
    let refusals = samples();
    let refusals = refusals
        .iter()
        .filter(|(error, _)| matches!(error, Error::ClusterDown | Error::WarmUp { .. }));
    let texts: Vec<&str> = refusals.map(|(_, text)| *text).collect();
    assert_eq!(texts.len(), 2);
    for text in texts {
        assert!(page.contains(&format!("\n| `{text}` | ")), "{text}");
    }
}

/// The operators' page has a row for each code.
#[test]
fn the_operators_page_explains_every_code() {
    let page = crate::pages::OPERATIONS;
    for (error, text) in samples() {
        let code = text.split(' ').next().unwrap();
        let row = format!("\n| `{code}` | ");
        assert_eq!(page.matches(&row).count(), 1, "{error:?}");
    }
}

#[test]
fn the_pattern_text_names_the_real_limit() {
    let text = Error::PatternLength { got_bytes: 0 }.to_string();
    assert!(text.contains(&format!("1 to {MAX_PATTERN_BYTES} bytes")));
}

#[test]
fn the_id_text_names_the_real_limit() {
    let text = Error::IdLength { got_bytes: 0 }.to_string();
    let limit = crate::keys::name_bounds::MAX_NAME_BYTES;
    assert!(text.contains(&format!("1 to {limit} bytes")));
}

#[test]
fn refused_settings_say_what_is_accepted() {
    let databases = BadSetting::Databases { last: 15 }.to_string();
    let numbers = "one or more different numbers from 0 to 15, separated by spaces";
    assert_eq!(databases, format!("argument must be {numbers}"));
    let protect = BadSetting::Protect.to_string();
    let limits = format!("at most {MAX_PATTERNS} glob patterns of 1 to {MAX_PATTERN_BYTES} bytes");
    assert!(protect.contains(&limits), "{protect}");
    let fields = BadSetting::TimeFields.to_string();
    let limits = format!("1 to {MAX_FIELDS} names of fields of 1 to {MAX_FIELD_BYTES} bytes");
    assert!(fields.contains(&limits), "{fields}");
    let stream = BadSetting::ObituaryStream.to_string();
    let limits = format!("at most {MAX_STREAM_BYTES} bytes");
    assert!(stream.contains(&limits), "{stream}");
    let tags = BadSetting::ClusterTags.to_string();
    assert_eq!(tags, "argument must be unknown or ids");
    let accepted = BadTemplate::NoId.accepted();
    let families = BadSetting::Families { at: 7, accepted }.to_string();
    let expected =
        "argument must be templates separated by spaces, at byte 7: a template needs one {id}";
    assert_eq!(families, expected);
}

#[test]
fn caller_bytes_are_made_harmless() {
    let full = [b'x'; SHOWN_BYTES];
    let long = [b'x'; SHOWN_BYTES + 1];
    let table: [(&[u8], String); 8] = [
        (b"", String::new()),
        (b"abc DEF~", "abc DEF~".into()),
        (b"it's", r"it\x27s".into()),
        (br#"a"b"#, r"a\x22b".into()),
        (br"a\b", r"a\x5cb".into()),
        (b"\r\n\0\x7f\xff", r"\x0d\x0a\x00\x7f\xff".into()),
        (&full, "x".repeat(SHOWN_BYTES)),
        (&long, format!("{}...", "x".repeat(SHOWN_BYTES))),
    ];
    for (bytes, expected) in table {
        assert_eq!(shown(bytes), expected);
    }
}

proptest! {
    #[test]
    fn shown_is_always_one_short_ascii_line(bytes: Vec<u8>) {
        let text = shown(&bytes);
        prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        prop_assert!(!text.contains(['\'', '"']));
        prop_assert!(text.len() <= 4 * SHOWN_BYTES + 3);
    }
}
