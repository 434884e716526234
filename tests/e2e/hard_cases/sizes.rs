//! Many coordinators, long and odd ids, large and deep values, many keys whose TTL has passed.
//! Correctness only: what it costs is measured elsewhere.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use blocking_harness::redis::{Connection, cmd};
use blocking_harness::{
    Fleet, Server, cleanup, dbsize, differing_keys, info_field, load_foreign, server_now_ms,
    wait_for_value, walk_removes_expired,
};

use super::{COORDINATORS, KEYS, beat, counts, write};

type Key = Vec<u8>;

fn keys(conn: &mut Connection) -> Result<BTreeSet<Key>> {
    Ok(cmd("KEYS").arg("*").query(conn)?)
}

/// Numbers at which other cleanups broke: just over a stack, a buffer, a page.
#[test]
fn case_12_every_number_of_coordinators_is_removed_whole() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    for count in [1_299, 1_300, 7_999, 8_000] {
        let () = cmd("FLUSHALL").query(&mut conn)?;
        let now = server_now_ms(&mut conn)?;
        let dead = Fleet::numbered("dead", count, now).ages_s(700..9_000);
        let live = Fleet::numbered("live", 50, now).ages_s(0..300);
        dead.load(&mut conn, |_| {})?;
        live.load(&mut conn, |_| {})?;
        load_foreign(&mut conn, 1_000, |_| {})?;
        let reply = cleanup(&mut conn, &["IDS", "10000"])?;
        let n = count as i64;
        assert_eq!(reply.text("status")?, "complete");
        assert_eq!(counts(&reply, COORDINATORS)?, [n + 50, n, 0, n]);
        assert_eq!(counts(&reply, KEYS)?, [n * 6, 0, 0]);
        assert_eq!(reply.list("stale_ids")?.len(), count);
        assert_eq!(differing_keys(&mut conn, live.pairs())?, Vec::<Key>::new());
        assert_eq!(dbsize(&mut conn)?, 50 * 6 + 1_000);
    }
    Ok(())
}

#[test]
fn case_12_100_000_coordinators_are_removed_whole() -> Result<()> {
    const DEAD: i64 = 100_000;
    let server = Server::start()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    let value = beat(now, 700_000);
    let family = |n| {
        [
            format!("blocking:heartbeat:dead-{n}"),
            format!("blocking:ack:dead-{n}:s1"),
        ]
    };
    let pairs = (0..DEAD).flat_map(|n| family(n).map(|key| (key, &value)));
    write(&mut conn, pairs)?;
    let live = Fleet::numbered("live", 50, now);
    live.load(&mut conn, |_| {})?;
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(reply.text("status")?, "complete");
    assert_eq!(counts(&reply, COORDINATORS)?, [DEAD + 50, DEAD, 0, DEAD]);
    assert_eq!(counts(&reply, KEYS)?, [DEAD * 2, 0, 0]);
    assert_eq!(reply.list("stale_ids")?.len(), 100);
    assert_eq!(differing_keys(&mut conn, live.pairs())?, Vec::<Key>::new());
    assert_eq!(dbsize(&mut conn)?, 50 * 6);
    Ok(())
}

/// All keys of an id, which is bytes.
fn family(id: &[u8]) -> Vec<Key> {
    let around = |before: &str, after: &str| [before.as_bytes(), id, after.as_bytes()].concat();
    vec![
        around("blocking:heartbeat:", ""),
        around("blocking:signal:", ""),
        around("blocking:ack:", ":s1"),
        around("blocking:idempotency:x:", ":completion:1:9"),
        around("coordinator:activity:", ""),
        around("swarm:s:agent:", ":activity"),
        around("swarm:s:blocking:", ""),
    ]
}

/// Loads the families of these ids; the ages are those of the heartbeats, in seconds.
fn load(conn: &mut Connection, ids: &[(&[u8], i64)]) -> Result<()> {
    let now = server_now_ms(conn)?;
    for (id, age_s) in ids {
        let value = beat(now, age_s * 1_000);
        write(conn, family(id).into_iter().map(|key| (key, &value)))?;
    }
    Ok(())
}

