//! The scenario files of `tests/scenarios`, run against a server, each on a flushed database: a dry run, the run, and a
//! second run that finds nothing more.
//!
//! The same files run against the plan alone in `src/plan/scenario_tests.rs`, so what must come of a scenario stands
//! in the files and nowhere here.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use blocking_harness::redis::{Connection, Pipeline, Value, cmd, pipe};
use blocking_harness::{Reply, Server, dbsize, digest, server_now_ms, wait_for_value};

#[path = "../scenarios/format.rs"]
pub mod format;

use format::{Case, Key, Kind, Ttl};

/// A scenario may put a beat half a second beside the threshold, so all of it must be over sooner than that; where a
/// busy machine was slower, it is done again.
const IN_TIME_MS: i64 = 450;
const TRIES: usize = 20;

const FIELDS: [&str; 20] = [
    "run",
    "status",
    "dry_run",
    "threshold_s",
    "keys_scanned",
    "coordinators_checked",
    "coordinators_stale",
    "coordinators_unreadable",
    "coordinators_removed",
    "coordinators_revived",
    "keys_removed",
    "keys_by_family",
    "keys_vetoed",
    "keys_orphaned",
    "orphans_removed",
    "slices",
    "longest_slice_us",
    "busy_us",
    "elapsed_us",
    "stale_ids",
];

fn write(pipe: &mut Pipeline, case: &Case, now_ms: i64) {
    for key in &case.keys {
        let name = key.name(now_ms);
        match key.kind {
            Kind::String => pipe.cmd("SET").arg(&name).arg(key.value(now_ms)),
            Kind::Hash => pipe.cmd("HSET").arg(&name).arg("seen").arg(now_ms),
            Kind::List => pipe.cmd("RPUSH").arg(&name).arg(now_ms),
            Kind::Set => pipe.cmd("SADD").arg(&name).arg(now_ms),
            Kind::Zset => pipe.cmd("ZADD").arg(&name).arg(now_ms).arg("timestamp"),
            Kind::Stream => pipe.cmd("XADD").arg(&name).arg("*").arg("t").arg(now_ms),
        };
        match key.ttl {
            Ttl::None => {}
            Ttl::Ahead => {
                pipe.cmd("EXPIRE").arg(&name).arg(3_600);
            }
            Ttl::Passed => {
                pipe.cmd("PEXPIRE").arg(&name).arg(1);
            }
        }
    }
}

/// Fills the database, and waits until every TTL that should have passed has.
pub fn load(conn: &mut Connection, case: &Case) -> Result<i64> {
    let () = cmd("FLUSHALL").query(conn)?;
    let now_ms = server_now_ms(conn)?;
    if !case.keys.is_empty() {
        let mut pipe = pipe();
        write(&mut pipe, case, now_ms);
        let _: Vec<Value> = pipe.query(conn)?;
        let loaded_ms = server_now_ms(conn)?;
        let later = |now: &i64| *now > loaded_ms + 1;
        let within = Duration::from_secs(5);
        wait_for_value("TTLs to pass", within, || Ok(server_now_ms(conn)?), later)?;
    }
    Ok(now_ms)
}

fn keys(conn: &mut Connection) -> Result<BTreeSet<Key>> {
    Ok(cmd("KEYS").arg("*").query(conn)?)
}

fn clean(conn: &mut Connection, case: &Case, dry: bool) -> Result<Reply> {
    let mut command = cmd("BLOCKING.CLEANUP");
    command.arg(case.arguments());
    if dry {
        command.arg("DRYRUN");
    }
    Ok(command.query(conn)?)
}

