//! The data set is not the one the run began on: it ends as interrupted, and what is there now is left alone.

use anyhow::{Result, ensure};
use blocking_harness::{Server, redis, wait_until};
use redis::Connection;

use super::long_run::{
    Caller, DEADLINE, MOMENTS, Moment, Slow, World, assert_healthy, ended, ending, run, wait_for,
    wait_until_idle,
};

const FLUSHED: &str = "the database was flushed";
const SWAPPED: &str = "the database was swapped";

/// Acts in the middle of a run in database 0 with a caller waiting; yields how the caller was told it ended.
fn act_during_a_run(
    server: &Server,
    conn: &mut Connection,
    moment: Moment,
    act: &str,
) -> Result<(String, Option<String>)> {
    let slow = Slow::start(server)?;
    let caller = Caller::start(server, &[])?;
    wait_for(conn, moment)?;
    run(conn, act)?;
    drop(slow);
    let reply = caller.answer()?;
    let last = wait_until_idle(conn)?;
    ensure!(
        reply == last,
        "the caller and STATUS disagree: {reply:?} {last:?}"
    );
    ending(&reply)
}

#[test]
fn a_flush_of_its_database_ends_the_run() -> Result<()> {
    let server = Server::builder().aof(true).start()?;
    let mut conn = server.client()?;
    for (moment, flushes) in [
        (Moment::Collecting, ["FLUSHALL ASYNC", "FLUSHDB"]),
        (Moment::Reaping, ["FLUSHALL", "FLUSHDB ASYNC"]),
    ] {
        for flush in flushes {
            World::load(&mut conn)?;
            let end = act_during_a_run(&server, &mut conn, moment, flush)?;
            ensure!(
                end == ended("interrupted", FLUSHED),
                "{moment:?}, {flush}: {end:?}"
            );
        }
    }
    // The next run is a run like any other.
    let world = World::load_sized(&mut conn, 10, 10, 10)?;
    world.assert_next_run_does_the_rest(&mut conn)?;
    assert_healthy(&server)
}

#[test]
fn data_written_after_a_flush_is_left_alone() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    World::load(&mut conn)?;
    let slow = Slow::start(&server)?;
    let caller = Caller::start(&server, &[])?;
    wait_for(&mut conn, Moment::Reaping)?;
    // In one transaction, so that no slice comes in between: the same names, now of another data set.
    let heartbeat = r#"{"timestamp":1}"#;
    let () = redis::pipe()
        .atomic()
        .cmd("FLUSHDB")
        .ignore()
        .cmd("SET")
        .arg("blocking:heartbeat:dead-00699")
        .arg(heartbeat)
        .ignore()
        .cmd("SET")
        .arg("blocking:signal:dead-00699")
        .arg("new")
        .ignore()
        .query(&mut conn)?;
    drop(slow);
    let end = ending(&caller.answer()?)?;
    ensure!(end == ended("interrupted", FLUSHED), "{end:?}");
    let left: Vec<Option<String>> = redis::cmd("MGET")
        .arg(&[
            "blocking:heartbeat:dead-00699",
            "blocking:signal:dead-00699",
        ])
        .query(&mut conn)?;
    ensure!(
        left == [Some(heartbeat.to_owned()), Some("new".to_owned())],
        "{left:?}"
    );
    assert_healthy(&server)
}

#[test]
fn a_flush_of_another_database_does_not_concern_the_run() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let mut other = server.client_db(5)?;
    for moment in MOMENTS {
        let world = World::load(&mut conn)?;
        World::load_sized(&mut other, 10, 10, 10)?;
        let slow = Slow::start(&server)?;
        let caller = Caller::start(&server, &[])?;
        wait_for(&mut conn, moment)?;
        run(&mut other, "FLUSHDB")?;
        run(&mut other, "SWAPDB 4 5")?;
        drop(slow);
        let reply = caller.answer()?;
        ensure!(
            ending(&reply)? == ("complete".to_owned(), None),
            "{moment:?}: {reply:?}"
        );
        ensure!(
            reply.int("keys_removed")? == world.dead_keys() as i64,
            "{reply:?}"
        );
        ensure!(world.dead_keys_left(&mut conn)? == 0);
        world.assert_others_are_whole(&mut conn)?;
    }
    assert_healthy(&server)
}

