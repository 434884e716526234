//! The module: one command. Must run it as a user would, with the settings that it comes with unless it says so.

use anyhow::{Result, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{cleanup, command};
use serde::{Deserialize, Serialize};

use super::{Done, MODULE, MODULE_AT_5, THRESHOLD_S, Way};
use crate::ground::Ground;

/// `None`: the default share of a busy server.
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
}

impl Way for Module {
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
        let nobody = cleanup(conn, &["DRYRUN", "MATCH", "nobody"])?;
        ensure!(nobody.int("keys_removed")? == 0, "{nobody:?}");
        Ok(())
    }

    fn run(&self, _ground: &Ground, conn: &mut Connection) -> Result<Done> {
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
        // The server has just been started, so its totals are those of this run.
        let totals = command(conn, "BLOCKING.STATUS", &[])?.map("totals")?;
        let mut get = redis::cmd("CONFIG");
        let (_, slice_us): (String, u64) = get.arg("GET").arg("blocking.slice-us").query(conn)?;
        if let Some(run) = &mut done.run {
            run.overruns = totals.int("overruns")?.try_into()?;
            run.slice_us = slice_us;
        }
        Ok(())
    }
}
