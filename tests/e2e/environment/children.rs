//! A child process saves the data set or rewrites the log, slowly, while a run goes on: both finish, and what the child
//! wrote is a data set from which the next run goes on.

use std::fs;

use anyhow::{Result, bail, ensure};
use blocking_harness::{
    Figure, Server, TOO_LATE, cleanup_async, digest, info_field, redis, tally, wait_for_value,
};
use redis::Connection;

use super::long_run::{
    DEADLINE, Slow, World, assert_healthy, ending, removing, run, runs, status, wait_until_idle,
};

/// How long the child rests after every key, so that it is at work for a second or more.
const KEY_DELAY_US: u32 = 100;

fn is_at_work(conn: &mut Connection, field: &str) -> Result<bool> {
    Ok(info_field(conn, "persistence", field)? == "1")
}

/// Keys that the run under way has removed; `None` if none is on.
fn removed(conn: &mut Connection) -> Result<Option<i64>> {
    let status = status(conn)?;
    let current = status.map("current").ok();
    current.map(|run| run.int("keys_removed")).transpose()
}

/// Whether the run removes keys from now on and the child is at work even then.
fn keys_go_while(conn: &mut Connection, at_work: &str) -> Result<bool> {
    let before = removed(conn)?;
    let look = || removed(conn);
    let more = |now: &Option<i64>| now.is_none() || *now > before;
    let after = wait_for_value("keys to go", DEADLINE, look, more)?;
    Ok(after.is_some() && is_at_work(conn, at_work)?)
}

/// Starts a run, and in the middle of it `command`; sees that the run removes keys while the child is at work, and
/// waits for the child. Begins anew where the run was over too early.
fn child_in_a_run(
    server: &Server,
    conn: &mut Connection,
    command: &str,
    at_work: &str,
) -> Result<(World, Slow)> {
    run(
        conn,
        &format!("CONFIG SET rdb-key-save-delay {KEY_DELAY_US}"),
    )?;
    for _ in 0..20 {
        let world = World::load(conn)?;
        let slow = Slow::start(server)?;
        let before = runs(conn)?;
        cleanup_async(conn, &[])?;
        let met = removing(conn, before)?.is_some() && {
            run(conn, command)?;
            keys_go_while(conn, at_work)?
        };
        let look = || is_at_work(conn, at_work);
        wait_for_value("the child's end", DEADLINE, look, |still| !still)?;
        if met {
            return Ok((world, slow));
        }
        wait_until_idle(conn)?;
    }
    bail!("{TOO_LATE}, every time")
}

#[test]
fn a_snapshot_taken_in_the_middle_of_a_run_is_one_to_go_on_from() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let (world, slow) = child_in_a_run(&server, &mut conn, "BGSAVE", "rdb_bgsave_in_progress")?;
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
    let (world, slow) = child_in_a_run(
        &server,
        &mut conn,
        "BGREWRITEAOF",
        "aof_rewrite_in_progress",
    )?;
    ensure!(info_field(&mut conn, "persistence", "aof_last_bgrewrite_status")? == "ok");
    drop(slow);
    let last = wait_until_idle(&mut conn)?;
    ensure!(ending(&last)? == ("complete".to_owned(), None), "{last:?}");
    let expected = digest(&mut conn)?;
    server.restart()?;
    conn = server.client()?;
    ensure!(digest(&mut conn)? == expected, "the log says otherwise");
    ensure!(world.dead_keys_left(&mut conn)? == 0);
    world.assert_others_are_whole(&mut conn)?;
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, 1)
}
