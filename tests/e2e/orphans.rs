//! Keys of coordinators whose heartbeat has expired, removed by `ORPHANS`.
//!
//! What speaks for life in a keyspace that stands still is in `tests/scenarios/orphans.json`. Here is what needs
//! permissions, a second server, or many and large keys; what needs time or a restart is in `first_seen`, what changes
//! in the middle of a run in `mid_run`.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use blocking_harness::redis::{Connection, cmd, pipe};
use blocking_harness::{
    AofCommands, Reply, Server, cleanup, cleanup_async, command, dbsize, digest, error_text,
    info_field, server_now_ms, wait_for_value,
};

use crate::hard_cases::{last_run, write};

/// What runs remember of orphans that do not say how old they are.
mod first_seen;
/// Coordinators and messages that come while a run is on.
mod mid_run;
/// Values that no run reads.
mod unread;

const DEADLINE: Duration = Duration::from_secs(30);

fn keys(conn: &mut Connection) -> Result<BTreeSet<String>> {
    Ok(cmd("KEYS").arg("*").query(conn)?)
}

fn counts(reply: &Reply) -> Result<[i64; 3]> {
    Ok([
        reply.int("keys_orphaned")?,
        reply.int("orphans_too_young")?,
        reply.int("orphans_removed")?,
    ])
}

