//! Runs that no client waits for, what can be seen of them, and callers that cannot wait.
//! A run is held by CLIENT PAUSE in the transaction that starts it: no slice comes in between.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use blocking_harness::redis::{Connection, Value};
use blocking_harness::{Reply, Server, command, dbsize, reply_map, wait_for_value};

use super::{OLD_MS, error_of, say, start_warm, write_pair};

const DEADLINE: Duration = Duration::from_secs(10);

fn status(conn: &mut Connection) -> Result<Reply> {
    Ok(command(conn, "BLOCKING.STATUS", &[])?)
}

/// Waits until no run is on.
pub fn wait_until_idle(conn: &mut Connection) -> Result<()> {
    wait_for_value(
        "the end of the run",
        DEADLINE,
        || status(conn)?.text("state"),
        |state| state == "idle",
    )?;
    Ok(())
}

/// Sends lines as one transaction and yields the replies of EXEC.
fn transaction(conn: &mut Connection, lines: &[&str]) -> Result<Vec<Value>> {
    say(conn, "MULTI")?;
    for line in lines {
        let queued = say(conn, line)?;
        let expected = Value::SimpleString("QUEUED".to_owned());
        ensure!(queued == expected, "{line} gave {queued:?}");
    }
    match say(conn, "EXEC")? {
        Value::Array(replies) => Ok(replies),
        other => bail!("EXEC gave {other:?}"),
    }
}

#[test]
fn async_answers_with_the_number_and_removes_behind_it() -> Result<()> {
    let server = Server::start()?;
    for (mut conn, expected) in [(server.client()?, 1), (server.client3()?, 2)] {
        write_pair(&mut conn, b"dead", OLD_MS)?;
        assert_eq!(
            say(&mut conn, "BLOCKING.CLEANUP ASYNC")?,
            Value::Int(expected)
        );
        wait_until_idle(&mut conn)?;
        assert_eq!(dbsize(&mut conn)?, 0);
        let last = status(&mut conn)?.map("last")?;
        assert_eq!(last.int("run")?, expected);
        assert_eq!(last.int("keys_removed")?, 2);
        assert_eq!(last.texts("stale_ids")?, ["dead"]);
    }
    let mut conn = server.client()?;
    let reply = say(&mut conn, "BLOCKING.CLEANUP JSON DRYRUN ASYNC")?;
    assert_eq!(reply, Value::BulkString(br#"{"run":3}"#.to_vec()));
    wait_until_idle(&mut conn)
}

#[test]
fn status_shows_the_run_under_way() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client3()?;
    write_pair(&mut conn, b"dead", OLD_MS)?;
    let start = "BLOCKING.CLEANUP THRESHOLD 60 LIMIT 9 MATCH d* BREAKER 70 ASYNC";
    let replies = transaction(
        &mut conn,
        &[start, "BLOCKING.STATUS", "CLIENT PAUSE 60000 WRITE"],
    )?;
    let first = reply_map(replies[1].clone())?;
    assert_eq!(first.text("state")?, "collecting");
    let current = first.map("current")?;
    let names = [
        "run",
        "database",
        "dry_run",
        "async",
        "scheduled",
        "threshold_s",
        "match",
        "limit",
        "breaker_percent",
        "progress_percent",
        "waiting_for",
        "elapsed_us",
        "time_left_us",
        "keys_scanned",
        "keys_collected",
        "coordinators_removed",
        "coordinators_revived",
        "keys_removed",
        "orphan_grace_s",
        "keys_orphaned",
        "orphans_too_young",
        "orphans_removed",
        "look",
        "lingering_s",
    ];
    assert_eq!(current.names(), names);
    assert_eq!(current.get("look"), Some(&Value::Nil));
    assert_eq!(current.get("lingering_s"), Some(&Value::Nil));
    assert_eq!(current.get("dry_run"), Some(&Value::Boolean(false)));
    assert_eq!(current.get("async"), Some(&Value::Boolean(true)));
    assert_eq!(current.get("scheduled"), Some(&Value::Boolean(false)));
    assert_eq!(current.get("time_left_us"), Some(&Value::Nil));
    assert_eq!(current.text("match")?, "d*");
    assert_eq!(current.get("orphan_grace_s"), Some(&Value::Nil));
    for (name, expected) in [
        ("run", 1),
        ("database", 0),
        ("threshold_s", 60),
        ("limit", 9),
        ("breaker_percent", 70),
        ("progress_percent", 0),
        ("keys_scanned", 0),
        ("keys_collected", 0),
        ("coordinators_removed", 0),
        ("coordinators_revived", 0),
        ("keys_removed", 0),
    ] {
        assert_eq!(current.int(name)?, expected, "{name}");
    }
    // While writes are paused the run is, too, and its clock goes on.
    wait_for_value(
        "the pause",
        DEADLINE,
        || status(&mut conn)?.text("state"),
        |state| state == "paused",
    )?;
    let paused = status(&mut conn)?.map("current")?;
    assert_eq!(current.get("waiting_for"), Some(&Value::Nil));
    assert_eq!(paused.text("waiting_for")?, "writes");
    assert!(paused.int("elapsed_us")? > current.int("elapsed_us")?);
    assert_eq!(dbsize(&mut conn)?, 2);
    say(&mut conn, "CLIENT UNPAUSE")?;
    wait_until_idle(&mut conn)?;
    let after = status(&mut conn)?;
    assert_eq!(after.get("current"), Some(&Value::Nil));
    assert_eq!(after.map("last")?.text("status")?, "complete");
    assert_eq!(dbsize(&mut conn)?, 0);
    Ok(())
}

#[test]
fn a_second_cleanup_is_told_of_the_first() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let replies = transaction(
        &mut conn,
        &[
            "BLOCKING.CLEANUP ASYNC",
            "BLOCKING.CLEANUP ASYNC",
            "BLOCKING.CLEANUP ASYNC DRYRUN JSON",
            "BLOCKING.CLEANUP ASYNC FOO",
        ],
    )?;
    assert_eq!(replies[0], Value::Int(1));
    let expected = "INPROGRESS a cleanup is running: run 1, 0% of the keyspace, \
                    started 0 s ago; see BLOCKING.STATUS";
    assert_eq!(error_of(&replies[1]), expected);
    assert_eq!(error_of(&replies[2]), expected);
    // A wrong argument is wrong whatever else is going on.
    assert!(error_of(&replies[3]).starts_with("ERR unknown option 'FOO'"));
    wait_until_idle(&mut conn)?;
    assert_eq!(say(&mut conn, "BLOCKING.CLEANUP ASYNC")?, Value::Int(2));
    wait_until_idle(&mut conn)
}

