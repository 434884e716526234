//! BLOCKING.LIST: which coordinators beat, since when, and for how long still; and what LIST, EXPLAIN and DOCTOR, as
//! queries, must not do to other runs.

/// A query makes room, or its environment changes.
pub mod mid_query;
/// Which runs are in the way of which: cleanups, schedules, other queries.
mod room;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{self, Connection, Value, cmd};
use blocking_harness::{
    Reply, Server, cleanup, command, digest, error_text, reply_map, server_now_ms,
};

/// The entries of a LIST, each as a map.
pub fn entries(reply: &Reply) -> Result<Vec<Reply>> {
    match reply.get("coordinators") {
        Some(Value::Array(items)) => items.iter().cloned().map(reply_map).collect(),
        other => anyhow::bail!("no list: {other:?}"),
    }
}

fn list(conn: &mut Connection, args: &[&str]) -> Result<Reply> {
    Ok(command(conn, "BLOCKING.LIST", args)?)
}

fn ids(reply: &Reply) -> Result<Vec<Vec<u8>>> {
    let id = |entry: &Reply| match entry.get("id") {
        Some(Value::BulkString(id)) => Ok(id.clone()),
        other => anyhow::bail!("no id: {other:?}"),
    };
    entries(reply)?.iter().map(id).collect()
}

fn texts(reply: &Reply) -> Result<Vec<String>> {
    let ids = ids(reply)?.into_iter();
    Ok(ids.map(|id| id.escape_ascii().to_string()).collect())
}

fn set(conn: &mut Connection, key: &[u8], value: impl AsRef<[u8]>) -> Result<()> {
    Ok(cmd("SET").arg(key).arg(value.as_ref()).exec(conn)?)
}

