//! `make demo`: thousands of dead coordinators removed from a private server before one's eyes, and every claim about
//! it checked key by key. Must leave nothing running and must fail when one of its claims does.

mod report;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use blocking_harness::redis::Connection;
use blocking_harness::{
    Ask, FAMILY_SIZE, Fleet, Probe, Server, cleanup, differing_keys, existing_keys, foreign_pair,
    info_field, load_foreign, redis, server_now_ms,
};
use clap::Parser;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use report::{Evidence, Leftovers, Pass};

/// Ages of the last beats, around the threshold of 600 s but with room for a slow machine.
const STALE_AGES_S: std::ops::Range<i64> = 700..90_000;
const LIVE_AGES_S: std::ops::Range<i64> = 0..240;
/// The other connection rests this long between two questions.
const PROBE_REST: Duration = Duration::from_micros(500);
const BASE_LINE: Duration = Duration::from_secs(2);
/// The most ids that one reply names.
const MOST_IDS: &str = "10000";
/// The threshold is named so that the demo shows the same whatever the default is.
const THRESHOLD_S: &str = "600";

/// Shows BLOCKING.CLEANUP at work on a private server and checks what it claims.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Coordinators whose heartbeat is too old
    #[arg(long, default_value_t = 9_900)]
    stale: usize,
    /// Coordinators that are alive
    #[arg(long, default_value_t = 100)]
    live: usize,
    /// Keys that have nothing to do with coordinators
    #[arg(long, default_value_t = 200_000)]
    foreign: u64,
}

fn main() -> ExitCode {
    match demo(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(options: &Options) -> Result<bool> {
    ensure!(options.stale > 0, "--stale must be at least 1");
    let server = Server::start()?;
    server.stop_on_interrupt()?;
    let mut conn = server.client3()?;
    println!(
        "{} on 127.0.0.1:{}, private, gone when this ends",
        server_name(&mut conn)?,
        server.port()
    );

    let now_ms = server_now_ms(&mut conn)?;
    let stale = Fleet::numbered("stale", options.stale, now_ms).ages_s(STALE_AGES_S);
    let live = Fleet::numbered("live", options.live, now_ms).ages_s(LIVE_AGES_S);
    load(&mut conn, &stale, &live, options.foreign)?;

    let step = ProgressBar::new_spinner();
    let say = |what: &'static str| {
        step.set_message(what);
        step.tick();
    };
    say("measuring the base line of another connection");
    let mut probe = Probe::start(&server, PROBE_REST, Ask::Ping)?;
    probe.mark()?;
    std::thread::sleep(BASE_LINE);
    let base_line = probe.take()?;

    say("dry run");
    let keys_before: u64 = redis::cmd("DBSIZE").query(&mut conn)?;
    let dry = pass(&mut conn, &mut probe, &["DRYRUN"])?;
    let keys_after_dry: u64 = redis::cmd("DBSIZE").query(&mut conn)?;
    say("the run");
    let run = pass(&mut conn, &mut probe, &[])?;
    probe.finish()?;

    say("looking at every key");
    let left = Leftovers {
        stale_there: existing_keys(&mut conn, stale.keys())?,
        live_lost: differing_keys(&mut conn, live.pairs())?,
        foreign_lost: differing_keys(&mut conn, (0..options.foreign).map(foreign_pair))?,
        keys: redis::cmd("DBSIZE").query(&mut conn)?,
    };
    step.finish_and_clear();

    let evidence = Evidence {
        stale_ids: stale.ids().iter().cloned().collect(),
        live: options.live as u64,
        foreign: options.foreign,
        base_line,
        dry,
        run,
        dry_removed: keys_before.saturating_sub(keys_after_dry),
        left,
    };
    evidence.print()
}

/// One BLOCKING.CLEANUP through the wire, while the probe keeps asking.
fn pass(conn: &mut Connection, probe: &mut Probe, options: &[&str]) -> Result<Pass> {
    let args = [options, &["THRESHOLD", THRESHOLD_S, "IDS", MOST_IDS]].concat();
    probe.mark()?;
    let started = Instant::now();
    let reply = cleanup(conn, &args)?;
    let wall = started.elapsed();
    Ok(Pass {
        command: format!("BLOCKING.CLEANUP {}", args.join(" ")),
        waits: probe.take()?,
        reply,
        wall,
    })
}

fn load(conn: &mut Connection, stale: &Fleet, live: &Fleet, foreign: u64) -> Result<()> {
    let started = Instant::now();
    let keys = ((stale.len() + live.len()) * FAMILY_SIZE) as u64 + foreign;
    let style = "loading {bar:40} {human_pos} of {human_len} keys";
    let bar = ProgressBar::new(keys).with_style(ProgressStyle::with_template(style)?);
    load_foreign(conn, foreign, |written| bar.inc(written))?;
    stale.load(conn, |written| bar.inc(written))?;
    live.load(conn, |written| bar.inc(written))?;
    bar.finish_and_clear();
    println!(
        "loaded {} coordinators ({} stale, {} live, {FAMILY_SIZE} keys each) among {} foreign keys in {:.1} s",
        HumanCount((stale.len() + live.len()) as u64),
        HumanCount(stale.len() as u64),
        HumanCount(live.len() as u64),
        HumanCount(foreign),
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Valkey gives a Redis version too, so its own is asked for first.
fn server_name(conn: &mut Connection) -> Result<String> {
    match info_field(conn, "server", "valkey_version") {
        Ok(version) => Ok(format!("Valkey {version}")),
        Err(_) => Ok(format!(
            "Redis {}",
            info_field(conn, "server", "redis_version")?
        )),
    }
}
