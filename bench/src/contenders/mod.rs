//! What the benchmark compares, all behind one trait. Each must do the same work on the same keys, and none may know
//! another.

/// Clients in Rust: pages of SCAN, MGET, UNLINK.
mod client;
/// What the server itself charges for the commands without which nobody can do it.
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

/// Seconds without a beat; all contenders are given the same.
pub const THRESHOLD_S: u32 = 600;

pub trait Contender {
    /// As the tables have it.
    fn name(&self) -> &'static str;

    /// One line for the page.
    fn what(&self) -> &'static str;

    /// Why it is not run on this work, if it would take hours or cannot work.
    fn left_out(&self, _work: &Workload) -> Option<String> {
        None
    }

    /// Makes ready what is not part of the work.
    fn prepare(&self, _conn: &mut Connection) -> Result<()> {
        Ok(())
    }

    /// Does it where there is nothing to do. What a server keeps from the first time on, whatever the work, such as its
    /// pool of clients for modules, is not what the work takes.
    fn run_on_nothing(&self, _conn: &mut Connection) -> Result<()> {
        Ok(())
    }

    /// Does the work once, over this connection or over others.
    fn run(&self, fixture: &Fixture, conn: &mut Connection) -> Result<Done>;

    /// Asks for what is to be known about the run, when it is no longer measured.
    fn look_back(&self, _conn: &mut Connection, _done: &mut Done) -> Result<()> {
        Ok(())
    }
}

/// What a contender says of itself; fixture.rs looks whether it is so.
#[derive(Debug, Default)]
pub struct Done {
    pub removed: u64,
    /// Only that many coordinators were cleaned up; the rest is extrapolated.
    pub sample: Option<usize>,
    /// What the server charged, where that is the contender's figure.
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
