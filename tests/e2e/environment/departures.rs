//! A caller goes before the first slice of its run, between two slices in the middle, before the last: not likely there
//! but certainly, because the server stands still while the test prepares what it shall find in its next turn.
//! Random moments are the business of `callers`.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use blocking_harness::{Figure, Reply, Server, redis, reply_map, tally};
use redis::{Connection, Value};

use super::callers::{CALLER_GONE, LEAVES, Leave};
use super::long_run::{
    Caller, Moment, Raw, Slow, World, assert_healthy, ended, ending, removing, run, runs,
    wait_for_runs,
};

/// With four ways to go, a hundred departures at each place.
const ROUNDS: usize = 9;

/// Families of the dead: at 64 keys a slice enough for several slices, at full length of a slice one.
const DEAD: usize = 300;

/// Enough for all the rest in one slice.
const WHOLE_RUN_US: &str = "100000";

/// The caller goes while the server stands still; what the operator's command will answer is read by `gone`.
fn go(leave: Leave, id: i64, caller: Raw, operator: &mut Raw) -> Result<Option<Raw>> {
    match leave {
        Leave::HangUp => {
            drop(caller);
            return Ok(None);
        }
        Leave::Kill => operator.send(&format!("CLIENT KILL ID {id}"))?,
        Leave::UnblockWithTimeout => operator.send(&format!("CLIENT UNBLOCK {id} TIMEOUT"))?,
        Leave::UnblockWithError => operator.send(&format!("CLIENT UNBLOCK {id} ERROR"))?,
    }
    Ok(Some(caller))
}

/// Whether the operator met the caller waiting, and if so, that the caller was told what it should be told.
fn is_gone(leave: Leave, caller: Option<Raw>, operator: &mut Raw, number: i64) -> Result<bool> {
    let Some(mut caller) = caller else {
        return Ok(true);
    };
    if operator.line()? != ":1" {
        return Ok(false);
    }
    let told = match leave {
        Leave::HangUp => bail!("the caller hung up and is here"),
        Leave::Kill => return caller.wait_until_closed().map(|()| true),
        Leave::UnblockWithTimeout => {
            format!("-CANCELLED run {number} was cancelled by CLIENT UNBLOCK; see BLOCKING.STATUS")
        }
        Leave::UnblockWithError => "-UNBLOCKED client unblocked via CLIENT UNBLOCK".to_owned(),
    };
    let line = caller.line()?;
    ensure!(line == told, "{line}");
    // Nothing comes after it, and the connection is good for more.
    caller.id()?;
    Ok(true)
}

/// Does rounds until the place was met as often as it must be. A miss is a round in which the server came first, as it
/// may when this process gets no time.
fn rounds(count: usize, mut round: impl FnMut(usize) -> Result<bool>) -> Result<()> {
    let (mut hits, mut misses) = (0, 0);
    while hits < count {
        match round(hits)? {
            true => hits += 1,
            false => misses += 1,
        }
        ensure!(misses <= 10 * count, "{misses} misses, {hits} hits");
    }
    eprintln!("{hits} hits, {misses} misses");
    Ok(())
}

/// The caller's command and its end are found in one turn: the first slice is told, and it is the only one.
#[test]
fn before_the_first_slice() -> Result<()> {
    let server = Server::builder().aof(true).start()?;
    let mut conn = server.client()?;
    let mut operator = Raw::connect(&server)?;
    let world = World::load_sized(&mut conn, DEAD, 5, 50)?;
    for leave in LEAVES {
        leave.with_linger(&mut conn)?;
        rounds(ROUNDS, |round| {
            let before = runs(&mut conn)?;
            let mut caller = Raw::connect(&server)?;
            let id = caller.id()?;
            let command = ["BLOCKING.CLEANUP", "BLOCKING.CLEANUP JSON"][round % 2];
            let caller = server.while_frozen(|| {
                caller.send(command)?;
                go(leave, id, caller, &mut operator)
            })?;
            if !is_gone(leave, caller, &mut operator, before + 1)? {
                wait_for_runs(&mut conn, before + 1)?;
                world.dead.load(&mut conn, |_| ())?;
                return Ok(false);
            }
            let last = wait_for_runs(&mut conn, before + 1)?;
            let end = ended("cancelled", CALLER_GONE);
            ensure!(ending(&last)? == end, "{leave:?}: {last:?}");
            // The end of a connection is found a turn after what was sent through it. Where there are no timers but the
            // server's, the first slice comes in between.
            let most = if matches!(leave, Leave::HangUp) { 2 } else { 1 };
            ensure!(last.int("slices")? <= most, "{leave:?}: {last:?}");
            if last.int("slices")? == 1 {
                ensure!(last.int("keys_scanned")? == 0, "{leave:?}: {last:?}");
            }
            ensure!(last.int("keys_removed")? == 0, "{leave:?}: {last:?}");
            Ok(true)
        })?;
        ensure!(world.dead_keys_left(&mut conn)? == world.dead_keys());
    }
    world.assert_next_run_does_the_rest(&mut conn)?;
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, (LEAVES.len() * ROUNDS) as u64)
}

