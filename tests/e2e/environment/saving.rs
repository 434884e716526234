//! Saving, writes that the server refuses, and memory that has run out, all during a run.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use blocking_harness::{Figure, Server, cleanup, cleanup_async, digest, error_text, redis, tally};
use redis::Connection;

use super::long_run::{
    Caller, MOMENTS, Moment, Slow, World, assert_healthy, ending, run, state, wait_for_info,
};

#[test]
fn a_save_and_a_rewrite_of_the_log_go_along_with_a_run() -> Result<()> {
    let server = Server::builder()
        .aof(true)
        // A log that is never late: with a sync under way, the server may answer before it has written.
        .arg("appendfsync", "no")
        .start()?;
    let mut conn = server.client()?;
    for moment in MOMENTS {
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        let caller = Caller::start(&server, &[])?;
        slow.hold_at(&mut conn, moment)?;
        run(&mut conn, "BGSAVE")?;
        wait_for_info(&mut conn, "persistence", "rdb_bgsave_in_progress", "0")?;
        run(&mut conn, "BGREWRITEAOF")?;
        wait_for_info(&mut conn, "persistence", "aof_rewrite_in_progress", "0")?;
        drop(slow);
        let reply = caller.answer()?;
        ensure!(
            ending(&reply)? == ("complete".to_owned(), None),
            "{moment:?}: {reply:?}"
        );
        wait_for_info(&mut conn, "persistence", "rdb_last_bgsave_status", "ok")?;
        wait_for_info(&mut conn, "persistence", "aof_last_bgrewrite_status", "ok")?;
        let before = digest(&mut conn)?;
        server.restart()?;
        conn = server.client()?;
        ensure!(digest(&mut conn)? == before);
        ensure!(world.dead_keys_left(&mut conn)? == 0);
        world.assert_others_are_whole(&mut conn)?;
    }
    assert_healthy(&server)
}

/// Makes every save fail: the server's folder is not there any more.
fn make_saves_fail(conn: &mut Connection, dir: &Path) -> Result<()> {
    let gone = dir.join("gone");
    std::fs::create_dir(&gone)?;
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "dir"])
        .arg(gone.to_str().context("UTF-8")?)
        .query(conn)?;
    std::fs::remove_dir(&gone)?;
    run(conn, "BGSAVE")?;
    wait_for_info(conn, "persistence", "rdb_last_bgsave_status", "err")
}

fn make_saves_work(conn: &mut Connection, dir: &Path) -> Result<()> {
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "dir"])
        .arg(dir.to_str().context("UTF-8")?)
        .query(conn)?;
    run(conn, "BGSAVE")?;
    wait_for_info(conn, "persistence", "rdb_last_bgsave_status", "ok")
}

#[test]
fn a_failed_save_refuses_a_run_and_ends_one_under_way() -> Result<()> {
    let server = Server::builder()
        .arg("enable-protected-configs", "yes")
        .arg("save", "3600 100000000")
        .arg("stop-writes-on-bgsave-error", "yes")
        // The next run comes at once.
        .arg("blocking.warm-up-seconds", 0)
        .start()?;
    let mut conn = server.client()?;
    for moment in MOMENTS {
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        let caller = Caller::start(&server, &[])?;
        slow.hold_at(&mut conn, moment)?;
        make_saves_fail(&mut conn, server.dir())?;
        drop(slow);
        let reply = caller.answer()?;
        let (status, reason) = ending(&reply)?;
        ensure!(status == "interrupted", "{moment:?}: {reply:?}");
        ensure!(
            reason.is_some_and(|reason| reason.starts_with("MISCONF ")),
            "{reply:?}"
        );
        let gone = world.dead_keys() - world.dead_keys_left(&mut conn)?;
        ensure!(
            reply.int("keys_removed")? == gone as i64,
            "{gone} gone: {reply:?}"
        );
        let error = cleanup(&mut conn, &[]).unwrap_err();
        ensure!(error.code() == Some("MISCONF"), "{error}");
        make_saves_work(&mut conn, server.dir())?;
        world.assert_next_run_does_the_rest(&mut conn)?;
    }
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, MOMENTS.len() as u64)
}

#[test]
fn too_few_replicas_refuse_a_run_and_end_one_under_way() -> Result<()> {
    let server = Server::builder()
        .aof(true)
        .arg("blocking.warm-up-seconds", 0)
        .start()?;
    let mut conn = server.client()?;
    for moment in MOMENTS {
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        let caller = Caller::start(&server, &[])?;
        slow.hold_at(&mut conn, moment)?;
        run(&mut conn, "CONFIG SET min-replicas-to-write 1")?;
        drop(slow);
        let reply = caller.answer()?;
        let (status, reason) = ending(&reply)?;
        ensure!(status == "interrupted", "{moment:?}: {reply:?}");
        ensure!(
            reason.is_some_and(|reason| reason.starts_with("NOREPLICAS ")),
            "{reply:?}"
        );
        let error = cleanup(&mut conn, &[]).unwrap_err();
        ensure!(
            error_text(&error) == "NOREPLICAS Not enough good replicas to write.",
            "{error}"
        );
        ensure!(cleanup_async(&mut conn, &[]).is_err());
        ensure!(state(&mut conn)? == "idle");
        run(&mut conn, "CONFIG SET min-replicas-to-write 0")?;
        world.assert_next_run_does_the_rest(&mut conn)?;
    }
    assert_healthy(&server)
}

/// Cleaning up is what helps against a full memory, once an operator has made sure that no living coordinator looks
/// dead.
#[test]
fn a_full_memory_does_not_keep_a_run_from_its_work_that_was_told_to() -> Result<()> {
    let server = Server::builder().aof(true).start()?;
    let mut conn = server.client()?;
    for during in [false, true] {
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        let early = (!during).then(|| run(&mut conn, "CONFIG SET maxmemory 1mb"));
        early.transpose()?;
        let caller = Caller::start(&server, &["NOWARMUP"])?;
        slow.hold_at(&mut conn, Moment::Collecting)?;
        run(&mut conn, "CONFIG SET maxmemory 1mb")?;
        let refused = redis::cmd("SET")
            .arg(&["more", "1"])
            .query::<String>(&mut conn);
        ensure!(
            refused.is_err_and(|error| error.code() == Some("OOM")),
            "memory is not full"
        );
        drop(slow);
        let reply = caller.answer()?;
        ensure!(
            ending(&reply)? == ("complete".to_owned(), None),
            "{reply:?}"
        );
        ensure!(
            reply.int("keys_removed")? == world.dead_keys() as i64,
            "{reply:?}"
        );
        world.assert_others_are_whole(&mut conn)?;
        run(&mut conn, "CONFIG SET maxmemory 0")?;
    }
    assert_healthy(&server)
}
