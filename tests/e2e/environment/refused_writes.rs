//! The server refuses writes while a run is on, or before it: the append-only file cannot be written, a save has
//! failed, a replica that must be there is gone. The run ends with the server's own words, and the next one does the
//! rest.

use std::os::unix::fs::symlink;

use anyhow::{Context, Result, ensure};
use blocking_harness::{Figure, Server, cleanup, cleanup_async, digest, redis, tally};
use redis::Connection;

use super::long_run::{
    Caller, MOMENTS, Slow, World, assert_healthy, ending, run, state, wait_for_info,
};

/// The number of the file that the server is writing to.
fn log_number(server: &Server) -> Result<u32> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(server.dir().join("appendonlydir"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(number) = name.strip_prefix("appendonly.aof.")
            && let Some(number) = number.strip_suffix(".incr.aof")
        {
            numbers.push(number.parse()?);
        }
    }
    numbers.into_iter().max().context("no append-only file")
}

/// From now on the disk is full, as far as the append-only file is concerned: the next file of the log, which a rewrite
/// begins, is one that the system refuses to write to.
fn fill_disk(server: &Server, conn: &mut Connection) -> Result<()> {
    let next = format!("appendonly.aof.{}.incr.aof", log_number(server)? + 1);
    symlink("/dev/full", server.dir().join("appendonlydir").join(next))?;
    run(conn, "BGREWRITEAOF")?;
    wait_for_info(conn, "persistence", "aof_rewrite_in_progress", "0")
}

/// The file after that one is a plain file again, and has everything in front of it that the other has lost.
fn free_disk(conn: &mut Connection) -> Result<()> {
    run(conn, "BGREWRITEAOF")?;
    wait_for_info(conn, "persistence", "aof_rewrite_in_progress", "0")?;
    wait_for_info(conn, "persistence", "aof_last_bgrewrite_status", "ok")?;
    wait_for_info(conn, "persistence", "aof_last_write_status", "ok")
}

#[test]
fn a_log_that_cannot_be_written_refuses_a_run_and_ends_one_under_way() -> Result<()> {
    const REFUSAL: &str = "MISCONF Errors writing to the AOF file: No space left on device";
    let server = Server::builder()
        .aof(true)
        // The next run comes at once.
        .arg("blocking.warm-up-seconds", 0)
        // A log that is never late: with a sync under way, the server may answer before it has written.
        .arg("appendfsync", "no")
        .start()?;
    let mut conn = server.client()?;
    for moment in MOMENTS {
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        let caller = Caller::start(&server, &[])?;
        slow.hold_at(&mut conn, moment)?;
        fill_disk(&server, &mut conn)?;
        // The server finds out with the next write, be it the run's or a client's, which may be too late.
        let _ = run(&mut conn, "SET other 1");
        wait_for_info(&mut conn, "persistence", "aof_last_write_status", "err")?;
        drop(slow);
        let reply = caller.answer()?;
        let (status, reason) = ending(&reply)?;
        ensure!(status == "interrupted", "{moment:?}: {reply:?}");
        ensure!(reason.as_deref() == Some(REFUSAL), "{moment:?}: {reply:?}");
        let left = world.dead_keys_left(&mut conn)?;
        ensure!(left > 0, "{moment:?}: {reply:?}");
        let gone = (world.dead_keys() - left) as i64;
        ensure!(reply.int("keys_removed")? == gone, "{gone} gone: {reply:?}");
        for args in [&[][..], &["DRYRUN"], &["ASYNC"]] {
            let refused = cleanup(&mut conn, args).unwrap_err();
            ensure!(refused.code() == Some("MISCONF"), "{refused}");
        }
        ensure!(state(&mut conn)? == "idle");
        world.assert_heartbeats_went_last(&mut conn)?;
        free_disk(&mut conn)?;
        world.assert_next_run_does_the_rest(&mut conn)?;
        let before = digest(&mut conn)?;
        server.restart()?;
        conn = server.client()?;
        ensure!(digest(&mut conn)? == before, "the log says otherwise");
        run(&mut conn, "FLUSHALL")?;
    }
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, MOMENTS.len() as u64)
}

/// With a replica that is really there, and then is not.
#[test]
fn a_lost_replica_ends_a_run_that_needs_it() -> Result<()> {
    let server = Server::builder()
        .aof(true)
        .arg("min-replicas-to-write", 1)
        .arg("blocking.warm-up-seconds", 0)
        .start()?;
    let mut conn = server.client()?;
    for moment in MOMENTS {
        let replica = Server::builder().replica_of(&server).start()?;
        replica.wait_in_sync_with(&server)?;
        wait_for_info(&mut conn, "replication", "min_slaves_good_slaves", "1")?;
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        let caller = Caller::start(&server, &[])?;
        slow.hold_at(&mut conn, moment)?;
        replica.kill9()?;
        wait_for_info(&mut conn, "replication", "min_slaves_good_slaves", "0")?;
        drop(slow);
        let reply = caller.answer()?;
        let (status, reason) = ending(&reply)?;
        ensure!(status == "interrupted", "{moment:?}: {reply:?}");
        let reason = reason.context("no reason")?;
        ensure!(reason.starts_with("NOREPLICAS "), "{reason}");
        let gone = (world.dead_keys() - world.dead_keys_left(&mut conn)?) as i64;
        ensure!(reply.int("keys_removed")? == gone, "{gone} gone: {reply:?}");
        ensure!(cleanup_async(&mut conn, &[]).is_err());
        replica.restart()?;
        replica.wait_in_sync_with(&server)?;
        wait_for_info(&mut conn, "replication", "min_slaves_good_slaves", "1")?;
        world.assert_next_run_does_the_rest(&mut conn)?;
        replica.wait_in_sync_with(&server)?;
        ensure!(digest(&mut conn)? == digest(&mut replica.client()?)?);
        assert_healthy(&replica)?;
        drop(replica);
        wait_for_info(&mut conn, "replication", "connected_slaves", "0")?;
    }
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, MOMENTS.len() as u64)
}
