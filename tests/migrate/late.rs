//! A coordinator that beats again after it was found dead, and before its keys are removed.

use std::time::Duration;

use anyhow::{Result, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{Server, TOO_LATE, cleanup_async, command, server_now_ms, wait_for_value};

use crate::case::{Now, Outcome, Pair, RIGHT, Row, beat, family, gone, lost, text, write};
use crate::scripts::{said, shell_command};

const DEADLINE: Duration = Duration::from_secs(60);
/// What the slow run removes before it comes to the one that beats.
const ACKS: usize = 20_000;
const TRIES: usize = 5;

pub const ROW: Row = Row {
    title: "beats again between the verdict and the removal",
    shell: lost(5),
    // Nobody is served while it runs.
    lua: RIGHT,
    module: RIGHT,
};

fn lost_of(conn: &mut Connection, family: &[Pair]) -> Result<Outcome> {
    Ok(lost(gone(conn, family)?.len()))
}

#[test]
fn the_shell_script_removes_it() -> Result<()> {
    let server = crate::server()?;
    let mut conn = server.client()?;
    let now = Now {
        ms: server_now_ms(&mut conn)?,
    };
    let back = family("back", now.old());
    write(&mut conn, &back)?;
    // In the middle of the script, by another client.
    let beats = server.dir().join("beats.sh");
    let line = format!(
        "redis-cli -p {} SET \"blocking:heartbeat:$1\" '{}' >/dev/null\n",
        server.port(),
        beat("back", now.ms)
    );
    std::fs::write(&beats, line)?;
    let act = format!("sh {}", beats.display());
    let said = said(shell_command(&server).env("BEFORE_DELETE", act))?;
    ensure!(said.status == 0, "{}", said.text);
    assert_eq!(lost_of(&mut conn, &back)?, ROW.shell);
    Ok(())
}

/// A run that removes so slowly that there is time to beat. Yields nothing if it was over before that.
fn beats_during_a_run(server: &Server) -> Result<Option<Outcome>> {
    let mut conn = server.client()?;
    redis::cmd("FLUSHALL").exec(&mut conn)?;
    let now = Now {
        ms: server_now_ms(&mut conn)?,
    };
    let acks: Vec<Pair> = (0..ACKS)
        .map(|n| text(format!("blocking:ack:first:s{n}"), "1"))
        .collect();
    write(&mut conn, &acks)?;
    // The oldest goes first.
    write(&mut conn, &family("first", now.ago(9_000)))?;
    let back = family("back", now.old());
    write(&mut conn, &back)?;
    cleanup_async(&mut conn, &["THRESHOLD", "600"])?;
    let status = || Ok(command(&mut conn, "BLOCKING.STATUS", &[])?);
    let removes = wait_for_value("the first removal", DEADLINE, status, |status| {
        let removed = status
            .map("current")
            .and_then(|run| run.int("keys_removed"));
        removed.is_ok_and(|keys| keys > 0) || status.text("state").is_ok_and(|is| is == "idle")
    })?;
    let key = "blocking:heartbeat:back";
    let (there, _): (bool, String) = redis::pipe()
        .atomic()
        .cmd("EXISTS")
        .arg(key)
        .cmd("SET")
        .arg(key)
        .arg(beat("back", now.ms))
        .query(&mut conn)?;
    let look = || Ok(command(&mut conn, "BLOCKING.STATUS", &[])?);
    let ended = wait_for_value("the end of the run", DEADLINE, look, |status| {
        status.text("state").is_ok_and(|state| state == "idle")
    })?;
    if !there || removes.text("state")? != "reaping" {
        return Ok(None);
    }
    let last = ended.map("last")?;
    ensure!(last.int("coordinators_revived")? == 1, "{last:?}");
    ensure!(last.int("coordinators_removed")? == 1, "{last:?}");
    Ok(Some(lost_of(&mut conn, &back)?))
}

#[test]
fn the_module_keeps_it() -> Result<()> {
    let server = crate::builder()
        .arg("blocking.slice-us", 50)
        .arg("blocking.idle-cpu-percent", 1)
        .arg("blocking.cpu-percent", 1)
        .start()?;
    for _ in 0..TRIES {
        if let Some(seen) = beats_during_a_run(&server)? {
            assert_eq!(seen, ROW.module);
            return Ok(());
        }
    }
    anyhow::bail!("{TOO_LATE}")
}
