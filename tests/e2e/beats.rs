//! How heartbeats are read on a server: forms, windows, zones, presence, and what is said of those that give no time.

/// Hashes.
mod hashes;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{Connection, Value, cmd};
use blocking_harness::{
    Reply, Server, cleanup, command, digest, info_field, reply_map, server_now_ms, wait_for_value,
};

/// 2026-11-13T12:26:40Z, and what a run takes for now is later.
const OLD_S: i64 = 1_794_572_800;

fn set(conn: &mut Connection, id: &str, value: impl AsRef<[u8]>) -> Result<()> {
    let key = format!("blocking:heartbeat:{id}");
    Ok(cmd("SET").arg(key).arg(value.as_ref()).exec(conn)?)
}

fn hash(conn: &mut Connection, id: &str, fields: &[(&str, &str)]) -> Result<()> {
    let mut command = cmd("HSET");
    command.arg(format!("blocking:heartbeat:{id}"));
    fields.iter().for_each(|(field, value)| {
        command.arg(field).arg(value);
    });
    Ok(command.exec(conn)?)
}

fn config(conn: &mut Connection, name: &str, value: &str) -> Result<()> {
    let set = cmd("CONFIG").arg("SET").arg(name).arg(value).exec(conn);
    set.with_context(|| format!("{name} {value}"))
}

/// Ids that LIST shows in a state.
fn listed(conn: &mut Connection, state: &str) -> Result<BTreeSet<String>> {
    let reply = command(conn, "BLOCKING.LIST", &[state, "COUNT", "1000"])?;
    let ids = entries(&reply, "coordinators")?;
    ids.iter().map(|entry| entry.text("id")).collect()
}

fn entries(reply: &Reply, list: &str) -> Result<Vec<Reply>> {
    let Some(Value::Array(items)) = reply.get(list) else {
        anyhow::bail!("no {list} in {reply:?}");
    };
    items.iter().map(|item| reply_map(item.clone())).collect()
}

/// The one heartbeat of an id, as EXPLAIN shows it.
fn told(conn: &mut Connection, id: &str) -> Result<Reply> {
    let reply = command(conn, "BLOCKING.EXPLAIN", &[id])?;
    let mut all = entries(&reply, "heartbeats")?;
    all.pop().with_context(|| format!("no heartbeat of {id}"))
}

fn doctor(conn: &mut Connection) -> Result<Vec<serde_json::Value>> {
    let text: Vec<u8> = cmd("BLOCKING.DOCTOR").arg("JSON").query(conn)?;
    let json: serde_json::Value = serde_json::from_slice(&text)?;
    Ok(json["findings"].as_array().context("no findings")?.clone())
}

fn finding(conn: &mut Connection, code: &str) -> Result<Option<serde_json::Value>> {
    let all = doctor(conn)?;
    Ok(all.into_iter().find(|finding| finding["code"] == code))
}

fn ids(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|id| (*id).to_owned()).collect()
}

