//! What DOCTOR sees, and where: on a replica, as a user with few rights, by another layout, in a cluster.

use anyhow::{Result, ensure};
use blocking_harness::redis::cmd;
use blocking_harness::{Cluster, Server, cleanup, server_now_ms};

use super::{beat, codes, config, finding, json, lines, set};
use crate::cluster::one_node;
use crate::list::user;

#[test]
fn a_replica_answers_and_says_that_it_is_one() -> Result<()> {
    let primary = super::start()?;
    let mut conn = primary.client()?;
    beat(&mut conn, "blocking:heartbeat:a", 10, 300)?;
    beat(&mut conn, "blocking:heartbeat:b", 5_000, 90_000)?;
    set(&mut conn, "blocking:signal:ghost", "x", &[])?;
    let replica = Server::builder()
        .replica_of(&primary)
        .arg("blocking.interval-seconds", 300)
        .arg("blocking.orphan-grace-seconds", 86_400)
        .start()?;
    replica.wait_in_sync_with(&primary)?;
    let mut there = replica.client()?;
    let told = json(&mut there)?;
    let expected = [
        "never-stale",
        "orphans",
        "found",
        "cleanup",
        "time-fields",
        "schedule",
        "replica",
    ];
    assert_eq!(codes(&told)?, expected, "{told:#}");
    // Its own schedule sleeps, whatever its settings.
    assert_eq!(finding(&told, "never-stale")?["severity"], "problem");
    assert_eq!(
        finding(&told, "schedule")?["nextRunS"],
        serde_json::Value::Null
    );
    let both = [
        finding(&told, "cleanup")?.clone(),
        finding(&json(&mut conn)?, "cleanup")?.clone(),
    ];
    assert_eq!(both[0], both[1]);
    Ok(())
}

#[test]
fn what_a_user_may_not_read_is_counted_and_not_shown() -> Result<()> {
    let server = super::start()?;
    let mut conn = server.client()?;
    beat(&mut conn, "blocking:heartbeat:open", 10, 0)?;
    beat(&mut conn, "blocking:heartbeat:secret:1", 5_000, 300_000)?;
    beat(&mut conn, "blocking:heartbeat:secret", 10, 300)?;
    set(&mut conn, "blocking:heartbeat:secret-mute", "{}", &[])?;
    set(&mut conn, "blocking:signal:secret-ghost", "x", &[])?;
    set(&mut conn, "blocking:signal:open-ghost", "x", &[])?;
    set(&mut conn, "blocking:secret:1", "x", &[])?;
    set(&mut conn, "blocking:hello:1", "x", &[])?;
    let all = json(&mut conn)?;
    ensure!(codes(&all)?.iter().all(|code| code != "denied"), "{all:#}");
    assert_eq!(finding(&all, "unknown-names")?["keys"], 2);

    let rules = [
        "%R~blocking:heartbeat:open*",
        "%R~blocking:signal:open*",
        "%R~blocking:hello:*",
    ];
    let mut some = user(&server, "some", &rules)?;
    let told = json(&mut some)?;
    let text = told.to_string();
    ensure!(!text.contains("secret"), "{text}");
    let denied = finding(&told, "denied")?;
    assert_eq!(denied["heartbeatsDenied"], 3);
    assert_eq!(denied["orphansDenied"], 1);
    assert_eq!(denied["namesDenied"], 1);
    // Nothing is said of the TTL, the form or the trouble of those, and they are counted all the same.
    let codes_told = codes(&told)?;
    for code in ["never-stale", "unreadable"] {
        ensure!(!codes_told.contains(&code.to_owned()), "{told:#}");
    }
    assert_eq!(finding(&told, "no-ttl")?["heartbeats"], 1);
    assert_eq!(finding(&told, "unknown-names")?["keys"], 1);
    assert_eq!(finding(&told, "found")?["coordinatorsChecked"], 4);
    let ambiguous = finding(&told, "ambiguous-ids")?;
    assert_eq!(
        (&ambiguous["ambiguousIds"], &ambiguous["example"]),
        (&1.into(), &serde_json::Value::Null)
    );
    assert_eq!(
        finding(&told, "colon-ids")?["example"],
        serde_json::Value::Null
    );
    let signal = &finding(&told, "orphans")?["families"]["signal"];
    assert_eq!(
        (&signal["keys"], &signal["keysMeasured"]),
        (&2.into(), &1.into())
    );
    let told_lines = lines(&mut some)?;
    ensure!(
        told_lines
            .iter()
            .any(|line| line.contains("signal 2 (about ")),
        "{told_lines:#?}"
    );

    // The user may delete nothing: as in a dry run by the same user.
    let reply = cleanup(&mut some, &["DRYRUN"])?;
    let thresholds = finding(&told, "cleanup")?["thresholds"].clone();
    assert_eq!(thresholds[1]["thresholdS"], 600);
    assert_eq!(
        thresholds[1]["coordinatorsRemoved"],
        reply.int("coordinators_removed")?
    );
    assert_eq!(thresholds[1]["keysDenied"], reply.int("keys_denied")?);
    assert_eq!(thresholds[1]["keysDenied"], 1);

    // To write is not to read.
    let mut blind = user(&server, "blind", &["%W~*"])?;
    let told = json(&mut blind)?;
    assert_eq!(codes(&told)?[0], "denied", "{told:#}");
    assert_eq!(finding(&told, "denied")?["heartbeatsDenied"], 4);
    ensure!(!told.to_string().contains("secret"), "{told:#}");
    Ok(())
}

