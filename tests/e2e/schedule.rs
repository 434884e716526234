//! The server cleans up by itself: when it does, when it does not, and which coordinators it spares.
//! Time is compressed: intervals of a second, thresholds and warm-ups of a few.

/// More are stale than can be true.
mod breaker;
/// The wall clock is set.
#[cfg(target_os = "linux")]
mod clock;
/// Pauses, flushes, replicas: a scheduled run is a run.
mod environment;
/// A fleet as it is in production.
mod fleet;
/// Ids whose keys are never removed.
mod protect;
/// Writes are refused, in a cluster, too.
mod refusals;
/// Rounds, databases, manual runs.
mod rounds;
/// A heartbeat must look the same twice.
mod second_look;
/// The module goes and comes back while the schedule is on.
mod unload;
/// The server was away.
mod warm_up;

use std::time::Duration;

use anyhow::{Result, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{
    Reply, Server, ServerBuilder, TOO_LATE, command, info_field, wait_for_value,
};

const DEADLINE: Duration = Duration::from_secs(60);

/// A beat of November 2023: stale for ever.
const OLD_MS: i64 = 1_700_000_000_000;

/// A round every second, and nothing that keeps it from removing: each test asks for the safeguard it is about.
fn eager() -> ServerBuilder {
    Server::builder()
        .arg("blocking.interval-seconds", 1)
        .arg("blocking.warm-up-seconds", 0)
        .arg("blocking.second-look", "no")
        .arg("blocking.max-stale-percent", 100)
}

fn set(conn: &mut Connection, name: &str, value: impl ToString) -> Result<()> {
    let name = format!("blocking.{name}");
    let mut command = redis::cmd("CONFIG");
    Ok(command
        .arg(&["SET", &name, &value.to_string()])
        .exec(conn)?)
}

fn status(conn: &mut Connection) -> Result<Reply> {
    Ok(command(conn, "BLOCKING.STATUS", &[])?)
}

fn schedule(conn: &mut Connection) -> Result<Reply> {
    status(conn)?.map("schedule")
}

fn info(conn: &mut Connection, field: &str) -> Result<u64> {
    Ok(info_field(conn, "blocking", &format!("blocking_{field}"))?.parse()?)
}

/// Waits until so many more scheduled runs are over, and yields the result of the last.
fn more_runs(conn: &mut Connection, more: i64) -> Result<Reply> {
    let before = schedule(conn)?.int("runs")?;
    let over = |status: &Reply| {
        let runs = status
            .map("schedule")
            .and_then(|schedule| schedule.int("runs"));
        runs.is_ok_and(|runs| runs >= before + more)
    };
    wait_for_value("scheduled runs", DEADLINE, || status(conn), over)?.map("last")
}

/// Waits until the server has no such key any more.
fn wait_until_gone(conn: &mut Connection, key: &str) -> Result<()> {
    let exists = || Ok(redis::cmd("EXISTS").arg(key).query::<i64>(conn)?);
    wait_for_value(&format!("{key} to go"), DEADLINE, exists, |count| {
        *count == 0
    })
    .map(drop)
}

fn exists(conn: &mut Connection, keys: &[&str]) -> Result<i64> {
    Ok(redis::cmd("EXISTS").arg(keys).query(conn)?)
}

fn write(conn: &mut Connection, key: &str, value: impl ToString) -> Result<()> {
    let mut command = redis::cmd("SET");
    Ok(command.arg(key).arg(value.to_string()).exec(conn)?)
}

/// A coordinator with a signal; its last beat was at this time.
fn write_pair(conn: &mut Connection, id: &str, beat_ms: i64) -> Result<()> {
    write(conn, &format!("blocking:heartbeat:{id}"), beat_ms)?;
    write(conn, &format!("blocking:signal:{id}"), "x")
}

/// How many keys of these coordinators there are.
fn left(conn: &mut Connection, ids: &[&str]) -> Result<i64> {
    let mut count = 0;
    for id in ids {
        let keys = ["heartbeat", "signal"].map(|family| format!("blocking:{family}:{id}"));
        count += exists(conn, &[&keys[0], &keys[1]])?;
    }
    Ok(count)
}

/// What the module wrote to the log.
fn lines(server: &Server) -> Vec<String> {
    let log = server.log();
    let lines = log
        .lines()
        .filter_map(|line| line.split_once("<blocking> "));
    lines.map(|(_, text)| text.to_owned()).collect()
}

/// Waits for a run of the schedule that is in the middle of something, and yields its number.
fn wait_for_scheduled(conn: &mut Connection, state: &str) -> Result<i64> {
    let there = |status: &Reply| {
        let current = status.map("current");
        let scheduled = current.and_then(|current| {
            let removed = state != "reaping" || current.int("keys_removed")? > 0;
            Ok(current.flag("scheduled")? && removed && current.int("keys_scanned")? > 0)
        });
        scheduled.unwrap_or_default() && status.text("state").is_ok_and(|now| now == state)
    };
    let what = format!("a scheduled run that is {state}");
    let before = schedule(conn)?.int("runs")?;
    let look = || {
        let status = status(conn)?;
        let over = status.map("schedule")?.int("runs")? > before;
        ensure!(!over || there(&status), "{TOO_LATE}; {what}: {status:?}");
        Ok(status)
    };
    let status = wait_for_value(&what, DEADLINE, look, there)?;
    let current = status.map("current")?;
    ensure!(current.flag("async")?, "no client waits for it: {status:?}");
    current.int("run")
}
