//! The data set is not the one the run began on: it ends as interrupted, and what is there now is left alone.

use anyhow::{Result, ensure};
use blocking_harness::{Figure, Server, dbsize, digest, redis, tally};
use redis::Connection;

use super::long_run::{
    Caller, MOMENTS, Moment, Slow, World, assert_healthy, ended, ending, run, wait_until_idle,
};

const FLUSHED: &str = "the database was flushed";
const SWAPPED: &str = "the database was swapped";
const LOADED: &str = "the server loaded another data set";

/// Acts in the middle of a run in database 0 with a caller waiting; yields how the caller was told it ended.
fn act_during_a_run(
    server: &Server,
    conn: &mut Connection,
    moment: Moment,
    act: &str,
) -> Result<(String, Option<String>)> {
    let slow = Slow::start(server)?;
    let caller = Caller::start(server, &[])?;
    slow.hold_at(conn, moment)?;
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

/// What the server holds is what its append-only file says, in every database.
fn assert_same_after_a_restart(server: &Server) -> Result<()> {
    let before = digest(&mut server.client()?)?;
    // A clean end: of the file's last second nothing else is promised.
    server.shutdown()?;
    server.restart()?;
    let after = digest(&mut server.client()?)?;
    ensure!(before == after, "another data set after the restart");
    Ok(())
}

#[test]
fn a_flush_of_its_database_ends_the_run() -> Result<()> {
    let server = Server::builder().aof(true).start()?;
    let mut conn = server.client()?;
    let mut other = server.client_db(5)?;
    let mut faults = 0;
    for moment in MOMENTS {
        for flush in [
            "FLUSHALL SYNC",
            "FLUSHALL ASYNC",
            "FLUSHDB SYNC",
            "FLUSHDB ASYNC",
        ] {
            let stranger = World::load_sized(&mut other, 10, 10, 10)?;
            World::load(&mut conn)?;
            let end = act_during_a_run(&server, &mut conn, moment, flush)?;
            ensure!(
                end == ended("interrupted", FLUSHED),
                "{moment:?}, {flush}: {end:?}"
            );
            ensure!(dbsize(&mut conn)? == 0);
            if flush.starts_with("FLUSHDB") {
                // Dead families of the same names, in a database that no run has cleaned up.
                ensure!(stranger.dead_keys_left(&mut other)? == stranger.dead_keys());
                stranger.assert_others_are_whole(&mut other)?;
            }
            // The next run is a run like any other.
            let world = World::load_sized(&mut conn, 10, 10, 10)?;
            world.assert_next_run_does_the_rest(&mut conn)?;
            faults += 1;
        }
    }
    assert_same_after_a_restart(&server)?;
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, faults)
}

#[test]
fn data_written_after_a_flush_is_left_alone() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    for moment in MOMENTS {
        World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        let caller = Caller::start(&server, &[])?;
        slow.hold_at(&mut conn, moment)?;
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
        ensure!(end == ended("interrupted", FLUSHED), "{moment:?}: {end:?}");
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
        tally(Figure::FaultsInjected, 1)?;
    }
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
        slow.hold_at(&mut conn, moment)?;
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
        tally(Figure::FaultsInjected, 2)?;
    }
    assert_healthy(&server)
}

#[test]
fn a_swap_of_its_database_ends_the_run_and_both_databases_keep_their_keys() -> Result<()> {
    for (moment, swap) in [
        (Moment::Collecting, "SWAPDB 0 1"),
        (Moment::Collecting, "SWAPDB 1 0"),
        (Moment::Reaping, "SWAPDB 0 1"),
        (Moment::Reaping, "SWAPDB 1 0"),
    ] {
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
        assert_same_after_a_restart(&server)?;
        (conn, other) = (server.client()?, server.client_db(1)?);
        world.assert_next_run_does_the_rest(&mut other)?;
        stranger.assert_next_run_does_the_rest(&mut conn)?;
        assert_same_after_a_restart(&server)?;
        assert_healthy(&server)?;
        tally(Figure::FaultsInjected, 1)?;
    }
    Ok(())
}

#[test]
fn a_reload_ends_the_run_and_loses_nothing() -> Result<()> {
    for (aof, reload) in [
        (false, "DEBUG RELOAD"),
        (true, "DEBUG RELOAD"),
        (true, "DEBUG LOADAOF"),
    ] {
        let server = Server::builder().aof(aof).start()?;
        let mut conn = server.client()?;
        for moment in MOMENTS {
            let world = World::load(&mut conn)?;
            let (status, reason) = act_during_a_run(&server, &mut conn, moment, reload)?;
            ensure!(status == "interrupted", "{moment:?}: {status} {reason:?}");
            // Some servers tell of the empty databases that they load into, and all of the loading.
            let reason = reason.unwrap_or_default();
            let known = [FLUSHED, LOADED];
            ensure!(known.contains(&reason.as_str()), "{moment:?}: {reason}");
            world.assert_next_run_does_the_rest(&mut conn)?;
            tally(Figure::FaultsInjected, 1)?;
        }
        assert_healthy(&server)?;
    }
    Ok(())
}
