//! What a script has left behind when the module takes over: keys that it did not know, and whose heartbeats it took.

use anyhow::{Result, ensure};
use blocking_harness::{cleanup, dbsize, redis, server_now_ms};

use crate::case::{Contender, Now, beat, family, gone, text, write};

#[test]
fn what_a_script_did_not_know_is_an_orphan_and_goes_with_orphans() -> Result<()> {
    let server = crate::server()?;
    let mut conn = server.client()?;
    for script in [Contender::Shell, Contender::Lua] {
        redis::cmd("FLUSHALL").exec(&mut conn)?;
        let now = Now {
            ms: server_now_ms(&mut conn)?,
        };
        // Dead for more than a day.
        let old = now.ago(90_000);
        let living = family("deploy-2", now.ms);
        let state = text("swarm:s1:blocking:build-7", beat("build-7", old));
        write(&mut conn, family("build-7", old).iter().chain(&living))?;
        write(&mut conn, [&state])?;
        script.run(&server, &[])?;
        ensure!(dbsize(&mut conn)? == 6, "{script:?}");

        let without = cleanup(&mut conn, &[])?;
        ensure!(without.int("keys_orphaned")? == 1 && without.int("keys_removed")? == 0);
        let dry = cleanup(&mut conn, &["DRYRUN", "ORPHANS", "86400"])?;
        ensure!(dry.int("orphans_removed")? == 1 && dbsize(&mut conn)? == 6);
        let with = cleanup(&mut conn, &["ORPHANS", "86400"])?;
        ensure!(with.int("orphans_removed")? == 1 && dbsize(&mut conn)? == 5);
        ensure!(gone(&mut conn, &living)?.is_empty());
    }
    Ok(())
}
