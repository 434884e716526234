//! The wall clock is set forward: keys expire whose owners had no time to refresh them.

use anyhow::{Result, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{Clock, Server, ServerBuilder, cleanup, cleanup_async, wait_for_value};

use super::{DEADLINE, OLD_MS, info};
use crate::environment::long_run::{
    MOMENTS, Slow, World, assert_healthy, ended, ending, wait_until_idle,
};

const LIVING: usize = 600;
const TTL_MS: i64 = 100_000;
const STEP_MS: i64 = 140_000;
const WHY: &str = "the server stood still, or its clock was set forward";

fn server(clock: &Clock) -> ServerBuilder {
    Server::builder().clock(clock)
}

/// Coordinators that beat now, with a TTL; what is in their signals is old.
fn write_living(conn: &mut Connection) -> Result<()> {
    let now_ms = blocking_harness::server_now_ms(conn)?;
    let signal = format!(r#"{{"timestamp":{OLD_MS}}}"#);
    let mut pipe = redis::pipe();
    for number in 0..LIVING {
        pipe.cmd("SET")
            .arg((
                format!("blocking:heartbeat:lives-{number}"),
                now_ms,
                "PX",
                TTL_MS,
            ))
            .ignore();
        pipe.set(format!("blocking:signal:lives-{number}"), &signal)
            .ignore();
    }
    Ok(pipe.exec(conn)?)
}

fn signals(conn: &mut Connection) -> Result<usize> {
    let keys = (0..LIVING).map(|number| format!("blocking:signal:lives-{number}"));
    let keys: Vec<String> = keys.collect();
    Ok(redis::cmd("EXISTS").arg(keys).query(conn)?)
}

#[test]
fn a_clock_set_forward_ends_the_run_under_way_and_no_living_one_loses_a_key() -> Result<()> {
    let clock = Clock::new()?;
    let server = server(&clock).start()?;
    let mut conn = server.client()?;
    let world = World::load_sized(&mut conn, 400, 0, 0)?;
    for (number, moment) in (1..).zip(MOMENTS) {
        write_living(&mut conn)?;
        let slow = Slow::start(&server)?;
        cleanup_async(&mut conn, &["ORPHANS", "NOWARMUP"])?;
        slow.hold_at(&mut conn, moment)?;
        clock.set_ahead_ms(number * STEP_MS)?;
        drop(slow);
        let last = wait_until_idle(&mut conn)?;
        ensure!(
            ending(&last)? == ended("interrupted", WHY),
            "{moment:?}: {last:?}"
        );
        ensure!(signals(&mut conn)? == LIVING, "{moment:?}: {last:?}");
        // Nor does the next one begin at once.
        let refused = cleanup(&mut conn, &["ORPHANS"]).expect_err("a warm-up is on");
        ensure!(refused.code() == Some("WARMUP"), "{refused}");
    }
    ensure!(signals(&mut conn)? == LIVING);
    world.assert_heartbeats_went_last(&mut conn)?;
    assert_healthy(&server)
}

#[test]
fn a_clock_set_forward_begins_a_warm_up_when_no_run_is_on_and_one_set_back_does_not() -> Result<()>
{
    let clock = Clock::new()?;
    let server = server(&clock).start()?;
    let mut conn = server.client()?;
    cleanup(&mut conn, &[])?;
    write_living(&mut conn)?;
    clock.set_ahead_ms(STEP_MS)?;
    let look = || info(&mut conn, "writers_away_s");
    wait_for_value("a warm-up", DEADLINE, look, |away_s| *away_s >= 140)?;
    let refused = cleanup(&mut conn, &["ORPHANS"]).expect_err("a warm-up is on");
    ensure!(refused.code() == Some("WARMUP"), "{refused}");
    ensure!(signals(&mut conn)? == LIVING);
    super::set(&mut conn, "warm-up-seconds", 0)?;
    cleanup(&mut conn, &[])?;
    super::set(&mut conn, "warm-up-seconds", 3_600)?;
    clock.set_ahead_ms(0)?;
    write_living(&mut conn)?;
    // A run looks at the clocks before it begins.
    cleanup(&mut conn, &["ORPHANS"])?;
    ensure!(info(&mut conn, "writers_away_s")? == 0);
    ensure!(signals(&mut conn)? == LIVING);
    assert_healthy(&server)
}
