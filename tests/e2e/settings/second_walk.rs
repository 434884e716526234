//! Where not all family keys fit `blocking.collect-max-bytes`, a run walks twice: what the living own takes no place.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{Reply, Server, cleanup, dbsize, server_now_ms};

use super::{OLD_MS, set, write_stale};
use crate::environment::long_run::{
    Caller, DEADLINE, Slow, assert_healthy, ended, ending, run, status, wait_until_idle,
};

const LIVING_KEYS: usize = 3_000;

const LATE: &str = "heartbeats became stale too late to go with this run; run again";

fn with_little_room() -> Result<(Server, Connection)> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    set(&mut conn, "blocking.collect-max-bytes", "64kb")?;
    Ok((server, conn))
}

/// A coordinator that beats, and more of its keys than fit into 64 kb.
fn write_living(conn: &mut Connection, id: &str, keys: usize) -> Result<()> {
    let now_ms = server_now_ms(conn)?;
    let mut pipe = redis::pipe();
    pipe.set(format!("blocking:heartbeat:{id}"), now_ms + 600_000)
        .ignore();
    for n in 0..keys {
        let name = format!("blocking:ack:{id}:a-signal-with-a-name-{n}");
        pipe.set(name, "x").ignore();
    }
    Ok(pipe.query(conn)?)
}

/// The dead, the living, keys that both could own, orphans, and keys that have expired.
fn write_all(conn: &mut Connection) -> Result<()> {
    run(conn, "DEBUG SET-ACTIVE-EXPIRE 0")?;
    write_living(conn, "living", LIVING_KEYS)?;
    write_stale(conn, "dead", 250)?;
    write_stale(conn, "dead:too", 0)?;
    let mut pipe = redis::pipe();
    for n in 0..10 {
        pipe.set(format!("blocking:idempotency:dead:living:{n}"), "x")
            .ignore();
    }
    for n in 0..40 {
        pipe.set(format!("blocking:signal:nobody-{n}"), "x")
            .ignore();
    }
    for n in 0..300 {
        let name = format!("blocking:signal:nobody-of-long-ago-{n}");
        pipe.cmd("SET").arg(name).arg("x").arg("PX").arg(1).ignore();
    }
    pipe.query::<()>(conn)?;
    // Until the last has expired by the server's clock.
    run(conn, "DEBUG SLEEP 0.01").map(drop)
}

/// Everything that a reply counts but the walk's own figures.
fn counts(reply: &Reply) -> Result<Vec<i64>> {
    let fields = [
        "coordinators_checked",
        "coordinators_stale",
        "coordinators_removed",
        "keys_removed",
        "keys_vetoed",
        "keys_orphaned",
    ];
    fields.into_iter().map(|field| reply.int(field)).collect()
}

#[test]
fn what_the_living_own_takes_no_place_of_the_dead() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    write_all(&mut conn)?;
    let all = cleanup(&mut conn, &["DRYRUN"])?;
    set(&mut conn, "blocking.collect-max-bytes", "64kb")?;
    let dry = cleanup(&mut conn, &["DRYRUN"])?;
    let run = cleanup(&mut conn, &[])?;
    for reply in [&all, &dry, &run] {
        ensure!(ending(reply)? == ("complete".to_owned(), None), "{reply:?}");
        ensure!(counts(reply)? == [3, 2, 2, 252, 10, 40], "{reply:?}");
        // One walk counts.
        let scanned = reply.int("keys_scanned")?;
        ensure!(
            (3_000..5_000).contains(&scanned),
            "{scanned} keys: {reply:?}"
        );
    }
    ensure!(dry.int("slices")? > 1, "{dry:?}");
    let left: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut conn)?;
    ensure!(left.len() == LIVING_KEYS + 1 + 10 + 40, "{}", left.len());
    ensure!(!left.iter().any(|key| key.starts_with("blocking:ack:dead")));
    Ok(())
}

/// A run that removes orphans must know all keys: what was left out could speak for any of them.
#[test]
fn what_the_living_own_keeps_orphans_and_nothing_else() -> Result<()> {
    let (_server, mut conn) = with_little_room()?;
    write_all(&mut conn)?;
    let why = "orphans stay while blocking.collect-max-bytes is too small; raise it";
    for options in [&["ORPHANS", "DRYRUN"][..], &["ORPHANS"]] {
        let reply = cleanup(&mut conn, options)?;
        ensure!(ending(&reply)? == ended("truncated", why), "{reply:?}");
        ensure!(counts(&reply)? == [3, 2, 2, 252, 10, 40], "{reply:?}");
        ensure!(reply.int("orphans_removed")? == 0, "{reply:?}");
    }
    let left: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut conn)?;
    ensure!(left.len() == LIVING_KEYS + 1 + 10 + 40, "{}", left.len());
    Ok(())
}

