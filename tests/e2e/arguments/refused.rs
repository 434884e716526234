//! What is refused: exact texts, nothing done, one class of errors a code word.

use anyhow::{Result, ensure};
use blocking_harness::{Server, dbsize, redis};

use super::{OLD_MS, error_of, say, send, write_pair};

const THRESHOLD: &str = "an integer from 1 to 315360000 seconds";
const LIMIT: &str = "an integer from 1 to 4294967295 coordinators";
const IDS: &str = "an integer from 0 to 10000 ids";
const OPTIONS: &str =
    "THRESHOLD, DRYRUN, ORPHANS, MATCH, LIMIT, BREAKER, IDS, NOWARMUP, ASYNC, JSON";

fn unknown(shown: &str) -> String {
    format!("ERR unknown option '{shown}' for BLOCKING.CLEANUP; accepted are {OPTIONS}")
}

fn repeated(option: &str) -> String {
    format!("ERR {option} is given more than once; each option is accepted at most once")
}

fn missing(option: &str, accepted: &str) -> String {
    format!("ERR {option} needs a value: {accepted}")
}

fn bad(option: &str, accepted: &str, shown: &str) -> String {
    format!("ERR {option} must be {accepted}, got '{shown}'")
}

/// Arguments of CLEANUP, and the error they meet.
fn cleanup_table() -> Vec<(Vec<&'static [u8]>, String)> {
    const LONG: &[u8] = &[b'a'; 513];
    let pattern =
        |got: usize| format!("ERR MATCH takes a glob pattern of 1 to 512 bytes, got {got}");
    vec![
        (vec![b"FOO"], unknown("FOO")),
        (vec![b""], unknown("")),
        (vec![b"DRY RUN"], unknown("DRY RUN")),
        (vec![b"it's\r\n\xff\\"], unknown(r"it\x27s\x0d\x0a\xff\x5c")),
        (
            vec![&LONG[..33]],
            unknown(&format!("{}...", "a".repeat(32))),
        ),
        (vec![b"600"], unknown("600")),
        (vec![b"ORPHANS", b"soon"], unknown("soon")),
        (vec![b"ORPHANS", b"60", b"60"], unknown("60")),
        (vec![b"ORPHANS", b"1", b"orphans"], repeated("ORPHANS")),
        (vec![b"ORPHANS", b"0"], bad("ORPHANS", THRESHOLD, "0")),
        (vec![b"ORPHANS", b"-1"], bad("ORPHANS", THRESHOLD, "-1")),
        (vec![b"ORPHANS", b"10m"], bad("ORPHANS", THRESHOLD, "10m")),
        (vec![b"DRYRUN", b"FOO"], unknown("FOO")),
        (vec![b"THRESHOLD", b"1", b"2"], unknown("2")),
        (vec![b"DRYRUN", b"dryrun"], repeated("DRYRUN")),
        (vec![b"ASYNC", b"JSON", b"ASYNC"], repeated("ASYNC")),
        (vec![b"JSON", b"JSON"], repeated("JSON")),
        (vec![b"LIMIT", b"1", b"LIMIT"], repeated("LIMIT")),
        (vec![b"IDS", b"1", b"ids", b"x"], repeated("IDS")),
        (vec![b"MATCH", b"a", b"MATCH", b"b"], repeated("MATCH")),
        (
            vec![b"THRESHOLD", b"1", b"THRESHOLD", b"1"],
            repeated("THRESHOLD"),
        ),
        (vec![b"THRESHOLD"], missing("THRESHOLD", THRESHOLD)),
        (vec![b"LIMIT"], missing("LIMIT", LIMIT)),
        (vec![b"JSON", b"IDS"], missing("IDS", IDS)),
        (
            vec![b"MATCH"],
            missing("MATCH", "a glob pattern of 1 to 512 bytes"),
        ),
        (vec![b"THRESHOLD", b"0"], bad("THRESHOLD", THRESHOLD, "0")),
        (
            vec![b"THRESHOLD", b"315360001"],
            bad("THRESHOLD", THRESHOLD, "315360001"),
        ),
        (vec![b"THRESHOLD", b"-1"], bad("THRESHOLD", THRESHOLD, "-1")),
        (vec![b"THRESHOLD", b"+1"], bad("THRESHOLD", THRESHOLD, "+1")),
        (
            vec![b"THRESHOLD", b"010"],
            bad("THRESHOLD", THRESHOLD, "010"),
        ),
        (
            vec![b"THRESHOLD", b"1.5"],
            bad("THRESHOLD", THRESHOLD, "1.5"),
        ),
        (vec![b"THRESHOLD", b" 1"], bad("THRESHOLD", THRESHOLD, " 1")),
        (
            vec![b"THRESHOLD", b"10m"],
            bad("THRESHOLD", THRESHOLD, "10m"),
        ),
        (vec![b"THRESHOLD", b""], bad("THRESHOLD", THRESHOLD, "")),
        (
            vec![b"THRESHOLD", b"1\0"],
            bad("THRESHOLD", THRESHOLD, r"1\x00"),
        ),
        (
            vec![b"THRESHOLD", b"\xff\xfe"],
            bad("THRESHOLD", THRESHOLD, r"\xff\xfe"),
        ),
        (
            vec![b"THRESHOLD", "٣".as_bytes()],
            bad("THRESHOLD", THRESHOLD, r"\xd9\xa3"),
        ),
        (
            vec![b"THRESHOLD", b"99999999999999999999999999999999999"],
            bad("THRESHOLD", THRESHOLD, &format!("{}...", "9".repeat(32))),
        ),
        (
            vec![b"THRESHOLD", b"DRYRUN"],
            bad("THRESHOLD", THRESHOLD, "DRYRUN"),
        ),
        (vec![b"LIMIT", b"0"], bad("LIMIT", LIMIT, "0")),
        (
            vec![b"LIMIT", b"4294967296"],
            bad("LIMIT", LIMIT, "4294967296"),
        ),
        (vec![b"IDS", b"10001"], bad("IDS", IDS, "10001")),
        (vec![b"IDS", b"-0"], bad("IDS", IDS, "-0")),
        (vec![b"MATCH", b""], pattern(0)),
        (vec![b"MATCH", LONG], pattern(513)),
    ]
}

