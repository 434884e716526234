//! A scheduled run meets what every run meets: pauses, flushes, replicas, files.

use std::time::Duration;

use anyhow::{Result, ensure};
use blocking_harness::{Server, digest, wait_for_value};

use super::{
    DEADLINE, OLD_MS, eager, info, left, lines, set, status, wait_for_scheduled, wait_until_gone,
    write_pair,
};
use crate::environment::long_run::{Slow, World, assert_healthy, run};

#[test]
fn paused_writes_hold_it_up() -> Result<()> {
    let server = eager()
        .aof(true)
        .arg("blocking.interval-seconds", 0)
        .start()?;
    let mut conn = server.client()?;
    write_pair(&mut conn, "dead", OLD_MS)?;
    set(&mut conn, "interval-seconds", 1)?;
    run(&mut conn, "CLIENT PAUSE 60000 WRITE")?;
    wait_for_value(
        "a paused run",
        DEADLINE,
        || status(&mut conn)?.text("state"),
        |state| state == "paused",
    )?;
    std::thread::sleep(Duration::from_millis(2_200));
    ensure!(left(&mut conn, &["dead"])? == 2);
    ensure!(info(&mut conn, "schedule_skipped")? >= 1);
    run(&mut conn, "CLIENT UNPAUSE")?;
    wait_until_gone(&mut conn, "blocking:heartbeat:dead")?;
    assert_healthy(&server)
}

#[test]
fn a_flush_ends_it_and_the_next_round_comes_all_the_same() -> Result<()> {
    for state in ["collecting", "reaping"] {
        let server = eager().arg("blocking.interval-seconds", 0).start()?;
        let mut conn = server.client()?;
        World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        set(&mut conn, "interval-seconds", 1)?;
        wait_for_scheduled(&mut conn, state)?;
        slow.hold();
        run(&mut conn, "FLUSHALL")?;
        write_pair(&mut conn, "new", OLD_MS)?;
        drop(slow);
        wait_until_gone(&mut conn, "blocking:heartbeat:new")?;
        let lines = lines(&server);
        let why = "interrupted (the database was flushed)";
        ensure!(lines[0].contains(why), "{state}: {lines:?}");
        assert_healthy(&server)?;
    }
    Ok(())
}

#[test]
fn removals_arrive_at_the_replica_and_in_the_file() -> Result<()> {
    let server = eager()
        .aof(true)
        .arg("blocking.databases", "\"0 1\"")
        .start()?;
    let replica = Server::builder().replica_of(&server).start()?;
    replica.wait_in_sync_with(&server)?;
    let mut conn = server.client()?;
    let mut other = server.client_db(1)?;
    let world = World::load_sized(&mut conn, 50, 10, 50)?;
    write_pair(&mut other, "dead", OLD_MS)?;
    wait_for_value(
        "the dead to vanish",
        DEADLINE,
        || world.dead_keys_left(&mut conn),
        |left| *left == 0,
    )?;
    wait_until_gone(&mut other, "blocking:heartbeat:dead")?;
    set(&mut conn, "interval-seconds", 0)?;
    replica.wait_in_sync_with(&server)?;
    let mut there = replica.client()?;
    let before = digest(&mut conn)?;
    ensure!(digest(&mut there)? == before);
    // Nothing comes back, and what the file holds is what the server had.
    run(&mut conn, "CONFIG REWRITE")?;
    server.restart()?;
    let mut conn = server.client()?;
    ensure!(digest(&mut conn)? == before);
    world.assert_others_are_whole(&mut conn)?;
    ensure!(left(&mut server.client_db(1)?, &["dead"])? == 0);
    assert_healthy(&replica)
}
