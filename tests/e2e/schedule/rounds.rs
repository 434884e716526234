//! When runs come, where, and what a manual run does to them.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use blocking_harness::redis::{self, Value};
use blocking_harness::{Server, TOO_LATE, cleanup_async, reply_map, server_now_ms, wait_for_value};

use super::{
    DEADLINE, OLD_MS, eager, exists, info, left, lines, more_runs, schedule, set, status,
    wait_for_scheduled, wait_until_gone, write_pair,
};
use crate::environment::long_run::{
    Caller, Moment, Raw, Slow, World, assert_healthy, run, wait_until_idle,
};

#[test]
fn the_dead_vanish_without_a_call() -> Result<()> {
    let server = eager().arg("loglevel", "notice").start()?;
    let mut conn = server.client()?;
    let world = World::load_sized(&mut conn, 40, 10, 100)?;
    wait_for_value(
        "the dead to vanish",
        DEADLINE,
        || world.dead_keys_left(&mut conn),
        |left| *left == 0,
    )?;
    // Runs that find nothing say nothing.
    let last = more_runs(&mut conn, 3)?;
    world.assert_others_are_whole(&mut conn)?;
    let lines = lines(&server);
    let removed: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("complete"))
        .collect();
    ensure!(
        removed.len() == lines.len() && !lines.is_empty(),
        "{lines:?}"
    );
    ensure!(
        lines.len() <= 2,
        "a line for runs that removed nothing: {lines:?}"
    );
    ensure!(lines[0].starts_with("scheduled cleanup run "), "{lines:?}");
    ensure!(!server.log().contains("dead-0"), "ids in the log");
    ensure!(
        last.flag("scheduled")? && last.int("database")? == 0,
        "{last:?}"
    );
    ensure!(last.text("status")? == "complete", "{last:?}");
    ensure!(info(&mut conn, "last_scheduled")? == 1);
    ensure!(info(&mut conn, "schedule_on")? == 1);
    ensure!(info(&mut conn, "schedule_runs")? >= 4);
    ensure!(info(&mut conn, "schedule_idle_s")? <= 2);
    ensure!(info(&mut conn, "schedule_next_run_s")? <= 2);
    // Switched off at run time.
    set(&mut conn, "interval-seconds", 0)?;
    write_pair(&mut conn, "late", OLD_MS)?;
    std::thread::sleep(Duration::from_millis(2_500));
    ensure!(left(&mut conn, &["late"])? == 2);
    ensure!(info(&mut conn, "schedule_on")? == 0);
    let off = schedule(&mut conn)?;
    ensure!(off.get("next_run_s") == Some(&Value::Nil), "{off:?}");
    assert_healthy(&server)
}

#[test]
fn every_listed_database_and_no_other() -> Result<()> {
    let server = eager().arg("blocking.databases", "\"4 0\"").start()?;
    let mut conns = Vec::new();
    for db in [0, 1, 4] {
        let mut conn = server.client_db(db)?;
        write_pair(&mut conn, "dead", OLD_MS)?;
        conns.push(conn);
    }
    for place in [0, 2] {
        wait_until_gone(&mut conns[place], "blocking:signal:dead")?;
    }
    more_runs(&mut conns[0], 4)?;
    ensure!(left(&mut conns[1], &["dead"])? == 2);
    let listed = schedule(&mut conns[0])?;
    let expected = Value::Array(vec![Value::Int(4), Value::Int(0)]);
    ensure!(listed.get("databases") == Some(&expected), "{listed:?}");
    set(&mut conns[0], "databases", "1")?;
    wait_until_gone(&mut conns[1], "blocking:signal:dead")?;
    assert_healthy(&server)
}

#[test]
fn a_trial_period_removes_nothing_and_says_what_would_go() -> Result<()> {
    let server = eager().arg("blocking.dry-run", "yes").start()?;
    let mut conn = server.client()?;
    write_pair(&mut conn, "dead", OLD_MS)?;
    let last = more_runs(&mut conn, 3)?;
    ensure!(
        last.flag("dry_run")? && last.int("keys_removed")? == 2,
        "{last:?}"
    );
    ensure!(last.texts("stale_ids")? == ["dead"], "{last:?}");
    ensure!(left(&mut conn, &["dead"])? == 2);
    ensure!(lines(&server).is_empty());
    set(&mut conn, "dry-run", "no")?;
    wait_until_gone(&mut conn, "blocking:heartbeat:dead")?;
    Ok(())
}