#[test]
fn a_swap_of_its_database_ends_the_run_and_both_databases_keep_their_keys() -> Result<()> {
    for (moment, swap) in MOMENTS.into_iter().zip(["SWAPDB 0 1", "SWAPDB 1 0"]) {
        let server = Server::builder().aof(true).start()?;
        let (mut conn, mut other) = (server.client()?, server.client_db(1)?);
        let world = World::load(&mut conn)?;
        // The same names over there: a run that went on after the swap would find them.
        let stranger = World::load_sized(&mut other, 800, 10, 10)?;
        let end = act_during_a_run(&server, &mut conn, moment, swap)?;
        ensure!(
            end == ended("interrupted", SWAPPED),
            "{moment:?}, {swap}: {end:?}"
        );
        ensure!(stranger.dead_keys_left(&mut conn)? == stranger.dead_keys());
        stranger.assert_others_are_whole(&mut conn)?;
        world.assert_others_are_whole(&mut other)?;
        world.assert_next_run_does_the_rest(&mut other)?;
        stranger.assert_next_run_does_the_rest(&mut conn)?;
        assert_healthy(&server)?;
    }
    Ok(())
}

#[test]
fn a_reload_ends_the_run_and_loses_nothing() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    for moment in MOMENTS {
        let world = World::load(&mut conn)?;
        let (status, reason) = act_during_a_run(&server, &mut conn, moment, "DEBUG RELOAD")?;
        ensure!(status == "interrupted", "{moment:?}: {status} {reason:?}");
        // A reload empties the databases first.
        let reason = reason.unwrap_or_default();
        let known = [FLUSHED, "the server loaded another data set"];
        ensure!(known.contains(&reason.as_str()), "{moment:?}: {reason}");
        world.assert_next_run_does_the_rest(&mut conn)?;
    }
    assert_healthy(&server)
}

#[test]
fn becoming_a_replica_ends_the_run() -> Result<()> {
    for moment in MOMENTS {
        let server = Server::builder().aof(true).start()?;
        let mut conn = server.client()?;
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        run(&mut conn, "BLOCKING.CLEANUP ASYNC")?;
        wait_for(&mut conn, moment)?;
        // Nobody listens there, so the data stays as the run has left it.
        run(&mut conn, "REPLICAOF 127.0.0.1 1")?;
        let last = wait_until_idle(&mut conn)?;
        drop(slow);
        ensure!(
            ending(&last)? == ended("interrupted", "the server's role changed"),
            "{moment:?}: {last:?}"
        );
        run(&mut conn, "REPLICAOF NO ONE")?;
        world.assert_next_run_does_the_rest(&mut conn)?;
        assert_healthy(&server)?;
    }
    Ok(())
}

#[test]
fn a_full_resync_ends_the_run_and_the_new_data_is_whole() -> Result<()> {
    let other = Server::start()?;
    let mut there = other.client()?;
    let given = World::load_sized(&mut there, 900, 10, 10)?;
    for diskless_load in ["disabled", "swapdb"] {
        let server = Server::builder()
            .aof(true)
            .arg("repl-diskless-load", diskless_load)
            .start()?;
        let mut conn = server.client()?;
        World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        let caller = Caller::start(&server, &[])?;
        wait_for(&mut conn, Moment::Reaping)?;
        run(&mut conn, &format!("REPLICAOF 127.0.0.1 {}", other.port()))?;
        let error = caller.answer().expect_err("no answer from a replica");
        ensure!(error.code() == Some("UNBLOCKED"), "{error}");
        server.wait_in_sync_with(&other)?;
        let last = wait_until_idle(&mut conn)?;
        drop(slow);
        ensure!(last.text("status")? != "complete", "{last:?}");
        let idle = wait_until("the same keys on both sides", DEADLINE, || {
            let size = |conn: &mut Connection| redis::cmd("DBSIZE").query::<i64>(conn).ok();
            (size(&mut conn) == size(&mut there)).then_some(())
        });
        idle?;
        ensure!(given.dead_keys_left(&mut conn)? == given.dead_keys());
        given.assert_others_are_whole(&mut conn)?;
        assert_healthy(&server)?;
    }
    assert_healthy(&other)
}