#[test]
fn ids_of_64_kib_are_ids_like_others() -> Result<()> {
    const LENGTH: usize = 65_536;
    let server = Server::start()?;
    let mut conn = server.client()?;
    let dead = vec![b'x'; LENGTH];
    let live = vec![b'x'; LENGTH - 1];
    load(&mut conn, &[(&dead, 900), (&live, 5)])?;
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(reply.text("status")?, "complete");
    assert_eq!(counts(&reply, COORDINATORS)?, [2, 1, 0, 1]);
    assert_eq!(counts(&reply, KEYS)?, [7, 0, 0]);
    assert_eq!(reply.list("stale_ids")?, [dead]);
    let expected: BTreeSet<Key> = family(&live).into_iter().collect();
    assert_eq!(keys(&mut conn)?, expected);
    Ok(())
}

/// They have as many segments as fit, so that an idempotency key has two thousand million readings.
#[test]
fn ids_over_the_bounds_cost_nothing_and_lose_nothing() -> Result<()> {
    const LENGTH: usize = 65_536;
    let server = Server::start()?;
    let mut conn = server.client()?;
    let colons = b"a:".repeat(LENGTH / 2 - 1);
    let all_colons = vec![b':'; LENGTH];
    load(
        &mut conn,
        &[(&colons, 800), (&all_colons, 700), (b"b", 700)],
    )?;
    let before = dbsize(&mut conn)?;
    let reply = cleanup(&mut conn, &[])?;
    // Such a heartbeat is never judged dead, and protects what could be its own.
    assert_eq!(reply.text("status")?, "complete");
    assert_eq!(counts(&reply, COORDINATORS)?, [3, 1, 2, 1]);
    assert_eq!(counts(&reply, ["keys_removed"])?, [7]);
    assert_eq!(dbsize(&mut conn)?, before - 7);
    Ok(())
}

/// However many swarms one id is dead in, and however many keys all of them could own.
#[test]
fn an_id_dead_in_thousands_of_swarms_leaves_nothing() -> Result<()> {
    const SWARMS: i64 = 3_000;
    let server = Server::start()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    let heartbeats = (0..SWARMS).map(|n| {
        let name = format!("swarm:s{n}:blocking:heartbeat:main");
        (name, beat(now, 700_000 + n))
    });
    write(&mut conn, heartbeats)?;
    let one = "1".to_owned();
    let keys = (0..200).map(|n| (format!("blocking:ack:main:{n}"), &one));
    write(
        &mut conn,
        keys.chain([("blocking:signal:main".to_owned(), &one)]),
    )?;
    let dry = cleanup(&mut conn, &["DRYRUN"])?;
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(counts(&dry, KEYS)?, counts(&reply, KEYS)?);
    let info: String = cmd("INFO").arg("server").query(&mut conn)?;
    if info.contains("valkey_version:8.1.") {
        // The server does not tell of new keys there, so all of them would have to be read again in one slice.
        assert_eq!(reply.text("status")?, "partial");
        assert_eq!(reply.int("keys_over_bound")?, 201);
        assert_eq!(dbsize(&mut conn)?, SWARMS + 201);
        let again = cleanup(&mut conn, &[])?;
        assert_eq!(again.int("keys_over_bound")?, 201);
        return Ok(());
    }
    assert_eq!(reply.text("status")?, "complete");
    assert_eq!(counts(&reply, COORDINATORS)?, [SWARMS, SWARMS, 0, SWARMS]);
    assert_eq!(counts(&reply, KEYS)?, [SWARMS + 201, 0, 0]);
    assert_eq!(dbsize(&mut conn)?, 0);
    Ok(())
}

