//! The server was away, and every coordinator looks dead: none is judged before the living had time to beat.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{Server, cleanup, server_now_ms, wait_for_value};

use super::{
    DEADLINE, OLD_MS, eager, info, left, more_runs, set, wait_for_scheduled, wait_until_gone,
    write_pair,
};
use crate::environment::long_run::{Slow, World, assert_healthy, run, wait_until_idle};

const DEAD: &str = "blocking:heartbeat:dead";

fn until(conn: &mut Connection, started: Instant, seconds: u64) -> Result<()> {
    while started.elapsed() < Duration::from_secs(seconds) {
        ensure!(
            left(conn, &["dead"])? == 2,
            "gone after {:?}",
            started.elapsed()
        );
    }
    Ok(())
}

#[test]
fn a_started_server_waits_and_a_manual_run_says_so() -> Result<()> {
    // What the clock of the test shows must lie before what the server's shows.
    let server = eager().arg("blocking.warm-up-seconds", 8).start()?;
    let mut conn = server.client()?;
    write_pair(&mut conn, "dead", OLD_MS)?;
    let reply = cleanup(&mut conn, &["DRYRUN"])?;
    let left_s = reply.int("warm_up_left_s")?;
    ensure!((1..=8).contains(&left_s), "{reply:?}");
    ensure!(reply.text("status")? == "complete", "{reply:?}");
    let left_s = info(&mut conn, "warm_up_left_s")?;
    until(&mut conn, Instant::now(), left_s.saturating_sub(4))?;
    wait_until_gone(&mut conn, DEAD)?;
    let reply = cleanup(&mut conn, &["DRYRUN"])?;
    ensure!(reply.get("warm_up_left_s").is_none(), "{reply:?}");
    ensure!(info(&mut conn, "warm_up_left_s")? == 0);
    // Its length can be changed while it is on, and -1 is the threshold.
    set(&mut conn, "warm-up-seconds", 3_600)?;
    ensure!(info(&mut conn, "warm_up_left_s")? > 3_500);
    set(&mut conn, "threshold-seconds", 7_200)?;
    set(&mut conn, "warm-up-seconds", -1)?;
    ensure!(info(&mut conn, "warm_up_left_s")? > 7_000);
    write_pair(&mut conn, "dead", OLD_MS)?;
    until(&mut conn, Instant::now(), 2)?;
    // A manual run works all the same.
    let reply = cleanup(&mut conn, &[])?;
    ensure!(reply.int("keys_removed")? == 2, "{reply:?}");
    ensure!(reply.int("warm_up_left_s")? > 7_000, "{reply:?}");
    Ok(())
}

/// Long enough for a test that is kept from running for seconds: then its beats come too late, which is no fault of
/// the module.
const PATIENCE_S: u64 = 10;

