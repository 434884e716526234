//! Case 15: a dry run is dry, and tells the truth. Everything a dry run could disturb is compared before and after.
//! What the run after it removes must be compared with what the dry run said, not with a list of our own.

use std::time::Duration;

use anyhow::Result;
use blocking_harness::redis::{Connection, Msg, Value, cmd};
use blocking_harness::{
    Server, cleanup, dbsize, digest, info_field, server_now_ms, wait_for_value,
};

use super::{beat, keys, write};

/// Everything about the data and its propagation that could change.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    digest: String,
    size: i64,
    dirty: String,
    expired: String,
    offset: String,
    expire_times_ms: Vec<(Vec<u8>, i64)>,
}

fn traces(conn: &mut Connection, names: &[Vec<u8>]) -> Result<Traces> {
    let mut pipe = blocking_harness::redis::pipe();
    for name in names {
        pipe.cmd("PEXPIRETIME").arg(name);
    }
    let times: Vec<i64> = pipe.query(conn)?;
    Ok(Traces {
        digest: digest(conn)?,
        size: dbsize(conn)?,
        dirty: info_field(conn, "persistence", "rdb_changes_since_last_save")?,
        expired: info_field(conn, "stats", "expired_keys")?,
        offset: info_field(conn, "replication", "master_repl_offset")?,
        expire_times_ms: names.iter().cloned().zip(times).collect(),
    })
}

/// The cases 1 to 8 in one keyspace; the second value is the TTL in milliseconds, 0 for none.
fn mixed(now: i64) -> Vec<(Vec<u8>, String, i64)> {
    let one = || "1".to_owned();
    let shapes = [
        ("blocking:heartbeat:c-1", beat(now, 700_000), 0),
        ("blocking:heartbeat:c-10", beat(now, 5_000), 300_000),
        ("blocking:ack:c-1:s1", one(), 86_400_000),
        ("blocking:ack:c-10:s1", one(), 0),
        (
            "blocking:idempotency:c-1:c-10:retry_request:1:123",
            one(),
            0,
        ),
        (
            "blocking:idempotency:c-1:c-11:retry_request:1:123",
            one(),
            0,
        ),
        ("coordinator:activity:c-1", one(), 600_000),
        ("swarm:s:agent:c-1:activity", one(), 600_000),
        ("swarm:s:blocking:c-1", one(), 0),
        ("swarm:s:blocking:heartbeat:w", beat(now, 900_000), 0),
        ("swarm:t:blocking:heartbeat:w", beat(now, 9_000), 0),
        ("swarm:s:blocking:w", one(), 0),
        ("blocking:signal:w", one(), 0),
        ("blocking:heartbeat:gone", beat(now, 700_000), 1),
        ("blocking:signal:gone", one(), 0),
        ("blocking:signal:expired", one(), 1),
        ("blocking:heartbeat:number", (now - 700_000).to_string(), 0),
        (
            "blocking:heartbeat:odd",
            r#"{"timestamp":-1}"#.to_owned(),
            0,
        ),
        ("blocking:heartbeat:a", beat(now, 700_000), 0),
        ("blocking:heartbeat:a:b", beat(now, 5_000), 0),
        ("blocking:ack:a:b:s1", one(), 0),
        ("blocking:ack:a:s1", one(), 0),
        ("coordinator:work:c-1", one(), 0),
        ("user:1", one(), 0),
    ];
    let mut all = shapes
        .map(|(k, v, ttl)| (k.as_bytes().to_vec(), v, ttl))
        .to_vec();
    // Enough for a run of several slices.
    for n in 0..3_000 {
        let id = format!("m-{n}");
        all.push((
            format!("blocking:heartbeat:{id}").into(),
            beat(now, 700_000 + n),
            0,
        ));
        all.push((format!("blocking:signal:{id}").into(), one(), 0));
    }
    all
}

