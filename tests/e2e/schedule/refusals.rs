//! Writes are refused, so no coordinator can beat: the living get the time of a warm-up when writes are taken again,
//! and until then a run by hand removes nothing without NOWARMUP.

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{
    Cluster, Server, cleanup, cleanup_async, cluster_info, command, reply_map, wait_for_value,
};

use super::{DEADLINE, OLD_MS, eager, info, left, more_runs, schedule, set, write_pair};
use crate::environment::long_run::{
    Moment, Slow, World, assert_healthy, ended, ending, run, wait_until_idle,
};

const WARM_UP_S: u64 = 3_600;

/// What `CONFIG SET` makes a server refuse writes, what lets it take them again, and what it says.
const REFUSALS: [(&str, &str, &str, &str); 2] = [
    ("min-replicas-to-write", "1", "0", "NOREPLICAS"),
    ("maxmemory", "1", "0", "OOM"),
];

/// A server without a schedule, which knows that it takes writes.
fn patient() -> Result<(Server, Connection)> {
    let server = Server::builder()
        .arg("blocking.warm-up-seconds", WARM_UP_S)
        .start()?;
    let mut conn = server.client()?;
    // A run looks before it begins.
    cleanup(&mut conn, &["DRYRUN"])?;
    Ok((server, conn))
}

/// Why the server refuses writes, as it says itself.
fn refusal(conn: &mut Connection) -> Result<Option<String>> {
    Ok(schedule(conn)?.text("writes_refused").ok())
}

fn wait_for_refusal(conn: &mut Connection, code: &str) -> Result<()> {
    let refused = |why: &Option<String>| why.as_ref().is_some_and(|why| why.starts_with(code));
    wait_for_value("a refusal", DEADLINE, || refusal(conn), refused).map(drop)
}

fn wait_until_taken(conn: &mut Connection) -> Result<()> {
    wait_for_value("writes", DEADLINE, || refusal(conn), Option::is_none).map(drop)
}

/// The numbers in `WARMUP clients could not write for 4 s, so living coordinators may look dead; 600 s left; ...`.
fn kept_away(conn: &mut Connection, args: &[&str]) -> Result<(u64, u64)> {
    let error = cleanup(conn, args).expect_err("it must be refused");
    let text = format!(
        "{} {}",
        error.code().unwrap_or_default(),
        error.detail().unwrap_or_default()
    );
    let numbers = || {
        let rest = text.strip_prefix("WARMUP clients could not write for ")?;
        let (away_s, rest) = rest.split_once(" s, so living coordinators may look dead; ")?;
        let (left_s, rest) = rest.split_once(" s left; ")?;
        (rest == "add NOWARMUP to remove anyway").then_some(())?;
        Some((away_s.parse().ok()?, left_s.parse().ok()?))
    };
    numbers().with_context(|| text.clone())
}

/// What is over stays so, whatever becomes of the setting.
fn end_warm_up(conn: &mut Connection) -> Result<()> {
    set(conn, "warm-up-seconds", 0)?;
    cleanup(conn, &["DRYRUN"])?;
    set(conn, "warm-up-seconds", WARM_UP_S)
}

#[test]
fn a_warm_up_lasts_as_long_as_writes_are_refused_and_then_its_whole_length() -> Result<()> {
    let (server, mut conn) = patient()?;
    for (setting, refuses, accepts, code) in REFUSALS {
        write_pair(&mut conn, "dead", OLD_MS)?;
        let refused_from_us = uptime_us(&mut conn)?;
        run(&mut conn, &format!("CONFIG SET {setting} {refuses}"))?;
        wait_for_refusal(&mut conn, code)?;
        // Longer than the second between two looks, and for the whole of it.
        let mut longest_s = 0;
        while longest_s < 4 {
            let left_s = info(&mut conn, "warm_up_left_s")?;
            ensure!(left_s >= WARM_UP_S - 1, "{code}: {left_s} s left");
            longest_s = info(&mut conn, "writers_away_s")?;
        }
        if code == "OOM" {
            // The others are refused by the server itself.
            kept_away(&mut conn, &[])?;
            kept_away(&mut conn, &["ASYNC"])?;
        }
        run(&mut conn, &format!("CONFIG SET {setting} {accepts}"))?;
        wait_until_taken(&mut conn)?;
        let (away_s, left_s) = kept_away(&mut conn, &["ORPHANS"])?;
        let at_most_s = (uptime_us(&mut conn)? - refused_from_us) / 1_000_000 + 1;
        ensure!(
            (4..=at_most_s).contains(&away_s),
            "{code}: {away_s} of {at_most_s}"
        );
        ensure!((1..=WARM_UP_S).contains(&left_s), "{code}: {left_s}");
        ensure!(
            left(&mut conn, &["dead"])? == 2,
            "{code}: something is gone"
        );
        let tried = cleanup(&mut conn, &["DRYRUN"])?;
        ensure!(tried.int("keys_removed")? == 2, "{tried:?}");
        ensure!(tried.int("warm_up_left_s")? > 0, "{tried:?}");
        let done = cleanup(&mut conn, &["NOWARMUP"])?;
        ensure!(done.int("keys_removed")? == 2, "{done:?}");
        end_warm_up(&mut conn)?;
        cleanup(&mut conn, &[])?;
    }
    let log = server.log();
    let begun = log
        .matches("the server refuses writes, so a warm-up begins: ")
        .count();
    ensure!(begun == 2, "{log}");
    let probes: Vec<String> = redis::cmd("KEYS").arg("blocking:probe*").query(&mut conn)?;
    ensure!(probes.is_empty(), "{probes:?}");
    assert_healthy(&server)
}

