//! A run that takes seconds rather than milliseconds, so that a test can act in the middle of it, and what must hold
//! of the keyspace wherever such a run was cut.
//! Must not depend on the speed of the machine: a run is slowed down by its own settings and held by another client.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use blocking_harness::{
    FAMILY_SIZE, Fleet, Reply, Server, TOO_LATE, cleanup, command, differing_keys, existing_keys,
    foreign_pair, info_field, load_foreign, patience, redis, server_now_ms, wait_for_value,
    wait_until,
};
use redis::{Connection, RedisError, RedisResult};

/// For whatever must happen soon; far above what it takes, for machines that have other work.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A run that was asked for has begun by then, even on a machine that has other work.
const BEGUN_WITHIN: Duration = Duration::from_secs(5);

/// Older than any threshold used here.
const DEAD_AGE_S: i64 = 10_000;

/// A server's data: the dead, the living, and the keys of others.
pub struct World {
    pub dead: Fleet,
    pub live: Fleet,
    foreign: u64,
}

impl World {
    /// Large enough for a slow run to last two seconds or more.
    pub fn load(conn: &mut Connection) -> Result<Self> {
        Self::load_sized(conn, 1_500, 20, 600)
    }

    pub fn load_sized(
        conn: &mut Connection,
        dead: usize,
        live: usize,
        foreign: u64,
    ) -> Result<Self> {
        let now_ms = server_now_ms(conn)?;
        let world = Self {
            // Ids of one length, so that no key can be of others than those that it names whole.
            dead: Fleet::new((0..dead).map(|n| format!("dead-{n:05}")), now_ms).age_s(DEAD_AGE_S),
            live: Fleet::numbered("live", live, now_ms),
            foreign,
        };
        world.dead.load(conn, |_| ())?;
        world.live.load(conn, |_| ())?;
        load_foreign(conn, foreign, |_| ())?;
        Ok(world)
    }

    pub fn dead_keys(&self) -> usize {
        self.dead.len() * FAMILY_SIZE
    }

    /// Keys that no run may touch.
    pub fn other_keys(&self) -> usize {
        self.live.len() * FAMILY_SIZE + self.foreign as usize
    }

    /// Keys of the dead that are still there.
    pub fn dead_keys_left(&self, conn: &mut Connection) -> Result<usize> {
        Ok(existing_keys(conn, self.dead.keys())?.len())
    }

    /// Every key of the living and of others is as it was written.
    pub fn assert_others_are_whole(&self, conn: &mut Connection) -> Result<()> {
        let pairs = self.live.pairs().chain((0..self.foreign).map(foreign_pair));
        let different = differing_keys(conn, pairs)?;
        ensure!(
            different.is_empty(),
            "lost or changed: {}",
            shown(&different)
        );
        Ok(())
    }

    /// Of no family there is something left but not the heartbeat: the next run finds everything.
    pub fn assert_heartbeats_went_last(&self, conn: &mut Connection) -> Result<()> {
        let left: HashSet<Vec<u8>> = existing_keys(conn, self.dead.keys())?.into_iter().collect();
        let headless = self.dead.headless(&left);
        ensure!(
            headless.is_empty(),
            "without heartbeat: {}",
            shown(&headless)
        );
        Ok(())
    }

    /// What must hold after any run that was cut short: heartbeats go last, other keys are whole, and the next run
    /// does the rest.
    pub fn assert_next_run_does_the_rest(&self, conn: &mut Connection) -> Result<()> {
        self.assert_heartbeats_went_last(conn)?;
        let left = self.dead_keys_left(conn)?;
        let reply = cleanup(conn, &[])?;
        ensure!(reply.text("status")? == "complete", "{reply:?}");
        ensure!(
            reply.int("keys_removed")? == left as i64,
            "{left} left: {reply:?}"
        );
        ensure!(self.dead_keys_left(conn)? == 0, "something is left");
        self.assert_others_are_whole(conn)
    }
}

fn shown(keys: &[Vec<u8>]) -> String {
    let some: Vec<_> = keys
        .iter()
        .take(10)
        .map(|k| String::from_utf8_lossy(k))
        .collect();
    format!("{} keys, such as {some:?}", keys.len())
}

/// How long the client that holds a run keeps the server's thread at a time.
const HELD_MS: u32 = 50;

/// Runs at a crawl: some 50 us of work in every 2.5 ms. They go on at full speed when this is dropped.
pub struct Slow {
    holds: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    holder: Option<JoinHandle<()>>,
}

impl Slow {
    pub fn start(server: &Server) -> Result<Self> {
        Self::with(server.client()?)
    }

