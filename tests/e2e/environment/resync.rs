//! The role changes in the middle of a run, and the data set with it: the run ends, and what comes from the new primary
//! is left alone.

use anyhow::{Context, Result, ensure};
use blocking_harness::{
    Figure, Server, TOO_LATE, cleanup_async, digest, info_field, redis, reply_map, tally,
    wait_for_value,
};
use redis::{Connection, Value};

use super::long_run::{
    Caller, DEADLINE, MOMENTS, Moment, Slow, World, assert_healthy, ended, ending, run,
    wait_until_idle,
};

const ROLE_CHANGED: &str = "the server's role changed";

/// How a replica takes a full resync: over a file, or into a second data set that replaces the first one in the end.
const DISKLESS_LOADS: [&str; 2] = ["disabled", "swapdb"];

fn replica_of(server: &Server) -> String {
    format!("REPLICAOF 127.0.0.1 {}", server.port())
}

fn full_resyncs(conn: &mut Connection) -> Result<u64> {
    Ok(info_field(conn, "stats", "sync_full")?.parse()?)
}

/// Both hold the same keys and values.
fn assert_alike(one: &mut Connection, other: &mut Connection) -> Result<()> {
    let (one, other) = (digest(one)?, digest(other)?);
    ensure!(one == other, "two data sets: {one} {other}");
    Ok(())
}

#[test]
fn becoming_a_replica_ends_the_run() -> Result<()> {
    for moment in MOMENTS {
        let server = Server::builder().aof(true).start()?;
        let mut conn = server.client()?;
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        cleanup_async(&mut conn, &[])?;
        slow.hold_at(&mut conn, moment)?;
        // No server listens there, so the data stays as the run has left it.
        run(&mut conn, "REPLICAOF 127.0.0.1 1")?;
        let last = wait_until_idle(&mut conn)?;
        drop(slow);
        ensure!(
            ending(&last)? == ended("interrupted", ROLE_CHANGED),
            "{moment:?}: {last:?}"
        );
        run(&mut conn, "REPLICAOF NO ONE")?;
        world.assert_next_run_does_the_rest(&mut conn)?;
        assert_healthy(&server)?;
        tally(Figure::FaultsInjected, 1)?;
    }
    Ok(())
}

/// By the time of the next slice the server is primary again, but it is not known what it was told in between.
#[test]
fn becoming_a_replica_and_a_primary_again_between_two_slices_ends_the_run() -> Result<()> {
    let server = Server::builder().aof(true).start()?;
    let mut conn = server.client()?;
    for moment in MOMENTS {
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        cleanup_async(&mut conn, &[])?;
        slow.hold_at(&mut conn, moment)?;
        let mut there_and_back = redis::pipe();
        there_and_back.atomic().cmd("BLOCKING.STATUS");
        there_and_back.cmd("REPLICAOF").arg(&["127.0.0.1", "1"]);
        there_and_back.cmd("REPLICAOF").arg(&["NO", "ONE"]);
        let (status, _, _): (Value, Value, Value) = there_and_back.query(&mut conn)?;
        ensure!(reply_map(status)?.text("state")? != "idle", "{TOO_LATE}");
        let last = wait_until_idle(&mut conn)?;
        drop(slow);
        ensure!(
            ending(&last)? == ended("interrupted", ROLE_CHANGED),
            "{moment:?}: {last:?}"
        );
        world.assert_next_run_does_the_rest(&mut conn)?;
        tally(Figure::FaultsInjected, 1)?;
    }
    assert_healthy(&server)
}

#[test]
fn a_full_resync_ends_the_run_and_the_new_data_is_whole() -> Result<()> {
    let other = Server::start()?;
    let mut there = other.client()?;
    let given = World::load_sized(&mut there, 900, 10, 10)?;
    for diskless_load in DISKLESS_LOADS {
        for moment in MOMENTS {
            take_a_full_resync(&other, &given, diskless_load, moment)
                .with_context(|| format!("{diskless_load}, {moment:?}"))?;
            tally(Figure::FaultsInjected, 1)?;
        }
    }
    assert_healthy(&other)
}

fn take_a_full_resync(
    other: &Server,
    given: &World,
    diskless_load: &str,
    moment: Moment,
) -> Result<()> {
    let server = Server::builder()
        .aof(true)
        .arg("repl-diskless-load", diskless_load)
        .start()?;
    let (mut conn, mut there) = (server.client()?, other.client()?);
    World::load(&mut conn)?;
    let slow = Slow::start(&server)?;
    let caller = Caller::start(&server, &[])?;
    slow.hold_at(&mut conn, moment)?;
    let before = full_resyncs(&mut there)?;
    run(&mut conn, &replica_of(other))?;
    let error = caller.answer().expect_err("no answer from a replica");
    ensure!(error.code() == Some("UNBLOCKED"), "{error}");
    let last = wait_until_idle(&mut conn)?;
    ensure!(
        ending(&last)? == ended("interrupted", ROLE_CHANGED),
        "{last:?}"
    );
    server.wait_in_sync_with(other)?;
    drop(slow);
    ensure!(full_resyncs(&mut there)? == before + 1);
    assert_alike(&mut conn, &mut there)?;
    ensure!(given.dead_keys_left(&mut conn)? == given.dead_keys());
    given.assert_others_are_whole(&mut conn)?;
    // As a primary with this data it can clean it up like any other.
    run(&mut conn, "REPLICAOF NO ONE")?;
    given.assert_next_run_does_the_rest(&mut conn)?;
    assert_healthy(&server)
}

