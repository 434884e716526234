//! The server is killed in the middle of a run: what it finds in its append-only file afterwards is a keyspace from
//! which the next run can finish the work, and exactly the keyspace that the file tells of.
//! Moments are random. BLOCKING_SEED takes the number that a test prints and chooses the same ones again.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use blocking_harness::{
    Figure, Server, cleanup, cleanup_async, dbsize, differing_keys, info_field, redis, seed,
    server_now_ms, tally, wait_for_value,
};
use fastrand::Rng;
use redis::Connection;

use super::append_only::AppendOnly;
use crate::environment::long_run::{DEADLINE, World, assert_healthy, run, status};

const KILLS: u64 = 20;
const CUTS: u64 = 15;
const ACKS: i64 = 60_000;
const ORPHANS: usize = 50;

/// When the file is synced makes no difference to what a killed process leaves in it. But it decides how much of the
/// run is written by then: with `always` all that a client was told of, with `everysec` a sync that is under way may
/// hold writes back.
const SYNCS: [&str; 3] = ["always", "everysec", "no"];

fn server(slice_us: u64) -> Result<Server> {
    Server::builder()
        .aof(true)
        // So that the whole file is commands, which the test can read for itself.
        .arg("aof-use-rdb-preamble", "no")
        // Our asking for its progress would otherwise slow the run down.
        .arg("blocking.cpu-percent", 100)
        .arg("blocking.slice-us", slice_us)
        .start()
}

fn sync(conn: &mut Connection, round: u64) -> Result<&'static str> {
    let sync = SYNCS[round as usize % SYNCS.len()];
    run(conn, &format!("CONFIG SET appendfsync {sync}"))?;
    Ok(sync)
}

/// Starts a run and kills the server when so many keys are removed, or when the run is over.
fn kill_during_a_removal(server: &Server, keys: u64) -> Result<()> {
    let mut conn = server.client()?;
    cleanup_async(&mut conn, &[])?;
    while let Ok(current) = status(&mut conn)?.map("current") {
        if current.int("keys_removed")? as u64 >= keys {
            break;
        }
    }
    server.kill9()
}

/// Starts a run and kills the server after a time, wherever the run is then: in the walk, in the plan, in a slice.
fn kill_after(server: &Server, time: Duration) -> Result<()> {
    let mut conn = server.client()?;
    let started = Instant::now();
    cleanup_async(&mut conn, &[])?;
    while started.elapsed() < time {
        std::hint::spin_loop();
    }
    server.kill9()
}

/// Starts the killed server again and compares what it holds with what the file said before it started.
fn restart_from_the_file(server: &Server) -> Result<Connection> {
    let told = AppendOnly::read(server.dir())?.keys()?;
    server.restart()?;
    let mut conn = server.client()?;
    let keys = dbsize(&mut conn)?;
    ensure!(
        keys == told.len() as i64,
        "{keys} keys, and {} in the file",
        told.len()
    );
    for names in told.keys().collect::<Vec<_>>().chunks(1_000) {
        let found: usize = redis::cmd("EXISTS").arg(names).query(&mut conn)?;
        ensure!(found == names.len(), "other keys than in the file");
    }
    // Of very many keys with one and the same value a few will do.
    let step = told.len().div_ceil(5_000).max(1);
    let different = differing_keys(&mut conn, told.into_iter().step_by(step))?;
    ensure!(
        different.is_empty(),
        "{} values are not as in the file",
        different.len()
    );
    Ok(conn)
}

/// The file would otherwise grow by every removal and make the restarts slow.
fn rewrite(conn: &mut Connection) -> Result<()> {
    run(conn, "BGREWRITEAOF")?;
    for field in ["aof_rewrite_scheduled", "aof_rewrite_in_progress"] {
        wait_for_value(
            "the rewrite",
            DEADLINE,
            || info_field(conn, "persistence", field),
            |now| now == "0",
        )?;
    }
    let outcome = info_field(conn, "persistence", "aof_last_bgrewrite_status")?;
    ensure!(outcome == "ok", "{outcome}");
    Ok(())
}

/// Keys of coordinators that never had a heartbeat: no run may take them, after a crash neither.
fn orphans() -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let key = |n| format!("blocking:ack:nobody-{n}:s").into_bytes();
    (0..ORPHANS).map(move |n| (key(n), b"1".to_vec()))
}

fn load_orphans(conn: &mut Connection) -> Result<()> {
    for (key, value) in orphans() {
        let () = redis::cmd("SET").arg(key).arg(value).query(conn)?;
    }
    Ok(())
}

/// What must hold of the keyspace after any crash.
fn assert_families_have_their_heartbeats(world: &World, conn: &mut Connection) -> Result<()> {
    world.assert_heartbeats_went_last(conn)?;
    world.assert_others_are_whole(conn)?;
    let lost = differing_keys(conn, orphans())?;
    ensure!(lost.is_empty(), "{} orphans lost", lost.len());
    Ok(())
}

