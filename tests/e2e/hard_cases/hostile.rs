//! Values and keys made to harm: every JSON type in every known field, bytes that are no text, millions of elements.
//!
//! What is removed and what is kept is exact. How long it takes is compared only with the same server doing the same
//! without care, for machines are noisy. Long, deep and large heartbeats and odd ids are in `sizes`.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use blocking_harness::redis::{Connection, Value, cmd};
use blocking_harness::{
    Ask, Figure, Probe, Reply, Server, cleanup, cleanup_async, command, dbsize, info_field,
    server_now_ms, tally, wait_for_value,
};

use super::{COORDINATORS, KEYS, RUN_DEADLINE, beat, counts, keys, last_run, set, write};

const FIELDS: [&str; 3] = ["timestamp", "lastHeartbeat", "last_heartbeat"];

/// JSON of every type that is no time; null and 0 are as good as absent and no doubt.
const NO_TIMES: [&str; 16] = [
    "true",
    "false",
    "-1",
    "-1700000000000",
    "999999999",
    "1e300",
    "0.5",
    r#""""#,
    r#""soon""#,
    r#""2023-11-14""#,
    r#""\u0000""#,
    "[]",
    "[1600000000000]",
    "{}",
    r#"{"timestamp":1600000000000}"#,
    r#""true""#,
];

