//! `blocking.time-fields`: heartbeats that call their time something else.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use blocking_harness::redis::{Connection, ConnectionLike, Value, cmd};
use blocking_harness::{AofCommands, Server, cleanup, server_now_ms};

const NAME: &str = "blocking.time-fields";
const OLD_MS: i64 = 1_700_000_000_000;

fn set(conn: &mut Connection, value: &str) -> Result<()> {
    let value = cmd("CONFIG").arg(&["SET", NAME, value]).query(conn);
    value.context("CONFIG SET")
}

fn beat(conn: &mut Connection, id: &str, value: &str) -> Result<()> {
    let key = format!("blocking:heartbeat:{id}");
    Ok(cmd("SET").arg(key).arg(value).query(conn)?)
}

fn left(conn: &mut Connection) -> Result<BTreeSet<String>> {
    let keys: Vec<String> = cmd("KEYS").arg("*").query(conn)?;
    let ids = keys.iter().filter_map(|key| key.rsplit(':').next());
    Ok(ids.map(str::to_owned).collect())
}

#[test]
fn the_newest_of_the_named_fields_decides_and_no_other() -> Result<()> {
    let server = Server::builder()
        .aof(true)
        .arg("appendfsync", "always")
        .start()?;
    let replica = Server::builder().replica_of(&server).start()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    for (id, value) in [
        ("dead", format!(r#"{{"seen at":0,"seen":{OLD_MS}}}"#)),
        (
            "dead-twice",
            format!(r#"{{"seen":{OLD_MS},"alive.at":{OLD_MS}}}"#),
        ),
        ("dead-escaped", format!(r#"{{"\u0073een":{OLD_MS}}}"#)),
        // The default's fields are no time of a heartbeat any more.
        (
            "dead-whatever-else",
            format!(r#"{{"timestamp":{now},"seen":{OLD_MS}}}"#),
        ),
        ("bare", OLD_MS.to_string()),
        ("live", format!(r#"{{"seen":{now}}}"#)),
        (
            "live-by-one",
            format!(r#"{{"seen":{OLD_MS},"alive.at":{now}}}"#),
        ),
        ("unreadable", format!(r#"{{"timestamp":{OLD_MS}}}"#)),
        ("unreadable-case", format!(r#"{{"Seen":{OLD_MS}}}"#)),
        (
            "unreadable-nested",
            format!(r#"{{"x":{{"seen":{OLD_MS}}}}}"#),
        ),
        (
            "unreadable-by-one",
            format!(r#"{{"seen":{OLD_MS},"alive.at":"soon"}}"#),
        ),
    ] {
        beat(&mut conn, id, &value)?;
    }
    let before = cleanup(&mut conn, &["DRYRUN"])?;
    ensure!(before.int("coordinators_stale")? == 2, "{before:?}");
    ensure!(before.int("coordinators_unreadable")? == 8, "{before:?}");
    set(&mut conn, "seen alive.at")?;
    let reply = cleanup(&mut conn, &[])?;
    ensure!(reply.int("coordinators_removed")? == 5, "{reply:?}");
    ensure!(reply.int("coordinators_unreadable")? == 4, "{reply:?}");
    let stays = [
        "live",
        "live-by-one",
        "unreadable",
        "unreadable-case",
        "unreadable-nested",
        "unreadable-by-one",
    ];
    let stays: BTreeSet<String> = stays.map(str::to_owned).into();
    ensure!(left(&mut conn)? == stays, "{:?}", left(&mut conn)?);
    replica.wait_in_sync_with(&server)?;
    ensure!(left(&mut replica.client()?)? == stays, "on the replica");
    let commands: Vec<Vec<Vec<u8>>> = AofCommands::of(&server)?.collect::<Result<_>>()?;
    let unlinks = commands
        .iter()
        .filter(|words| words[0].eq_ignore_ascii_case(b"UNLINK"));
    ensure!(unlinks.map(|words| words.len() - 1).sum::<usize>() == 5);
    Ok(())
}

/// What speaks for an orphan's life may come from any writer: the known fields count as well.
#[test]
fn orphans_hear_the_known_fields_and_the_named_ones() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    set(&mut conn, "seen")?;
    for (id, field, ms) in [
        ("old", "seen", OLD_MS),
        ("old-known", "timestamp", OLD_MS),
        ("young", "seen", now),
        ("young-known", "lastActivity", now),
    ] {
        let key = format!("coordinator:activity:{id}");
        let value = format!(r#"{{"{field}":{ms}}}"#);
        let () = cmd("SET").arg(key).arg(value).query(&mut conn)?;
    }
    let reply = cleanup(&mut conn, &["ORPHANS"])?;
    ensure!(reply.int("orphans_removed")? == 2, "{reply:?}");
    ensure!(left(&mut conn)? == ["young", "young-known"].map(str::to_owned).into());
    Ok(())
}

#[test]
fn names_are_taken_kept_and_refused_with_what_is_accepted() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let (many, long) = ("a ".repeat(17), "a".repeat(65));
    for value in ["", " ", "\"a\"", "a\\b", "it's", "a\nb", &many, &long] {
        match conn.req_command(cmd("CONFIG").arg(&["SET", NAME, value]))? {
            Value::ServerError(error) => {
                let text = error.details().unwrap_or_default();
                let accepted = "1 to 16 names of fields of 1 to 64 bytes";
                ensure!(text.contains(accepted) && text.contains(NAME), "{text}");
            }
            other => bail!("{value} gave {other:?}"),
        }
    }
    let value = " seen  z\u{fc}letzt #$[.] ";
    set(&mut conn, value)?;
    for _ in 0..2 {
        let () = cmd("CONFIG").arg("REWRITE").query(&mut server.client()?)?;
        server.restart()?;
        let shown: Vec<String> = cmd("CONFIG")
            .arg(&["GET", NAME])
            .query(&mut server.client()?)?;
        ensure!(shown[1] == value, "{shown:?}");
    }
    Ok(())
}
