//! BLOCKING.EXPLAIN: it says of every id what a dry run with MATCH for that id does, and why.

/// Against CLEANUP DRYRUN MATCH, on every scenario.
mod agreement;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{Connection, Value, cmd};
use blocking_harness::{
    Reply, Server, cleanup, command, digest, error_text, reply_map, server_now_ms,
};

use crate::list::user;

pub fn explain(conn: &mut Connection, id: &[u8], more: &[&str]) -> Result<Reply> {
    let mut command = cmd("BLOCKING.EXPLAIN");
    Ok(command.arg(id).arg(more).query(conn)?)
}

/// The entries of a list in the reply, each as a map.
pub fn maps(reply: &Reply, name: &str) -> Result<Vec<Reply>> {
    match reply.get(name) {
        Some(Value::Array(items)) => items.iter().cloned().map(reply_map).collect(),
        other => anyhow::bail!("no list: {other:?}"),
    }
}

fn set(conn: &mut Connection, key: &[u8], value: impl AsRef<[u8]>) -> Result<()> {
    Ok(cmd("SET").arg(key).arg(value.as_ref()).exec(conn)?)
}

fn beat(conn: &mut Connection, key: &[u8], age_s: i64) -> Result<()> {
    let ms = server_now_ms(conn)? - age_s * 1000;
    set(conn, key, format!(r#"{{"timestamp":{ms}}}"#))
}

/// The keys that are shown: name to fate and to the heartbeat that decided.
pub fn fates(reply: &Reply) -> Result<BTreeMap<String, (String, Option<String>)>> {
    let mut found = BTreeMap::new();
    for key in maps(reply, "keys")? {
        found.insert(key.text("key")?, (key.text("fate")?, key.text("by").ok()));
    }
    Ok(found)
}

/// One dead coordinator, a living one that shares messages with it, and a dead one with a longer name.
fn write_keys(conn: &mut Connection) -> Result<()> {
    beat(conn, b"blocking:heartbeat:a", 5_000)?;
    beat(conn, b"blocking:heartbeat:b", 10)?;
    beat(conn, b"blocking:heartbeat:a:x", 6_000)?;
    for key in [
        "blocking:signal:a",
        "blocking:ack:a:1",
        "blocking:ack:a:2",
        "blocking:ack:a:x:1",
        "blocking:idempotency:a:b:t:1:2",
        "coordinator:activity:a",
        "coordinator:activity:ghost",
        "blocking:signal:aa",
    ] {
        set(conn, key.as_bytes(), "1")?;
    }
    Ok(())
}

#[test]
fn a_dead_coordinator_with_every_reason() -> Result<()> {
    let server = Server::builder()
        .arg("blocking.warm-up-seconds", 0)
        .start()?;
    write_keys(&mut server.client()?)?;
    for mut conn in [server.client()?, server.client3()?] {
        let before = digest(&mut conn)?;
        let reply = explain(&mut conn, b"a", &[])?;
        let names = [
            "reasons",
            "verdict",
            "id",
            "threshold_s",
            "heartbeats",
            "heartbeats_found",
            "families",
            "keys",
            "protected",
            "breaker",
            "warm_up_left_s",
            "coordinators_removed",
            "keys_removed",
            "orphans_removed",
            "evidence_age_s",
            "keys_scanned",
            "slices",
            "longest_slice_us",
            "busy_us",
            "elapsed_us",
        ];
        assert_eq!(reply.names(), names);
        assert_eq!(reply.text("id")?, "a");
        assert_eq!(reply.text("verdict")?, "stale");
        assert_eq!(reply.int("keys_removed")?, 5);
        assert_eq!(reply.int("coordinators_removed")?, 1);
        assert!(!reply.flag("protected")?);
        let heartbeats = maps(&reply, "heartbeats")?;
        let fields = [
            "key",
            "swarm",
            "state",
            "age_s",
            "ttl_s",
            "field",
            "unit",
            "trouble",
            "fate",
            "by",
            "seen_before",
        ];
        assert_eq!(heartbeats.len(), 1);
        assert_eq!(heartbeats[0].names(), fields);
        assert_eq!(heartbeats[0].text("key")?, "blocking:heartbeat:a");
        assert_eq!(heartbeats[0].text("field")?, "timestamp");
        assert_eq!(heartbeats[0].text("unit")?, "milliseconds");
        assert_eq!(heartbeats[0].text("fate")?, "removed");
        let ack = reply.map("families")?.map("ack")?;
        assert_eq!(
            (ack.int("found")?, ack.int("removed")?, ack.int("others")?),
            (3, 2, 1)
        );
        let fates = fates(&reply)?;
        let fate = |key: &str| {
            let (fate, by) = &fates[key];
            (fate.as_str(), by.as_deref())
        };
        assert_eq!(fate("blocking:signal:a"), ("removed", None));
        let living = Some("blocking:heartbeat:b");
        assert_eq!(fate("blocking:idempotency:a:b:t:1:2"), ("vetoed", living));
        let longer = Some("blocking:heartbeat:a:x");
        assert_eq!(fate("blocking:ack:a:x:1"), ("others", longer));
        assert_eq!(fates.len(), 6);
        let reasons = reply.texts("reasons")?;
        ensure!(
            reasons[0].starts_with("its heartbeat is stale: 50"),
            "{reasons:?}"
        );
        let last = "BLOCKING.CLEANUP would remove 5 of its keys now, and with ORPHANS 0 more";
        assert_eq!(reasons.last().map(String::as_str), Some(last));
        assert!(reasons.iter().all(|r| r.is_ascii()), "{reasons:?}");
        assert_eq!(digest(&mut conn)?, before, "a query changed something");
    }
    Ok(())
}

#[test]
fn the_living_the_unreadable_the_absent_and_the_unheard_of() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    write_keys(&mut conn)?;
    let reply = explain(&mut conn, b"b", &[])?;
    assert_eq!(reply.text("verdict")?, "live");
    let (fate, by) = &fates(&reply)?["blocking:idempotency:a:b:t:1:2"];
    assert_eq!(
        (fate.as_str(), by.as_deref()),
        ("vetoed", Some("blocking:heartbeat:b"))
    );
    // An orphan that gives no time has to be seen for the grace first.
    let reply = explain(&mut conn, b"ghost", &[])?;
    assert_eq!(reply.text("verdict")?, "absent");
    assert_eq!(
        fates(&reply)?["coordinator:activity:ghost"].0,
        "orphan_too_young"
    );
    let reply = explain(&mut conn, b"nobody", &[])?;
    assert_eq!(reply.text("verdict")?, "absent");
    assert_eq!(fates(&reply)?.len(), 0);
    let () = cmd("HSET")
        .arg("blocking:heartbeat:h")
        .arg(&["a", "b"])
        .query(&mut conn)?;
    let reply = explain(&mut conn, b"h", &[])?;
    assert_eq!(reply.text("verdict")?, "unreadable");
    assert_eq!(
        maps(&reply, "heartbeats")?[0].text("trouble")?,
        "it has none of the fields that blocking.time-fields names"
    );
    // What counts is the threshold asked for.
    assert_eq!(
        explain(&mut conn, b"a", &["THRESHOLD", "9000"])?.text("verdict")?,
        "live"
    );
    Ok(())
}

/// The real writer lets its heartbeat expire after 300 s: it can never become stale.
#[test]
fn a_heartbeat_that_expires_too_soon_is_told_of() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    beat(&mut conn, b"blocking:heartbeat:a", 10)?;
    let () = cmd("EXPIRE")
        .arg("blocking:heartbeat:a")
        .arg(290)
        .query(&mut conn)?;
    let reasons = explain(&mut conn, b"a", &[])?.texts("reasons")?;
    let says = |reasons: &[String], text: &str| reasons.iter().any(|r| r.contains(text));
    ensure!(
        says(
            &reasons,
            "before it can become stale: after that only ORPHANS"
        ),
        "{reasons:?}"
    );
    let reasons = explain(&mut conn, b"a", &["THRESHOLD", "200"])?.texts("reasons")?;
    ensure!(!says(&reasons, "before it can become stale"), "{reasons:?}");
    Ok(())
}

