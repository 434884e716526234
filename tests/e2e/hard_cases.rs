//! Named hard cases: what other cleanups got wrong, each as a test on a server.
//!
//! Here are those that need a keyspace and a run. What happens in the middle of a run is in `mid_run`, heartbeats that
//! come into being then in `births`, what is large in `sizes`, values and ids made to harm in `hostile`, what replies
//! show in `replies`, what a dry run must leave alone in `dry_run`, what names may cost in `steps`.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use blocking_harness::redis::{Connection, cmd, pipe};
use blocking_harness::{Reply, Server, cleanup, command, dbsize, server_now_ms, wait_for_value};

/// Heartbeats that come into being while a run is on.
mod births;
/// Nothing that a dry run looks at changes.
mod dry_run;
/// Values, ids and keys made to harm.
mod hostile;
/// Coordinators that come, go and come back while a run is on.
pub(crate) mod mid_run;
/// What replies show of names.
mod replies;
/// Many, long, deep, large.
mod sizes;
/// What names and patterns cost the main thread.
mod steps;

/// A run of these tests takes a second at most; a busy machine may take longer.
const RUN_DEADLINE: Duration = Duration::from_secs(60);

/// A heartbeat's value as a documented writer stores it.
fn beat(now_ms: i64, age_ms: i64) -> String {
    format!(r#"{{"coordinatorId":"c","timestamp":{}}}"#, now_ms - age_ms)
}

/// Writes keys in batches that the server takes in one go.
pub(crate) fn write<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    conn: &mut Connection,
    pairs: impl IntoIterator<Item = (K, V)>,
) -> Result<()> {
    let mut pairs = pairs.into_iter().peekable();
    while pairs.peek().is_some() {
        let mut pipe = pipe();
        let set = pipe.cmd("MSET");
        for (key, value) in pairs.by_ref().take(1_000) {
            set.arg(key.as_ref()).arg(value.as_ref());
        }
        let () = pipe.query(conn)?;
    }
    Ok(())
}

fn keys(conn: &mut Connection) -> Result<BTreeSet<String>> {
    Ok(cmd("KEYS").arg("*").query(conn)?)
}

