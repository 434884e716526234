//! One place for all: a query waits for no other run, none waits for a query, and a cleanup goes first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Result, ensure};
use blocking_harness::redis::{RedisError, Value, cmd};
use blocking_harness::{Reply, Server, cleanup, error_text, wait_for_value};

use super::mid_query::{Asker, QUERIES, wait_until_over};
use crate::environment::long_run::{
    Caller, DEADLINE, Moment, Slow, World, assert_healthy, ending, run, status, wait_for,
};

/// The text without its numbers.
fn told(error: &RedisError) -> String {
    let text = error_text(error);
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[test]
fn a_second_one_is_told_which_run_is_there() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    World::load(&mut conn)?;
    let slow = Slow::start(&server)?;
    let caller = Caller::start(&server, &["DRYRUN"])?;
    slow.hold_at(&mut conn, Moment::Collecting)?;
    let rest = "is running: run , % of the keyspace, started  s ago; see BLOCKING.STATUS";
    for words in QUERIES {
        let error = cmd(words[0]).arg(&words[1..]).query::<Value>(&mut conn);
        ensure!(told(&error.unwrap_err()) == format!("INPROGRESS a cleanup {rest}"));
    }
    run(&mut conn, "BLOCKING.CANCEL")?;
    let _ = caller.answer()?;
    for there in QUERIES {
        let asker = Asker::start(&server, there)?;
        slow.hold_at(&mut conn, Moment::Collecting)?;
        for words in QUERIES {
            let error = cmd(words[0]).arg(&words[1..]).query::<Value>(&mut conn);
            let text = told(&error.unwrap_err());
            ensure!(text == format!("INPROGRESS {} {rest}", there[0]), "{text}");
        }
        run(&mut conn, "BLOCKING.CANCEL")?;
        ensure!(asker.answer().is_err());
        wait_until_over(&mut conn)?;
    }
    drop(slow);
    assert_healthy(&server)
}

#[test]
fn a_cleanup_takes_the_place_of_a_query() -> Result<()> {
    let server = Server::builder().aof(true).start()?;
    let mut conn = server.client()?;
    for words in QUERIES {
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        let asker = Asker::start(&server, words)?;
        slow.hold_at(&mut conn, Moment::Collecting)?;
        let caller = Caller::start(&server, &[])?;
        let text = error_text(&asker.answer().unwrap_err());
        let why = "a cleanup took its place";
        let expected = format!("CANCELLED {} was stopped: {why}", words[0]);
        ensure!(text == expected, "{text}");
        drop(slow);
        let reply = caller.answer()?;
        ensure!(
            ending(&reply)? == ("complete".to_owned(), None),
            "{reply:?}"
        );
        ensure!(reply.int("keys_removed")? == world.dead_keys() as i64);
        world.assert_others_are_whole(&mut conn)?;
    }
    assert_healthy(&server)
}

/// A client sends a query, and the next as soon as it is answered, on a server where one takes longer than the
/// interval.
#[test]
fn no_number_of_queries_holds_the_schedule_up() -> Result<()> {
    let server = Server::builder()
        .arg("blocking.warm-up-seconds", 0)
        .arg("blocking.second-look", "no")
        .arg("blocking.max-stale-percent", 100)
        .start()?;
    let mut conn = server.client()?;
    let world = World::load(&mut conn)?;
    let slow = Slow::start(&server)?;
    let stop = Arc::new(AtomicBool::new(false));
    let (ended, told) = (Arc::new(AtomicU64::new(0)), Arc::clone(&stop));
    let counted = Arc::clone(&ended);
    let mut client = server.client()?;
    let asker = std::thread::spawn(move || {
        while !told.load(Ordering::Relaxed) {
            let answer = cmd("BLOCKING.LIST").query::<Value>(&mut client);
            let text = answer.err().map(|error| error_text(&error));
            let gave_way = text.is_some_and(|t| t.ends_with("a cleanup took its place"));
            counted.fetch_add(u64::from(gave_way), Ordering::Relaxed);
        }
    });
    wait_for(&mut conn, Moment::Collecting)?;
    run(&mut conn, "CONFIG SET blocking.interval-seconds 1")?;
    let over = |status: &Reply| {
        let runs = status.map("schedule").and_then(|s| s.int("runs"));
        runs.is_ok_and(|runs| runs >= 2)
    };
    let look = || status(&mut conn);
    let after = wait_for_value("scheduled runs", DEADLINE, look, over)?;
    stop.store(true, Ordering::Relaxed);
    drop(slow);
    asker.join().expect("the asker does not panic");
    ensure!(
        ended.load(Ordering::Relaxed) > 0,
        "no query had to make room"
    );
    let last = after.map("last")?;
    ensure!(last.flag("scheduled")?, "{last:?}");
    ensure!(last.text("status")? == "complete", "{last:?}");
    ensure!(
        world.dead_keys_left(&mut conn)? == 0,
        "the dead are still there"
    );
    run(&mut conn, "CONFIG SET blocking.interval-seconds 0")?;
    world.assert_others_are_whole(&mut conn)?;
    // A manual run is as free as before.
    let reply = cleanup(&mut server.client()?, &["DRYRUN"])?;
    ensure!(reply.text("status")? == "complete", "{reply:?}");
    assert_healthy(&server)
}