    /// The same through a given connection, for servers that ask for a login.
    pub fn with(mut conn: Connection) -> Result<Self> {
        // On a server that a tool slows down, a slice of 50 us would hold a single key.
        set_pace(&mut conn, 50 * patience(), (2 * patience()).min(100))?;
        let holds = Arc::new(AtomicBool::new(false));
        let stop = Arc::new(AtomicBool::new(false));
        let told = (Arc::clone(&holds), Arc::clone(&stop));
        let holder = std::thread::spawn(move || {
            let (holds, stop) = told;
            while !stop.load(Ordering::Relaxed) {
                // Whatever the server says: it may be loading, busy or gone.
                let held = holds.load(Ordering::Relaxed) && hold(&mut conn).is_ok();
                if !held {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            let free = || {
                let answer = set_pace(&mut conn, 250, 100);
                (!answer.is_err_and(is_for_now)).then_some(())
            };
            let _ = wait_until("the usual pace", DEADLINE, free);
        });
        Ok(Self {
            holds,
            stop,
            holder: Some(holder),
        })
    }

    /// Waits until the run under way is there, yields its number, and has it all but stand still from then on, so that
    /// whatever the test does comes in time: of a [`World`] half a minute's work is left.
    pub fn hold_at(&self, conn: &mut Connection, moment: Moment) -> Result<i64> {
        self.holds.store(false, Ordering::Relaxed);
        let number = wait_for(conn, moment)?;
        self.hold();
        Ok(number)
    }

    /// The same for a run that the test has met in another way.
    pub fn hold(&self) {
        self.holds.store(true, Ordering::Relaxed);
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(holder) = self.holder.take() {
            let _ = holder.join();
        }
    }
}

fn set_pace(conn: &mut Connection, slice_us: u32, idle_cpu_percent: u32) -> RedisResult<()> {
    redis::cmd("CONFIG")
        .arg("SET")
        .arg(("blocking.slice-us", slice_us))
        .arg(("blocking.idle-cpu-percent", idle_cpu_percent))
        .exec(conn)
}

/// Keeps the server's thread and nothing else of the machine; allowed in a pause of writes.
fn hold(conn: &mut Connection) -> RedisResult<()> {
    let seconds = f64::from(HELD_MS) / 1e3;
    redis::cmd("DEBUG").arg("SLEEP").arg(seconds).exec(conn)
}

/// Whether the server will accept settings later, unlike one that is gone or has unloaded the module.
fn is_for_now(error: RedisError) -> bool {
    matches!(error.code(), Some("LOADING" | "BUSY"))
}

/// A caller in a thread of its own, waiting for the end of its run.
pub struct Caller(JoinHandle<RedisResult<Reply>>);

impl Caller {
    pub fn start(server: &Server, args: &'static [&'static str]) -> Result<Self> {
        let mut conn = server.client()?;
        Ok(Self(std::thread::spawn(move || cleanup(&mut conn, args))))
    }

    /// The answer it got.
    pub fn answer(self) -> RedisResult<Reply> {
        self.0.join().expect("the caller's thread does not panic")
    }

    pub fn has_answer(&self) -> bool {
        self.0.is_finished()
    }
}

/// A connection by hand: lines out, lines in, and it may hang up in the middle of anything.
pub struct Raw {
    reader: BufReader<TcpStream>,
}

impl Raw {
    pub fn connect(server: &Server) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", server.port()))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            reader: BufReader::new(stream),
        })
    }

    /// Sends inline commands without waiting for anything.
    pub fn send(&mut self, commands: &str) -> Result<()> {
        self.reader
            .get_mut()
            .write_all(format!("{commands}\r\n").as_bytes())?;
        Ok(())
    }

    /// The next line of what the server says.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let length = self.reader.read_line(&mut line)?;
        ensure!(length > 0, "the server hung up");
        Ok(line.trim_end().to_owned())
    }

    /// Waits for the server to close the connection; whatever it says before is thrown away.
    pub fn wait_until_closed(&mut self) -> Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            match self.reader.read_until(b'\n', &mut line) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The server's number for this connection.
    pub fn id(&mut self) -> Result<i64> {
        self.send("CLIENT ID")?;
        let line = self.line()?;
        let number = line
            .strip_prefix(':')
            .with_context(|| format!("no number: {line}"))?;
        Ok(number.parse()?)
    }
}

/// Closing alone hangs up when the last copy of the socket is closed, and a server that another test starts at this
/// moment holds one between fork and exec.
impl Drop for Raw {
    fn drop(&mut self) {
        // It may be closed already, by the server.
        let _ = self.reader.get_ref().shutdown(Shutdown::Both);
    }
}

pub fn status(conn: &mut Connection) -> Result<Reply> {
    Ok(command(conn, "BLOCKING.STATUS", &[])?)
}