/// What an operator asks in one go, for the server to do between two slices: how long a slice may be from now on, and
/// how far the run is.
fn ask(conn: &mut Connection, slice_us: &str) -> Result<()> {
    let mut pipe = redis::pipe();
    pipe.atomic()
        .cmd("CONFIG")
        .arg(&["SET", "blocking.slice-us", slice_us])
        .cmd("BLOCKING.STATUS");
    Ok(conn.send_packed_command(&pipe.get_packed_pipeline())?)
}

/// The answer: what the run under way had removed, if it was under way and removing.
fn removed_by_then(conn: &mut Connection) -> Result<Option<i64>> {
    // MULTI, two commands that are queued, and EXEC.
    let mut answers = (0..4).map(|_| conn.recv_response());
    let exec = answers.by_ref().last().context("no answer")??;
    let Value::Array(mut both) = exec else {
        bail!("EXEC answered {exec:?}");
    };
    let status: Reply = reply_map(both.pop().context("no status")?)?;
    if status.text("state")? != "reaping" {
        return Ok(None);
    }
    Ok(Some(status.map("current")?.int("keys_removed")?))
}

/// The caller's end is found between two slices of the removal, and the next one would have the given length.
fn between_two_slices(slice_us: &'static str) -> Result<()> {
    let server = Server::builder().aof(true).start()?;
    let mut conn = server.client()?;
    let mut operator = Raw::connect(&server)?;
    let world = World::load_sized(&mut conn, DEAD, 5, 50)?;
    let slow = Slow::start(&server)?;
    for leave in LEAVES {
        leave.with_linger(&mut conn)?;
        rounds(ROUNDS, |round| {
            run(&mut conn, "CONFIG SET blocking.slice-us 50")?;
            world.dead.load(&mut conn, |_| ())?;
            let before = runs(&mut conn)?;
            let mut caller = Raw::connect(&server)?;
            let id = caller.id()?;
            caller.send(["BLOCKING.CLEANUP", "BLOCKING.CLEANUP JSON"][round % 2])?;
            let Some(number) = removing(&mut conn, before)? else {
                return Ok(false);
            };
            let caller = server.while_frozen(|| {
                ask(&mut conn, slice_us)?;
                go(leave, id, caller, &mut operator)
            })?;
            let by_then = removed_by_then(&mut conn)?;
            let met = is_gone(leave, caller, &mut operator, number)?;
            let last = wait_for_runs(&mut conn, before + 1)?;
            let (Some(by_then), true) = (by_then, met) else {
                return Ok(false);
            };
            ensure!(last.int("run")? == number);
            let end = ended("cancelled", CALLER_GONE);
            ensure!(ending(&last)? == end, "{leave:?}: {last:?}");
            ensure!(
                last.int("keys_removed")? == by_then,
                "{leave:?}: more than {by_then} keys: {last:?}"
            );
            let left = world.dead_keys() as i64 - by_then;
            ensure!(left > 0 && world.dead_keys_left(&mut conn)? as i64 == left);
            world.assert_heartbeats_went_last(&mut conn)?;
            Ok(true)
        })?;
    }
    drop(slow);
    world.assert_next_run_does_the_rest(&mut conn)?;
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, (LEAVES.len() * ROUNDS) as u64)
}

#[test]
fn between_two_slices_in_the_middle() -> Result<()> {
    between_two_slices("50")
}

/// The slice that finds the caller gone would have removed all the rest, see below.
#[test]
fn before_the_last_slice() -> Result<()> {
    between_two_slices(WHOLE_RUN_US)
}

