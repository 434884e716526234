//! Writes are paused. A replicated write in the middle of it ends the server by assertion, but only with an
//! append-only file or a replica, so every server here has both.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use blocking_harness::{
    Figure, Server, TOO_LATE, cleanup_async, dbsize, digest, info_field, redis, tally,
    wait_for_value, wait_until,
};

use super::long_run::{
    Caller, DEADLINE, MOMENTS, Moment, Slow, World, assert_healthy, ended, ending, run, state,
    status, wait_for, wait_until_idle,
};
use super::standstill::{
    Standstill, forget_not_there_yet, freeze_behind, pair, pause_all_and_look_on,
};

/// The run under way, or the one a caller waits for, did everything in the end, on the replica too.
fn assert_everything_went(
    world: &World,
    primary: &Server,
    replica: &Server,
    report: &blocking_harness::Reply,
) -> Result<()> {
    let mut conn = primary.client()?;
    ensure!(
        ending(report)? == ("complete".to_owned(), None),
        "{report:?}"
    );
    ensure!(
        report.int("keys_removed")? == world.dead_keys() as i64,
        "{report:?}"
    );
    ensure!(world.dead_keys_left(&mut conn)? == 0);
    world.assert_others_are_whole(&mut conn)?;
    replica.wait_in_sync_with(primary)?;
    let mut there = replica.client()?;
    ensure!(digest(&mut there)? == digest(&mut conn)?, "not alike");
    Ok(())
}

#[test]
fn a_pause_before_a_run_holds_it_up_and_no_longer() -> Result<()> {
    let (primary, replica) = pair()?;
    let mut conn = primary.client()?;
    for pause in ["CLIENT PAUSE 60000 WRITE", "CLIENT PAUSE 1000 ALL"] {
        let world = World::load_sized(&mut conn, 100, 10, 100)?;
        replica.wait_in_sync_with(&primary)?;
        let mut there = replica.client()?;
        run(&mut conn, pause)?;
        let caller = Caller::start(&primary, &[])?;
        // ALL holds up our own questions too, and runs out by itself.
        if pause.ends_with("WRITE") {
            wait_for_value(
                "the caller to be held up",
                DEADLINE,
                || info_field(&mut conn, "clients", "blocked_clients"),
                |blocked| blocked == "1",
            )?;
            ensure!(state(&mut conn)? == "idle");
            ensure!(world.dead_keys_left(&mut conn)? == world.dead_keys());
            ensure!(world.dead_keys_left(&mut there)? == world.dead_keys());
            ensure!(!caller.has_answer());
            run(&mut conn, "CLIENT UNPAUSE")?;
        }
        let reply = caller.answer()?;
        assert_everything_went(&world, &primary, &replica, &reply)?;
    }
    assert_healthy(&primary)?;
    tally(Figure::FaultsInjected, 2)
}

/// The run is accepted, and writes are paused before its first slice: there is no moment to look in between.
#[test]
fn a_pause_in_the_moment_a_run_begins_keeps_it_from_its_first_look() -> Result<()> {
    let (primary, replica) = pair()?;
    let mut conn = primary.client()?;
    let world = World::load_sized(&mut conn, 100, 10, 100)?;
    let mut both = redis::pipe();
    both.atomic().cmd("BLOCKING.CLEANUP").arg("ASYNC");
    both.cmd("CLIENT").arg(&["PAUSE", "60000", "WRITE"]);
    let () = both.ignore().query(&mut conn)?;
    let mut standstill = Standstill::begin(&primary, &mut conn, Some(&replica))?;
    standstill.hold(&mut conn)?;
    let current = status(&mut conn)?.map("current")?;
    ensure!(current.int("keys_scanned")? == 0, "it looked: {current:?}");
    run(&mut conn, "CLIENT UNPAUSE")?;
    let last = wait_until_idle(&mut conn)?;
    assert_everything_went(&world, &primary, &replica, &last)?;
    assert_healthy(&primary)?;
    tally(Figure::FaultsInjected, 1)
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
            slow.hold_at(&mut conn, moment)?;
            if kind == "ALL" {
                pause_all_and_look_on(&primary, &mut conn, &replica)?;
            } else {
                run(&mut conn, "CLIENT PAUSE 60000 WRITE")?;
                Standstill::begin(&primary, &mut conn, Some(&replica))?.hold(&mut conn)?;
                ensure!(!caller.has_answer());
                run(&mut conn, "CLIENT UNPAUSE")?;
            }
            drop(slow);
            let reply = caller.answer()?;
            assert_everything_went(&world, &primary, &replica, &reply)
                .with_context(|| format!("{moment:?} {kind}"))?;
        }
    }
    assert_healthy(&primary)?;
    tally(Figure::FaultsInjected, 4)
}

