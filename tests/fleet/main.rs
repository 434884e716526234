//! The one promise: no key of a living coordinator is ever removed, and of the dead nothing stays.
//!
//! Coordinators beat, die and come back on a real server while cleanups run back to back; afterwards the server's own
//! append-only file proves what happened, command by command. `BLOCKING_FLEET_SECONDS` says for how long,
//! `BLOCKING_SEED` repeats the choices of a run that failed; `make soak` runs it for hours.

/// What is written into heartbeats.
mod beats;
/// Runs back to back.
mod cleanups;
/// Coordinators that beat, die and come back.
mod coordinators;
/// Ids and keys.
mod names;

use std::collections::BTreeSet;
use std::env;
use std::sync::atomic::Ordering;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{
    AofCommands, BeatLog, Figure, Mark, Marks, Outcome, Replay, ReplayCounts, Server,
    ServerBuilder, digest, info_field, seed, tally, wait_for_value, wait_until,
};
use fastrand::Rng;

use crate::cleanups::{Account, Cleanups};
use crate::coordinators::{Crew, Scene};

/// In CI.
const SECONDS: u64 = 120;
/// After so long everything stops and is checked, so that files stay small and a failure is known soon.
const ROUND: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(120);

/// Connections, and coordinators on each.
const STEADY_CREWS: usize = 16;
const MORTAL_CREWS: usize = 10;
const MEMBERS: usize = 10;
const REVIVING_CREWS: usize = 3;
/// How often the file gets a mark with the time, which bounds how exactly a removal is dated.
const TICK_EVERY: Duration = Duration::from_millis(5);

/// It proves something about coming back only if that happened: so many keys must have been kept for it, in the middle
/// of runs, and as many again because a new heartbeat appeared.
const KEPT: u64 = 100;
/// So many keys must have been removed, at an age that is not too close to the threshold for the marks to tell.
const REMOVED: u64 = 10_000;
/// On a slow machine there are more rounds until these numbers are reached, but not for ever.
const STRETCH: u32 = 5;

/// What a number of rounds came to.
#[derive(Debug, Default)]
struct Figures {
    rounds: u64,
    runs: u64,
    revived: u64,
    counts: ReplayCounts,
}

impl Figures {
    fn add(&mut self, other: &Figures) {
        self.rounds += other.rounds;
        self.runs += other.runs;
        self.revived += other.revived;
        self.counts.add(&other.counts);
    }

    fn show(&self, what: &str) {
        let counts = &self.counts;
        eprintln!(
            "{what}: {} runs, {} beats; {} keys of {} coordinators removed, {} of them due from the beginning of a run; \
             {} coordinators revived, {} keys kept for revived ones, {} for newborn ones; {} removals too close to the \
             threshold to tell; live keys lost: {}",
            self.runs,
            counts.heartbeats_written,
            counts.keys_removed,
            counts.heartbeats_removed,
            counts.due_and_gone,
            self.revived,
            counts.kept_for_revived,
            counts.kept_for_newborn,
            counts.too_close,
            counts.live_keys_lost,
        );
    }

    /// It was a test: the dead were removed, and many came back just before it was too late.
    fn prove_something(&self) -> bool {
        let counts = &self.counts;
        counts.kept_for_revived > KEPT
            && counts.kept_for_newborn > KEPT
            && counts.due_and_gone > REMOVED
            && counts.keys_removed - counts.too_close > REMOVED
    }
}

fn seconds() -> Result<u64> {
    match env::var("BLOCKING_FLEET_SECONDS") {
        Ok(seconds) => seconds.parse().context("BLOCKING_FLEET_SECONDS"),
        Err(_) => Ok(SECONDS),
    }
}