#[test]
fn case_15_a_dry_run_is_dry_and_tells_the_truth() -> Result<()> {
    let server = Server::builder()
        .arg("repl-ping-replica-period", 3_600)
        .arg("notify-keyspace-events", "KEA")
        .start()?;
    // Without a replica there is no replication offset to watch.
    let replica = Server::builder()
        .module(false)
        .replica_of(&server)
        .start()?;
    replica.wait_in_sync_with(&server)?;
    let mut conn = server.client()?;
    let () = cmd("DEBUG")
        .arg("SET-ACTIVE-EXPIRE")
        .arg(0)
        .query(&mut conn)?;
    let now = server_now_ms(&mut conn)?;
    let data = mixed(now);
    write(&mut conn, data.iter().map(|(key, value, _)| (key, value)))?;
    for (key, _, ttl_ms) in data.iter().filter(|(_, _, ttl_ms)| *ttl_ms > 0) {
        let () = cmd("PEXPIRE").arg(key).arg(ttl_ms).query(&mut conn)?;
    }
    wait_for_value(
        "TTLs to pass",
        Duration::from_secs(5),
        || Ok(server_now_ms(&mut conn)?),
        |ms| *ms > now + 100,
    )?;
    replica.wait_in_sync_with(&server)?;
    // Keys whose TTL has passed are left out: to ask for one is to remove it.
    let watched: Vec<Vec<u8>> = data
        .iter()
        .filter(|(_, _, ttl_ms)| *ttl_ms != 1)
        .map(|(key, ..)| key.clone())
        .collect();

    let mut listener = server.client()?;
    let mut events = listener.as_pubsub();
    events.psubscribe("__keyevent@*__:*")?;
    events.set_read_timeout(Some(Duration::from_secs(30)))?;
    let before = traces(&mut conn, &watched)?;
    let dry = cleanup(&mut conn, &["DRYRUN"])?;
    assert_eq!(traces(&mut conn, &watched)?, before);
    assert!(
        before.offset.parse::<u64>()? > 0,
        "the offset does not move at all"
    );
    // Events come in order, so if the first is ours, the dry run raised none.
    let () = cmd("SET").arg("sentinel").arg("1").query(&mut conn)?;
    let first: Msg = events.get_message()?;
    assert_eq!(first.get_payload::<String>()?, "sentinel");
    drop(events);

    let all = keys(&mut conn)?;
    let real = cleanup(&mut conn, &[])?;
    let gone = all.len() as i64 - keys(&mut conn)?.len() as i64;
    assert!(dry.flag("dry_run")? && !real.flag("dry_run")?);
    assert_eq!(dry.int("keys_removed")?, gone);
    assert!(
        gone > 6_000,
        "the run must have had something to do: {real:?}"
    );
    let own_to_each_run = [
        "run",
        "dry_run",
        "slices",
        "longest_slice_us",
        "busy_us",
        "elapsed_us",
        "warm_up_left_s",
        "summary",
    ];
    // The sentinel was not there at the first walk, and KEYS has removed nothing but may look at what has expired.
    let comparable = |fields: &[(String, Value)]| -> Vec<(String, Value)> {
        let same = |(name, _): &&(String, Value)| {
            !own_to_each_run.contains(&name.as_str()) && name != "keys_scanned"
        };
        fields.iter().filter(same).cloned().collect()
    };
    assert_eq!(comparable(real.fields()), comparable(dry.fields()));
    assert!(replica.is_alive() && server.is_alive());
    Ok(())
}

/// What is named in a dry run with a limit and a pattern is what goes, by name.
#[test]
fn case_15_a_limited_dry_run_names_the_coordinators_that_go() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    let pairs = (0..50).map(|n: i64| {
        // Pairs of the same age, so that the order must not come from the walk.
        (
            format!("blocking:heartbeat:c-{n}"),
            beat(now, 700_000 + n / 2 * 1_000),
        )
    });
    write(&mut conn, pairs)?;
    let before = keys(&mut conn)?;
    let options = ["LIMIT", "7", "MATCH", "c-*[02468]", "IDS", "7"];
    let dry = cleanup(&mut conn, &[&options[..], &["DRYRUN"]].concat())?;
    assert_eq!(keys(&mut conn)?, before);
    let real = cleanup(&mut conn, &options)?;
    let named = dry.texts("stale_ids")?;
    assert_eq!(
        named,
        ["c-48", "c-46", "c-44", "c-42", "c-40", "c-38", "c-36"]
    );
    assert_eq!(real.texts("stale_ids")?, named);
    let named = named.iter().map(|id| format!("blocking:heartbeat:{id}"));
    assert_eq!(keys(&mut conn)?, &before - &named.collect());
    Ok(())
}

/// Direct access to a value that lies within its object makes the server store it anew, in another encoding. From
/// which length on it lies elsewhere differs from server to server, and with the length of the name.
#[test]
fn a_dry_run_leaves_heartbeats_encoded_as_they_are() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let old_ms = server_now_ms(&mut conn)? - 700_000;
    let lengths = [
        28, 32, 43, 44, 45, 46, 63, 64, 65, 96, 127, 128, 129, 191, 192, 193, 400,
    ];
    let mut names = vec!["blocking:heartbeat:number".to_owned()];
    let mut pipe = blocking_harness::redis::pipe();
    pipe.cmd("SET").arg(&names[0]).arg(old_ms).ignore();
    for length in lengths {
        let beat = format!(r#"{{"timestamp":{old_ms}"#);
        let value = format!("{beat:width$}}}", width = length - 1);
        assert_eq!(value.len(), length);
        let plain = format!("blocking:heartbeat:plain-{length}");
        let passing = format!("blocking:heartbeat:passing-{length}");
        pipe.cmd("SET").arg(&plain).arg(&value).ignore();
        pipe.cmd("SET")
            .arg(&passing)
            .arg(&value)
            .arg(&["EX", "1000"])
            .ignore();
        names.extend([plain, passing]);
    }
    let () = pipe.query(&mut conn)?;
    let encodings = |conn: &mut Connection| {
        let mut pipe = blocking_harness::redis::pipe();
        for name in &names {
            pipe.cmd("OBJECT").arg("ENCODING").arg(name);
        }
        pipe.query::<Vec<String>>(conn)
    };
    let before = encodings(&mut conn)?;
    let reply = cleanup(&mut conn, &["DRYRUN"])?;
    assert_eq!(
        reply.int("coordinators_stale")?,
        names.len() as i64,
        "{reply:?}"
    );
    let after = encodings(&mut conn)?;
    let all = names.iter().zip(before.iter().zip(&after));
    let changed: Vec<_> = all.filter(|(_, (before, after))| before != after).collect();
    assert!(changed.is_empty(), "{changed:?}");
    Ok(())
}