#[test]
fn the_nets_of_the_schedule_are_told_of() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    for n in 0..20 {
        beat(
            &mut conn,
            format!("blocking:heartbeat:c-{n:02}").as_bytes(),
            5_000,
        )?;
    }
    let config = |conn: &mut Connection, name: &str, value: &str| -> Result<()> {
        Ok(cmd("CONFIG").arg("SET").arg(&[name, value]).exec(conn)?)
    };
    let reply = explain(&mut conn, b"c-07", &[])?;
    let breaker = "breaker: 20 of 20 coordinators are stale, more than 50 percent";
    assert_eq!(reply.text("breaker")?, breaker);
    ensure!(reply.int("warm_up_left_s")? > 500, "{reply:?}");
    assert_eq!(reply.int("keys_removed")?, 1);
    // No schedule, no second look.
    assert_eq!(
        maps(&reply, "heartbeats")?[0].get("seen_before"),
        Some(&Value::Nil)
    );
    config(&mut conn, "blocking.protect", "c-?7")?;
    let reply = explain(&mut conn, b"c-07", &[])?;
    assert!(reply.flag("protected")?);
    assert_eq!(
        (reply.text("verdict")?.as_str(), reply.int("keys_removed")?),
        ("stale", 0)
    );
    config(&mut conn, "blocking.protect", "")?;
    config(&mut conn, "blocking.interval-seconds", "3600")?;
    let reply = explain(&mut conn, b"c-07", &[])?;
    assert!(!maps(&reply, "heartbeats")?[0].flag("seen_before")?);
    config(&mut conn, "blocking.max-stale-percent", "100")?;
    assert_eq!(
        explain(&mut conn, b"c-07", &[])?.get("breaker"),
        Some(&Value::Nil)
    );
    Ok(())
}

