//! The fields of CLEANUP and STATUS in both protocols, and what each option changes in them.

use anyhow::{Context, Result, bail};
use blocking_harness::redis::{Connection, Value};
use blocking_harness::{Reply, Server, cleanup, dbsize, reply_map, server_now_ms};

use super::{OLD_MS, say, start_warm, write_pair};

const CLEANUP_NAMES: [&str; 21] = [
    "run",
    "status",
    "dry_run",
    "threshold_s",
    "keys_scanned",
    "coordinators_checked",
    "coordinators_stale",
    "coordinators_unreadable",
    "coordinators_removed",
    "coordinators_revived",
    "keys_removed",
    "keys_by_family",
    "keys_vetoed",
    "keys_orphaned",
    "orphans_removed",
    "slices",
    "longest_slice_us",
    "busy_us",
    "elapsed_us",
    "stale_ids",
    "summary",
];

const FAMILIES: [&str; 6] = [
    "heartbeat",
    "signal",
    "ack",
    "idempotency",
    "activity",
    "state",
];

fn is_text(value: &Value) -> bool {
    matches!(value, Value::BulkString(_))
}

fn field<'v>(pairs: &'v [(Value, Value)], name: &str) -> Result<&'v Value> {
    let name = Value::BulkString(name.as_bytes().to_vec());
    let found = pairs.iter().find(|(field, _)| *field == name);
    found
        .map(|(_, value)| value)
        .with_context(|| format!("no {name:?}"))
}

/// Sends a command whose reply must be a flat array, and pairs it up.
fn flat(conn: &mut Connection, line: &str) -> Result<Vec<(Value, Value)>> {
    let Value::Array(items) = say(conn, line)? else {
        bail!("{line} gave no array");
    };
    let (pairs, rest) = items.as_chunks::<2>();
    assert!(rest.is_empty());
    Ok(pairs.iter().cloned().map(|[a, b]| (a, b)).collect())
}

fn map(conn: &mut Connection, line: &str) -> Result<Vec<(Value, Value)>> {
    match say(conn, line)? {
        Value::Map(pairs) => Ok(pairs),
        other => bail!("{line} gave {other:?}"),
    }
}

/// Three stale coordinators, the first the oldest, and a live one; two keys each.
fn three_dead_one_live(conn: &mut Connection) -> Result<()> {
    write_pair(conn, b"worker-a", OLD_MS)?;
    write_pair(conn, b"worker-b", OLD_MS + 1000)?;
    write_pair(conn, b"builder-c", OLD_MS + 2000)?;
    let now_ms = server_now_ms(conn)?;
    write_pair(conn, b"worker-live", now_ms)
}

fn stale_ids(reply: &Reply) -> Result<Vec<String>> {
    reply.texts("stale_ids")
}

#[test]
fn cleanup_is_a_flat_array_in_resp2_and_a_map_in_resp3() -> Result<()> {
    let server = start_warm()?;
    let (mut two, mut three) = (server.client()?, server.client3()?);
    write_pair(&mut two, b"dead", OLD_MS)?;
    for (option, is_dry) in [("DRYRUN", true), ("IDS 100", false)] {
        let line = format!("BLOCKING.CLEANUP {option}");
        write_pair(&mut two, b"dead", OLD_MS)?;
        let in_two = flat(&mut two, &line)?;
        write_pair(&mut two, b"dead", OLD_MS)?;
        let in_three = map(&mut three, &line)?;
        for (pairs, dry_run) in [
            (&in_two, Value::Int(i64::from(is_dry))),
            (&in_three, Value::Boolean(is_dry)),
        ] {
            let reply = reply_map(Value::Map(pairs.clone()))?;
            assert_eq!(reply.names(), CLEANUP_NAMES);
            assert!(pairs.iter().all(|(name, _)| is_text(name)));
            assert_eq!(field(pairs, "dry_run")?, &dry_run);
            assert_eq!(
                field(pairs, "status")?,
                &Value::BulkString(b"complete".to_vec())
            );
            let ids = Value::Array(vec![Value::BulkString(b"dead".to_vec())]);
            assert_eq!(field(pairs, "stale_ids")?, &ids);
            let removed = if is_dry { "would remove" } else { "removed" };
            let summary = format!("{removed} 1 of 1 stale coordinator and 2 keys");
            assert_eq!(reply.text("summary")?, summary);
            for name in CLEANUP_NAMES {
                if ![
                    "status",
                    "dry_run",
                    "keys_by_family",
                    "stale_ids",
                    "summary",
                ]
                .contains(&name)
                {
                    assert!(reply.int(name)? >= 0, "{name}");
                }
            }
            assert_eq!(reply.map("keys_by_family")?.names(), FAMILIES);
        }
        assert!(matches!(field(&in_two, "keys_by_family")?, Value::Array(_)));
        assert!(matches!(field(&in_three, "keys_by_family")?, Value::Map(_)));
    }
    assert_eq!(dbsize(&mut two)?, 0);
    Ok(())
}

