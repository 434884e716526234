//! Cleanups back to back, in every form a caller can choose, each over a fresh field of the dead.
//! Must say for each what the file has to show afterwards, and leave it to the file to show it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{
    BeatLog, Mark, Marks, Reply, Scope, Server, cleanup, cleanup_async, command, wait_for_value,
};
use fastrand::Rng;

use crate::beats::{beat, wall_ms};
use crate::coordinators::{Scene, in_some_swarm};
use crate::names;

/// The shortest that the module accepts, and longer ones that are still shorter than any heartbeat's TTL.
const THRESHOLDS_S: [i64; 4] = [1, 1, 2, 3];
/// Families of the dead written before a run: enough that their removal takes a while.
const DEAD: usize = 900;
/// Far above what a run takes.
const DEADLINE: Duration = Duration::from_secs(120);

/// What a run's own reply said.
#[derive(Debug)]
pub struct Told {
    pub run: u64,
    pub keys_removed: u64,
    pub coordinators_removed: u64,
    pub coordinators_revived: u64,
}

/// Everything that is known when the cleanups are over.
#[derive(Debug, Default)]
pub struct Account {
    pub told: Vec<Told>,
    pub marks: Marks,
    pub log: BeatLog,
}

/// How the caller asks.
#[derive(Clone, Copy, Debug)]
enum Way {
    Plain,
    Json,
    Async,
    AsyncJson,
    Cancelled,
}

pub struct Cleanups<'s> {
    /// RESP2 and RESP3.
    conns: [Connection; 2],
    rng: Rng,
    scene: &'s Scene,
    account: Account,
    runs: u64,
}

impl<'s> Cleanups<'s> {
    pub fn new(server: &Server, scene: &'s Scene, seed: u64) -> Result<Self> {
        Ok(Self {
            conns: [server.client()?, server.client3()?],
            rng: Rng::with_seed(seed),
            scene,
            account: Account::default(),
            runs: 0,
        })
    }

    /// Runs them until `end`, the first one of them a full one.
    pub fn run(mut self, end: Instant) -> Result<Account> {
        self.write_foreign()?;
        while Instant::now() < end && !self.scene.is_over() {
            self.write_dead()?;
            self.run_once()?;
        }
        Ok(self.account)
    }

    fn write_foreign(&mut self) -> Result<()> {
        for key in names::FOREIGN {
            redis::cmd("SET").arg(key).arg(1).exec(&mut self.conns[0])?;
        }
        Ok(())
    }

    /// Coordinators that died some time ago, some of them for the second or the tenth time.
    fn write_dead(&mut self) -> Result<()> {
        let (rng, log) = (&mut self.rng, &mut self.account.log);
        let mut dead: Vec<(i64, Vec<u8>)> = (0..DEAD)
            .map(|_| (rng.i64(10..10_000), rng.u32(..names::IDS)))
            // A dead beat between those of a living one would be a lie.
            .filter(|(_, number)| !names::is_taken(*number))
            .map(|(age_s, number)| (age_s, names::id(number)))
            .collect();
        dead.sort_by(|a, b| b.cmp(a));
        let now_ms = wall_ms()?;
        let mut pipe = redis::pipe();
        for (age_s, id) in &dead {
            let heartbeat = names::heartbeat(in_some_swarm(rng), id);
            let value = beat(log, now_ms - age_s * 1_000, rng);
            pipe.cmd("SET").arg(&heartbeat).arg(&value).ignore();
            log.acknowledged += 1;
            for key in names::some_of(names::family(id), rng) {
                pipe.cmd("SET").arg(key).arg(1).ignore();
            }
        }
        pipe.exec(&mut self.conns[0])?;
        self.scene
            .set_dead(dead.into_iter().map(|(_, id)| id).collect());
        Ok(())
    }

