//! A private server with the keys of one workload, restored before every round, and checks of what a contender
//! removed.
//!
//! The keys are written once and saved. Every round starts the server anew from that file, so that no contender
//! inherits the allocator or the hash tables that another one left. A new process hashes with a new seed, so keys
//! that lie side by side in memory are walked in random order, as in a server that has run for long.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use blocking_harness::known::Found;
use blocking_harness::redis::{self, Connection};
use blocking_harness::{
    FAMILY_SIZE, Fleet, Server, existing_keys, foreign_pair, load_foreign, server_now_ms,
};
use indicatif::ProgressBar;

use crate::workloads::Workload;

/// Dead for longer than the threshold. The beats of live ones lie in the future, so that none dies during the
/// benchmark.
const STALE_AGES_S: std::ops::Range<i64> = 100_000..190_000;
const LIVE_AGE_S: i64 = -80_000;
/// The longest TTL that writers give.
const ACK_TTL_S: u32 = 86_400;
/// So many keys of a kind are asked for by name after a round; if there are more, evenly spaced ones.
const LOOKED_AT: usize = 60_000;
const BATCH: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(3_600);

pub struct Fixture {
    pub server: Server,
    pub workload: Workload,
    pub stale: Fleet,
    live: Fleet,
    keys: u64,
}

impl Fixture {
    /// Starts the server, writes the keys and saves them.
    pub fn make(found: &Found, workload: &Workload, bar: &ProgressBar) -> Result<Self> {
        let server = Server::builder()
            .program(&found.program)
            // The probe waits while a script runs, instead of getting BUSY.
            .arg("lua-time-limit", 0)
            // Such a file loads faster.
            .arg("rdbcompression", "no")
            .arg("rdbchecksum", "no")
            .start()?;
        crate::interrupt::removes(server.dir());
        let mut conn = server.client()?;
        let now_ms = server_now_ms(&mut conn)?;
        let fixture = Self {
            stale: Fleet::numbered("dead", workload.stale, now_ms).ages_s(STALE_AGES_S),
            live: Fleet::numbered("live", workload.live, now_ms).age_s(LIVE_AGE_S),
            keys: (workload.coordinators() * FAMILY_SIZE + workload.acks) as u64 + workload.foreign,
            workload: workload.clone(),
            server,
        };
        bar.set_length(fixture.keys);
        load_foreign(&mut conn, workload.foreign, |written| bar.inc(written))?;
        fixture.live.load(&mut conn, |written| bar.inc(written))?;
        fixture.stale.load(&mut conn, |written| bar.inc(written))?;
        fixture.load_acks(&mut conn, bar)?;
        let () = redis::cmd("SAVE").query(&mut conn)?;
        Ok(fixture)
    }

    /// Restores the keys, in a new process.
    pub fn renew(&self) -> Result<()> {
        self.server.restart()?;
        let keys = self.dbsize()?;
        ensure!(keys == self.keys, "{keys} keys loaded, not {}", self.keys);
        Ok(())
    }

    /// A connection whose time-out is longer than any run.
    pub fn patient_client(&self) -> Result<Connection> {
        let conn = self.server.client()?;
        conn.set_read_timeout(Some(PATIENCE))?;
        Ok(conn)
    }

    /// How many keys a cleanup has to remove.
    pub fn doomed(&self) -> u64 {
        (self.stale.len() * FAMILY_SIZE + self.workload.acks) as u64
    }

    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// The keys a cleanup has to remove, coordinator by coordinator.
    pub fn doomed_keys(&self) -> impl Iterator<Item = Vec<u8>> {
        self.stale.keys().chain(self.acks())
    }

    /// Fails unless exactly the keys that a cleanup has to remove are gone.
    pub fn check_all_gone(&self, said: u64) -> Result<()> {
        self.check_count(said, self.doomed())?;
        let mut conn = self.server.client()?;
        let left = existing_keys(&mut conn, spread(self.doomed_keys(), self.doomed()))?;
        ensure!(
            left.is_empty(),
            "{} keys of dead coordinators are left",
            left.len()
        );
        self.check_others()
    }

