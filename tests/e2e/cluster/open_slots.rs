//! Slots on their way to another node: one primary that has all of them, and an empty second one.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use blocking_harness::redis::{Connection, cmd, pipe};
use blocking_harness::{
    Cluster, Fleet, Server, cleanup, cleanup_async, existing_keys, server_now_ms, wait_for_value,
};

use crate::environment::long_run::{Moment, Slow, wait_until_idle};

const DEADLINE: Duration = Duration::from_secs(90);

const OLD: &str = "1700000000000";

fn ask<T: blocking_harness::redis::FromRedisValue>(
    conn: &mut Connection,
    args: &[&str],
) -> Result<T> {
    Ok(cmd("CLUSTER").arg(args).query(conn)?)
}

fn set(conn: &mut Connection, key: &str, value: &str) -> Result<()> {
    Ok(cmd("SET").arg(key).arg(value).query(conn)?)
}

fn count(conn: &mut Connection, keys: &[&str]) -> Result<i64> {
    let one = |key: &&str| Ok(cmd("EXISTS").arg(key).query::<i64>(conn)?);
    keys.iter().map(one).sum()
}

/// A key on a node that its slot is still on the way to.
fn set_asking(conn: &mut Connection, key: &str, value: &str) -> Result<()> {
    let mut both = pipe();
    both.cmd("ASKING").ignore().set(key, value).ignore();
    Ok(both.query(conn)?)
}

/// The primary, and the empty one, which know each other, and their ids.
struct Pair {
    full: Cluster,
    empty: Server,
    ids: [String; 2],
}

impl Pair {
    fn start() -> Result<Self> {
        let full = super::one_node()?;
        let empty = Server::builder().arg("cluster-enabled", "yes").start()?;
        let mut conn = full.nodes()[0].client()?;
        let port = empty.port().to_string();
        let _: String = ask(&mut conn, &["MEET", "127.0.0.1", &port])?;
        for node in [&full.nodes()[0], &empty] {
            let mut conn = node.client()?;
            let info = || ask::<String>(&mut conn, &["INFO"]);
            let met = |info: &String| {
                [
                    "cluster_state:ok",
                    "cluster_known_nodes:2",
                    "cluster_size:1\r",
                ]
                .iter()
                .all(|part| info.contains(part))
            };
            wait_for_value("the nodes to meet", DEADLINE, info, met)?;
        }
        let ids = [
            ask(&mut conn, &["MYID"])?,
            ask(&mut empty.client()?, &["MYID"])?,
        ];
        Ok(Self { full, empty, ids })
    }

    fn full(&self) -> &Server {
        &self.full.nodes()[0]
    }

    fn slot_of(&self, key: &str) -> Result<String> {
        let slot: i64 = ask(&mut self.full().client()?, &["KEYSLOT", key])?;
        Ok(slot.to_string())
    }

    /// The slot of this key is on its way from the full to the empty one.
    fn open(&self, key: &str) -> Result<()> {
        let slot = self.slot_of(key)?;
        let [full, empty] = &self.ids;
        let _: String = ask(
            &mut self.empty.client()?,
            &["SETSLOT", &slot, "IMPORTING", full],
        )?;
        ask(
            &mut self.full().client()?,
            &["SETSLOT", &slot, "MIGRATING", empty],
        )
    }

    fn close(&self, key: &str) -> Result<()> {
        let slot = self.slot_of(key)?;
        for node in [self.full(), &self.empty] {
            let _: String = ask(&mut node.client()?, &["SETSLOT", &slot, "STABLE"])?;
        }
        Ok(())
    }
}

#[test]
fn a_heartbeat_that_has_moved_ahead_of_its_slot_protects_what_it_left_behind() -> Result<()> {
    let pair = Pair::start()?;
    let mut here = pair.full().client()?;
    let mut there = pair.empty.client()?;
    let now = server_now_ms(&mut here)?.to_string();
    // Of two that live: the one has left its messages behind, the other an old heartbeat, too.
    let left = [
        "blocking:signal:x",
        "blocking:ack:x:1",
        "blocking:heartbeat:y",
        "blocking:signal:y",
    ];
    for key in left {
        set(&mut here, key, OLD)?;
    }
    for beat in [
        "swarm:s:blocking:heartbeat:x",
        "swarm:s:blocking:heartbeat:y",
    ] {
        pair.open(beat)?;
        set_asking(&mut there, beat, &now)?;
    }
    for options in [&[][..], &["ORPHANS", "1"], &["DRYRUN", "ORPHANS", "1"]] {
        let reply = cleanup(&mut here, options)?;
        ensure!(reply.text("status")? == "partial", "{reply:?}");
        ensure!(reply.int("keys_elsewhere")? == 4, "{reply:?}");
        ensure!(reply.int("keys_removed")? == 0, "{reply:?}");
        let reason = reply.text("reason")?;
        ensure!(reason.contains("2 slots are on the move"), "{reason}");
    }
    ensure!(count(&mut here, &left)? == 4);
    // The node that they are on their way to has no slot of its own.
    let old = "swarm:s:blocking:heartbeat:x";
    set_asking(&mut there, old, OLD)?;
    let reply = cleanup(&mut there, &["ORPHANS", "1"])?;
    ensure!(reply.int("keys_removed")? == 0, "{reply:?}");
    ensure!(reply.text("status")? == "partial", "{reply:?}");

    // The move is called off: the heartbeats come back, and this is one server again.
    for beat in [
        "swarm:s:blocking:heartbeat:x",
        "swarm:s:blocking:heartbeat:y",
    ] {
        let mut both = pipe();
        both.cmd("ASKING").ignore().del(beat).ignore();
        let () = both.query(&mut there)?;
        pair.close(beat)?;
        set(&mut here, beat, &now)?;
    }
    let reply = cleanup(&mut here, &["ORPHANS", "1"])?;
    ensure!(reply.text("status")? == "complete", "{reply:?}");
    ensure!(reply.get("keys_elsewhere").is_none(), "{reply:?}");
    ensure!(count(&mut here, &left)? == 4);
    let two = [
        "swarm:s:blocking:heartbeat:x",
        "swarm:s:blocking:heartbeat:y",
    ];
    let () = cmd("DEL").arg(two[0]).query(&mut here)?;
    let () = cmd("DEL").arg(two[1]).query(&mut here)?;
    let reply = cleanup(&mut here, &["ORPHANS", "1"])?;
    ensure!(reply.int("keys_removed")? == 4, "{reply:?}");
    Ok(())
}

