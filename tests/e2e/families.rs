//! `blocking.families`: fleets whose keys have other names than the built-in ones.
//!
//! That every template is read by the letter is for the unit tests. Here: everything a run does follows the setting.

/// The setting itself: refused, shown, rewritten, changed.
mod setting;

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use blocking_harness::redis::{Connection, cmd};
use blocking_harness::{AofCommands, Server, cleanup, command, digest, server_now_ms};

use crate::environment::long_run::assert_healthy;
use crate::explain::{explain, fates, maps};
use crate::list::entries;

const NAME: &str = "blocking.families";

/// Nothing is named as in the built-in layout, and `{id}` stands wherever it may.
const OTHER: &str = "heartbeat=coord:{id}:beat heartbeat=team:{swarm}:beat:{id} signal=coord:{id}:signal \
    ack=coord:{id}:ack:* idempotency=once:*:{id}:* activity=act:{id} state=team:{swarm}:of:{id}:* \
    never=team:{swarm}:of:keep:*";

/// A beat of November 2023: stale for ever.
const OLD_MS: &str = "1700000000000";

fn set(conn: &mut Connection, value: &str) -> Result<()> {
    let value = cmd("CONFIG").arg(&["SET", NAME, value]).query(conn);
    value.context("CONFIG SET")
}

fn get(conn: &mut Connection) -> Result<String> {
    let shown: Vec<String> = cmd("CONFIG").arg(&["GET", NAME]).query(conn)?;
    shown.into_iter().nth(1).context("no such setting")
}

/// The keys of a coordinator in the layout [`OTHER`], its heartbeat first.
fn family(id: &[u8]) -> Vec<Vec<u8>> {
    let key = |parts: [&[u8]; 3]| parts.concat();
    vec![
        key([b"coord:", id, b":beat"]),
        key([b"coord:", id, b":signal"]),
        key([b"coord:", id, b":ack:s1:x"]),
        key([b"coord:", id, b":ack:"]),
        key([b"once:deploy:", id, b":1:1700000000000"]),
        key([b"act:", id, b""]),
        key([b"team:s:of:", id, b":1"]),
    ]
}

fn write(conn: &mut Connection, key: &[u8], value: &str) -> Result<()> {
    Ok(cmd("SET").arg(key).arg(value).query(conn)?)
}

fn write_family(conn: &mut Connection, id: &[u8], beat: &str) -> Result<Vec<Vec<u8>>> {
    let keys = family(id);
    for key in &keys {
        write(conn, key, beat)?;
    }
    Ok(keys)
}

fn keys(conn: &mut Connection) -> Result<BTreeSet<Vec<u8>>> {
    Ok(cmd("KEYS").arg("*").query(conn)?)
}

