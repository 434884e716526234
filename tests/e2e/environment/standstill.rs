//! Proof that nothing is removed while writes are paused: not on the primary, not on its replica, not in the file.
//! Must not act on a run; it only looks, until what it was told to wait for has come.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use blocking_harness::{
    Reply, Server, TOO_LATE, dbsize, info_field, redis, reply_map, wait_for_value,
};
use redis::{Connection, Value};

use super::long_run::{DEADLINE, state};

/// A primary with an append-only file, and its replica. The file is written in every turn of the event loop; a sync
/// in the background would let writes wait for it, and the file would grow in the middle of a pause.
pub fn pair() -> Result<(Server, Server)> {
    let primary = Server::builder()
        .aof(true)
        .arg("appendfsync", "no")
        .start()?;
    let replica = Server::builder().replica_of(&primary).start()?;
    replica.wait_in_sync_with(&primary)?;
    Ok((primary, replica))
}

/// Bytes of a server's append-only files.
fn file_bytes(dir: &Path) -> Result<u64> {
    let files = std::fs::read_dir(dir.join("appendonlydir"))?;
    files.map(|file| Ok(file?.metadata()?.len())).sum()
}

/// Freezes the replica when it is behind, and known to be: whatever waits for it must wait.
pub fn freeze_behind(replica: &Server, conn: &mut Connection) -> Result<()> {
    replica.freeze()?;
    Ok(redis::cmd("SET").arg("not-there-yet").arg(1).exec(conn)?)
}

/// Gives the key back that `freeze_behind` wrote.
pub fn forget_not_there_yet(conn: &mut Connection) -> Result<()> {
    Ok(redis::cmd("DEL").arg("not-there-yet").exec(conn)?)
}

/// What must not change while a run is paused.
#[derive(Debug, PartialEq)]
struct Picture {
    keys: i64,
    keys_scanned: i64,
    keys_removed: i64,
    file_bytes: u64,
    replica_keys: Option<i64>,
}

/// A paused run, and how everything was when it was first seen paused.
pub struct Standstill<'s> {
    primary: &'s Server,
    replica: Option<Connection>,
    first: Picture,
    elapsed_us: i64,
}

impl<'s> Standstill<'s> {
    /// Waits until the run under way is paused. A replica that is frozen cannot be looked at.
    pub fn begin(
        primary: &'s Server,
        conn: &mut Connection,
        replica: Option<&Server>,
    ) -> Result<Self> {
        wait_for_value(
            "the run to be paused",
            DEADLINE,
            || state(conn),
            |state| state == "paused",
        )?;
        if let Some(replica) = replica {
            replica.wait_in_sync_with(primary)?;
        }
        let mut replica = replica.map(Server::client).transpose()?;
        let (first, elapsed_us) = look(primary, conn, &mut replica)?.context(TOO_LATE)?;
        if let Some(keys) = first.replica_keys {
            ensure!(keys == first.keys, "the replica is not in sync: {first:?}");
        }
        Ok(Self {
            primary,
            replica,
            first,
            elapsed_us,
        })
    }

    /// Keys of the primary in the pause.
    pub fn keys(&self) -> i64 {
        self.first.keys
    }

    /// Looks on for a while, by the run's own clock; it must stay paused.
    pub fn hold(&mut self, conn: &mut Connection) -> Result<()> {
        const WHILE_US: i64 = 400_000;
        let mut now_us = self.elapsed_us;
        while now_us < self.elapsed_us + WHILE_US {
            now_us = self.look(conn)?.context(TOO_LATE)?;
        }
        Ok(())
    }

    /// Looks on until the run is not paused any more; yields how often it was seen to stand still.
    pub fn until_it_ends(&mut self, conn: &mut Connection) -> Result<u64> {
        let mut looks = 0;
        while self.look(conn)?.is_some() {
            looks += 1;
        }
        Ok(looks)
    }

    fn look(&mut self, conn: &mut Connection) -> Result<Option<i64>> {
        let Some((picture, elapsed_us)) = look(self.primary, conn, &mut self.replica)? else {
            return Ok(None);
        };
        ensure!(
            picture == self.first,
            "no standstill: {:?}, then {picture:?}",
            self.first
        );
        Ok(Some(elapsed_us))
    }
}

/// How everything is and how old the run, if it is paused.
fn look(
    primary: &Server,
    conn: &mut Connection,
    replica: &mut Option<Connection>,
) -> Result<Option<(Picture, i64)>> {
    let replica_keys = replica.as_mut().map(dbsize).transpose()?;
    let file_bytes = file_bytes(primary.dir())?;
    let (keys, status) = keys_and_status(conn)?;
    if status.text("state")? != "paused" {
        return Ok(None);
    }
    let current = status.map("current")?;
    let picture = Picture {
        keys,
        keys_scanned: current.int("keys_scanned")?,
        keys_removed: current.int("keys_removed")?,
        file_bytes,
        replica_keys,
    };
    Ok(Some((picture, current.int("elapsed_us")?)))
}

/// Both from one moment.
fn keys_and_status(conn: &mut Connection) -> Result<(i64, Reply)> {
    let mut both = redis::pipe();
    both.atomic().cmd("DBSIZE").cmd("BLOCKING.STATUS");
    let (keys, status): (i64, Value) = both.query(conn)?;
    Ok((keys, reply_map(status)?))
}

/// Pauses every client of the primary, this connection too, and looks on from outside until the pause is over.
pub fn pause_all_and_look_on(
    primary: &Server,
    conn: &mut Connection,
    replica: &Server,
) -> Result<()> {
    const PAUSE: Duration = Duration::from_secs(2);
    let mut pause = redis::pipe();
    pause.atomic().cmd("DBSIZE").cmd("INFO").arg("replication");
    let milliseconds = PAUSE.as_millis().to_string();
    pause
        .cmd("CLIENT")
        .arg(&["PAUSE", &milliseconds, "ALL"])
        .ignore();
    let asked = Instant::now();
    let (keys, info): (i64, String) = pause.query(conn)?;
    // The server writes its file before it answers, so this is all of it.
    let bytes = file_bytes(primary.dir())?;
    let mut there = replica.client()?;
    let offset = |info: &str, field: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|value| value.trim().parse::<u64>().ok())
    };
    let goal = offset(&info, "master_repl_offset:").context("no offset")?;
    wait_for_value(
        "what was sent before the pause",
        DEADLINE,
        || Ok(info_field(&mut there, "replication", "master_repl_offset")?.parse::<u64>()?),
        |offset| *offset >= goal,
    )?;
    let mut looks = 0;
    loop {
        let now = (file_bytes(primary.dir())?, dbsize(&mut there)?);
        // Later than this the pause may be over, so what was seen proves nothing.
        if asked.elapsed() >= PAUSE {
            break;
        }
        ensure!(
            now == (bytes, keys),
            "no standstill: {bytes} bytes and {keys} keys, then {now:?}"
        );
        looks += 1;
    }
    ensure!(looks > 3, "{TOO_LATE}");
    Ok(())
}
