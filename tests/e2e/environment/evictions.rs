//! The server itself removes keys while a run is on, because its memory is full or their TTL has passed. Every key that
//! is missing afterwards is accounted for, by the server or by the run; the run took nothing but what is dead.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use blocking_harness::{
    Figure, Server, TOO_LATE, cleanup, digest, existing_keys, foreign_pair, info_field, redis,
    server_now_ms, tally, wait_for_value,
};
use redis::{Connection, Value};

use super::long_run::{
    Caller, DEADLINE, Moment, Slow, World, assert_healthy, ended, ending, removing, run, runs,
};

/// Foreign keys, so that the server's choice falls on them, too.
const FOREIGN: u64 = 20_000;

/// What a run says of keys whose owner it does not know any more.
const KEYS_STAY: &str = "keys stay, and their stale owners' heartbeats";
const UNSETTLED: &str = "of which an owner's heartbeat went away meanwhile; run again";

type Keys = HashSet<Vec<u8>>;

/// What the server says of every key that goes, and why.
struct Witness(Connection);

impl Witness {
    fn start(server: &Server) -> Result<Self> {
        let mut conn = server.client()?;
        run(&mut conn, "CONFIG SET notify-keyspace-events Egxe")?;
        // It must not be cut off, however late it reads.
        let () = redis::cmd("CONFIG")
            .arg(&["SET", "client-output-buffer-limit", "pubsub 0 0 0"])
            .query(&mut conn)?;
        run(
            &mut conn,
            "SUBSCRIBE __keyevent@0__:del __keyevent@0__:evicted",
        )?;
        Ok(Self(conn))
    }

    /// Every key that went until now: by a command, and by eviction.
    fn tell(mut self) -> Result<(Keys, Keys)> {
        // What was sent before this comes before its answer.
        self.0
            .send_packed_command(&redis::cmd("PING").get_packed_command())?;
        let (mut deleted, mut evicted) = (Keys::new(), Keys::new());
        loop {
            let Value::Array(words) = self.0.recv_response()? else {
                anyhow::bail!("no message");
            };
            // The answer to SUBSCRIBE ends in a number.
            let words: Vec<Vec<u8>> =
                redis::from_redis_value(Value::Array(words)).unwrap_or_default();
            match words.as_slice() {
                [pong, _] if pong == b"pong" => return Ok((deleted, evicted)),
                [_, channel, key] if channel.ends_with(b":del") => deleted.insert(key.clone()),
                [_, _, key] => evicted.insert(key.clone()),
                _ => false,
            };
        }
    }
}

fn info_number(conn: &mut Connection, section: &str, field: &str) -> Result<i64> {
    info_field(conn, section, field)?
        .parse()
        .with_context(|| field.to_owned())
}

/// Leaves the server less memory than it uses: it evicts a part of its keys, and goes on doing so.
fn fill_memory(conn: &mut Connection) -> Result<()> {
    let used = info_number(conn, "memory", "used_memory")?;
    run(conn, &format!("CONFIG SET maxmemory {}", used - 500_000))?;
    Ok(())
}

#[test]
fn evictions_and_a_run_do_not_mistake_each_others_keys() -> Result<()> {
    for during in [false, true] {
        let mut tries = 0;
        while !try_evictions(during)? {
            tries += 1;
            ensure!(tries < 20, "{TOO_LATE}, every time");
        }
    }
    tally(Figure::FaultsInjected, 2)
}

