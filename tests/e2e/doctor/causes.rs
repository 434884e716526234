//! One cause after the other on a server that is otherwise without a fault.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{Connection, cmd};
use blocking_harness::{Server, cleanup, command, server_now_ms, wait_for_value};

use super::{beat, codes, config, finding, json, lines, set};

/// A server of which there is nothing to say but notes, and whose schedule is not due while a test lasts.
fn healthy() -> Result<Server> {
    let server = Server::builder()
        .arg("blocking.interval-seconds", 30_000)
        .arg("blocking.warm-up-seconds", 0)
        .start()?;
    let mut conn = server.client()?;
    fresh(&mut conn)?;
    Ok(server)
}

/// Back to that state.
fn fresh(conn: &mut Connection) -> Result<()> {
    let () = cmd("FLUSHALL").query(conn)?;
    config(
        conn,
        &[
            "blocking.interval-seconds",
            "30000",
            "blocking.databases",
            "0",
            "blocking.dry-run",
            "no",
            "blocking.second-look",
            "yes",
            "blocking.orphan-grace-seconds",
            "0",
            "blocking.threshold-seconds",
            "600",
            "blocking.max-stale-percent",
            "50",
        ],
    )?;
    beat(conn, "blocking:heartbeat:keeper", 10, 90_000)?;
    set(conn, "blocking:signal:keeper", "x", &[])?;
    set(conn, "session:1", "x", &[])
}

const NOTES: [&str; 4] = ["found", "cleanup", "time-fields", "schedule"];

/// What brings a finding up, its code, and how its line begins.
type Cause = (
    &'static str,
    fn(&mut Connection) -> Result<()>,
    &'static str,
);

