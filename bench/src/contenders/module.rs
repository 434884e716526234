//! The module: one command, with the default settings but for `blocking.cpu-percent` in one of two runs under load.

use anyhow::{Result, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{cleanup, command};
use serde::{Deserialize, Serialize};

use super::{Contender, Done, MODULE, MODULE_AT_5, THRESHOLD_S};
use crate::fixture::Fixture;
use crate::show::{count, us};

/// `None`: the default.
#[derive(Default)]
pub struct Module {
    pub cpu_percent: Option<u32>,
}

/// What the module says about one run.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    pub slices: u64,
    /// Slices longer than `blocking.slice-us`.
    pub overruns: u64,
    pub longest_slice_us: u64,
    pub slice_us: u64,
    pub busy_us: u64,
    /// Slices longer than twice `blocking.slice-us`; those of them in which the main thread was off the processor;
    /// those in which a single call took so long.
    pub long_slices: u64,
    pub long_preempted: u64,
    pub long_calls: u64,
    pub longest_scan_us: u64,
    pub longest_read_us: u64,
    pub longest_unlink_us: u64,
}

impl Run {
    /// Several runs as one: counts are added, and the longest of the longest is kept.
    pub fn together(runs: impl Iterator<Item = Self>) -> Option<Self> {
        runs.reduce(|all, run| Self {
            slices: all.slices + run.slices,
            overruns: all.overruns + run.overruns,
            longest_slice_us: all.longest_slice_us.max(run.longest_slice_us),
            slice_us: run.slice_us,
            busy_us: all.busy_us + run.busy_us,
            long_slices: all.long_slices + run.long_slices,
            long_preempted: all.long_preempted + run.long_preempted,
            long_calls: all.long_calls + run.long_calls,
            longest_scan_us: all.longest_scan_us.max(run.longest_scan_us),
            longest_read_us: all.longest_read_us.max(run.longest_read_us),
            longest_unlink_us: all.longest_unlink_us.max(run.longest_unlink_us),
        })
    }

    /// How many slices were far too long, and why; empty if there were none.
    pub fn long_ones(&self) -> String {
        if self.long_slices == 0 {
            return String::new();
        }
        format!(
            "{} over {}: {} off the processor, {} by one call (UNLINK up to {}, heartbeats up to {}, the scan up to {})",
            count(self.long_slices as f64),
            us(2 * self.slice_us),
            count(self.long_preempted as f64),
            count(self.long_calls as f64),
            us(self.longest_unlink_us),
            us(self.longest_read_us),
            us(self.longest_scan_us)
        )
    }

    /// Whether no slice that was far too long could have ended sooner.
    pub fn long_ones_are_explained(&self) -> bool {
        self.long_slices == self.long_preempted + self.long_calls
    }
}

impl Contender for Module {
    fn name(&self) -> &'static str {
        match self.cpu_percent {
            None => MODULE,
            Some(_) => MODULE_AT_5,
        }
    }

    fn what(&self) -> &'static str {
        "BLOCKING.CLEANUP"
    }

    fn prepare(&self, conn: &mut Connection) -> Result<()> {
        if let Some(percent) = self.cpu_percent {
            let mut set = redis::cmd("CONFIG");
            let () = set
                .arg("SET")
                .arg("blocking.cpu-percent")
                .arg(percent)
                .query(conn)?;
        }
        Ok(())
    }

    fn run_on_nothing(&self, conn: &mut Connection) -> Result<()> {
        let nothing = cleanup(conn, &["DRYRUN", "MATCH", "no-such-id"])?;
        ensure!(nothing.int("keys_removed")? == 0, "{nothing:?}");
        Ok(())
    }

    fn run(&self, _fixture: &Fixture, conn: &mut Connection) -> Result<Done> {
        let reply = cleanup(conn, &["THRESHOLD", &THRESHOLD_S.to_string()])?;
        ensure!(reply.text("status")? == "complete", "{reply:?}");
        let number = |name| anyhow::Ok(reply.int(name)?.try_into()?);
        let run = Run {
            slices: number("slices")?,
            longest_slice_us: number("longest_slice_us")?,
            busy_us: number("busy_us")?,
            ..Run::default()
        };
        Ok(Done {
            run: Some(run),
            ..Done::removed(number("keys_removed")?)
        })
    }

    fn look_back(&self, conn: &mut Connection, done: &mut Done) -> Result<()> {
        // The server was started for this run, so its totals are those of the run.
        let totals = command(conn, "BLOCKING.STATUS", &[])?.map("totals")?;
        let mut get = redis::cmd("CONFIG");
        let (_, slice_us): (String, u64) = get.arg("GET").arg("blocking.slice-us").query(conn)?;
        if let Some(run) = &mut done.run {
            let number = |name| anyhow::Ok(totals.int(name)?.try_into()?);
            run.overruns = number("overruns")?;
            run.long_slices = number("long_slices")?;
            run.long_preempted = number("long_preempted")?;
            run.long_calls = number("long_calls")?;
            run.longest_scan_us = number("longest_scan_us")?;
            run.longest_read_us = number("longest_read_us")?;
            run.longest_unlink_us = number("longest_unlink_us")?;
            run.slice_us = slice_us;
        }
        Ok(())
    }
}
