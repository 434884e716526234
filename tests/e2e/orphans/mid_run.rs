//! Orphans that get an owner, or a sign of life, while the run is on that would remove them.
//!
//! Each deed is done in every part of a run, see `hard_cases::mid_run`. What was there in the moment of the deed, and is
//! protected by it, must be there after the run.

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::Connection;
use blocking_harness::{dbsize, server_now_ms};

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
fn whoever_shows_life_before_the_slice_keeps_everything() -> Result<()> {
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
        // Some servers tell nobody of this one; it is found by its name.
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
        (
            "a heartbeat in a swarm nobody knows",
            &[0, 1, 2, 3],
            &|pipe| {
                pipe.cmd("SET")
                    .arg(format!("swarm:new:blocking:heartbeat:{ID}"))
                    .arg(&beat);
            },
        ),
        ("a stale heartbeat", ALL, &|pipe| {
            pipe.cmd("SET")
                .arg(format!("blocking:heartbeat:{ID}"))
                .arg(&stale);
        }),
        ("activity", ALL, &|pipe| {
            pipe.cmd("SET").arg(&own[3]).arg(&beat);
        }),
        ("activity in a swarm nobody knows", &[0, 1, 2, 3], &|pipe| {
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
