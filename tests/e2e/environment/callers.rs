//! A caller that waits is answered; one that disconnects ends its run, in any turn; an ASYNC run goes on.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{Figure, Server, cleanup, cleanup_async, error_text, seed, tally};
use fastrand::Rng;

use super::long_run::{
    Caller, MOMENTS, Moment, Raw, Slow, World, assert_healthy, ended, ending, run, status,
    wait_for_runs, wait_until_idle,
};

pub const CALLER_GONE: &str = "the caller went away";

/// Ways to lose a caller.
#[derive(Clone, Copy, Debug)]
pub enum Leave {
    HangUp,
    Kill,
    UnblockWithTimeout,
    UnblockWithError,
}

impl Leave {
    /// A run lingers for a caller that hung up, and for none that an operator took away.
    pub fn with_linger(self, conn: &mut Connection) -> Result<()> {
        let linger_s = match self {
            Self::HangUp => 0,
            _ => 15,
        };
        let line = format!("CONFIG SET blocking.linger-seconds {linger_s}");
        run(conn, &line).map(drop)
    }
}

pub const LEAVES: [Leave; 4] = [
    Leave::HangUp,
    Leave::Kill,
    Leave::UnblockWithTimeout,
    Leave::UnblockWithError,
];

#[test]
fn a_caller_that_disconnects_ends_its_run() -> Result<()> {
    let server = Server::builder().aof(true).start()?;
    let mut conn = server.client()?;
    for moment in MOMENTS {
        for leave in LEAVES {
            leave.with_linger(&mut conn)?;
            let world = World::load(&mut conn)?;
            let slow = Slow::start(&server)?;
            let mut caller = Raw::connect(&server)?;
            let id = caller.id()?;
            caller.send("BLOCKING.CLEANUP")?;
            let number = slow.hold_at(&mut conn, moment)?;
            match leave {
                Leave::HangUp => drop(caller),
                Leave::Kill => {
                    run(&mut conn, &format!("CLIENT KILL ID {id}"))?;
                    caller.wait_until_closed()?;
                }
                Leave::UnblockWithTimeout => {
                    run(&mut conn, &format!("CLIENT UNBLOCK {id} TIMEOUT"))?;
                    let text = format!(
                        "-CANCELLED run {number} was cancelled by CLIENT UNBLOCK; see BLOCKING.STATUS"
                    );
                    ensure!(caller.line()? == text);
                    ensure!(caller.id()? == id, "the connection is good for more");
                }
                Leave::UnblockWithError => {
                    run(&mut conn, &format!("CLIENT UNBLOCK {id} ERROR"))?;
                    ensure!(caller.line()? == "-UNBLOCKED client unblocked via CLIENT UNBLOCK");
                    ensure!(caller.id()? == id, "the connection is good for more");
                }
            }
            let last = wait_until_idle(&mut conn)?;
            drop(slow);
            ensure!(last.int("run")? == number);
            ensure!(
                ending(&last)? == ended("cancelled", CALLER_GONE),
                "{leave:?}: {last:?}"
            );
            ensure!(
                world.dead_keys_left(&mut conn)? > 0,
                "{leave:?}, {moment:?}: all gone"
            );
            world.assert_next_run_does_the_rest(&mut conn)?;
        }
    }
    assert_healthy(&server)?;
    tally(
        Figure::FaultsInjected,
        (MOMENTS.len() * LEAVES.len()) as u64,
    )
}

/// A caller that goes in whatever turn it happens to be, the last one included, where the answer is on its way already.
#[test]
fn callers_may_go_at_any_moment() -> Result<()> {
    callers_go(150, 0..125, &[])
}

/// More memory than a megabyte is given back by a thread, and the answer waits for it: aimed at that moment.
#[test]
fn callers_may_go_while_memory_is_given_back() -> Result<()> {
    let long = "s".repeat(16 * 1024);
    let acks = (0..100).map(|n| format!("blocking:ack:dead-00000:{n}:{long}"));
    callers_go(100, 75..105, &acks.collect::<Vec<_>>())
}