#[test]
fn many_short_pauses_do_not_end_the_server() -> Result<()> {
    let (primary, replica) = pair()?;
    let mut conn = primary.client()?;
    let world = World::load(&mut conn)?;
    let slow = Slow::start(&primary)?;
    let caller = Caller::start(&primary, &[])?;
    let mut pauses = 0;
    let mut pauses_while_reaping = 0;
    let mut removed = 0;
    let mut steps = 0;
    // Each ends by itself, so the run gets on a little in between.
    while !caller.has_answer() && steps < 20 && pauses < 5_000 {
        if pauses == 8 {
            wait_for(&mut conn, Moment::Reaping)?;
        }
        pauses += 1;
        run(
            &mut conn,
            &format!("CLIENT PAUSE {} WRITE", 1 + pauses % 13),
        )?;
        if let Ok(current) = status(&mut conn)?.map("current") {
            let now = current.int("keys_removed")?;
            pauses_while_reaping += i64::from(now > 0);
            steps += i64::from(now > removed);
            removed = now;
        }
        // A run looks again after 100 ms at the latest.
        let rest_ms = if pauses % 16 == 0 {
            120
        } else {
            pauses * 7 % 23
        };
        std::thread::sleep(Duration::from_millis(rest_ms));
    }
    drop(slow);
    eprintln!("{pauses} pauses, {pauses_while_reaping} of them during the removal");
    ensure!(
        pauses_while_reaping > 5,
        "{pauses_while_reaping} pauses during the removal"
    );
    let reply = caller.answer()?;
    run(&mut conn, "CLIENT UNPAUSE")?;
    assert_everything_went(&world, &primary, &replica, &reply)?;
    assert_healthy(&primary)?;
    tally(Figure::FaultsInjected, pauses)
}

#[test]
fn a_paused_run_can_be_cancelled() -> Result<()> {
    let (primary, _replica) = pair()?;
    let mut conn = primary.client()?;
    let world = World::load(&mut conn)?;
    let slow = Slow::start(&primary)?;
    let caller = Caller::start(&primary, &[])?;
    slow.hold_at(&mut conn, Moment::Reaping)?;
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

fn wait_until_primary(conn: &mut redis::Connection) -> Result<()> {
    wait_until("the replica to become primary", DEADLINE, || {
        let role = info_field(conn, "replication", "role").ok()?;
        (role == "master").then_some(())
    })
}

/// The replica has become primary, can do the rest, and the former primary follows it.
fn assert_taken_over(former: &Server, new: &Server, world: &World) -> Result<()> {
    assert_healthy(former)?;
    let mut conn = new.client()?;
    wait_until_primary(&mut conn)?;
    world.assert_next_run_does_the_rest(&mut conn)?;
    former.wait_in_sync_with(new)?;
    ensure!(dbsize(&mut former.client()?)? == world.other_keys() as i64);
    assert_healthy(former)?;
    assert_healthy(new)
}

#[test]
fn a_failover_ends_the_run_and_the_new_primary_can_do_the_rest() -> Result<()> {
    for moment in MOMENTS {
        let (primary, replica) = pair()?;
        let mut conn = primary.client()?;
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&primary)?;
        cleanup_async(&mut conn, &[])?;
        slow.hold_at(&mut conn, moment)?;
        run(&mut conn, "FAILOVER")?;
        let last = wait_until_idle(&mut conn)?;
        drop(slow);
        ensure!(
            ending(&last)? == ended("interrupted", "the server's role changed"),
            "{moment:?}: {last:?}"
        );
        assert_taken_over(&primary, &replica, &world)?;
        tally(Figure::FaultsInjected, 1)?;
    }
    Ok(())
}

/// Whether the server lets waiting clients go in the moment it gives up being primary. Valkey 9 keeps them until
/// the other one has taken over, for the failover may still fail.
fn drops_waiting_clients_at_once(conn: &mut redis::Connection) -> Result<bool> {
    let Ok(version) = info_field(conn, "server", "valkey_version") else {
        return Ok(true);
    };
    let major = version.split('.').next().context("no version")?;
    Ok(major.parse::<u32>()? < 9)
}

