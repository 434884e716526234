//! Other clients are served while a run is on: how long they wait, how much they still get done.
//! Timings are compared with what the same server does in the same minute without a run, never with a bare number
//! alone; a measurement that the machine has spoiled is taken again, three times at most.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use blocking_harness::{
    Ask, Crowd, FAMILY_SIZE, Fleet, Probe, Reply, Server, Waits, cleanup, dbsize, existing_keys,
    redis, server_now_ms,
};
use redis::Connection;

const TRIES: usize = 3;
const DEAD_AGE_S: i64 = 10_000;
const PROBE_EVERY: Duration = Duration::from_micros(200);

/// Two measurements at the same time would measure each other.
pub(crate) fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a measurement until it is good, three times at most; the last failure is the test's.
fn with_tries(mut measure: impl FnMut() -> Result<()>) -> Result<()> {
    for left in (0..TRIES).rev() {
        match measure() {
            Err(error) if left > 0 => eprintln!("  once more: {error:#}"),
            outcome => return outcome,
        }
    }
    Ok(())
}

fn load_dead(conn: &mut Connection, count: usize) -> Result<Fleet> {
    let now_ms = server_now_ms(conn)?;
    let fleet = Fleet::numbered("dead", count, now_ms).age_s(DEAD_AGE_S);
    fleet.load(conn, |_| ())?;
    Ok(fleet)
}

/// Foreign keys by the million, made by the server itself.
fn populate(conn: &mut Connection, count: usize) -> Result<()> {
    let () = redis::cmd("DEBUG")
        .arg(&["POPULATE", &count.to_string(), "user"])
        .query(conn)?;
    Ok(())
}

/// What a probe waits while `work` goes on, and how long that took.
fn probed<T>(server: &Server, work: impl FnOnce() -> Result<T>) -> Result<(T, Waits, Duration)> {
    let mut probe = Probe::start(server, PROBE_EVERY, Ask::Ping)?;
    probe.mark()?;
    let started = Instant::now();
    let done = work()?;
    let took = started.elapsed();
    Ok((done, probe.finish()?, took))
}

/// What a probe waits on the same server when nothing else goes on.
fn base_line(server: &Server, time: Duration) -> Result<Waits> {
    let ((), waits, _) = probed(server, || {
        std::thread::sleep(time);
        Ok(())
    })?;
    Ok(waits)
}

fn say(what: &str, waits: Waits, took: Duration) {
    eprintln!("  {what}: {} ms; probe: {waits}", took.as_millis());
}

fn say_cost(reply: &Reply) -> Result<()> {
    let number = |field| reply.int(field);
    eprintln!(
        "  run: {} slices, longest {} us, busy {} ms, elapsed {} ms, {} keys scanned, {} removed",
        number("slices")?,
        number("longest_slice_us")?,
        number("busy_us")? / 1_000,
        number("elapsed_us")? / 1_000,
        number("keys_scanned")?,
        number("keys_removed")?,
    );
    Ok(())
}

#[test]
fn ten_thousand_coordinators_go_within_a_second_and_others_wait_a_twentieth() -> Result<()> {
    const DEAD: usize = 10_000;
    const FOREIGN: usize = 200_000;
    let _alone = one_at_a_time();
    // The same script that the benchmark compares with.
    let script = include_str!("../../bench/src/ways/script_b.lua");
    let server = Server::start()?;
    let mut conn = server.client()?;
    populate(&mut conn, FOREIGN)?;
    let live = Fleet::numbered("live", 100, server_now_ms(&mut conn)?);
    live.load(&mut conn, |_| ())?;
    let kept = FOREIGN + live.len() * FAMILY_SIZE;
    with_tries(|| {
        let fleet = load_dead(&mut conn, DEAD)?;
        let (removed, script_waits, script_took) = probed(&server, || {
            let mut eval = redis::cmd("EVAL");
            Ok(eval.arg(script).arg(0).arg(600).query::<usize>(&mut conn)?)
        })?;
        say("script", script_waits, script_took);
        ensure!(
            removed == DEAD * FAMILY_SIZE,
            "the script removed {removed}"
        );
        ensure!(dbsize(&mut conn)? == kept as i64);
        ensure!(existing_keys(&mut conn, fleet.keys())?.is_empty());
        fleet.load(&mut conn, |_| ())?;
        let (reply, waits, took) = probed(&server, || Ok(cleanup(&mut conn, &[])?))?;
        say("module", waits, took);
        say_cost(&reply)?;
        say("no run", base_line(&server, took)?, took);
        ensure!(reply.text("status")? == "complete", "{reply:?}");
        ensure!(reply.int("keys_removed")? == removed as i64, "{reply:?}");
        ensure!(dbsize(&mut conn)? == kept as i64);
        ensure!(existing_keys(&mut conn, fleet.keys())?.is_empty());
        ensure!(existing_keys(&mut conn, live.keys())?.len() == live.len() * FAMILY_SIZE);
        let times = script_waits.max_us / waits.max_us.max(1);
        eprintln!("  longest wait: {times} times shorter than the script's");
        ensure!(took < Duration::from_secs(1), "it took {took:?}");
        ensure!(times >= 20, "{times} times only");
        Ok(())
    })
}

