//! One key and its possible owners on two nodes, told in every reply.

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{Connection, Value, cmd};
use blocking_harness::{
    Cluster, Reply, Server, cleanup, command, info_field, reply_map, server_now_ms,
};

const OLD: &str = "1700000000000";

fn set(conn: &mut Connection, key: &str, value: &str) -> Result<()> {
    Ok(cmd("SET").arg(key).arg(value).query(conn)?)
}

fn exists(conn: &mut Connection, key: &str) -> Result<bool> {
    Ok(cmd("EXISTS").arg(key).query(conn)?)
}

fn cluster() -> Result<Cluster> {
    Cluster::start(&Server::builder(), 3)
}

/// The first id of these that puts the key on the node that is, or is not, this one.
fn id(
    cluster: &Cluster,
    node: &Server,
    is_here: bool,
    key: impl Fn(&str) -> String,
) -> Result<String> {
    for n in 0..1_000 {
        let id = format!("c{n}");
        let owner = cluster.owner_of(&key(&id))?;
        if (owner.port() == node.port()) == is_here {
            return Ok(id);
        }
    }
    anyhow::bail!("no id")
}

fn partial(reply: &Reply, keys: i64) -> Result<()> {
    ensure!(reply.text("status")? == "partial", "{reply:?}");
    ensure!(reply.int("keys_elsewhere")? == keys, "{reply:?}");
    ensure!(reply.int("keys_removed")? == 0, "{reply:?}");
    let reason = reply.text("reason")?;
    ensure!(reason.contains("other nodes"), "{reason}");
    ensure!(reason.contains("blocking.cluster-tags"), "{reason}");
    Ok(())
}

