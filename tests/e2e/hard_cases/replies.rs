//! What a reply shows of names: not more than one piece of the main thread's time allows, however long they are and
//! whatever bytes they have, and enough to find out what was asked for wrongly.

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{Connection, Value, cmd};
use blocking_harness::{Reply, Server, cleanup, command, server_now_ms};

use super::beat;
use crate::explain::{explain, maps};

/// Names in one reply, as JSON may write them, and room for all else.
const MOST_BYTES: usize = (1 << 20) + (64 << 10);

fn json(conn: &mut Connection, words: &[&[u8]]) -> Result<Vec<u8>> {
    let (name, args) = words.split_first().context("no command")?;
    let name = std::str::from_utf8(name)?;
    match cmd(name).arg(args).query(conn)? {
        Value::BulkString(text) => Ok(text),
        other => anyhow::bail!("no text: {other:?}"),
    }
}

fn write_dead(conn: &mut Connection, key: &[u8]) -> Result<()> {
    let value = beat(server_now_ms(conn)?, 5_000_000);
    Ok(cmd("SET").arg(key).arg(value).exec(conn)?)
}

#[test]
fn names_in_a_reply_are_bounded_as_they_are_written() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    // Five bytes each in JSON.
    let id = |n: u8| [vec![0xff; 60_000], vec![n]].concat();
    for n in 0..20 {
        write_dead(
            &mut conn,
            &[b"blocking:heartbeat:".as_slice(), &id(b'a' + n)].concat(),
        )?;
        let swarm = format!("swarm:s{n}:blocking:heartbeat:");
        write_dead(&mut conn, &[swarm.as_bytes(), &id(b'a')].concat())?;
    }
    for words in [
        vec![
            b"BLOCKING.CLEANUP".as_slice(),
            b"DRYRUN",
            b"IDS",
            b"10000",
            b"JSON",
        ],
        vec![b"BLOCKING.STATUS", b"JSON"],
        vec![b"BLOCKING.LIST", b"JSON"],
        vec![b"BLOCKING.DOCTOR", b"JSON"],
    ] {
        let text = json(&mut conn, &words)?;
        let what = words[0].escape_ascii();
        ensure!(text.len() <= MOST_BYTES, "{what}: {} bytes", text.len());
        let _: serde_json::Value = serde_json::from_slice(&text)?;
    }
    // The id itself is always there.
    let text = json(&mut conn, &[b"BLOCKING.EXPLAIN", &id(b'a'), b"JSON"])?;
    ensure!(
        text.len() <= MOST_BYTES + 5 * 60_000,
        "{} bytes",
        text.len()
    );
    let found: serde_json::Value = serde_json::from_slice(&text)?;
    assert_eq!(found["verdict"], "stale");
    assert_eq!(found["heartbeatsFound"], 21);
    // As many in the other form, and all are counted.
    let reply = cleanup(&mut conn, &["DRYRUN", "IDS", "10000"])?;
    assert_eq!(reply.int("coordinators_stale")?, 40);
    assert_eq!(reply.list("stale_ids")?.len(), 3);
    Ok(())
}

#[test]
fn a_living_heartbeat_beyond_those_shown_decides_the_verdict() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    for n in 0..40 {
        write_dead(
            &mut conn,
            format!("swarm:s{n}:blocking:heartbeat:a").as_bytes(),
        )?;
    }
    let now = server_now_ms(&mut conn)?;
    let () = cmd("SET")
        .arg("swarm:z:blocking:heartbeat:a")
        .arg(beat(now, 0))
        .query(&mut conn)?;
    let reply = explain(&mut conn, b"a", &[])?;
    assert_eq!(reply.text("verdict")?, "live");
    assert_eq!(maps(&reply, "heartbeats")?.len(), 20);
    Ok(())
}

fn reason(reply: &Reply) -> Option<String> {
    reply.text("reason").ok()
}

#[test]
fn who_asks_for_a_key_instead_of_an_id_is_told() -> Result<()> {
    let server = Server::builder()
        .arg("blocking.warm-up-seconds", 0)
        .start()?;
    let mut conn = server.client()?;
    write_dead(&mut conn, b"blocking:heartbeat:worker-1")?;
    let () = cmd("SET")
        .arg("blocking:signal:worker-1")
        .arg("x")
        .query(&mut conn)?;
    let fits = "fits MATCH, which compares ids such as 'worker-1'";
    for args in [
        ["DRYRUN", "MATCH", "blocking:heartbeat:*"].as_slice(),
        &["MATCH", "worker-2"],
    ] {
        let reply = cleanup(&mut conn, args)?;
        assert_eq!(reply.text("status")?, "complete");
        assert_eq!(reason(&reply), Some(format!("no stale id {fits}")));
        ensure!(
            reply
                .text("summary")?
                .ends_with(&format!(": no stale id {fits}"))
        );
    }
    for (args, what) in [
        (["MATCH", "blocking:heartbeat:*"].as_slice(), "id"),
        (&["STALE", "MATCH", "worker-2"], "stale id"),
    ] {
        let reply: Reply = command(&mut conn, "BLOCKING.LIST", args)?;
        assert_eq!(reason(&reply), Some(format!("no {what} {fits}")));
    }
    // No coordinator that could be meant is stale, or one that is meant is.
    for args in [["LIVE", "MATCH", "x*"], ["STALE", "MATCH", "worker-*"]] {
        let reply: Reply = command(&mut conn, "BLOCKING.LIST", &args)?;
        assert_eq!(reason(&reply), None, "{args:?}");
    }
    for (asked, told) in [
        (
            "blocking:heartbeat:worker-1",
            "this is the name of the heartbeat key of 'worker-1': ask for that id",
        ),
        (
            "blocking:signal:gone",
            "this is the name of the signal key of 'gone': ask for that id",
        ),
        (
            "blocking:ack:a:b",
            "this is the name of a key of family ack: ask for an id in it, such as 'a:b'",
        ),
    ] {
        let reply = explain(&mut conn, asked.as_bytes(), &[])?;
        let reasons = reply.texts("reasons")?;
        ensure!(reasons.iter().any(|reason| reason == told), "{reasons:?}");
        assert_eq!(reply.names().first(), Some(&"reasons"));
    }
    // What there is none of is left out.
    let reply = explain(&mut conn, b"worker-1", &[])?;
    let families = reply.map("families")?;
    assert_eq!(families.names(), ["heartbeat", "signal"]);
    assert_eq!(families.map("signal")?.names(), ["found", "removed"]);
    let reply = cleanup(&mut conn, &["MATCH", "worker-*"])?;
    assert_eq!(reason(&reply), None);
    Ok(())
}
