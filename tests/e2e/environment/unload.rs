//! MODULE UNLOAD: refused as long as anything of a run could still call into the library, harmless afterwards.

#[cfg(target_os = "linux")]
use std::fs::{read_dir, read_link, read_to_string};
#[cfg(target_os = "linux")]
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use blocking_harness::{
    Figure, Server, TOO_LATE, cleanup, cleanup_async, error_text, redis, reply_map, tally,
    wait_for_value,
};
use redis::{Connection, Value};

use super::long_run::{
    Caller, DEADLINE, MOMENTS, Moment, Raw, Slow, World, assert_healthy, ending, run, state,
    wait_for, wait_until_idle,
};

/// Where the server has the library from.
fn library(conn: &mut Connection) -> Result<String> {
    let modules: Vec<Value> = redis::cmd("MODULE").arg("LIST").query(conn)?;
    // A server may have modules of its own.
    for module in modules {
        let module = reply_map(module)?;
        if module.text("name")? == "blocking" {
            return module.text("path");
        }
    }
    bail!("the module is not loaded")
}

fn assert_unload_is_refused(conn: &mut Connection) -> Result<()> {
    let met = unload_meets_a_run(conn)?;
    ensure!(met, "{TOO_LATE}, and the module is gone");
    Ok(())
}

/// Asks to unload, and in the same breath whether a run is on: if one is, the server refuses; if not, it agrees.
fn unload_meets_a_run(conn: &mut Connection) -> Result<bool> {
    let mut pipe = redis::pipe();
    pipe.atomic()
        .cmd("BLOCKING.STATUS")
        .cmd("MODULE")
        .arg(&["UNLOAD", "blocking"]);
    conn.send_packed_command(&pipe.get_packed_pipeline())?;
    // MULTI, two commands that are queued, and EXEC.
    let answers: redis::RedisResult<Vec<Value>> = (0..4).map(|_| conn.recv_response()).collect();
    let Some(Value::Array(mut both)) = answers?.pop() else {
        bail!("EXEC did not answer with an array");
    };
    let unload = both.pop().context("no answer to UNLOAD")?;
    let status = reply_map(both.pop().context("no answer to STATUS")?)?;
    let met = status.text("state")? != "idle";
    match unload {
        Value::ServerError(error) if met => {
            let text = error.details().unwrap_or_default();
            ensure!(text.starts_with("Error unloading module: "), "{text}");
        }
        Value::Okay if !met => {}
        other => bail!("{other:?} while {status:?}"),
    }
    Ok(met)
}

#[test]
fn a_run_keeps_the_module_loaded() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let path = library(&mut conn)?;
    for moment in MOMENTS {
        for args in [&[][..], &["DRYRUN"]] {
            if moment == Moment::Reaping && !args.is_empty() {
                continue;
            }
            let world = World::load(&mut conn)?;
            let slow = Slow::start(&server)?;
            let caller = Caller::start(&server, args)?;
            slow.hold_at(&mut conn, moment)?;
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
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        cleanup_async(&mut conn, &[])?;
        wait_for(&mut conn, moment)?;
        // Again and again, so that every stage of a wake-up is met: descriptor, timer, none.
        let mut refused = 0;
        while unload_meets_a_run(&mut conn)? {
            refused += 1;
        }
        drop(slow);
        ensure!(refused > 0, "{TOO_LATE}");
        ensure!(world.dead_keys_left(&mut conn)? == 0);
        run(&mut conn, &format!("MODULE LOAD {path}"))?;
    }
    assert_healthy(&server)
}