#[test]
fn a_cancelled_run_removes_nothing_more() -> Result<()> {
    let server = start_warm()?;
    let mut conn = server.client()?;
    write_pair(&mut conn, b"dead", OLD_MS)?;
    let replies = transaction(&mut conn, &["BLOCKING.CLEANUP ASYNC", "BLOCKING.CANCEL"])?;
    assert_eq!(replies, [Value::Int(1), Value::Okay]);
    wait_until_idle(&mut conn)?;
    let last = status(&mut conn)?.map("last")?;
    assert_eq!(last.text("status")?, "cancelled");
    assert_eq!(last.text("reason")?, "cancelled by BLOCKING.CANCEL");
    assert_eq!(last.names()[20..], ["reason", "summary"]);
    let summary = last.text("summary")?;
    ensure!(
        summary.starts_with("removed nothing: the run ended before it knew which coordinators are stale; cancelled: "),
        "{summary}"
    );
    assert_eq!(dbsize(&mut conn)?, 2);
    assert_eq!(status(&mut conn)?.map("totals")?.int("runs_cancelled")?, 1);
    Ok(())
}

#[test]
fn inside_multi_only_async_runs() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    write_pair(&mut conn, b"dead", OLD_MS)?;
    let refused = "ERR BLOCKING.CLEANUP cannot wait inside MULTI; add ASYNC";
    for line in ["BLOCKING.CLEANUP", "BLOCKING.CLEANUP DRYRUN JSON"] {
        let replies = transaction(&mut conn, &["SET before 1", line, "SET after 1"])?;
        assert_eq!(error_of(&replies[1]), refused, "{line}");
        assert_eq!([&replies[0], &replies[2]], [&Value::Okay, &Value::Okay]);
    }
    // Nothing was started behind the error.
    assert_eq!(status(&mut conn)?.map("totals")?.int("runs")?, 0);
    assert_eq!(status(&mut conn)?.text("state")?, "idle");
    assert_eq!(dbsize(&mut conn)?, 4);

    let replies = transaction(&mut conn, &["BLOCKING.CLEANUP ASYNC"])?;
    assert_eq!(replies, [Value::Int(1)]);
    wait_until_idle(&mut conn)?;
    assert_eq!(dbsize(&mut conn)?, 2);
    Ok(())
}

#[test]
fn a_script_cannot_call_cleanup_but_may_ask_for_status() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    write_pair(&mut conn, b"dead", OLD_MS)?;
    for arguments in ["", ", 'ASYNC'"] {
        let script = format!("return redis.call('BLOCKING.CLEANUP'{arguments})");
        let reply = super::send(&mut conn, &[b"EVAL", script.as_bytes(), b"0"])?;
        let error = error_of(&reply);
        assert!(error.starts_with("ERR "), "{error}");
        assert!(error.contains("not allowed from script"), "{error}");
    }
    let script = b"return redis.call('BLOCKING.STATUS')[2]";
    let reply = super::send(&mut conn, &[b"EVAL", script, b"0"])?;
    assert_eq!(reply, Value::BulkString(b"idle".to_vec()));
    assert_eq!(status(&mut conn)?.map("totals")?.int("runs")?, 0);
    assert_eq!(dbsize(&mut conn)?, 2);
    Ok(())
}