#[test]
fn dates_are_read_as_they_are_written() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let dead = [
        ("bare", "2026-11-13T12:26:40Z"),
        ("line", "2026-11-13T12:26:40Z\n"),
        ("quoted", "\"2026-11-13T12:26:40.5+01:00\""),
        ("number", "\"1794572800\""),
        ("offset", r#"{"timestamp":"2026-11-13T12:26:40+0000"}"#),
        (
            "postgres",
            r#"{"timestamp":"2026-11-13 12:26:40.985898+00"}"#,
        ),
        ("basic", "20261113T122640Z"),
        ("minutes", "2026-11-13T12:26Z"),
        ("lower", "2026-11-13t12:26:40z"),
        ("comma", "2026-11-13T12:26:40,5Z"),
        ("ruby", "2026-11-13 12:26:40 UTC"),
        ("mail", "Fri, 13 Nov 2026 13:26:40 +0100"),
        ("http", "Fri, 13 Nov 2026 12:26:40 GMT"),
        ("null", r#"{"timestamp":null,"lastHeartbeat":1794572800}"#),
        (
            "go",
            r#"{"timestamp":"0001-01-01T00:00:00Z","lastHeartbeat":1794572800}"#,
        ),
        ("python", r#"{"load":NaN,"timestamp":1794572800}"#),
    ];
    for (id, value) in dead {
        set(&mut conn, id, value)?;
    }
    set(&mut conn, "local", "2026-11-13T12:26:40")?;
    let names: Vec<&str> = dead.iter().map(|(id, _)| *id).collect();
    assert_eq!(listed(&mut conn, "STALE")?, ids(&names));
    assert_eq!(listed(&mut conn, "UNREADABLE")?, ids(&["local"]));
    assert_eq!(told(&mut conn, "http")?.text("unit")?, "rfc2822");
    assert_eq!(told(&mut conn, "basic")?.text("unit")?, "iso8601");
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(reply.int("coordinators_removed")?, dead.len() as i64);
    // A guessed zone could remove a living coordinator, so the operator has to say it.
    assert_eq!(
        told(&mut conn, "local")?.text("trouble")?,
        "it is a date without a zone, and blocking.zoneless is refuse: '2026-11-13T12:26:40'"
    );
    config(&mut conn, "blocking.zoneless", "utc")?;
    assert_eq!(cleanup(&mut conn, &[])?.int("coordinators_removed")?, 1);
    let refused = config(&mut conn, "blocking.zoneless", "local").unwrap_err();
    ensure!(
        format!("{refused:#}").contains("argument must be refuse or utc"),
        "{refused:#}"
    );
    Ok(())
}

#[test]
fn a_number_of_today_in_another_unit_or_epoch_never_kills() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let now_ms = i128::from(server_now_ms(&mut conn)?);
    let numbers = [
        ("ticks", now_ms * 10_000 + 621_355_968_000_000_000),
        ("filetime", now_ms * 10_000 + 116_444_736_000_000_000),
        ("uuid", now_ms * 10_000 + 122_192_928_000_000_000),
        ("hybrid", now_ms << 16),
        ("centiseconds", now_ms / 10),
    ];
    for (id, number) in numbers {
        set(&mut conn, &format!("{id}-bare"), number.to_string())?;
        let value = format!(r#"{{"timestamp":{number}}}"#);
        set(&mut conn, &format!("{id}-json"), value)?;
        hash(
            &mut conn,
            &format!("{id}-hash"),
            &[("timestamp", &number.to_string())],
        )?;
        cmd("SET")
            .arg(format!("blocking:signal:{id}-bare"))
            .arg("x")
            .exec(&mut conn)?;
    }
    let before = digest(&mut conn)?;
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(reply.int("coordinators_unreadable")?, 15);
    assert_eq!(reply.int("coordinators_stale")?, 0);
    assert_eq!(digest(&mut conn)?, before);
    let trouble = told(&mut conn, "ticks-json")?.text("trouble")?;
    ensure!(
        trouble.starts_with("its field 'timestamp' is older than blocking.beat-window-days: '"),
        "{trouble}"
    );
    Ok(())
}

#[test]
fn the_window_is_as_wide_as_the_setting() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let now_s = server_now_ms(&mut conn)? / 1000;
    for days in [1, 3, 4_000] {
        set(
            &mut conn,
            &format!("{days}"),
            (now_s - days * 86_400).to_string(),
        )?;
    }
    assert_eq!(listed(&mut conn, "STALE")?, ids(&["1", "3"]));
    config(&mut conn, "blocking.beat-window-days", "2")?;
    assert_eq!(listed(&mut conn, "STALE")?, ids(&["1"]));
    config(&mut conn, "blocking.beat-window-days", "5000")?;
    assert_eq!(cleanup(&mut conn, &[])?.int("coordinators_removed")?, 3);
    Ok(())
}

#[test]
fn every_query_says_why_a_heartbeat_is_unreadable() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let long = "y".repeat(40);
    let table: [(&str, &[u8], String); 9] = [
        ("empty", b"", "it is empty".into()),
        ("bytes", b"\xff\x00", r"it is not text: '\xff\x00'".into()),
        (
            "word",
            long.as_bytes(),
            format!("it is neither a number nor a date: '{}'", "y".repeat(32)),
        ),
        (
            "broken",
            b"{\"a",
            r"it begins like a JSON object but is not one: '{\x22a'".into(),
        ),
        (
            "other",
            b"{}",
            "it has none of the fields that blocking.time-fields names".into(),
        ),
        (
            "text",
            br#"{"timestamp":"soon"}"#,
            "its field 'timestamp' is neither a number nor a date: 'soon'".into(),
        ),
        (
            "nested",
            br#"{"timestamp":{}}"#,
            "its field 'timestamp' is an object of which blocking.time-fields must \
         name a field, such as stats.updatedAt"
                .into(),
        ),
        (
            "nan",
            br#"{"timestamp":NaN}"#,
            "its field 'timestamp' is not a finite number: 'NaN'".into(),
        ),
        (
            "counter",
            b"42",
            "it is a number too small for a date: '42'".into(),
        ),
    ];
    for (id, value, _) in &table {
        set(&mut conn, id, value)?;
    }
    cmd("RPUSH")
        .arg("blocking:heartbeat:list")
        .arg("x")
        .exec(&mut conn)?;
    hash(&mut conn, "hash", &[("seen", "1")])?;
    for (id, _, why) in &table {
        assert_eq!(&told(&mut conn, id)?.text("trouble")?, why);
    }
    let list = "it is neither a string nor a hash: 'list'";
    assert_eq!(told(&mut conn, "list")?.text("trouble")?, list);
    let reply = command(&mut conn, "BLOCKING.LIST", &["UNREADABLE"])?;
    let listed = entries(&reply, "coordinators")?;
    let troubles: BTreeSet<String> = listed
        .iter()
        .map(|e| e.text("trouble"))
        .collect::<Result<_>>()?;
    assert_eq!((listed.len(), troubles.len()), (11, 10));
    let found = finding(&mut conn, "unreadable")?.context("no finding")?;
    let reasons = found["reasons"].as_array().context("no reasons")?;
    assert_eq!(reasons.len(), 10);
    let soon = reasons.iter().find(|reason| reason["example"] == "text");
    assert_eq!(soon.context("no text")?["bytes"], "soon");
    // No cleanup helps here, and no sentence advises one.
    let advice = finding(&mut conn, "no-ttl")?.context("no finding")?["advice"].clone();
    let advice = advice.as_str().context("no advice")?;
    ensure!(!advice.contains("Run BLOCKING.CLEANUP"), "{advice}");
    Ok(())
}

