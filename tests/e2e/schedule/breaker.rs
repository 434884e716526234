//! More coordinators are stale than can be true: nothing goes, and that is said once.

use anyhow::{Result, ensure};
use blocking_harness::redis::Connection;
use blocking_harness::redis::Value;
use blocking_harness::{Server, cleanup, dbsize, reply_map, server_now_ms, wait_for_value};

use super::{DEADLINE, OLD_MS, eager, info, lines, more_runs, schedule, set, write, write_pair};
use crate::environment::long_run::assert_healthy;

fn write_many(conn: &mut Connection, prefix: &str, count: usize, beat_ms: i64) -> Result<()> {
    (0..count).try_for_each(|n| write_pair(conn, &format!("{prefix}-{n}"), beat_ms))
}

#[test]
fn it_opens_once_and_closes_once() -> Result<()> {
    let server = eager().arg("blocking.max-stale-percent", 50).start()?;
    let mut conn = server.client()?;
    set(&mut conn, "interval-seconds", 0)?;
    write_many(&mut conn, "dead", 30, OLD_MS)?;
    let now_ms = server_now_ms(&mut conn)?;
    write_many(&mut conn, "live", 10, now_ms)?;
    set(&mut conn, "interval-seconds", 1)?;
    let last = more_runs(&mut conn, 4)?;
    let reason = "breaker: 30 of 40 coordinators are stale, more than 50 percent";
    ensure!(
        last.text("status")? == "refused" && last.text("reason")? == reason,
        "{last:?}"
    );
    ensure!(last.int("coordinators_stale")? == 30 && last.int("keys_removed")? == 0);
    ensure!(last.texts("stale_ids")?.len() == 30, "{last:?}");
    ensure!(dbsize(&mut conn)? == 80);
    ensure!(info(&mut conn, "breaker_open")? == 1 && info(&mut conn, "breaker_trips")? == 1);
    ensure!(info(&mut conn, "total_runs_refused")? >= 4);
    let open = schedule(&mut conn)?;
    let Some(Value::Array(open)) = open.get("breakers_open") else {
        anyhow::bail!("{open:?}");
    };
    ensure!(open.len() == 1);
    let open = reply_map(open[0].clone())?;
    ensure!(
        open.int("database")? == 0 && open.text("reason")? == reason,
        "{open:?}"
    );
    ensure!(open.int("open_s")? >= 2, "{open:?}");
    let opened = format!(
        "schedule: {reason} in database 0; scheduled runs remove nothing there until the share falls \
         (blocking.max-stale-percent)"
    );
    ensure!(lines(&server) == [opened], "{:?}", lines(&server));

    let now_ms = server_now_ms(&mut conn)?;
    write_many(&mut conn, "more", 20, now_ms)?;
    wait_for_value(
        "the dead to go",
        DEADLINE,
        || dbsize(&mut conn),
        |keys| *keys == 60,
    )?;
    more_runs(&mut conn, 2)?;
    ensure!(info(&mut conn, "breaker_open")? == 0 && info(&mut conn, "breaker_trips")? == 1);
    let lines = lines(&server);
    ensure!(
        lines.len() == 3 && lines[1].contains("keys removed 60"),
        "{lines:?}"
    );
    ensure!(lines[2] == "schedule: the breaker of database 0 is closed again");
    assert_healthy(&server)
}

#[test]
fn in_a_trial_period_it_opens_too() -> Result<()> {
    let server = eager()
        .arg("blocking.max-stale-percent", 50)
        .arg("blocking.dry-run", "yes")
        .start()?;
    let mut conn = server.client()?;
    write_many(&mut conn, "dead", 20, OLD_MS)?;
    wait_for_value(
        "the breaker to open",
        DEADLINE,
        || info(&mut conn, "breaker_open"),
        |open| *open == 1,
    )?;
    Ok(())
}

#[test]
fn a_manual_run_has_it_only_if_asked_for() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    write_many(&mut conn, "dead", 20, OLD_MS)?;
    let reason = "breaker: 20 of 20 coordinators are stale, more than 99 percent";
    for args in [
        &["BREAKER", "99"][..],
        &["BREAKER", "99", "DRYRUN"],
        // Which coordinators a run may remove does not change what it looks at.
        &["MATCH", "dead-1", "BREAKER", "99", "LIMIT", "1"],
    ] {
        let reply = cleanup(&mut conn, args)?;
        ensure!(reply.text("status")? == "refused", "{args:?} {reply:?}");
        ensure!(reply.text("reason")? == reason, "{args:?} {reply:?}");
        for name in ["coordinators_removed", "keys_removed", "keys_orphaned"] {
            ensure!(reply.int(name)? == 0, "{args:?} {reply:?}");
        }
        ensure!(dbsize(&mut conn)? == 40);
    }
    // The scheduled ones' share is not theirs, and nothing is remembered of it.
    ensure!(info(&mut conn, "breaker_open")? == 0);
    let refused = lines(&server);
    ensure!(
        refused.len() == 3 && refused[0].contains("refused (breaker: 20"),
        "{refused:?}"
    );
    let reply = cleanup(&mut conn, &["BREAKER", "100", "LIMIT", "1"])?;
    ensure!(reply.int("keys_removed")? == 2, "{reply:?}");
    // Nineteen are too few to speak of a share.
    let reply = cleanup(&mut conn, &["BREAKER", "1"])?;
    ensure!(
        reply.text("status")? == "complete" && reply.int("keys_removed")? == 38,
        "{reply:?}"
    );
    Ok(())
}

#[test]
fn unreadable_heartbeats_do_not_hide_the_share_and_protected_ones_are_not_in_it() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    write_many(&mut conn, "dead", 6, OLD_MS)?;
    let now_ms = server_now_ms(&mut conn)?;
    write_many(&mut conn, "live", 4, now_ms)?;
    for n in 0..30 {
        write(&mut conn, &format!("blocking:heartbeat:odd-{n}"), "no time")?;
    }
    let reply = cleanup(&mut conn, &["BREAKER", "50", "DRYRUN"])?;
    let reason = "breaker: 6 of 10 coordinators are stale, more than 50 percent";
    ensure!(reply.text("reason")? == reason, "{reply:?}");
    set(&mut conn, "protect", "dead-0 dead-1 live-0")?;
    let reply = cleanup(&mut conn, &["BREAKER", "50", "DRYRUN"])?;
    ensure!(reply.text("status")? == "complete", "{reply:?}");
    ensure!(reply.int("coordinators_stale")? == 6, "{reply:?}");
    ensure!(reply.int("coordinators_protected")? == 2, "{reply:?}");
    let reply = cleanup(&mut conn, &["BREAKER", "49", "DRYRUN"])?;
    let reason = "breaker: 4 of 8 coordinators are stale, more than 49 percent";
    ensure!(reply.text("reason")? == reason, "{reply:?}");
    Ok(())
}
