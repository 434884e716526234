//! After a run, the append-only file and the replica hold what the primary holds, in every database.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use blocking_harness::{Server, cleanup, cleanup_async, dbsize, digest, error_text, redis};

use super::append_only::AppendOnly;
use crate::environment::long_run::{World, assert_healthy, run, state};

#[test]
fn append_only_file_and_replica_follow_a_run_in_any_database() -> Result<()> {
    for fsync in ["everysec", "always"] {
        let primary = Server::builder()
            .aof(true)
            .arg("appendfsync", fsync)
            .start()?;
        let replica = Server::builder().aof(true).replica_of(&primary).start()?;
        replica.wait_in_sync_with(&primary)?;
        let databases = [0, 3];
        // The same names in all of them, and in one that no run visits.
        let mut worlds = Vec::new();
        for db in [0, 3, 7] {
            let mut conn = primary.client_db(db)?;
            worlds.push((db, World::load_sized(&mut conn, 200, 20, 300)?));
        }
        let mut seen = BTreeSet::new();
        for db in databases {
            let mut conn = primary.client_db(db)?;
            seen.insert(digest(&mut conn)?);
            let reply = cleanup(&mut conn, &[])?;
            ensure!(reply.text("status")? == "complete", "{reply:?}");
            ensure!(reply.int("keys_removed")? == 1_200, "{reply:?}");
            seen.insert(digest(&mut conn)?);
            replica.wait_in_sync_with(&primary)?;
            for (other, world) in &worlds {
                let gone = databases.contains(other) && *other <= db;
                let left = if gone { 0 } else { world.dead_keys() };
                for server in [&primary, &replica] {
                    let mut conn = server.client_db(*other)?;
                    ensure!(world.dead_keys_left(&mut conn)? == left, "{db} {other}");
                    world.assert_others_are_whole(&mut conn)?;
                }
            }
            ensure!(
                digest(&mut replica.client()?)? == digest(&mut conn)?,
                "database {db}"
            );
        }
        ensure!(seen.len() == 3, "the digest tells states apart: {seen:?}");
        let digest_before = digest(&mut primary.client()?)?;
        // A clean end first, for "everysec" promises no more; then both come back from their files alone.
        for server in [&replica, &primary] {
            server.shutdown()?;
        }
        primary.restart()?;
        ensure!(
            digest(&mut primary.client()?)? == digest_before,
            "{fsync}: restarted from the file"
        );
        replica.restart()?;
        replica.wait_in_sync_with(&primary)?;
        ensure!(
            digest(&mut replica.client()?)? == digest_before,
            "{fsync}: replica"
        );
        assert_healthy(&primary)?;
        assert_healthy(&replica)?;
    }
    Ok(())
}

#[test]
fn what_a_run_removed_does_not_come_back_from_the_file() -> Result<()> {
    let server = Server::builder()
        .aof(true)
        .arg("appendfsync", "always")
        .start()?;
    let mut conn = server.client()?;
    let world = World::load_sized(&mut conn, 300, 20, 300)?;
    cleanup(&mut conn, &[])?;
    server.kill9()?;
    server.restart()?;
    let mut conn = server.client()?;
    ensure!(world.dead_keys_left(&mut conn)? == 0, "resurrected");
    world.assert_others_are_whole(&mut conn)?;
    ensure!(dbsize(&mut conn)? == world.other_keys() as i64);
    Ok(())
}

/// The words of every command that the server wrote to its append-only file since it was last rewritten.
fn written(server: &Server) -> Result<Vec<Vec<String>>> {
    let log = AppendOnly::read(server.dir())?;
    ensure!(log.torn_bytes == 0, "cut short");
    let text = |word: &Vec<u8>| String::from_utf8_lossy(word).into_owned();
    let commands = log.appended.iter();
    Ok(commands
        .map(|words| words.iter().map(text).collect())
        .collect())
}