/// By the server's own clock.
fn uptime_us(conn: &mut Connection) -> Result<u64> {
    let (seconds, us): (u64, u64) = redis::cmd("TIME").query(conn)?;
    Ok(seconds * 1_000_000 + us)
}

#[test]
fn explain_and_doctor_say_that_writers_were_kept_away() -> Result<()> {
    let (_server, mut conn) = patient()?;
    run(&mut conn, "CONFIG SET min-replicas-to-write 1")?;
    wait_for_refusal(&mut conn, "NOREPLICAS")?;
    run(&mut conn, "CONFIG SET min-replicas-to-write 0")?;
    wait_until_taken(&mut conn)?;
    let sentence = "so BLOCKING.CLEANUP removes nothing without NOWARMUP";
    let told: Vec<String> = redis::cmd("BLOCKING.DOCTOR").query(&mut conn)?;
    ensure!(told[0].contains(sentence), "not first: {told:#?}");
    let explained = command(&mut conn, "BLOCKING.EXPLAIN", &["a"])?;
    ensure!(format!("{explained:?}").contains(sentence), "{explained:?}");
    Ok(())
}

#[test]
fn a_run_under_way_ends_unless_it_removes_nothing_or_was_told_to_go_on() -> Result<()> {
    let (server, mut conn) = patient()?;
    let world = World::load(&mut conn)?;
    for (args, ends) in [
        (&[][..], true),
        (&["DRYRUN"], false),
        (&["NOWARMUP"], false),
    ] {
        let slow = Slow::start(&server)?;
        cleanup_async(&mut conn, args)?;
        slow.hold_at(&mut conn, Moment::Collecting)?;
        run(&mut conn, "CONFIG SET maxmemory 1")?;
        wait_for_refusal(&mut conn, "OOM")?;
        drop(slow);
        let last = wait_until_idle(&mut conn)?;
        let (status, reason) = ending(&last)?;
        if ends {
            ensure!(status == "interrupted", "{last:?}");
            ensure!(
                reason.is_some_and(|why| why.starts_with("OOM ")),
                "{last:?}"
            );
            ensure!(world.dead_keys_left(&mut conn)? == world.dead_keys());
        } else {
            ensure!(status == "complete", "{args:?}: {last:?}");
        }
        run(&mut conn, "CONFIG SET maxmemory 0")?;
        wait_until_taken(&mut conn)?;
        end_warm_up(&mut conn)?;
    }
    ensure!(world.dead_keys_left(&mut conn)? == 0);
    world.assert_others_are_whole(&mut conn)?;
    assert_healthy(&server)
}

/// A cache that evicts takes writes though its memory is full.
#[test]
fn a_full_memory_that_gives_way_is_no_refusal() -> Result<()> {
    let server = eager().arg("maxmemory-policy", "allkeys-random").start()?;
    let mut conn = server.client()?;
    more_runs(&mut conn, 1)?;
    for number in 0..2_000 {
        super::write(&mut conn, &format!("other-{number}"), "x".repeat(1_000))?;
    }
    let used: i64 = blocking_harness::info_field(&mut conn, "memory", "used_memory")?.parse()?;
    run(
        &mut conn,
        &format!("CONFIG SET maxmemory {}", used - 500_000),
    )?;
    for number in 0..2_000 {
        super::write(&mut conn, &format!("more-{number}"), "x".repeat(1_000))?;
        ensure!(refusal(&mut conn)?.is_none());
    }
    more_runs(&mut conn, 1)?;
    ensure!(info(&mut conn, "writers_away_s")? == 0);
    // Nor while the server is still over its limit: it evicts a few keys for each command, and takes all the same.
    run(&mut conn, "CONFIG SET maxmemory-eviction-tenacity 0")?;
    let limit = used - 1_500_000;
    let (_, _, status): (String, redis::Value, redis::Value) = redis::pipe()
        .cmd("CONFIG")
        .arg("SET")
        .arg("maxmemory")
        .arg(limit)
        // It tries a write before it begins.
        .cmd("BLOCKING.CLEANUP")
        .arg(&["DRYRUN", "ASYNC"])
        .cmd("BLOCKING.STATUS")
        .query(&mut conn)?;
    let status = reply_map(status)?;
    let why = status.map("schedule")?.text("writes_refused").ok();
    ensure!(why.is_none(), "{why:?}");
    wait_until_idle(&mut conn)?;
    ensure!(info(&mut conn, "writers_away_s")? == 0);
    assert_healthy(&server)
}

