//! Settings, INFO, log lines, the latency monitor: what an administrator turns and sees.
//! Must not measure time: how a setting changes the pace is for the timing tests.

/// CONFIG GET, SET, REWRITE and what survives a restart.
mod config;
/// Every setting changes what it says it changes.
mod effects;
/// redis.conf.example against a running server.
mod example;
/// INFO blocking.
mod info;
/// Log lines, and the lines of a module that does not load.
mod log;
/// What a run keeps where not everything fits.
mod second_walk;

use anyhow::{Context, Result, bail};
use blocking_harness::Server;
use blocking_harness::redis::{self, Connection, ConnectionLike, Value};
use std::collections::BTreeMap;

/// A beat of November 2023: stale for ever.
const OLD_MS: i64 = 1_700_000_000_000;

/// Name, default, smallest, largest value of every setting that is a number.
const SETTINGS: [(&str, i64, i64, i64); 13] = [
    ("blocking.threshold-seconds", 600, 1, 315_360_000),
    ("blocking.slice-us", 250, 50, 100_000),
    ("blocking.cpu-percent", 25, 1, 100),
    ("blocking.idle-cpu-percent", 100, 1, 100),
    ("blocking.max-heartbeat-bytes", 65_536, 64, 16_777_216),
    ("blocking.beat-window-days", 3_650, 1, 9_125),
    (
        "blocking.collect-max-bytes",
        536_870_912,
        65_536,
        1_099_511_627_776,
    ),
    ("blocking.linger-seconds", 15, 0, 3_600),
    ("blocking.interval-seconds", 0, 0, 315_360_000),
    ("blocking.orphan-grace-seconds", 0, 0, 315_360_000),
    ("blocking.warm-up-seconds", -1, -1, 315_360_000),
    ("blocking.max-stale-percent", 50, 1, 100),
    ("blocking.obituary-maxlen", 10_000, 1, 1_000_000_000),
];

/// Name, default and another value of every other setting.
const WORDS: [(&str, &str, &str); 9] = [
    ("blocking.dry-run", "no", "yes"),
    ("blocking.second-look", "yes", "no"),
    ("blocking.databases", "0", "3 0"),
    ("blocking.protect", "", "build-* [*]?'# \u{e9}"),
    (
        "blocking.families",
        "heartbeat=blocking:heartbeat:{id} heartbeat=swarm:{swarm}:blocking:heartbeat:{id} \
         signal=blocking:signal:{id} ack=blocking:ack:{id}* idempotency=blocking:idempotency:*{id}* \
         activity=coordinator:activity:{id} activity=swarm:{swarm}:agent:{id}:activity \
         state=swarm:{swarm}:blocking:{id} never=swarm:{swarm}:state",
        "heartbeat={{h}}:{id} heartbeat=i:{id} ack=#$[?]:{swarm}:\u{e9}:{id}:*",
    ),
    (
        "blocking.time-fields",
        "timestamp lastHeartbeat last_heartbeat",
        "#seen \u{e9}",
    ),
    ("blocking.zoneless", "refuse", "utc"),
    ("blocking.obituary-stream", "", "the #dead \u{e9}"),
    ("blocking.cluster-tags", "unknown", "ids"),
];

fn set(conn: &mut Connection, name: &str, value: impl ToString) -> Result<()> {
    let value = value.to_string();
    let reply: Result<(), _> = redis::cmd("CONFIG").arg(&["SET", name, &value]).query(conn);
    reply.with_context(|| format!("CONFIG SET {name} {value}"))
}

/// All settings of the module as CONFIG GET shows them.
fn all(conn: &mut Connection) -> Result<BTreeMap<String, String>> {
    Ok(redis::cmd("CONFIG")
        .arg(&["GET", "blocking.*"])
        .query(conn)?)
}

fn get(conn: &mut Connection, name: &str) -> Result<i64> {
    let all = all(conn)?;
    let value = all.get(name);
    let value = value.with_context(|| format!("no {name} in {all:?}"))?;
    value.parse().with_context(|| format!("{name} is {value}"))
}

/// The error that CONFIG SET answers with.
fn refusal(conn: &mut Connection, name: &str, value: &str) -> Result<String> {
    let mut command = redis::cmd("CONFIG");
    command.arg(&["SET", name, value]);
    match conn.req_command(&command)? {
        Value::ServerError(error) => Ok(error.details().unwrap_or_default().to_owned()),
        other => bail!("CONFIG SET {name} {value} gave {other:?}"),
    }
}

/// The lines that the module itself wrote to the log.
fn module_lines(server: &Server) -> Vec<String> {
    let log = server.log();
    let lines = log
        .lines()
        .filter_map(|line| line.split_once("<blocking> "));
    lines.map(|(_, text)| text.to_owned()).collect()
}

/// A stale coordinator: a heartbeat and `others` acks.
fn write_stale(conn: &mut Connection, id: &str, others: usize) -> Result<()> {
    let mut pipe = redis::pipe();
    pipe.set(format!("blocking:heartbeat:{id}"), OLD_MS)
        .ignore();
    for n in 0..others {
        pipe.set(format!("blocking:ack:{id}:s{n}"), "x").ignore();
    }
    Ok(pipe.query(conn)?)
}
