//! MODULE UNLOAD: refused as long as anything of a run could still call into the library, harmless afterwards.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use blocking_harness::{
    Server, cleanup, cleanup_async, error_text, redis, reply_map, wait_for_value,
};
use redis::{Connection, Value};

use super::long_run::{
    Caller, DEADLINE, MOMENTS, Moment, Slow, World, assert_healthy, ending, run, state, wait_for,
    wait_until_idle,
};

/// Where the server has the library from.
fn library(conn: &mut Connection) -> Result<String> {
    let modules: Vec<Value> = redis::cmd("MODULE").arg("LIST").query(conn)?;
    let module = modules.into_iter().next().context("no module is loaded")?;
    reply_map(module)?.text("path")
}

fn assert_unload_is_refused(conn: &mut Connection) -> Result<()> {
    let outcome: redis::RedisResult<Value> = redis::cmd("MODULE")
        .arg(&["UNLOAD", "blocking"])
        .query(conn);
    let text = error_text(&outcome.expect_err("unloaded during a run"));
    ensure!(text.starts_with("ERR Error unloading module: "), "{text}");
    Ok(())
}

#[test]
fn a_run_keeps_the_module_loaded() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    for moment in MOMENTS {
        for args in [&[][..], &["DRYRUN"]] {
            if moment == Moment::Reaping && !args.is_empty() {
                continue;
            }
            let world = World::load(&mut conn)?;
            let slow = Slow::start(&server)?;
            let caller = Caller::start(&server, args)?;
            wait_for(&mut conn, moment)?;
            assert_unload_is_refused(&mut conn)?;
            drop(slow);
            let reply = caller.answer()?;
            ensure!(
                ending(&reply)? == ("complete".to_owned(), None),
                "{reply:?}"
            );
            ensure!(
                reply.int("keys_removed")? == world.dead_keys() as i64,
                "{reply:?}"
            );
        }
        World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        cleanup_async(&mut conn, &[])?;
        wait_for(&mut conn, moment)?;
        // Again and again, so that every stage of a wake-up is met: descriptor, timer, none.
        for _ in 0..100 {
            assert_unload_is_refused(&mut conn)?;
        }
        drop(slow);
        let last = wait_until_idle(&mut conn)?;
        ensure!(ending(&last)? == ("complete".to_owned(), None), "{last:?}");
    }
    run(&mut conn, "MODULE UNLOAD blocking")?;
    assert_healthy(&server)
}

#[test]
fn a_paused_run_keeps_the_module_loaded() -> Result<()> {
    let server = Server::builder().aof(true).start()?;
    let mut conn = server.client()?;
    let world = World::load(&mut conn)?;
    let slow = Slow::start(&server)?;
    cleanup_async(&mut conn, &[])?;
    wait_for(&mut conn, Moment::Reaping)?;
    run(&mut conn, "CLIENT PAUSE 60000 WRITE")?;
    wait_for_value(
        "a pause",
        DEADLINE,
        || state(&mut conn),
        |state| state == "paused",
    )?;
    assert_unload_is_refused(&mut conn)?;
    run(&mut conn, "CLIENT UNPAUSE")?;
    drop(slow);
    let last = wait_until_idle(&mut conn)?;
    ensure!(ending(&last)? == ("complete".to_owned(), None), "{last:?}");
    ensure!(world.dead_keys_left(&mut conn)? == 0);
    run(&mut conn, "MODULE UNLOAD blocking")?;
    assert_healthy(&server)
}

#[test]
fn an_unloaded_module_leaves_nothing_that_calls_back() -> Result<()> {
    let server = Server::builder().aof(true).start()?;
    let mut conn = server.client()?;
    let path = library(&mut conn)?;
    let world = World::load_sized(&mut conn, 100, 10, 100)?;
    cleanup(&mut conn, &[])?;
    run(&mut conn, "MODULE UNLOAD blocking")?;
    // Whatever is still armed somewhere would fire within this time; timers of the run were 0 to 100 ms.
    let until = Instant::now() + Duration::from_millis(1_500);
    while Instant::now() < until {
        run(&mut conn, "INFO everything")?;
        run(&mut conn, "SET blocking:heartbeat:new 1")?;
        run(&mut conn, "DEL blocking:heartbeat:new")?;
    }
    run(&mut conn, "FLUSHDB")?;
    run(&mut conn, "SWAPDB 0 1")?;
    run(&mut conn, "SWAPDB 0 1")?;
    let error = cleanup(&mut conn, &[]).unwrap_err();
    ensure!(
        error_text(&error).starts_with("ERR unknown command"),
        "{error}"
    );
    assert_healthy(&server)?;
    run(&mut conn, &format!("MODULE LOAD {path}"))?;
    world.dead.load(&mut conn, |_| ())?;
    let reply = cleanup(&mut conn, &[])?;
    ensure!(
        reply.int("run")? == 1,
        "runs are numbered since load: {reply:?}"
    );
    ensure!(
        reply.int("keys_removed")? == world.dead_keys() as i64,
        "{reply:?}"
    );
    assert_healthy(&server)
}

#[test]
fn fifty_times_loaded_and_unloaded_with_a_run_each_time() -> Result<()> {
    let server = Server::builder().aof(true).start()?;
    let mut conn = server.client()?;
    let path = library(&mut conn)?;
    let world = World::load_sized(&mut conn, 40, 10, 500)?;
    for round in 0..50 {
        world.dead.load(&mut conn, |_| ())?;
        let report = match round % 3 {
            0 => cleanup(&mut conn, &[])?,
            1 => {
                cleanup_async(&mut conn, &[])?;
                wait_until_idle(&mut conn)?
            }
            _ => {
                cleanup(&mut conn, &["DRYRUN", "JSON"]).expect_err("one bulk string");
                cleanup(&mut conn, &[])?
            }
        };
        ensure!(
            report.int("keys_removed")? == world.dead_keys() as i64,
            "round {round}: {report:?}"
        );
        run(&mut conn, "MODULE UNLOAD blocking").with_context(|| format!("round {round}"))?;
        run(&mut conn, &format!("MODULE LOAD {path}")).with_context(|| format!("round {round}"))?;
    }
    world.assert_others_are_whole(&mut conn)?;
    assert_healthy(&server)
}