/// Every number of segments occurs among the ids, so that every reading of a long key must be tried.
#[test]
fn ids_of_every_number_of_segments_do_not_stop_the_server() -> Result<()> {
    const SEGMENTS: usize = 300;
    let server = Server::start()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    let id = |segments: usize| vec!["s"; segments].join(":");
    let heartbeats = (1..=SEGMENTS).map(|n| {
        (
            format!("blocking:heartbeat:{}", id(n)),
            beat(now, 700_000 + n as i64),
        )
    });
    write(&mut conn, heartbeats)?;
    let one = "1".to_owned();
    let keys = (1..=SEGMENTS).map(|n| (format!("blocking:idempotency:{}", id(n)), &one));
    write(&mut conn, keys)?;
    let reply = cleanup(&mut conn, &[])?;
    // Names of more than 64 segments are never taken apart: such keys stay, with the heartbeats of those that could
    // own them, and such heartbeats are never judged dead.
    assert_eq!(reply.text("status")?, "partial");
    let n = SEGMENTS as i64;
    let held = reply.int("keys_over_bound")?;
    assert_eq!(counts(&reply, COORDINATORS)?, [n, 62, n - 62, 0]);
    assert_eq!(counts(&reply, KEYS)?, [n - held, 0, 0]);
    // Where the server does not tell of new keys, neither do those go that can be read in too many ways to look all
    // owners up.
    assert!([n - 62, n - 22].contains(&held), "{held} held");
    assert_eq!(dbsize(&mut conn)?, n + held);
    Ok(())
}

#[test]
fn ids_with_nul_and_bytes_that_are_no_text_are_ids_like_others() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let dead = b"n\0\xff\\\n".as_slice();
    let live: [&[u8]; 4] = [b"n", b"n\0", b"n\0\xff", b"\xff"];
    let mut ids = vec![(dead, 700)];
    ids.extend(live.map(|id| (id, 5)));
    load(&mut conn, &ids)?;
    let json: String = cmd("BLOCKING.CLEANUP")
        .arg(&["DRYRUN", "JSON"])
        .query(&mut conn)?;
    let json: serde_json::Value = serde_json::from_str(&json).context(json)?;
    let shown = serde_json::json!(["n\0\\xff\\\\\n"]);
    assert_eq!(json["staleCoordinatorIds"], shown);
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(reply.list("stale_ids")?, [dead]);
    assert_eq!(counts(&reply, COORDINATORS)?, [5, 1, 0, 1]);
    assert_eq!(counts(&reply, KEYS)?, [7, 0, 0]);
    let expected: BTreeSet<Key> = live.iter().flat_map(|id| family(id)).collect();
    assert_eq!(keys(&mut conn)?, expected);
    Ok(())
}

#[test]
fn a_heartbeat_of_64_mib_is_unreadable_and_stops_no_client() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    let mut huge = beat(now, 700_000).into_bytes();
    huge.resize(64 << 20, b' ');
    let one = b"1".to_vec();
    write(
        &mut conn,
        [
            ("blocking:heartbeat:huge", &huge),
            ("blocking:signal:huge", &one),
            ("blocking:heartbeat:a", &beat(now, 700_000).into_bytes()),
            ("blocking:idempotency:a:huge:x", &one),
        ],
    )?;
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(counts(&reply, COORDINATORS)?, [2, 1, 1, 1]);
    assert_eq!(counts(&reply, KEYS)?, [1, 1, 0]);
    let length: i64 = cmd("STRLEN")
        .arg("blocking:heartbeat:huge")
        .query(&mut conn)?;
    assert_eq!(length, 64 << 20);
    assert_eq!(dbsize(&mut conn)?, 3);
    Ok(())
}