#[test]
fn three_million_keys_are_walked_in_short_slices() -> Result<()> {
    const DEAD: usize = 100_000;
    const FOREIGN: usize = 3_000_000;
    let _alone = one_at_a_time();
    let server = Server::start()?;
    let mut conn = server.client()?;
    populate(&mut conn, FOREIGN)?;
    with_tries(|| {
        let fleet = load_dead(&mut conn, DEAD)?;
        let (reply, waits, took) = probed(&server, || Ok(cleanup(&mut conn, &[])?))?;
        let base = base_line(&server, took)?;
        say("module", waits, took);
        say_cost(&reply)?;
        say("no run", base, took);
        ensure!(reply.text("status")? == "complete", "{reply:?}");
        ensure!(
            reply.int("coordinators_removed")? == DEAD as i64,
            "{reply:?}"
        );
        ensure!(
            reply.int("keys_removed")? == (DEAD * FAMILY_SIZE) as i64,
            "{reply:?}"
        );
        ensure!(
            dbsize(&mut conn)? == FOREIGN as i64,
            "{} keys left",
            dbsize(&mut conn)?
        );
        ensure!(existing_keys(&mut conn, fleet.keys())?.is_empty());
        let longest_us = reply.int("longest_slice_us")? as u64;
        let allowed_us = (2 * base.max_us).max(5_000);
        ensure!(
            longest_us <= allowed_us,
            "a slice of {longest_us} us, allowed {allowed_us}"
        );
        Ok(())
    })
}

#[test]
fn a_probe_hardly_notices_a_run_over_a_million_keys() -> Result<()> {
    const DEAD: usize = 10_000;
    const FOREIGN: usize = 1_000_000;
    let _alone = one_at_a_time();
    let server = Server::start()?;
    let mut conn = server.client()?;
    populate(&mut conn, FOREIGN)?;
    with_tries(|| {
        load_dead(&mut conn, DEAD)?;
        let (reply, waits, took) = probed(&server, || Ok(cleanup(&mut conn, &[])?))?;
        let base = base_line(&server, took)?;
        say("module", waits, took);
        say_cost(&reply)?;
        say("no run", base, took);
        ensure!(
            reply.int("coordinators_removed")? == DEAD as i64,
            "{reply:?}"
        );
        let allowed_us = (4 * base.max_us).max(5_000);
        ensure!(
            waits.max_us <= allowed_us,
            "a wait of {} us, allowed {allowed_us}",
            waits.max_us
        );
        // Most questions meet no more than one slice of 250 us.
        let allowed_us = base.p99_us + 1_500;
        ensure!(
            waits.p99_us <= allowed_us,
            "p99 {} us, allowed {allowed_us}",
            waits.p99_us
        );
        Ok(())
    })
}

/// Length of a slice, and the time from its end to the next one, in microseconds, on average.
fn rhythm(reply: &Reply) -> Result<(f64, f64)> {
    let slices = reply.int("slices")? as f64;
    let busy_us = reply.int("busy_us")? as f64;
    let elapsed_us = reply.int("elapsed_us")? as f64;
    Ok((busy_us / slices, (elapsed_us - busy_us) / slices))
}

/// Somebody who waits for the same processor gets it between two slices, and whoever asks during one waits for half
/// as much.
#[test]
fn beside_a_client_slices_are_shorter_and_the_main_thread_sleeps_between_them() -> Result<()> {
    const FOREIGN: usize = 1_000_000;
    let _alone = one_at_a_time();
    let server = Server::start()?;
    let mut conn = server.client()?;
    populate(&mut conn, FOREIGN)?;
    with_tries(|| {
        let (slice_us, gap_us) = rhythm(&cleanup(&mut conn, &[])?)?;
        let (reply, ..) = probed(&server, || Ok(cleanup(&mut conn, &[])?))?;
        let (short_us, long_gap_us) = rhythm(&reply)?;
        eprintln!(
            "  slices of {slice_us:.0} us every {gap_us:.0} us; beside a client {short_us:.0} us, {long_gap_us:.0} us"
        );
        ensure!(short_us < slice_us * 0.75);
        ensure!(long_gap_us > gap_us + 20.0);
        Ok(())
    })
}

#[test]
fn fifty_busy_clients_keep_most_of_their_throughput() -> Result<()> {
    const DEAD: usize = 10_000;
    const FOREIGN: usize = 500_000;
    /// A run takes a quarter of the main thread by default; the machine's noise may take as much again.
    const KEPT: f64 = 0.5;
    let _alone = one_at_a_time();
    let server = Server::start()?;
    let mut conn = server.client()?;
    populate(&mut conn, FOREIGN)?;
    with_tries(|| {
        load_dead(&mut conn, DEAD)?;
        let crowd = Crowd::start(&server, 50)?;
        let rest = || {
            std::thread::sleep(Duration::from_secs(1));
            Ok(())
        };
        let ((), before) = crowd.rate(rest)?;
        let (reply, during) = crowd.rate(|| Ok(cleanup(&mut conn, &[])?))?;
        let ((), after) = crowd.rate(rest)?;
        crowd.finish()?;
        let ratio = 2.0 * during / (before + after);
        eprintln!(
            "  answers a second: {before:.0} before, {during:.0} during, {after:.0} after: {ratio:.2}"
        );
        say_cost(&reply)?;
        ensure!(
            reply.int("coordinators_removed")? == DEAD as i64,
            "{reply:?}"
        );
        ensure!(ratio >= KEPT, "{ratio:.2} of the throughput only");
        Ok(())
    })
}