    fn run_once(&mut self) -> Result<()> {
        self.runs += 1;
        let rng = &mut self.rng;
        let threshold_s = THRESHOLDS_S[rng.usize(..THRESHOLDS_S.len())];
        let threshold = threshold_s.to_string();
        let mut words = vec!["THRESHOLD", &threshold];
        let mut scope = Scope::Full;
        let way = match rng.u8(..10) {
            0..=3 => Way::Plain,
            4 | 5 => Way::Json,
            6 | 7 => Way::Async,
            8 => Way::AsyncJson,
            _ => {
                scope = Scope::Partial;
                Way::Cancelled
            }
        };
        match rng.u8(..10) {
            0 => {
                words.push("DRYRUN");
                scope = Scope::Dry;
            }
            1 => {
                words.extend(["LIMIT", "300"]);
                scope = Scope::Partial;
            }
            2 => {
                words.extend(["MATCH", "c-1*"]);
                scope = Scope::Partial;
            }
            _ => {}
        }
        // Small slices and a small share of the thread make a run long; now and then one goes at full speed.
        let percent = [1, 1, 1, 2, 5, 100][rng.usize(..6)];
        let slice_us = [50, 50, 250][rng.usize(..3)];
        let conn = &mut self.conns[rng.usize(..2)];
        redis::cmd("CONFIG")
            .arg("SET")
            .arg(("blocking.slice-us", slice_us))
            .arg(("blocking.cpu-percent", percent))
            .exec(conn)?;

        let run = self.runs;
        let begin = Mark::Begin {
            run,
            threshold_s,
            scope,
        };
        self.account.marks.set(conn, begin)?;
        self.scene.run_is_on.store(true, Ordering::Relaxed);
        let last = ask(conn, way, &words);
        self.scene.run_is_on.store(false, Ordering::Relaxed);
        let last = last.with_context(|| format!("run {run}: {way:?} {words:?}"))?;
        self.account.marks.set(conn, Mark::End { run })?;

        let status = last.text("status")?;
        if scope == Scope::Full {
            // A heartbeat that expires in mid-run holds back what its coordinator shared with others.
            let is_unsettled =
                status == "partial" && last.int("keys_unsettled").is_ok_and(|n| n > 0);
            ensure!(status == "complete" || is_unsettled, "run {run}: {last:?}");
        }
        let removes = scope != Scope::Dry;
        let count = |field| -> Result<u64> { Ok(last.int(field)?.try_into()?) };
        let removed = |field| if removes { count(field) } else { Ok(0) };
        self.account.told.push(Told {
            run,
            keys_removed: removed("keys_removed")?,
            coordinators_removed: removed("coordinators_removed")?,
            coordinators_revived: count("coordinators_revived")?,
        });
        Ok(())
    }
}

/// Has it run in this way, waits for its end, and yields what it came to.
fn ask(conn: &mut Connection, way: Way, words: &[&str]) -> Result<Reply> {
    match way {
        Way::Plain => return Ok(cleanup(conn, words)?),
        Way::Json => {
            let json: String = redis::cmd("BLOCKING.CLEANUP")
                .arg(words)
                .arg("JSON")
                .query(conn)?;
            let json: serde_json::Value = serde_json::from_str(&json)?;
            let last = status(conn)?.map("last")?;
            ensure!(
                json["keysDeleted"] == last.int("keys_removed")?,
                "{json} {last:?}"
            );
            return Ok(last);
        }
        Way::Async => {
            cleanup_async(conn, words)?;
        }
        Way::AsyncJson => {
            let words = words.iter().chain(&["ASYNC", "JSON"]);
            let json: String = redis::cmd("BLOCKING.CLEANUP")
                .arg(words.collect::<Vec<_>>())
                .query(conn)?;
            ensure!(json.starts_with(r#"{"run":"#), "{json}");
        }
        Way::Cancelled => {
            cleanup_async(conn, words)?;
            wait_until_state(conn, |state| state == "reaping" || state == "idle")?;
            match redis::cmd("BLOCKING.CANCEL").exec(conn) {
                Err(error) if error.code() != Some("NOTBUSY") => bail!(error),
                _ => {}
            }
        }
    }
    wait_until_state(conn, |state| state == "idle")?.map("last")
}

fn status(conn: &mut Connection) -> Result<Reply> {
    Ok(command(conn, "BLOCKING.STATUS", &[])?)
}

fn wait_until_state(conn: &mut Connection, wanted: impl Fn(&str) -> bool) -> Result<Reply> {
    let reached = |status: &Reply| status.text("state").is_ok_and(|state| wanted(&state));
    wait_for_value("the run to get on", DEADLINE, || status(conn), reached)
}
