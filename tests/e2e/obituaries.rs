//! `blocking.obituary-stream`: what is written about each coordinator that was removed, and that it goes where the
//! removal goes: AOF, replica, in one transaction with it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use blocking_harness::redis::{Connection, ConnectionLike, Value, cmd};
use blocking_harness::{
    AofCommands, Fleet, Server, ServerBuilder, cleanup, dbsize, digest, existing_keys, info_field,
    server_now_ms,
};

use crate::cluster::one_node;
use crate::environment::long_run::assert_healthy;

const STREAM: &str = "ops:obituaries";

/// A beat of November 2023: stale for ever.
const OLD_MS: i64 = 1_700_000_000_000;

type Entry = BTreeMap<String, Vec<u8>>;

fn on() -> ServerBuilder {
    Server::builder().arg("blocking.obituary-stream", STREAM)
}

fn set(conn: &mut Connection, name: &str, value: &str) -> Result<()> {
    let done = cmd("CONFIG").arg(&["SET", name, value]).query(conn);
    done.with_context(|| format!("{name} {value}"))
}

fn write(conn: &mut Connection, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
    Ok(cmd("SET")
        .arg(key.as_ref())
        .arg(value.as_ref())
        .query(conn)?)
}

/// Every entry of the stream, in order.
fn entries(conn: &mut Connection) -> Result<Vec<Entry>> {
    type Raw = Vec<(String, Vec<(String, Vec<u8>)>)>;
    let raw: Raw = cmd("XRANGE").arg(&[STREAM, "-", "+"]).query(conn)?;
    Ok(raw
        .into_iter()
        .map(|(_, fields)| fields.into_iter().collect())
        .collect())
}

fn text(entry: &Entry, name: &str) -> Result<String> {
    let value = entry
        .get(name)
        .with_context(|| format!("no {name} in {entry:?}"))?;
    Ok(String::from_utf8_lossy(value).into_owned())
}

/// The families with keys that went, as `ack 2 heartbeat 1`, and in front of them how many.
fn removed(entry: &Entry) -> Result<String> {
    let mut said = text(entry, "keys")?;
    for family in [
        "ack",
        "activity",
        "heartbeat",
        "idempotency",
        "signal",
        "state",
    ] {
        let count = text(entry, family)?;
        if count != "0" {
            said.push_str(&format!(" {family} {count}"));
        }
    }
    Ok(said)
}

fn sum_of_keys(entries: &[Entry]) -> Result<i64> {
    let mut sum = 0;
    for entry in entries {
        sum += text(entry, "keys")?.parse::<i64>()?;
    }
    Ok(sum)
}

fn counted(conn: &mut Connection) -> Result<(String, String)> {
    let mut field = |name: &str| info_field(conn, "blocking", &format!("blocking_{name}"));
    Ok((field("obituaries_written")?, field("obituaries_failed")?))
}

fn complaints(server: &Server) -> usize {
    server.log().matches("obituaries cannot be written").count()
}