#[test]
fn after_a_restart_with_an_old_rdb_a_coordinator_that_beats_within_the_warm_up_keeps_everything()
-> Result<()> {
    let back: Vec<String> = (0..10).map(|n| format!("back-{n}")).collect();
    let back: Vec<&str> = back.iter().map(String::as_str).collect();
    let server = eager()
        .arg("blocking.threshold-seconds", PATIENCE_S)
        .arg("blocking.warm-up-seconds", PATIENCE_S)
        .arg("blocking.interval-seconds", 0)
        .start()?;
    let mut conn = server.client()?;
    for id in back.iter().copied().chain(["dead"]) {
        write_pair(&mut conn, id, OLD_MS)?;
    }
    set(&mut conn, "interval-seconds", 1)?;
    for line in ["CONFIG REWRITE", "SAVE"] {
        run(&mut conn, line)?;
    }
    let began = Instant::now();
    server.restart()?;
    let mut conn = server.client()?;
    ensure!(left(&mut conn, &back)? == 20, "the file was not loaded");
    // They come back one by one, all of them before it is over.
    for id in &back {
        let now_ms = server_now_ms(&mut conn)?;
        write_beat(&mut conn, id, now_ms)?;
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut longest_gap = began.elapsed();
    let mut last_beats = Instant::now();
    // Rounds in which the dead one is gone, so that the living were judged, too.
    let mut rounds_without_him = 0;
    while rounds_without_him < 50 {
        ensure!(began.elapsed() < DEADLINE, "the dead one is still there");
        for id in &back {
            let now_ms = server_now_ms(&mut conn)?;
            write_beat(&mut conn, id, now_ms)?;
        }
        longest_gap = longest_gap.max(last_beats.elapsed());
        last_beats = Instant::now();
        rounds_without_him += u32::from(left(&mut conn, &["dead"])? == 0);
        std::thread::sleep(Duration::from_millis(20));
    }
    let kept = left(&mut conn, &back)?;
    let log = server.log();
    ensure!(
        kept == 20,
        "{kept} of 20 keys are left; the longest time without beats was {longest_gap:?}; {log}"
    );
    ensure!(began.elapsed() >= Duration::from_secs(PATIENCE_S));
    assert_healthy(&server)
}

fn write_beat(conn: &mut Connection, id: &str, now_ms: i64) -> Result<()> {
    super::write(conn, &format!("blocking:heartbeat:{id}"), now_ms)
}

#[test]
fn loading_another_data_set_begins_it_anew() -> Result<()> {
    let server = eager().start()?;
    let mut conn = server.client()?;
    more_runs(&mut conn, 1)?;
    set(&mut conn, "warm-up-seconds", 5)?;
    wait_for_value(
        "the warm-up",
        DEADLINE,
        || info(&mut conn, "warm_up_left_s"),
        |left| *left == 0,
    )?;
    set(&mut conn, "interval-seconds", 0)?;
    write_pair(&mut conn, "dead", OLD_MS)?;
    run(&mut conn, "DEBUG RELOAD")?;
    let began = Instant::now();
    set(&mut conn, "interval-seconds", 1)?;
    ensure!(info(&mut conn, "warm_up_left_s")? > 0);
    until(&mut conn, began, 1)?;
    wait_until_gone(&mut conn, DEAD)
}

#[test]
fn a_replica_leaves_everything_alone_and_a_promoted_one_waits() -> Result<()> {
    let primary = Server::start()?;
    let mut there = primary.client()?;
    write_pair(&mut there, "dead", OLD_MS)?;
    let replica = eager()
        .arg("blocking.warm-up-seconds", 6)
        // A replica that may be written to is one all the same.
        .arg("replica-read-only", "no")
        .replica_of(&primary)
        .start()?;
    replica.wait_in_sync_with(&primary)?;
    let mut conn = replica.client()?;
    wait_for_value(
        "the warm-up after the first load",
        DEADLINE,
        || info(&mut conn, "warm_up_left_s"),
        |left| *left == 0,
    )?;
    until(&mut conn, Instant::now(), 2)?;
    ensure!(info(&mut conn, "schedule_on")? == 0);
    ensure!(info(&mut conn, "schedule_runs")? == 0);
    let promoted = Instant::now();
    run(&mut conn, "REPLICAOF NO ONE")?;
    ensure!((4..=6).contains(&info(&mut conn, "warm_up_left_s")?));
    until(&mut conn, promoted, 2)?;
    wait_until_gone(&mut conn, DEAD)?;
    ensure!(promoted.elapsed() >= Duration::from_secs(6));
    // And back: the schedule stops.
    run(
        &mut conn,
        &format!("REPLICAOF 127.0.0.1 {}", primary.port()),
    )?;
    replica.wait_in_sync_with(&primary)?;
    wait_for_value(
        "the schedule to stop",
        DEADLINE,
        || info(&mut conn, "schedule_on"),
        |on| *on == 0,
    )?;
    ensure!(left(&mut conn, &["dead"])? == 2);
    assert_healthy(&replica)
}

/// A process that is stopped, a machine that is suspended: the server was away without being restarted.
#[test]
fn a_standstill_begins_it_anew() -> Result<()> {
    let server = eager()
        .arg("blocking.threshold-seconds", 2)
        .arg("blocking.warm-up-seconds", 6)
        .start()?;
    let mut conn = server.client()?;
    wait_for_value(
        "the warm-up",
        DEADLINE,
        || info(&mut conn, "warm_up_left_s"),
        |left| *left == 0,
    )?;
    more_runs(&mut conn, 1)?;
    let now_ms = server_now_ms(&mut conn)?;
    write_pair(&mut conn, "lives", now_ms)?;
    server.freeze()?;
    std::thread::sleep(Duration::from_millis(5_500));
    server.thaw()?;
    wait_for_value(
        "another warm-up",
        DEADLINE,
        || info(&mut conn, "warm_up_left_s"),
        |left| *left > 0,
    )?;
    let now_ms = server_now_ms(&mut conn)?;
    write_beat(&mut conn, "lives", now_ms)?;
    ensure!(
        left(&mut conn, &["lives"])? == 2,
        "it was judged by a clock that stood"
    );
    let () = redis::cmd("DEL")
        .arg("blocking:heartbeat:lives")
        .query(&mut conn)?;
    assert_healthy(&server)
}

/// Heartbeats that expire while the server stands still leave orphans of the living behind.
#[test]
fn a_standstill_ends_the_run_under_way() -> Result<()> {
    let server = eager()
        .arg("blocking.interval-seconds", 0)
        .arg("blocking.orphan-grace-seconds", 2)
        .start()?;
    let mut conn = server.client()?;
    let world = World::load_sized(&mut conn, 0, 0, 20_000)?;
    let lives: Vec<String> = (0..20).map(|n| format!("lives-{n}")).collect();
    let slow = Slow::start(&server)?;
    write_orphans_to_be(&mut conn, &lives)?;
    set(&mut conn, "interval-seconds", 1)?;
    wait_for_scheduled(&mut conn, "collecting")?;
    // From the standstill on, so that nothing else can begin.
    set(&mut conn, "warm-up-seconds", 3_600)?;
    write_orphans_to_be(&mut conn, &lives)?;
    server.freeze()?;
    std::thread::sleep(Duration::from_millis(5_500));
    server.thaw()?;
    drop(slow);
    let last = wait_until_idle(&mut conn)?;
    let why = "the server stood still, or its clock was set forward";
    ensure!(last.text("status")? == "interrupted", "{last:?}");
    ensure!(last.text("reason")? == why, "{last:?}");
    assert_signals_are_there(&mut conn, &lives)?;
    world.assert_others_are_whole(&mut conn)?;
    assert_healthy(&server)
}

/// With a short grace a short standstill is enough.
#[test]
fn what_a_standstill_is_follows_the_grace_of_orphans() -> Result<()> {
    let server = eager()
        .arg("blocking.warm-up-seconds", 8)
        .arg("blocking.orphan-grace-seconds", 2)
        .start()?;
    let mut conn = server.client()?;
    more_runs(&mut conn, 1)?;
    let lives = ["lives-0".to_owned(), "lives-1".to_owned()];
    write_orphans_to_be(&mut conn, &lives)?;
    server.freeze()?;
    std::thread::sleep(Duration::from_millis(5_500));
    server.thaw()?;
    wait_for_value(
        "another warm-up",
        DEADLINE,
        || info(&mut conn, "warm_up_left_s"),
        |left| *left > 0,
    )?;
    assert_signals_are_there(&mut conn, &lives)
}

/// No coordinator could beat while writes were paused, so it was a standstill for all that live.
#[test]
fn a_long_pause_of_writes_is_a_standstill() -> Result<()> {
    let server = eager().arg("blocking.orphan-grace-seconds", 2).start()?;
    let mut conn = server.client()?;
    more_runs(&mut conn, 1)?;
    let lives: Vec<String> = (0..20).map(|n| format!("lives-{n}")).collect();
    write_orphans_to_be(&mut conn, &lives)?;
    run(&mut conn, "CLIENT PAUSE 5500 WRITE")?;
    set(&mut conn, "warm-up-seconds", 8)?;
    let began = Instant::now();
    wait_for_value(
        "a warm-up after the pause",
        DEADLINE,
        || Ok((began.elapsed(), info(&mut conn, "warm_up_left_s")?)),
        |(elapsed, left_s)| *elapsed > Duration::from_secs(5) && *left_s > 0,
    )?;
    assert_signals_are_there(&mut conn, &lives)?;
    assert_healthy(&server)
}

/// A client that cannot write cannot beat, and when it can again the next round must not come first.
#[test]
fn a_server_that_refuses_writes_is_not_judged() -> Result<()> {
    let server = eager()
        .arg("blocking.orphan-grace-seconds", 2)
        .arg("blocking.dry-run", "yes")
        .start()?;
    let mut conn = server.client()?;
    more_runs(&mut conn, 1)?;
    let refusals = [
        ("maxmemory", "1", "0", "OOM"),
        ("min-replicas-to-write", "1", "0", "NOREPLICAS"),
    ];
    for (setting, refuses, accepts, code) in refusals {
        set(&mut conn, "warm-up-seconds", 0)?;
        let lives: Vec<String> = (0..20).map(|n| format!("lives-{n}")).collect();
        write_orphans_to_be(&mut conn, &lives)?;
        run(&mut conn, &format!("CONFIG SET {setting} {refuses}"))?;
        wait_for_value(
            "a warm-up",
            DEADLINE,
            || {
                set(&mut conn, "warm-up-seconds", 3_600)?;
                let left_s = info(&mut conn, "warm_up_left_s")?;
                set(&mut conn, "warm-up-seconds", 1)?;
                Ok(left_s)
            },
            |left_s| *left_s >= 3_600,
        )?;
        set(&mut conn, "dry-run", "no")?;
        let runs = info(&mut conn, "schedule_runs")?;
        // Longer than their heartbeats last.
        std::thread::sleep(Duration::from_millis(4_500));
        ensure!(
            info(&mut conn, "schedule_runs")? == runs,
            "{code}: it judged"
        );
        let refusal = super::schedule(&mut conn)?.text("writes_refused")?;
        ensure!(refusal.starts_with(code), "{refusal}");
        set(&mut conn, "warm-up-seconds", 3_600)?;
        run(&mut conn, &format!("CONFIG SET {setting} {accepts}"))?;
        assert_signals_are_there(&mut conn, &lives)?;
        set(&mut conn, "dry-run", "yes")?;
    }
    ensure!(
        !redis::cmd("EXISTS")
            .arg("blocking:probe")
            .query::<bool>(&mut conn)?
    );
    assert_healthy(&server)
}

/// Coordinators whose heartbeat expires soon, each with a signal that is old.
fn write_orphans_to_be(conn: &mut Connection, ids: &[String]) -> Result<()> {
    let now_ms = server_now_ms(conn)?;
    for id in ids {
        let heartbeat = format!("blocking:heartbeat:{id}");
        redis::cmd("SET")
            .arg((heartbeat, now_ms, "PX", 4_000))
            .exec(conn)?;
        let signal = format!(r#"{{"timestamp":{OLD_MS}}}"#);
        super::write(conn, &format!("blocking:signal:{id}"), signal)?;
    }
    Ok(())
}

fn assert_signals_are_there(conn: &mut Connection, ids: &[String]) -> Result<()> {
    let keys: Vec<String> = ids
        .iter()
        .map(|id| format!("blocking:signal:{id}"))
        .collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let there = super::exists(conn, &keys)?;
    ensure!(
        there == keys.len() as i64,
        "{there} of {} are left",
        keys.len()
    );
    Ok(())
}
