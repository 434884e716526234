//! `blocking:done`: subscribers hear of each run that ends, however it ends, and of nothing else.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{Connection, PubSub};
use blocking_harness::{AofCommands, Cluster, Server, cleanup, cleanup_async, error_text, redis};
use serde_json::Value;

use crate::environment::long_run::{
    MOMENTS, Slow, World, assert_healthy, run, status, wait_until_idle,
};
use crate::environment::standstill::pair;

const CHANNEL: &str = "blocking:done";

fn subscribe(conn: &mut Connection) -> Result<PubSub<'_>> {
    let mut channel = conn.as_pubsub();
    channel.set_read_timeout(Some(Duration::from_secs(30)))?;
    channel.subscribe(CHANNEL)?;
    Ok(channel)
}

fn next(channel: &mut PubSub<'_>) -> Result<Value> {
    let message = channel.get_message().context("no message")?;
    Ok(serde_json::from_slice(message.get_payload_bytes())?)
}

#[test]
fn each_run_by_hand_is_told_of_once_and_no_query() -> Result<()> {
    let server = Server::builder().aof(true).start()?;
    let mut conn = server.client()?;
    World::load_sized(&mut conn, 50, 10, 50)?;
    let mut listener = server.client()?;
    let mut channel = subscribe(&mut listener)?;
    for args in [&["DRYRUN"][..], &["LIMIT", "1"], &["IDS", "10000"]] {
        run(&mut conn, "BLOCKING.LIST")?;
        run(&mut conn, "BLOCKING.DOCTOR")?;
        let mut command = redis::cmd("BLOCKING.CLEANUP");
        let reply: String = command.arg(args).arg("JSON").query(&mut conn)?;
        let mut expected: Value = serde_json::from_str(&reply)?;
        let fields = expected.as_object_mut().context("no object")?;
        fields.remove("staleCoordinatorIds").context("no ids")?;
        fields.insert("database".to_owned(), 0.into());
        fields.insert("scheduled".to_owned(), false.into());
        ensure!(next(&mut channel)? == expected, "{args:?}");
    }
    let mut other = server.client_db(3)?;
    World::load_sized(&mut other, 5, 5, 5)?;
    cleanup_async(&mut other, &[])?;
    let message = next(&mut channel)?;
    ensure!(
        message["database"] == 3 && message["keysDeleted"] == 30,
        "{message}"
    );
    let mut written = AofCommands::of(&server)?;
    let told = written.any(|command| {
        command.is_ok_and(|words| words.iter().any(|word| word == CHANNEL.as_bytes()))
    });
    ensure!(!told, "the append-only file holds the message");
    Ok(())
}

/// Whoever asks because of the message must not find the run before it.
#[test]
fn status_knows_the_run_when_the_message_arrives() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let mut listener = server.client()?;
    let mut channel = subscribe(&mut listener)?;
    for number in 1..=50 {
        cleanup_async(&mut conn, &["DRYRUN"])?;
        ensure!(next(&mut channel)?["run"] == number);
        let status = status(&mut conn)?;
        ensure!(status.map("last")?.int("run")? == number, "{status:?}");
        ensure!(status.text("state")? == "idle", "{status:?}");
    }
    Ok(())
}

#[test]
fn the_schedule_says_so() -> Result<()> {
    let server = Server::builder()
        .arg("blocking.warm-up-seconds", 0)
        .arg("blocking.databases", 2)
        .start()?;
    let mut conn = server.client()?;
    let mut listener = server.client()?;
    let mut channel = subscribe(&mut listener)?;
    run(&mut conn, "CONFIG SET blocking.interval-seconds 1")?;
    let message = next(&mut channel)?;
    ensure!(
        message["scheduled"] == true && message["database"] == 2 && message["status"] == "complete",
        "{message}"
    );
    Ok(())
}

/// The server ends itself if anything is sent to a replica while writes are paused.
#[test]
fn a_run_that_ends_while_writes_are_paused_is_told_of_and_the_server_lives() -> Result<()> {
    let (primary, replica) = pair()?;
    let mut conn = primary.client()?;
    World::load(&mut conn)?;
    replica.wait_in_sync_with(&primary)?;
    let (mut here, mut there) = (primary.client()?, replica.client()?);
    let mut channel = subscribe(&mut here)?;
    let mut at_replica = subscribe(&mut there)?;
    for moment in MOMENTS {
        let slow = Slow::start(&primary)?;
        cleanup_async(&mut conn, &[])?;
        slow.hold_at(&mut conn, moment)?;
        run(&mut conn, "CLIENT PAUSE 60000 WRITE")?;
        run(&mut conn, "BLOCKING.CANCEL")?;
        let message = next(&mut channel)?;
        ensure!(message["status"] == "cancelled", "{message}");
        run(&mut conn, "CLIENT UNPAUSE")?;
        drop(slow);
        wait_until_idle(&mut conn)?;
    }
    replica.wait_in_sync_with(&primary)?;
    at_replica.set_read_timeout(Some(Duration::from_millis(100)))?;
    ensure!(at_replica.get_message().is_err(), "the replica tells of it");
    assert_healthy(&primary)
}

#[test]
fn in_a_cluster_every_node_tells_of_it() -> Result<()> {
    let cluster = Cluster::start(&Server::builder(), 3)?;
    let nodes = cluster.nodes();
    let mut listeners = Vec::new();
    for node in nodes {
        listeners.push(node.client()?);
    }
    let mut channels = Vec::new();
    for listener in &mut listeners {
        channels.push(subscribe(listener)?);
    }
    let last = nodes.last().context("no node")?;
    let reply = cleanup(&mut last.client()?, &[])?;
    for channel in &mut channels {
        ensure!(next(channel)?["run"] == reply.int("run")?);
    }
    Ok(())
}

#[test]
fn who_may_not_read_the_channel_hears_nothing() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    run(&mut conn, "ACL SETUSER deaf on nopass +@all resetchannels")?;
    run(
        &mut conn,
        "ACL SETUSER hears on nopass +subscribe resetchannels &blocking:done",
    )?;
    let mut user = server.client()?;
    run(&mut user, "AUTH deaf x")?;
    let refused = redis::cmd("SUBSCRIBE").arg(CHANNEL).exec(&mut user);
    ensure!(error_text(&refused.err().context("it may")?).starts_with("NOPERM"));
    let mut user = server.client()?;
    run(&mut user, "AUTH hears x")?;
    let mut channel = subscribe(&mut user)?;
    cleanup(&mut conn, &[])?;
    ensure!(next(&mut channel)?["run"] == 1);
    Ok(())
}
