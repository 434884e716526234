//! Writes are paused. A replicated write in the middle of it ends the server by assertion, but only with an
//! append-only file or a replica, so every server here has both.

use std::time::Duration;

use anyhow::{Result, ensure};
use blocking_harness::{Reply, Server, info_field, redis, wait_for_value, wait_until};

use super::long_run::{
    Caller, DEADLINE, MOMENTS, Moment, Slow, World, assert_healthy, ended, ending, run, state,
    status, wait_for, wait_until_idle,
};

/// A primary with an append-only file, and its replica.
fn pair() -> Result<(Server, Server)> {
    let primary = Server::builder().aof(true).start()?;
    let replica = Server::builder().replica_of(&primary).start()?;
    replica.wait_in_sync_with(&primary)?;
    Ok((primary, replica))
}

fn dbsize(conn: &mut redis::Connection) -> Result<i64> {
    Ok(redis::cmd("DBSIZE").query(conn)?)
}

#[test]
fn a_pause_before_a_run_holds_it_up_and_no_longer() -> Result<()> {
    let (primary, replica) = pair()?;
    let mut conn = primary.client()?;
    let world = World::load_sized(&mut conn, 100, 10, 100)?;
    run(&mut conn, "CLIENT PAUSE 60000 WRITE")?;
    let caller = Caller::start(&primary, &[])?;
    wait_for_value(
        "the caller to be held up",
        DEADLINE,
        || info_field(&mut conn, "clients", "blocked_clients"),
        |blocked| blocked == "1",
    )?;
    ensure!(state(&mut conn)? == "idle");
    ensure!(world.dead_keys_left(&mut conn)? == world.dead_keys());
    ensure!(!caller.has_answer());
    run(&mut conn, "CLIENT UNPAUSE")?;
    let reply = caller.answer()?;
    ensure!(reply.text("status")? == "complete", "{reply:?}");
    ensure!(reply.int("keys_removed")? == world.dead_keys() as i64);
    world.assert_others_are_whole(&mut conn)?;
    replica.wait_in_sync_with(&primary)?;
    ensure!(dbsize(&mut replica.client()?)? == world.other_keys() as i64);
    assert_healthy(&primary)
}

#[test]
fn a_pause_during_a_run_stops_it_and_afterwards_it_finishes() -> Result<()> {
    let (primary, replica) = pair()?;
    let mut conn = primary.client()?;
    for moment in MOMENTS {
        for kind in ["WRITE", "ALL"] {
            let world = World::load(&mut conn)?;
            let slow = Slow::start(&primary)?;
            let caller = Caller::start(&primary, &[])?;
            wait_for(&mut conn, moment)?;
            // ALL holds up our own questions too, so it must run out by itself.
            if kind == "ALL" {
                run(&mut conn, "CLIENT PAUSE 300 ALL")?;
            } else {
                run(&mut conn, "CLIENT PAUSE 60000 WRITE")?;
                let paused = wait_for_value(
                    "the run to be paused",
                    DEADLINE,
                    || status(&mut conn),
                    |status| status.text("state").is_ok_and(|state| state == "paused"),
                )?;
                let keys = dbsize(&mut conn)?;
                let scanned = paused.map("current")?.int("keys_scanned")?;
                let until_us = paused.map("current")?.int("elapsed_us")? + 400_000;
                let later = wait_for_value(
                    "the run to grow older",
                    DEADLINE,
                    || status(&mut conn)?.map("current"),
                    |current: &Reply| current.int("elapsed_us").is_ok_and(|us| us > until_us),
                )?;
                ensure!(
                    later.int("keys_scanned")? == scanned,
                    "it walked on: {later:?}"
                );
                ensure!(dbsize(&mut conn)? == keys, "it removed on: {later:?}");
                ensure!(state(&mut conn)? == "paused");
                ensure!(!caller.has_answer());
                run(&mut conn, "CLIENT UNPAUSE")?;
            }
            drop(slow);
            let reply = caller.answer()?;
            ensure!(
                reply.text("status")? == "complete",
                "{moment:?} {kind}: {reply:?}"
            );
            ensure!(
                reply.int("keys_removed")? == world.dead_keys() as i64,
                "{reply:?}"
            );
            ensure!(world.dead_keys_left(&mut conn)? == 0);
            world.assert_others_are_whole(&mut conn)?;
            replica.wait_in_sync_with(&primary)?;
            ensure!(dbsize(&mut replica.client()?)? == dbsize(&mut conn)?);
        }
    }
    assert_healthy(&primary)
}

#[test]
fn many_short_pauses_do_not_end_the_server() -> Result<()> {
    let (primary, replica) = pair()?;
    let mut conn = primary.client()?;
    let world = World::load_sized(&mut conn, 250, 10, 100)?;
    let slow = Slow::start(&primary)?;
    let caller = Caller::start(&primary, &[])?;
    let mut pauses = 0;
    let mut pauses_while_reaping = 0;
    // Each ends by itself, so the run gets on a little in between, right to its end.
    while !caller.has_answer() && pauses < 5_000 {
        pauses += 1;
        run(
            &mut conn,
            &format!("CLIENT PAUSE {} WRITE", 1 + pauses % 13),
        )?;
        if let Ok(current) = status(&mut conn)?.map("current") {
            pauses_while_reaping += i64::from(current.int("keys_removed")? > 0);
        }
        std::thread::sleep(Duration::from_millis(pauses * 7 % 23));
    }
    drop(slow);
    eprintln!("{pauses} pauses, {pauses_while_reaping} of them during the removal");
    ensure!(
        pauses_while_reaping > 5,
        "{pauses_while_reaping} pauses during the removal"
    );
    let reply = caller.answer()?;
    ensure!(reply.text("status")? == "complete", "{reply:?}");
    ensure!(
        reply.int("keys_removed")? == world.dead_keys() as i64,
        "{reply:?}"
    );
    replica.wait_in_sync_with(&primary)?;
    ensure!(dbsize(&mut replica.client()?)? == world.other_keys() as i64);
    world.assert_others_are_whole(&mut conn)?;
    assert_healthy(&primary)
}