/// A replica is promoted, cleans up, and has to go back to its primary in the middle of it: what it removed there is
/// back, for its primary never removed it, and the run of the primary removes it on both.
#[test]
fn a_replica_that_was_promoted_for_a_while_takes_its_primarys_data_back() -> Result<()> {
    for diskless_load in DISKLESS_LOADS {
        let primary = Server::builder().aof(true).start()?;
        let replica = Server::builder()
            .aof(true)
            .arg("repl-diskless-load", diskless_load)
            .replica_of(&primary)
            .start()?;
        for moment in MOMENTS {
            promote_and_demote(&primary, &replica, moment)
                .with_context(|| format!("{diskless_load}, {moment:?}"))?;
            tally(Figure::FaultsInjected, 2)?;
        }
    }
    Ok(())
}

fn promote_and_demote(primary: &Server, replica: &Server, moment: Moment) -> Result<()> {
    let (mut conn, mut there) = (primary.client()?, replica.client()?);
    let world = World::load(&mut conn)?;
    replica.wait_in_sync_with(primary)?;
    run(&mut there, "REPLICAOF NO ONE")?;
    // So that the two have parted for good, in the walk too, and nothing but a full resync brings them together.
    run(&mut there, "SET session:of-the-promoted 1")?;
    let slow = Slow::start(replica)?;
    cleanup_async(&mut there, &[])?;
    slow.hold_at(&mut there, moment)?;
    let before = full_resyncs(&mut conn)?;
    run(&mut there, &replica_of(primary))?;
    let last = wait_until_idle(&mut there)?;
    ensure!(
        ending(&last)? == ended("interrupted", ROLE_CHANGED),
        "{last:?}"
    );
    let removed = last.int("keys_removed")?;
    ensure!((removed > 0) == (moment == Moment::Reaping), "{last:?}");
    replica.wait_in_sync_with(primary)?;
    drop(slow);
    ensure!(full_resyncs(&mut conn)? == before + 1);
    assert_alike(&mut conn, &mut there)?;
    ensure!(world.dead_keys_left(&mut there)? == world.dead_keys());
    world.assert_others_are_whole(&mut there)?;

    world.assert_next_run_does_the_rest(&mut conn)?;
    replica.wait_in_sync_with(primary)?;
    assert_alike(&mut conn, &mut there)?;
    assert_healthy(primary)?;
    assert_healthy(replica)
}

/// The primary of a pair is told to follow its own replica: the data stays, the roles change.
#[test]
fn a_primary_that_follows_its_own_replica_in_the_middle_of_a_run_and_back() -> Result<()> {
    let one = Server::builder().aof(true).start()?;
    let two = Server::builder().aof(true).replica_of(&one).start()?;
    let (mut first, mut second) = (one.client()?, two.client()?);
    two.wait_in_sync_with(&one)?;
    for moment in MOMENTS {
        let world = World::load(&mut first)?;
        two.wait_in_sync_with(&one)?;
        let slow = Slow::start(&one)?;
        cleanup_async(&mut first, &[])?;
        slow.hold_at(&mut first, moment)?;
        // In this order nothing is lost but what the first removed after the second has parted from it.
        run(&mut second, "REPLICAOF NO ONE")?;
        run(&mut first, &replica_of(&two))?;
        let last = wait_until_idle(&mut first)?;
        drop(slow);
        ensure!(
            ending(&last)? == ended("interrupted", ROLE_CHANGED),
            "{moment:?}: {last:?}"
        );
        one.wait_in_sync_with(&two)?;
        assert_alike(&mut first, &mut second)?;
        world.assert_next_run_does_the_rest(&mut second)?;
        one.wait_in_sync_with(&two)?;
        assert_alike(&mut first, &mut second)?;
        ensure!(world.dead_keys_left(&mut first)? == 0);
        world.assert_others_are_whole(&mut first)?;
        // And back, for the next round.
        run(&mut first, "REPLICAOF NO ONE")?;
        run(&mut second, &replica_of(&one))?;
        two.wait_in_sync_with(&one)?;
        wait_for_value(
            "the first to have its replica back",
            DEADLINE,
            || info_field(&mut first, "replication", "connected_slaves"),
            |count| count == "1",
        )?;
        tally(Figure::FaultsInjected, 1)?;
    }
    assert_healthy(&one)?;
    assert_healthy(&two)
}