/// Alone it proves nothing; beside an old time it is a doubt; beside a fresh one it does not matter.
#[test]
fn every_json_type_in_every_known_field_removes_no_living_coordinator() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    let (old, fresh) = (now - 700_000, now);
    let mut pairs = Vec::new();
    for (f, field) in FIELDS.iter().enumerate() {
        let other = FIELDS[(f + 1) % 3];
        for (n, json) in NO_TIMES.iter().enumerate() {
            let key = |kind: &str| format!("blocking:heartbeat:{field}-{n}-{kind}");
            pairs.push((key("alone"), format!(r#"{{"{field}":{json}}}"#)));
            for (kind, time) in [("doubt", old), ("live", fresh)] {
                let before = format!(r#"{{"{field}":{json},"{other}":{time}}}"#);
                let behind = format!(r#"{{"{other}":{time},"{field}":{json}}}"#);
                pairs.push((key(kind), before));
                pairs.push((key(&format!("{kind}-behind")), behind));
            }
        }
        // In an unknown field the same is harmless.
        for (n, json) in NO_TIMES.iter().enumerate() {
            let key = format!("blocking:heartbeat:{field}-{n}-dead");
            pairs.push((key, format!(r#"{{"x{field}":{json},"{field}":{old}}}"#)));
        }
    }
    write(&mut conn, pairs.iter().map(|(key, value)| (key, value)))?;
    let shapes = (FIELDS.len() * NO_TIMES.len()) as i64;
    let reply = cleanup(&mut conn, &[])?;
    let expected = [6 * shapes, shapes, 3 * shapes, shapes];
    assert_eq!(counts(&reply, COORDINATORS)?, expected);
    let kept = pairs.iter().map(|(key, _)| key.as_str());
    let kept: Vec<&str> = kept.filter(|key| !key.ends_with("-dead")).collect();
    assert_eq!(keys(&mut conn)?, set(&kept));
    tally(Figure::FaultsInjected, 5 * shapes as u64)
}

#[test]
fn bytes_that_are_no_text_and_no_json_remove_no_living_coordinator() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let old = server_now_ms(&mut conn)? - 700_000;
    let good = format!(r#"{{"timestamp":{old}}}"#);
    let around = |before: &[u8], after: &[u8]| [before, good.as_bytes(), after].concat();
    let field = format!(r#","timestamp":{old}}}"#);
    let string = |bytes: &[u8]| [b"{\"x\":\"", bytes, b"\"", field.as_bytes()].concat();
    let name = |bytes: &[u8]| [b"{\"", bytes, b"\":1", field.as_bytes()].concat();
    let values = [
        Vec::new(),
        b"\0".to_vec(),
        around(b"\0", b""),
        around(b"", b"\0"),
        around(b"", b"\n\0"),
        around(b"\xef\xbb\xbf", b""),
        around(b"\xff\xfe", b""),
        around(b"", b"{"),
        around(b"[", b"]"),
        // Not UTF-8: a lone byte, a cut sequence, an overlong slash, a surrogate, beyond the last character.
        string(b"\xff"),
        string(b"\xe2\x82"),
        string(b"\xc0\xaf"),
        string(b"\xed\xa0\x80"),
        string(b"\xf4\x90\x80\x80"),
        name(b"\xff"),
        // Not JSON: raw control characters, half a surrogate pair, no such escape.
        string(b"\0"),
        string(b"\n"),
        string(br"\ud800"),
        string(br"\ud800\u0041"),
        string(br"\x41"),
        // UTF-16, as one writer on another system may.
        good.encode_utf16().flat_map(u16::to_le_bytes).collect(),
    ];
    let keys_of = |n: usize| {
        [
            format!("blocking:heartbeat:h{n}"),
            format!("blocking:ack:h{n}:s"),
        ]
    };
    let pairs = values.iter().enumerate().flat_map(|(n, value)| {
        let [heartbeat, ack] = keys_of(n);
        // Its life would protect what a dead one would take.
        let shared = format!("blocking:idempotency:dead:h{n}");
        [
            (heartbeat, value.clone()),
            (ack, b"1".to_vec()),
            (shared, b"1".to_vec()),
        ]
    });
    write(&mut conn, pairs)?;
    write(&mut conn, [("blocking:heartbeat:dead", good.as_bytes())])?;
    let count = values.len() as i64;
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(counts(&reply, COORDINATORS)?, [count + 1, 1, count, 1]);
    assert_eq!(counts(&reply, KEYS)?, [1, count, 0]);
    assert_eq!(dbsize(&mut conn)?, 3 * count);
    tally(Figure::FaultsInjected, count as u64)
}

/// As long as the setting allows at most: it is read, and no client is cut off.
#[test]
fn a_heartbeat_of_16_mib_is_read_where_the_setting_allows_it() -> Result<()> {
    const LENGTH: usize = 16 << 20;
    let server = Server::builder()
        .arg("blocking.max-heartbeat-bytes", LENGTH)
        .start()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    for length in [LENGTH, LENGTH + 1] {
        // One string, and very many fields.
        let tail = format!(r#""timestamp":{}}}"#, now - 700_000);
        let text = "x".repeat(length - tail.len() - 8);
        let text = format!(r#"{{"x":"{text}",{tail}"#);
        let many = format!(
            "{{{}{tail}",
            r#""a":[],"#.repeat((length - tail.len() - 1) / 7)
        );
        let values = [text, many].map(|value| {
            let mut value = value.into_bytes();
            value.resize(length, b' ');
            value
        });
        write(
            &mut conn,
            [
                ("blocking:heartbeat:text", &values[0]),
                ("blocking:heartbeat:many", &values[1]),
            ],
        )?;
        let reply = cleanup(&mut conn, &[])?;
        let expected = if length == LENGTH {
            [2, 2, 0, 2]
        } else {
            [2, 0, 2, 0]
        };
        assert_eq!(counts(&reply, COORDINATORS)?, expected);
    }
    tally(Figure::FaultsInjected, 4)
}

/// The types that can hold many elements.
const LARGE: [&str; 5] = ["list", "set", "zset", "hash", "stream"];
const ELEMENTS: usize = 1_000_000;

/// Builds a value of so many elements inside the server, in scripts short enough for others to be served.
fn build(conn: &mut Connection, kind: &str, key: &str, elements: usize) -> Result<()> {
    const CALL: usize = 50_000;
    const SCRIPT: &str = "
        local kind, first, last = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
        local command = ({list = 'RPUSH', set = 'SADD', zset = 'ZADD', hash = 'HSET'})[kind]
        if kind == 'stream' then
            for n = first, last do redis.call('XADD', KEYS[1], n .. '-1', 'f', n) end
            return
        end
        local words = {}
        for n = first, last do
            if kind == 'zset' then words[#words + 1] = n end
            words[#words + 1] = 'element-' .. n
            if kind == 'hash' then words[#words + 1] = n end
            if #words >= 2000 or n == last then
                redis.call(command, KEYS[1], unpack(words))
                words = {}
            end
        end";
    for first in (1..=elements).step_by(CALL) {
        let last = (first + CALL - 1).min(elements);
        let mut script = cmd("EVAL");
        script.arg(SCRIPT).arg(1).arg(key);
        let () = script.arg(kind).arg(first).arg(last).query(conn)?;
    }
    Ok(())
}

/// A family of which every key but the heartbeat is large, one of each type.
fn large_family(conn: &mut Connection, id: &str, elements: usize) -> Result<()> {
    let keys = [
        format!("blocking:signal:{id}"),
        format!("blocking:ack:{id}:s1"),
        format!("blocking:idempotency:{id}:x"),
        format!("coordinator:activity:{id}"),
        format!("swarm:s:blocking:{id}"),
    ];
    for (kind, key) in LARGE.iter().zip(&keys) {
        build(conn, kind, key, elements)?;
    }
    let now = server_now_ms(conn)?;
    let heartbeat = format!("blocking:heartbeat:{id}");
    write(conn, [(heartbeat, beat(now, 700_000))])
}

/// UNLINK hands large values to another thread. Freed on the main thread, as DEL can be told to, they would stall
/// every client; that is measured on the same server with a value of the same kind, and the run must stay far below.
///
/// A machine with other work can keep the server or the probe from running for as long as that. So a stall counts if it
/// comes every time: freeing on the main thread would. One that comes now and then is not found here.
#[test]
fn family_keys_of_every_type_with_a_million_elements_stall_no_client() -> Result<()> {
    const TRIES: usize = 3;
    let server = Server::start()?;
    let mut conn = server.client()?;
    let () = cmd("CONFIG")
        .arg(&["SET", "lazyfree-lazy-user-del", "no"])
        .query(&mut conn)?;
    let mut stalls = Vec::new();
    for _ in 0..TRIES {
        match remove_large_family(&server, &mut conn)? {
            None => return tally(Figure::FaultsInjected, LARGE.len() as u64),
            Some(stall) => stalls.push(stall),
        }
    }
    bail!("it stalled every time: {}", stalls.join("; "))
}

/// One removal. What goes is exact every time; yields what was too slow, if anything was.
fn remove_large_family(server: &Server, conn: &mut Connection) -> Result<Option<String>> {
    large_family(conn, "large", ELEMENTS)?;
    let copied: bool = cmd("COPY")
        .arg(&["blocking:idempotency:large:x", "freed-at-once"])
        .query(conn)?;
    ensure!(copied, "the sorted set was not copied");
    let started = Instant::now();
    let () = cmd("DEL").arg("freed-at-once").query(conn)?;
    let freed_us = started.elapsed().as_micros() as i64;

    let freed_lazily = |conn: &mut Connection| -> Result<i64> {
        Ok(info_field(conn, "memory", "lazyfreed_objects")?.parse()?)
    };
    let before = freed_lazily(conn)?;
    let mut probe = Probe::start(server, Duration::ZERO, Ask::Ping)?;
    probe.mark()?;
    let reply = cleanup(conn, &[])?;
    let waits = probe.finish()?;
    assert_eq!(counts(&reply, COORDINATORS)?, [1, 1, 0, 1]);
    assert_eq!(counts(&reply, KEYS)?, [6, 0, 0]);
    assert_eq!(dbsize(conn)?, 0);
    // All five went to the other thread, and from there for good.
    let all = |freed: &i64| *freed >= before + LARGE.len() as i64;
    wait_for_value("lazy free", RUN_DEADLINE, || freed_lazily(conn), all)?;
    let longest_us = reply.int("longest_slice_us")?;
    let is_slow = longest_us >= freed_us / 3 || waits.max_us as i64 >= freed_us / 2;
    Ok(is_slow.then(|| {
        format!(
            "the longest slice took {longest_us} us, the longest wait {} us, freeing one such key at once {freed_us} us",
            waits.max_us
        )
    }))
}

/// A heartbeat that is no string and has no time field is not looked into, however large, and protects like a live one.
#[test]
fn heartbeats_of_every_type_with_many_elements_are_unreadable() -> Result<()> {
    const MANY: usize = 100_000;
    let server = Server::start()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    write(&mut conn, [("blocking:heartbeat:dead", beat(now, 700_000))])?;
    for kind in LARGE {
        build(&mut conn, kind, &format!("blocking:heartbeat:{kind}"), MANY)?;
        write(
            &mut conn,
            [(format!("blocking:idempotency:dead:{kind}"), "1")],
        )?;
    }
    let digest = |conn: &mut Connection| -> Result<Vec<String>> {
        let names = LARGE.map(|kind| format!("blocking:heartbeat:{kind}"));
        Ok(cmd("DEBUG").arg("DIGEST-VALUE").arg(&names).query(conn)?)
    };
    let before = digest(&mut conn)?;
    for arguments in [&["DRYRUN"][..], &[]] {
        let reply = cleanup(&mut conn, arguments)?;
        assert_eq!(counts(&reply, COORDINATORS)?, [6, 1, 5, 1]);
        assert_eq!(counts(&reply, KEYS)?, [1, 5, 0]);
    }
    assert_eq!(digest(&mut conn)?, before);
    assert_eq!(dbsize(&mut conn)?, 10);
    tally(Figure::FaultsInjected, LARGE.len() as u64)
}

/// Newer servers can give every field of a hash a lifetime of its own.
#[test]
fn hashes_whose_fields_expire_are_hashes_like_others() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let () = cmd("DEBUG")
        .arg(&["SET-ACTIVE-EXPIRE", "0"])
        .query(&mut conn)?;
    let now = server_now_ms(&mut conn)?;
    write(&mut conn, [("blocking:heartbeat:dead", beat(now, 700_000))])?;
    let hashes = [
        "blocking:ack:dead:1",
        "blocking:ack:dead:2",
        "blocking:heartbeat:hash",
        "foreign",
    ];
    for hash in hashes {
        let mut fields = cmd("HSET");
        fields.arg(hash).arg("soon").arg(now - 700_000);
        let () = fields.arg("later").arg(now).query(&mut conn)?;
    }
    let known: Vec<Value> = cmd("COMMAND")
        .arg("INFO")
        .arg("HPEXPIRE")
        .query(&mut conn)?;
    let has_lifetimes = !matches!(known.first(), None | Some(Value::Nil));
    // Redis has it since 7.4, Valkey since 9.0; on the others these are plain hashes, and the rest holds as well.
    let newer = match info_field(&mut conn, "server", "valkey_version") {
        Ok(version) => !version.starts_with("8."),
        Err(_) => !info_field(&mut conn, "server", "redis_version")?.starts_with("7.0."),
    };
    assert_eq!(has_lifetimes, newer);
    if has_lifetimes {
        for (hash, field, ms) in hashes
            .iter()
            .flat_map(|hash| [(hash, "soon", 1), (hash, "later", 3_600_000)])
        {
            let mut lifetime = cmd("HPEXPIRE");
            lifetime.arg(hash).arg(ms).arg("FIELDS").arg(1).arg(field);
            let set: Vec<i64> = lifetime.query(&mut conn)?;
            assert_eq!(set, [1]);
        }
    }
    let loaded_ms = server_now_ms(&mut conn)?;
    let passed = |ms: &i64| *ms > loaded_ms + 1;
    wait_for_value(
        "TTLs to pass",
        RUN_DEADLINE,
        || Ok(server_now_ms(&mut conn)?),
        passed,
    )?;
    for arguments in [&["DRYRUN"][..], &[]] {
        let reply = cleanup(&mut conn, arguments)?;
        assert_eq!(counts(&reply, COORDINATORS)?, [2, 1, 1, 1]);
        assert_eq!(counts(&reply, KEYS)?, [3, 0, 0]);
    }
    assert_eq!(
        keys(&mut conn)?,
        set(&["blocking:heartbeat:hash", "foreign"])
    );
    let later: String = cmd("HGET").arg("foreign").arg("later").query(&mut conn)?;
    assert_eq!(later, now.to_string());
    tally(Figure::FaultsInjected, hashes.len() as u64)
}

/// One coordinator with a million acks goes in many parts, and its heartbeat in the last of them.
#[test]
fn a_million_acks_of_one_coordinator_go_in_parts_and_the_heartbeat_last() -> Result<()> {
    const ACKS: i64 = 1_000_000;
    const HEARTBEAT: &str = "blocking:heartbeat:big";
    let server = Server::start()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    let acks = (0..ACKS).map(|n| (format!("blocking:ack:big:s-{n}"), "1"));
    write(&mut conn, acks)?;
    write(
        &mut conn,
        [(HEARTBEAT, beat(now, 700_000)), ("foreign", "1".to_owned())],
    )?;
    let mut probe = Probe::start(&server, Duration::from_millis(1), Ask::Set)?;
    probe.mark()?;
    cleanup_async(&mut conn, &[])?;
    // As long as anything of it is there, so is its heartbeat; both are asked in one moment.
    let mut parts_seen = 0;
    let mut left_before = i64::MAX;
    loop {
        let mut moment = blocking_harness::redis::pipe();
        moment.atomic().cmd("BLOCKING.STATUS");
        moment.cmd("EXISTS").arg(HEARTBEAT);
        moment.cmd("EXISTS").arg("foreign");
        moment.cmd("DBSIZE");
        let (status, heartbeat, foreign, keys): (Reply, bool, bool, i64) =
            moment.query(&mut conn)?;
        ensure!(foreign, "a foreign key is gone");
        ensure!(heartbeat || keys <= 2, "{keys} keys, and no heartbeat");
        parts_seen += i64::from(keys < left_before);
        left_before = keys;
        if status.text("state")? == "idle" {
            break;
        }
    }
    let waits = probe.finish()?;
    let last = last_run(&mut conn)?;
    assert_eq!(last.text("status")?, "complete");
    assert_eq!(last.int("keys_removed")?, ACKS + 1);
    assert_eq!(last.int("coordinators_removed")?, 1);
    assert_eq!(dbsize(&mut conn)?, 1);
    ensure!(parts_seen > 10, "it went in {parts_seen} parts");
    let elapsed_us = last.int("elapsed_us")?;
    ensure!(
        waits.count > 100 && (waits.max_us as i64) < elapsed_us / 4,
        "in {elapsed_us} us of a run: {waits}"
    );
    // Nothing of it is left for the next run.
    let next = command(&mut conn, "BLOCKING.CLEANUP", &[])?;
    assert_eq!(counts(&next, KEYS)?, [0, 0, 0]);
    tally(Figure::FaultsInjected, 1)
}
