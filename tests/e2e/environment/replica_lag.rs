//! A replica that cannot keep up: the run waits for it before the server cuts it off.
//! Every test would be red without the waiting: more is removed than the replica's output buffer may hold.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use blocking_harness::{
    Figure, Server, ServerBuilder, cleanup_async, dbsize, info_field, redis, server_now_ms, tally,
    wait_for_value, wait_until, walk_removes_expired,
};
use redis::Connection;

use super::long_run::{DEADLINE, assert_healthy, ending, run, status, wait_until_idle};

/// Acks of one dead coordinator. Their removal is a stream of 35 MB, of which the system's sockets hold less than ten.
const ACKS: i64 = 1_000_000;

/// The limit is for what the server itself holds for a replica.
fn primary() -> ServerBuilder {
    Server::builder()
        .aof(true)
        .arg("client-output-buffer-limit", "replica 12mb 12mb 30")
        .arg("repl-backlog-size", "1mb")
}

/// A dead coordinator with a million acks and two more keys, and a living one.
fn load(conn: &mut Connection) -> Result<()> {
    run(conn, &format!("DEBUG POPULATE {ACKS} blocking:ack:dead 8"))?;
    let now_ms = server_now_ms(conn)?;
    for (id, beat_ms) in [("dead", now_ms - 10_000_000), ("live", now_ms)] {
        run(conn, &format!("SET blocking:heartbeat:{id} {beat_ms}"))?;
        run(conn, &format!("SET blocking:signal:{id} 1"))?;
    }
    Ok(())
}

fn waits_for(conn: &mut Connection) -> Result<Option<String>> {
    let current = status(conn)?.map("current");
    Ok(current.and_then(|current| current.text("waiting_for")).ok())
}

fn wait_until_it_waits(conn: &mut Connection) -> Result<()> {
    let waiting = || waits_for(conn);
    let for_replicas = |word: &Option<String>| word.as_deref() == Some("replicas");
    wait_for_value(
        "a run that waits for the replica",
        DEADLINE,
        waiting,
        for_replicas,
    )
    .map(drop)
}

fn keys_removed(conn: &mut Connection) -> Result<i64> {
    status(conn)?.map("current")?.int("keys_removed")
}

fn count(conn: &mut Connection, section: &str, field: &str) -> Result<u64> {
    Ok(info_field(conn, section, field)?.parse()?)
}

/// The run ends whole, and the replica has followed it to the end over the link it had before.
fn assert_followed(primary: &Server, replica: &Server) -> Result<()> {
    let mut conn = primary.client()?;
    let last = wait_until_idle(&mut conn)?;
    ensure!(ending(&last)? == ("complete".to_owned(), None), "{last:?}");
    ensure!(last.int("keys_removed")? == ACKS + 2, "{last:?}");
    replica.wait_in_sync_with(primary)?;
    ensure!(
        count(&mut conn, "stats", "sync_full")? == 1,
        "{}",
        primary.log()
    );
    ensure!(
        count(&mut conn, "stats", "sync_partial_ok")? == 0,
        "{}",
        primary.log()
    );
    let sizes: [i64; 2] = [dbsize(&mut conn)?, dbsize(&mut replica.client()?)?];
    ensure!(sizes == [2, 2], "{sizes:?}");
    assert_healthy(replica)?;
    assert_healthy(primary)
}

#[test]
fn a_run_of_a_million_keys_goes_as_slowly_as_its_replica() -> Result<()> {
    let primary = primary().start()?;
    let mut conn = primary.client()?;
    load(&mut conn)?;
    let replica = Server::builder().replica_of(&primary).start()?;
    replica.wait_in_sync_with(&primary)?;
    replica.freeze()?;
    cleanup_async(&mut conn, &[])?;
    wait_until_it_waits(&mut conn)?;
    let before = keys_removed(&mut conn)?;
    ensure!((1..ACKS).contains(&before), "{before} removed");
    // Others are served meanwhile, and nothing more is written for the replica to hold.
    let until = Instant::now() + Duration::from_millis(1_500);
    while Instant::now() < until {
        ensure!(keys_removed(&mut conn)? == before, "it went on");
        ensure!(waits_for(&mut conn)?.as_deref() == Some("replicas"));
        ensure!(count(&mut conn, "blocking", "blocking_current_paused")? == 1);
    }
    ensure!(count(&mut conn, "replication", "connected_slaves")? == 1);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<()> {
        let out_of_breath = scope.spawn(|| -> Result<()> {
            while !over.load(Ordering::Relaxed) {
                replica.thaw()?;
                std::thread::sleep(Duration::from_millis(20));
                replica.freeze()?;
                std::thread::sleep(Duration::from_millis(40));
            }
            replica.thaw()
        });
        let followed = assert_followed(&primary, &replica);
        over.store(true, Ordering::Relaxed);
        out_of_breath.join().expect("no panic")?;
        followed
    })?;
    tally(Figure::FaultsInjected, 2)
}