#[test]
fn ids_are_bytes_and_long_ones_are_ids_too() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let long = "long".repeat(2_000);
    let ids: [&[u8]; 5] = [b"*", b"a:\xff\x00\r\n", b"[ab]", b"JSON", long.as_bytes()];
    for id in ids {
        beat(&mut conn, &[b"blocking:heartbeat:", id].concat(), 5_000)?;
        set(&mut conn, &[b"blocking:ack:", id, b":1"].concat(), "1")?;
    }
    for id in ids {
        let reply = explain(&mut conn, id, &[])?;
        let shown = &id.escape_ascii().to_string()[..id.len().min(20)];
        assert_eq!(reply.get("id"), Some(&Value::BulkString(id.to_vec())));
        assert_eq!(reply.int("keys_removed")?, 2, "{shown}");
    }
    let text: Vec<u8> = cmd("BLOCKING.EXPLAIN")
        .arg(ids[1])
        .arg("json")
        .query(&mut conn)?;
    let json: serde_json::Value = serde_json::from_slice(&text)?;
    assert_eq!(json["id"], "a:\\xff\0\r\n");
    assert_eq!(json["keysRemoved"], 2);
    assert_eq!(json["families"]["ack"]["found"], 1);
    for (args, text) in [
        (vec![""], "ERR the id must be 1 to 262144 bytes, got 0"),
        (
            vec!["a", "STALE"],
            "ERR unknown option 'STALE' for BLOCKING.EXPLAIN; accepted are THRESHOLD, JSON",
        ),
    ] {
        let error = command(&mut conn, "BLOCKING.EXPLAIN", &args).unwrap_err();
        assert_eq!(error_text(&error), text);
    }
    let error = command(&mut conn, "BLOCKING.EXPLAIN", &[]).unwrap_err();
    ensure!(
        error_text(&error).contains("wrong number of arguments"),
        "{error}"
    );
    Ok(())
}

#[test]
fn a_user_sees_no_name_that_it_may_not_read() -> Result<()> {
    let server = Server::start()?;
    write_keys(&mut server.client()?)?;
    let mut some = user(
        &server,
        "some",
        &[
            "~blocking:heartbeat:a",
            "~blocking:signal:*",
            "~blocking:idem*",
        ],
    )?;
    let reply = explain(&mut some, b"a", &[])?;
    assert_eq!(reply.text("verdict")?, "stale");
    let shown = fates(&reply)?;
    let keys: Vec<&str> = shown.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        ["blocking:idempotency:a:b:t:1:2", "blocking:signal:a"]
    );
    // The user may not see the living one that vetoes it.
    assert_eq!(
        shown["blocking:idempotency:a:b:t:1:2"],
        ("vetoed".to_owned(), None)
    );
    assert_eq!(reply.int("names_denied")?, 5);
    // A cleanup by the same user would do what EXPLAIN said.
    let dry = cleanup(&mut some, &["DRYRUN", "MATCH", "a"])?;
    assert_eq!(reply.int("keys_removed")?, dry.int("keys_removed")?);
    let mut blind = user(&server, "blind", &["%W~*"])?;
    let reply = explain(&mut blind, b"a", &[])?;
    assert_eq!(reply.text("verdict")?, "denied");
    assert_eq!(maps(&reply, "heartbeats")?.len() + fates(&reply)?.len(), 0);
    let reasons = reply.texts("reasons")?;
    assert_eq!(reasons[0], "you may not read 1 of its heartbeats");
    Ok(())
}

#[test]
fn very_many_keys_of_one_id_are_counted_and_a_few_are_shown() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    beat(&mut conn, b"blocking:heartbeat:a", 5_000)?;
    let () = cmd("DEBUG")
        .arg("POPULATE")
        .arg(&["200000", "blocking:ack:a"])
        .query(&mut conn)?;
    let reply = explain(&mut conn, b"a", &[])?;
    assert_eq!(reply.int("keys_removed")?, 200_001);
    assert_eq!(maps(&reply, "keys")?.len(), 5);
    let ack = reply.map("families")?.map("ack")?;
    assert_eq!(ack.int("removed")?, 200_000);
    Ok(())
}

#[test]
fn a_replica_says_what_its_primary_says() -> Result<()> {
    let primary = Server::start()?;
    let mut conn = primary.client()?;
    write_keys(&mut conn)?;
    let replica = Server::builder().replica_of(&primary).start()?;
    replica.wait_in_sync_with(&primary)?;
    let mut there = replica.client()?;
    for id in ["a", "b", "a:x", "ghost"] {
        let here = explain(&mut conn, id.as_bytes(), &[])?;
        let there = explain(&mut there, id.as_bytes(), &[])?;
        for field in [
            "verdict",
            "families",
            "keys",
            "keys_removed",
            "orphans_removed",
        ] {
            let pair = (sorted(here.get(field)), sorted(there.get(field)));
            ensure!(pair.0 == pair.1, "{id} {field}: {pair:?}");
        }
    }
    Ok(())
}

/// The order of a walk differs from server to server.
fn sorted(value: Option<&Value>) -> Option<Vec<String>> {
    let mut items = match value.context("no field").ok()? {
        Value::Array(items) => items.iter().map(|item| format!("{item:?}")).collect(),
        other => vec![format!("{other:?}")],
    };
    items.sort();
    Some(items)
}