#[test]
fn a_slot_that_begins_to_move_in_mid_run_ends_the_removal_of_what_it_could_own() -> Result<()> {
    let pair = Pair::start()?;
    let mut here = pair.full().client()?;
    let now_ms = server_now_ms(&mut here)?;
    let stale = Fleet::numbered("dead", 600, now_ms).age_s(700).ttl_s(None);
    stale.load(&mut here, |_| {})?;
    let slow = Slow::start(pair.full())?;
    cleanup_async(&mut here, &[])?;
    // Half a minute's work is left, so a run that goes on to the end has not looked again.
    slow.hold_at(&mut here, Moment::Reaping)?;
    pair.open("swarm:s:blocking:heartbeat:z")?;
    drop(slow);
    let last = wait_until_idle(&mut here)?;
    pair.close("swarm:s:blocking:heartbeat:z")?;
    ensure!(last.text("status")? == "partial", "{last:?}");
    ensure!(last.int("keys_removed")? > 0, "{last:?}");
    ensure!(last.int("keys_elsewhere")? > 0, "{last:?}");
    ensure!(last.get("keys_not_owned").is_none(), "{last:?}");
    let left = existing_keys(&mut here, stale.keys())?;
    ensure!(left.len() as i64 == 3_600 - last.int("keys_removed")?);
    let left: Result<Vec<String>, _> = left.into_iter().map(String::from_utf8).collect();
    let left: HashSet<String> = left?.into_iter().collect();
    for key in left
        .iter()
        .filter(|key| key.starts_with("blocking:signal:"))
    {
        let heartbeat = key.replace(":signal:", ":heartbeat:");
        ensure!(left.contains(&heartbeat), "{key} without its heartbeat");
    }
    let reply = cleanup(&mut here, &[])?;
    ensure!(reply.text("status")? == "complete", "{reply:?}");
    ensure!(existing_keys(&mut here, stale.keys())?.is_empty());
    Ok(())
}

#[test]
fn the_slots_of_a_job_that_moves_them_are_open_though_the_list_of_nodes_does_not_say_so()
-> Result<()> {
    let pair = Pair::start()?;
    let mut here = pair.full().client()?;
    let jobs: std::result::Result<Vec<blocking_harness::redis::Value>, _> =
        ask(&mut here, &["GETSLOTMIGRATIONS"]);
    if jobs.is_err() {
        // Not a server that moves slots by itself.
        return Ok(());
    }
    for node in [pair.full(), &pair.empty] {
        let mut debug = cmd("DEBUG");
        let debug = debug.arg(&["SLOTMIGRATION", "PREVENT-PAUSE", "1"]);
        let () = debug.query(&mut node.client()?)?;
    }
    for key in ["blocking:heartbeat:x", "blocking:signal:x"] {
        set(&mut here, key, OLD)?;
    }
    let slot = pair.slot_of("swarm:s:blocking:heartbeat:x")?;
    let move_it = [
        "MIGRATESLOTS",
        "SLOTSRANGE",
        &slot,
        &slot,
        "NODE",
        &pair.ids[1],
    ];
    let _: String = ask(&mut here, &move_it)?;
    let nodes: String = ask(&mut here, &["NODES"])?;
    ensure!(nodes.contains(" 0-16383\n"), "{nodes}");
    let reply = cleanup(&mut here, &[])?;
    ensure!(reply.text("status")? == "partial", "{reply:?}");
    ensure!(reply.int("keys_elsewhere")? == 2, "{reply:?}");
    let reason = reply.text("reason")?;
    ensure!(reason.contains("1 slot is on the move"), "{reason}");
    let _: String = ask(&mut here, &["CANCELSLOTMIGRATIONS"])?;
    let reply = cleanup(&mut here, &[])?;
    ensure!(reply.text("status")? == "complete", "{reply:?}");
    ensure!(reply.int("keys_removed")? == 2, "{reply:?}");
    let left: i64 = cmd("DBSIZE").query(&mut here)?;
    ensure!(left == 0);
    Ok(())
}
