//! What a server says it uses, once everything that it does in the background is done.
//! Must not count as used what is about to be freed.

use std::time::Duration;

use anyhow::Result;
use redis::Connection;

use crate::client::info_field;
use crate::wait::wait_for_value;

const SETTLE_DEADLINE: Duration = Duration::from_secs(60);

/// What the server uses when everything that it frees in the background is freed and its tables have their size.
pub fn settled_memory(conn: &mut Connection) -> Result<u64> {
    settle(conn)?;
    Ok(info_field(conn, "memory", "used_memory")?.parse()?)
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