#[test]
fn a_crash_leaves_no_family_without_its_heartbeat() -> Result<()> {
    let mut chance = Rng::with_seed(seed()?);
    let server = server(50)?;
    let mut conn = server.client()?;
    let world = World::load_sized(&mut conn, 400, 20, 100)?;
    load_orphans(&mut conn)?;
    let started = Instant::now();
    cleanup(&mut conn, &[])?;
    let whole_us = started.elapsed().as_micros() as u64;
    let mut in_the_middle = 0;
    for round in 0..KILLS {
        world.dead.load(&mut conn, |_| ())?;
        rewrite(&mut conn)?;
        let sync = sync(&mut conn, round)?;
        if round % 4 == 3 {
            kill_after(
                &server,
                Duration::from_micros(chance.u64(..whole_us.max(1))),
            )?;
        } else {
            kill_during_a_removal(&server, chance.u64(..world.dead_keys() as u64))?;
        }
        conn = restart_from_the_file(&server)
            .with_context(|| format!("kill {round}, appendfsync {sync}"))?;
        assert_families_have_their_heartbeats(&world, &mut conn)?;
        let left = world.dead_keys_left(&mut conn)?;
        in_the_middle += u64::from((1..world.dead_keys()).contains(&left));
    }
    eprintln!("{in_the_middle} of {KILLS} kills left something and not everything");
    ensure!(
        in_the_middle >= KILLS / 3,
        "{in_the_middle} kills in the middle"
    );
    world.assert_next_run_does_the_rest(&mut conn)?;
    assert_families_have_their_heartbeats(&world, &mut conn)?;
    assert_healthy(&server)?;
    tally(Figure::KillsSurvived, KILLS)
}

/// One coordinator with very many keys, which are removed in parts.
fn load_large_family(conn: &mut Connection) -> Result<()> {
    let now_ms = server_now_ms(conn)?;
    let () = redis::cmd("SET")
        .arg("blocking:heartbeat:large")
        .arg(format!(r#"{{"timestamp":{}}}"#, now_ms - 10_000_000))
        .query(conn)?;
    let mut eval = redis::cmd("EVAL");
    eval.arg(
        "for i = 1, ARGV[1] do redis.call('SET', 'blocking:ack:large:' .. i, '1') end return 1",
    );
    let () = eval.arg(0).arg(ACKS).query(conn)?;
    Ok(())
}

#[test]
fn a_crash_in_a_large_family_leaves_its_heartbeat_to_the_last() -> Result<()> {
    let mut chance = Rng::with_seed(seed()?);
    let server = server(250)?;
    let mut conn = server.client()?;
    load_large_family(&mut conn)?;
    let mut in_the_middle = 0;
    for round in 0..KILLS {
        if dbsize(&mut conn)? < ACKS / 4 {
            load_large_family(&mut conn)?;
        }
        rewrite(&mut conn)?;
        let sync = sync(&mut conn, round)?;
        let before = dbsize(&mut conn)?;
        kill_during_a_removal(&server, chance.u64(..before.max(1) as u64))?;
        conn = restart_from_the_file(&server)
            .with_context(|| format!("kill {round}, appendfsync {sync}"))?;
        let left = dbsize(&mut conn)?;
        let heartbeat: bool = redis::cmd("EXISTS")
            .arg("blocking:heartbeat:large")
            .query(&mut conn)?;
        ensure!(
            heartbeat == (left > 0),
            "{left} keys, heartbeat: {heartbeat}"
        );
        in_the_middle += u64::from(left > 0 && left < before);
    }
    eprintln!("{in_the_middle} of {KILLS} kills left something and not everything");
    ensure!(
        in_the_middle >= KILLS / 2,
        "{in_the_middle} kills in the middle"
    );
    let left = dbsize(&mut conn)?;
    let reply = cleanup(&mut conn, &[])?;
    ensure!(reply.text("status")? == "complete", "{reply:?}");
    ensure!(reply.int("keys_removed")? == left, "{reply:?}");
    ensure!(dbsize(&mut conn)? == 0);
    assert_healthy(&server)?;
    tally(Figure::KillsSurvived, KILLS)
}

/// The one file that the server appends to.
fn appended_file(server: &Server) -> Result<PathBuf> {
    let folder = fs::read_dir(server.dir().join("appendonlydir"))?;
    let paths: Vec<PathBuf> = folder
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    let mut appended = paths
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(".incr.aof"));
    let path = appended.next().context("no file")?;
    ensure!(appended.next().is_none(), "more than one file");
    Ok(path)
}

/// When the power fails, the file ends anywhere, in the middle of a command too. The server throws away what is not
/// whole, and what remains must be good to go on with.
#[test]
fn a_file_cut_anywhere_in_a_run_leaves_no_family_without_its_heartbeat() -> Result<()> {
    let mut chance = Rng::with_seed(seed()?);
    let server = server(50)?;
    let mut conn = server.client()?;
    let world = World::load_sized(&mut conn, 100, 10, 50)?;
    load_orphans(&mut conn)?;
    rewrite(&mut conn)?;
    // With `everysec` a write waits for the sync before it, and the reply does not wait for the write.
    run(&mut conn, "CONFIG SET appendfsync always")?;
    let reply = cleanup(&mut conn, &[])?;
    ensure!(reply.int("keys_removed")? == world.dead_keys() as i64);
    server.kill9()?;
    let path = appended_file(&server)?;
    let whole = fs::read(&path)?;
    let (mut torn, mut in_the_middle) = (0, 0);
    for round in 0..CUTS {
        let length = chance.u64(..whole.len() as u64) as usize;
        fs::write(&path, &whole[..length])?;
        torn += u64::from(AppendOnly::read(server.dir())?.torn_bytes > 0);
        conn = restart_from_the_file(&server).with_context(|| format!("cut at {length}"))?;
        assert_families_have_their_heartbeats(&world, &mut conn)
            .with_context(|| format!("cut {round} at {length}"))?;
        let left = world.dead_keys_left(&mut conn)?;
        in_the_middle += u64::from((1..world.dead_keys()).contains(&left));
        world
            .assert_next_run_does_the_rest(&mut conn)
            .with_context(|| format!("cut {round} at {length}"))?;
        assert_healthy(&server)?;
        server.kill9()?;
    }
    eprintln!(
        "{torn} of {CUTS} cuts tore something, {in_the_middle} left something and not everything"
    );
    ensure!(torn >= CUTS / 2 && in_the_middle >= CUTS / 2);
    tally(Figure::FaultsInjected, CUTS)
}
