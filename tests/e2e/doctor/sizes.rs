//! Many keys, large keys, little memory, and an end in the middle of the study.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use blocking_harness::redis::{Connection, cmd};
use blocking_harness::{Fleet, Server, error_text, patience, server_now_ms, wait_for_value};

use super::{beat, codes, finding, json, lines, set};
use crate::environment::long_run::{DEADLINE, Raw, assert_healthy, run, status};
use crate::list::mid_query::{Asker, wait_until_over};

/// How often a query is timed at most, on a machine that has other work.
const ATTEMPTS: usize = 100;

/// Keys of this name and a number, as DEBUG POPULATE makes them.
fn populate(conn: &mut Connection, count: usize, prefix: &str) -> Result<()> {
    let () = cmd("DEBUG")
        .arg("POPULATE")
        .arg(count)
        .arg(prefix)
        .query(conn)?;
    Ok(())
}

#[test]
fn many_orphans_are_measured_by_a_sample() -> Result<()> {
    let server = super::start()?;
    let mut conn = server.client()?;
    populate(&mut conn, 5_000, "blocking:signal")?;
    populate(&mut conn, 1_000, "coordinator:activity")?;
    let json = json(&mut conn)?;
    let families = finding(&json, "orphans")?["families"].clone();
    assert_eq!(
        (
            &families["signal"]["keys"],
            &families["signal"]["keysMeasured"]
        ),
        (&5_000.into(), &1_000.into())
    );
    assert_eq!(families["activity"]["keysMeasured"], 1_000);
    let one: i64 = cmd("MEMORY")
        .arg(&["USAGE", "blocking:signal:1234"])
        .query(&mut conn)?;
    let bytes = families["signal"]["bytes"].as_i64().unwrap_or_default();
    ensure!(
        (bytes - one * 5_000).abs() < one * 1_000,
        "{bytes} for 5000 of {one}"
    );
    let told = lines(&mut conn)?;
    let part = format!("signal 5000 (about {bytes} bytes), activity 1000 (");
    ensure!(
        told.iter().any(|line| line.contains(&part)),
        "{part}: {told:#?}"
    );
    ensure!(
        !told
            .iter()
            .any(|line| line.contains("activity 1000 (about")),
        "{told:#?}"
    );
    Ok(())
}

#[test]
fn the_worst_ids_and_values_are_only_data() -> Result<()> {
    let server = super::start()?;
    let mut conn = server.client()?;
    let now_ms = server_now_ms(&mut conn)?;
    let long = "x".repeat(64 << 10);
    let value = format!(
        r#"{{"pad":"{}","timestamp":{}}}"#,
        "y".repeat(60_000),
        now_ms - 10_000
    );
    for id in [
        long.clone(),
        format!("{long}:1"),
        ":".repeat(64 << 10),
        "a:".repeat(4_000),
        "\u{1}\n'\\*".to_owned(),
    ] {
        set(
            &mut conn,
            &format!("blocking:heartbeat:{id}"),
            &value,
            &["EX", "300"],
        )?;
        set(&mut conn, &format!("blocking:signal:{id}:gone"), "x", &[])?;
        set(&mut conn, &format!("blocking:{id}:x"), "x", &[])?;
    }
    let () = cmd("SET")
        .arg(b"blocking:heartbeat:\xff\xfe")
        .arg("z".repeat(1 << 20))
        .query(&mut conn)?;
    for n in 0..1_000 {
        beat(&mut conn, &format!("blocking:heartbeat:c:{n}"), 10, 300)?;
    }
    beat(&mut conn, "blocking:heartbeat:c", 10, 300)?;
    let told = lines(&mut conn)?;
    for line in &told {
        ensure!(line.len() < 2_000, "{line}");
        ensure!(
            line.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{line}"
        );
    }
    let json = json(&mut conn)?;
    assert_eq!(finding(&json, "ambiguous-ids")?["ambiguousIds"], 1_001);
    assert_eq!(finding(&json, "colon-ids")?["colonIds"], 1_003);
    let unreadable = finding(&json, "unreadable")?;
    assert_eq!(unreadable["reasons"][0]["example"], "\\xff\\xfe");
    assert_eq!(finding(&json, "never-stale")?["neverStale"], 1_006);
    assert_healthy(&server)
}

/// A quarter of the memory is for heartbeats alone: first other keys are left out, then nothing can be said.
#[test]
fn what_does_not_fit_the_memory_is_left_out_and_said() -> Result<()> {
    let server = Server::builder()
        .arg("blocking.collect-max-bytes", "64kb")
        .arg("blocking.warm-up-seconds", 0)
        .start()?;
    let mut conn = server.client()?;
    let now_ms = server_now_ms(&mut conn)?;
    let all = |json: &serde_json::Value| codes(json).unwrap_or_default();
    Fleet::numbered("dead", 20, now_ms)
        .age_s(5_000)
        .load(&mut conn, |_| ())?;
    set(&mut conn, "blocking:signal:ghost", "x", &[])?;
    let told = json(&mut conn)?;
    ensure!(!all(&told).contains(&"memory".to_owned()), "{told:#}");
    ensure!(all(&told).contains(&"orphans".to_owned()), "{told:#}");

    populate(&mut conn, 3_000, "blocking:signal")?;
    let told = json(&mut conn)?;
    let memory = finding(&told, "memory")?;
    assert_eq!(
        (&memory["severity"], &memory["collectMaxBytes"]),
        (&"warning".into(), &65_536.into())
    );
    ensure!(!all(&told).contains(&"orphans".to_owned()), "{told:#}");
    let at_600 = &finding(&told, "cleanup")?["thresholds"][1];
    assert_eq!(at_600["coordinatorsStale"], 20);
    assert_eq!(at_600["keysRemoved"], serde_json::Value::Null);

    populate(&mut conn, 3_000, "blocking:heartbeat")?;
    let told = json(&mut conn)?;
    assert_eq!(all(&told)[0], "memory", "{told:#}");
    assert_eq!(finding(&told, "memory")?["severity"], "problem");
    // Every heartbeat was looked at all the same.
    assert_eq!(finding(&told, "unreadable")?["unreadable"], 3_000);
    assert_eq!(finding(&told, "no-ttl")?["heartbeats"], 3_020);
    for code in ["orphans", "cleanup", "found", "colon-ids"] {
        ensure!(!all(&told).contains(&code.to_owned()), "{code}: {told:#}");
    }
    Ok(())
}

