//! A script holds the server up past its patience: the server serves a few commands in the middle of it, and the
//! keyspace must stand still for the script all the same.

use std::thread::JoinHandle;

use anyhow::{Result, ensure};
use blocking_harness::{Figure, Server, redis, tally, wait_until};

use super::long_run::{
    Caller, DEADLINE, MOMENTS, Raw, Slow, World, assert_healthy, ending, run, status,
    wait_until_idle,
};

/// Spins for a time in milliseconds and tells how many keys went meanwhile.
const SPIN: &str = "local function now() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end \
    local keys = redis.call('DBSIZE') local till = now() + tonumber(ARGV[1]) \
    while now() < till do end return keys - redis.call('DBSIZE')";

fn server() -> Result<Server> {
    Server::builder()
        .aof(true)
        .arg("busy-reply-threshold", 50)
        .start()
}

/// Waits until the server has lost its patience with one more script than `before`. The log says so for good, whereas
/// the error BUSY is only there to be met as long as the script goes on.
fn wait_until_busy(server: &Server, before: usize) -> Result<()> {
    wait_until("a slow script", DEADLINE, || {
        (slow_scripts(server) > before).then_some(())
    })
}

fn slow_scripts(server: &Server) -> usize {
    server.log().matches("Slow script detected").count()
}

/// A script that only SCRIPT KILL ends; the server says that it is busy by now.
fn endless_script(server: &Server) -> Result<JoinHandle<redis::RedisResult<i64>>> {
    let mut scripter = server.client()?;
    let busy_before = slow_scripts(server);
    let script = std::thread::spawn(move || {
        let mut eval = redis::cmd("EVAL");
        eval.arg("while true do end").arg(0).query(&mut scripter)
    });
    wait_until_busy(server, busy_before)?;
    Ok(script)
}

#[test]
fn a_run_stands_still_for_a_slow_script_and_goes_on_after_it() -> Result<()> {
    let server = server()?;
    let mut conn = server.client()?;
    for moment in MOMENTS {
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        let caller = Caller::start(&server, &[])?;
        slow.hold_at(&mut conn, moment)?;
        let mut scripter = server.client()?;
        let busy_before = slow_scripts(&server);
        let script = std::thread::spawn(move || {
            let mut eval = redis::cmd("EVAL");
            eval.arg(SPIN).arg(0).arg(600).query::<i64>(&mut scripter)
        });
        wait_until_busy(&server, busy_before)?;
        let gone = script.join().expect("no panic")?;
        ensure!(gone == 0, "{moment:?}: {gone} keys went during the script");
        drop(slow);
        let reply = caller.answer()?;
        ensure!(
            ending(&reply)? == ("complete".to_owned(), None),
            "{moment:?}: {reply:?}"
        );
        ensure!(
            reply.int("keys_removed")? == world.dead_keys() as i64,
            "{reply:?}"
        );
        ensure!(world.dead_keys_left(&mut conn)? == 0);
        world.assert_others_are_whole(&mut conn)?;
    }
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, MOMENTS.len() as u64)
}

#[test]
fn a_script_killed_during_a_run_does_not_harm_it() -> Result<()> {
    let server = server()?;
    let mut conn = server.client()?;
    for moment in MOMENTS {
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        run(&mut conn, "BLOCKING.CLEANUP ASYNC")?;
        slow.hold_at(&mut conn, moment)?;
        let script = endless_script(&server)?;
        run(&mut conn, "SCRIPT KILL")?;
        ensure!(script.join().expect("no panic").is_err());
        drop(slow);
        let last = wait_until_idle(&mut conn)?;
        ensure!(
            ending(&last)? == ("complete".to_owned(), None),
            "{moment:?}: {last:?}"
        );
        ensure!(world.dead_keys_left(&mut conn)? == 0);
        world.assert_others_are_whole(&mut conn)?;
    }
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, MOMENTS.len() as u64)
}

#[test]
fn a_caller_that_disconnects_during_a_slow_script_ends_its_run() -> Result<()> {
    let server = server()?;
    let mut conn = server.client()?;
    run(&mut conn, "CONFIG SET blocking.linger-seconds 0")?;
    for moment in MOMENTS {
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        let mut caller = Raw::connect(&server)?;
        caller.send("BLOCKING.CLEANUP")?;
        slow.hold_at(&mut conn, moment)?;
        let mut scripter = server.client()?;
        let busy_before = slow_scripts(&server);
        let script = std::thread::spawn(move || {
            let mut eval = redis::cmd("EVAL");
            eval.arg(SPIN).arg(0).arg(400).query::<i64>(&mut scripter)
        });
        wait_until_busy(&server, busy_before)?;
        drop(caller);
        ensure!(script.join().expect("no panic")? == 0);
        let last = wait_until_idle(&mut conn)?;
        drop(slow);
        ensure!(last.text("status")? == "cancelled", "{moment:?}: {last:?}");
        world.assert_next_run_does_the_rest(&mut conn)?;
    }
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, MOMENTS.len() as u64)
}

#[test]
fn no_run_begins_during_a_slow_script() -> Result<()> {
    let server = server()?;
    let mut conn = server.client()?;
    let world = World::load_sized(&mut conn, 20, 5, 50)?;
    let script = endless_script(&server)?;
    for words in [
        "BLOCKING.CLEANUP",
        "BLOCKING.CLEANUP ASYNC",
        "BLOCKING.CLEANUP DRYRUN",
    ] {
        let refused = run(&mut conn, words).expect_err("begun during a script");
        ensure!(format!("{refused:#}").contains("BUSY"), "{refused:#}");
    }
    run(&mut conn, "SCRIPT KILL")?;
    ensure!(script.join().expect("no panic").is_err());
    ensure!(world.dead_keys_left(&mut conn)? == world.dead_keys());
    ensure!(status(&mut conn)?.map("totals")?.int("runs")? == 0);
    world.assert_next_run_does_the_rest(&mut conn)?;
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, 1)
}