/// Where the walk removes what has expired, it tells the replicas of every key. Those are few, for it would leave
/// many to the server, but have names of 24 MB in all.
#[test]
fn a_walk_over_expired_keys_waits_for_replicas_too() -> Result<()> {
    const KEYS: usize = 300_000;
    const EXPIRED: usize = 1_000;
    const THERE: usize = KEYS - EXPIRED;
    let primary = primary().start()?;
    let mut conn = primary.client()?;
    run(&mut conn, "DEBUG SET-ACTIVE-EXPIRE 0")?;
    let replica = Server::builder().replica_of(&primary).start()?;
    run(&mut conn, &format!("DEBUG POPULATE {THERE} foreign 8"))?;
    let long = "x".repeat(24_000);
    for first in (0..EXPIRED).step_by(100) {
        let mut pipe = redis::pipe();
        for n in first..first + 100 {
            let write = pipe.cmd("SET").arg(format!("{long}:{n}")).arg(1);
            write.arg(&["PX", "1"]).ignore();
        }
        let () = pipe.query(&mut conn)?;
        replica.wait_in_sync_with(&primary)?;
    }
    replica.freeze()?;
    cleanup_async(&mut conn, &[])?;
    let waits = walk_removes_expired(&mut conn);
    if waits {
        wait_until_it_waits(&mut conn)?;
        let left = dbsize(&mut conn)?;
        ensure!(
            (THERE as i64 + 1..KEYS as i64).contains(&left),
            "{left} left"
        );
        std::thread::sleep(Duration::from_millis(500));
        ensure!(dbsize(&mut conn)? == left, "it went on");
    }
    replica.thaw()?;
    let last = wait_until_idle(&mut conn)?;
    ensure!(ending(&last)? == ("complete".to_owned(), None), "{last:?}");
    ensure!(last.int("keys_scanned")? == KEYS as i64, "{last:?}");
    replica.wait_in_sync_with(&primary)?;
    ensure!(
        count(&mut conn, "stats", "sync_full")? == 1,
        "{}",
        primary.log()
    );
    ensure!(count(&mut conn, "stats", "sync_partial_ok")? == 0);
    let left = if waits { THERE } else { KEYS };
    ensure!(dbsize(&mut conn)? == left as i64);
    assert_healthy(&replica)?;
    assert_healthy(&primary)?;
    tally(Figure::FaultsInjected, 1)
}

#[test]
fn a_run_waits_for_a_replica_that_is_being_sent_the_data_set() -> Result<()> {
    // A shortest possible sleep for every tenth key makes some six seconds for a million of them, time enough to stop
    // the replica in.
    let primary = primary().arg("rdb-key-save-delay", -10).start()?;
    let mut conn = primary.client()?;
    load(&mut conn)?;
    let replica = Server::builder().start()?;
    let mut follower = replica.client()?;
    let port = primary.port();
    run(&mut follower, &format!("REPLICAOF 127.0.0.1 {port}"))?;
    wait_until("the copying to begin", DEADLINE, || {
        let saving = count(&mut conn, "persistence", "rdb_bgsave_in_progress");
        saving.ok().filter(|saving| *saving == 1)
    })?;
    replica.freeze()?;
    cleanup_async(&mut conn, &[])?;
    wait_until_it_waits(&mut conn)?;
    let state = info_field(&mut conn, "replication", "slave0")?;
    ensure!(!state.contains("state=online"), "{state}");
    replica.thaw()?;
    assert_followed(&primary, &replica)?;
    tally(Figure::FaultsInjected, 1)
}

/// Without a CLIENT command there is only what replicas acknowledge, once a second.
#[test]
fn a_run_waits_on_a_server_without_the_client_command() -> Result<()> {
    let primary = primary().arg("rename-command", "CLIENT \"\"").start()?;
    let mut conn = primary.client()?;
    load(&mut conn)?;
    let replica = Server::builder().replica_of(&primary).start()?;
    replica.wait_in_sync_with(&primary)?;
    replica.freeze()?;
    cleanup_async(&mut conn, &[])?;
    wait_until_it_waits(&mut conn)?;
    replica.thaw()?;
    assert_followed(&primary, &replica)?;
    tally(Figure::FaultsInjected, 1)
}