#[test]
fn a_heartbeat_of_100_000_nested_brackets_is_unreadable_and_stops_no_client() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    let deep = |open: &str, close: &str| open.repeat(100_000) + "1" + &close.repeat(100_000);
    let behind = format!(r#"{{"timestamp":{},"x":"#, now - 700_000);
    write(
        &mut conn,
        [
            ("blocking:heartbeat:arrays", deep("[", "]")),
            ("blocking:heartbeat:objects", deep(r#"{"x":"#, "}")),
            ("blocking:heartbeat:open", "[".repeat(100_000)),
            ("blocking:heartbeat:behind", behind + &deep("[", "]") + "}"),
            ("blocking:heartbeat:a", beat(now, 700_000)),
        ],
    )?;
    // By default they are too large to be looked at; the second time they are looked at.
    for (limit, stale) in [(None, 1), (Some("2mb"), 0)] {
        if let Some(limit) = limit {
            let () = cmd("CONFIG")
                .arg(&["SET", "blocking.max-heartbeat-bytes", limit])
                .query(&mut conn)?;
        }
        let reply = cleanup(&mut conn, &[])?;
        assert_eq!(counts(&reply, COORDINATORS)?, [4 + stale, stale, 4, stale]);
        assert_eq!(dbsize(&mut conn)?, 4);
    }
    Ok(())
}

/// Active expiry is off, so all of them are still stored when the run comes by.
#[test]
fn a_hundred_thousand_keys_whose_ttl_has_passed_do_not_exist() -> Result<()> {
    const EXPIRED: i64 = 100_000;
    let server = Server::start()?;
    let mut conn = server.client()?;
    let () = cmd("DEBUG")
        .arg(&["SET-ACTIVE-EXPIRE", "0"])
        .query(&mut conn)?;
    let now = server_now_ms(&mut conn)?;
    let mut keys = (0..EXPIRED / 2).flat_map(|n| {
        [
            format!("blocking:heartbeat:e-{n}"),
            format!("blocking:signal:e-{n}"),
        ]
    });
    // Half of them would protect, half of them would die.
    let values = [beat(now, 0), beat(now, 700_000)];
    for value in values {
        let mut pipe = blocking_harness::redis::pipe();
        for key in keys.by_ref().take(EXPIRED as usize / 2) {
            pipe.cmd("SET")
                .arg(key)
                .arg(&value)
                .arg("PX")
                .arg(1)
                .ignore();
        }
        let () = pipe.query(&mut conn)?;
    }
    write(
        &mut conn,
        [
            ("blocking:heartbeat:a", &beat(now, 700_000)),
            ("blocking:ack:a:1", &"1".to_owned()),
            ("blocking:idempotency:a:e-1:x", &"1".to_owned()),
            ("blocking:ack:e-1:1", &"1".to_owned()),
        ],
    )?;
    let loaded_ms = server_now_ms(&mut conn)?;
    wait_for_value(
        "TTLs to pass",
        Duration::from_secs(5),
        || Ok(server_now_ms(&mut conn)?),
        |ms| *ms > loaded_ms + 1,
    )?;
    assert_eq!(dbsize(&mut conn)?, EXPIRED + 4);
    let dry = cleanup(&mut conn, &["DRYRUN"])?;
    assert_eq!(dbsize(&mut conn)?, EXPIRED + 4);
    assert_eq!(info_field(&mut conn, "stats", "expired_keys")?, "0");
    let real = cleanup(&mut conn, &[])?;
    let removed: i64 = info_field(&mut conn, "stats", "expired_keys")?.parse()?;
    // Those orphans go that are looked for, so that they are not counted; and a walk by SCAN removes a few pages before
    // it leaves the rest to the server.
    let pages = if walk_removes_expired(&mut conn) {
        1_000
    } else {
        0
    };
    let about = |count: i64, expected: i64| (count - expected).abs() <= pages;
    assert!(about(removed, EXPIRED / 2), "{removed}");
    assert_eq!(dry.int("keys_scanned")?, EXPIRED + 4);
    for reply in [dry, real] {
        assert!(about(reply.int("keys_scanned")?, EXPIRED + 4), "{reply:?}");
        assert_eq!(counts(&reply, COORDINATORS)?, [1, 1, 0, 1]);
        assert_eq!(counts(&reply, KEYS)?, [3, 0, 1]);
    }
    assert_eq!(super::keys(&mut conn)?, super::set(&["blocking:ack:e-1:1"]));
    Ok(())
}

/// Where the server would free a large value on the spot, a run must not be what makes it do so.
#[test]
fn expired_keys_are_left_alone_where_they_are_not_freed_in_the_background() -> Result<()> {
    let server = Server::builder()
        .arg("lazyfree-lazy-expire", "no")
        .start()?;
    let mut conn = server.client()?;
    let off = ["SET-ACTIVE-EXPIRE", "0"];
    let () = cmd("DEBUG").arg(&off).query(&mut conn)?;
    let () = cmd("SADD").arg("large").arg(&[1, 2, 3]).query(&mut conn)?;
    let () = cmd("PEXPIRE").arg("large").arg(1).query(&mut conn)?;
    std::thread::sleep(Duration::from_millis(5));
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(reply.int("keys_scanned")?, 1);
    assert_eq!(info_field(&mut conn, "stats", "expired_keys")?, "0");
    assert_eq!(dbsize(&mut conn)?, 1);
    // Nor of the dead, nor orphans, nor between the dead and the living. A string is as quickly freed either way.
    let now = server_now_ms(&mut conn)?;
    write(
        &mut conn,
        [
            ("blocking:heartbeat:dead", beat(now, 700_000)),
            ("blocking:heartbeat:living", beat(now, 0)),
            ("blocking:signal:dead", "1".to_owned()),
            ("blocking:ack:dead:here", "1".to_owned()),
        ],
    )?;
    let large = [
        "blocking:ack:dead:large",
        "blocking:ack:nobody:large",
        "blocking:idempotency:dead:living:large",
    ];
    for key in large {
        let () = cmd("SADD").arg(key).arg(&[1, 2, 3]).query(&mut conn)?;
        let () = cmd("PEXPIRE").arg(key).arg(1).query(&mut conn)?;
    }
    let string = ["blocking:signal:dead", "1"];
    let () = cmd("PEXPIRE").arg(&string).query(&mut conn)?;
    std::thread::sleep(Duration::from_millis(5));
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(counts(&reply, COORDINATORS)?, [2, 1, 0, 1]);
    assert_eq!(counts(&reply, KEYS)?, [2, 0, 0]);
    assert_eq!(info_field(&mut conn, "stats", "expired_keys")?, "1");
    // Three large keys and the one before, and what the living own.
    assert_eq!(dbsize(&mut conn)?, 5);
    Ok(())
}

/// The walk may find many heartbeats at once; reading one of this size takes longer than a slice.
#[test]
fn large_heartbeats_are_read_one_at_a_time() -> Result<()> {
    const HEARTBEATS: i64 = 200;
    let server = Server::start()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    let padding = "[1],".repeat(15_000);
    let value = format!(r#"{{"padding":[{padding}1],"timestamp":{now}}}"#);
    for n in 0..HEARTBEATS {
        write(&mut conn, [(format!("blocking:heartbeat:c-{n}"), &value)])?;
    }
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(counts(&reply, COORDINATORS)?, [HEARTBEATS, 0, 0, 0]);
    let slices = reply.int("slices")?;
    assert!(slices > HEARTBEATS / 4, "{slices} slices for {HEARTBEATS}");
    Ok(())
}

/// Long names take long to copy and to hash: the clock is looked at by bytes, not only by keys.
#[test]
fn keys_with_long_names_are_removed_few_at_a_time() -> Result<()> {
    const ACKS: i64 = 200;
    let server = Server::builder().arg("blocking.slice-us", 50).start()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    let long = "s".repeat(200 * 1024);
    for n in 0..ACKS {
        write(&mut conn, [(format!("blocking:ack:a:{n}:{long}"), "1")])?;
    }
    write(&mut conn, [("blocking:heartbeat:a", beat(now, 700_000))])?;
    let walk = cleanup(&mut conn, &["DRYRUN"])?.int("slices")?;
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(counts(&reply, KEYS)?, [ACKS + 1, 0, 0]);
    assert_eq!(reply.int("coordinators_removed")?, 1);
    assert_eq!(dbsize(&mut conn)?, 0);
    // Without the limit the removal would be four batches of 64 keys.
    let removal = reply.int("slices")? - walk;
    assert!(removal > ACKS / 2, "{removal} slices to remove {ACKS} keys");
    Ok(())
}