/// Waits until the run under way walks for the second time.
fn wait_for_second_walk(conn: &mut Connection) -> Result<()> {
    let began = Instant::now();
    let mut most = 0;
    loop {
        let status = status(conn)?;
        if let Ok(current) = status.map("current") {
            let scanned = current.int("keys_scanned")?;
            let is_collecting = status.text("state")? == "collecting";
            if is_collecting && (1..most).contains(&scanned) {
                return Ok(());
            }
            most = most.max(scanned);
            ensure!(is_collecting, "no second walk: {status:?}");
        }
        ensure!(began.elapsed() < DEADLINE, "no second walk: {status:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn who_becomes_stale_in_the_second_walk_is_left_to_the_next_run() -> Result<()> {
    const LATECOMERS: usize = 50;
    let (server, mut conn) = with_little_room()?;
    write_living(&mut conn, "living", LIVING_KEYS)?;
    write_stale(&mut conn, "dead", 250)?;
    let ids: Vec<String> = (0..LATECOMERS).map(|n| format!("late-{n}")).collect();
    for id in &ids {
        write_living(&mut conn, id, 3)?;
    }
    let slow = Slow::start(&server)?;
    let caller = Caller::start(&server, &[])?;
    wait_for_second_walk(&mut conn)?;
    slow.hold();
    for id in &ids {
        let set = redis::cmd("SET")
            .arg(format!("blocking:heartbeat:{id}"))
            .arg(OLD_MS)
            .to_owned();
        set.exec(&mut conn)?;
    }
    drop(slow);
    let reply = caller.answer()?;
    ensure!(ending(&reply)? == ended("truncated", LATE), "{reply:?}");
    // The walk had come to some of them when they were still alive.
    ensure!(reply.int("coordinators_stale")? > 1, "{reply:?}");
    ensure!(reply.int("keys_removed")? == 251, "{reply:?}");
    ensure!(reply.int("coordinators_removed")? == 1, "{reply:?}");
    let others = 1 + LIVING_KEYS;
    ensure!(dbsize(&mut conn)? as usize == others + LATECOMERS * 4);
    let reply = cleanup(&mut conn, &[])?;
    ensure!(
        ending(&reply)? == ("complete".to_owned(), None),
        "{reply:?}"
    );
    ensure!(reply.int("keys_removed")? == 200, "{reply:?}");
    ensure!(dbsize(&mut conn)? as usize == others);
    assert_healthy(&server)
}

#[test]
fn a_second_walk_can_be_cancelled() -> Result<()> {
    let (server, mut conn) = with_little_room()?;
    write_living(&mut conn, "living", LIVING_KEYS)?;
    write_stale(&mut conn, "dead", 250)?;
    let before = dbsize(&mut conn)?;
    let slow = Slow::start(&server)?;
    let caller = Caller::start(&server, &[])?;
    wait_for_second_walk(&mut conn)?;
    slow.hold();
    run(&mut conn, "BLOCKING.CANCEL")?;
    let why = ended("cancelled", "cancelled by BLOCKING.CANCEL");
    ensure!(ending(&caller.answer()?)? == why);
    wait_until_idle(&mut conn)?;
    ensure!(dbsize(&mut conn)? == before);
    drop(slow);
    let reply = cleanup(&mut conn, &[])?;
    ensure!(reply.int("keys_removed")? == 251, "{reply:?}");
    assert_healthy(&server)
}

/// Of the living there are more heartbeats than the first walk keeps room for beside other keys.
#[test]
fn many_heartbeats_and_many_keys_of_the_living_leave_room_for_the_dead() -> Result<()> {
    let (_server, mut conn) = with_little_room()?;
    for n in 0..800 {
        write_living(&mut conn, &format!("coordinator-{n}"), 4)?;
    }
    write_stale(&mut conn, "dead", 100)?;
    for options in [&["DRYRUN"][..], &[]] {
        let reply = cleanup(&mut conn, options)?;
        ensure!(
            ending(&reply)? == ("complete".to_owned(), None),
            "{reply:?}"
        );
        ensure!(counts(&reply)? == [801, 1, 1, 101, 0, 0], "{reply:?}");
    }
    ensure!(dbsize(&mut conn)? == 800 * 5);
    Ok(())
}

/// Each time it asks SCAN it removes a window of what has expired, and where that comes to too much it begins
/// anew. So it does that once, whatever else makes it begin anew.
#[test]
fn a_run_that_has_begun_anew_for_expired_keys_does_not_do_so_again() -> Result<()> {
    const EXPIRED: usize = 12_000;
    let server = Server::start()?;
    let mut conn = server.client()?;
    run(&mut conn, "DEBUG SET-ACTIVE-EXPIRE 0")?;
    for n in 0..800 {
        write_living(&mut conn, &format!("coordinator-{n}"), 4)?;
    }
    write_stale(&mut conn, "dead", 100)?;
    let mut pipe = redis::pipe();
    for n in 0..EXPIRED {
        let name = format!("cache:{n}");
        pipe.cmd("SET").arg(name).arg("x").arg("PX").arg(1).ignore();
    }
    pipe.query::<()>(&mut conn)?;
    run(&mut conn, "DEBUG SLEEP 0.01")?;
    set(&mut conn, "blocking.collect-max-bytes", "64kb")?;
    let reply = cleanup(&mut conn, &[])?;
    ensure!(
        ending(&reply)? == ("complete".to_owned(), None),
        "{reply:?}"
    );
    ensure!(reply.int("keys_removed")? == 101, "{reply:?}");
    let left = dbsize(&mut conn)? as usize;
    // A window is of 512 keys and the page that fills it.
    ensure!(left + 700 > EXPIRED + 800 * 5, "{left} keys left");
    Ok(())
}
