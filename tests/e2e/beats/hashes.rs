//! Hashes as heartbeats: their time fields are read and nothing else.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{Connection, Value, cmd};
use blocking_harness::{Server, cleanup, digest, info_field, server_now_ms, wait_for_value};

use super::{OLD_S, config, finding, hash, ids, listed, told};

#[test]
fn a_hash_is_a_heartbeat_by_its_time_fields() -> Result<()> {
    let server = Server::builder()
        .arg("blocking.obituary-stream", "ops:dead")
        .start()?;
    let mut conn = server.client()?;
    let families = "heartbeat=rq:worker:{id} signal=rq:mail:{id}";
    config(&mut conn, "blocking.families", families)?;
    config(
        &mut conn,
        "blocking.time-fields",
        "last_heartbeat timestamp stats.at",
    )?;
    let now_ms = server_now_ms(&mut conn)?;
    let write = |conn: &mut Connection, id: &str, fields: &[(&str, &str)]| -> Result<()> {
        let mut command = cmd("HSET");
        command.arg(format!("rq:worker:{id}"));
        fields.iter().for_each(|(field, value)| {
            command.arg(field).arg(value);
        });
        command.exec(conn)?;
        Ok(cmd("SET")
            .arg(format!("rq:mail:{id}"))
            .arg("x")
            .exec(conn)?)
    };
    let now = now_ms.to_string();
    write(
        &mut conn,
        "rq",
        &[
            ("birth", "x"),
            ("last_heartbeat", "2026-11-13T12:26:40.985898Z"),
        ],
    )?;
    write(&mut conn, "seconds", &[("timestamp", &OLD_S.to_string())])?;
    write(
        &mut conn,
        "dotted",
        &[("stats.at", &OLD_S.to_string()), ("timestamp", "0")],
    )?;
    write(
        &mut conn,
        "live",
        &[("last_heartbeat", &now), ("timestamp", &OLD_S.to_string())],
    )?;
    write(
        &mut conn,
        "doubt",
        &[
            ("last_heartbeat", "soon"),
            ("timestamp", &OLD_S.to_string()),
        ],
    )?;
    write(&mut conn, "none", &[("birth", &OLD_S.to_string())])?;
    let long = "9".repeat(70_000);
    write(&mut conn, "long", &[("timestamp", &long)])?;
    // Nothing is read of the rest, however much it is.
    let mut many = cmd("HSET");
    many.arg("rq:worker:many").arg("last_heartbeat").arg(OLD_S);
    (0..200_000).for_each(|n| {
        many.arg(n).arg(&now);
    });
    many.exec(&mut conn)?;
    let before = digest(&mut conn)?;
    assert_eq!(
        listed(&mut conn, "STALE")?,
        ids(&["rq", "seconds", "dotted", "many"])
    );
    assert_eq!(listed(&mut conn, "LIVE")?, ids(&["live"]));
    assert_eq!(
        listed(&mut conn, "UNREADABLE")?,
        ids(&["doubt", "none", "long"])
    );
    let rq = told(&mut conn, "rq")?;
    assert_eq!(
        (rq.text("field")?, rq.text("unit")?),
        ("last_heartbeat".into(), "rfc3339".into())
    );
    let why = "its field 'timestamp' is longer than blocking.max-heartbeat-bytes";
    assert_eq!(told(&mut conn, "long")?.text("trouble")?, why);
    assert_eq!(
        finding(&mut conn, "unreadable")?.context("no finding")?["unreadable"],
        3
    );
    cleanup(&mut conn, &["DRYRUN", "ORPHANS"])?;
    assert_eq!(digest(&mut conn)?, before, "a query changed something");

    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(reply.int("coordinators_removed")?, 4);
    assert_eq!(reply.int("keys_removed")?, 7);
    type Entry = (String, Vec<(String, String)>);
    let dead: Vec<Entry> = cmd("XRANGE")
        .arg(&["ops:dead", "-", "+"])
        .query(&mut conn)?;
    let beats: BTreeSet<&str> = dead
        .iter()
        .flat_map(|(_, fields)| fields)
        .filter(|(name, _)| name == "beat")
        .map(|(_, beat)| beat.as_str())
        .collect();
    ensure!(
        beats.contains(r#"{"last_heartbeat":"2026-11-13T12:26:40.985898Z"}"#),
        "{beats:?}"
    );
    Ok(())
}

/// Newer servers can give a field a lifetime of its own; one that has passed is not there.
#[test]
fn a_time_field_that_has_expired_is_not_there() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let known: Vec<Value> = cmd("COMMAND").arg(&["INFO", "HPEXPIRE"]).query(&mut conn)?;
    if matches!(known.first(), None | Some(Value::Nil)) {
        return Ok(());
    }
    cmd("DEBUG")
        .arg(&["SET-ACTIVE-EXPIRE", "0"])
        .exec(&mut conn)?;
    let now = server_now_ms(&mut conn)?.to_string();
    let old = OLD_S.to_string();
    hash(
        &mut conn,
        "other",
        &[("timestamp", &now), ("lastHeartbeat", &old)],
    )?;
    hash(&mut conn, "only", &[("timestamp", &old)])?;
    for id in ["other", "only"] {
        let key = format!("blocking:heartbeat:{id}");
        let fields = ["1", "FIELDS", "1", "timestamp"];
        cmd("HPEXPIRE").arg(key).arg(&fields).exec(&mut conn)?;
    }
    let set_ms = server_now_ms(&mut conn)?;
    let within = std::time::Duration::from_secs(10);
    let now = || Ok(server_now_ms(&mut server.client()?)?);
    wait_for_value("fields to expire", within, now, |now| *now > set_ms + 1)?;
    let lengths = |conn: &mut Connection| -> Result<(i64, i64)> {
        Ok((
            cmd("HLEN").arg("blocking:heartbeat:other").query(conn)?,
            cmd("HLEN").arg("blocking:heartbeat:only").query(conn)?,
        ))
    };
    let before = lengths(&mut conn)?;
    assert_eq!(listed(&mut conn, "STALE")?, ids(&["other"]));
    ensure!(!listed(&mut conn, "LIVE")?.contains("only"));
    let reply = cleanup(&mut conn, &["DRYRUN"])?;
    assert_eq!(reply.int("coordinators_stale")?, 1);
    assert_eq!(lengths(&mut conn)?, before, "a query removed a field");
    Ok(())
}

