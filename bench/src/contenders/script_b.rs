//! Script B: the best Lua we can write, and the yardstick for stalls.
//! Must do the whole job; being faster by doing less is no comparison.

use anyhow::Result;
use blocking_harness::redis::{self, Connection};

use super::{Contender, Done, SCRIPT_B, THRESHOLD_S};
use crate::fixture::Fixture;

pub struct ScriptB;

impl Contender for ScriptB {
    fn name(&self) -> &'static str {
        SCRIPT_B
    }

    fn what(&self) -> &'static str {
        "Lua: one walk, everything decided in tables, UNLINK in chunks"
    }

    fn run(&self, _fixture: &Fixture, conn: &mut Connection) -> Result<Done> {
        let mut eval = redis::cmd("EVAL");
        let eval = eval
            .arg(include_str!("script_b.lua"))
            .arg(0)
            .arg(THRESHOLD_S);
        Ok(Done::removed(eval.query(conn)?))
    }
}