/// One run on a server of its own; false if it was over before anything was evicted.
fn try_evictions(during: bool) -> Result<bool> {
    let server = Server::builder()
        .aof(true)
        .arg("maxmemory-policy", "allkeys-lru")
        .start()?;
    let mut conn = server.client()?;
    let world = World::load_sized(&mut conn, 1_500, 500, FOREIGN)?;
    let live: Keys = world.live.keys().collect();
    let dead: Keys = world.dead.keys().collect();
    let witness = Witness::start(&server)?;
    let slow = Slow::start(&server)?;
    if !during {
        fill_memory(&mut conn)?;
    }
    let caller = Caller::start(&server, &[])?;
    if removing(&mut conn, 0)?.is_none() {
        return Ok(false);
    }
    if during {
        fill_memory(&mut conn)?;
    }
    let before = info_number(&mut conn, "stats", "evicted_keys")?;
    // New keys of others keep the memory full.
    let mut writes = redis::pipe();
    for n in 0..200 {
        let write = writes.cmd("SET").arg(format!("new:{n}"));
        write.arg("x".repeat(4_000)).ignore();
    }
    let () = writes.query(&mut conn)?;
    let evicted_during = info_number(&mut conn, "stats", "evicted_keys")? - before;
    if runs(&mut conn)? > 0 {
        return Ok(false);
    }
    drop(slow);
    let reply = caller.answer()?;
    // A key that two of the dead could own stays when the heartbeat of one of them was evicted.
    let unsettled = reply.int("keys_unsettled").unwrap_or_default();
    let end = match unsettled {
        0 => ("complete".to_owned(), None),
        count => ended("partial", &format!("{KEYS_STAY}: {count} {UNSETTLED}")),
    };
    ensure!(ending(&reply)? == end, "{reply:?}");
    run(&mut conn, "CONFIG SET maxmemory 0")?;
    let evictions = info_number(&mut conn, "stats", "evicted_keys")?;
    let (deleted, evicted) = witness.tell()?;
    ensure!(evicted.len() as i64 == evictions, "{evictions} evictions");
    ensure!(evicted_during > 0, "nothing was evicted during the run");
    ensure!(evicted.iter().any(|key| dead.contains(key)));
    ensure!(evicted.iter().any(|key| !dead.contains(key)));

    let not_dead: Vec<_> = deleted.iter().filter(|key| !dead.contains(*key)).collect();
    ensure!(not_dead.is_empty(), "removed: {not_dead:?}");
    ensure!(reply.int("keys_removed")? == deleted.len() as i64);
    let foreign = (0..FOREIGN).map(|n| foreign_pair(n).0);
    let all = dead.iter().cloned().chain(live).chain(foreign);
    let all: Keys = all.collect();
    let there: HashSet<_> = existing_keys(&mut conn, all.iter().cloned())?
        .into_iter()
        .collect();
    for key in &all {
        let gone = deleted.contains(key) || evicted.contains(key);
        ensure!(gone != there.contains(key), "{}", key.escape_ascii());
    }
    // Only coordinators are left whose heartbeats lead to keys that stayed, and the next run removes all of these.
    let left = there.iter().filter(|key| dead.contains(*key)).count() as i64;
    let mut found = Vec::new();
    for index in 0..world.dead.len() {
        let keys = world.dead.family_keys(index);
        if there.contains(&keys[0]) {
            // One of its own keys, or the one that names it as the receiver.
            let sender = (index + world.dead.len() - 1) % world.dead.len();
            let mut led_to = [&keys[1..], &world.dead.family_keys(sender)[3..4]].concat();
            led_to.retain(|key| there.contains(key) || evicted.contains(key));
            ensure!(!led_to.is_empty(), "{}", keys[0].escape_ascii());
            found.push(keys);
        }
    }
    let again = cleanup(&mut conn, &[])?;
    ensure!(
        ending(&again)? == ("complete".to_owned(), None),
        "{again:?}"
    );
    ensure!(
        again.int("coordinators_removed")? == found.len() as i64,
        "{again:?}"
    );
    ensure!(existing_keys(&mut conn, found.into_iter().flatten())?.is_empty());
    // What is left of the dead then has lost its heartbeat to an eviction; nothing proves their death any more.
    let orphans = world.dead_keys_left(&mut conn)? as i64;
    ensure!(left - orphans == again.int("keys_removed")?, "{again:?}");
    ensure!(
        again.int("keys_orphaned")? >= orphans,
        "{orphans} orphans: {again:?}"
    );
    assert_healthy(&server)?;
    Ok(true)
}

/// Found alive by the walk, gone when the removal comes to them, and still stored: active expiry is off.
#[test]
fn a_hundred_thousand_ttls_that_pass_during_a_run_leave_nothing_to_remove() -> Result<()> {
    const COORDINATORS: usize = 17_000;
    let server = Server::builder()
        .aof(true)
        // A log that is never late: with a sync under way, the server may answer before it has written.
        .arg("appendfsync", "no")
        .start()?;
    let replica = Server::builder().replica_of(&server).start()?;
    replica.wait_in_sync_with(&server)?;
    let mut conn = server.client()?;
    run(&mut conn, "DEBUG SET-ACTIVE-EXPIRE 0")?;
    let world = World::load_sized(&mut conn, COORDINATORS, 20, 600)?;
    let slow = Slow::start(&server)?;
    let caller = Caller::start(&server, &[])?;
    // The walk takes long at a crawl.
    run(&mut conn, "CONFIG SET blocking.slice-us 5000")?;
    slow.hold_at(&mut conn, Moment::Reaping)?;
    run(&mut conn, "CONFIG SET blocking.slice-us 50")?;
    // All of them in one piece, so that the run sees either none or all. In a moment, not at once, for then it would
    // be the script that removes them.
    let expire = "local count = 0 for _, key in ipairs(redis.call('KEYS', '*dead-*')) do \
        count = count + redis.call('PEXPIRE', key, ARGV[1]) end return count";
    let mut script = redis::cmd("EVAL");
    let expired: i64 = script.arg(expire).arg(0).arg(1).query(&mut conn)?;
    let passed_ms = server_now_ms(&mut conn)? + 2;
    let removed = world.dead_keys() as i64 - expired;
    ensure!(removed > 0 && expired > 50_000, "{expired} expired");
    wait_for_value(
        "the TTLs to pass",
        DEADLINE,
        || Ok(server_now_ms(&mut conn)?),
        |now_ms| *now_ms > passed_ms,
    )?;
    drop(slow);
    let reply = caller.answer()?;
    ensure!(ending(&reply)? == ("complete".to_owned(), None));
    ensure!(
        reply.int("keys_removed")? == removed,
        "{removed}: {reply:?}"
    );
    ensure!(
        // An idempotency key goes with the later of the two that it names.
        reply.int("coordinators_removed")? == (removed + 1) / 6,
        "{reply:?}"
    );
    ensure!(
        reply.int("keys_orphaned")? == expired - expired / 6,
        "{expired}: {reply:?}"
    );
    ensure!(world.dead_keys_left(&mut conn)? == 0);
    world.assert_others_are_whole(&mut conn)?;
    // What was found expired was removed for replica and log as well.
    replica.wait_in_sync_with(&server)?;
    let expected = digest(&mut conn)?;
    ensure!(digest(&mut replica.client()?)? == expected, "the replica");
    server.restart()?;
    ensure!(digest(&mut server.client()?)? == expected, "the log");
    assert_healthy(&server)?;
    assert_healthy(&replica)?;
    tally(Figure::FaultsInjected, 1)
}