#[test]
fn a_user_needs_the_command() -> Result<()> {
    let server = super::start()?;
    let mut conn = user(&server, "none", &["~*", "-blocking.doctor"])?;
    let error = lines(&mut conn).unwrap_err().to_string();
    ensure!(
        error.contains("NOPERM") || error.contains("permission"),
        "{error}"
    );
    let mut conn = user(&server, "one", &["~*", "-@all", "+blocking.doctor"])?;
    ensure!(!lines(&mut conn)?.is_empty());
    Ok(())
}

#[test]
fn names_fields_and_protection_are_those_of_the_settings() -> Result<()> {
    let server = super::start()?;
    let mut conn = server.client()?;
    let now_ms = server_now_ms(&mut conn)?;
    let value = format!(r#"{{"seen":{}}}"#, now_ms - 5_000_000);
    set(&mut conn, "coord:a:beat", &value, &["EX", "9000"])?;
    set(&mut conn, "coord:b:beat", &value, &["EX", "9000"])?;
    set(&mut conn, "coord:a:mood", "x", &[])?;
    set(&mut conn, "coord:b:mood", "x", &[])?;
    set(&mut conn, "coord:a:mail", "x", &[])?;
    set(&mut conn, "blocking:beat:1", "x", &[])?;
    assert_eq!(codes(&json(&mut conn)?)?[0], "no-coordinators");
    config(
        &mut conn,
        &[
            "blocking.families",
            "heartbeat=coord:{id}:beat signal=coord:{id}:mail",
            "blocking.time-fields",
            "seen",
            "blocking.protect",
            "b",
        ],
    )?;
    let told = json(&mut conn)?;
    let found = finding(&told, "found")?;
    assert_eq!(
        (&found["coordinatorsStale"], &found["coordinatorsProtected"]),
        (&2.into(), &1.into())
    );
    assert_eq!(finding(&told, "time-fields")?["fields"][0]["field"], "seen");
    let names = finding(&told, "unknown-names")?["names"].clone();
    assert_eq!(
        (&names[0]["name"], &names[0]["keys"]),
        (&"coord:*:mood".into(), &2.into())
    );
    assert_eq!(names.as_array().map(Vec::len), Some(1));
    let at_600 = finding(&told, "cleanup")?["thresholds"][1].clone();
    assert_eq!(
        (&at_600["coordinatorsRemoved"], &at_600["keysRemoved"]),
        (&1.into(), &2.into())
    );
    Ok(())
}

#[test]
fn what_the_module_writes_itself_is_not_reported() -> Result<()> {
    let server = super::start()?;
    let mut conn = server.client()?;
    beat(&mut conn, "blocking:heartbeat:a", 5_000, 0)?;
    config(
        &mut conn,
        &["blocking.obituary-stream", "blocking:obituaries"],
    )?;
    cleanup(&mut conn, &[])?;
    let length: i64 = cmd("XLEN").arg("blocking:obituaries").query(&mut conn)?;
    assert_eq!(length, 1);
    let told = json(&mut conn)?;
    ensure!(finding(&told, "unknown-names").is_err(), "{told:#}");
    Ok(())
}

#[test]
fn several_nodes_are_told_apart_from_one() -> Result<()> {
    let cluster = one_node()?;
    let server = &cluster.nodes()[0];
    let mut conn = server.client()?;
    beat(&mut conn, "blocking:heartbeat:a", 10, 300)?;
    set(&mut conn, "blocking:signal:ghost", "x", &[])?;
    let told = json(&mut conn)?;
    ensure!(finding(&told, "cluster").is_err(), "{told:#}");
    assert_eq!(
        finding(&told, "orphans")?["families"]["signal"]["keysMeasured"],
        1
    );
    drop(cluster);
    let cluster = Cluster::start(&Server::builder(), 2)?;
    let mut conn = cluster.nodes()[0].client()?;
    // All that begins like this is in a slot of this node.
    beat(&mut conn, "blocking:heartbeat:{2}a", 10, 300)?;
    set(&mut conn, "blocking:signal:{2}ghost", "x", &[])?;
    let told = json(&mut conn)?;
    let first = ["warm-up", "never-stale", "cluster"];
    ensure!(codes(&told)?[..3] == first, "{told:#}");
    let advice = |code: &str| finding(&told, code).map(|found| found["advice"].to_string());
    ensure!(
        advice("never-stale")?.contains("blocking.cluster-tags"),
        "{told:#}"
    );
    // What may have an owner there is no orphan.
    ensure!(finding(&told, "orphans").is_err(), "{told:#}");
    assert_eq!(finding(&told, "cluster")?["keysElsewhere"], 1);
    Ok(())
}