#[test]
fn a_living_partner_on_another_node_keeps_the_key_and_the_heartbeat_that_leads_to_it() -> Result<()>
{
    let cluster = cluster()?;
    let here = &cluster.nodes()[0];
    let heartbeat = |id: &str| format!("blocking:heartbeat:{id}");
    let dead = id(&cluster, here, true, heartbeat)?;
    let living = id(&cluster, here, false, heartbeat)?;
    let message = |n: &str| format!("blocking:idempotency:{dead}:{living}:completion:{n}:{OLD}");
    let number = id(&cluster, here, true, |n| message(n))?;
    let (heartbeat, message) = (heartbeat(&dead), message(&number));
    let mut conn = here.client()?;
    set(&mut conn, &heartbeat, OLD)?;
    set(&mut conn, &message, "1")?;
    let alive = format!("blocking:heartbeat:{living}");
    let mut there = cluster.owner_of(&alive)?.client()?;
    let now_ms = server_now_ms(&mut there)?;
    set(&mut there, &alive, &now_ms.to_string())?;

    for options in [&[][..], &["DRYRUN"], &["ORPHANS", "1"]] {
        partial(&cleanup(&mut conn, options)?, 2)?;
    }
    ensure!(exists(&mut conn, &heartbeat)? && exists(&mut conn, &message)?);
    let told = info_field(&mut conn, "blocking", "blocking_last_keys_elsewhere")?;
    ensure!(told == "2", "{told}");
    let json: String = cmd("BLOCKING.CLEANUP").arg("JSON").query(&mut conn)?;
    ensure!(json.contains(r#""keysElsewhere":2"#), "{json}");
    let status = reply_map(cmd("BLOCKING.STATUS").query(&mut conn)?)?;
    let last = reply_map(status.get("last").context("no last")?.clone())?;
    partial(&last, 2)?;
    Ok(())
}

#[test]
fn explain_says_where_it_cannot_look() -> Result<()> {
    let cluster = cluster()?;
    let here = &cluster.nodes()[0];
    let signal = |id: &str| format!("blocking:signal:{id}");
    let id = id(&cluster, here, true, signal)?;
    let mut conn = here.client()?;
    set(&mut conn, &signal(&id), "x")?;
    let told = command(&mut conn, "BLOCKING.EXPLAIN", &[&id])?;
    ensure!(told.text("verdict")? == "elsewhere", "{told:?}");
    let text = format!("{told:?}");
    ensure!(text.contains("other nodes"), "{text}");
    let fate = key_fates(&told)?;
    ensure!(fate == ["elsewhere"], "{told:?}");
    // With a stale heartbeat here it may still beat in a swarm elsewhere.
    let heartbeat = format!("blocking:heartbeat:{id}");
    let owner = cluster.owner_of(&heartbeat)?;
    let mut conn = owner.client()?;
    set(&mut conn, &heartbeat, OLD)?;
    let told = command(&mut conn, "BLOCKING.EXPLAIN", &[&id])?;
    ensure!(told.text("verdict")? == "stale", "{told:?}");
    let heartbeats = told.get("heartbeats").context("no heartbeats")?;
    ensure!(format!("{heartbeats:?}").contains("elsewhere"), "{told:?}");
    Ok(())
}

fn key_fates(told: &Reply) -> Result<Vec<String>> {
    let Some(Value::Array(keys)) = told.get("keys") else {
        anyhow::bail!("no keys: {told:?}");
    };
    let fates = keys.iter().map(|key| reply_map(key.clone())?.text("fate"));
    fates.collect()
}

#[test]
fn list_says_that_it_shows_one_node() -> Result<()> {
    let cluster = cluster()?;
    let mut conn = cluster.nodes()[1].client()?;
    let list = command(&mut conn, "BLOCKING.LIST", &[])?;
    let note = list.text("note")?;
    ensure!(
        note.contains("5461 of the 16384 slots") || note.contains("5462 of"),
        "{note}"
    );
    let alone = super::one_node()?;
    let list = command(&mut alone.nodes()[0].client()?, "BLOCKING.LIST", &[])?;
    ensure!(list.get("note").is_none(), "{list:?}");
    Ok(())
}

#[test]
fn doctor_says_how_much_it_cannot_judge() -> Result<()> {
    let cluster = cluster()?;
    let here = &cluster.nodes()[0];
    let signal = |id: &str| format!("blocking:signal:{id}");
    let id = id(&cluster, here, true, signal)?;
    let mut conn = here.client()?;
    set(&mut conn, &signal(&id), "x")?;
    let json: String = cmd("BLOCKING.DOCTOR").arg("JSON").query(&mut conn)?;
    for part in [
        r#""code":"cluster""#,
        r#""keysElsewhere":1"#,
        r#""clusterTags":"unknown""#,
    ] {
        ensure!(json.contains(part), "{json}");
    }
    ensure!(!json.contains(r#""code":"orphans""#), "{json}");
    Ok(())
}

#[test]
fn the_setting_takes_its_two_words_and_counts_from_the_next_run_on() -> Result<()> {
    let cluster = cluster()?;
    let heartbeat = "blocking:heartbeat:{t}x";
    let mut conn = cluster.owner_of(heartbeat)?.client()?;
    for key in [heartbeat, "blocking:signal:{t}x", "swarm:s:blocking:{t}x"] {
        set(&mut conn, key, OLD)?;
    }
    partial(&cleanup(&mut conn, &[])?, 3)?;
    let config = |conn: &mut Connection, word: &str| -> Result<()> {
        let mut set = cmd("CONFIG");
        Ok(set
            .arg(&["SET", "blocking.cluster-tags", word])
            .query(conn)?)
    };
    let refused = config(&mut conn, "yes").unwrap_err().to_string();
    ensure!(
        refused.contains("argument must be unknown or ids"),
        "{refused}"
    );
    config(&mut conn, "ids")?;
    let reply = cleanup(&mut conn, &[])?;
    ensure!(reply.text("status")? == "complete", "{reply:?}");
    ensure!(reply.int("keys_removed")? == 3, "{reply:?}");
    Ok(())
}