fn check_reply(case: &Case, now_ms: i64, reply: &Reply, dry: bool, scanned: i64) -> Result<()> {
    let expect = &case.expect;
    let with_orphans = ["orphan_grace_s", "orphans_too_young"].iter();
    let more = with_orphans.filter(|_| case.has_orphans());
    // Where MATCH fits nothing.
    let reason = ["reason"].iter().filter(|_| reply.get("reason").is_some());
    let all = FIELDS.iter().chain(reason).chain(more);
    let fields: Vec<&str> = all.chain(&["summary"]).copied().collect();
    ensure!(reply.names() == fields, "fields: {:?}", reply.names());
    if let Ok(reason) = reply.text("reason") {
        ensure!(reason.starts_with("no stale id fits MATCH"), "{reply:?}");
    }
    if case.has_orphans() {
        let too_young = reply.int("orphans_too_young")?;
        ensure!(too_young == expect.orphans_too_young as i64, "{reply:?}");
    }
    ensure!(reply.text("status")? == expect.status, "status: {reply:?}");
    ensure!(reply.flag("dry_run")? == dry, "dry_run: {reply:?}");
    ensure!(reply.int("keys_scanned")? == scanned, "{reply:?}");
    let expected = [
        ("coordinators_checked", expect.checked),
        ("coordinators_stale", expect.stale),
        ("coordinators_unreadable", expect.unreadable),
        ("coordinators_removed", expect.removed),
        ("coordinators_revived", 0),
        ("keys_removed", case.gone(now_ms).len() as u64),
        ("keys_vetoed", expect.vetoed),
        ("keys_orphaned", expect.orphaned),
        ("orphans_removed", expect.orphans_removed),
    ];
    for (name, count) in expected {
        let got = reply.int(name)?;
        ensure!(got == count as i64, "{name}: {got}, expected {count}");
    }
    let by_family = reply.map("keys_by_family")?;
    let families = [
        "heartbeat",
        "signal",
        "ack",
        "idempotency",
        "activity",
        "state",
    ];
    ensure!(by_family.names() == families, "families: {by_family:?}");
    let counts: Vec<i64> = families
        .iter()
        .map(|family| by_family.int(family))
        .collect::<Result<_>>()?;
    let sum = counts.iter().sum::<i64>();
    ensure!(sum == reply.int("keys_removed")?, "the sum of {counts:?}");
    if let Some(expected) = expect.by_family {
        let same = counts.iter().eq(expected.map(|n| n as i64).iter());
        ensure!(same, "by family: {counts:?}, expected {expected:?}");
    }
    if let Some(ids) = case.stale_ids() {
        let listed = reply.list("stale_ids")?;
        ensure!(listed == ids, "stale_ids: {:?}", reply.texts("stale_ids")?);
    }
    Ok(())
}

fn ensure_keys(found: &BTreeSet<Key>, expected: &BTreeSet<Key>) -> Result<()> {
    let show = |keys: BTreeSet<Key>| -> Vec<String> {
        keys.iter().map(|k| k.escape_ascii().to_string()).collect()
    };
    ensure!(
        found == expected,
        "there but should be gone: {:?}; gone but should be there: {:?}",
        show(found - expected),
        show(expected - found)
    );
    Ok(())
}

fn run(conn: &mut Connection, case: &Case, now_ms: i64) -> Result<()> {
    let (before, scanned) = (digest(conn)?, dbsize(conn)?);
    let dry = clean(conn, case, true)?;
    check_reply(case, now_ms, &dry, true, scanned).context("the dry run")?;
    ensure!(digest(conn)? == before, "the dry run changed something");

    let real = clean(conn, case, false)?;
    check_reply(case, now_ms, &real, false, scanned).context("the run")?;
    let rest = &case.visible(now_ms) - &case.gone(now_ms);
    ensure_keys(&keys(conn)?, &rest).context("after the run")?;

    // A limited run leaves something to do on purpose.
    if case.expect.status == "complete" {
        let again = clean(conn, case, false)?;
        for name in ["keys_removed", "coordinators_removed"] {
            ensure!(again.int(name)? == 0, "a second run: {again:?}");
        }
        ensure_keys(&keys(conn)?, &rest).context("after the second run")?;
    }
    Ok(())
}

fn run_in_time(conn: &mut Connection, case: &Case) -> Result<()> {
    for _ in 0..TRIES {
        let started_ms = load(conn, case)?;
        let outcome = run(conn, case, started_ms);
        if server_now_ms(conn)? - started_ms < IN_TIME_MS {
            return outcome;
        }
    }
    bail!("the machine is too busy: {TRIES} times it took more than {IN_TIME_MS} ms")
}

#[test]
fn a_server_does_what_every_scenario_says() -> Result<()> {
    let server = Server::builder()
        .arg("blocking.warm-up-seconds", 0)
        .start()?;
    let mut conn = server.client()?;
    // A key whose TTL has passed must stay stored until a command looks at it.
    let () = cmd("DEBUG")
        .arg("SET-ACTIVE-EXPIRE")
        .arg(0)
        .query(&mut conn)?;
    let mut failed = Vec::new();
    for (file, cases) in format::all() {
        for case in cases {
            if let Err(why) = run_in_time(&mut conn, &case) {
                failed.push(format!("{file}: {} ({}): {why:#}", case.name, case.why));
            }
        }
    }
    assert!(failed.is_empty(), "failed: {failed:#?}");
    assert!(server.is_alive());
    Ok(())
}