#[test]
fn no_key_of_a_living_coordinator_is_ever_removed() -> Result<()> {
    let (whole, seed) = (Duration::from_secs(seconds()?), seed()?);
    let mut seeds = Rng::with_seed(seed);
    let primary = server().start()?;
    let replica = server().replica_of(&primary).start()?;
    replica.wait_in_sync_with(&primary)?;
    let first_pids = [primary.pid(), replica.pid()];
    let mut total = Figures::default();
    let started = Instant::now();
    loop {
        let left = whole.saturating_sub(started.elapsed());
        if left.is_zero() && (total.prove_something() || started.elapsed() > STRETCH * whole) {
            break;
        }
        let length = if left.is_zero() {
            ROUND
        } else {
            left.min(ROUND)
        };
        let figures = round(&primary, &replica, seeds.u64(..), length)?;
        total.add(&figures);
        figures.show(&format!("round {}", total.rounds));
    }
    for server in [&primary, &replica] {
        assert_healthy(server)?;
    }
    ensure!(first_pids == [primary.pid(), replica.pid()], "restarted");
    let full = info_field(&mut primary.client()?, "stats", "sync_full")?;
    ensure!(full == "1", "the replica was cut off: {full} full resyncs");
    total.show("in all");
    ensure!(total.prove_something(), "nothing proved: {total:?}");
    tally(Figure::BeatsLogged, total.counts.heartbeats_written)?;
    tally(Figure::CleanupsUnderBeats, total.runs)?;
    tally(Figure::DeadFamiliesRemoved, total.counts.heartbeats_removed)?;
    tally(Figure::LiveKeysLost, total.counts.live_keys_lost)
}

fn server() -> ServerBuilder {
    Server::builder()
        .aof(true)
        // What is answered is written, and nothing but this test decides when a new file is begun.
        .arg("appendfsync", "no")
        .arg("auto-aof-rewrite-percentage", 0)
        // The end of a TTL is then a DEL in the file, and an UNLINK is the module's.
        .arg("lazyfree-lazy-expire", "no")
}

/// One round: an empty server with a new file, all coordinators at work for a while, and the check.
fn round(primary: &Server, replica: &Server, seed: u64, length: Duration) -> Result<Figures> {
    let mut conn = primary.client()?;
    begin_new_file(&mut conn)?;
    let (mut account, mut log) = work(primary, seed, length)?;
    log.merge(std::mem::take(&mut account.log))?;
    let mut replay = Replay::new(&log, &account.marks);
    for command in AofCommands::of(primary)? {
        replay.apply(&command?)?;
    }
    let outcome = replay.finish();
    check(&outcome, &account, &log)?;
    replica.wait_in_sync_with(primary)?;
    for server in [primary, replica] {
        let lasting = lasting_keys(&mut server.client()?)?;
        let differing = lasting.symmetric_difference(&outcome.lasting_keys);
        let differing: Vec<_> = differing
            .map(|key| key.escape_ascii().to_string())
            .collect();
        ensure!(
            differing.is_empty(),
            "port {} and the file differ: {differing:?}",
            server.port()
        );
    }
    wait_until("one digest on both", DEADLINE, || {
        let there = digest(&mut replica.client().ok()?).ok()?;
        (digest(&mut conn).ok()? == there).then_some(())
    })?;
    Ok(Figures {
        rounds: 1,
        runs: account.told.len() as u64,
        revived: account
            .told
            .iter()
            .map(|told| told.coordinators_revived)
            .sum(),
        counts: outcome.counts,
    })
}

/// Everything gone, and an append-only file without a past.
fn begin_new_file(conn: &mut Connection) -> Result<()> {
    let set = |conn: &mut Connection, value| {
        redis::cmd("CONFIG")
            .arg(&["SET", "appendonly", value])
            .exec(conn)
    };
    set(conn, "no")?;
    redis::cmd("FLUSHALL").exec(conn)?;
    set(conn, "yes")?;
    for field in ["aof_rewrite_in_progress", "aof_rewrite_scheduled"] {
        let look = || info_field(conn, "persistence", field);
        wait_for_value("the new file", DEADLINE, look, |value| value == "0")?;
    }
    Ok(())
}

