//! What a server says it uses, once everything that it does in the background is done.
//! Must not count as used what is about to be freed.

use std::time::Duration;

use anyhow::Result;
use redis::Connection;

use crate::client::info_field;
use crate::wait::wait_for_value;

const SETTLE_DEADLINE: Duration = Duration::from_secs(60);

/// Looks in a row that must find the same: several turns of the server's clock at `hz 100`, which decides now and then
/// that a table is too large.
const SAME_LOOKS: usize = 20;

/// What the server uses when everything that it frees in the background is freed and its tables have their size.
/// The server should tick often: `hz 100`.
pub fn settled_memory(conn: &mut Connection) -> Result<u64> {
    settle(conn)?;
    let mut last = (0, 0);
    let look = || {
        let used = info_field(conn, "memory", "used_memory")?.parse()?;
        last = if used == last.0 {
            (used, last.1 + 1)
        } else {
            (used, 0)
        };
        Ok(last)
    };
    let (used, _) = wait_for_value("memory to rest", SETTLE_DEADLINE, look, |last| {
        last.1 >= SAME_LOOKS
    })?;
    // Nothing may have begun meanwhile.
    settle(conn)?;
    Ok(used)
}

fn settle(conn: &mut Connection) -> Result<()> {
    let pending = || info_field(conn, "memory", "lazyfree_pending_objects");
    wait_for_value(
        "the background to finish",
        SETTLE_DEADLINE,
        pending,
        |left| left == "0",
    )?;
    // Tables that shrink or grow are moved bit by bit; two are held at once meanwhile.
    let rehashing = || {
        let stats: String = redis::cmd("DEBUG").arg(&["HTSTATS", "0"]).query(conn)?;
        Ok(stats.contains("rehashing target"))
    };
    wait_for_value("the tables to rest", SETTLE_DEADLINE, rehashing, |busy| {
        !busy
    })
    .map(drop)
}