#[test]
fn a_fleet_with_other_names_is_cleaned_up_and_nothing_else() -> Result<()> {
    let primary = Server::builder()
        .aof(true)
        .arg("appendfsync", "always")
        .start()?;
    let replica = Server::builder().replica_of(&primary).start()?;
    let mut conn = primary.client()?;
    let now = server_now_ms(&mut conn)?.to_string();
    set(&mut conn, OTHER)?;
    let dead: [&[u8]; 6] = [b"c-1", b"a:b", b"*", b"[x]?", b"\xff\x00\r\n", b":"];
    let live: [&[u8]; 4] = [b"c-10", b"c", b"a:c", b"\xff"];
    let mut goes = BTreeSet::new();
    let mut stays = BTreeSet::new();
    for id in dead {
        goes.extend(write_family(&mut conn, id, OLD_MS)?);
    }
    for id in live {
        stays.extend(write_family(&mut conn, id, &now)?);
    }
    // A swarm's coordinator, dead, and what it owns; the state of another swarm belongs to the coordinator of that id.
    for key in [
        "team:t:beat:s-1",
        "team:t:of:s-1:x",
        "coord:s-1:signal",
        "act:s-1",
    ] {
        write(&mut conn, key.as_bytes(), OLD_MS)?;
        goes.insert(key.into());
    }
    // Of a dead one and a living one; no family key, though the name has all the words; the built-in names.
    for key in [
        "once:x:c-1:c-10:1",
        "coord:c-1",
        "coord:c-1:signals",
        "coord:c-1:signal:x",
        "coord:c-1:ack",
        "once:c-1",
        "once:x:c-1",
        "act:c-1:x",
        "team:s:of:c-1",
        "team:s:of:keep:1",
        "team::of:c-1:1",
        "xcoord:c-1:signal",
        "blocking:heartbeat:c-1",
        "blocking:signal:c-1",
        "blocking:ack:c-1:s1",
        "coordinator:activity:c-1",
        "swarm:s:blocking:c-1",
    ] {
        write(&mut conn, key.as_bytes(), OLD_MS)?;
        stays.insert(key.into());
    }
    // Dead as well, but what it owns is never touched.
    write(&mut conn, b"coord:keep:beat", OLD_MS)?;
    goes.insert(b"coord:keep:beat".to_vec());

    replica.wait_in_sync_with(&primary)?;
    let before = digest(&mut conn)?;
    let dry = cleanup(&mut conn, &["DRYRUN"])?;
    ensure!(
        digest(&mut conn)? == before,
        "the dry run changed something"
    );
    let real = cleanup(&mut conn, &[])?;
    for reply in [&dry, &real] {
        ensure!(reply.int("coordinators_checked")? == 12, "{reply:?}");
        ensure!(reply.int("coordinators_removed")? == 8, "{reply:?}");
        ensure!(reply.int("keys_removed")? == goes.len() as i64, "{reply:?}");
        ensure!(reply.int("keys_vetoed")? == 1, "{reply:?}");
        let ids: BTreeSet<Vec<u8>> = reply.list("stale_ids")?.into_iter().collect();
        let swarm: [&[u8]; 2] = [b"swarm:t:s-1", b"keep"];
        ensure!(ids == dead.iter().chain(&swarm).map(|id| id.to_vec()).collect());
    }
    ensure!(keys(&mut conn)? == stays, "{:?}", keys(&mut conn)?);
    replica.wait_in_sync_with(&primary)?;
    ensure!(keys(&mut replica.client()?)? == stays, "on the replica");
    let mut unlinked = BTreeSet::new();
    for command in AofCommands::of(&primary)? {
        let command = command?;
        match command[0].to_ascii_uppercase().as_slice() {
            b"UNLINK" => unlinked.extend(command[1..].to_vec()),
            b"SET" | b"SELECT" | b"MULTI" | b"EXEC" => {}
            other => bail!("in the file: {}", other.escape_ascii()),
        }
    }
    ensure!(unlinked == goes, "in the file: {unlinked:?}");
    assert_healthy(&primary)
}

