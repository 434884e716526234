//! Cluster mode on one node: keys of many slots, and keys in a slot that is not this node's.
//! What spans several nodes is not this module's yet.

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
fn a_key_in_a_slot_of_nobody_stays_and_is_counted() -> Result<()> {
    let cluster = one_node()?;
    let mut conn = cluster.nodes()[0].client()?;
    let now_ms = server_now_ms(&mut conn)?;
    let stale = Fleet::new(["dead"], now_ms).age_s(700);
    stale.load(&mut conn, |_| {})?;
    let slot = |conn: &mut redis::Connection, key: &str| -> Result<i64> {
        Ok(redis::cmd("CLUSTER").arg("KEYSLOT").arg(key).query(conn)?)
    };
    let lost = slot(&mut conn, "blocking:signal:dead")?;
    assert_ne!(lost, slot(&mut conn, "blocking:heartbeat:dead")?);
    redis::cmd("CLUSTER")
        .arg("DELSLOTS")
        .arg(lost)
        .exec(&mut conn)?;
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(reply.int("keys_removed")?, 5, "{reply:?}");
    assert_eq!(reply.int("keys_not_owned")?, 1);
    let left: i64 = redis::cmd("CLUSTER")
        .arg("COUNTKEYSINSLOT")
        .arg(lost)
        .query(&mut conn)?;
    assert_eq!(left, 1);
    Ok(())
}