/// A heartbeat of this age, by the server's clock.
fn beat(conn: &mut Connection, key: &[u8], age_s: i64) -> Result<()> {
    let ms = server_now_ms(conn)? - age_s * 1000;
    set(conn, key, format!(r#"{{"timestamp":{ms}}}"#))
}

/// A small fleet with all there can be: ages in steps of a thousand seconds, so that a slow machine changes nothing.
fn write_fleet(conn: &mut Connection) -> Result<()> {
    let now = server_now_ms(conn)?;
    beat(conn, b"blocking:heartbeat:dead", 5_000)?;
    let value = format!(r#"{{"lastHeartbeat":{}}}"#, now / 1000 - 3_000);
    set(conn, b"swarm:s:1:blocking:heartbeat:a:\xff*\r\n", value)?;
    let value = (now - 10_000).to_string();
    set(conn, b"blocking:heartbeat:live", value)?;
    let () = cmd("EXPIRE")
        .arg("blocking:heartbeat:live")
        .arg(300)
        .query(conn)?;
    beat(conn, b"blocking:heartbeat:future", -9_000)?;
    let () = cmd("HSET")
        .arg("blocking:heartbeat:hash")
        .arg(&["timestamp", "1"])
        .query(conn)?;
    set(conn, b"blocking:heartbeat:mute", "{}")?;
    for other in ["blocking:signal:dead", "session:1", "blocking:ack:live:1"] {
        set(conn, other.as_bytes(), "x")?;
    }
    Ok(())
}

#[test]
fn every_coordinator_is_listed_the_oldest_first_in_both_protocols() -> Result<()> {
    let server = Server::start()?;
    write_fleet(&mut server.client()?)?;
    for mut conn in [server.client()?, server.client3()?] {
        let before = digest(&mut conn)?;
        let reply = list(&mut conn, &[])?;
        let names = [
            "threshold_s",
            "keys_scanned",
            "coordinators_checked",
            "coordinators_live",
            "coordinators_stale",
            "coordinators_unreadable",
            "coordinators_matched",
            "slices",
            "longest_slice_us",
            "busy_us",
            "elapsed_us",
            "coordinators",
        ];
        assert_eq!(reply.names(), names);
        for (name, expected) in [
            ("threshold_s", 600),
            ("keys_scanned", 9),
            ("coordinators_checked", 6),
            ("coordinators_live", 2),
            ("coordinators_stale", 2),
            ("coordinators_unreadable", 2),
            ("coordinators_matched", 6),
        ] {
            assert_eq!(reply.int(name)?, expected, "{name}");
        }
        assert!(reply.int("slices")? > 0 && reply.int("longest_slice_us")? > 0);
        let expected = ["dead", "a:\\xff*\\r\\n", "live", "future", "hash", "mute"];
        assert_eq!(texts(&reply)?, expected);
        let all = entries(&reply)?;
        for entry in &all {
            let fields = ["id", "swarm", "state", "age_s", "ttl_s", "field", "trouble"];
            assert_eq!(entry.names(), fields);
        }
        let states: Vec<String> = all.iter().map(|e| e.text("state")).collect::<Result<_>>()?;
        let expected = ["stale", "stale", "live", "live", "unreadable", "unreadable"];
        assert_eq!(states, expected);
        for (entry, age_s) in all.iter().zip([5_000, 3_000, 10, -9_000]) {
            let age = entry.int("age_s")?;
            // In whole seconds, and the test itself may take some.
            ensure!((age_s - 1..age_s + 60).contains(&age), "{entry:?}");
        }
        assert_eq!(all[4].get("age_s"), Some(&Value::Nil));
        let fields = [Some("timestamp"), Some("lastHeartbeat"), Some("(value)")];
        for (entry, field) in all.iter().zip(fields) {
            assert_eq!(entry.text("field").ok().as_deref(), field, "{entry:?}");
        }
        assert_eq!(all[4].get("field"), Some(&Value::Nil));
        assert_eq!(all[0].get("trouble"), Some(&Value::Nil));
        let trouble = "its field 'timestamp' is a number too small for a date: '1'";
        assert_eq!(all[4].text("trouble")?, trouble);
        assert_eq!(all[0].get("swarm"), Some(&Value::Nil));
        assert_eq!(all[1].text("swarm")?, "s:1");
        assert_eq!(all[0].get("ttl_s"), Some(&Value::Nil));
        ensure!((200..=300).contains(&all[2].int("ttl_s")?), "{:?}", all[2]);
        assert_eq!(digest(&mut conn)?, before, "a query changed something");
    }
    Ok(())
}

#[test]
fn states_patterns_threshold_and_count_choose() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    write_fleet(&mut conn)?;
    let table: [(&[&str], &[&str], i64); 9] = [
        (&["STALE"], &["dead", "a:\\xff*\\r\\n"], 2),
        (&["LIVE"], &["live", "future"], 2),
        (&["unreadable"], &["hash", "mute"], 2),
        (&["COUNT", "1"], &["dead"], 6),
        (&["COUNT", "1", "LIVE"], &["live"], 2),
        (&["THRESHOLD", "4000", "STALE"], &["dead"], 1),
        (&["MATCH", "*e"], &["live", "future", "mute"], 3),
        (&["MATCH", "a:?[*]*"], &["a:\\xff*\\r\\n"], 1),
        (&["MATCH", "nobody"], &[], 0),
    ];
    for (args, expected, matched) in table {
        let reply = list(&mut conn, args)?;
        assert_eq!(texts(&reply)?, expected, "{args:?}");
        assert_eq!(reply.int("coordinators_matched")?, matched, "{args:?}");
        assert_eq!(reply.int("coordinators_checked")?, 6, "{args:?}");
    }
    // Another database is another fleet.
    let other = list(&mut server.client_db(3)?, &[])?;
    assert_eq!(other.int("coordinators_checked")?, 0);
    Ok(())
}

#[test]
fn json_has_the_same_content() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    write_fleet(&mut conn)?;
    let text: Vec<u8> = cmd("BLOCKING.LIST").arg("JSON").query(&mut conn)?;
    let json: serde_json::Value = serde_json::from_slice(&text)?;
    assert_eq!(json["coordinatorsChecked"], 6);
    let listed = json["coordinators"].as_array().context("no array")?;
    assert_eq!(listed.len(), 6);
    assert_eq!(listed[1]["id"], "a:\\xff*\r\n");
    assert_eq!(listed[1]["swarm"], "s:1");
    assert_eq!(listed[4]["ageS"], serde_json::Value::Null);
    Ok(())
}

#[test]
fn what_cannot_be_asked() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let accepted = "accepted are STALE, LIVE, UNREADABLE, THRESHOLD, MATCH, COUNT, JSON";
    let table: [(&[&str], String); 6] = [
        (
            &["ASYNC"],
            format!("ERR unknown option 'ASYNC' for BLOCKING.LIST; {accepted}"),
        ),
        (
            &["STALE", "UNREADABLE"],
            "ERR at most one of STALE, LIVE and UNREADABLE is accepted".into(),
        ),
        (
            &["COUNT", "0"],
            "ERR COUNT must be an integer from 1 to 1000 coordinators, got '0'".into(),
        ),
        (
            &["COUNT"],
            "ERR COUNT needs a value: an integer from 1 to 1000 coordinators".into(),
        ),
        (
            &["THRESHOLD", "x"],
            "ERR THRESHOLD must be an integer from 1 to 315360000 seconds, got 'x'".into(),
        ),
        (
            &["MATCH", ""],
            "ERR MATCH takes a glob pattern of 1 to 512 bytes, got 0".into(),
        ),
    ];
    for (args, text) in table {
        let error = command(&mut conn, "BLOCKING.LIST", args).unwrap_err();
        assert_eq!(error_text(&error), text, "{args:?}");
    }
    for name in ["BLOCKING.LIST", "BLOCKING.EXPLAIN", "BLOCKING.DOCTOR"] {
        let mut queued = redis::pipe();
        queued.atomic().cmd(name).arg("id");
        let mut queued_alone = redis::pipe();
        queued_alone.atomic().cmd(name);
        let pipe = if name == "BLOCKING.EXPLAIN" {
            &queued
        } else {
            &queued_alone
        };
        let error = pipe.query::<Value>(&mut conn).unwrap_err().to_string();
        let text = format!("{name} cannot wait inside MULTI; call it outside of MULTI");
        ensure!(error.contains(&text), "{error}");
        let script = format!("return redis.call('{name}', 'id')");
        let call = cmd("EVAL").arg(&script).arg(0).query::<Value>(&mut conn);
        let error = error_text(&call.unwrap_err());
        ensure!(error.contains("not allowed from script"), "{error}");
    }
    // Nothing was started by any of them.
    let status = command(&mut conn, "BLOCKING.STATUS", &[])?;
    assert_eq!(status.text("state")?, "idle");
    Ok(())
}