const CAUSES: &[Cause] = &[
    (
        "unreadable",
        |conn| {
            let () = cmd("HSET")
                .arg(&["blocking:heartbeat:hash", "f", "v"])
                .query(conn)?;
            set(conn, "blocking:heartbeat:mute", "{}", &["EX", "9000"])?;
            set(conn, "blocking:heartbeat:dumb", "{}", &["EX", "9000"])
        },
        "problem: 3 of 4 heartbeats can never be judged and protect every key that they could own: 3, such as '",
    ),
    (
        "never-stale",
        |conn| {
            for (id, life_s) in [("a", 300), ("b", 300), ("c", 120), ("d", 600)] {
                beat(conn, &format!("blocking:heartbeat:{id}"), 20, life_s)?;
            }
            // Long enough.
            beat(conn, "blocking:heartbeat:e", 20, 2_000)
        },
        "problem: 4 of 6 heartbeats expire (120-600 s) before they are older than the 600 s threshold, so they cannot \
         become stale. ",
    ),
    (
        "never-stale",
        |conn| {
            config(conn, &["blocking.orphan-grace-seconds", "7200"])?;
            beat(conn, "blocking:heartbeat:a", 20, 300)
        },
        "note: 1 of 2 heartbeats expires (300 s) before the 600 s threshold, so it cannot become stale. Nothing to \
         do: the schedule removes the keys left behind as orphans (blocking.orphan-grace-seconds is 7200).",
    ),
    (
        "grace-off",
        |conn| beat(conn, "blocking:heartbeat:a", 20, 300),
        "warning: 1 of 2 heartbeats expires before becoming stale, and the schedule does not remove the orphans that \
         it leaves: blocking.orphan-grace-seconds is 0. ",
    ),
    (
        "short-window",
        |conn| beat(conn, "blocking:heartbeat:a", 20, 700),
        "warning: 1 of 2 heartbeats expires 700 s after the beat, less than 63000 s after the 600 s threshold: the \
         schedule runs every 30000 s and may not find it stale twice in a row, ",
    ),
    (
        "no-ttl",
        |conn| {
            beat(conn, "blocking:heartbeat:a", 20, 0)?;
            beat(conn, "blocking:heartbeat:b", 20, 0)
        },
        "note: 2 of 3 heartbeats have no TTL and stay until they are removed. ",
    ),
    (
        "future-beats",
        |conn| {
            beat(conn, "blocking:heartbeat:a", -86_390, 900_000)?;
            beat(conn, "blocking:heartbeat:b", -60, 900_000)
        },
        "warning: 2 of 3 heartbeats are up to 863",
    ),
    (
        "time-fields",
        |conn| {
            let now_ms = server_now_ms(conn)?;
            let bare = (now_ms / 1000).to_string();
            set(conn, "blocking:heartbeat:a", &bare, &["EX", "9000"])
        },
        "note: the newest time is in '(value)' as 'seconds' (1 heartbeat), in 'lastHeartbeat' as 'milliseconds' (1 \
         heartbeat). ",
    ),
    (
        "colon-ids",
        |conn| beat(conn, "blocking:heartbeat:a:1", 20, 90_000),
        "note: 1 of 2 ids contains a colon, such as 'a:1': ",
    ),
    (
        "ambiguous-ids",
        |conn| {
            beat(conn, "blocking:heartbeat:a:1", 20, 90_000)?;
            beat(conn, "swarm:s:blocking:heartbeat:a", 20, 90_000)
        },
        "warning: 1 of 3 ids begins with another id and a colon, such as 'a:1' with 'a': ",
    ),
    (
        "unknown-names",
        |conn| {
            for n in 0..3 {
                set(conn, &format!("blocking:beat:{n}"), "x", &[])?;
            }
            set(conn, "swarm:s:lock", "x", &[])?;
            set(conn, "coordinator:mood:1", "x", &["PX", "1"])?;
            // What has expired is not there, even while the server still holds it.
            std::thread::sleep(Duration::from_millis(5));
            Ok(())
        },
        "warning: 4 keys begin like family keys but fit no template: 'blocking:beat:*' 3, such as 'blocking:beat:",
    ),
    (
        "left-alone",
        |conn| {
            for key in [
                "coordinator:work:1",
                "coordinator:work:2",
                "coordinator:escalation:1",
                "coordinator:spawn:1",
                "blocking:retry:1",
                "swarm:s:state",
            ] {
                set(conn, key, "x", &[])?;
            }
            Ok(())
        },
        "note: 6 keys are left alone on purpose: 'coordinator:work:*' 2, such as 'coordinator:work:",
    ),
    (
        "schedule-off",
        |conn| config(conn, &["blocking.interval-seconds", "0"]),
        "warning: the schedule is off: keys are removed only when a client calls BLOCKING.CLEANUP. ",
    ),
    (
        "not-listed",
        |conn| config(conn, &["blocking.databases", "3 5"]),
        "warning: the schedule runs every 30000 s in databases 3, 5, but not in this database, 0. ",
    ),
    (
        "dry-run",
        |conn| config(conn, &["blocking.dry-run", "yes"]),
        "warning: the schedule removes nothing: blocking.dry-run is yes. ",
    ),
    (
        "breaker-would-open",
        |conn| {
            for n in 0..19 {
                let age_s = if n < 11 { 5_000 } else { 5 };
                beat(conn, &format!("blocking:heartbeat:x{n}"), age_s, 90_000)?;
            }
            Ok(())
        },
        "warning: the next scheduled run will find the breaker open and remove nothing: 11 of 20 coordinators are stale, \
         more than 50 percent. ",
    ),
    (
        "found",
        |conn| {
            beat(conn, "blocking:heartbeat:a", 5_000, 90_000)?;
            beat(conn, "blocking:heartbeat:b", 700, 90_000)
        },
        "note: 3 coordinators among 5 keys of database 0: 1 live, 2 stale at the threshold of 600 s, 0 unreadable. ",
    ),
];

