//! Ids whose keys no run ever removes.

use anyhow::{Result, ensure};
use blocking_harness::{Server, TOO_LATE, cleanup, cleanup_async, dbsize, existing_keys};

use super::{
    OLD_MS, eager, exists, info, left, more_runs, set, wait_until_gone, write, write_pair,
};
use crate::environment::long_run::{
    MOMENTS, Slow, World, assert_healthy, ended, ending, wait_until_idle,
};

#[test]
fn protected_ones_stay_and_are_counted() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    set(&mut conn, "protect", "keep-* exact")?;
    let kept = ["keep-1", "keep-", "exact"];
    let gone = ["keep", "exact-1", "Keep-1"];
    for id in kept.iter().chain(&gone) {
        write_pair(&mut conn, id, OLD_MS)?;
    }
    write(&mut conn, "swarm:s:blocking:heartbeat:keep-9", OLD_MS)?;
    write(&mut conn, "swarm:s:blocking:keep-9", "x")?;
    // Could belong to a protected one: with a heartbeat, and without.
    let shared = [
        "blocking:idempotency:keep:keep-1:done:1:1",
        "blocking:idempotency:keep:keep-77:done:1:1",
        "blocking:ack:keep:keep-1",
    ];
    for key in &shared {
        write(&mut conn, key, 1)?;
    }
    for args in [&["DRYRUN"][..], &[], &["MATCH", "*"]] {
        let reply = cleanup(&mut conn, args)?;
        let first = args.len() < 2;
        ensure!(reply.int("coordinators_protected")? == 4, "{reply:?}");
        ensure!(
            reply.int("coordinators_stale")? == if first { 7 } else { 5 },
            "{reply:?}"
        );
        ensure!(
            reply.int("coordinators_removed")? == if first { 2 } else { 0 },
            "{reply:?}"
        );
        // The ack names no protected id: `keep-1` is the signal's there. What could be the one's that has no
        // heartbeat can be found again only through that of `keep`.
        if args.first() != Some(&"MATCH") {
            ensure!(reply.int("keys_vetoed")? == 1, "{reply:?}");
            ensure!(reply.int("keys_protected")? == 1, "{reply:?}");
            ensure!(reply.text("status")? == "partial", "{reply:?}");
            let why =
                "keys stay, and their stale owners' heartbeats: 1 that blocking.protect may cover";
            ensure!(reply.text("reason")? == why, "{reply:?}");
        }
    }
    ensure!(left(&mut conn, &kept)? == 6);
    ensure!(left(&mut conn, &gone)? == 1);
    ensure!(exists(&mut conn, &shared)? == 2);
    ensure!(
        exists(
            &mut conn,
            &[
                "swarm:s:blocking:heartbeat:keep-9",
                "swarm:s:blocking:keep-9"
            ]
        )? == 2
    );
    ensure!(info(&mut conn, "last_coordinators_protected")? == 4);
    ensure!(info(&mut conn, "protect_patterns")? == 2);
    // No id is protected any more.
    set(&mut conn, "protect", "")?;
    let reply = cleanup(&mut conn, &[])?;
    ensure!(reply.get("coordinators_protected").is_none(), "{reply:?}");
    ensure!(reply.text("status")? == "complete", "{reply:?}");
    ensure!(left(&mut conn, &kept)? == 0);
    ensure!(exists(&mut conn, &shared)? == 0);
    Ok(())
}

#[test]
fn the_schedule_protects_too() -> Result<()> {
    let server = eager().arg("blocking.protect", "\"keep-*\"").start()?;
    let mut conn = server.client()?;
    write_pair(&mut conn, "keep-1", OLD_MS)?;
    write_pair(&mut conn, "dead", OLD_MS)?;
    wait_until_gone(&mut conn, "blocking:heartbeat:dead")?;
    let last = more_runs(&mut conn, 2)?;
    ensure!(last.int("coordinators_protected")? == 1, "{last:?}");
    ensure!(dbsize(&mut conn)? == 2);
    assert_healthy(&server)
}

#[test]
fn a_change_in_the_middle_of_a_run_holds_at_once() -> Result<()> {
    for moment in MOMENTS {
        let server = Server::builder().aof(true).start()?;
        let mut conn = server.client()?;
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        set(&mut conn, "protect", "nobody")?;
        cleanup_async(&mut conn, &[])?;
        slow.hold_at(&mut conn, moment)?;
        // The same again changes nothing.
        set(&mut conn, "protect", "nobody")?;
        let last = world.dead.len() - 1;
        let id = world.dead.ids()[last].clone();
        let family = world.dead.family_keys(last);
        let there = existing_keys(&mut conn, family.clone())?;
        ensure!(there.len() == family.len(), "{TOO_LATE}");
        set(&mut conn, "protect", &id)?;
        let report = wait_until_idle(&mut conn)?;
        drop(slow);
        let expected = ended("interrupted", "blocking.protect changed");
        ensure!(ending(&report)? == expected, "{moment:?}: {report:?}");
        world.assert_heartbeats_went_last(&mut conn)?;
        let reply = cleanup(&mut conn, &[])?;
        ensure!(reply.text("status")? == "complete", "{reply:?}");
        ensure!(reply.int("coordinators_protected")? == 1, "{reply:?}");
        let there = existing_keys(&mut conn, family)?;
        ensure!(there.len() == 6, "{moment:?}: {there:?}");
        world.assert_others_are_whole(&mut conn)?;
        assert_healthy(&server)?;
    }
    Ok(())
}

#[test]
fn a_value_that_stays_the_same_does_not_end_a_run() -> Result<()> {
    let server = Server::builder()
        .arg("blocking.protect", "\"a b\"")
        .start()?;
    let mut conn = server.client()?;
    World::load(&mut conn)?;
    let slow = Slow::start(&server)?;
    cleanup_async(&mut conn, &[])?;
    slow.hold_at(&mut conn, MOMENTS[1])?;
    set(&mut conn, "protect", "a b")?;
    drop(slow);
    let report = wait_until_idle(&mut conn)?;
    ensure!(report.text("status")? == "complete", "{report:?}");
    Ok(())
}