#[test]
fn each_of_the_dead_has_one_entry_with_all_that_is_known() -> Result<()> {
    let server = on().start()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    let beat = format!(r#"{{"lastHeartbeat":{OLD_MS}}}"#);
    let long = format!(r#"{{"x":"{}","timestamp":{OLD_MS}}}"#, "x".repeat(5_000));
    let binary = b"blocking:heartbeat:\xff\x00 \r\n*";
    for (key, value) in [
        (&b"blocking:heartbeat:a"[..], beat.as_bytes()),
        (b"blocking:signal:a", b"x"),
        (b"blocking:ack:a:1", b"x"),
        (b"blocking:ack:a:2", b"x"),
        (b"swarm:s:blocking:heartbeat:a", b"1700000001000"),
        (b"swarm:s:blocking:a", b"x"),
        (b"blocking:heartbeat:long", long.as_bytes()),
        (binary, b"1700000002000"),
        (b"blocking:heartbeat:live", now.to_string().as_bytes()),
        (b"blocking:idempotency:a:live:1", b"x"),
    ] {
        write(&mut conn, key, value)?;
    }
    // More than one batch, and more than one slice.
    write(&mut conn, "blocking:heartbeat:large", "1700000003000")?;
    for n in 0..5_000 {
        write(&mut conn, format!("blocking:ack:large:{n}"), "x")?;
    }
    cleanup(&mut conn, &["DRYRUN"])?;
    ensure!(
        existing_keys(&mut conn, [STREAM.into()])?.is_empty(),
        "a dry run writes nothing"
    );
    let reply = cleanup(&mut conn, &[])?;
    ensure!(reply.int("coordinators_removed")? == 5, "{reply:?}");
    let all = entries(&mut conn)?;
    let mut said = BTreeSet::new();
    for entry in &all {
        ensure!(entry.len() == 13, "{entry:?}");
        ensure!(
            text(entry, "rule")? == "stale" && text(entry, "run")? == "2",
            "{entry:?}"
        );
        let age_s: i64 = text(entry, "age_s")?.parse()?;
        ensure!((age_s - (now - OLD_MS) / 1_000).abs() < 60, "{entry:?}");
        let id = entry["id"].escape_ascii().to_string();
        said.insert((id, text(entry, "swarm")?, removed(entry)?));
    }
    ensure!(said.len() == all.len() && all.len() == 5, "{all:?}");
    let line = |id: &str, swarm: &str, keys: &str| (id.into(), swarm.into(), keys.into());
    let expected = [
        // What both could own goes with the last of them, the one that beat later.
        line("a", "", "1 heartbeat 1"),
        line("a", "s", "5 ack 2 heartbeat 1 signal 1 state 1"),
        line("large", "", "5001 ack 5000 heartbeat 1"),
        line("long", "", "1 heartbeat 1"),
        line(r"\xff\x00 \r\n*", "", "1 heartbeat 1"),
    ];
    ensure!(said == expected.into(), "{said:?}");
    let beats: BTreeSet<&[u8]> = all.iter().map(|entry| &entry["beat"][..]).collect();
    ensure!(beats.contains(beat.as_bytes()) && beats.contains(&long.as_bytes()[..1024]));
    ensure!(counted(&mut conn)? == ("5".into(), "0".into()));
    assert_healthy(&server)
}

#[test]
fn an_entry_is_in_one_transaction_with_the_removal_wherever_that_goes() -> Result<()> {
    let primary = on().aof(true).arg("appendfsync", "always").start()?;
    let replica = Server::builder().replica_of(&primary).start()?;
    let mut conn = primary.client()?;
    let now_ms = server_now_ms(&mut conn)?;
    let dead = Fleet::numbered("dead", 300, now_ms).age_s(700);
    dead.load(&mut conn, |_| ())?;
    let reply = cleanup(&mut conn, &[])?;
    ensure!(reply.int("coordinators_removed")? == 300, "{reply:?}");
    let all = entries(&mut conn)?;
    ensure!(all.len() == 300);
    let keys = sum_of_keys(&all)?;
    ensure!(keys == reply.int("keys_removed")?, "{keys}: {reply:?}");

    type Ids = BTreeSet<Vec<u8>>;
    let mut open: Option<(Ids, Ids)> = None;
    let mut seen = 0;
    for command in AofCommands::of(&primary)? {
        let words = command?;
        match (words[0].to_ascii_uppercase().as_slice(), &mut open) {
            (b"MULTI", None) => open = Some(Default::default()),
            (b"EXEC", Some((gone, told))) => {
                ensure!(gone == told, "gone {gone:?}, told {told:?}");
                seen += told.len();
                open = None;
            }
            (b"UNLINK", Some((gone, _))) => {
                let beats = words
                    .iter()
                    .filter_map(|key| key.strip_prefix(b"blocking:heartbeat:"));
                gone.extend(beats.map(<[u8]>::to_vec));
            }
            (b"XADD", Some((_, told))) => {
                ensure!(words[1] == STREAM.as_bytes(), "{words:?}");
                let id = words
                    .iter()
                    .position(|word| word == b"id")
                    .context("no id")?;
                told.insert(words[id + 1].clone());
            }
            (b"UNLINK" | b"XADD", None) => bail!("outside of a transaction: {words:?}"),
            _ => {}
        }
    }
    ensure!(seen == 300, "{seen} in the file");

    replica.wait_in_sync_with(&primary)?;
    ensure!(
        digest(&mut replica.client()?)? == digest(&mut conn)?,
        "on the replica"
    );
    ensure!(entries(&mut replica.client()?)? == all, "on the replica");
    primary.kill9()?;
    primary.restart()?;
    ensure!(entries(&mut primary.client()?)? == all, "after a crash");
    Ok(())
}

#[test]
fn orphans_have_theirs_by_id() -> Result<()> {
    let server = on().start()?;
    let mut conn = server.client()?;
    for key in [
        "blocking:signal:a",
        "coordinator:activity:a",
        "blocking:ack:a:s1",
        "swarm:s:blocking:b",
        "blocking:idempotency:x:y:1700000000000",
    ] {
        write(&mut conn, key, OLD_MS.to_string())?;
    }
    let reply = cleanup(&mut conn, &["ORPHANS"])?;
    ensure!(reply.int("orphans_removed")? == 5, "{reply:?}");
    let mut said: BTreeMap<(String, String), BTreeMap<String, i64>> = BTreeMap::new();
    let now_s = server_now_ms(&mut conn)? / 1_000;
    for entry in entries(&mut conn)? {
        ensure!(
            text(&entry, "rule")? == "orphan" && entry["beat"].is_empty(),
            "{entry:?}"
        );
        let age_s: i64 = text(&entry, "age_s")?.parse()?;
        ensure!((age_s - (now_s - OLD_MS / 1_000)).abs() < 60, "{entry:?}");
        // Those of one id may have gone in several pieces.
        let sums = said
            .entry((text(&entry, "id")?, text(&entry, "swarm")?))
            .or_default();
        for family in ["keys", "ack", "activity", "idempotency", "signal", "state"] {
            *sums.entry(family.to_owned()).or_default() += text(&entry, family)?.parse::<i64>()?;
        }
    }
    let line = |id: &str, swarm: &str, counts: [i64; 6]| {
        let names =
            ["keys", "ack", "activity", "idempotency", "signal", "state"].map(str::to_owned);
        (
            (id.to_owned(), swarm.to_owned()),
            names.into_iter().zip(counts).collect(),
        )
    };
    let expected = [
        // Which of its ids the idempotency key belongs to cannot be told.
        line("", "", [1, 0, 0, 1, 0, 0]),
        line("a", "", [3, 1, 1, 0, 1, 0]),
        line("b", "s", [1, 0, 0, 0, 0, 1]),
    ];
    ensure!(said == expected.into(), "{said:?}");
    Ok(())
}

#[test]
fn the_stream_is_trimmed() -> Result<()> {
    let server = on().arg("blocking.obituary-maxlen", 50).start()?;
    let mut conn = server.client()?;
    set(&mut conn, "stream-node-max-entries", "10")?;
    let now_ms = server_now_ms(&mut conn)?;
    Fleet::numbered("dead", 400, now_ms)
        .age_s(700)
        .load(&mut conn, |_| ())?;
    let reply = cleanup(&mut conn, &[])?;
    ensure!(reply.int("coordinators_removed")? == 400, "{reply:?}");
    // Whole nodes only are cut off.
    let length: i64 = cmd("XLEN").arg(STREAM).query(&mut conn)?;
    ensure!((50..=60).contains(&length), "{length}");
    Ok(())
}

/// The removal stands; that nothing was written is counted, and in the log once.
fn assert_lost_without_harm(server: &Server, conn: &mut Connection, why: &str) -> Result<()> {
    let now_ms = server_now_ms(conn)?;
    let before: u64 = counted(conn)?.1.parse()?;
    for round in 1..=2u64 {
        let dead = Fleet::numbered("dead", 20, now_ms).age_s(700);
        dead.load(conn, |_| ())?;
        let reply = cleanup(conn, &[])?;
        ensure!(reply.text("status")? == "complete", "{reply:?}");
        ensure!(reply.int("coordinators_removed")? == 20, "{reply:?}");
        ensure!(existing_keys(conn, dead.keys())?.is_empty());
        ensure!(
            counted(conn)?.1 == (before + round * 20).to_string(),
            "{:?}",
            counted(conn)?
        );
    }
    ensure!(complaints(server) == 1, "{}", server.log());
    ensure!(server.log().contains(why), "{why}: {}", server.log());
    assert_healthy(server)
}

#[test]
fn a_key_of_another_type_loses_the_entry_and_nothing_else() -> Result<()> {
    let server = on().aof(true).arg("appendfsync", "always").start()?;
    let mut conn = server.client()?;
    write(&mut conn, STREAM, "x")?;
    assert_lost_without_harm(&server, &mut conn, "WRONGTYPE")?;
    let value: String = cmd("GET").arg(STREAM).query(&mut conn)?;
    ensure!(value == "x");
    // Written again, and then said again.
    let () = cmd("DEL").arg(STREAM).query(&mut conn)?;
    write(&mut conn, "blocking:heartbeat:a", OLD_MS.to_string())?;
    cleanup(&mut conn, &[])?;
    ensure!(entries(&mut conn)?.len() == 1);
    write(&mut conn, STREAM, "x")?;
    write(&mut conn, "blocking:heartbeat:a", OLD_MS.to_string())?;
    cleanup(&mut conn, &[])?;
    ensure!(complaints(&server) == 2, "{}", server.log());
    Ok(())
}

#[test]
fn without_memory_the_dead_go_without_an_entry() -> Result<()> {
    let server = on().start()?;
    let mut conn = server.client()?;
    let now_ms = server_now_ms(&mut conn)?;
    let dead = Fleet::numbered("dead", 20, now_ms).age_s(700);
    dead.load(&mut conn, |_| ())?;
    set(&mut conn, "maxmemory", "1")?;
    // Writes are refused, and with them beats.
    let reply = cleanup(&mut conn, &["NOWARMUP"])?;
    ensure!(reply.int("coordinators_removed")? == 20, "{reply:?}");
    ensure!(dbsize(&mut conn)? == 0);
    ensure!(
        counted(&mut conn)? == ("0".into(), "20".into()),
        "{:?}",
        counted(&mut conn)?
    );
    ensure!(
        complaints(&server) == 1 && server.log().contains("OOM"),
        "{}",
        server.log()
    );
    assert_healthy(&server)
}

#[test]
fn no_family_key_is_taken_for_the_stream() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let name = "blocking.obituary-stream";
    for value in [
        "blocking:signal:x",
        "swarm:s:blocking:heartbeat:x",
        "a\"b",
        "a\\b",
    ] {
        match conn.req_command(cmd("CONFIG").arg(&["SET", name, value]))? {
            Value::ServerError(error) => {
                let text = error.details().unwrap_or_default();
                ensure!(
                    text.contains("fits no template of blocking.families"),
                    "{text}"
                );
            }
            other => bail!("{value} gave {other:?}"),
        }
    }
    set(&mut conn, name, STREAM)?;
    // And if it becomes one.
    let layout: Vec<String> = cmd("CONFIG")
        .arg(&["GET", "blocking.families"])
        .query(&mut conn)?;
    set(
        &mut conn,
        "blocking.families",
        &format!("{} signal=ops:{{id}}", layout[1]),
    )?;
    assert_lost_without_harm(
        &server,
        &mut conn,
        "its name fits a template of blocking.families",
    )?;
    ensure!(existing_keys(&mut conn, [STREAM.into()])?.is_empty());
    Ok(())
}

#[test]
fn the_entry_is_the_servers_whatever_the_caller_may() -> Result<()> {
    let server = on().start()?;
    let mut conn = server.client()?;
    let rights = [
        "SETUSER",
        "janitor",
        "on",
        "nopass",
        "~blocking:*",
        "+blocking.cleanup",
    ];
    let () = cmd("ACL").arg(&rights).query(&mut conn)?;
    write(&mut conn, "blocking:heartbeat:a", OLD_MS.to_string())?;
    let mut janitor = server.client()?;
    let () = cmd("AUTH").arg(&["janitor", ""]).query(&mut janitor)?;
    let reply = cleanup(&mut janitor, &[])?;
    ensure!(reply.int("coordinators_removed")? == 1, "{reply:?}");
    ensure!(entries(&mut conn)?.len() == 1);
    Ok(())
}

#[test]
fn a_heartbeat_that_stays_has_no_entry_yet() -> Result<()> {
    let server = on().start()?;
    let mut conn = server.client()?;
    write(&mut conn, "blocking:heartbeat:a", OLD_MS.to_string())?;
    write(&mut conn, "blocking:signal:a", "x")?;
    write(&mut conn, "coordinator:activity:a", "x")?;
    let rights = [
        "SETUSER",
        "janitor",
        "on",
        "nopass",
        "~blocking:*",
        "+blocking.cleanup",
    ];
    let () = cmd("ACL").arg(&rights).query(&mut conn)?;
    let mut janitor = server.client()?;
    let () = cmd("AUTH").arg(&["janitor", ""]).query(&mut janitor)?;
    let reply = cleanup(&mut janitor, &[])?;
    ensure!(
        reply.int("keys_denied")? == 1 && reply.int("keys_removed")? == 1,
        "{reply:?}"
    );
    ensure!(entries(&mut conn)?.is_empty());
    cleanup(&mut conn, &[])?;
    let all = entries(&mut conn)?;
    ensure!(
        all.len() == 1 && removed(&all[0])? == "2 activity 1 heartbeat 1",
        "{all:?}"
    );
    Ok(())
}

#[test]
fn in_a_cluster_only_into_a_slot_of_this_node() -> Result<()> {
    let cluster = one_node()?;
    let server = &cluster.nodes()[0];
    let mut conn = server.client()?;
    set(&mut conn, "blocking.obituary-stream", STREAM)?;
    let dead = Fleet::numbered("dead", 20, server_now_ms(&mut conn)?).age_s(700);
    dead.load(&mut conn, |_| ())?;
    let reply = cleanup(&mut conn, &[])?;
    ensure!(reply.int("coordinators_removed")? == 20, "{reply:?}");
    let all = entries(&mut conn)?;
    ensure!(all.len() == 20 && sum_of_keys(&all)? == 120, "{all:?}");
    let () = cmd("DEL").arg(STREAM).query(&mut conn)?;
    let slot: i64 = cmd("CLUSTER").arg(&["KEYSLOT", STREAM]).query(&mut conn)?;
    // With the stream's slot gone a node judges only what the operator's word says is all here.
    set(&mut conn, "blocking.cluster-tags", "ids")?;
    write(&mut conn, "blocking:heartbeat:{a}", OLD_MS.to_string())?;
    let () = cmd("CLUSTER").arg("DELSLOTS").arg(slot).query(&mut conn)?;
    let reply = cleanup(&mut conn, &[])?;
    ensure!(reply.int("coordinators_removed")? == 1, "{reply:?}");
    ensure!(dbsize(&mut conn)? == 0);
    ensure!(
        counted(&mut conn)? == ("20".into(), "1".into()),
        "{:?}",
        counted(&mut conn)?
    );
    ensure!(complaints(server) == 1, "{}", server.log());
    assert_healthy(server)
}