/// The keyspace of a run that lasts, and a schedule that begins one.
fn long_scheduled_run(state: &str) -> Result<(Server, World, Slow)> {
    let server = eager().arg("blocking.interval-seconds", 0).start()?;
    let mut conn = server.client()?;
    let world = World::load(&mut conn)?;
    let slow = Slow::start(&server)?;
    set(&mut conn, "interval-seconds", 1)?;
    wait_for_scheduled(&mut conn, state)?;
    slow.hold();
    Ok((server, world, slow))
}

#[test]
fn a_manual_run_takes_the_place_of_a_scheduled_one() -> Result<()> {
    for state in ["collecting", "reaping"] {
        let (server, world, slow) = long_scheduled_run(state)?;
        let mut conn = server.client()?;
        let caller = Caller::start(&server, &[])?;
        wait_for_value(
            "the manual run",
            DEADLINE,
            || status(&mut conn),
            |status| {
                let current = status.map("current");
                current.is_ok_and(|current| !current.flag("scheduled").unwrap_or(true))
            },
        )?;
        world.assert_heartbeats_went_last(&mut conn)?;
        ensure!(
            world.dead_keys_left(&mut conn)? > 0,
            "the scheduled run went on"
        );
        drop(slow);
        let reply = caller.answer()?;
        ensure!(reply.text("status")? == "complete", "{reply:?}");
        ensure!(reply.get("scheduled").is_none(), "{reply:?}");
        ensure!(world.dead_keys_left(&mut conn)? == 0);
        world.assert_others_are_whole(&mut conn)?;
        let lines = lines(&server);
        let why = "cancelled (a manual run took its place)";
        ensure!(lines[0].contains(why), "{state}: {lines:?}");
        assert_healthy(&server)?;
    }
    Ok(())
}

/// Between the command and the end of the scheduled run there is a moment in which the manual run only waits.
#[test]
fn a_manual_run_that_waits_for_its_place_can_be_given_up() -> Result<()> {
    let (server, world, slow) = long_scheduled_run("collecting")?;
    let mut conn = server.client()?;
    // One transaction: the scheduled run has no slice in between.
    let mut both = redis::pipe();
    both.atomic();
    both.cmd("BLOCKING.CLEANUP").arg("ASYNC");
    both.cmd("BLOCKING.STATUS");
    both.cmd("BLOCKING.CLEANUP").arg("ASYNC");
    both.cmd("BLOCKING.CANCEL");
    conn.send_packed_command(&both.get_packed_pipeline())?;
    let answers: redis::RedisResult<Vec<Value>> = (0..6).map(|_| conn.recv_response()).collect();
    let answers = answers?;
    let Some(Value::Array(answers)) = answers.last() else {
        anyhow::bail!("{answers:?}");
    };
    let Value::Int(number) = answers[0] else {
        anyhow::bail!("{answers:?}");
    };
    let meanwhile = reply_map(answers[1].clone())?.map("current")?;
    ensure!(meanwhile.flag("scheduled")?, "{meanwhile:?}");
    ensure!(
        matches!(&answers[2], Value::ServerError(error) if error.code() == "INPROGRESS"),
        "{answers:?}"
    );
    ensure!(answers[3] == Value::Okay, "{answers:?}");
    let ended = |status: &blocking_harness::Reply| {
        let last = status.map("last").and_then(|last| last.int("run"));
        last.is_ok_and(|run| run == number)
    };
    let last = wait_for_value(
        "the manual run's end",
        DEADLINE,
        || status(&mut conn),
        ended,
    )?;
    let last = last.map("last")?;
    ensure!(
        last.text("reason")? == "cancelled by BLOCKING.CANCEL",
        "{last:?}"
    );

    // And its caller can go away.
    for unblock in [false, true] {
        wait_for_scheduled(&mut conn, "collecting")?;
        let mut caller = Raw::connect(&server)?;
        let id = caller.id()?;
        let mut operator = Raw::connect(&server)?;
        server.while_frozen(|| {
            caller.send("BLOCKING.CLEANUP")?;
            if unblock {
                operator.send(&format!("CLIENT UNBLOCK {id}"))
            } else {
                operator.send(&format!("CLIENT KILL ID {id}"))
            }
        })?;
        operator.line()?;
        let gone = |status: &blocking_harness::Reply| {
            let last = status.map("last").and_then(|last| last.text("reason"));
            last.is_ok_and(|reason| reason == "the caller went away")
        };
        wait_for_value("the end of the run", DEADLINE, || status(&mut conn), gone)?;
        world.assert_heartbeats_went_last(&mut conn)?;
    }
    drop(slow);
    wait_for_value(
        "the schedule to do it all",
        DEADLINE,
        || world.dead_keys_left(&mut conn),
        |left| *left == 0,
    )?;
    assert_healthy(&server)
}

