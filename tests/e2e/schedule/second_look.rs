//! A coordinator goes only if two runs saw the same bytes in its heartbeat.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use blocking_harness::redis::Connection;
use blocking_harness::{Server, TOO_LATE, cleanup, wait_for_value};

use super::{
    DEADLINE, OLD_MS, eager, exists, info, left, more_runs, set, status, wait_for_scheduled,
    wait_until_gone, write, write_pair,
};
use crate::environment::long_run::{Slow, World, assert_healthy, run};

fn start() -> Result<Server> {
    eager().arg("blocking.second-look", "yes").start()
}

fn last_waiting(conn: &mut Connection) -> Result<()> {
    wait_for_value(
        "a run that waits",
        DEADLINE,
        || status(conn),
        |status| {
            let last = status.map("last");
            last.and_then(|last| last.int("coordinators_waiting"))
                .is_ok_and(|waiting| waiting > 0)
        },
    )
    .map(drop)
}

#[test]
fn the_first_run_looks_and_the_second_removes() -> Result<()> {
    let server = start()?;
    let mut conn = server.client()?;
    more_runs(&mut conn, 1)?;
    write_pair(&mut conn, "dead", OLD_MS)?;
    last_waiting(&mut conn)?;
    ensure!(left(&mut conn, &["dead"])? == 2);
    ensure!(info(&mut conn, "schedule_remembered")? == 1);
    ensure!(info(&mut conn, "last_coordinators_waiting")? == 1);
    ensure!(info(&mut conn, "last_coordinators_stale")? == 1);
    wait_until_gone(&mut conn, "blocking:heartbeat:dead")?;
    ensure!(left(&mut conn, &["dead"])? == 0);
    more_runs(&mut conn, 2)?;
    ensure!(info(&mut conn, "schedule_remembered")? == 0);
    // A manual run does not wait.
    set(&mut conn, "interval-seconds", 3_600)?;
    write_pair(&mut conn, "dead", OLD_MS)?;
    let reply = cleanup(&mut conn, &[])?;
    ensure!(reply.int("keys_removed")? == 2, "{reply:?}");
    Ok(())
}

