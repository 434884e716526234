//! What the benchmark compares, all behind one trait. Each does the same work on the same keys, and none uses
//! another.

/// Clients in Rust: pages of SCAN, MGET, UNLINK.
mod client;
/// What the server itself charges for the commands that no contender can do without.
mod limit;
/// BLOCKING.CLEANUP.
mod module;
/// A Lua script that walks the keyspace twice for every stale coordinator.
mod script_a;
/// A Lua script that walks the keyspace once.
mod script_b;
/// redis-cli, coordinator by coordinator.
mod shell;

use std::time::Duration;

use anyhow::Result;
use blocking_harness::redis::Connection;

use crate::fixture::Fixture;
use crate::workloads::Workload;

pub use client::Client;
pub use limit::Limit;
pub use module::{Module, Run};
pub use script_a::{ScriptA, TOO_MANY};
pub use script_b::ScriptB;
pub use shell::{Shell, removed_with as shell_removes};

/// Seconds without a beat, the same for all contenders.
pub const THRESHOLD_S: u32 = 600;

pub trait Contender {
    /// The name in the tables.
    fn name(&self) -> &'static str;

    /// One line for the page.
    fn what(&self) -> &'static str;

    /// Why it does not run on this workload: it would take hours, or fail.
    fn left_out(&self, _workload: &Workload) -> Option<String> {
        None
    }

    /// Settings and the like, which are not measured.
    fn prepare(&self, _conn: &mut Connection) -> Result<()> {
        Ok(())
    }

    /// A run with nothing to remove. What the first run allocates for good, such as the server's pool of clients for
    /// modules, is no cost of the workload.
    fn run_on_nothing(&self, _conn: &mut Connection) -> Result<()> {
        Ok(())
    }

    /// Does the work once, over this connection or over others.
    fn run(&self, fixture: &Fixture, conn: &mut Connection) -> Result<Done>;

    /// Reads what the server says about the run, after the measurement.
    fn look_back(&self, _conn: &mut Connection, _done: &mut Done) -> Result<()> {
        Ok(())
    }
}

/// What a contender reports; fixture.rs checks it.
#[derive(Debug, Default)]
pub struct Done {
    pub removed: u64,
    /// Only so many coordinators were cleaned up; the rest is extrapolated.
    pub sample: Option<usize>,
    /// What the server charged; the limit only.
    pub charged: Option<Duration>,
    pub run: Option<Run>,
}

impl Done {
    fn removed(removed: u64) -> Self {
        Self {
            removed,
            ..Self::default()
        }
    }
}

/// The contenders in the order of the tables.
pub fn all() -> Vec<Box<dyn Contender>> {
    vec![
        Box::new(Shell),
        Box::new(ScriptA::default()),
        Box::new(ScriptB),
        Box::new(Client::FAST),
        Box::new(Client::CAREFUL),
        Box::new(Module::default()),
        Box::new(Limit),
    ]
}

pub const SHELL: &str = "shell";
pub const SCRIPT_A: &str = "script A";
pub const SCRIPT_B: &str = "script B";
pub const CLIENT: &str = "client";
pub const CAREFUL_CLIENT: &str = "careful client";
pub const MODULE: &str = "module";
/// The module with `blocking.cpu-percent 5`.
pub const MODULE_AT_5: &str = "module, 5 %";
pub const LIMIT: &str = "limit";
