//! The primary of a cluster is asked by its replica to hand over, in the middle of a run.
//! What a run does with slots is told in the cluster's own file.

use anyhow::{Result, ensure};
use blocking_harness::{
    Figure, Server, ServerBuilder, cleanup_async, digest, info_field, redis, tally, wait_for_value,
    wait_until,
};
use redis::Connection;

use super::long_run::{
    DEADLINE, MOMENTS, Slow, World, assert_healthy, ended, ending, run, wait_until_idle,
};

fn node() -> ServerBuilder {
    Server::builder()
        .aof(true)
        .arg("cluster-enabled", "yes")
        // A busy machine is no reason for a failover of its own.
        .arg("cluster-node-timeout", 60_000)
}

fn wait_for_words(conn: &mut Connection, command: [&str; 2], words: &[&str]) -> Result<()> {
    let [name, argument] = command;
    wait_for_value(
        &format!("{words:?} in {name} {argument}"),
        DEADLINE,
        || Ok(redis::cmd(name).arg(argument).query::<String>(conn)?),
        |text| words.iter().all(|word| text.contains(word)),
    )
    .map(drop)
}

/// A primary with all slots, and its replica.
fn two_nodes() -> Result<(Server, Server)> {
    let (primary, replica) = (node().start()?, node().start()?);
    let (mut conn, mut there) = (primary.client()?, replica.client()?);
    run(&mut conn, "CLUSTER ADDSLOTSRANGE 0 16383")?;
    // Of two nodes with one epoch one has to give way, and that takes its time.
    run(&mut there, "CLUSTER SET-CONFIG-EPOCH 2")?;
    run(
        &mut conn,
        &format!("CLUSTER MEET 127.0.0.1 {}", replica.port()),
    )?;
    let id: String = redis::cmd("CLUSTER").arg("MYID").query(&mut conn)?;
    // A replica can be made of it when it knows its primary and its slots.
    wait_for_words(&mut there, ["CLUSTER", "NODES"], &[&id, " 0-16383"])?;
    run(&mut there, &format!("CLUSTER REPLICATE {id}"))?;
    for node in [&mut conn, &mut there] {
        wait_for_words(node, ["CLUSTER", "INFO"], &["cluster_state:ok"])?;
    }
    // A failover needs the primary to know of its replica.
    wait_for_words(&mut conn, ["CLUSTER", "NODES"], &[" slave "])?;
    replica.wait_in_sync_with(&primary)?;
    Ok((primary, replica))
}

#[test]
fn a_cluster_failover_ends_the_run_and_the_new_primary_can_do_the_rest() -> Result<()> {
    let (mut primary, mut replica) = two_nodes()?;
    for moment in MOMENTS {
        let (mut conn, mut there) = (primary.client()?, replica.client()?);
        // The keys of others are written many at a time, which a cluster does not take.
        let world = World::load_sized(&mut conn, 1_500, 50, 0)?;
        replica.wait_in_sync_with(&primary)?;
        let slow = Slow::start(&primary)?;
        cleanup_async(&mut conn, &[])?;
        slow.hold_at(&mut conn, moment)?;
        run(&mut there, "CLUSTER FAILOVER")?;
        let last = wait_until_idle(&mut conn)?;
        drop(slow);
        ensure!(
            ending(&last)? == ended("interrupted", "the server's role changed"),
            "{moment:?}: {last:?}"
        );
        wait_until("the replica to take over", DEADLINE, || {
            let role = info_field(&mut there, "replication", "role").ok()?;
            (role == "master").then_some(())
        })?;
        wait_for_words(&mut there, ["CLUSTER", "INFO"], &["cluster_state:ok"])?;
        primary.wait_in_sync_with(&replica)?;
        ensure!(digest(&mut conn)? == digest(&mut there)?);
        world.assert_next_run_does_the_rest(&mut there)?;
        primary.wait_in_sync_with(&replica)?;
        ensure!(digest(&mut conn)? == digest(&mut there)?);
        assert_healthy(&primary)?;
        assert_healthy(&replica)?;
        tally(Figure::FaultsInjected, 1)?;
        // Back the other way round.
        std::mem::swap(&mut primary, &mut replica);
    }
    Ok(())
}
