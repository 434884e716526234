//! The server's ACL: what the caller may not delete stays and is counted, and a caller that may not run a cleanup, or
//! does not exist any more, removes nothing.

use std::collections::BTreeSet;
use std::time::Duration;

/// Users and rights change while a run is on.
mod mid_run;
/// Rights that are more than a list of patterns.
mod selectors;
/// Rules that name commands of a module that is to go.
mod unload;

use anyhow::{Result, ensure};
use blocking_harness::redis::{Cmd, Connection, Value, cmd};
use blocking_harness::{
    Fleet, Reply, Server, cleanup, command, error_text, existing_keys, info_field, server_now_ms,
    wait_for_value,
};

const WITHIN: Duration = Duration::from_secs(60);

/// One more connection, logged in as a user with these rules.
fn user(server: &Server, name: &str, rules: &[&str]) -> Result<Connection> {
    let mut admin = server.client()?;
    let () = acl(
        &mut admin,
        &[&["SETUSER", name, "on", ">pw"], rules].concat(),
    )?;
    let mut conn = server.client()?;
    let () = cmd("AUTH").arg(&[name, "pw"]).query(&mut conn)?;
    Ok(conn)
}

fn acl(conn: &mut Connection, args: &[&str]) -> Result<()> {
    Ok(cmd("ACL").arg(args).query(conn)?)
}

const COMMANDS: [&str; 3] = ["+blocking.cleanup", "+blocking.status", "+ping"];

fn fleet(conn: &mut Connection, count: usize) -> Result<Fleet> {
    let now = server_now_ms(conn)?;
    let fleet = Fleet::numbered("dead", count, now).age_s(700);
    fleet.load(conn, |_| {})?;
    Ok(fleet)
}

fn keys(conn: &mut Connection) -> Result<BTreeSet<Vec<u8>>> {
    Ok(cmd("KEYS").arg("*").query(conn)?)
}

fn keys_with(fleet: &Fleet, prefixes: &[&str]) -> BTreeSet<Vec<u8>> {
    let has_prefix = |key: &Vec<u8>| {
        let found = prefixes.iter().find(|p| key.starts_with(p.as_bytes()));
        found.is_some()
    };
    fleet.keys().filter(has_prefix).collect()
}

/// Family by family, in the order of the reply.
fn by_family(reply: &Reply) -> Result<Vec<i64>> {
    let families = reply.map("keys_by_family")?;
    families.names().iter().map(|f| families.int(f)).collect()
}

fn state(conn: &mut Connection) -> Result<Reply> {
    Ok(command(conn, "BLOCKING.STATUS", &[])?)
}

fn last_run(conn: &mut Connection) -> Result<Reply> {
    let idle = |status: &Reply| status.text("state").is_ok_and(|state| state == "idle");
    wait_for_value("the end of the run", WITHIN, || state(conn), idle)?.map("last")
}

/// A key whose TTL has passed does not count as denied, though the server still holds it when the run comes by.
#[test]
fn an_expired_key_that_the_caller_may_not_delete_keeps_nothing() -> Result<()> {
    let server = Server::start()?;
    let mut admin = server.client()?;
    let off = ["SET-ACTIVE-EXPIRE", "0"];
    let () = cmd("DEBUG").arg(&off).query(&mut admin)?;
    let fleet = fleet(&mut admin, 20)?;
    let foreign = ["coordinator:activity:", "swarm:"];
    for key in keys_with(&fleet, &foreign) {
        let () = cmd("PEXPIRE").arg(key).arg(1).query(&mut admin)?;
    }
    std::thread::sleep(Duration::from_millis(5));
    let rules = [&["~blocking:*"], &COMMANDS[..]].concat();
    let mut janitor = user(&server, "janitor", &rules)?;
    for options in [&["DRYRUN"][..], &[]] {
        let reply = cleanup(&mut janitor, options)?;
        assert_eq!(reply.int("coordinators_removed")?, 20, "{options:?}");
        assert_eq!(by_family(&reply)?, [20, 20, 20, 20, 0, 0], "{options:?}");
        // The field is there only if there is something to say.
        ensure!(!reply.names().contains(&"keys_denied"), "{reply:?}");
    }
    assert_eq!(keys(&mut admin)?, BTreeSet::new());
    Ok(())
}