    /// Fails unless the first `coordinators` of the dead are gone, and exactly `removed` keys.
    pub fn check_first_gone(&self, coordinators: usize, said: u64, removed: u64) -> Result<()> {
        self.check_count(said, removed)?;
        let mut conn = self.server.client()?;
        let keys = (0..coordinators).flat_map(|index| self.stale.family_keys(index));
        let left = existing_keys(&mut conn, keys)?;
        ensure!(
            left.is_empty(),
            "{} keys of dead coordinators are left",
            left.len()
        );
        self.check_others()
    }

    /// Fails if any key is gone.
    pub fn check_nothing_gone(&self) -> Result<()> {
        self.check_count(0, 0)
    }

    fn check_count(&self, said: u64, removed: u64) -> Result<()> {
        ensure!(
            said == removed,
            "reports {said} removed keys, not {removed}"
        );
        let (left, wanted) = (self.dbsize()?, self.keys - removed);
        ensure!(left == wanted, "{left} keys are left, not {wanted}");
        Ok(())
    }

    fn check_others(&self) -> Result<()> {
        let mut conn = self.server.client()?;
        for (whose, count) in [
            (
                "live coordinators",
                self.check_there(&mut conn, self.live.keys(), self.live.len() * FAMILY_SIZE)?,
            ),
            ("others", {
                let keys = (0..self.workload.foreign).map(|n| foreign_pair(n).0);
                self.check_there(&mut conn, keys, self.workload.foreign as usize)?
            }),
        ] {
            ensure!(count == 0, "{count} keys of {whose} are gone");
        }
        Ok(())
    }

    /// The number of these keys that are gone.
    fn check_there(
        &self,
        conn: &mut Connection,
        keys: impl Iterator<Item = Vec<u8>>,
        count: usize,
    ) -> Result<usize> {
        let asked: Vec<Vec<u8>> = spread(keys, count as u64).collect();
        let wanted = asked.len();
        Ok(wanted - existing_keys(conn, asked)?.len())
    }

    fn dbsize(&self) -> Result<u64> {
        let size = redis::cmd("DBSIZE").query(&mut self.server.client()?);
        size.context("cannot count the keys")
    }

    fn acks(&self) -> impl Iterator<Item = Vec<u8>> {
        let key = |n| format!("blocking:ack:{}:more-{n}", self.stale.ids()[0]).into_bytes();
        (0..self.workload.acks).map(key)
    }

    fn load_acks(&self, conn: &mut Connection, bar: &ProgressBar) -> Result<()> {
        let keys: Vec<Vec<u8>> = self.acks().collect();
        for batch in keys.chunks(BATCH) {
            let mut pipe = redis::pipe();
            for key in batch {
                let write = pipe.cmd("SET").arg(key).arg(r#"{"status":"received"}"#);
                write.arg("EX").arg(ACK_TTL_S).ignore();
            }
            let () = pipe.query(conn)?;
            bar.inc(batch.len() as u64);
        }
        Ok(())
    }
}

/// At most `LOOKED_AT` of `count` keys, evenly spaced.
fn spread(keys: impl Iterator<Item = Vec<u8>>, count: u64) -> impl Iterator<Item = Vec<u8>> {
    keys.step_by((count as usize).div_ceil(LOOKED_AT).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_keys_evenly_spaced_ones_are_looked_at() {
        let keys = |count: u64| (0..count).map(|n| n.to_le_bytes().to_vec());
        assert_eq!(spread(keys(60_000), 60_000).count(), 60_000);
        let of_more: Vec<_> = spread(keys(180_000), 180_000).collect();
        assert_eq!(of_more.len(), 60_000);
        assert_eq!(of_more[1], 3_u64.to_le_bytes());
    }
}
