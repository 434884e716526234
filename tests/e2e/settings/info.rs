//! INFO blocking: flat numeric fields, there before the first run too.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{Server, cleanup, command, server_now_ms, wait_for_value};

use super::{OLD_MS, write_stale};

const DEADLINE: Duration = Duration::from_secs(60);

const NOW: [&str; 4] = [
    "running",
    "current_run",
    "current_progress_percent",
    "current_paused",
];

const LAST: [&str; 26] = [
    "last_run",
    "last_dry_run",
    "last_scheduled",
    "last_complete",
    "last_keys_scanned",
    "last_coordinators_checked",
    "last_coordinators_stale",
    "last_coordinators_unreadable",
    "last_coordinators_removed",
    "last_coordinators_revived",
    "last_keys_removed",
    "last_keys_vetoed",
    "last_keys_orphaned",
    "last_orphans_removed",
    "last_orphans_too_young",
    "last_keys_not_owned",
    "last_coordinators_protected",
    "last_coordinators_waiting",
    "last_keys_denied",
    "last_keys_over_bound",
    "last_keys_protected",
    "last_keys_elsewhere",
    "last_keys_unsettled",
    "last_longest_slice_us",
    "last_busy_us",
    "last_elapsed_us",
];

const TOTALS: [&str; 24] = [
    "total_runs",
    "total_dry_runs",
    "total_runs_complete",
    "total_runs_limited",
    "total_runs_cancelled",
    "total_runs_truncated",
    "total_runs_interrupted",
    "total_runs_refused",
    "total_keys_scanned",
    "total_coordinators_removed",
    "total_coordinators_revived",
    "total_keys_removed",
    "total_slices",
    "total_overruns",
    "total_longest_slice_us",
    "total_busy_us",
    "total_orphans_removed",
    "total_long_slices",
    "total_long_preempted",
    "total_long_calls",
    "total_longest_scan_us",
    "total_longest_read_us",
    "total_longest_unlink_us",
    "total_runs_partial",
];

const SCHEDULE: [&str; 12] = [
    "schedule_on",
    "schedule_interval_s",
    "schedule_next_run_s",
    "schedule_idle_s",
    "schedule_runs",
    "schedule_skipped",
    "schedule_remembered",
    "breaker_open",
    "breaker_trips",
    "warm_up_left_s",
    "writers_away_s",
    "protect_patterns",
];

const WATCH: [&str; 6] = [
    "since_complete_s",
    "left_coordinators",
    "left_stale",
    "left_unreadable",
    "left_orphans",
    "left_orphans_too_young",
];
const OBITUARIES: [&str; 2] = ["obituaries_written", "obituaries_failed"];

/// A server that has been there for long.
fn start_warm() -> Result<Server> {
    Server::builder().arg("blocking.warm-up-seconds", 0).start()
}

/// The fields of our section of INFO, without the module's name in front; every value must be a number.
fn fields(conn: &mut Connection, section: &str) -> Result<Vec<(String, u64)>> {
    let info: String = redis::cmd("INFO").arg(section).query(conn)?;
    let mut lines = info.lines().skip_while(|line| *line != "# blocking");
    ensure!(lines.next().is_some(), "no section in INFO {section}");
    lines
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line.split_once(':').with_context(|| line.to_owned())?;
            let name = name
                .strip_prefix("blocking_")
                .with_context(|| line.to_owned())?;
            let value = value.parse().with_context(|| line.to_owned())?;
            Ok((name.to_owned(), value))
        })
        .collect()
}

/// The value of one field.
fn field(conn: &mut Connection, name: &str) -> Result<u64> {
    let fields = fields(conn, "blocking")?;
    let found = fields.iter().find(|(field, _)| field == name);
    Ok(found.with_context(|| name.to_owned())?.1)
}

