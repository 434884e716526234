//! The command filter that counts the commands of clients. A build without timerfd has none, so this must not be
//! among the tests that run on such a build.

use anyhow::{Context, Result, ensure};
use blocking_harness::{Server, TOO_LATE, redis, wait_for_value};
use redis::Connection;

use super::long_run::{
    Caller, DEADLINE, MOMENTS, Slow, World, assert_healthy, state, wait_for, wait_until_idle,
};

/// How many command filters the module has, by the server's account: commands are counted while a run is on.
fn filters(conn: &mut Connection) -> Result<u32> {
    let info: String = redis::cmd("INFO").arg("modules").query(conn)?;
    let lines = info.lines().map(|line| line.trim_end().split(','));
    let fields = lines
        .map(Vec::from_iter)
        .find(|fields| fields.contains(&"module:name=blocking"))
        .context("not in INFO")?;
    let count = fields
        .iter()
        .find_map(|field| field.strip_prefix("filters="));
    Ok(count.context("no filters")?.parse()?)
}

#[test]
fn commands_are_counted_during_a_run_only() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    World::load(&mut conn)?;
    ensure!(filters(&mut conn)? == 0);
    let slow = Slow::start(&server)?;
    let caller = Caller::start(&server, &[])?;
    for moment in MOMENTS {
        wait_for(&mut conn, moment)?;
        // For a moment after very many they are not.
        wait_for_value(
            "a filter",
            DEADLINE,
            || filters(&mut conn),
            |count| *count == 1,
        )?;
        ensure!(state(&mut conn)? != "idle", "{TOO_LATE}");
    }
    drop(slow);
    caller.answer()?;
    wait_until_idle(&mut conn)?;
    ensure!(filters(&mut conn)? == 0);
    assert_healthy(&server)
}