fn cluster() -> Result<Cluster> {
    let builder = Server::builder()
        .arg("cluster-node-timeout", 1_000)
        .arg("blocking.warm-up-seconds", WARM_UP_S);
    Cluster::start(&builder, 3)
}

/// The name is checked for its slot before anything else on some servers.
#[test]
fn every_node_of_a_cluster_notices_that_writes_are_refused() -> Result<()> {
    let cluster = cluster()?;
    for node in cluster.nodes() {
        let mut conn = node.client()?;
        // The cluster has just come up, and that is a start like any other.
        cleanup(&mut conn, &[])?;
        run(&mut conn, "CONFIG SET min-replicas-to-write 1")?;
        wait_for_refusal(&mut conn, "NOREPLICAS")?;
        run(&mut conn, "CONFIG SET min-replicas-to-write 0")?;
        wait_until_taken(&mut conn)?;
        kept_away(&mut conn, &[])?;
        assert_healthy(node)?;
    }
    Ok(())
}

#[test]
fn a_cluster_that_comes_back_is_not_judged_before_the_warm_up_is_over() -> Result<()> {
    let cluster = cluster()?;
    let [node, others @ ..] = cluster.nodes() else {
        anyhow::bail!("no nodes");
    };
    let mut conn = node.client()?;
    // Without it a node of several judges nothing.
    set(&mut conn, "cluster-tags", "ids")?;
    cleanup(&mut conn, &[])?;
    // Names that begin like this one are in a slot of the first node.
    let id = (0..).map(|n| format!("{{{n}}}lives"));
    let id = id.take(100).find(|id| {
        let owner = cluster.owner_of(&format!("blocking:signal:{id}"));
        owner.is_ok_and(|owner| owner.port() == node.port())
    });
    let id = id.context("no such name")?;
    write_pair(&mut conn, &id, OLD_MS)?;
    for other in others {
        other.freeze()?;
    }
    let wait_for_state = |conn: &mut Connection, state: &str| {
        let state = format!("cluster_state:{state}");
        let look = || cluster_info(conn);
        wait_for_value(&state, DEADLINE, look, |info| info.contains(&state)).map(drop)
    };
    wait_for_state(&mut conn, "fail")?;
    for args in [&[][..], &["NOWARMUP"]] {
        let refused = cleanup(&mut conn, args).expect_err("the cluster is down");
        ensure!(refused.code() == Some("CLUSTERDOWN"), "{refused}");
    }
    // Some servers send waiting clients away while the cluster is down.
    cleanup_async(&mut conn, &["DRYRUN"])?;
    let tried = wait_until_idle(&mut conn)?;
    ensure!(tried.int("keys_removed")? == 2, "{tried:?}");
    set(&mut conn, "interval-seconds", 1)?;
    for other in others {
        other.thaw()?;
    }
    wait_for_state(&mut conn, "ok")?;
    let (away_s, left_s) = kept_away(&mut conn, &[])?;
    ensure!(away_s >= 1 && left_s > WARM_UP_S - 60, "{away_s}, {left_s}");
    ensure!(left(&mut conn, &[&id])? == 2, "a living one is gone");
    // Only a run that is told to removes.
    let done = cleanup(&mut conn, &["NOWARMUP"])?;
    ensure!(done.int("keys_removed")? == 2, "{done:?}");
    cluster.wait_until_ok()?;
    // After a restart a run by hand works, and says how things are.
    node.restart()?;
    cluster.wait_until_ok()?;
    let mut conn = node.client()?;
    let reply = cleanup(&mut conn, &[])?;
    ensure!(reply.int("warm_up_left_s")? > 0, "{reply:?}");
    cluster.nodes().iter().try_for_each(assert_healthy)
}

#[test]
fn a_cluster_that_goes_down_ends_the_run_under_way() -> Result<()> {
    let cluster = cluster()?;
    let [node, others @ ..] = cluster.nodes() else {
        anyhow::bail!("no nodes");
    };
    let mut conn = node.client()?;
    cleanup(&mut conn, &[])?;
    // Of a held run these are half a minute's work, far more than it takes to notice.
    let tag = (0..100).find(|tag| {
        let key = format!("blocking:signal:{{{tag}}}");
        redis::cmd("SET").arg(key).arg("x").exec(&mut conn).is_ok()
    });
    let tag = tag.context("a slot of this node")?;
    let mut writes = redis::pipe();
    for number in 0..60_000 {
        let key = format!("blocking:signal:{{{tag}}}{number}");
        writes.cmd("SET").arg(key).arg("x").ignore();
    }
    writes.exec(&mut conn)?;
    let slow = Slow::start(node)?;
    cleanup_async(&mut conn, &[])?;
    slow.hold_at(&mut conn, Moment::Collecting)?;
    for other in others {
        other.freeze()?;
    }
    wait_for_refusal(&mut conn, "CLUSTERDOWN")?;
    drop(slow);
    let last = wait_until_idle(&mut conn)?;
    let expected = ended("interrupted", "CLUSTERDOWN The cluster is down");
    ensure!(ending(&last)? == expected, "{last:?}");
    for other in others {
        other.thaw()?;
    }
    assert_healthy(node)
}
