//! The server is asked to end in the middle of a run: what was removed until then is removed everywhere, nothing is
//! removed while the server waits for its replicas, and one that is asked to stay goes on.

use anyhow::{Context, Result, ensure};
use blocking_harness::{Figure, Server, cleanup_async, dbsize, redis, tally, wait_until};

use super::long_run::{
    Caller, DEADLINE, MOMENTS, Moment, Slow, World, assert_healthy, ending, run, wait_until_idle,
};
use super::standstill::{Standstill, forget_not_there_yet, freeze_behind, pair};

fn wait_for_the_end(server: &Server) -> Result<()> {
    wait_until("the server's end", DEADLINE, || {
        (!server.is_alive()).then_some(())
    })?;
    ensure!(server.log().contains("bye bye"), "{}", server.log());
    Ok(())
}

#[test]
fn a_shutdown_during_a_run_is_clean_and_the_next_run_does_the_rest() -> Result<()> {
    let mut faults = 0;
    for moment in MOMENTS {
        for asynchronous in [false, true] {
            let server = Server::builder().aof(true).start()?;
            let mut conn = server.client()?;
            let world = World::load(&mut conn)?;
            let slow = Slow::start(&server)?;
            let caller = if asynchronous {
                cleanup_async(&mut conn, &[])?;
                None
            } else {
                Some(Caller::start(&server, &[])?)
            };
            slow.hold_at(&mut conn, moment)?;
            server.shutdown()?;
            drop(slow);
            if let Some(caller) = caller {
                ensure!(caller.answer().is_err_and(|error| error.is_io_error()));
            }
            ensure!(server.log().contains("bye bye"), "{}", server.log());
            server.restart()?;
            conn = server.client()?;
            world.assert_next_run_does_the_rest(&mut conn)?;
            assert_healthy(&server)?;
            faults += 1;
        }
    }
    tally(Figure::FaultsInjected, faults)
}

/// How the waiting of a SHUTDOWN for a stopped replica comes to its end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    ReplicaCatchesUp,
    ReplicaIsGivenUp,
    CalledOff,
}

#[test]
fn a_shutdown_that_waits_for_a_stopped_replica_holds_the_run_up() -> Result<()> {
    let mut faults = 0;
    for moment in MOMENTS {
        for outcome in [
            Outcome::ReplicaCatchesUp,
            Outcome::ReplicaIsGivenUp,
            Outcome::CalledOff,
        ] {
            wait_in_a_shutdown(moment, outcome)
                .with_context(|| format!("{moment:?}, {outcome:?}"))?;
            faults += 1;
        }
    }
    tally(Figure::FaultsInjected, faults)
}

fn wait_in_a_shutdown(moment: Moment, outcome: Outcome) -> Result<()> {
    let (server, replica) = pair()?;
    let mut conn = server.client()?;
    let given_up = outcome == Outcome::ReplicaIsGivenUp;
    let timeout_s = if given_up { 4 } else { 60 };
    run(
        &mut conn,
        &format!("CONFIG SET shutdown-timeout {timeout_s}"),
    )?;
    let world = World::load(&mut conn)?;
    let slow = Slow::start(&server)?;
    cleanup_async(&mut conn, &[])?;
    slow.hold_at(&mut conn, moment)?;
    freeze_behind(&replica, &mut conn)?;
    let mut operator = server.client()?;
    let shutdown =
        std::thread::spawn(move || redis::cmd("SHUTDOWN").query::<redis::Value>(&mut operator));
    let mut standstill = Standstill::begin(&server, &mut conn, None)?;
    // The server that gives its replica up ends when it likes.
    if !given_up {
        standstill.hold(&mut conn)?;
    }
    if outcome == Outcome::ReplicaCatchesUp {
        replica.thaw()?;
    }
    if outcome == Outcome::CalledOff {
        run(&mut conn, "SHUTDOWN ABORT")?;
        replica.thaw()?;
        drop(slow);
        ensure!(shutdown.join().expect("no panic").is_err());
        let last = wait_until_idle(&mut conn)?;
        ensure!(ending(&last)? == ("complete".to_owned(), None), "{last:?}");
    } else {
        drop(slow);
        ensure!(shutdown.join().expect("no panic").is_err());
        wait_for_the_end(&server)?;
        let lagging = server.log().contains("Lagging replica");
        ensure!(lagging == given_up, "{}", server.log());
        if given_up {
            replica.thaw()?;
        }
        world.assert_heartbeats_went_last(&mut replica.client()?)?;
        server.restart()?;
        conn = server.client()?;
        let (keys, before) = (dbsize(&mut conn)?, standstill.keys());
        ensure!(keys == before, "{before} in the pause, {keys} in the file");
        world.assert_next_run_does_the_rest(&mut conn)?;
    }
    forget_not_there_yet(&mut conn)?;
    ensure!(world.dead_keys_left(&mut conn)? == 0);
    world.assert_others_are_whole(&mut conn)?;
    replica.wait_in_sync_with(&server)?;
    ensure!(world.dead_keys_left(&mut replica.client()?)? == 0);
    world.assert_others_are_whole(&mut replica.client()?)?;
    assert_healthy(&server)?;
    assert_healthy(&replica)
}