/// Every command in the append-only file since the last rewrite, each with its words.
fn logged(server: &Server) -> Result<Vec<Vec<String>>> {
    let dir = server.dir().join("appendonlydir");
    let mut commands = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if !path.to_string_lossy().ends_with(".incr.aof") {
            continue;
        }
        let bytes = fs::read(path)?;
        let mut reader = bytes.as_slice();
        let mut parser = redis::Parser::new();
        // The parser reads ahead, so only its error at the end of the file says that it has them all.
        while let Ok(value) = parser.parse_value(&mut reader) {
            commands.push(redis::from_redis_value(value)?);
        }
    }
    Ok(commands)
}

/// What makes the slice of the tests above the last one: with the caller still there, all that was left goes in one
/// piece.
#[test]
fn the_slice_that_follows_would_have_been_the_last() -> Result<()> {
    // A log that is never late: with a sync under way, the server may answer before it has written.
    let builder = Server::builder().aof(true).arg("appendfsync", "no");
    let server = builder.start()?;
    let mut conn = server.client()?;
    let world = World::load_sized(&mut conn, DEAD, 5, 50)?;
    let slow = Slow::start(&server)?;
    rounds(5, |_| {
        run(&mut conn, "CONFIG SET blocking.slice-us 50")?;
        world.dead.load(&mut conn, |_| ())?;
        let before = runs(&mut conn)?;
        let caller = Caller::start(&server, &[])?;
        if removing(&mut conn, before)?.is_none() {
            return Ok(false);
        }
        server.while_frozen(|| ask(&mut conn, WHOLE_RUN_US))?;
        let by_then = removed_by_then(&mut conn)?;
        let reply = caller.answer()?;
        ensure!(ending(&reply)? == ("complete".to_owned(), None));
        // A slice ends by the clock, also where the machine gave its time to another process.
        let cut = reply.int("longest_slice_us")? >= WHOLE_RUN_US.parse()?;
        let (Some(by_then), false) = (by_then, cut) else {
            return Ok(false);
        };
        let commands = logged(&server)?;
        let multi = commands.iter().rposition(|words| words == &["MULTI"]);
        let last_piece = &commands[multi.context("no transaction in the log")?..];
        let unlinks = last_piece.iter().filter(|words| words[0] == "UNLINK");
        let removed: usize = unlinks.map(|words| words.len() - 1).sum();
        ensure!(
            removed as i64 == world.dead_keys() as i64 - by_then,
            "{removed} keys in the last slice, {by_then} before"
        );
        Ok(true)
    })?;
    drop(slow);
    assert_healthy(&server)
}

/// A caller that costs the server too much memory is cut off by the server itself.
#[test]
fn a_caller_that_the_server_evicts_ends_its_run() -> Result<()> {
    const ROUNDS: usize = 4;
    let builder = Server::builder().aof(true);
    let builder = builder.arg("blocking.linger-seconds", 0);
    let server = builder.arg("maxmemory-clients", "4mb").start()?;
    let mut conn = server.client()?;
    let world = World::load(&mut conn)?;
    let slow = Slow::start(&server)?;
    rounds(ROUNDS, |round| {
        world.dead.load(&mut conn, |_| ())?;
        let before = runs(&mut conn)?;
        let mut caller = Raw::connect(&server)?;
        caller.send("BLOCKING.CLEANUP")?;
        let moment = [Moment::Collecting, Moment::Reaping][round % 2];
        slow.hold_at(&mut conn, moment)?;
        // The beginning of a command whose end never comes. The server may hang up before it has read everything.
        caller.send("*2\r\n$4\r\nECHO\r\n$16000000")?;
        let _ = caller.send(&"x".repeat(8_000_000));
        caller.wait_until_closed()?;
        let last = wait_for_runs(&mut conn, before + 1)?;
        if last.text("status")? == "complete" {
            return Ok(false);
        }
        ensure!(
            ending(&last)? == ended("cancelled", CALLER_GONE),
            "{moment:?}: {last:?}"
        );
        world.assert_heartbeats_went_last(&mut conn)?;
        Ok(true)
    })?;
    drop(slow);
    world.assert_next_run_does_the_rest(&mut conn)?;
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, ROUNDS as u64)
}