/// LIST and EXPLAIN: which keys they read, whose they say those are, and in which field they find the time.
#[test]
fn queries_follow_the_layout_and_the_time_fields() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?.to_string();
    let built_in = get(&mut conn)?;
    let seen = |ms: &str| format!(r#"{{"timestamp":{now},"seen":{ms}}}"#);
    for (key, value) in [
        ("coord:dead:beat", seen(OLD_MS)),
        ("coord:kept:beat", seen(OLD_MS)),
        ("team:t:1:beat:scoped", seen(OLD_MS)),
        ("coord:live:beat", seen(&now)),
        ("coord:dead:signal", "x".into()),
        ("act:dead", "x".into()),
        ("once:x:dead:live:1", "x".into()),
        ("team:t:1:of:scoped:x", "x".into()),
        ("act:gone", format!(r#"{{"seen":{OLD_MS}}}"#)),
        // Names of the built-in layout.
        ("blocking:heartbeat:dead", seen(OLD_MS)),
        ("blocking:signal:dead", "x".into()),
        ("coordinator:activity:gone", "x".into()),
    ] {
        write(&mut conn, key.as_bytes(), &value)?;
    }
    let fields = |conn: &mut Connection, value: &str| -> Result<()> {
        let set = ["SET", "blocking.time-fields", value];
        Ok(cmd("CONFIG").arg(&set).query(conn)?)
    };
    set(&mut conn, &format!("{OTHER} never=coord:kept:*"))?;
    fields(&mut conn, "seen")?;

    let reply = command(&mut conn, "BLOCKING.LIST", &[])?;
    for (state, count) in [("checked", 4), ("stale", 2), ("live", 1), ("unreadable", 1)] {
        let name = format!("coordinators_{state}");
        ensure!(reply.int(&name)? == count, "{name}: {reply:?}");
    }
    let listed = entries(&reply)?;
    let expected = [
        ("dead", None, "stale"),
        // Nothing may remove it, so it proves nothing.
        ("kept", None, "unreadable"),
        ("scoped", Some("t:1"), "stale"),
        ("live", None, "live"),
    ];
    ensure!(listed.len() == expected.len(), "{reply:?}");
    for (entry, (id, swarm, state)) in listed.iter().zip(expected) {
        ensure!(entry.text("id")? == id, "{reply:?}");
        ensure!(entry.text("swarm").ok().as_deref() == swarm, "{entry:?}");
        ensure!(entry.text("state")? == state, "{entry:?}");
        ensure!(entry.text("field")? == "seen", "{entry:?}");
    }
    let matched = command(&mut conn, "BLOCKING.LIST", &["MATCH", "s*"])?;
    ensure!(matched.int("coordinators_matched")? == 1, "{matched:?}");

    for (id, verdict, heartbeat, keys) in [
        (
            "dead",
            "stale",
            Some("coord:dead:beat"),
            &[
                ("act:dead", "removed", None),
                ("coord:dead:signal", "removed", None),
                ("once:x:dead:live:1", "vetoed", Some("coord:live:beat")),
            ][..],
        ),
        ("kept", "unreadable", Some("coord:kept:beat"), &[]),
        (
            "scoped",
            "stale",
            Some("team:t:1:beat:scoped"),
            &[("team:t:1:of:scoped:x", "removed", None)],
        ),
        (
            "gone",
            "absent",
            None,
            &[("act:gone", "orphan_removed", None)],
        ),
    ] {
        let reply = explain(&mut conn, id.as_bytes(), &[])?;
        ensure!(reply.text("verdict")? == verdict, "{reply:?}");
        let found = maps(&reply, "heartbeats")?;
        ensure!(found.len() == usize::from(heartbeat.is_some()), "{reply:?}");
        for (found, key) in found.iter().zip(heartbeat) {
            ensure!(found.text("key")? == key, "{reply:?}");
            ensure!(found.text("field")? == "seen", "{reply:?}");
        }
        let shown = fates(&reply)?;
        let expected = keys.iter().map(|(key, fate, by)| {
            let by = by.map(str::to_owned);
            ((*key).to_owned(), ((*fate).to_owned(), by))
        });
        ensure!(shown == expected.collect(), "{shown:?}");
        let dry = cleanup(&mut conn, &["DRYRUN", "MATCH", id])?;
        ensure!(
            reply.int("keys_removed")? == dry.int("keys_removed")?,
            "{reply:?}: {dry:?}"
        );
    }
    let reasons = explain(&mut conn, b"kept", &[])?.texts("reasons")?;
    ensure!(reasons[0].contains("its name is reserved"), "{reasons:?}");

    // Another layout, the same field; and then the default's fields.
    set(&mut conn, &built_in)?;
    for (names, state, field) in [
        ("seen", "stale", "seen"),
        (
            "timestamp lastHeartbeat last_heartbeat",
            "live",
            "timestamp",
        ),
    ] {
        fields(&mut conn, names)?;
        let listed = entries(&command(&mut conn, "BLOCKING.LIST", &[])?)?;
        ensure!(listed.len() == 1, "{listed:?}");
        let reply = explain(&mut conn, b"dead", &[])?;
        let read = maps(&reply, "heartbeats")?;
        ensure!(read[0].text("key")? == "blocking:heartbeat:dead");
        for shown in [&listed[0], &read[0]] {
            ensure!(shown.text("state")? == state, "{shown:?}");
            ensure!(shown.text("field")? == field, "{shown:?}");
        }
        let keys: Vec<String> = fates(&reply)?.into_keys().collect();
        ensure!(keys == ["blocking:signal:dead"], "{keys:?}");
    }
    Ok(())
}

#[test]
fn orphans_follow_the_layout() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?.to_string();
    set(&mut conn, OTHER)?;
    let goes: BTreeSet<Vec<u8>> = [
        "coord:gone:signal",
        "coord:gone:ack:x:y",
        "team:s:of:gone:1",
        // The time is in the name.
        "once:x:gone:1700000000000",
    ]
    .map(Vec::from)
    .into();
    let stays: BTreeSet<Vec<u8>> = [
        // One fresh ack speaks for its id.
        "coord:busy:ack:x:y",
        "coord:busy:signal",
        "act:busy",
        // Living ones, one of them in a swarm.
        "coord:live:beat",
        "coord:live:signal",
        "team:t:beat:swarmer",
        "act:swarmer",
        "team:t:of:swarmer:1",
        // The built-in layout's.
        "blocking:signal:gone",
        "blocking:idempotency:gone:1",
    ]
    .map(Vec::from)
    .into();
    for key in goes.iter().chain(&stays) {
        let is_young = key.ends_with(b":beat") || key.starts_with(b"team:t:beat:");
        let is_young = is_young || key.as_slice() == b"coord:busy:ack:x:y";
        let value = match key.starts_with(b"once:") {
            true => "no time",
            false if is_young => &now,
            false => OLD_MS,
        };
        write(&mut conn, key, value)?;
    }
    let reply = cleanup(&mut conn, &["ORPHANS"])?;
    ensure!(
        reply.int("orphans_removed")? == goes.len() as i64,
        "{reply:?}"
    );
    ensure!(reply.int("orphans_too_young")? == 3, "{reply:?}");
    ensure!(keys(&mut conn)? == stays, "{:?}", keys(&mut conn)?);
    Ok(())
}

#[test]
fn names_with_braces_and_ids_with_several_heartbeats() -> Result<()> {
    let layout = "heartbeat={{app}}:hb:{id} heartbeat=beat:{id} heartbeat={{app}}:{swarm}:hb:{id} signal={{app}}:mail:{id}";
    let server = Server::start()?;
    let mut conn = server.client()?;
    set(&mut conn, layout)?;
    // As it was given, after a restart, too.
    let () = cmd("CONFIG").arg("REWRITE").query(&mut conn)?;
    server.restart()?;
    let mut conn = server.client()?;
    ensure!(get(&mut conn)? == layout, "{}", get(&mut conn)?);
    let now = server_now_ms(&mut conn)?.to_string();
    for (key, value) in [
        ("{app}:hb:dead", OLD_MS),
        ("beat:dead", OLD_MS),
        ("{app}:mail:dead", "x"),
        // Alive by one of two, whichever that is.
        ("{app}:hb:first", &now),
        ("beat:first", OLD_MS),
        ("{app}:mail:first", "x"),
        ("{app}:hb:second", OLD_MS),
        ("beat:second", &now),
        ("{app}:mail:second", "x"),
        ("beat:third", OLD_MS),
        ("{app}:s:hb:third", &now),
        ("{app}:mail:third", "x"),
        // A heartbeat of either kind makes these no orphans.
        ("{app}:hb:fourth", OLD_MS),
        ("{app}:mail:fifth", r#"{"timestamp":1700000000000}"#),
        ("{{app}}:hb:other", OLD_MS),
        ("app:hb:other", OLD_MS),
    ] {
        write(&mut conn, key.as_bytes(), value)?;
    }
    let told = explain(&mut conn, b"second", &[])?;
    ensure!(told.text("verdict")? == "live", "{told:?}");
    ensure!(told.int("heartbeats_found")? == 2, "{told:?}");
    let reply = cleanup(&mut conn, &["ORPHANS"])?;
    ensure!(reply.int("coordinators_checked")? == 9, "{reply:?}");
    ensure!(reply.int("orphans_removed")? == 1, "{reply:?}");
    let left = keys(&mut conn)?;
    let expected = [
        "{app}:hb:first",
        "{app}:mail:first",
        "beat:second",
        "{app}:mail:second",
        "{app}:s:hb:third",
        "{app}:mail:third",
        "{{app}}:hb:other",
        "app:hb:other",
    ];
    let dead = ["{app}:hb:dead", "beat:dead", "{app}:mail:dead"];
    for key in expected {
        ensure!(left.contains(key.as_bytes()), "{key} is gone");
    }
    for key in dead {
        ensure!(!left.contains(key.as_bytes()), "{key} is left");
    }
    ensure!(
        !left.contains(&b"{app}:mail:fifth"[..]),
        "an orphan is left"
    );
    Ok(())
}
