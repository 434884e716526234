//! A fleet whose writers behave like the real ones, on a server whose commands are not called: the dead vanish, the
//! living lose nothing.
//!
//! Time is compressed by 75: heartbeats live for 4 s in place of 300, signals and idempotency keys for 1,152 s in place
//! of a day, and so on; the threshold, the grace and the warm-up are 8 s in place of 600. So no heartbeat ever grows
//! old enough to be stale: the dead leave orphans. Which ones live is judged by the server's clock, and what was
//! removed by its append-only file. A test that could not let the living beat in time has shown nothing, and says so.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{
    AofCommands, Server, ServerBuilder, TOO_LATE, info_field, server_now_ms, stretched,
    wait_for_value,
};

use super::{DEADLINE, info};
use crate::environment::long_run::{assert_healthy, run};

/// As the writers set them, 75 times as short. Milliseconds.
const HEARTBEAT_TTL_MS: i64 = 300_000 / 75;
const ACTIVITY_TTL_MS: i64 = 600_000 / 75;
const ACK_TTL_MS: i64 = 3_600_000 / 75;
const SIGNAL_TTL_MS: i64 = 86_400_000 / 75;
/// The threshold, the grace and, because nothing else is said, the warm-up. Seconds.
const THRESHOLD_S: i64 = 600 / 75;

const LIVING: usize = 20;
const MORTALS: usize = 10;
const TICK: Duration = Duration::from_millis(100);
/// Every coordinator sends a signal once in so many ticks.
const SIGNAL_EVERY: usize = 5;

/// The settings of an ordinary server with a schedule; what is not named has its default.
fn scheduled() -> ServerBuilder {
    Server::builder()
        .arg("blocking.interval-seconds", 1)
        .arg("blocking.threshold-seconds", THRESHOLD_S)
        .arg("blocking.orphan-grace-seconds", THRESHOLD_S)
        .arg("appendfsync", "no")
        // The end of a TTL is then a DEL in the file, and an UNLINK is the module's.
        .arg("lazyfree-lazy-expire", "no")
}

/// Coordinators that beat, work and send each other signals.
struct Fleet {
    conn: Connection,
    /// Those that beat.
    beating: Vec<String>,
    /// Works, and its thread that beats has died: its activity is all there is.
    silent: Option<String>,
    ticks: usize,
    last_ms: Option<i64>,
}

impl Fleet {
    fn new(server: &Server) -> Result<Self> {
        Ok(Self {
            conn: server.client()?,
            beating: Vec::new(),
            silent: None,
            ticks: 0,
            last_ms: None,
        })
    }