/// Cut into slices, however many keys there are. A machine that has other work makes some of them look long.
#[test]
fn many_keys_are_looked_at_in_many_slices() -> Result<()> {
    let server = super::start()?;
    let mut conn = server.client()?;
    populate(&mut conn, 60_000, "blocking:signal")?;
    populate(&mut conn, 60_000, "session")?;
    populate(&mut conn, 20_000, "blocking:heartbeat")?;
    // The best of many: other work of this machine makes slices longer.
    let mut means_us = Vec::new();
    while means_us.len() < ATTEMPTS {
        let json = json(&mut conn)?;
        let number = |name: &str| json[name].as_i64().unwrap_or_default();
        let (scanned, slices) = (number("keysScanned"), number("slices"));
        ensure!(scanned >= 140_000, "{scanned}");
        ensure!(slices > 100, "{slices}");
        means_us.push(number("busyUs") / slices);
        if means_us.last() < Some(&(1_000 * i64::from(patience()))) {
            return Ok(());
        }
    }
    bail!("mean slices of {means_us:?} us");
}

#[test]
fn no_value_is_so_large_that_a_slice_is_long() -> Result<()> {
    let server = super::start()?;
    let mut conn = server.client()?;
    let now_ms = server_now_ms(&mut conn)?;
    let value = format!(r#"{{"pad":"{}","timestamp":{now_ms}}}"#, "y".repeat(60_000));
    for n in 0..50 {
        set(
            &mut conn,
            &format!("blocking:heartbeat:large-{n}"),
            &value,
            &["EX", "300"],
        )?;
    }
    // Of a stream with so many consumers MEMORY USAGE would take ten milliseconds.
    let script = "redis.call('XGROUP', 'CREATE', KEYS[1], 'g', '0', 'MKSTREAM')
        for i = 1, 300000 do redis.call('XGROUP', 'CREATECONSUMER', KEYS[1], 'g', i) end
        for i = 1, 300000 do redis.call('HSET', KEYS[2], i, i) end
        for i = 1, 300000 do redis.call('RPUSH', KEYS[3], i) end";
    let keys = ["stream", "hash", "list"].map(|kind| format!("coordinator:activity:{kind}"));
    let () = cmd("EVAL").arg(script).arg(3).arg(&keys).query(&mut conn)?;
    // The best of many: other work of this machine stops a slice, too.
    let mut longest = Vec::new();
    while longest.len() < ATTEMPTS {
        let json = json(&mut conn)?;
        assert_eq!(
            finding(&json, "orphans")?["families"]["activity"]["keysMeasured"],
            2
        );
        longest.push(json["longestSliceUs"].as_i64().unwrap_or(i64::MAX));
        if longest.last() < Some(&(3_000 * i64::from(patience()))) {
            return Ok(());
        }
    }
    bail!("{longest:?}");
}

/// In the middle of the work that is done beside the main thread.
#[test]
fn a_study_that_is_not_wanted_any_more_ends() -> Result<()> {
    let server = super::start()?;
    let mut conn = server.client()?;
    populate(&mut conn, 400_000, "blocking:heartbeat")?;
    populate(&mut conn, 200_000, "blocking:signal")?;
    let table = [
        (
            "BLOCKING.CANCEL",
            "CANCELLED",
            "cancelled by BLOCKING.CANCEL",
        ),
        ("SWAPDB 0 1", "INTERRUPTED", "the database was swapped"),
    ];
    for (act, code, why) in table {
        let asker = Asker::start(&server, &["BLOCKING.DOCTOR"])?;
        wait_until_planning(&mut conn)?;
        run(&mut conn, act)?;
        let text = error_text(&asker.answer().unwrap_err());
        let expected = format!("{code} BLOCKING.DOCTOR was stopped: {why}");
        ensure!(text == expected, "{text}");
        wait_until_over(&mut conn)?;
    }
    run(&mut conn, "SWAPDB 0 1")?;
    let mut asker = Raw::connect(&server)?;
    asker.send("BLOCKING.DOCTOR")?;
    wait_until_planning(&mut conn)?;
    drop(asker);
    wait_until_over(&mut conn)?;
    run(&mut conn, "MODULE UNLOAD blocking")?;
    assert_healthy(&server)
}

fn wait_until_planning(conn: &mut Connection) -> Result<()> {
    let look = || status(conn)?.text("state");
    wait_for_value("the study", DEADLINE, look, |state| state == "planning")?;
    std::thread::sleep(Duration::from_millis(20));
    Ok(())
}