/// All coordinators at work until the time is up or something failed.
fn work(primary: &Server, seed: u64, length: Duration) -> Result<(Account, BeatLog)> {
    let scene = Scene::default();
    let mut seeds = Rng::with_seed(seed);
    let mut crew = || -> Result<Crew> { Ok(Crew::new(primary.client()?, seeds.u64(..))) };
    let mut crews = Vec::new();
    for (numbers, count, is_mortal) in [
        (names::steady(), STEADY_CREWS, false),
        (names::mortal(), MORTAL_CREWS, true),
    ] {
        for members in numbers.chunks(MEMBERS).take(count) {
            crews.push(crew()?.with_members(members, is_mortal));
        }
    }
    let revivers = (0..REVIVING_CREWS)
        .map(|_| crew())
        .collect::<Result<Vec<_>>>()?;
    let cleanups = Cleanups::new(primary, &scene, seeds.u64(..))?;
    let (mut ticking, mut pausing) = (primary.client()?, primary.client()?);
    let mut pauses = Rng::with_seed(seeds.u64(..));
    let end = Instant::now() + length;

    // One failure ends it for all.
    let scene = &scene;
    thread::scope(|scope| {
        let mut beating = Vec::new();
        for crew in crews {
            beating.push(scope.spawn(move || scene.ending_if_failed(crew.live(scene))));
        }
        for crew in revivers {
            beating.push(scope.spawn(move || scene.ending_if_failed(crew.revive(scene))));
        }
        let ticks = scope.spawn(|| scene.ending_if_failed(tick(&mut ticking, scene)));
        let pauser =
            scope.spawn(|| scene.ending_if_failed(pause(&mut pausing, &mut pauses, scene)));
        let account = cleanups.run(end);
        scene.over.store(true, Ordering::Relaxed);
        let mut log = BeatLog::default();
        for thread in beating {
            log.merge(thread.join().expect("no thread of this test panics")?)?;
        }
        pauser.join().expect("no thread of this test panics")?;
        let ticks = ticks.join().expect("no thread of this test panics")?;
        let mut account = account?;
        account.marks.merge(ticks);
        Ok((account, log))
    })
}

/// Dates the file.
fn tick(conn: &mut Connection, scene: &Scene) -> Result<Marks> {
    let mut marks = Marks::default();
    while !scene.is_over() {
        marks.set(conn, Mark::Tick)?;
        sleep(TICK_EVERY);
    }
    Ok(marks)
}

/// Now and then writes are paused for a moment, as before a failover.
fn pause(conn: &mut Connection, rng: &mut Rng, scene: &Scene) -> Result<()> {
    let mut next = Instant::now();
    while !scene.is_over() {
        if Instant::now() >= next {
            let ms = rng.u64(20..400);
            redis::cmd("CLIENT")
                .arg("PAUSE")
                .arg(ms)
                .arg("WRITE")
                .exec(conn)?;
            next = Instant::now() + Duration::from_millis(rng.u64(1_000..6_000));
        }
        sleep(TICK_EVERY);
    }
    Ok(())
}

fn check(outcome: &Outcome, account: &Account, log: &BeatLog) -> Result<()> {
    let counts = outcome.counts;
    ensure!(
        outcome.findings.is_empty(),
        "the promise is broken; {} live keys lost; {} findings, such as:\n{}",
        counts.live_keys_lost,
        outcome.findings.len() as u64 + outcome.findings_left_out,
        outcome.findings.join("\n"),
    );
    // The file is the whole truth: every beat that was acknowledged is in it, and every removal that was reported.
    ensure!(
        counts.heartbeats_written == log.acknowledged,
        "{counts:?} {}",
        log.acknowledged
    );
    for told in &account.told {
        let removed = outcome.runs.get(&told.run).context("a run of the file")?;
        ensure!(
            (removed.keys, removed.heartbeats) == (told.keys_removed, told.coordinators_removed),
            "{told:?} {removed:?}"
        );
    }
    Ok(())
}

/// Keys that have no TTL.
fn lasting_keys(conn: &mut Connection) -> Result<BTreeSet<Vec<u8>>> {
    let mut keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(conn)?;
    let mut pipe = redis::pipe();
    for key in &keys {
        pipe.cmd("PTTL").arg(key);
    }
    let ttls: Vec<i64> = pipe.query(conn)?;
    let mut ttls = ttls.into_iter();
    keys.retain(|_| ttls.next() == Some(-1));
    Ok(keys.into_iter().collect())
}

fn assert_healthy(server: &Server) -> Result<()> {
    let log = server.log();
    let signs = [
        "ASSERTION FAILED",
        "BUG REPORT",
        "crashed by signal",
        "panicked",
    ];
    let sign = signs.iter().find(|sign| log.contains(**sign));
    ensure!(sign.is_none(), "the log says {sign:?}:\n{log}");
    ensure!(server.is_alive(), "the server has ended:\n{log}");
    Ok(())
}
