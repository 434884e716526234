//! A child process saves the data set or rewrites the log, slowly, while a run goes on: both finish, and what the child
//! wrote is a data set from which the next run goes on.

use std::fs;

use anyhow::{Result, ensure};
use blocking_harness::{Figure, Server, cleanup_async, info_field, redis, tally, wait_for_value};
use redis::Connection;

use super::long_run::{
    DEADLINE, Moment, Slow, World, assert_healthy, ending, run, status, wait_for, wait_until_idle,
};

/// How long the child rests after every key, so that it is at work for a second or more.
const KEY_DELAY_US: u32 = 100;

fn is_at_work(conn: &mut Connection, field: &str) -> Result<bool> {
    Ok(info_field(conn, "persistence", field)? == "1")
}

fn removed(conn: &mut Connection) -> Result<i64> {
    status(conn)?.map("current")?.int("keys_removed")
}

/// Starts `command`, and sees that the run removes keys while the child is at work.
fn keys_go_while(conn: &mut Connection, command: &str, at_work: &str) -> Result<()> {
    run(conn, command)?;
    let before = removed(conn)?;
    wait_for_value(
        "keys to go",
        DEADLINE,
        || removed(conn),
        |now| *now > before,
    )?;
    ensure!(is_at_work(conn, at_work)?, "{command} was over too early");
    let look = || is_at_work(conn, at_work);
    wait_for_value("the child's end", DEADLINE, look, |still| !still).map(drop)
}

fn slow_child(server: &Server, conn: &mut Connection) -> Result<(World, Slow)> {
    let world = World::load(conn)?;
    let delay = format!("CONFIG SET rdb-key-save-delay {KEY_DELAY_US}");
    run(conn, &delay)?;
    let slow = Slow::start(server)?;
    cleanup_async(conn, &[])?;
    wait_for(conn, Moment::Reaping)?;
    Ok((world, slow))
}

#[test]
fn a_snapshot_taken_in_the_middle_of_a_run_is_one_to_go_on_from() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let (world, slow) = slow_child(&server, &mut conn)?;
    keys_go_while(&mut conn, "BGSAVE", "rdb_bgsave_in_progress")?;
    ensure!(info_field(&mut conn, "persistence", "rdb_last_bgsave_status")? == "ok");
    drop(slow);
    let last = wait_until_idle(&mut conn)?;
    ensure!(ending(&last)? == ("complete".to_owned(), None), "{last:?}");
    world.assert_others_are_whole(&mut conn)?;
    ensure!(world.dead_keys_left(&mut conn)? == 0);

    let snapshot = server.dir().join("dump.rdb");
    let again = Server::start()?;
    fs::copy(snapshot, again.dir().join("dump.rdb"))?;
    again.restart()?;
    let mut conn = again.client()?;
    let left = world.dead_keys_left(&mut conn)?;
    ensure!(0 < left && left < world.dead_keys(), "{left} keys in it");
    world.assert_next_run_does_the_rest(&mut conn)?;
    assert_healthy(&again)?;
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, 1)
}

#[test]
fn a_log_rewritten_in_the_middle_of_a_run_says_what_the_server_has() -> Result<()> {
    let server = Server::builder()
        .aof(true)
        // A log that is never late: with a sync under way, the server may answer before it has written.
        .arg("appendfsync", "no")
        .start()?;
    let mut conn = server.client()?;
    let (world, slow) = slow_child(&server, &mut conn)?;
    keys_go_while(&mut conn, "BGREWRITEAOF", "aof_rewrite_in_progress")?;
    ensure!(info_field(&mut conn, "persistence", "aof_last_bgrewrite_status")? == "ok");
    drop(slow);
    let last = wait_until_idle(&mut conn)?;
    ensure!(ending(&last)? == ("complete".to_owned(), None), "{last:?}");
    let digest = |conn: &mut Connection| -> Result<String> {
        Ok(redis::cmd("DEBUG").arg("DIGEST").query(conn)?)
    };
    let expected = digest(&mut conn)?;
    server.restart()?;
    conn = server.client()?;
    ensure!(digest(&mut conn)? == expected, "the log says otherwise");
    ensure!(world.dead_keys_left(&mut conn)? == 0);
    world.assert_others_are_whole(&mut conn)?;
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, 1)
}
