//! Orphans that get an owner, or a sign of life, while the run is on that would remove them.
//!
//! Each deed is done in every part of a run, see `hard_cases::mid_run`. What was there in the moment of the deed, and
//! is protected by it, must be there after the run.

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{
    Server, TOO_LATE, cleanup_async, dbsize, load_foreign, server_now_ms, wait_for_value,
};

use crate::environment::long_run::{DEADLINE, state, wait_until_idle};
use crate::hard_cases::mid_run::{
    Deed, STEPS_MAX, Seen, ensure_there, in_every_part_of, slow_server,
};
use crate::hard_cases::write;

const IDS: i64 = 200;
/// One of them.
const ID: &str = "c-150";

fn family(n: i64, ms: i64) -> [String; 5] {
    [
        format!("blocking:signal:c-{n}"),
        format!("blocking:ack:c-{n}:s1"),
        format!("blocking:idempotency:c-{n}:zz:completion:1:{ms}"),
        format!("coordinator:activity:c-{n}"),
        format!("swarm:s:blocking:c-{n}"),
    ]
}

fn load(conn: &mut Connection, ms: i64) -> Result<()> {
    let () = blocking_harness::redis::cmd("FLUSHALL").query(conn)?;
    let value = format!(r#"{{"timestamp":{ms}}}"#);
    let keys = (0..IDS).flat_map(|n| family(n, ms));
    write(conn, keys.map(|key| (key, &value)))
}

/// What must stay, of what was there: as places in the family.
const ALL: &[usize] = &[0, 1, 2, 3, 4];

#[test]
fn an_id_that_shows_life_before_the_slice_keeps_everything() -> Result<()> {
    let server = slow_server()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    let old = now - 700_000;
    let own = family(150, old);
    let beat = format!(r#"{{"timestamp":{}}}"#, now + 60_000);
    let stale = format!(r#"{{"timestamp":{old}}}"#);
    let deeds: [(&str, &[usize], Deed); 10] = [
        ("a heartbeat", ALL, &|pipe| {
            pipe.cmd("SET")
                .arg(format!("blocking:heartbeat:{ID}"))
                .arg(&beat);
        }),
        // Some servers do not tell of this one; it is found by its name.
        ("a heartbeat renamed into place", ALL, &|pipe| {
            pipe.cmd("SET").arg("draft").arg(&beat);
            pipe.cmd("RENAME")
                .arg("draft")
                .arg(format!("blocking:heartbeat:{ID}"));
        }),
        ("a heartbeat in its swarm", ALL, &|pipe| {
            pipe.cmd("SET")
                .arg(format!("swarm:s:blocking:heartbeat:{ID}"))
                .arg(&beat);
        }),
        ("a heartbeat in an unknown swarm", &[0, 1, 2, 3], &|pipe| {
            pipe.cmd("SET")
                .arg(format!("swarm:new:blocking:heartbeat:{ID}"))
                .arg(&beat);
        }),
        ("a stale heartbeat", ALL, &|pipe| {
            pipe.cmd("SET")
                .arg(format!("blocking:heartbeat:{ID}"))
                .arg(&stale);
        }),
        ("activity", ALL, &|pipe| {
            pipe.cmd("SET").arg(&own[3]).arg(&beat);
        }),
        ("activity in an unknown swarm", &[0, 1, 2, 3], &|pipe| {
            pipe.cmd("SETEX")
                .arg(format!("swarm:new:agent:{ID}:activity"))
                .arg(600)
                .arg(&beat);
        }),
        ("a signal", ALL, &|pipe| {
            pipe.cmd("SETEX").arg(&own[0]).arg(86_400).arg(&beat);
        }),
        ("a new message", ALL, &|pipe| {
            pipe.cmd("SET")
                .arg(format!("blocking:idempotency:yy:{ID}:completion:2:{now}"))
                .arg("1");
        }),
        ("an ack written again", &[1], &|pipe| {
            pipe.cmd("SET").arg(&own[1]).arg(&beat);
        }),
    ];
    for (name, protected, deed) in deeds {
        let watched: Vec<String> = protected.iter().map(|n| own[*n].clone()).collect();
        let check = |conn: &mut Connection, seen: &Seen| {
            ensure_there(conn, &seen.there)?;
            let removed = seen.last.int("orphans_removed")?;
            let others = (IDS - 1) * 5;
            ensure!(removed >= others, "{removed} removed");
            ensure!(dbsize(conn)? <= 6, "{} keys are left", dbsize(conn)?);
            ensure!(seen.last.text("status")? == "complete", "not complete");
            Ok(())
        };
        let parts = ["collecting", "weighing", "reaping", "idle"];
        in_every_part_of(
            &mut conn,
            (&["ORPHANS"], &parts),
            (0..STEPS_MAX).step_by(3),
            &|conn| load(conn, old),
            &watched,
            deed,
            &check,
        )
        .with_context(|| format!("what came was {name}"))?;
    }
    Ok(())
}

/// Whatever is written while a run is on must be taken over before anything goes, which takes more than one slice.
/// How long that is depends on the machine; in one piece it would be one slice, or a few.
#[test]
fn what_is_written_meanwhile_is_heard_of_in_slices() -> Result<()> {
    for family in ["signal", "heartbeat"] {
        let (usual, usual_us) = slices_with_births(family, 0)?;
        let (slices, busy_us) = slices_with_births(family, 300_000)?;
        let (more, more_us) = (slices - usual, busy_us - usual_us);
        ensure!(
            more > 300 && more_us / more < 4 * SHORT_SLICE_US,
            "{family}: {slices} slices of {busy_us} us together, without {usual} of {usual_us} us"
        );
    }
    Ok(())
}

const SHORT_SLICE_US: i64 = 50;

/// How many slices a run has in which so many keys are written, and how long they are together; the walk does not find
/// the keys any more.
fn slices_with_births(family: &str, born: usize) -> Result<(i64, i64)> {
    let server = Server::builder()
        .arg("blocking.slice-us", SHORT_SLICE_US)
        .arg("blocking.idle-cpu-percent", 1)
        .start()?;
    let mut conn = server.client()?;
    load(&mut conn, 1_700_000_000_000)?;
    load_foreign(&mut conn, 20_000, |_| ())?;
    let names = (0..born).map(|n| format!("blocking:{family}:born-{n}"));
    let pairs: Vec<(String, u8)> = names.map(|name| (name, 1)).collect();
    let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    cleanup_async(&mut conn, &["ORPHANS"])?;
    wait_until_collecting(&mut conn)?;
    if born > 0 {
        // In two commands, so that the run gets no further meanwhile.
        redis::cmd("MSET").arg(&pairs).exec(&mut conn)?;
        redis::cmd("UNLINK").arg(&names).exec(&mut conn)?;
    }
    ensure!(state(&mut conn)? == "collecting", "{TOO_LATE}");
    redis::cmd("CONFIG")
        .arg(&["SET", "blocking.idle-cpu-percent", "100"])
        .exec(&mut conn)?;
    let last = wait_until_idle(&mut conn)?;
    ensure!(last.text("status")? == "complete", "{last:?}");
    ensure!(last.int("orphans_removed")? == IDS * 5, "{last:?}");
    Ok((last.int("slices")?, last.int("busy_us")?))
}

fn wait_until_collecting(conn: &mut Connection) -> Result<()> {
    let is_collecting = |state: &String| state == "collecting";
    wait_for_value("the run", DEADLINE, || state(conn), is_collecting).map(drop)
}

/// To look a name up that could be of a hundred thousand ids would be one long piece: then no orphan goes.
#[test]
fn a_new_key_full_of_colons_is_not_taken_apart() -> Result<()> {
    let server = slow_server()?;
    let mut conn = server.client()?;
    load(&mut conn, 1_700_000_000_000)?;
    load_foreign(&mut conn, 20_000, |_| ())?;
    cleanup_async(&mut conn, &["ORPHANS"])?;
    wait_for_value(
        "the run",
        DEADLINE,
        || state(&mut conn),
        |s| s == "collecting",
    )?;
    let name = format!("blocking:idempotency:{}", "a:".repeat(100_000));
    write(&mut conn, [(&name, "1")])?;
    redis::cmd("UNLINK").arg(&name).exec(&mut conn)?;
    ensure!(state(&mut conn)? == "collecting", "{TOO_LATE}");
    let last = wait_until_idle(&mut conn)?;
    ensure!(last.text("status")? == "complete", "{last:?}");
    ensure!(last.int("orphans_removed")? == 0, "{last:?}");
    ensure!(last.int("orphans_too_young")? == IDS * 5, "{last:?}");
    Ok(())
}