/// Waits until a field of INFO has this value.
pub fn wait_for_info(conn: &mut Connection, section: &str, field: &str, value: &str) -> Result<()> {
    let what = format!("{field} to be {value}");
    let look = || info_field(conn, section, field);
    wait_for_value(&what, DEADLINE, look, |now| now == value).map(drop)
}

pub fn state(conn: &mut Connection) -> Result<String> {
    status(conn)?.text("state")
}

/// Waits for the run under way to end and yields its result.
pub fn wait_until_idle(conn: &mut Connection) -> Result<Reply> {
    let idle = |status: &Reply| status.text("state").is_ok_and(|state| state == "idle");
    wait_for_value("the end of the run", DEADLINE, || status(conn), idle)?.map("last")
}

/// Waits until so many runs are over since the module was loaded, and yields the result of the last. For runs
/// that were not seen to begin: an idle server may not have read the command yet.
pub fn wait_for_runs(conn: &mut Connection, runs: i64) -> Result<Reply> {
    let over = |status: &Reply| {
        let totals = status.map("totals");
        let over = totals.and_then(|totals| totals.int("runs"));
        over.is_ok_and(|over| over >= runs)
    };
    let status = wait_for_value("the end of the run", DEADLINE, || status(conn), over)?;
    let state = status.text("state")?;
    ensure!(state == "idle", "another run than expected: {status:?}");
    ensure!(status.map("totals")?.int("runs")? == runs, "{status:?}");
    status.map("last")
}

/// Where a test acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Collecting,
    /// Something is removed already, and not everything.
    Reaping,
}

pub const MOMENTS: [Moment; 2] = [Moment::Collecting, Moment::Reaping];

/// Waits until the run under way is there, and yields its number. The run goes on: see [`Slow::hold_at`].
pub fn wait_for(conn: &mut Connection, moment: Moment) -> Result<i64> {
    let reached = |status: &Reply| {
        let Ok(current) = status.map("current") else {
            return false;
        };
        let more = |field| current.int(field).is_ok_and(|count| count > 0);
        let word = status.text("state").unwrap_or_default();
        match moment {
            Moment::Collecting => word == "collecting" && more("keys_scanned"),
            Moment::Reaping => word == "reaping" && more("keys_removed"),
        }
    };
    let what = format!("a run that is {moment:?}");
    let mut idle_since = None;
    let look = || {
        let status = status(conn)?;
        let idle = status.text("state")? == "idle";
        idle_since = idle.then(|| idle_since.unwrap_or_else(Instant::now));
        // Before it begins it is idle, too, but not for long.
        ensure!(
            idle_since.is_none_or(|since| since.elapsed() < BEGUN_WITHIN),
            "{TOO_LATE}; {what}: {status:?}"
        );
        Ok(status)
    };
    wait_for_value(&what, DEADLINE, look, reached)?
        .map("current")?
        .int("run")
}

/// Runs that are over since the module was loaded.
pub fn runs(conn: &mut Connection) -> Result<i64> {
    status(conn)?.map("totals")?.int("runs")
}

/// Waits until the run that comes after `before` others is removing, and yields its number; `None` if it is over
/// already. Looks without a rest, for a small run is short even when it is slow.
pub fn removing(conn: &mut Connection, before: i64) -> Result<Option<i64>> {
    let started = Instant::now();
    loop {
        let status = status(conn)?;
        if let Ok(current) = status.map("current")
            && current.int("keys_removed")? > 0
        {
            return Ok(Some(current.int("run")?));
        }
        if status.map("totals")?.int("runs")? > before {
            return Ok(None);
        }
        ensure!(started.elapsed() < DEADLINE, "no end of it: {status:?}");
    }
}

/// The server answers, and has not died in between.
pub fn assert_healthy(server: &Server) -> Result<()> {
    let log = server.log();
    for sign in [
        "ASSERTION FAILED",
        "BUG REPORT",
        "crashed by signal",
        "panicked",
    ] {
        if log.contains(sign) {
            bail!("the log says {sign}:\n{log}");
        }
    }
    ensure!(server.is_alive(), "the server has ended:\n{log}");
    let pong: String = redis::cmd("PING").query(&mut server.client()?)?;
    ensure!(pong == "PONG", "{pong}");
    Ok(())
}

/// One command whose reply does not matter as long as it is none of error.
pub fn run(conn: &mut Connection, words: &str) -> Result<redis::Value> {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap_or_default());
    command.arg(words.collect::<Vec<_>>());
    Ok(command.query(conn)?)
}

/// `status` and `reason` of a result.
pub fn ending(report: &Reply) -> Result<(String, Option<String>)> {
    Ok((report.text("status")?, report.text("reason").ok()))
}

/// The ending that a test expects.
pub fn ended(status: &str, reason: &str) -> (String, Option<String>) {
    (status.to_owned(), Some(reason.to_owned()))
}
