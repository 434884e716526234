//! Every setting changes what it says it changes, from the next run on.

use std::time::Duration;

use anyhow::Result;
use blocking_harness::redis::{self, Connection, Value};
use blocking_harness::{Fleet, Server, cleanup, dbsize, load_foreign, server_now_ms};

use super::{OLD_MS, set, write_stale};

fn heartbeats(conn: &mut Connection) -> Result<usize> {
    let keys: Vec<String> = redis::cmd("KEYS").arg("blocking:heartbeat:*").query(conn)?;
    Ok(keys.len())
}

#[test]
fn the_threshold_decides_unless_the_caller_gives_one() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let now_ms = server_now_ms(&mut conn)?;
    Fleet::new(["young"], now_ms)
        .age_s(300)
        .load(&mut conn, |_| ())?;
    let stale = |conn: &mut Connection, options: &[&str]| -> Result<(i64, i64)> {
        let reply = cleanup(conn, &[&["DRYRUN"], options].concat())?;
        Ok((reply.int("threshold_s")?, reply.int("coordinators_stale")?))
    };
    assert_eq!(stale(&mut conn, &[])?, (600, 0));
    set(&mut conn, "blocking.threshold-seconds", 299)?;
    assert_eq!(stale(&mut conn, &[])?, (299, 1));
    assert_eq!(stale(&mut conn, &["THRESHOLD", "100000"])?, (100_000, 0));
    cleanup(&mut conn, &[])?;
    assert_eq!(dbsize(&mut conn)?, 0);
    Ok(())
}

#[test]
fn a_heartbeat_longer_than_the_limit_is_unreadable_and_kept() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    for limit in [64, 65_536] {
        set(&mut conn, "blocking.max-heartbeat-bytes", limit)?;
        for (id, bytes) in [("fits", limit), ("too-long", limit + 1)] {
            let mut beat = format!(r#"{{"timestamp":{OLD_MS},"padding":""}}"#);
            let more = bytes - beat.len();
            beat.insert_str(beat.len() - 2, &"x".repeat(more));
            assert_eq!(beat.len(), bytes);
            redis::cmd("SET")
                .arg(format!("blocking:heartbeat:{id}"))
                .arg(beat)
                .query::<()>(&mut conn)?;
        }
        let reply = cleanup(&mut conn, &[])?;
        assert_eq!(reply.int("coordinators_checked")?, 2, "{limit}");
        assert_eq!(reply.int("coordinators_unreadable")?, 1, "{limit}");
        assert_eq!(reply.texts("stale_ids")?, ["fits"], "{limit}");
        let left: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut conn)?;
        assert_eq!(left, ["blocking:heartbeat:too-long"], "{limit}");
    }
    Ok(())
}

#[test]
fn runs_at_the_memory_limit_are_truncated_and_the_next_go_on_until_nothing_is_left() -> Result<()> {
    const COORDINATORS: i64 = 200;
    let server = Server::start()?;
    let mut conn = server.client()?;
    set(&mut conn, "blocking.collect-max-bytes", "64kb")?;
    for n in 0..COORDINATORS {
        write_stale(&mut conn, &format!("coordinator-with-a-name-{n}"), 20)?;
    }
    let mut removed = 0;
    for run in 1.. {
        assert!(run < 20, "{} keys are left", dbsize(&mut conn)?);
        let before = dbsize(&mut conn)?;
        let reply = cleanup(&mut conn, &[])?;
        removed += reply.int("keys_removed")?;
        assert_eq!(dbsize(&mut conn)?, before - reply.int("keys_removed")?);
        assert_eq!(reply.int("coordinators_stale")?, COORDINATORS);
        if reply.text("status")? == "complete" {
            assert!(run > 2, "the limit was not reached");
            assert_eq!(reply.int("coordinators_removed")?, COORDINATORS);
            break;
        }
        assert_eq!(reply.text("status")?, "truncated");
        assert!(reply.int("keys_removed")? > 0);
        // A key that was left out can be found again only through the heartbeat.
        assert_eq!(reply.int("coordinators_removed")?, 0);
        assert_eq!(heartbeats(&mut conn)? as i64, COORDINATORS);
    }
    assert_eq!(removed, 21 * COORDINATORS);
    assert_eq!(dbsize(&mut conn)?, 0);
    Ok(())
}

#[test]
fn at_the_memory_limit_a_run_does_what_its_dry_run_says_whatever_has_expired() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    set(&mut conn, "blocking.collect-max-bytes", "64kb")?;
    redis::cmd("DEBUG")
        .arg(&["SET-ACTIVE-EXPIRE", "0"])
        .query::<()>(&mut conn)?;
    write_stale(&mut conn, "dead", 40)?;
    let mut pipe = redis::pipe();
    for n in 0..3_000 {
        let name = format!("blocking:signal:somebody-of-long-ago-{n}");
        pipe.cmd("SET").arg(name).arg("x").arg("PX").arg(1).ignore();
    }
    pipe.query::<()>(&mut conn)?;
    let dry = cleanup(&mut conn, &["DRYRUN"])?;
    let run = cleanup(&mut conn, &[])?;
    for reply in [&dry, &run] {
        assert_eq!(reply.text("status")?, "complete", "{reply:?}");
        assert_eq!(reply.int("keys_removed")?, 41, "{reply:?}");
    }
    Ok(())
}

fn has_walk_by_pages(conn: &mut Connection) -> Result<bool> {
    let info: String = redis::cmd("INFO").arg("server").query(conn)?;
    Ok(info.contains("valkey_version"))
}