fn names(fields: &[(String, u64)]) -> Vec<&str> {
    fields.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn before_the_first_run_there_is_no_last_one() -> Result<()> {
    let server = start_warm()?;
    let fields = fields(&mut server.client()?, "blocking")?;
    assert_eq!(
        names(&fields),
        [&NOW[..], &TOTALS, &SCHEDULE, &OBITUARIES, &WATCH].concat()
    );
    assert!(fields.iter().all(|(_, value)| *value == 0), "{fields:?}");
    Ok(())
}

#[test]
fn the_section_appears_wherever_modules_are_asked_for() -> Result<()> {
    let server = start_warm()?;
    let mut conn = server.client()?;
    cleanup(&mut conn, &[])?;
    let expected = fields(&mut conn, "blocking")?;
    assert_eq!(
        names(&expected),
        [&NOW[..], &LAST, &TOTALS, &SCHEDULE, &OBITUARIES, &WATCH].concat()
    );
    for section in ["everything", "modules"] {
        assert_eq!(fields(&mut conn, section)?, expected, "INFO {section}");
    }
    Ok(())
}

/// The page and the server have the same fields, each once.
#[test]
fn every_field_is_documented_and_every_documented_field_is_there() -> Result<()> {
    let server = start_warm()?;
    let mut conn = server.client()?;
    cleanup(&mut conn, &[])?;
    let fields = fields(&mut conn, "blocking")?;
    let mut there = names(&fields);
    let page = include_str!("../../../docs/monitoring.md");
    let section = page.split("\n## INFO\n").nth(1).context("no section")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut documented: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `blocking_")?.split_once("` | "))
        .map(|(name, meaning)| {
            ensure!(meaning.len() > 4, "{name} has no meaning");
            Ok(name)
        })
        .collect::<Result<_>>()?;
    there.sort_unstable();
    documented.sort_unstable();
    assert_eq!(documented, there);
    Ok(())
}

/// An alarm must not lose sight of one database because another had its turn.
#[test]
fn what_is_left_is_summed_over_databases() -> Result<()> {
    let server = start_warm()?;
    let mut conn = server.client()?;
    let mut other = server.client_db(3)?;
    for conn in [&mut conn, &mut other] {
        write_stale(conn, "dead", 1)?;
        for (key, value) in [
            ("blocking:heartbeat:odd", "no time"),
            ("blocking:signal:nobody", "x"),
        ] {
            redis::cmd("SET").arg(key).arg(value).exec(conn)?;
        }
    }
    let left = |conn: &mut Connection| -> Result<Vec<u64>> {
        let names = &WATCH[1..];
        names.iter().map(|name| field(conn, name)).collect()
    };
    cleanup(&mut conn, &["DRYRUN"])?;
    assert_eq!(left(&mut conn)?, [2, 1, 1, 1, 0]);
    cleanup(&mut other, &["ORPHANS", "600"])?;
    // First seen a moment ago.
    assert_eq!(left(&mut conn)?, [3, 1, 2, 2, 1]);
    cleanup(&mut conn, &[])?;
    assert_eq!(left(&mut conn)?, [2, 0, 2, 2, 1]);
    redis::cmd("FLUSHDB").exec(&mut other)?;
    assert_eq!(left(&mut conn)?, [1, 0, 1, 1, 0]);
    // A run that was cut short has not seen everything.
    redis::cmd("FLUSHDB").exec(&mut conn)?;
    write_stale(&mut conn, "dead", 1)?;
    let reply: (i64, String) = redis::pipe()
        .atomic()
        .cmd("BLOCKING.CLEANUP")
        .arg("ASYNC")
        .cmd("BLOCKING.CANCEL")
        .query(&mut conn)?;
    assert_eq!(reply.1, "OK");
    let idle = |running: &u64| *running == 0;
    wait_for_value("the end", DEADLINE, || field(&mut conn, "running"), idle)?;
    assert_eq!(field(&mut conn, "total_runs_cancelled")?, 1);
    assert_eq!(left(&mut conn)?, [0; 5]);
    Ok(())
}

#[test]
fn seconds_since_a_complete_run_begin_anew_with_each() -> Result<()> {
    let server = start_warm()?;
    let replica = Server::builder()
        .arg("blocking.warm-up-seconds", 0)
        .replica_of(&server)
        .start()?;
    let mut conn = server.client()?;
    let since = |conn: &mut Connection| field(conn, "since_complete_s");
    wait_for_value("two seconds", DEADLINE, || since(&mut conn), |s| *s >= 2)?;
    write_stale(&mut conn, "a", 0)?;
    write_stale(&mut conn, "b", 0)?;
    // The one of them is not a complete run.
    let limited = cleanup(&mut conn, &["LIMIT", "1"])?;
    assert_eq!(limited.text("status")?, "limited");
    ensure!(since(&mut conn)? >= 2);
    // However slow the machine: it ended after this.
    let before_ms = server_now_ms(&mut conn)?;
    cleanup(&mut conn, &[])?;
    let since_s = i64::try_from(since(&mut conn)?)?;
    let passed_ms = server_now_ms(&mut conn)? - before_ms;
    ensure!(
        since_s * 1_000 <= passed_ms,
        "{since_s} s of {passed_ms} ms"
    );
    // While the warm-up lasts, nothing is late.
    redis::cmd("CONFIG")
        .arg(&["SET", "blocking.warm-up-seconds", "3600"])
        .exec(&mut conn)?;
    assert_eq!(since(&mut conn)?, 0);
    replica.wait_in_sync_with(&server)?;
    let mut there = replica.client()?;
    assert_eq!(since(&mut there)?, 0);
    Ok(())
}

#[test]
fn fields_say_what_the_runs_replied() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    for (id, others) in [("a", 3), ("b", 4)] {
        write_stale(&mut conn, id, others)?;
    }
    for (key, value) in [
        ("blocking:heartbeat:odd", "no time"),
        ("blocking:signal:nobody", "x"),
        ("blocking:idempotency:a:odd", "1"),
    ] {
        redis::cmd("SET")
            .arg(key)
            .arg(value)
            .query::<()>(&mut conn)?;
    }
    let dry = cleanup(&mut conn, &["DRYRUN"])?;
    let limited = cleanup(&mut conn, &["LIMIT", "1"])?;
    let whole = cleanup(&mut conn, &[])?;
    let fields = fields(&mut conn, "blocking")?;
    let field = |name: &str| -> Result<i64> {
        let found = fields.iter().find(|(field, _)| field == name);
        Ok(i64::try_from(found.with_context(|| name.to_owned())?.1)?)
    };
    // What every reply has: counts, and what it took.
    for name in LAST[4..14].iter().chain(&LAST[23..26]) {
        let in_reply = name.trim_start_matches("last_");
        assert_eq!(field(name)?, whole.int(in_reply)?, "{name}");
    }
    let runs = [&dry, &limited, &whole];
    let sum = |name: &str, runs: &[&blocking_harness::Reply]| -> Result<i64> {
        runs.iter().map(|reply| reply.int(name)).sum()
    };
    let longest = runs.map(|reply| reply.int("longest_slice_us").unwrap_or_default());
    for (name, expected) in [
        ("running", 0),
        ("current_run", 0),
        ("last_run", 3),
        ("last_dry_run", 0),
        ("last_complete", 1),
        ("last_coordinators_unreadable", 1),
        ("last_keys_vetoed", 0),
        ("last_keys_orphaned", 1),
        ("last_orphans_too_young", 0),
        ("last_orphans_removed", 0),
        ("total_orphans_removed", 0),
        ("last_keys_denied", 0),
        ("last_keys_not_owned", 0),
        ("last_keys_over_bound", 0),
        ("last_keys_protected", 0),
        ("last_keys_elsewhere", 0),
        ("last_keys_unsettled", 0),
        ("total_runs_partial", 0),
        ("total_runs", 3),
        ("total_dry_runs", 1),
        ("total_runs_complete", 2),
        ("total_runs_limited", 1),
        ("total_runs_cancelled", 0),
        ("total_keys_scanned", sum("keys_scanned", &runs)?),
        // What the dry run would have removed is not among what was removed.
        ("total_keys_removed", 9),
        ("total_coordinators_removed", 2),
        ("total_slices", sum("slices", &runs)?),
        ("total_busy_us", sum("busy_us", &runs)?),
        (
            "total_longest_slice_us",
            longest.into_iter().max().unwrap_or_default(),
        ),
    ] {
        assert_eq!(field(name)?, expected, "{name}");
    }
    assert_eq!(dry.int("keys_vetoed")?, 1);
    Ok(())
}

#[test]
fn a_run_under_way_shows() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    redis::cmd("SET")
        .arg("blocking:heartbeat:a")
        .arg(OLD_MS)
        .query::<()>(&mut conn)?;
    // Nothing of the run comes between the lines of a transaction.
    let (run, info): (i64, String) = redis::pipe()
        .atomic()
        .cmd("BLOCKING.CLEANUP")
        .arg("ASYNC")
        .cmd("INFO")
        .arg("blocking")
        .query(&mut conn)?;
    assert_eq!(run, 1);
    for line in ["blocking_running:1", "blocking_current_run:1"] {
        assert!(info.lines().any(|found| found == line), "{info}");
    }
    blocking_harness::wait_for_value(
        "the end of the run",
        std::time::Duration::from_secs(10),
        || command(&mut conn, "BLOCKING.STATUS", &[])?.text("state"),
        |state| state == "idle",
    )?;
    let after = fields(&mut conn, "blocking")?;
    assert_eq!(
        after[..2],
        [("running".to_owned(), 0), ("current_run".to_owned(), 0)]
    );
    Ok(())
}
