//! The server's own expiry during a slow run, beside that of a server without one.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use blocking_harness::{
    Server, dbsize,
    redis::{self, Connection},
    server_now_ms,
};

use crate::stalls::{one_at_a_time, with_tries};

const KEYS: i64 = 100_000;
/// They expire one after the other within this time.
const SPREAD_MS: i64 = 12_000;
/// Until all are written, however busy the machine is.
const LEAD_MS: i64 = 10_000;

/// The key of this number expires so much later than the first.
fn offset_ms(number: i64) -> i64 {
    number * 7_919 % SPREAD_MS
}

fn write(conn: &mut Connection, from_ms: i64) -> Result<()> {
    const SCRIPT: &str = "for i = ARGV[1], ARGV[2] - 1 do \
        redis.call('SET', 'session:' .. i, 'x', 'PXAT', ARGV[3] + i * 7919 % ARGV[4]) end";
    const PART: i64 = 5_000;
    for part in 0..KEYS / PART {
        let mut eval = redis::cmd("EVAL");
        eval.arg(SCRIPT).arg(0).arg(part * PART);
        eval.arg((part + 1) * PART).arg(from_ms).arg(SPREAD_MS);
        let () = eval.query(conn)?;
    }
    ensure!(server_now_ms(conn)? < from_ms, "written too late");
    Ok(())
}

/// How many keys are stored that have expired.
fn left_over(conn: &mut Connection, from_ms: i64) -> Result<i64> {
    let stored = dbsize(conn)?;
    let now_ms = server_now_ms(conn)?;
    let alive = (0..KEYS).filter(|number| from_ms + offset_ms(*number) > now_ms);
    Ok(stored - alive.count() as i64)
}

#[test]
fn a_slow_run_leaves_the_server_to_its_own_expiry() -> Result<()> {
    let _alone = one_at_a_time();
    let servers = [Server::start()?, Server::start()?];
    let mut conns = [servers[0].client()?, servers[1].client()?];
    with_tries(|| {
        let from_ms = server_now_ms(&mut conns[0])? + LEAD_MS;
        for conn in &mut conns {
            let () = redis::cmd("FLUSHALL").query(conn)?;
            for (name, value) in [
                ("cpu-percent", 1),
                ("idle-cpu-percent", 1),
                ("slice-us", 50),
            ] {
                let mut set = redis::cmd("CONFIG");
                set.arg("SET").arg(format!("blocking.{name}")).arg(value);
                let () = set.query(conn)?;
            }
            write(conn, from_ms)?;
        }
        while server_now_ms(&mut conns[0])? < from_ms {
            sleep(Duration::from_millis(10));
        }
        let () = redis::cmd("BLOCKING.CLEANUP")
            .arg("ASYNC")
            .query(&mut conns[1])?;
        let mut sums = [0, 0];
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(SPREAD_MS as u64) {
            for (sum, conn) in sums.iter_mut().zip(&mut conns) {
                *sum += left_over(conn, from_ms)?;
            }
            sleep(Duration::from_millis(50));
        }
        let [without, with] = sums;
        let ratio = with as f64 / without as f64;
        eprintln!("  expired keys that are stored: {ratio:.2} times as many during a slow run");
        ensure!(ratio <= 1.2, "{ratio:.2} times as many");
        Ok(())
    })
}