#[test]
fn a_hash_that_beats_again_is_kept() -> Result<()> {
    let server = Server::builder()
        .arg("blocking.interval-seconds", 1)
        .arg("blocking.warm-up-seconds", 0)
        .arg("blocking.max-stale-percent", 100)
        .start()?;
    let mut conn = server.client()?;
    let runs = |conn: &mut Connection| -> Result<i64> {
        Ok(info_field(conn, "blocking", "blocking_total_runs")?.parse()?)
    };
    // Its clock stands, but what it writes is another value each time.
    hash(&mut conn, "slow", &[("timestamp", &OLD_S.to_string())])?;
    let first = runs(&mut conn)?;
    let mut beat = OLD_S;
    let within = std::time::Duration::from_secs(30);
    let mut other = server.client()?;
    let more = || {
        beat += 1;
        hash(&mut other, "slow", &[("timestamp", &beat.to_string())])?;
        runs(&mut other)
    };
    wait_for_value("some runs", within, more, |runs| *runs > first + 3)?;
    let there: i64 = cmd("EXISTS")
        .arg("blocking:heartbeat:slow")
        .query(&mut conn)?;
    assert_eq!(there, 1);
    let gone = || {
        Ok(cmd("EXISTS")
            .arg("blocking:heartbeat:slow")
            .query::<i64>(&mut conn)?)
    };
    wait_for_value("the end of one that stopped", within, gone, |there| {
        *there == 0
    })?;
    Ok(())
}
