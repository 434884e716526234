//! MODULE UNLOAD with the schedule on: between two runs nothing of it is in the server.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use blocking_harness::module_path;
use blocking_harness::redis::{self, Connection};

use super::{DEADLINE, OLD_MS, eager, more_runs, set, wait_until_gone, write_pair};
use crate::environment::long_run::{assert_healthy, run};

/// Unloads; while a run is on the server refuses, and then this asks again.
fn unload(conn: &mut Connection) -> Result<()> {
    let began = Instant::now();
    loop {
        match redis::cmd("MODULE").arg(&["UNLOAD", "blocking"]).exec(conn) {
            Ok(()) => return Ok(()),
            Err(error) => ensure!(began.elapsed() < DEADLINE, "{error}"),
        }
    }
}

#[test]
fn loaded_and_unloaded_while_the_schedule_is_on() -> Result<()> {
    const CYCLES: usize = 20;
    let server = eager().aof(true).start()?;
    let mut conn = server.client()?;
    let path = module_path(&mut conn)?;
    for cycle in 0..CYCLES {
        for (name, value) in [
            ("warm-up-seconds", "0"),
            ("second-look", "no"),
            ("max-stale-percent", "100"),
            ("interval-seconds", "1"),
        ] {
            set(&mut conn, name, value)?;
        }
        if cycle % 5 == 0 {
            // A schedule that has worked, and one whose first run is yet to come.
            write_pair(&mut conn, "dead", OLD_MS)?;
            wait_until_gone(&mut conn, "blocking:heartbeat:dead")?;
        }
        unload(&mut conn)?;
        // Several turns of the server's cron.
        std::thread::sleep(Duration::from_millis(250));
        run(&mut conn, "INFO everything")?;
        run(&mut conn, "FLUSHALL")?;
        run(&mut conn, &format!("MODULE LOAD {path}"))?;
    }
    set(&mut conn, "interval-seconds", 1)?;
    set(&mut conn, "warm-up-seconds", 0)?;
    more_runs(&mut conn, 1)?;
    unload(&mut conn)?;
    std::thread::sleep(Duration::from_millis(1_500));
    assert_healthy(&server)
}

/// The server is not asked to keep a module that has nothing to do.
#[test]
fn the_first_attempt_succeeds_between_two_runs() -> Result<()> {
    let server = eager().arg("blocking.interval-seconds", 3_600).start()?;
    let mut conn = server.client()?;
    std::thread::sleep(Duration::from_millis(500));
    run(&mut conn, "MODULE UNLOAD blocking")?;
    assert_healthy(&server)
}