#[test]
fn a_small_family_is_one_transaction_in_the_file() -> Result<()> {
    let server = Server::builder()
        .aof(true)
        .arg("appendfsync", "always")
        .start()?;
    let mut conn = server.client()?;
    let world = World::load_sized(&mut conn, 300, 5, 100)?;
    let before = written(&server)?.len();
    let reply = cleanup(&mut conn, &[])?;
    let slices = reply.int("slices")? as usize;
    let commands = written(&server)?.split_off(before);
    let mut transactions: Vec<Vec<String>> = Vec::new();
    let mut open = false;
    for words in &commands {
        match words[0].to_uppercase().as_str() {
            "MULTI" => {
                ensure!(!open, "MULTI in MULTI");
                open = true;
                transactions.push(Vec::new());
            }
            "EXEC" => open = false,
            "UNLINK" => {
                if !open {
                    transactions.push(Vec::new());
                }
                let keys = words[1..].iter().cloned();
                transactions
                    .last_mut()
                    .context("no transaction")?
                    .extend(keys);
            }
            "SELECT" => {}
            other => anyhow::bail!("{other} in the file: {words:?}"),
        }
    }
    ensure!(!open, "no EXEC");
    let mut whole = 0;
    for keys in &transactions {
        // A heartbeat comes after everything else of its batch, and its family is with it.
        for index in 0..world.dead.len() {
            let family = world.dead.family_keys(index).into_iter();
            // What two of them could own goes with the last of the two.
            let family: Vec<String> = family
                .map(|key| String::from_utf8_lossy(&key).into())
                .filter(|key: &String| !key.starts_with("blocking:idempotency:"))
                .collect();
            let place = |key: &String| keys.iter().position(|other| other == key);
            let places: Vec<usize> = family.iter().filter_map(place).collect();
            if places.is_empty() {
                continue;
            }
            ensure!(places.len() == family.len(), "{family:?} in parts");
            ensure!(
                places[1..].iter().all(|place| *place < places[0]),
                "{family:?}: heartbeat not last"
            );
            whole += 1;
        }
    }
    ensure!(whole == world.dead.len(), "{whole} whole families");
    let keys: usize = transactions.iter().map(Vec::len).sum();
    ensure!(keys == world.dead_keys(), "{keys} keys");
    ensure!(
        transactions.len() <= slices,
        "{} transactions in {slices} slices",
        transactions.len()
    );
    Ok(())
}

#[test]
fn the_command_itself_is_not_written() -> Result<()> {
    let server = Server::builder()
        .aof(true)
        .arg("appendfsync", "always")
        .start()?;
    let mut conn = server.client()?;
    World::load_sized(&mut conn, 20, 5, 10)?;
    cleanup(&mut conn, &["DRYRUN"])?;
    cleanup_async(&mut conn, &[])?;
    crate::environment::long_run::wait_until_idle(&mut conn)?;
    cleanup(&mut conn, &["THRESHOLD", "1"])?;
    cleanup(&mut conn, &["THRESHOLD", "nonsense"]).expect_err("refused");
    let () = redis::pipe()
        .atomic()
        .cmd("SET")
        .arg("in-multi")
        .arg(1)
        .ignore()
        .cmd("BLOCKING.CLEANUP")
        .arg("ASYNC")
        .ignore()
        .query(&mut conn)?;
    crate::environment::long_run::wait_until_idle(&mut conn)?;
    let names: BTreeSet<String> = written(&server)?
        .iter()
        .map(|words| words[0].to_uppercase())
        .collect();
    ensure!(
        names.contains("UNLINK") && names.contains("SET"),
        "{names:?}"
    );
    ensure!(
        !names.iter().any(|name| name.starts_with("BLOCKING")),
        "{names:?}"
    );
    let text = std::fs::read_dir(server.dir().join("appendonlydir"))?
        .map(|entry| Ok(std::fs::read(entry?.path())?))
        .collect::<Result<Vec<_>>>()?
        .concat();
    let text = String::from_utf8_lossy(&text).to_uppercase();
    ensure!(
        !text.contains("BLOCKING.CLEANUP"),
        "the command is in the file"
    );
    Ok(())
}

#[test]
fn a_replica_refuses_a_run_and_shows_its_status() -> Result<()> {
    let primary = Server::start()?;
    let replica = Server::builder().replica_of(&primary).start()?;
    let world = World::load_sized(&mut primary.client()?, 20, 5, 10)?;
    replica.wait_in_sync_with(&primary)?;
    let mut conn = replica.client()?;
    for args in [&[][..], &["DRYRUN"], &["ASYNC"]] {
        let error = cleanup(&mut conn, args).unwrap_err();
        ensure!(
            error_text(&error) == "READONLY You can't write against a read only replica.",
            "{args:?}: {error}"
        );
    }
    ensure!(state(&mut conn)? == "idle");
    // One that may be written to is no primary either: what it removed would be back with the next resync.
    run(&mut conn, "CONFIG SET replica-read-only no")?;
    for args in [&[][..], &["DRYRUN"], &["ASYNC"]] {
        let error = cleanup(&mut conn, args).unwrap_err();
        let text = "READONLY BLOCKING.CLEANUP runs on a primary only; this server is a replica";
        ensure!(error_text(&error) == text, "{args:?}: {error}");
    }
    ensure!(state(&mut conn)? == "idle");
    ensure!(world.dead_keys_left(&mut conn)? == world.dead_keys());
    ensure!(digest(&mut conn)? == digest(&mut primary.client()?)?);
    assert_healthy(&replica)
}