/// What the real writers leave of a coordinator whose heartbeat has expired, as old as this.
fn remains(conn: &mut Connection, id: &str, age_s: i64) -> Result<Vec<String>> {
    let ms = server_now_ms(conn)? - age_s * 1_000;
    let keys = [
        (
            format!("blocking:signal:{id}"),
            format!(r#"{{"senderId":"lead","receiverId":"{id}","timestamp":{ms}}}"#),
            86_400,
        ),
        (
            format!("blocking:ack:{id}:s-{ms}"),
            format!(r#"{{"signalId":"s-{ms}","status":"received","timestamp":{ms}}}"#),
            3_600,
        ),
        (
            format!("blocking:idempotency:{id}:lead:completion:1:{ms}"),
            "1".to_owned(),
            86_400,
        ),
        (
            format!("coordinator:activity:{id}"),
            format!(r#"{{"lastActivity":{ms}}}"#),
            600,
        ),
        (
            format!("swarm:s-{id}:blocking:{id}"),
            format!(r#"{{"state":"waiting","timestamp":{ms}}}"#),
            86_400,
        ),
    ];
    let mut commands = pipe();
    for (key, value, ttl_s) in &keys {
        commands.cmd("SETEX").arg(key).arg(ttl_s).arg(value);
    }
    let () = commands.query(conn)?;
    Ok(keys.map(|(key, _, _)| key).to_vec())
}

#[test]
fn the_remains_of_real_coordinators_go_and_those_of_a_moment_ago_stay() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    for n in 0..20 {
        remains(&mut conn, &format!("dead-{n}"), 700 + n)?;
    }
    let mut stays = BTreeSet::new();
    for n in 0..20 {
        stays.extend(remains(&mut conn, &format!("young-{n}"), 100 + n)?);
    }
    // Its heartbeat is there: no orphans, however old the rest is.
    stays.extend(remains(&mut conn, "alive", 9_000)?);
    let now = server_now_ms(&mut conn)?;
    write(&mut conn, [("blocking:heartbeat:alive", now.to_string())])?;
    stays.insert("blocking:heartbeat:alive".to_owned());

    let before = digest(&mut conn)?;
    let without = cleanup(&mut conn, &[])?;
    ensure!(without.int("keys_orphaned")? == 200, "{without:?}");
    ensure!(without.get("orphans_too_young").is_none(), "{without:?}");
    let dry = cleanup(&mut conn, &["ORPHANS", "DRYRUN"])?;
    ensure!(
        digest(&mut conn)? == before,
        "the dry run changed something"
    );
    let real = cleanup(&mut conn, &["ORPHANS"])?;
    for reply in [&dry, &real] {
        ensure!(counts(reply)? == [200, 100, 100], "{reply:?}");
        ensure!(reply.int("keys_removed")? == 100, "{reply:?}");
        ensure!(reply.int("orphan_grace_s")? == 600, "{reply:?}");
        let by_family = reply.map("keys_by_family")?;
        for family in ["signal", "ack", "idempotency", "activity", "state"] {
            ensure!(by_family.int(family)? == 20, "{family}: {reply:?}");
        }
    }
    ensure!(keys(&mut conn)? == stays);
    let status = command(&mut conn, "BLOCKING.STATUS", &[])?;
    ensure!(status.map("totals")?.int("orphans_removed")? == 100);
    for (field, count) in [
        ("blocking_last_keys_orphaned", "200"),
        ("blocking_last_orphans_too_young", "100"),
        ("blocking_last_orphans_removed", "100"),
        ("blocking_total_orphans_removed", "100"),
    ] {
        ensure!(
            info_field(&mut conn, "blocking", field)? == count,
            "{field}"
        );
    }
    let line = "complete; coordinators removed 0, keys removed 100 (100 orphans), revived 0";
    ensure!(server.log().contains(line), "{}", server.log());
    Ok(())
}

#[test]
fn replica_and_file_are_told_of_every_removal() -> Result<()> {
    let server = Server::builder().aof(true).start()?;
    let replica = Server::builder().replica_of(&server).start()?;
    let mut conn = server.client()?;
    for n in 0..300 {
        remains(&mut conn, &format!("dead-{n}"), 700)?;
    }
    remains(&mut conn, "young", 10)?;
    let reply = cleanup(&mut conn, &["ORPHANS"])?;
    ensure!(counts(&reply)? == [1_505, 5, 1_500], "{reply:?}");
    replica.wait_in_sync_with(&server)?;
    let left = digest(&mut conn)?;
    ensure!(digest(&mut replica.client()?)? == left);
    ensure!(
        error_text(&cleanup(&mut replica.client()?, &["ORPHANS"]).unwrap_err())
            .starts_with("READONLY")
    );
    let mut unlinked = 0;
    for command in AofCommands::of(&server)? {
        let command = command?;
        let is = |name: &str| command[0].eq_ignore_ascii_case(name.as_bytes());
        ensure!(!is("DEL") && !is("PEXPIREAT"), "{command:?}");
        unlinked += if is("UNLINK") { command.len() - 1 } else { 0 };
    }
    ensure!(
        unlinked == 1_500,
        "{unlinked} keys are unlinked in the file"
    );
    server.restart()?;
    ensure!(digest(&mut server.client()?)? == left, "after a restart");
    Ok(())
}

#[test]
fn what_the_caller_may_not_delete_stays_and_is_counted() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    remains(&mut conn, "dead", 700)?;
    let rules = [
        "SETUSER",
        "janitor",
        "on",
        "nopass",
        "~blocking:*",
        "+blocking.cleanup",
    ];
    let () = cmd("ACL").arg(&rules).query(&mut conn)?;
    let mut janitor = server.client()?;
    let () = cmd("AUTH").arg(&["janitor", ""]).query(&mut janitor)?;
    for options in [&["ORPHANS", "DRYRUN"][..], &["ORPHANS"]] {
        let reply = cleanup(&mut janitor, options)?;
        ensure!(counts(&reply)? == [5, 0, 3], "{reply:?}");
        ensure!(reply.int("keys_denied")? == 2, "{reply:?}");
        ensure!(reply.text("status")? == "partial", "{reply:?}");
    }
    let left = ["coordinator:activity:dead", "swarm:s-dead:blocking:dead"];
    ensure!(keys(&mut conn)? == left.map(str::to_owned).into());
    Ok(())
}

#[test]
fn a_run_that_could_not_keep_all_keys_removes_no_orphans() -> Result<()> {
    let server = Server::builder()
        .arg("blocking.collect-max-bytes", 65_536)
        .start()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    let old = format!(r#"{{"timestamp":{}}}"#, now - 700_000);
    let why = "orphans stay while blocking.collect-max-bytes is too small; raise it";
    // What they take beside their names is too much; then the names alone are.
    for count in [500, 5_000] {
        let pairs = (0..count).map(|n| (format!("blocking:signal:dead-{n}"), &old));
        write(&mut conn, pairs)?;
        write(&mut conn, [("blocking:heartbeat:h", &old)])?;
        let reply = cleanup(&mut conn, &["ORPHANS"])?;
        ensure!(reply.text("status")? == "truncated", "{reply:?}");
        ensure!(reply.text("reason")? == why, "{reply:?}");
        ensure!(reply.int("orphans_removed")? == 0, "{reply:?}");
        let left = cmd("EXISTS")
            .arg("blocking:heartbeat:h")
            .query::<i64>(&mut conn)?;
        ensure!(dbsize(&mut conn)? == count + left);
    }
    let () = cmd("CONFIG")
        .arg(&["SET", "blocking.collect-max-bytes", "64mb"])
        .query(&mut conn)?;
    let reply = cleanup(&mut conn, &["ORPHANS"])?;
    ensure!(reply.int("orphans_removed")? == 5_000, "{reply:?}");
    ensure!(dbsize(&mut conn)? == 0);
    Ok(())
}

#[test]
fn huge_values_and_odd_types_stall_no_client() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    let huge = |name: &str, conn: &mut Connection| -> Result<()> {
        let head = format!(r#"{{"timestamp":{}}}"#, now - 700_000);
        let () = cmd("SET").arg(name).arg(head).query(conn)?;
        Ok(cmd("SETRANGE")
            .arg(name)
            .arg(64 << 20)
            .arg(" ")
            .query(conn)?)
    };
    huge("blocking:signal:huge", &mut conn)?;
    let named = format!(
        "blocking:idempotency:huge-2:b:completion:1:{}",
        now - 700_000
    );
    huge(&named, &mut conn)?;
    let mut commands = pipe();
    commands
        .cmd("XADD")
        .arg("blocking:signal:stream")
        .arg(&["*", "timestamp", "1"]);
    commands
        .cmd("SADD")
        .arg("blocking:ack:set")
        .arg(now - 700_000);
    commands
        .cmd("SET")
        .arg("blocking:signal:number")
        .arg((now - 700_000) / 1_000);
    commands.cmd("SET").arg("blocking:signal:empty").arg("");
    commands
        .cmd("SET")
        .arg(b"blocking:signal:\xff\x00*:\xfe")
        .arg(now - 700_000);
    commands.exec(&mut conn)?;
    // A busy machine makes a slice look long, but not always.
    let slices_us =
        (0..5).map(|_| cleanup(&mut conn, &["ORPHANS", "DRYRUN"])?.int("longest_slice_us"));
    let slices_us: Vec<i64> = slices_us.collect::<Result<_>>()?;
    ensure!(slices_us.iter().any(|us| *us < 10_000), "{slices_us:?}");
    let reply = cleanup(&mut conn, &["ORPHANS"])?;
    // Only the number and the bytes say how old they are; what is too long to be read may say otherwise.
    ensure!(counts(&reply)? == [7, 5, 2], "{reply:?}");
    ensure!(cmd("EXISTS").arg(&named).query::<i64>(&mut conn)? == 1);
    Ok(())
}

#[test]
fn many_orphans_are_removed_in_many_slices() -> Result<()> {
    const IDS: i64 = 20_000;
    let server = Server::start()?;
    let mut conn = server.client()?;
    let ms = server_now_ms(&mut conn)? - 700_000;
    let value = format!(r#"{{"timestamp":{ms}}}"#);
    let keys = (0..IDS).flat_map(|n| {
        [
            format!("blocking:signal:dead-{n}"),
            format!(
                "blocking:idempotency:dead-{n}:dead-{}:completion:1:{ms}",
                n + 1
            ),
            format!("blocking:ack:dead-{n}:s1"),
            format!("coordinator:activity:dead-{n}"),
        ]
    });
    write(&mut conn, keys.map(|key| (key, &value)))?;
    let reply = cleanup(&mut conn, &["ORPHANS"])?;
    ensure!(counts(&reply)? == [4 * IDS, 0, 4 * IDS], "{reply:?}");
    ensure!(dbsize(&mut conn)? == 0);
    // Cut into pieces; how long they are is no business of a test on a busy machine.
    ensure!(reply.int("slices")? > 4 * IDS / 500, "{reply:?}");
    Ok(())
}

#[test]
fn a_cancel_while_values_are_read_removes_nothing() -> Result<()> {
    let server = Server::builder().arg("blocking.slice-us", 50).start()?;
    let mut conn = server.client()?;
    let ms = server_now_ms(&mut conn)? - 700_000;
    let pairs = (0..100_000).map(|n| (format!("blocking:signal:dead-{n}"), ms.to_string()));
    write(&mut conn, pairs)?;
    for _ in 0..20 {
        cleanup_async(&mut conn, &["ORPHANS"])?;
        let status = || Ok(command(&mut conn, "BLOCKING.STATUS", &[])?);
        let weighs = |status: &Reply| {
            let state = status.text("state");
            state.is_ok_and(|state| state == "weighing" || state == "idle")
        };
        let seen = wait_for_value("the reading of values", DEADLINE, status, weighs)?;
        if seen.text("state")? == "idle" {
            continue;
        }
        let current = seen.map("current")?;
        ensure!(current.int("orphan_grace_s")? == 600, "{seen:?}");
        ensure!(current.int("keys_orphaned")? == 100_000, "{seen:?}");
        let () = cmd("BLOCKING.CANCEL").query(&mut conn)?;
        let last = last_run(&mut conn)?;
        ensure!(last.text("status")? == "cancelled", "{last:?}");
        ensure!(last.int("keys_removed")? == 0, "{last:?}");
        ensure!(dbsize(&mut conn)? == 100_000);
        let whole = cleanup(&mut conn, &["ORPHANS"])?;
        ensure!(whole.int("orphans_removed")? == 100_000, "{whole:?}");
        return Ok(());
    }
    anyhow::bail!("{}: never in the middle", blocking_harness::TOO_LATE)
}

fn node() -> Result<(Server, Connection)> {
    let server = Server::builder().arg("cluster-enabled", "yes").start()?;
    let conn = server.client()?;
    Ok((server, conn))
}

fn wait_for_cluster(conn: &mut Connection, words: &str) -> Result<()> {
    let info = || Ok(cmd("CLUSTER").arg("INFO").query::<String>(conn)?);
    let has_them = |info: &String| words.split(' ').all(|word| info.contains(word));
    wait_for_value("the cluster", DEADLINE, info, has_them).map(drop)
}

#[test]
fn a_node_with_all_slots_removes_orphans_and_one_of_several_leaves_them() -> Result<()> {
    let (first, mut conn) = node()?;
    let (second, mut there) = node()?;
    let () = cmd("CLUSTER")
        .arg(&["ADDSLOTSRANGE", "0", "16383"])
        .query(&mut conn)?;
    wait_for_cluster(&mut conn, "cluster_state:ok cluster_size:1")?;
    remains(&mut conn, "dead", 700)?;
    let reply = cleanup(&mut conn, &["ORPHANS"])?;
    ensure!(counts(&reply)? == [5, 0, 5], "{reply:?}");

    let () = cmd("CLUSTER")
        .arg(&["DELSLOTSRANGE", "0", "99"])
        .query(&mut conn)?;
    let () = cmd("CLUSTER")
        .arg(&["SET-CONFIG-EPOCH", "2"])
        .query(&mut there)?;
    let () = cmd("CLUSTER")
        .arg(&["ADDSLOTSRANGE", "0", "99"])
        .query(&mut there)?;
    let port = second.port().to_string();
    let () = cmd("CLUSTER")
        .arg(&["MEET", "127.0.0.1", &port])
        .query(&mut conn)?;
    for node in [&mut conn, &mut there] {
        wait_for_cluster(node, "cluster_state:ok cluster_size:2")?;
        cleanup(node, &[])?;
    }
    // In the slots that stayed.
    let key = "blocking:signal:dead";
    let () = cmd("SET").arg(key).arg("1").query(&mut conn)?;
    let reply = cleanup(&mut conn, &["ORPHANS"])?;
    ensure!(counts(&reply)? == [0, 0, 0], "{reply:?}");
    ensure!(reply.int("keys_elsewhere")? == 1, "{reply:?}");
    ensure!(reply.text("status")? == "partial", "{reply:?}");
    ensure!(first.is_alive() && second.is_alive());
    Ok(())
}