/// Keys that the dead and the living could own are found first or last, as it comes: where they fill the memory no run
/// comes to the rest.
#[test]
fn runs_at_the_memory_limit_go_on_or_say_that_they_cannot() -> Result<()> {
    const REASON: &str =
        "nothing can be removed while keys that stay fill blocking.collect-max-bytes; raise it";
    let server = Server::start()?;
    let mut conn = server.client()?;
    set(&mut conn, "blocking.collect-max-bytes", "64kb")?;
    let now_ms = server_now_ms(&mut conn)?;
    let mut pipe = redis::pipe();
    pipe.set("blocking:heartbeat:living", now_ms + 600_000)
        .ignore();
    for n in 0..3_000 {
        let name = format!("blocking:idempotency:dead:living:a-signal-with-a-name-{n}");
        pipe.set(name, "x").ignore();
    }
    pipe.query::<()>(&mut conn)?;
    write_stale(&mut conn, "dead", 300)?;
    for _ in 0..400 {
        let dry = cleanup(&mut conn, &["DRYRUN"])?;
        let run = cleanup(&mut conn, &[])?;
        for reply in [&dry, &run] {
            assert_eq!(reply.text("status")?, "truncated", "{reply:?}");
            let is_stuck = reply.int("keys_removed")? == 0;
            let reason = reply.text("reason").ok();
            assert_eq!(reason.as_deref(), is_stuck.then_some(REASON), "{reply:?}");
        }
        let removed = run.int("keys_removed")?;
        // A walk by pages notices only after one that the memory is full.
        let page_keys = if has_walk_by_pages(&mut conn)? {
            100
        } else {
            0
        };
        let differ = dry.int("keys_removed")?.abs_diff(removed);
        assert!(differ <= page_keys, "{dry:?} {run:?}");
        if removed == 0 {
            // The way out that it names.
            set(&mut conn, "blocking.collect-max-bytes", "1mb")?;
            cleanup(&mut conn, &[])?;
            assert_eq!(dbsize(&mut conn)?, 3_001);
            return Ok(());
        }
    }
    panic!("runs go on and on");
}

#[test]
fn heartbeats_that_do_not_fit_the_memory_limit_end_the_run_with_that_reason() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    set(&mut conn, "blocking.collect-max-bytes", "64kb")?;
    for n in 0..2_000 {
        write_stale(&mut conn, &format!("coordinator-with-a-name-{n}"), 0)?;
    }
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(reply.text("status")?, "truncated");
    let reason = "the heartbeats alone exceed blocking.collect-max-bytes; raise it";
    assert_eq!(reply.text("reason")?, reason);
    assert_eq!(reply.int("keys_removed")?, 0);
    assert_eq!(dbsize(&mut conn)?, 2_000);
    set(&mut conn, "blocking.collect-max-bytes", "1mb")?;
    assert_eq!(cleanup(&mut conn, &[])?.text("status")?, "complete");
    assert_eq!(dbsize(&mut conn)?, 0);
    Ok(())
}

#[test]
fn longer_slices_are_fewer() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    load_foreign(&mut conn, 50_000, |_| ())?;
    let mut slices = Vec::new();
    for slice_us in [50, 1_000, 100_000] {
        set(&mut conn, "blocking.slice-us", slice_us)?;
        let reply = cleanup(&mut conn, &["DRYRUN"])?;
        assert_eq!(reply.text("status")?, "complete");
        slices.push(reply.int("slices")?);
    }
    // How many it takes depends on the machine; a busy one cuts slices short by standing still in them.
    assert!(
        slices[0] > 4 * slices[1] && slices[1] > 2 * slices[2],
        "{slices:?}"
    );
    Ok(())
}

#[test]
fn the_latency_monitor_hears_of_long_slices_only_when_it_is_on() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    load_foreign(&mut conn, 50_000, |_| ())?;
    set(&mut conn, "blocking.slice-us", 100_000)?;
    // Name, time, latest and longest of each event. Valkey adds a sum and a count from 8.1 on.
    type Events = Vec<(String, i64, i64, i64)>;
    let mut heard = |threshold_ms: i64| -> Result<(i64, Events)> {
        set(&mut conn, "latency-monitor-threshold", threshold_ms)?;
        let longest_us = cleanup(&mut conn, &["DRYRUN"])?.int("longest_slice_us")?;
        let rows: Vec<Vec<Value>> = redis::cmd("LATENCY").arg("LATEST").query(&mut conn)?;
        let rows = rows
            .into_iter()
            .map(|row| row.into_iter().take(4).collect());
        let mut events: Events =
            redis::from_redis_value(Value::Array(rows.map(Value::Array).collect()))?;
        events.retain(|(name, ..)| name == "blocking-cleanup");
        Ok((longest_us, events))
    };
    let (longest_us, events) = heard(0)?;
    assert!(longest_us > 2_000, "the slice took {longest_us} us only");
    assert_eq!(events, []);
    // On, but with a threshold that no slice reaches.
    let hour_ms = i64::try_from(Duration::from_secs(3600).as_millis())?;
    assert_eq!(heard(hour_ms)?.1, []);
    let (longest_us, events) = heard(1)?;
    assert_eq!(events.len(), 1, "{events:?}");
    let (_, _, _, max_ms) = &events[0];
    assert_eq!(*max_ms, longest_us / 1_000);
    Ok(())
}