/// One more connection, logged in as a user with these rules.
pub fn user(server: &Server, name: &str, rules: &[&str]) -> Result<Connection> {
    let rules = [&["SETUSER", name, "on", ">pw", "+@all"], rules].concat();
    let () = cmd("ACL").arg(&rules).query(&mut server.client()?)?;
    let mut conn = server.client()?;
    let () = cmd("AUTH").arg(&[name, "pw"]).query(&mut conn)?;
    Ok(conn)
}

#[test]
fn a_user_sees_only_heartbeats_that_it_may_read() -> Result<()> {
    let server = Server::start()?;
    write_fleet(&mut server.client()?)?;
    let mut some = user(&server, "some", &["%R~blocking:heartbeat:*e*"])?;
    let reply = list(&mut some, &[])?;
    assert_eq!(texts(&reply)?, ["dead", "live", "future", "mute"]);
    assert_eq!(reply.int("coordinators_checked")?, 4);
    assert_eq!(reply.int("coordinators_stale")?, 1);
    assert_eq!(reply.int("heartbeats_denied")?, 2);
    // To write is not to read.
    let mut blind = user(&server, "blind", &["%W~*"])?;
    let reply = list(&mut blind, &[])?;
    assert_eq!(reply.int("heartbeats_denied")?, 6);
    assert_eq!(reply.int("coordinators_checked")?, 0);
    assert_eq!(texts(&reply)?.len(), 0);
    Ok(())
}

#[test]
fn a_replica_answers_and_what_has_expired_is_not_there() -> Result<()> {
    let primary = Server::start()?;
    let mut conn = primary.client()?;
    write_fleet(&mut conn)?;
    let replica = Server::builder().replica_of(&primary).start()?;
    replica.wait_in_sync_with(&primary)?;
    let mut there = replica.client()?;
    assert_eq!(
        texts(&list(&mut there, &[])?)?,
        texts(&list(&mut conn, &[])?)?
    );
    let error = cleanup(&mut there, &[]).unwrap_err();
    ensure!(error_text(&error).starts_with("READONLY"), "{error}");

    // The replica holds it until its primary says otherwise, and the primary stands still.
    let stays: i64 = cmd("PEXPIRE")
        .arg("blocking:heartbeat:dead")
        .arg(1_500)
        .query(&mut conn)?;
    assert_eq!(stays, 1);
    replica.wait_in_sync_with(&primary)?;
    primary.while_frozen(|| {
        std::thread::sleep(Duration::from_millis(1_700));
        let reply = list(&mut there, &["STALE"])?;
        assert_eq!(texts(&reply)?, ["a:\\xff*\\r\\n"]);
        Ok(())
    })
}

#[test]
fn a_huge_heartbeat_is_not_read() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    // A reader of this value would find a time in it.
    let now = server_now_ms(&mut conn)?;
    let json = format!(r#"{{"timestamp":{now},"x":"{}"}}"#, "x".repeat(64 << 20));
    set(&mut conn, b"blocking:heartbeat:huge", json)?;
    let reply = list(&mut conn, &[])?;
    assert_eq!(entries(&reply)?[0].text("state")?, "unreadable");
    let told = command(&mut conn, "BLOCKING.EXPLAIN", &["huge"])?;
    assert_eq!(told.text("verdict")?, "unreadable");
    let reasons = told.texts("reasons")?;
    ensure!(
        reasons[0].contains("longer than blocking.max-heartbeat-bytes"),
        "{reasons:?}"
    );
    Ok(())
}

/// Writes are paused for a failover, a shutdown or an operator: a query waits for none of them.
#[test]
fn a_query_does_not_wait_for_writes() -> Result<()> {
    let server = Server::builder().aof(true).start()?;
    let mut conn = server.client()?;
    write_fleet(&mut conn)?;
    let () = cmd("CLIENT")
        .arg(&["PAUSE", "600000", "WRITE"])
        .query(&mut conn)?;
    conn.set_read_timeout(Some(Duration::from_secs(30)))?;
    assert_eq!(list(&mut conn, &[])?.int("coordinators_checked")?, 6);
    let told = command(&mut conn, "BLOCKING.EXPLAIN", &["dead"])?;
    assert_eq!(told.text("verdict")?, "stale");
    let lines: Vec<String> = cmd("BLOCKING.DOCTOR").query(&mut conn)?;
    ensure!(!lines.is_empty());
    let () = cmd("CLIENT").arg("UNPAUSE").query(&mut conn)?;
    assert!(server.is_alive());
    Ok(())
}
