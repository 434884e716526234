//! Cluster mode: keys of many slots, and what a node makes of keys whose owners may be on another one.
//! A run over several nodes is not this module's yet.

/// Where a key lies.
mod keyslot;
/// Slots on their way to another node.
mod open_slots;
/// Three primaries beside one server.
mod oracle;
/// A key and its owners on different nodes.
mod partners;

use anyhow::Result;
use blocking_harness::{Cluster, Fleet, Server, cleanup, existing_keys, redis, server_now_ms};

/// A cluster of one node, which has all slots; those that are taken away do not bring it down.
pub fn one_node() -> Result<Cluster> {
    let builder = Server::builder().arg("cluster-require-full-coverage", "no");
    Cluster::start(&builder, 1)
}

#[test]
fn families_go_though_their_keys_are_in_different_slots() -> Result<()> {
    let cluster = one_node()?;
    let mut conn = cluster.nodes()[0].client()?;
    let now_ms = server_now_ms(&mut conn)?;
    let stale = Fleet::numbered("dead", 100, now_ms).age_s(700);
    let live = Fleet::numbered("live", 20, now_ms);
    stale.load(&mut conn, |_| {})?;
    live.load(&mut conn, |_| {})?;
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(reply.text("status")?, "complete", "{reply:?}");
    assert_eq!(reply.int("keys_removed")?, 600);
    assert_eq!(existing_keys(&mut conn, stale.keys())?.len(), 0);
    assert_eq!(existing_keys(&mut conn, live.keys())?.len(), 120);
    Ok(())
}

#[test]
fn while_a_slot_is_not_assigned_what_could_lie_there_is_not_known_to_be_dead() -> Result<()> {
    let cluster = one_node()?;
    let mut conn = cluster.nodes()[0].client()?;
    let now_ms = server_now_ms(&mut conn)?;
    let stale = Fleet::new(["dead"], now_ms).age_s(700);
    stale.load(&mut conn, |_| {})?;
    let slots = |conn: &mut redis::Connection, what: &str| -> Result<()> {
        Ok(redis::cmd("CLUSTER").arg(&[what, "7"]).exec(conn)?)
    };
    slots(&mut conn, "DELSLOTS")?;
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(reply.text("status")?, "partial", "{reply:?}");
    assert_eq!(reply.int("keys_removed")?, 0);
    assert_eq!(reply.int("keys_elsewhere")?, 6);
    slots(&mut conn, "ADDSLOTS")?;
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(reply.text("status")?, "complete", "{reply:?}");
    assert_eq!(reply.int("keys_removed")?, 6);
    Ok(())
}