/// Its clock stands, or counts in an unknown unit; but every beat is another value.
#[test]
fn a_coordinator_that_goes_on_writing_lives_whatever_its_clock_says() -> Result<()> {
    let server = start()?;
    let mut conn = server.client()?;
    write_pair(&mut conn, "dead", OLD_MS)?;
    let shared = "blocking:idempotency:dead:skewed:done:1:1";
    write(&mut conn, shared, 1)?;
    write_pair(&mut conn, "skewed", OLD_MS)?;
    // Short values are read in another way than long ones.
    let padding = "x".repeat(300);
    let began = Instant::now();
    let mut beats = 0;
    while began.elapsed() < Duration::from_secs(6) {
        beats += 1;
        write(&mut conn, "blocking:heartbeat:skewed", OLD_MS + beats)?;
        for (id, padding) in [("stands", ""), ("long", padding.as_str())] {
            let beat = format!(r#"{{"timestamp":{OLD_MS},"beat":{beats},"padding":"{padding}"}}"#);
            write(&mut conn, &format!("blocking:heartbeat:{id}"), beat)?;
            write(&mut conn, &format!("blocking:signal:{id}"), "x")?;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    ensure!(info(&mut conn, "schedule_runs")? >= 4);
    ensure!(left(&mut conn, &["skewed", "stands", "long"])? == 6);
    ensure!(left(&mut conn, &["dead"])? == 0);
    ensure!(
        exists(&mut conn, &[shared])? == 1,
        "a waiting one protects like a living one"
    );
    ensure!(info(&mut conn, "last_coordinators_waiting")? == 3);
    // When they stop they go.
    for id in ["skewed", "stands", "long"] {
        wait_until_gone(&mut conn, &format!("blocking:heartbeat:{id}"))?;
    }
    assert_healthy(&server)
}

#[test]
fn a_trial_period_says_what_the_second_look_lets_go() -> Result<()> {
    let server = eager()
        .arg("blocking.second-look", "yes")
        .arg("blocking.dry-run", "yes")
        .start()?;
    let mut conn = server.client()?;
    more_runs(&mut conn, 1)?;
    write_pair(&mut conn, "dead", OLD_MS)?;
    last_waiting(&mut conn)?;
    let last = status(&mut conn)?.map("last")?;
    if last.get("coordinators_waiting").is_some() {
        ensure!(last.int("keys_removed")? == 0, "{last:?}");
    }
    let last = more_runs(&mut conn, 2)?;
    ensure!(last.int("keys_removed")? == 2, "{last:?}");
    ensure!(left(&mut conn, &["dead"])? == 2);
    Ok(())
}

#[test]
fn what_was_seen_goes_with_the_data() -> Result<()> {
    let server = eager()
        .arg("blocking.second-look", "yes")
        .arg("blocking.dry-run", "yes")
        .arg("blocking.databases", "\"0 1\"")
        .start()?;
    let mut conn = server.client()?;
    let mut other = server.client_db(1)?;
    let remembered = |conn: &mut Connection, count: u64| {
        wait_for_value(
            "coordinators to be remembered",
            DEADLINE,
            || info(conn, "schedule_remembered"),
            |seen| *seen == count,
        )
    };
    for (command, left) in [
        ("FLUSHDB", 1),
        ("SWAPDB 0 1", 0),
        ("FLUSHALL", 0),
        ("DEBUG RELOAD", 0),
    ] {
        set(&mut conn, "interval-seconds", 1)?;
        write_pair(&mut conn, "dead", OLD_MS)?;
        write_pair(&mut other, "dead", OLD_MS)?;
        remembered(&mut conn, 2)?;
        // A round that is on now would look again at once.
        set(&mut conn, "interval-seconds", 3_600)?;
        remembered(&mut conn, 2)?;
        run(&mut conn, command)?;
        ensure!(info(&mut conn, "schedule_remembered")? == left, "{command}");
        set(&mut conn, "interval-seconds", 0)?;
    }
    Ok(())
}

/// Between the plan and the removal the value changes, though not to a time that looks alive.
#[test]
fn a_value_that_changes_before_its_turn_is_a_sign_of_life() -> Result<()> {
    let server = start()?;
    let mut conn = server.client()?;
    set(&mut conn, "interval-seconds", 0)?;
    let world = World::load(&mut conn)?;
    set(&mut conn, "interval-seconds", 1)?;
    last_waiting(&mut conn)?;
    let slow = Slow::start(&server)?;
    wait_for_scheduled(&mut conn, "reaping")?;
    slow.hold();
    let late = world.dead.len() - 1;
    let keys = world.dead.family_keys(late);
    let name = String::from_utf8_lossy(&keys[0]).into_owned();
    ensure!(exists(&mut conn, &[&name])? == 1, "{TOO_LATE}");
    write(&mut conn, &name, OLD_MS)?;
    set(&mut conn, "interval-seconds", 0)?;
    drop(slow);
    let last = crate::environment::long_run::wait_until_idle(&mut conn)?;
    ensure!(last.int("coordinators_revived")? == 1, "{last:?}");
    let there = blocking_harness::existing_keys(&mut conn, keys)?;
    ensure!(there.len() >= 5, "{there:?}");
    world.assert_others_are_whole(&mut conn)
}

/// Sets one interval after the other, each of which begins with a round at random, until that is about to come.
fn hasten(conn: &mut Connection) -> Result<()> {
    for interval_s in [60, 61].into_iter().cycle() {
        set(conn, "interval-seconds", interval_s)?;
        // The server looks at it ten times a second.
        std::thread::sleep(Duration::from_millis(250));
        if info(conn, "schedule_next_run_s")? <= 4 {
            break;
        }
    }
    Ok(())
}

/// A coordinator that writes times that look old must have had the time to write once more.
#[test]
fn a_moment_after_the_first_look_is_no_second_look() -> Result<()> {
    for _ in 0..5 {
        let server = start()?;
        let mut conn = server.client()?;
        set(&mut conn, "interval-seconds", 3_600)?;
        write_pair(&mut conn, "skewed", OLD_MS)?;
        hasten(&mut conn)?;
        more_runs(&mut conn, 1)?;
        let first = Instant::now();
        hasten(&mut conn)?;
        let last = more_runs(&mut conn, 1)?;
        // Half an interval is thirty seconds.
        if first.elapsed() < Duration::from_secs(25) {
            ensure!(last.int("keys_removed")? == 0, "{last:?}");
            ensure!(last.int("coordinators_waiting")? == 1, "{last:?}");
            return Ok(());
        }
    }
    bail!(TOO_LATE)
}