/// Callers go at random moments of that part of a run, in percent; every run meets these keys as well.
fn callers_go(rounds: u64, part: Range<u64>, more: &[String]) -> Result<()> {
    let builder = Server::builder().aof(true);
    let server = builder.arg("blocking.linger-seconds", 0).start()?;
    let mut conn = server.client()?;
    let world = World::load_sized(&mut conn, 100, 10, 3_000)?;
    let load_more = |conn: &mut Connection| -> Result<()> {
        for key in more {
            let () = redis::cmd("SET").arg(key).arg(1).query(conn)?;
        }
        Ok(())
    };
    load_more(&mut conn)?;
    let started = Instant::now();
    let reply = cleanup(&mut conn, &[])?;
    ensure!(reply.text("status")? == "complete", "{reply:?}");
    let whole_us = started.elapsed().as_micros() as u64;
    let mut random = Rng::with_seed(seed()?);
    eprintln!("a whole run takes {whole_us} us");
    let mut cancelled = 0;
    for round in 0..rounds {
        world.dead.load(&mut conn, |_| ())?;
        load_more(&mut conn)?;
        let mut caller = Raw::connect(&server)?;
        let id = caller.id()?;
        caller.send("BLOCKING.CLEANUP")?;
        // What was sent before it is read before it, so now the run is on, or over already.
        run(&mut conn, "PING")?;
        let percent = random.u64(part.clone());
        let delay_us = whole_us * percent / 100 + random.u64(..100);
        spin(Duration::from_micros(delay_us));
        match round % 5 {
            0 => drop(caller),
            1 => run(&mut conn, &format!("CLIENT KILL ID {id}")).map(drop)?,
            2 => run(&mut conn, &format!("CLIENT UNBLOCK {id} TIMEOUT")).map(drop)?,
            3 => run(&mut conn, &format!("CLIENT UNBLOCK {id} ERROR")).map(drop)?,
            // Nothing runs any more if it was late.
            _ => run(&mut conn, "BLOCKING.CANCEL")
                .map(drop)
                .unwrap_or_default(),
        }
        let last = wait_for_runs(&mut conn, round as i64 + 2)?;
        cancelled += u64::from(last.text("status")? == "cancelled");
        world.assert_heartbeats_went_last(&mut conn)?;
        ensure!(server.is_alive(), "round {round}:\n{}", server.log());
    }
    eprintln!("{cancelled} of {rounds} runs were cancelled, the others were over");
    world.assert_heartbeats_went_last(&mut conn)?;
    let last = cleanup(&mut conn, &[])?;
    ensure!(last.text("status")? == "complete", "{last:?}");
    ensure!(world.dead_keys_left(&mut conn)? == 0);
    world.assert_others_are_whole(&mut conn)?;
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, cancelled)
}

/// Shorter than a sleep can be.
fn spin(time: Duration) {
    let started = Instant::now();
    while started.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// The run and its caller's end arrive in one packet: there is no slice in between.
#[test]
fn a_caller_that_goes_at_once_is_no_danger() -> Result<()> {
    let builder = Server::builder().aof(true);
    let server = builder.arg("blocking.linger-seconds", 0).start()?;
    let mut conn = server.client()?;
    let world = World::load_sized(&mut conn, 100, 10, 100)?;
    for round in 0..50_i64 {
        let mut caller = Raw::connect(&server)?;
        if round % 2 == 0 {
            caller.send("BLOCKING.CLEANUP\r\nQUIT")?;
        } else {
            caller.send("BLOCKING.CLEANUP")?;
        }
        drop(caller);
        let last = wait_for_runs(&mut conn, round + 1)?;
        let status = last.text("status")?;
        ensure!(
            ["cancelled", "complete"].contains(&status.as_str()),
            "{last:?}"
        );
        world.assert_heartbeats_went_last(&mut conn)?;
        world.dead.load(&mut conn, |_| ())?;
    }
    world.assert_next_run_does_the_rest(&mut conn)?;
    assert_healthy(&server)
}

#[test]
fn an_async_run_survives_its_caller() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let world = World::load(&mut conn)?;
    let slow = Slow::start(&server)?;
    let mut caller = Raw::connect(&server)?;
    let id = caller.id()?;
    caller.send("BLOCKING.CLEANUP ASYNC")?;
    let answer = caller.line()?;
    let number = slow.hold_at(&mut conn, Moment::Collecting)?;
    ensure!(answer == format!(":{number}"), "{answer}");
    run(&mut conn, &format!("CLIENT KILL ID {id}"))?;
    caller.wait_until_closed()?;
    ensure!(status(&mut conn)?.map("current")?.int("run")? == number);
    drop(slow);
    let last = wait_until_idle(&mut conn)?;
    ensure!(last.int("run")? == number);
    ensure!(ending(&last)? == ("complete".to_owned(), None), "{last:?}");
    ensure!(world.dead_keys_left(&mut conn)? == 0);
    assert_healthy(&server)
}