#[test]
fn status_is_a_flat_array_in_resp2_and_a_map_in_resp3() -> Result<()> {
    let server = start_warm()?;
    let (mut two, mut three) = (server.client()?, server.client3()?);
    let names = ["state", "current", "last", "totals", "schedule"];
    let before = map(&mut three, "BLOCKING.STATUS")?;
    assert_eq!(reply_map(Value::Map(before.clone()))?.names(), names);
    assert_eq!(
        field(&before, "state")?,
        &Value::BulkString(b"idle".to_vec())
    );
    assert_eq!(field(&before, "current")?, &Value::Nil);
    assert_eq!(field(&before, "last")?, &Value::Nil);

    write_pair(&mut two, b"dead", OLD_MS)?;
    let reply = map(&mut three, "BLOCKING.CLEANUP")?;
    let after = map(&mut three, "BLOCKING.STATUS")?;
    assert_eq!(field(&after, "last")?, &Value::Map(reply));
    let in_two = flat(&mut two, "BLOCKING.STATUS")?;
    assert_eq!(reply_map(Value::Map(in_two.clone()))?.names(), names);
    let totals = reply_map(field(&in_two, "totals")?.clone())?;
    assert_eq!(totals.int("keys_removed")?, 2);
    assert!(matches!(field(&in_two, "totals")?, Value::Array(_)));
    assert!(matches!(field(&after, "totals")?, Value::Map(_)));
    Ok(())
}

#[test]
fn options_come_in_any_order_and_any_case() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    three_dead_one_live(&mut conn)?;
    for line in [
        "THRESHOLD 100 DRYRUN MATCH worker-* LIMIT 1 IDS 5",
        "IDS 5 LIMIT 1 MATCH worker-* DRYRUN THRESHOLD 100",
        "dryrun ids 5 match worker-* threshold 100 limit 1",
        "LiMiT 1 DryRun mAtCh worker-* Ids 5 tHreSholD 100",
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let reply = cleanup(&mut conn, &arguments)?;
        assert!(reply.flag("dry_run")?, "{line}");
        assert_eq!(reply.int("threshold_s")?, 100, "{line}");
        assert_eq!(reply.text("status")?, "limited", "{line}");
        assert_eq!(reply.int("coordinators_removed")?, 1, "{line}");
        assert_eq!(stale_ids(&reply)?, ["worker-a", "worker-b"], "{line}");
    }
    assert_eq!(dbsize(&mut conn)?, 8);
    Ok(())
}

#[test]
fn limit_takes_the_oldest_and_says_that_more_are_stale() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    three_dead_one_live(&mut conn)?;
    let all = ["worker-a", "worker-b", "builder-c"];
    for (left, status) in [
        (3, "limited"),
        (2, "limited"),
        (1, "complete"),
        (0, "complete"),
    ] {
        assert_eq!(dbsize(&mut conn)?, 2 * (left + 1));
        let reply = cleanup(&mut conn, &["LIMIT", "1"])?;
        assert_eq!(reply.text("status")?, status, "{left} left");
        assert_eq!(reply.int("coordinators_stale")?, left);
        assert_eq!(reply.int("coordinators_removed")?, left.min(1));
        assert_eq!(reply.int("keys_removed")?, 2 * left.min(1));
        // Those beyond the limit are stale too, and are listed.
        assert_eq!(stale_ids(&reply)?, all[all.len() - left as usize..]);
    }
    Ok(())
}

#[test]
fn ids_limits_the_list_and_nothing_else() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    three_dead_one_live(&mut conn)?;
    for (count, listed) in [("0", 0), ("2", 2), ("3", 3), ("10000", 3)] {
        let reply = cleanup(&mut conn, &["DRYRUN", "IDS", count])?;
        let expected = &["worker-a", "worker-b", "builder-c"][..listed];
        assert_eq!(stale_ids(&reply)?, expected);
        assert_eq!(reply.int("coordinators_removed")?, 3);
    }
    // A hundred unless told.
    for n in 0..150 {
        write_pair(&mut conn, format!("more-{n}").as_bytes(), OLD_MS + 5000 + n)?;
    }
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(stale_ids(&reply)?.len(), 100);
    assert_eq!(
        stale_ids(&reply)?[..4],
        ["worker-a", "worker-b", "builder-c", "more-0"]
    );
    assert_eq!(reply.int("coordinators_removed")?, 153);
    assert_eq!(dbsize(&mut conn)?, 2);
    Ok(())
}

#[test]
fn match_narrows_which_ones_go_but_not_which_are_counted() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    three_dead_one_live(&mut conn)?;
    // The live one must not go whatever the pattern, so only the dead are compared.
    let dead = ["worker-a", "worker-b", "builder-c"];
    let mut sizes = Vec::new();
    for pattern in [
        "worker-?",
        "*-[b-c]",
        "*[^c-z]",
        "*[!c-z]",
        "w*r-[ab]",
        r"worker\-a",
        "WORKER-*",
        "worker",
        "*",
        "[",
        "*]",
    ] {
        // The server's own KEYS says what the pattern means.
        let prefix = "blocking:heartbeat:";
        let keys: Vec<String> = blocking_harness::redis::cmd("KEYS")
            .arg(format!("{prefix}{pattern}"))
            .query(&mut conn)?;
        let is_meant = |id: &&str| keys.contains(&format!("{prefix}{id}"));
        let expected: Vec<&str> = dead.into_iter().filter(is_meant).collect();
        let reply = cleanup(&mut conn, &["DRYRUN", "MATCH", pattern])?;
        assert_eq!(stale_ids(&reply)?, expected, "{pattern}");
        let count = expected.len() as i64;
        assert_eq!(reply.int("coordinators_removed")?, count, "{pattern}");
        assert_eq!(reply.int("coordinators_stale")?, 3, "{pattern}");
        assert_eq!(reply.text("status")?, "complete", "{pattern}");
        sizes.push(count);
    }
    assert_eq!(sizes, [2, 2, 2, 1, 2, 1, 0, 0, 3, 0, 0]);
    cleanup(&mut conn, &["MATCH", "builder-*"])?;
    assert_eq!(dbsize(&mut conn)?, 6);
    Ok(())
}