#[test]
fn a_paused_run_keeps_the_module_loaded() -> Result<()> {
    let server = Server::builder().aof(true).start()?;
    let mut conn = server.client()?;
    let world = World::load(&mut conn)?;
    let slow = Slow::start(&server)?;
    cleanup_async(&mut conn, &[])?;
    slow.hold_at(&mut conn, Moment::Reaping)?;
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

/// Timers and workers of the module that the server's process still has: what a run would have left behind.
#[cfg(target_os = "linux")]
fn left_behind(server: &Server) -> Result<Vec<String>> {
    let process = Path::new("/proc").join(server.pid().to_string());
    let descriptors = read_dir(process.join("fd"))?.flatten();
    let targets = descriptors.filter_map(|entry| read_link(entry.path()).ok());
    let threads = read_dir(process.join("task"))?.flatten();
    let names = threads.filter_map(|entry| read_to_string(entry.path().join("comm")).ok());
    let targets = targets.map(|target| target.to_string_lossy().into_owned());
    let all = targets.chain(names);
    let ours = ["[timerfd]", "[eventfd]", "blocking-worker"];
    Ok(all
        .filter(|what| ours.iter().any(|sign| what.contains(sign)))
        .collect())
}

/// How a run is on its way out when the module is to be unloaded.
const EXITS: usize = 5;

/// Starts a run, in one of several ways, that ends soon by itself, by CANCEL or because its caller goes.
fn start_a_run(server: &Server, conn: &mut Connection, exit: usize) -> Result<()> {
    match exit % EXITS {
        0 => cleanup_async(conn, &[]).map(drop)?,
        1 => cleanup_async(conn, &["DRYRUN"]).map(drop)?,
        2 => {
            cleanup_async(conn, &[])?;
            // It may be over.
            let _ = run(conn, "BLOCKING.CANCEL");
        }
        3 => Raw::connect(server)?.send("BLOCKING.CLEANUP")?,
        _ => {
            let mut caller = Raw::connect(server)?;
            let id = caller.id()?;
            caller.send("BLOCKING.CLEANUP")?;
            // What was sent before it is read before it.
            run(conn, &format!("CLIENT KILL ID {id}"))?;
        }
    }
    Ok(())
}

/// Tries to unload in every turn of a run until the server agrees: the earliest moment that there is.
fn unload_as_soon_as_possible(conn: &mut Connection) -> Result<u64> {
    let started = Instant::now();
    let mut refused = 0;
    while unload_meets_a_run(conn)? {
        refused += 1;
        ensure!(started.elapsed() < DEADLINE, "refused {refused} times");
    }
    Ok(refused)
}

#[test]
fn two_hundred_times_loaded_and_unloaded() -> Result<()> {
    const CYCLES: usize = 200;
    let server = Server::builder().aof(true).start()?;
    let mut conn = server.client()?;
    let path = library(&mut conn)?;
    let world = World::load_sized(&mut conn, 40, 10, 500)?;
    let mut refused = 0;
    for cycle in 0..CYCLES {
        match cycle % 4 {
            // Nothing happens between load and unload.
            0 => {}
            // A run that is over, and its reply read.
            1 => {
                world.dead.load(&mut conn, |_| ())?;
                let reply = cleanup(&mut conn, &[])?;
                ensure!(reply.int("run")? == 1, "numbers are not new: {reply:?}");
                let removed = reply.int("keys_removed")?;
                ensure!(removed == world.dead_keys() as i64, "{cycle}: {reply:?}");
            }
            // A run that is not over.
            _ => {
                world.dead.load(&mut conn, |_| ())?;
                start_a_run(&server, &mut conn, cycle / 4 + cycle % 2)?;
            }
        }
        refused +=
            unload_as_soon_as_possible(&mut conn).with_context(|| format!("cycle {cycle}"))?;
        #[cfg(target_os = "linux")]
        {
            // A thread that has been joined may be listed for another moment.
            let what = format!("nothing to be left in cycle {cycle}");
            wait_for_value(&what, DEADLINE, || left_behind(&server), Vec::is_empty)?;
        }
        world.assert_heartbeats_went_last(&mut conn)?;
        run(&mut conn, "SET blocking:heartbeat:new 1")?;
        run(&mut conn, "DEL blocking:heartbeat:new")?;
        run(&mut conn, &format!("MODULE LOAD {path}")).with_context(|| format!("cycle {cycle}"))?;
    }
    ensure!(refused > 0, "no attempt met a run");
    world.assert_next_run_does_the_rest(&mut conn)?;
    assert_healthy(&server)?;
    tally(Figure::ReloadsSurvived, CYCLES as u64)
}

/// The end of a run and the wish to unload are found in one turn: there is no slice between them.
#[test]
fn a_run_that_is_told_to_end_still_keeps_the_module_loaded() -> Result<()> {
    const ROUNDS: usize = 20;
    let builder = Server::builder().aof(true);
    let server = builder.arg("blocking.linger-seconds", 0).start()?;
    let mut conn = server.client()?;
    let mut operator = Raw::connect(&server)?;
    let world = World::load(&mut conn)?;
    let slow = Slow::start(&server)?;
    for round in 0..ROUNDS {
        let caller = if round % 2 == 0 {
            cleanup_async(&mut conn, &[])?;
            None
        } else {
            let mut caller = Raw::connect(&server)?;
            caller.send("BLOCKING.CLEANUP")?;
            Some(caller)
        };
        let number = slow.hold_at(&mut conn, Moment::Collecting)?;
        server.while_frozen(|| {
            if let Some(caller) = caller {
                drop(caller);
                operator.send("MODULE UNLOAD blocking")
            } else {
                operator.send("BLOCKING.CANCEL\r\nMODULE UNLOAD blocking")
            }
        })?;
        if round % 2 == 0 {
            ensure!(operator.line()? == "+OK");
        }
        let answer = operator.line()?;
        ensure!(
            answer.starts_with("-ERR Error unloading module: "),
            "{answer}"
        );
        let last = wait_until_idle(&mut conn)?;
        ensure!(last.int("run")? == number);
        ensure!(last.text("status")? == "cancelled", "{last:?}");
    }
    drop(slow);
    world.assert_next_run_does_the_rest(&mut conn)?;
    run(&mut conn, "MODULE UNLOAD blocking")?;
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, ROUNDS as u64)
}
