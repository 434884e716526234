//! Script B: the best Lua script we can write, doing all that the module does for ids without a colon. Waits are
//! compared with it.

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
