//! Script A: the usual Lua script. It walks the keyspace twice for every stale coordinator, and fails when it hands
//! too many keys to `unpack`. It keeps both faults on purpose; script B has neither.

use std::cell::Cell;

use anyhow::Result;
use blocking_harness::redis::{self, Connection};

use super::{Contender, Done, SCRIPT_A, THRESHOLD_S};
use crate::fixture::Fixture;
use crate::show::count;
use crate::workloads::Workload;

const SCRIPT: &str = include_str!("script_a.lua");
/// The error when `unpack` yields more than Lua's stack takes.
pub const TOO_MANY: &str = "too many results to unpack";
/// Keys that all walks may look at: walks times keys. So many take some ten seconds.
const MOST_LOOKS: u64 = 30_000_000;

#[derive(Default)]
pub struct ScriptA {
    /// The smallest number of stale coordinators at which it is known to fail.
    fails_from: Cell<Option<usize>>,
}

impl ScriptA {
    pub fn failing_from(fails_from: Option<usize>) -> Self {
        Self {
            fails_from: Cell::new(fails_from),
        }
    }
}

impl Contender for ScriptA {
    fn name(&self) -> &'static str {
        SCRIPT_A
    }

    fn what(&self) -> &'static str {
        "Lua: collects heartbeats, walks the keyspace twice for every stale coordinator, DEL in batches"
    }

    fn left_out(&self, workload: &Workload) -> Option<String> {
        match self.fails_from.get() {
            Some(limit) if workload.stale >= limit => {
                let limit = count(limit as f64);
                return Some(format!("fails from {limit} stale on: {TOO_MANY}"));
            }
            _ => {}
        }
        let keys = workload.coordinators() as u64 * 6 + workload.acks as u64 + workload.foreign;
        let looks = 2 * workload.stale as u64 * keys;
        (looks > MOST_LOOKS).then(|| format!("{looks:.0e} looks at keys"))
    }

    fn run(&self, _fixture: &Fixture, conn: &mut Connection) -> Result<Done> {
        let mut eval = redis::cmd("EVAL");
        let eval = eval.arg(SCRIPT).arg(0).arg(THRESHOLD_S).arg("demo");
        Ok(Done::removed(eval.query(conn)?))
    }
}