#[test]
fn each_cause_brings_its_finding_and_nothing_else_does() -> Result<()> {
    let server = healthy()?;
    let mut conn = server.client()?;
    for (code, cause, begins) in CAUSES {
        fresh(&mut conn)?;
        let before = json(&mut conn)?;
        assert_eq!(codes(&before)?, NOTES, "{before:#}");
        cause(&mut conn)?;
        let json = json(&mut conn)?;
        let place = codes(&json)?.iter().position(|found| found == code);
        let lines = lines(&mut conn)?;
        let line = place.and_then(|place| lines.get(place));
        ensure!(
            line.is_some_and(|line| line.starts_with(begins)),
            "{code}: {line:?} in {lines:#?}"
        );
        // What else may follow from it is no problem.
        let problems = lines.iter().filter(|line| line.starts_with("problem"));
        let expected = usize::from(begins.starts_with("problem"));
        if *code != "grace-off" {
            assert_eq!(problems.count(), expected, "{lines:#?}");
        }
    }
    Ok(())
}

#[test]
fn no_run_is_advised_for_heartbeats_that_none_removes() -> Result<()> {
    let server = healthy()?;
    let mut conn = server.client()?;
    fresh(&mut conn)?;
    let advice = |conn: &mut Connection| -> Result<String> {
        let told = json(conn)?;
        let advice = finding(&told, "no-ttl")?["advice"]
            .as_str()
            .map(str::to_owned);
        advice.context("no advice")
    };
    let unreadable = ["blocking:heartbeat:mute-1", "blocking:heartbeat:mute-2"];
    for key in unreadable {
        set(&mut conn, key, r#"{"state":"up"}"#, &[])?;
    }
    let none = advice(&mut conn)?;
    ensure!(
        none.starts_with("No cleanup removes unreadable heartbeats: fix their writers"),
        "{none}"
    );
    // And so it is.
    cleanup(&mut conn, &[])?;
    let left: i64 = cmd("EXISTS").arg(&unreadable).query(&mut conn)?;
    assert_eq!(left, 2);
    let old = r#"{"timestamp":1700000000000}"#;
    set(&mut conn, "blocking:heartbeat:old", old, &[])?;
    let some = advice(&mut conn)?;
    ensure!(
        some.contains("; no cleanup removes the 2 that are unreadable: fix"),
        "{some}"
    );
    Ok(())
}

/// The sum of what MEMORY USAGE says, key by key.
fn usage(conn: &mut Connection, keys: &[String]) -> Result<i64> {
    let mut sum = 0;
    for key in keys {
        let bytes: i64 = cmd("MEMORY").arg(&["USAGE", key]).query(conn)?;
        sum += bytes;
    }
    Ok(sum)
}

#[test]
fn orphans_are_told_by_family_with_the_bytes_they_take() -> Result<()> {
    let server = healthy()?;
    let mut conn = server.client()?;
    let mut signals = Vec::new();
    for n in 0..20 {
        signals.push(format!("blocking:signal:gone-{n}"));
        set(&mut conn, &signals[n], &"x".repeat(n * 50), &[])?;
    }
    let acks = [
        "blocking:ack:gone-1:s1".to_owned(),
        "blocking:ack:gone-2:s1".to_owned(),
    ];
    let () = cmd("HSET").arg(&[&acks[0], "f", "v"]).query(&mut conn)?;
    let () = cmd("RPUSH").arg(&[&acks[1], "a", "b"]).query(&mut conn)?;
    // Streams are not asked about: one consumer after the other would be looked at.
    let () = cmd("XADD")
        .arg(&["coordinator:activity:gone-1", "*", "f", "v"])
        .query(&mut conn)?;
    set(&mut conn, "swarm:s:blocking:kept-1", "x", &[])?;
    config(&mut conn, &["blocking.protect", "kept-*"])?;
    let (of_signals, of_acks) = (usage(&mut conn, &signals)?, usage(&mut conn, &acks)?);
    let json = json(&mut conn)?;
    let orphans = finding(&json, "orphans")?;
    let told = lines(&mut conn)?;
    let expected = format!(
        "warning: 24 family keys are orphans (no possible owner has a heartbeat): signal 20 ({of_signals} bytes), ack \
         2 ({of_acks} bytes), activity 1, of protected ids 1. "
    );
    ensure!(
        told.iter().any(|line| line.starts_with(&expected)),
        "{expected}: {told:#?}"
    );
    assert_eq!(orphans["orphans"], 24);
    assert_eq!(orphans["protected"], 1);
    let families = orphans["families"].as_object().unwrap();
    assert_eq!(families.len(), 3);
    assert_eq!(families["signal"]["bytes"], of_signals);
    assert_eq!(families["signal"]["keysMeasured"], 20);
    assert_eq!(families["activity"]["bytes"], serde_json::Value::Null);
    Ok(())
}

#[test]
fn the_breaker_the_last_runs_and_the_warm_up_are_told() -> Result<()> {
    let server = healthy()?;
    let mut conn = server.client()?;
    for n in 0..30 {
        beat(
            &mut conn,
            &format!("blocking:heartbeat:x{n}"),
            5_000,
            90_000,
        )?;
    }
    let all = codes(&json(&mut conn)?)?;
    ensure!(!all.contains(&"breaker-open".to_owned()), "{all:?}");
    ensure!(!all.contains(&"last-run".to_owned()), "{all:?}");
    config(
        &mut conn,
        &[
            "blocking.second-look",
            "no",
            "blocking.interval-seconds",
            "1",
        ],
    )?;
    let over = || {
        let schedule = command(&mut conn, "BLOCKING.STATUS", &[])?.map("schedule")?;
        schedule.int("runs")
    };
    wait_for_value("a scheduled run", Duration::from_secs(30), over, |runs| {
        *runs > 0
    })?;
    config(&mut conn, &["blocking.interval-seconds", "30000"])?;
    let told = json(&mut conn)?;
    assert_eq!(codes(&told)?[0], "breaker-open", "{told:#}");
    let open = finding(&told, "breaker-open")?;
    assert_eq!(open["coordinatorsStale"], 30);
    assert_eq!(open["coordinatorsJudged"], 31);
    assert_eq!(open["maxStalePercent"], 50);
    ensure!(
        (0..60).contains(&open["openS"].as_i64().unwrap_or(-1)),
        "{open:#}"
    );
    let last = finding(&told, "last-run")?;
    assert_eq!(
        (&last["severity"], &last["scheduledRun"]["status"]),
        (&"warning".into(), &"refused".into())
    );
    assert_eq!(last["manualRun"], serde_json::Value::Null);
    let reason = "breaker: 30 of 31 coordinators are stale, more than 50 percent";
    assert_eq!(last["scheduledRun"]["reason"], reason);
    let next = finding(&told, "schedule")?["nextRunS"].as_i64();
    ensure!(
        next.is_some_and(|next_s| (0..=33_000).contains(&next_s)),
        "{told:#}"
    );

    // By hand they go. The breaker closes with the next scheduled run, and says so.
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(reply.int("coordinators_removed")?, 30);
    let told = json(&mut conn)?;
    let open = finding(&told, "breaker-open")?["finding"].to_string();
    ensure!(
        open.contains("now the share is smaller, and the next run will close it"),
        "{open}"
    );
    let by_hand = finding(&told, "last-run")?["manualRun"].clone();
    for (name, expected) in [
        ("coordinatorsRemoved", 30),
        ("keysRemoved", 30),
        ("run", reply.int("run")?),
    ] {
        assert_eq!(by_hand[name], expected, "{name}");
    }
    // Of another database nothing of it is told.
    let elsewhere = json(&mut server.client_db(3)?)?;
    for code in ["last-run", "breaker-open"] {
        ensure!(finding(&elsewhere, code).is_err(), "{elsewhere:#}");
    }
    let find_warm_up = |json: &serde_json::Value| finding(json, "warm-up").cloned();
    ensure!(find_warm_up(&told).is_err(), "{told:#}");
    config(&mut conn, &["blocking.warm-up-seconds", "5000"])?;
    let left_s = find_warm_up(&json(&mut conn)?)?["warmUpLeftS"].as_i64();
    ensure!(
        left_s.is_some_and(|left_s| (4_000..=5_000).contains(&left_s)),
        "{left_s:?}"
    );
    Ok(())
}