#[test]
fn a_heartbeat_that_is_only_there_lives_as_long_as_its_ttl() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    // Short ones and long ones are read in different ways.
    let long = "1".repeat(500);
    for (id, value) in [("a", "1"), ("b", long.as_str())] {
        set(&mut conn, id, value)?;
        cmd("EXPIRE")
            .arg(format!("blocking:heartbeat:{id}"))
            .arg(3_000)
            .exec(&mut conn)?;
        cmd("SET")
            .arg(format!("blocking:signal:{id}"))
            .arg("x")
            .exec(&mut conn)?;
    }
    let before = digest(&mut conn)?;
    let reply = cleanup(&mut conn, &["ORPHANS", "1"])?;
    assert_eq!(reply.int("coordinators_checked")?, 2);
    assert_eq!(reply.int("coordinators_unreadable")?, 0);
    assert_eq!(digest(&mut conn)?, before);
    assert_eq!(
        info_field(&mut conn, "blocking", "blocking_left_unreadable")?,
        "0"
    );
    assert_eq!(listed(&mut conn, "LIVE")?, ids(&["a", "b"]));
    for id in ["a", "b"] {
        let told = told(&mut conn, id)?;
        assert_eq!(told.text("field")?, "(presence)");
        assert_eq!(told.text("unit")?, "presence");
        assert_eq!(
            [told.get("age_s"), told.get("trouble")],
            [Some(&Value::Nil); 2]
        );
    }
    let reply = command(&mut conn, "BLOCKING.EXPLAIN", &["a"])?;
    let reasons = reply.texts("reasons")?.join("\n");
    ensure!(reasons.contains("is live while it exists"), "{reasons}");
    assert_eq!(finding(&mut conn, "unreadable")?, None);
    assert_eq!(
        finding(&mut conn, "presence")?.context("no note")?["severity"],
        "note"
    );
    // Without its TTL nothing says whether the coordinator lives.
    cmd("PERSIST").arg("blocking:heartbeat:a").exec(&mut conn)?;
    assert_eq!(listed(&mut conn, "UNREADABLE")?, ids(&["a"]));
    // What the dead leave behind are orphans.
    cmd("DEL").arg("blocking:heartbeat:b").exec(&mut conn)?;
    let gone = || -> Result<i64> {
        cleanup(&mut server.client()?, &["ORPHANS", "1"])?.int("orphans_removed")
    };
    let within = std::time::Duration::from_secs(20);
    wait_for_value("the orphan to go", within, gone, |gone| *gone == 1)?;
    Ok(())
}