#[test]
fn cancel_ends_the_run_and_its_caller_is_told() -> Result<()> {
    let server = Server::builder().aof(true).start()?;
    let mut conn = server.client()?;
    for moment in MOMENTS {
        let world = World::load(&mut conn)?;
        let slow = Slow::start(&server)?;
        let caller = Caller::start(&server, &[])?;
        slow.hold_at(&mut conn, moment)?;
        let answer = run(&mut conn, "BLOCKING.CANCEL")?;
        ensure!(answer == blocking_harness::redis::Value::Okay, "{answer:?}");
        let reply = caller.answer()?;
        drop(slow);
        let expected = ended("cancelled", "cancelled by BLOCKING.CANCEL");
        ensure!(ending(&reply)? == expected, "{moment:?}: {reply:?}");
        ensure!(
            wait_until_idle(&mut conn)? == reply,
            "STATUS says otherwise"
        );
        let gone = world.dead_keys() - world.dead_keys_left(&mut conn)?;
        ensure!(
            reply.int("keys_removed")? == gone as i64,
            "{gone} gone: {reply:?}"
        );
        ensure!(gone < world.dead_keys());
        world.assert_next_run_does_the_rest(&mut conn)?;
    }
    let error = blocking_harness::command(&mut conn, "BLOCKING.CANCEL", &[]).unwrap_err();
    let text = "NOTBUSY no cleanup is running; BLOCKING.STATUS shows the last one";
    ensure!(error_text(&error) == text, "{error}");
    assert_healthy(&server)
}

#[test]
fn a_second_run_is_refused_with_the_first_ones_progress() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let world = World::load(&mut conn)?;
    let slow = Slow::start(&server)?;
    let caller = Caller::start(&server, &[])?;
    for (moment, whole_walk) in [(Moment::Collecting, false), (Moment::Reaping, true)] {
        let number = slow.hold_at(&mut conn, moment)?;
        for error in [
            cleanup(&mut conn, &[]).unwrap_err(),
            cleanup(&mut conn, &["DRYRUN"]).unwrap_err(),
            cleanup_async(&mut conn, &[]).unwrap_err(),
            cleanup(&mut server.client_db(3)?, &[]).unwrap_err(),
        ] {
            let text = error_text(&error);
            let numbers = text
                .strip_prefix(&format!("INPROGRESS a cleanup is running: run {number}, "))
                .and_then(|text| text.strip_suffix(" s ago; see BLOCKING.STATUS"))
                .and_then(|text| text.split_once(", started "));
            let Some((doing, seconds)) = numbers else {
                anyhow::bail!("another text: {text}");
            };
            if whole_walk {
                ensure!(doing == "reaping", "{moment:?}: {text}");
            } else {
                let percent = doing.strip_suffix("% of the keyspace");
                let percent: u64 = percent.context("percent")?.parse()?;
                ensure!(percent < 100, "{moment:?}: {text}");
            }
            ensure!(seconds.parse::<u64>()? < 60, "{text}");
        }
    }
    drop(slow);
    let reply = caller.answer()?;
    ensure!(
        ending(&reply)? == ("complete".to_owned(), None),
        "{reply:?}"
    );
    ensure!(reply.int("keys_removed")? == world.dead_keys() as i64);
    assert_healthy(&server)
}