#[test]
fn a_paused_run_can_be_cancelled() -> Result<()> {
    let (primary, _replica) = pair()?;
    let mut conn = primary.client()?;
    let world = World::load(&mut conn)?;
    let slow = Slow::start(&primary)?;
    let caller = Caller::start(&primary, &[])?;
    wait_for(&mut conn, Moment::Reaping)?;
    run(&mut conn, "CLIENT PAUSE 60000 WRITE")?;
    wait_for_value(
        "a pause",
        DEADLINE,
        || state(&mut conn),
        |state| state == "paused",
    )?;
    run(&mut conn, "BLOCKING.CANCEL")?;
    let last = wait_until_idle(&mut conn)?;
    ensure!(
        ending(&last)? == ended("cancelled", "cancelled by BLOCKING.CANCEL"),
        "{last:?}"
    );
    ensure!(ending(&caller.answer()?)? == ending(&last)?);
    drop(slow);
    run(&mut conn, "CLIENT UNPAUSE")?;
    world.assert_next_run_does_the_rest(&mut conn)?;
    assert_healthy(&primary)
}

#[test]
fn a_failover_ends_the_run_and_the_new_primary_can_do_the_rest() -> Result<()> {
    for moment in MOMENTS {
        let (primary, replica) = pair()?;
        let mut conn = primary.client()?;
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&primary)?;
        run(&mut conn, "BLOCKING.CLEANUP ASYNC")?;
        wait_for(&mut conn, moment)?;
        run(&mut conn, "FAILOVER")?;
        let last = wait_until_idle(&mut conn)?;
        drop(slow);
        ensure!(
            ending(&last)? == ended("interrupted", "the server's role changed"),
            "{moment:?}: {last:?}"
        );
        assert_healthy(&primary)?;
        let mut new = replica.client()?;
        wait_until("the replica to become primary", DEADLINE, || {
            let role: Vec<redis::Value> = redis::cmd("ROLE").query(&mut new).ok()?;
            (role.first() == Some(&redis::Value::BulkString(b"master".to_vec()))).then_some(())
        })?;
        world.assert_next_run_does_the_rest(&mut new)?;
        primary.wait_in_sync_with(&replica)?;
        ensure!(dbsize(&mut conn)? == world.other_keys() as i64);
        assert_healthy(&primary)?;
        assert_healthy(&replica)?;
    }
    Ok(())
}

#[test]
fn a_failover_with_a_caller_waiting_ends_his_run_too() -> Result<()> {
    let (primary, replica) = pair()?;
    let mut conn = primary.client()?;
    let world = World::load(&mut conn)?;
    let slow = Slow::start(&primary)?;
    let caller = Caller::start(&primary, &[])?;
    wait_for(&mut conn, Moment::Reaping)?;
    run(&mut conn, "FAILOVER")?;
    let last = wait_until_idle(&mut conn)?;
    drop(slow);
    eprintln!("{:?}", ending(&last)?);
    ensure!(last.text("status")? != "complete", "{last:?}");
    // The server itself lets everybody go who waits on a primary that is none any more.
    let error = caller.answer().expect_err("no answer from a replica");
    ensure!(error.code() == Some("UNBLOCKED"), "{error}");
    assert_healthy(&primary)?;
    primary.wait_in_sync_with(&replica)?;
    world.assert_heartbeats_went_last(&mut conn)?;
    world.assert_others_are_whole(&mut conn)
}

#[test]
fn a_failover_that_is_called_off_lets_the_run_go_on() -> Result<()> {
    let (primary, replica) = pair()?;
    let mut conn = primary.client()?;
    let world = World::load(&mut conn)?;
    let slow = Slow::start(&primary)?;
    let caller = Caller::start(&primary, &[])?;
    wait_for(&mut conn, Moment::Reaping)?;
    // A replica that hears nothing keeps the failover waiting.
    let mut sleeper = replica.client()?;
    let asleep = std::thread::spawn(move || run(&mut sleeper, "DEBUG SLEEP 2"));
    run(&mut conn, "FAILOVER")?;
    wait_for_value(
        "a pause",
        DEADLINE,
        || state(&mut conn),
        |state| state == "paused",
    )?;
    run(&mut conn, "FAILOVER ABORT")?;
    drop(slow);
    let reply = caller.answer()?;
    ensure!(reply.text("status")? == "complete", "{reply:?}");
    ensure!(world.dead_keys_left(&mut conn)? == 0);
    world.assert_others_are_whole(&mut conn)?;
    asleep.join().expect("no panic")?;
    replica.wait_in_sync_with(&primary)?;
    ensure!(dbsize(&mut replica.client()?)? == world.other_keys() as i64);
    assert_healthy(&primary)
}