fn set(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

/// Waits until no run is on, and yields the last one.
pub(crate) fn last_run(conn: &mut Connection) -> Result<Reply> {
    let status = || Ok(command(conn, "BLOCKING.STATUS", &[])?);
    let is_idle = |status: &Reply| status.text("state").is_ok_and(|state| state == "idle");
    wait_for_value("the end of the run", RUN_DEADLINE, status, is_idle)?.map("last")
}

/// The counts of a reply, in the order of the names.
fn counts<const N: usize>(reply: &Reply, names: [&str; N]) -> Result<[i64; N]> {
    let mut counts = [0; N];
    for (count, name) in counts.iter_mut().zip(names) {
        *count = reply.int(name)?;
    }
    Ok(counts)
}

/// A server with nothing on it yet, and what its clock says.
struct TestServer {
    _server: Server,
    conn: Connection,
    now_ms: i64,
}

impl TestServer {
    fn new() -> Result<Self> {
        let server = Server::start()?;
        let mut conn = server.client()?;
        Ok(Self {
            now_ms: server_now_ms(&mut conn)?,
            _server: server,
            conn,
        })
    }

    /// One run over these keys; yields the reply and the keys that are left.
    fn run_over(&mut self, pairs: &[(&str, String)]) -> Result<(Reply, BTreeSet<String>)> {
        write(
            &mut self.conn,
            pairs.iter().map(|(key, value)| (key, value)),
        )?;
        let reply = cleanup(&mut self.conn, &[])?;
        assert_eq!(reply.text("status")?, "complete");
        Ok((reply, keys(&mut self.conn)?))
    }
}

const COORDINATORS: [&str; 4] = [
    "coordinators_checked",
    "coordinators_stale",
    "coordinators_unreadable",
    "coordinators_removed",
];
const KEYS: [&str; 3] = ["keys_removed", "keys_vetoed", "keys_orphaned"];

#[test]
fn case_1_substring_neighbours_keep_their_keys() -> Result<()> {
    let mut server = TestServer::new()?;
    let now = server.now_ms;
    let one = || "1".to_owned();
    let (reply, left) = server.run_over(&[
        ("blocking:heartbeat:c-1", beat(now, 700_000)),
        ("blocking:heartbeat:c-10", beat(now, 5_000)),
        ("blocking:ack:c-1:s1", one()),
        ("blocking:ack:c-10:s1", one()),
        ("blocking:idempotency:c-10:c-11:retry_request:1:123", one()),
        ("coordinator:activity:c-10", one()),
    ])?;
    assert_eq!(
        left,
        set(&[
            "blocking:heartbeat:c-10",
            "blocking:ack:c-10:s1",
            "blocking:idempotency:c-10:c-11:retry_request:1:123",
            "coordinator:activity:c-10",
        ])
    );
    assert_eq!(counts(&reply, COORDINATORS)?, [2, 1, 0, 1]);
    assert_eq!(counts(&reply, KEYS)?, [2, 0, 0]);
    assert_eq!(reply.texts("stale_ids")?, ["c-1"]);
    Ok(())
}

#[test]
fn case_2_the_real_writers_shape_is_judged_by_its_newest_field() -> Result<()> {
    let mut server = TestServer::new()?;
    let now = server.now_ms;
    let real = |ms: i64| {
        format!(r#"{{"coordinatorId":"r","lastHeartbeat":{ms},"sequence":3,"iteration":1}}"#)
    };
    let both = format!(
        r#"{{"coordinatorId":"r3","timestamp":{},"lastHeartbeat":{}}}"#,
        now - 700_000,
        now - 5_000
    );
    let signal = || r#"{"type":"completion"}"#.to_owned();
    let (reply, left) = server.run_over(&[
        ("blocking:heartbeat:r1", real(now - 700_000)),
        ("blocking:heartbeat:r2", real(now - 5_000)),
        ("blocking:heartbeat:r3", both),
        ("blocking:signal:r1", signal()),
        ("blocking:signal:r2", signal()),
        ("blocking:signal:r3", signal()),
    ])?;
    assert_eq!(
        left,
        set(&[
            "blocking:heartbeat:r2",
            "blocking:heartbeat:r3",
            "blocking:signal:r2",
            "blocking:signal:r3",
        ])
    );
    assert_eq!(counts(&reply, COORDINATORS)?, [3, 1, 0, 1]);
    assert_eq!(counts(&reply, KEYS)?, [2, 0, 0]);
    Ok(())
}

#[test]
fn case_3_command_a_families_without_a_heartbeat_are_counted_and_left_alone() -> Result<()> {
    let mut server = TestServer::new()?;
    let now = server.now_ms;
    let timestamp = |age_s: i64| format!(r#"{{"timestamp":{}}}"#, now - age_s * 1_000);
    let conn = &mut server.conn;
    let idempotency = format!("blocking:idempotency:x:o1:completion:1:{}", now - 6_400_000);
    write(
        conn,
        [
            ("blocking:signal:o1", timestamp(6_400)),
            ("blocking:ack:o1:s1", "1".to_owned()),
            (&idempotency, "1".to_owned()),
            ("blocking:signal:o2", timestamp(30)),
            ("blocking:signal:o3", timestamp(6_400)),
            (
                "coordinator:activity:o3",
                format!(r#"{{"lastActivity":{}}}"#, now - 20_000),
            ),
        ],
    )?;
    let () = cmd("EXPIRE")
        .arg("blocking:signal:o1")
        .arg(80_000)
        .query(conn)?;
    let before = keys(conn)?;
    let reply = cleanup(conn, &[])?;
    assert_eq!(keys(conn)?, before);
    assert_eq!(counts(&reply, COORDINATORS)?, [0, 0, 0, 0]);
    assert_eq!(counts(&reply, KEYS)?, [0, 0, 6]);
    assert_eq!(reply.int("orphans_removed")?, 0);
    Ok(())
}

#[test]
fn case_4_units_and_forms_never_kill_the_living() -> Result<()> {
    let mut server = TestServer::new()?;
    let now = server.now_ms;
    let field = |value: String| format!(r#"{{"timestamp":{value}}}"#);
    let s = now / 1_000;
    let mut pairs = vec![
        ("live-s", field(s.to_string())),
        ("live-ms", field(now.to_string())),
        ("live-us", field(format!("{now}000"))),
        ("live-ns", field(format!("{now}000000"))),
        ("live-text", field(format!("\"{now}\""))),
        ("live-float", field(format!("{}.5", s - 1))),
        // As printf's %g writes it: some 5,000 s older than it is, or younger.
        ("live-rounded", format!("{:.5e}", now as f64)),
        ("live-iso", field("\"2099-01-01T00:00:00Z\"".to_owned())),
        ("dead-s", field((s - 700).to_string())),
        ("dead-us", field(format!("{}000", now - 700_000))),
        ("dead-text", field(format!("\"{}\"", now - 700_000))),
        ("dead-exponent", field("1.70000000000e12".to_owned())),
        (
            "dead-iso",
            field("\"2023-11-14T22:13:20+02:00\"".to_owned()),
        ),
    ];
    let odd = [
        "-1",
        "0",
        "null",
        "true",
        "1e300",
        "1234567890123456789012345678901234567890",
    ];
    let odd_ids = ["odd-0", "odd-1", "odd-2", "odd-3", "odd-4", "odd-5"];
    pairs.extend(odd_ids.into_iter().zip(odd.map(|odd| field(odd.into()))));
    let conn = &mut server.conn;
    for (id, value) in &pairs {
        let heartbeat = format!("blocking:heartbeat:{id}");
        let signal = format!("blocking:signal:{id}");
        write(conn, [(heartbeat, value.as_str()), (signal, "1")])?;
    }
    let reply = cleanup(conn, &[])?;
    let kept = pairs.iter().filter(|(id, _)| !id.starts_with("dead"));
    let expected: BTreeSet<String> = kept
        .flat_map(|(id, _)| {
            [
                format!("blocking:heartbeat:{id}"),
                format!("blocking:signal:{id}"),
            ]
        })
        .collect();
    assert_eq!(keys(conn)?, expected);
    assert_eq!(counts(&reply, COORDINATORS)?, [19, 5, 6, 5]);
    assert_eq!(counts(&reply, KEYS)?, [10, 0, 0]);
    Ok(())
}

/// 600.9 s becomes 601 s within a tenth of a second; a busy machine may need another try.
#[test]
fn case_6_exactly_the_threshold_is_kept_and_a_clock_ahead_is_no_death() -> Result<()> {
    const YEARS_10_MS: i64 = 10 * 365 * 86_400_000;
    let ages_ms = [599_900, 600_000, 600_900, 601_000, -300_000, -YEARS_10_MS];
    let server = Server::start()?;
    let mut conn = server.client()?;
    for _ in 0..100 {
        let () = cmd("FLUSHALL").query(&mut conn)?;
        let now = server_now_ms(&mut conn)?;
        let pair = |age_ms: &i64| (format!("blocking:heartbeat:{age_ms}"), beat(now, *age_ms));
        write(&mut conn, ages_ms.iter().map(pair))?;
        let reply = cleanup(&mut conn, &["THRESHOLD", "600"])?;
        if server_now_ms(&mut conn)? - now > 90 {
            continue;
        }
        let gone = "blocking:heartbeat:601000".to_owned();
        let all: BTreeSet<String> = ages_ms.iter().map(|age| pair(age).0).collect();
        assert_eq!(keys(&mut conn)?, &all - &BTreeSet::from([gone]));
        assert_eq!(counts(&reply, COORDINATORS)?, [6, 1, 0, 1]);
        return Ok(());
    }
    bail!("the machine is too busy: a run over six keys never took less than 90 ms")
}

#[test]
fn case_8_a_longer_live_id_keeps_its_keys() -> Result<()> {
    let mut server = TestServer::new()?;
    let now = server.now_ms;
    let one = || "1".to_owned();
    let (reply, left) = server.run_over(&[
        ("blocking:heartbeat:a", beat(now, 700_000)),
        ("blocking:heartbeat:a:b", beat(now, 5_000)),
        ("blocking:ack:a:s1", one()),
        ("blocking:ack:a:b:s1", one()),
        ("blocking:idempotency:a:b:c:completion:1:9", one()),
    ])?;
    assert_eq!(
        left,
        set(&[
            "blocking:heartbeat:a:b",
            "blocking:ack:a:b:s1",
            "blocking:idempotency:a:b:c:completion:1:9",
        ])
    );
    assert_eq!(counts(&reply, COORDINATORS)?, [2, 1, 0, 1]);
    assert_eq!(counts(&reply, KEYS)?, [2, 2, 0]);
    Ok(())
}

#[test]
fn case_8_a_shorter_live_id_keeps_what_could_be_its_own() -> Result<()> {
    let mut server = TestServer::new()?;
    let now = server.now_ms;
    let one = || "1".to_owned();
    let (reply, left) = server.run_over(&[
        ("blocking:heartbeat:a", beat(now, 5_000)),
        ("blocking:heartbeat:a:b", beat(now, 700_000)),
        ("blocking:ack:a:s1", one()),
        ("blocking:ack:a:b:s1", one()),
        ("blocking:signal:a:b", one()),
    ])?;
    assert_eq!(
        left,
        set(&[
            "blocking:heartbeat:a",
            "blocking:ack:a:s1",
            "blocking:ack:a:b:s1",
        ])
    );
    assert_eq!(counts(&reply, COORDINATORS)?, [2, 1, 0, 1]);
    assert_eq!(counts(&reply, KEYS)?, [2, 1, 0]);
    Ok(())
}

/// Administrators rename commands away; a run must live with that, and say what it could not do.
#[test]
fn commands_renamed_away_do_not_stop_the_server() -> Result<()> {
    for (renamed, status) in [
        ("CONFIG", "complete"),
        ("GET", "complete"),
        ("SCAN", "complete"),
        ("UNLINK", "interrupted"),
    ] {
        let line = format!("{renamed} \"\"");
        let server = Server::builder().arg("rename-command", line).start()?;
        let mut conn = server.client()?;
        let now = server_now_ms(&mut conn)?;
        write(
            &mut conn,
            [
                ("blocking:heartbeat:a", beat(now, 700_000)),
                ("blocking:signal:a", "1".to_owned()),
            ],
        )?;
        let reply = cleanup(&mut conn, &[]).with_context(|| format!("without {renamed}"))?;
        assert_eq!(reply.text("status")?, status, "without {renamed}");
        let removed = if status == "complete" { 2 } else { 0 };
        assert_eq!(reply.int("keys_removed")?, removed, "without {renamed}");
        assert_eq!(dbsize(&mut conn)?, 2 - removed);
        assert!(server.is_alive(), "without {renamed}");
    }
    Ok(())
}