#[test]
fn rounds_that_meet_a_manual_run_are_skipped_and_not_queued() -> Result<()> {
    let server = eager().arg("blocking.interval-seconds", 0).start()?;
    let mut conn = server.client()?;
    World::load(&mut conn)?;
    let slow = Slow::start(&server)?;
    cleanup_async(&mut conn, &[])?;
    slow.hold_at(&mut conn, Moment::Collecting)?;
    set(&mut conn, "interval-seconds", 1)?;
    wait_for_value(
        "three rounds to be skipped",
        DEADLINE,
        || {
            let running = info(&mut conn, "running")? == 1;
            let skipped = info(&mut conn, "schedule_skipped")?;
            ensure!(running || skipped >= 3, "{TOO_LATE}: {skipped} skipped");
            Ok(skipped)
        },
        |skipped| *skipped >= 3,
    )?;
    ensure!(info(&mut conn, "schedule_runs")? == 0);
    ensure!(
        !wait_for_manual(&mut conn)?,
        "{TOO_LATE}: the manual run is over"
    );
    drop(slow);
    let ended = wait_until_idle(&mut conn)?;
    ensure!(ended.get("scheduled").is_none(), "{ended:?}");
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(700) {
        ensure!(info(&mut conn, "schedule_runs")? <= 1, "they were queued");
    }
    more_runs(&mut conn, 1)?;
    assert_healthy(&server)
}

/// Whether the run under way is one of the schedule.
fn wait_for_manual(conn: &mut redis::Connection) -> Result<bool> {
    status(conn)?.map("current")?.flag("scheduled")
}

#[test]
fn cancel_ends_a_scheduled_run_and_the_next_round_does_the_rest() -> Result<()> {
    let (server, world, slow) = long_scheduled_run("reaping")?;
    let mut conn = server.client()?;
    run(&mut conn, "BLOCKING.CANCEL")?;
    world.assert_heartbeats_went_last(&mut conn)?;
    drop(slow);
    wait_for_value(
        "the next round",
        DEADLINE,
        || world.dead_keys_left(&mut conn),
        |left| *left == 0,
    )?;
    world.assert_others_are_whole(&mut conn)?;
    let why = "cancelled (cancelled by BLOCKING.CANCEL)";
    ensure!(lines(&server).iter().any(|line| line.contains(why)));
    Ok(())
}

/// The fleet as its writers leave it: the threshold is short, the living beat.
#[test]
fn the_living_keep_everything_while_the_schedule_is_on() -> Result<()> {
    let server = eager().arg("blocking.threshold-seconds", 2).start()?;
    let mut conn = server.client()?;
    let started = Instant::now();
    let now_ms = server_now_ms(&mut conn)?;
    write_pair(&mut conn, "dies", now_ms)?;
    while started.elapsed() < Duration::from_secs(7) {
        let now_ms = server_now_ms(&mut conn)?;
        write_pair(&mut conn, "lives", now_ms)?;
        std::thread::sleep(Duration::from_millis(100));
    }
    ensure!(left(&mut conn, &["dies", "lives"])? == 2);
    ensure!(exists(&mut conn, &["blocking:signal:lives"])? == 1);
    Ok(())
}