#[test]
fn keys_that_the_caller_may_not_delete_stay_and_so_does_the_heartbeat() -> Result<()> {
    let server = Server::start()?;
    let mut admin = server.client()?;
    let fleet = fleet(&mut admin, 20)?;
    // A family with nothing but what the caller may delete goes whole.
    let now = server_now_ms(&mut admin)?;
    let beat = format!(r#"{{"timestamp":{}}}"#, now - 700_000);
    let () = cmd("SET")
        .arg(&["blocking:heartbeat:plain", &beat])
        .query(&mut admin)?;
    let mut janitor = user(
        &server,
        "janitor",
        &[&["~blocking:*"], &COMMANDS[..]].concat(),
    )?;
    let why = "keys stay, and their stale owners' heartbeats: 40 that the user may not delete";
    let foretold = cleanup(&mut janitor, &["DRYRUN"])?;
    let reply = cleanup(&mut janitor, &[])?;
    for reply in [&foretold, &reply] {
        assert_eq!(reply.text("status")?, "partial");
        assert_eq!(reply.text("reason")?, why);
        let summary = reply.text("summary")?;
        ensure!(summary.ends_with(&format!("; partial: {why}")), "{summary}");
    }
    assert_eq!(reply.int("coordinators_stale")?, 21);
    assert_eq!(reply.int("coordinators_removed")?, 1);
    assert_eq!(by_family(&reply)?, [1, 20, 20, 20, 0, 0]);
    assert_eq!(reply.int("keys_removed")?, 61);
    assert_eq!(reply.int("keys_denied")?, 40);
    let kept = ["blocking:heartbeat:", "coordinator:activity:", "swarm:"];
    assert_eq!(keys(&mut admin)?, keys_with(&fleet, &kept));

    // Nothing more for the janitor, the rest for a user that may.
    let again = cleanup(&mut janitor, &[])?;
    assert_eq!(again.int("keys_removed")?, 0);
    assert_eq!(again.int("keys_denied")?, 40);
    assert_eq!(again.text("status")?, "partial");
    let rest = cleanup(&mut admin, &[])?;
    assert_eq!(rest.text("status")?, "complete");
    assert_eq!(rest.int("keys_removed")?, 60);
    assert_eq!(rest.int("coordinators_removed")?, 20);
    assert!(rest.get("keys_denied").is_none(), "{rest:?}");
    assert_eq!(keys(&mut admin)?, BTreeSet::new());
    Ok(())
}

#[test]
fn a_denied_heartbeat_is_judged_protects_and_stays() -> Result<()> {
    let server = Server::start()?;
    let mut admin = server.client()?;
    let now = server_now_ms(&mut admin)?;
    let beat = |age_s: i64| format!(r#"{{"timestamp":{}}}"#, now - age_s * 1_000);
    let pairs = [
        ("swarm:s:blocking:heartbeat:dead", beat(700)),
        ("swarm:s:blocking:heartbeat:live", beat(5)),
        ("blocking:signal:dead", "1".to_owned()),
        ("blocking:signal:live", "1".to_owned()),
        ("blocking:idempotency:dead:live:x", "1".to_owned()),
    ];
    for (key, value) in &pairs {
        let () = cmd("SET").arg(key).arg(value).query(&mut admin)?;
    }
    let rules = [&["~blocking:*"], &COMMANDS[..]].concat();
    let reply = cleanup(&mut user(&server, "janitor", &rules)?, &[])?;
    let counts = [
        ("coordinators_checked", 2),
        ("coordinators_stale", 1),
        ("coordinators_removed", 0),
        ("keys_removed", 1),
        ("keys_vetoed", 1),
        ("keys_denied", 1),
    ];
    for (name, count) in counts {
        assert_eq!(reply.int(name)?, count, "{name}");
    }
    let left = pairs.map(|(key, _)| key.as_bytes().to_vec());
    let mut left = BTreeSet::from(left);
    left.remove(b"blocking:signal:dead".as_slice());
    assert_eq!(keys(&mut admin)?, left);
    Ok(())
}

#[test]
fn to_delete_a_key_takes_the_right_to_write_it() -> Result<()> {
    let server = Server::start()?;
    let mut admin = server.client()?;
    for (name, rules, removed) in [
        ("reader", &["%R~*"][..], 0),
        ("nobody", &[], 0),
        ("writer", &["%W~*"], 12),
    ] {
        let () = cmd("FLUSHALL").query(&mut admin)?;
        let fleet = fleet(&mut admin, 2)?;
        let mut conn = user(&server, name, &[rules, &COMMANDS].concat())?;
        let reply = cleanup(&mut conn, &[])?;
        assert_eq!(reply.int("coordinators_stale")?, 2, "{name}");
        assert_eq!(reply.int("keys_removed")?, removed, "{name}");
        let denied = reply.get("keys_denied").cloned();
        assert_eq!(denied, (removed == 0).then_some(Value::Int(12)), "{name}");
        let left = existing_keys(&mut admin, fleet.keys())?.len() as i64;
        assert_eq!(left, 12 - removed, "{name}");
    }
    Ok(())
}

#[test]
fn a_dry_run_of_a_restricted_user_names_exactly_what_the_run_removes() -> Result<()> {
    let server = Server::start()?;
    let mut admin = server.client()?;
    fleet(&mut admin, 30)?;
    let now = server_now_ms(&mut admin)?;
    let more = Fleet::numbered("other", 10, now).age_s(900).swarm("mine");
    more.load(&mut admin, |_| {})?;
    let rules = ["~blocking:*", "~*:other-*", "~swarm:mine:*"];
    let mut janitor = user(&server, "janitor", &[&rules, &COMMANDS[..]].concat())?;
    let before = keys(&mut admin)?;
    let dry = cleanup(&mut janitor, &["DRYRUN"])?;
    assert_eq!(keys(&mut admin)?, before);
    let real = cleanup(&mut janitor, &[])?;
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
    let comparable = |reply: &Reply| -> Vec<(String, Value)> {
        let fields = reply.fields().iter();
        let same = |(name, _): &&(String, Value)| !own_to_each_run.contains(&name.as_str());
        fields.filter(same).cloned().collect()
    };
    assert_eq!(comparable(&real), comparable(&dry));
    assert_eq!(real.int("coordinators_removed")?, 10);
    assert_eq!(real.int("keys_removed")?, 30 * 3 + 10 * 6);
    assert_eq!(real.int("keys_denied")?, 30 * 2);
    let gone = before.len() - keys(&mut admin)?.len();
    assert_eq!(gone as i64, real.int("keys_removed")?);
    Ok(())
}

#[test]
fn a_user_that_may_not_run_the_command_removes_nothing() -> Result<()> {
    let server = Server::start()?;
    let mut admin = server.client()?;
    let fleet = fleet(&mut admin, 2)?;
    let mut guest = user(&server, "guest", &["~*", "+@all", "-blocking.cleanup"])?;
    for args in [&[][..], &["DRYRUN"], &["ASYNC"]] {
        let refused = cleanup(&mut guest, args).unwrap_err();
        let text = error_text(&refused);
        assert!(text.starts_with("NOPERM "), "{text}");
        assert!(text.contains("'blocking.cleanup'"), "{text}");
    }
    assert_eq!(existing_keys(&mut admin, fleet.keys())?.len(), 12);
    // The other commands are permitted one by one.
    assert_eq!(state(&mut guest)?.text("state")?, "idle");
    Ok(())
}

/// The version, as numbers to compare; Valkey's own where it is one.
fn version(conn: &mut Connection) -> Result<(bool, Vec<u32>)> {
    let valkey = info_field(conn, "server", "valkey_version");
    let (is_valkey, text) = match valkey {
        Ok(version) => (true, version),
        Err(_) => (false, info_field(conn, "server", "redis_version")?),
    };
    let parts: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
    Ok((is_valkey, parts?))
}

fn info_of(command: &str) -> Cmd {
    let mut info = cmd("COMMAND");
    info.arg("INFO").arg(command);
    info
}

fn texts(value: &Value) -> BTreeSet<String> {
    let text = |item: &Value| match item {
        Value::SimpleString(text) => Some(text.clone()),
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    };
    match value {
        Value::Array(items) | Value::Set(items) => items.iter().filter_map(text).collect(),
        _ => BTreeSet::new(),
    }
}

#[test]
fn categories_are_declared_where_the_server_has_them() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let (is_valkey, version) = version(&mut conn)?;
    let has_categories = is_valkey || version >= vec![7, 2];
    let info = |conn: &mut Connection, command: &str| -> Result<Vec<Value>> {
        let mut info: Vec<Vec<Value>> = info_of(command).query(conn)?;
        Ok(info.remove(0))
    };
    for (command, declared) in [
        ("BLOCKING.CLEANUP", "@write @slow @dangerous @blocking"),
        ("BLOCKING.STATUS", "@fast @dangerous"),
        ("BLOCKING.CANCEL", "@fast @dangerous"),
        ("BLOCKING.HELP", "@fast"),
    ] {
        // Redis 7.0 has none for commands of modules.
        let expected = if has_categories { declared } else { "" };
        let expected: BTreeSet<String> = expected.split_whitespace().map(str::to_owned).collect();
        assert_eq!(texts(&info(&mut conn, command)?[6]), expected, "{command}");
    }
    let by_category = ["~*", "+@write", "+@slow", "+@dangerous"];
    let mut member = user(&server, "member", &by_category)?;
    let answer = cleanup(&mut member, &[]);
    if has_categories {
        assert!(answer.is_ok(), "{answer:?}");
    } else {
        // Only the name grants it.
        let text = error_text(&answer.unwrap_err());
        assert!(text.starts_with("NOPERM "), "{text}");
    }
    let info = info(&mut conn, "BLOCKING.CLEANUP")?;
    let ensure_flags = |expected: &[&str]| {
        let flags = texts(&info[2]);
        let expected: BTreeSet<String> = expected.iter().map(|f| (*f).to_owned()).collect();
        ensure!(expected.is_subset(&flags), "{flags:?}");
        Ok(())
    };
    ensure_flags(&["write", "noscript", "blocking"])
}
