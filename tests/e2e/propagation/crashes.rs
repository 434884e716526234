//! The server is killed in the middle of a run: what it finds in its append-only file afterwards is a keyspace from
//! which the next run can finish the work.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use blocking_harness::{Server, cleanup, cleanup_async, redis, server_now_ms, wait_until};
use redis::Connection;

use crate::ground::long_run::{DEADLINE, World, assert_healthy, run, status};

const KILLS: u64 = 10;
const ACKS: i64 = 200_000;

/// Numbers that differ from one test run to the next; the first one is printed.
struct Chance(u64);

impl Chance {
    fn new() -> Result<Self> {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64 | 1;
        eprintln!("seed {seed}");
        Ok(Self(seed))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}

/// A log that is written in every turn of the event loop: a process that is killed loses nothing that was written,
/// synced or not, and no background sync ever holds a write back.
fn server() -> Result<Server> {
    Server::builder()
        .aof(true)
        .arg("appendfsync", "no")
        // Our asking for its progress would otherwise slow the run down.
        .arg("blocking.cpu-percent", 100)
        .start()
}

/// Starts a run and kills the server when so many keys are removed, or when the run is over.
fn kill_during_a_run(server: &Server, keys: u64) -> Result<()> {
    let mut conn = server.client()?;
    cleanup_async(&mut conn, &[])?;
    while let Ok(current) = status(&mut conn)?.map("current") {
        if current.int("keys_removed")? as u64 >= keys {
            break;
        }
    }
    server.kill9()
}

#[test]
fn a_crash_leaves_no_family_without_its_heartbeat() -> Result<()> {
    let mut chance = Chance::new()?;
    let server = server()?;
    let mut conn = server.client()?;
    let world = World::load_sized(&mut conn, 1_000, 20, 300)?;
    let mut in_the_middle = 0;
    for _ in 0..KILLS {
        world.dead.load(&mut conn, |_| ())?;
        kill_during_a_run(&server, chance.below(world.dead_keys() as u64))?;
        server.restart()?;
        conn = server.client()?;
        world.assert_heartbeats_went_last(&mut conn)?;
        world.assert_others_are_whole(&mut conn)?;
        let left = world.dead_keys_left(&mut conn)?;
        in_the_middle += u64::from((1..world.dead_keys()).contains(&left));
    }
    eprintln!("{in_the_middle} of {KILLS} kills left something and not everything");
    ensure!(
        in_the_middle >= KILLS / 2,
        "{in_the_middle} kills in the middle"
    );
    world.assert_next_run_does_the_rest(&mut conn)?;
    assert_healthy(&server)
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

fn dbsize(conn: &mut Connection) -> Result<i64> {
    Ok(redis::cmd("DBSIZE").query(conn)?)
}

#[test]
fn a_crash_in_a_large_family_leaves_its_heartbeat_to_the_last() -> Result<()> {
    let mut chance = Chance::new()?;
    let server = server()?;
    let mut conn = server.client()?;
    load_large_family(&mut conn)?;
    let mut in_the_middle = 0;
    for _ in 0..KILLS {
        if dbsize(&mut conn)? < ACKS / 4 {
            load_large_family(&mut conn)?;
        }
        // The file would otherwise grow by every removal and make the restarts slow.
        run(&mut conn, "BGREWRITEAOF")?;
        wait_until("the rewrite", DEADLINE, || {
            let field = "aof_rewrite_in_progress";
            let now = blocking_harness::info_field(&mut conn, "persistence", field).ok()?;
            (now == "0").then_some(())
        })?;
        let before = dbsize(&mut conn)?;
        kill_during_a_run(&server, chance.below(before as u64))?;
        server.restart()?;
        conn = server.client()?;
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
    assert_healthy(&server)
}