#[test]
fn a_failover_with_a_caller_waiting_ends_its_run_too() -> Result<()> {
    for moment in MOMENTS {
        let (primary, replica) = pair()?;
        let mut conn = primary.client()?;
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&primary)?;
        let caller = Caller::start(&primary, &[])?;
        slow.hold_at(&mut conn, moment)?;
        run(&mut conn, "FAILOVER")?;
        let last = wait_until_idle(&mut conn)?;
        drop(slow);
        // The server tells of the caller first and of its role right after, before the run's next slice.
        ensure!(
            ending(&last)? == ended("interrupted", "the server's role changed"),
            "{moment:?}: {last:?}"
        );
        match caller.answer() {
            // The run's end may come before the other server has taken over, or after.
            Ok(reply) => {
                ensure!(!drops_waiting_clients_at_once(&mut conn)?, "{reply:?}");
                ensure!(reply == last, "{reply:?}, but STATUS says {last:?}");
            }
            Err(error) => ensure!(error.code() == Some("UNBLOCKED"), "{error}"),
        }
        assert_taken_over(&primary, &replica, &world)?;
        tally(Figure::FaultsInjected, 1)?;
    }
    Ok(())
}

#[test]
fn a_failover_that_comes_to_nothing_lets_the_run_go_on() -> Result<()> {
    for moment in MOMENTS {
        for aborted in [true, false] {
            let (primary, replica) = pair()?;
            let mut conn = primary.client()?;
            let world = World::load(&mut conn)?;
            let slow = Slow::start(&primary)?;
            let caller = Caller::start(&primary, &[])?;
            slow.hold_at(&mut conn, moment)?;
            // A replica that is behind and hears nothing keeps the failover waiting.
            freeze_behind(&replica, &mut conn)?;
            if aborted {
                run(&mut conn, "FAILOVER")?;
                Standstill::begin(&primary, &mut conn, None)?.hold(&mut conn)?;
                run(&mut conn, "FAILOVER ABORT")?;
            } else {
                run(&mut conn, "FAILOVER TIMEOUT 4000")?;
                let mut standstill = Standstill::begin(&primary, &mut conn, None)?;
                let looks = standstill.until_it_ends(&mut conn)?;
                ensure!(looks > 3, "{TOO_LATE}; {looks} looks at the pause");
            }
            replica.thaw()?;
            drop(slow);
            let reply = caller.answer()?;
            forget_not_there_yet(&mut conn)?;
            assert_everything_went(&world, &primary, &replica, &reply)
                .with_context(|| format!("{moment:?}, aborted: {aborted}"))?;
            assert_healthy(&primary)?;
            assert_healthy(&replica)?;
            tally(Figure::FaultsInjected, 1)?;
        }
    }
    Ok(())
}

/// The primary steps down for a replica that does not take over, and is called back.
#[test]
fn a_forced_failover_that_is_called_back_ends_the_run_on_a_server_that_stays_primary() -> Result<()>
{
    for moment in MOMENTS {
        let (primary, replica) = pair()?;
        let mut conn = primary.client()?;
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&primary)?;
        cleanup_async(&mut conn, &[])?;
        slow.hold_at(&mut conn, moment)?;
        freeze_behind(&replica, &mut conn)?;
        let keys = dbsize(&mut conn)?;
        let port = replica.port();
        let failover = format!("FAILOVER TO 127.0.0.1 {port} TIMEOUT 500 FORCE");
        run(&mut conn, &failover)?;
        let last = wait_until_idle(&mut conn)?;
        ensure!(
            ending(&last)? == ended("interrupted", "the server's role changed"),
            "{moment:?}: {last:?}"
        );
        ensure!(info_field(&mut conn, "replication", "role")? == "slave");
        // Slices came between our counting and the pause, none after it.
        let paused = dbsize(&mut conn)?;
        ensure!(paused <= keys, "{keys}, then {paused}");
        run(&mut conn, "FAILOVER ABORT")?;
        ensure!(info_field(&mut conn, "replication", "role")? == "master");
        drop(slow);
        ensure!(dbsize(&mut conn)? == paused);
        replica.thaw()?;
        forget_not_there_yet(&mut conn)?;
        world.assert_next_run_does_the_rest(&mut conn)?;
        replica.wait_in_sync_with(&primary)?;
        ensure!(dbsize(&mut replica.client()?)? == world.other_keys() as i64);
        assert_healthy(&primary)?;
        assert_healthy(&replica)?;
        tally(Figure::FaultsInjected, 1)?;
    }
    Ok(())
}