    /// Every coordinator beats once, and some send a signal, which the receiver acknowledges if it lives.
    fn tick(&mut self) -> Result<()> {
        let ms = server_now_ms(&mut self.conn)?;
        self.ticks += 1;
        let mut pipe = redis::pipe();
        let mut set = |key: String, value: String, ttl_ms: i64| {
            pipe.cmd("SET").arg(key).arg(value).arg("PX").arg(ttl_ms);
        };
        for (number, id) in self.beating.iter().enumerate() {
            set(
                format!("blocking:heartbeat:{id}"),
                format!(
                    r#"{{"coordinatorId":"{id}","lastHeartbeat":{ms},"iteration":3,"phase":"waiting"}}"#
                ),
                HEARTBEAT_TTL_MS,
            );
            if number % SIGNAL_EVERY != self.ticks % SIGNAL_EVERY {
                continue;
            }
            let round = self.ticks / SIGNAL_EVERY;
            let receiver = &self.beating[(number + round + 1) % self.beating.len()];
            if receiver == id {
                continue;
            }
            let signal = format!("signal-{id}-{ms}");
            set(
                format!("blocking:signal:{receiver}"),
                format!(
                    r#"{{"timestamp":{ms},"senderId":"{id}","receiverId":"{receiver}","type":"completion","messageId":"{signal}"}}"#
                ),
                SIGNAL_TTL_MS,
            );
            set(
                format!("blocking:idempotency:{id}:{receiver}:completion:3:{ms}"),
                "1".to_owned(),
                SIGNAL_TTL_MS,
            );
            set(
                format!("blocking:ack:{receiver}:{signal}"),
                format!(
                    r#"{{"coordinatorId":"{receiver}","signalId":"{signal}","timestamp":{ms},"status":"received"}}"#
                ),
                ACK_TTL_MS,
            );
            set(
                format!("swarm:prod:blocking:{receiver}"),
                format!(
                    r#"{{"status":"waiting","startTime":{ms},"swarmId":"prod","coordinatorId":"{receiver}","timestamp":{ms}}}"#
                ),
                SIGNAL_TTL_MS,
            );
        }
        for id in self.beating.iter().chain(&self.silent) {
            set(
                format!("coordinator:activity:{id}"),
                format!(r#"{{"coordinatorId":"{id}","lastActivity":{ms},"phase":"waiting"}}"#),
                ACTIVITY_TTL_MS,
            );
        }
        let () = pipe.exec(&mut self.conn)?;
        // From before the last beat to after this one.
        let now_ms = server_now_ms(&mut self.conn)?;
        let gap_ms = now_ms - self.last_ms.unwrap_or(ms);
        ensure!(
            gap_ms < HEARTBEAT_TTL_MS,
            "{TOO_LATE}; no beat for {gap_ms} ms"
        );
        self.last_ms = Some(ms);
        Ok(())
    }

    /// Goes on until it is so.
    fn tick_until(
        &mut self,
        what: &str,
        mut is_so: impl FnMut(&mut Connection) -> Result<bool>,
    ) -> Result<()> {
        let began = Instant::now();
        while !is_so(&mut self.conn)? {
            ensure!(began.elapsed() < stretched(DEADLINE), "in vain: {what}");
            self.tick()?;
            sleep(TICK);
        }
        Ok(())
    }

    /// All coordinators are there for a while; then the mortals are silent for ever.
    fn live_and_let_die(&mut self) -> Result<()> {
        let id = |what: &str, number| format!("{what}-{number}");
        let all = (0..LIVING).map(|n| id("live", n));
        self.beating = all.chain((0..MORTALS).map(|n| id("dead", n))).collect();
        let enough = 3 * self.beating.len();
        let started = self.ticks;
        while self.ticks < started + enough {
            self.tick()?;
            sleep(TICK / 4);
        }
        self.beating.truncate(LIVING);
        let last = self.beating.pop();
        self.silent = last;
        let dead = keys_of_the_dead(&mut self.conn)?;
        for family in ["signal", "ack", "idempotency"] {
            let prefix = format!("blocking:{family}:");
            let count = dead.iter().filter(|key| key.starts_with(&prefix)).count();
            ensure!(count >= MORTALS / 2, "{family}: {dead:?}");
        }
        Ok(())
    }
}

fn keys(conn: &mut Connection) -> Result<BTreeSet<String>> {
    Ok(redis::cmd("KEYS").arg("*").query(conn)?)
}

fn names(key: &str, prefix: &str) -> bool {
    key.split(':').any(|segment| segment.starts_with(prefix))
}

/// What names dead coordinators and no living one.
fn keys_of_the_dead(conn: &mut Connection) -> Result<BTreeSet<String>> {
    let mut keys = keys(conn)?;
    keys.retain(|key| names(key, "dead-") && !names(key, "live-"));
    Ok(keys)
}

/// What lasts longer than any test and names a living coordinator.
fn keys_of_the_living(conn: &mut Connection) -> Result<BTreeSet<String>> {
    let mut keys = keys(conn)?;
    let lasting = ["blocking:signal:", "blocking:idempotency:", "swarm:"];
    keys.retain(|key| names(key, "live-") && lasting.iter().any(|prefix| key.starts_with(prefix)));
    Ok(keys)
}

/// From now on everything that changes is in the file, and nothing that was before.
fn begin_file(conn: &mut Connection) -> Result<()> {
    run(conn, "CONFIG SET appendonly yes")?;
    for field in ["aof_rewrite_in_progress", "aof_rewrite_scheduled"] {
        let look = || info_field(conn, "persistence", field);
        wait_for_value("the file", DEADLINE, look, |value| value == "0")?;
    }
    Ok(())
}

/// Every key that the module removed since the file was begun.
fn removed(server: &Server) -> Result<BTreeSet<String>> {
    let mut removed = BTreeSet::new();
    for command in AofCommands::of(server)? {
        let command = command?;
        if command[0].eq_ignore_ascii_case(b"UNLINK") {
            let names = command[1..].iter();
            removed.extend(names.map(|name| String::from_utf8_lossy(name).into_owned()));
        }
    }
    Ok(removed)
}

/// The dead ones' keys were removed and did not merely expire, and none was removed that names a living one.
fn assert_only_the_dead_were_removed(server: &Server, dead: &BTreeSet<String>) -> Result<()> {
    let removed = removed(server)?;
    let living: Vec<_> = removed.iter().filter(|key| names(key, "live-")).collect();
    ensure!(
        living.is_empty(),
        "keys of the living were removed: {living:?}"
    );
    let lasting = |key: &&String| {
        key.starts_with("blocking:signal:") || key.starts_with("blocking:idempotency:")
    };
    let kept: Vec<_> = dead.iter().filter(lasting).collect();
    let missing: Vec<_> = kept.iter().filter(|key| !removed.contains(**key)).collect();
    ensure!(missing.is_empty(), "not removed by the module: {missing:?}");
    Ok(())
}

#[test]
fn the_dead_vanish_by_themselves_and_the_living_lose_nothing() -> Result<()> {
    let server = scheduled().start()?;
    let mut conn = server.client()?;
    begin_file(&mut conn)?;
    let mut fleet = Fleet::new(&server)?;
    fleet.live_and_let_die()?;
    let dead = keys_of_the_dead(&mut conn)?;
    let living = keys_of_the_living(&mut conn)?;
    fleet.tick_until("the dead to vanish", |conn| {
        Ok(keys_of_the_dead(conn)?.is_empty())
    })?;
    // Two more rounds: what was in doubt is not forgotten.
    let runs = info(&mut conn, "schedule_runs")?;
    fleet.tick_until("two more runs", |conn| {
        Ok(info(conn, "schedule_runs")? >= runs + 2)
    })?;
    assert_only_the_dead_were_removed(&server, &dead)?;
    let lost: Vec<_> = living.difference(&keys(&mut conn)?).cloned().collect();
    ensure!(lost.is_empty(), "{lost:?}");
    // No command was called, nothing was ever stale, and INFO shows it.
    ensure!(info(&mut conn, "total_runs")? == info(&mut conn, "schedule_runs")?);
    ensure!(info(&mut conn, "total_coordinators_removed")? == 0);
    ensure!(info(&mut conn, "total_orphans_removed")? == info(&mut conn, "total_keys_removed")?);
    ensure!(info(&mut conn, "left_coordinators")? == LIVING as u64 - 1);
    ensure!(info(&mut conn, "breaker_trips")? == 0);
    assert_healthy(&server)
}

#[test]
fn after_a_restart_with_an_old_file_a_coordinator_that_comes_back_within_the_warm_up_loses_nothing()
-> Result<()> {
    let server = scheduled().start()?;
    let mut conn = server.client()?;
    let mut fleet = Fleet::new(&server)?;
    // What the first server would do is not the question.
    run(&mut conn, "CONFIG SET blocking.interval-seconds 0")?;
    fleet.live_and_let_die()?;
    run(&mut conn, "SAVE")?;
    server.kill9()?;
    // Until every heartbeat in the file has expired, and everything else in it is older than the grace.
    sleep(Duration::from_secs(THRESHOLD_S.unsigned_abs() + 1));
    server.restart()?;
    let mut conn = server.client()?;
    begin_file(&mut conn)?;
    let living = keys_of_the_living(&mut conn)?;
    let dead = keys_of_the_dead(&mut conn)?;
    ensure!(living.len() > LIVING && dead.len() > MORTALS, "not loaded");
    let beats = |keys: &BTreeSet<String>| keys.iter().any(|key| key.contains(":heartbeat:"));
    ensure!(!beats(&keys(&mut conn)?), "the file was not old");

    // They come back one by one, over several intervals.
    let ids = (0..LIVING).map(|number| format!("live-{number}"));
    fleet = Fleet::new(&server)?;
    for id in ids {
        fleet.beating.push(id);
        fleet.tick()?;
        sleep(TICK);
    }
    let runs = info(&mut conn, "schedule_runs")?;
    ensure!(
        info(&mut conn, "warm_up_left_s")? > 0,
        "{TOO_LATE}; the warm-up is over"
    );
    ensure!(runs == 0, "{runs} runs in the warm-up");
    fleet.tick_until("the dead to vanish again", |conn| {
        Ok(keys_of_the_dead(conn)?.is_empty())
    })?;
    assert_only_the_dead_were_removed(&server, &dead)?;
    let lost: Vec<_> = living.difference(&keys(&mut conn)?).cloned().collect();
    ensure!(lost.is_empty(), "{lost:?}");
    assert_healthy(&server)
}
