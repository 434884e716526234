//! A key that a run removes is removed for every client: events, WATCH, client-side caches.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use blocking_harness::{Server, cleanup, redis};

use crate::environment::long_run::{Raw, World, run};

#[test]
fn every_removed_key_is_an_event_and_no_other_key_is() -> Result<()> {
    let server = Server::builder()
        .arg("notify-keyspace-events", "KEg")
        .start()?;
    let mut conn = server.client()?;
    let world = World::load_sized(&mut conn, 50, 10, 50)?;
    let mut listener = server.client()?;
    let mut events = listener.as_pubsub();
    events.set_read_timeout(Some(Duration::from_secs(30)))?;
    events.psubscribe("__keyevent@*__:*")?;
    cleanup(&mut conn, &["DRYRUN"])?;
    let reply = cleanup(&mut conn, &[])?;
    ensure!(
        reply.int("keys_removed")? == world.dead_keys() as i64,
        "{reply:?}"
    );
    // One more, so that the end of the events is known.
    run(&mut conn, "SET last 1")?;
    run(&mut conn, "DEL last")?;
    let mut removed = Vec::new();
    loop {
        let message = events.get_message()?;
        let key: Vec<u8> = message.get_payload()?;
        ensure!(
            message.get_channel_name() == "__keyevent@0__:del",
            "{message:?}"
        );
        if key == b"last" {
            break;
        }
        removed.push(key);
    }
    ensure!(
        removed.len() == world.dead_keys(),
        "{} events",
        removed.len()
    );
    let removed: BTreeSet<_> = removed.into_iter().collect();
    ensure!(removed == world.dead.keys().collect(), "other keys");
    Ok(())
}

#[test]
fn a_watched_key_that_goes_aborts_the_transaction() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let world = World::load_sized(&mut conn, 5, 5, 5)?;
    let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
    for (fleet, aborts) in [(&world.dead, true), (&world.live, false)] {
        for key in fleet.family_keys(2) {
            let key = text(&key);
            world.dead.load(&mut conn, |_| ())?;
            let mut watcher = server.client()?;
            run(&mut watcher, &format!("WATCH {key}"))?;
            cleanup(&mut conn, &["DRYRUN"])?;
            cleanup(&mut conn, &[])?;
            run(&mut watcher, "MULTI")?;
            run(&mut watcher, "PING")?;
            let outcome = run(&mut watcher, "EXEC")?;
            ensure!(
                (outcome == redis::Value::Nil) == aborts,
                "{key}: {outcome:?}"
            );
        }
    }
    // A dry run alone aborts nothing.
    world.dead.load(&mut conn, |_| ())?;
    let mut watcher = server.client()?;
    run(
        &mut watcher,
        &format!("WATCH {}", text(&world.dead.family_keys(2)[0])),
    )?;
    cleanup(&mut conn, &["DRYRUN"])?;
    run(&mut watcher, "MULTI")?;
    run(&mut watcher, "PING")?;
    ensure!(run(&mut watcher, "EXEC")? != redis::Value::Nil);
    Ok(())
}

#[test]
fn a_client_that_caches_a_key_is_told_that_it_went() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let world = World::load_sized(&mut conn, 3, 3, 3)?;
    let mut cache = Raw::connect(&server)?;
    cache.send("HELLO 3")?;
    cache.send("CLIENT TRACKING ON")?;
    let cached = [world.dead.family_keys(1), world.live.family_keys(1)].concat();
    for key in &cached {
        cache.send(&format!("GET {}", String::from_utf8_lossy(key)))?;
    }
    cache.send("ECHO cached")?;
    while cache.line()? != "cached" {}
    cleanup(&mut conn, &["DRYRUN"])?;
    cleanup(&mut conn, &[])?;
    cache.send("ECHO over")?;
    let mut told = BTreeSet::new();
    loop {
        let line = cache.line()?;
        if line == "over" {
            break;
        }
        if line == "invalidate" {
            let count: usize = cache.line()?.strip_prefix('*').context("a list")?.parse()?;
            for _ in 0..count {
                cache.line()?;
                told.insert(cache.line()?.into_bytes());
            }
        }
    }
    ensure!(
        told == world.dead.family_keys(1).into_iter().collect(),
        "{told:?}"
    );
    Ok(())
}