#[test]
fn a_refused_cleanup_says_why_and_does_nothing() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    write_pair(&mut conn, b"dead", OLD_MS)?;
    let table = cleanup_table();
    for (arguments, expected) in &table {
        let words = [&[b"BLOCKING.CLEANUP".as_slice()], arguments.as_slice()].concat();
        let reply = send(&mut conn, &words)?;
        assert_eq!(&error_of(&reply), expected, "{arguments:?}");
    }
    assert_eq!(dbsize(&mut conn)?, 2);
    let status = blocking_harness::command(&mut conn, "BLOCKING.STATUS", &[])?;
    assert_eq!(status.map("totals")?.int("runs")?, 0);

    // What lies just inside the limits is taken.
    let longest = "a".repeat(512);
    for line in [
        "THRESHOLD 1 LIMIT 1 IDS 0 DRYRUN",
        "THRESHOLD 315360000 LIMIT 4294967295 IDS 10000 DRYRUN",
        &format!("MATCH {longest} DRYRUN"),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        blocking_harness::cleanup(&mut conn, &arguments)?;
    }
    let status = blocking_harness::command(&mut conn, "BLOCKING.STATUS", &[])?;
    // A refused cleanup takes no number either.
    assert_eq!(status.map("last")?.int("run")?, 3);
    Ok(())
}

#[test]
fn the_other_commands_refuse_what_they_do_not_take() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let status = "ERR unknown option 'FOO' for BLOCKING.STATUS; accepted is JSON";
    let table = [
        ("BLOCKING.STATUS FOO", status),
        ("BLOCKING.STATUS JSON FOO", status),
        (
            "BLOCKING.STATUS JSON json",
            "ERR JSON is given more than once; each option is accepted at most once",
        ),
        (
            "BLOCKING.CANCEL",
            "NOTBUSY no cleanup is running; BLOCKING.STATUS shows the last one",
        ),
        (
            "BLOCKING.CANCEL now",
            "ERR wrong number of arguments for 'blocking.cancel' command",
        ),
        (
            "BLOCKING.HELP CLEAN",
            "ERR BLOCKING.HELP takes one of CLEANUP, LIST, EXPLAIN, DOCTOR, STATUS, CANCEL, HELP, or nothing, got 'CLEAN'",
        ),
        (
            "BLOCKING.HELP CLEANUP me",
            "ERR BLOCKING.HELP takes one of CLEANUP, LIST, EXPLAIN, DOCTOR, STATUS, CANCEL, HELP, or nothing, got 'me'",
        ),
    ];
    for (line, expected) in table {
        assert_eq!(error_of(&say(&mut conn, line)?), expected, "{line}");
    }
    let reply = send(&mut conn, &[b"BLOCKING.STATUS", b"\xff"])?;
    let expected = r"ERR unknown option '\xff' for BLOCKING.STATUS; accepted is JSON";
    assert_eq!(error_of(&reply), expected);
    Ok(())
}

#[test]
fn error_statistics_grow_by_code_words_alone() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let table = cleanup_table();
    for (arguments, _) in &table {
        let words = [&[b"BLOCKING.CLEANUP".as_slice()], arguments.as_slice()].concat();
        send(&mut conn, &words)?;
    }
    say(&mut conn, "BLOCKING.CANCEL")?;
    say(&mut conn, "MULTI")?;
    say(&mut conn, "BLOCKING.CLEANUP ASYNC")?;
    say(&mut conn, "BLOCKING.CLEANUP ASYNC")?;
    say(&mut conn, "BLOCKING.CLEANUP")?;
    say(&mut conn, "EXEC")?;
    let info: String = redis::cmd("INFO").arg("errorstats").query(&mut conn)?;
    let found: Vec<&str> = info.lines().filter(|line| !line.starts_with('#')).collect();
    ensure!(!found.is_empty(), "no statistics in {info}");
    // One ERR more: the cleanup that would have had to wait inside MULTI.
    let expected = [
        format!("errorstat_ERR:count={}", table.len() + 1),
        "errorstat_INPROGRESS:count=1".to_owned(),
        "errorstat_NOTBUSY:count=1".to_owned(),
    ];
    assert_eq!(found, expected);
    Ok(())
}
