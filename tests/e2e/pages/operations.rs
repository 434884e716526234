//! docs/operations.md against a real server: commands are run, names looked up, and what it says of rights and
//! leftovers happens.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use blocking_harness::redis::{self, Cmd, Connection, ConnectionLike, Value};
use blocking_harness::{Server, cleanup, dbsize};

use super::OPERATIONS;

const PAGE: &str = OPERATIONS.text;
const RULES: &str = include_str!("../../../contrib/prometheus-rules.yml");

/// The lines of blocks without a language: commands for the server.
fn commands() -> Vec<&'static str> {
    let mut inside = None;
    let mut found = Vec::new();
    for line in PAGE.lines().map(str::trim) {
        if let Some(language) = line.strip_prefix("```") {
            inside = match inside {
                None => Some(language.is_empty()),
                Some(_) => None,
            };
        } else if inside == Some(true) {
            found.push(line);
        }
    }
    found
}

fn run(conn: &mut Connection, line: &str) -> Result<Value> {
    let mut words = line.split(' ');
    let mut command = Cmd::new();
    words.by_ref().for_each(|word| {
        command.arg(word);
    });
    Ok(conn.req_command(&command)?)
}

/// A connection of that user, whose password is `secret`.
fn user(server: &Server, name: &str) -> Result<Connection> {
    let mut conn = server.client()?;
    redis::cmd("AUTH").arg(&[name, "secret"]).exec(&mut conn)?;
    Ok(conn)
}

fn is_refused(conn: &mut Connection, line: &str, code: &str) -> Result<bool> {
    Ok(match run(conn, line)? {
        Value::ServerError(error) => {
            ensure!(error.code() == code, "{line}: {error:?}");
            true
        }
        _ => false,
    })
}

#[test]
fn every_command_is_accepted_and_the_rights_are_enough() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let commands = commands();
    ensure!(commands.len() >= 10, "{commands:?}");
    for line in commands {
        if let Value::ServerError(error) = run(&mut conn, line)? {
            bail!("{line}: {error:?}");
        }
    }
    let family = [
        "heartbeat:dead",
        "signal:dead",
        "ack:dead:s",
        "idempotency:dead:init",
    ];
    for key in family {
        let mut set = redis::cmd("SET");
        set.arg(format!("blocking:{key}"))
            .arg(1_700_000_000_000i64)
            .exec(&mut conn)?;
    }
    let mut watcher = user(&server, "watcher")?;
    for line in ["BLOCKING.STATUS", "INFO blocking", "CONFIG GET blocking.*"] {
        ensure!(!is_refused(&mut watcher, line, "NOPERM")?, "{line}");
    }
    for line in [
        "BLOCKING.CLEANUP",
        "BLOCKING.CANCEL",
        "CONFIG SET blocking.slice-us 300",
    ] {
        ensure!(is_refused(&mut watcher, line, "NOPERM")?, "{line}");
    }
    let mut work = redis::cmd("SET");
    work.arg(&["coordinator:work:1", "x"]).exec(&mut conn)?;
    let mut physician = user(&server, "physician")?;
    ensure!(is_refused(
        &mut physician,
        "GET blocking:signal:dead",
        "NOPERM"
    )?);
    ensure!(is_refused(&mut physician, "BLOCKING.CLEANUP", "NOPERM")?);
    let told: Vec<String> = redis::cmd("BLOCKING.DOCTOR").query(&mut physician)?;
    ensure!(
        told.iter().any(|line| line.contains("coordinator:work:")),
        "{told:#?}"
    );
    ensure!(
        !told.iter().any(|line| line.contains("may not read")),
        "{told:#?}"
    );
    redis::cmd("DEL")
        .arg("coordinator:work:1")
        .exec(&mut conn)?;
    let mut janitor = user(&server, "janitor")?;
    ensure!(is_refused(
        &mut janitor,
        "GET blocking:signal:dead",
        "NOPERM"
    )?);
    ensure!(is_refused(
        &mut janitor,
        "UNLINK blocking:signal:dead",
        "NOPERM"
    )?);
    ensure!(cleanup(&mut janitor, &[])?.int("keys_removed")? == 4);
    ensure!(dbsize(&mut conn)? == 0);
    Ok(())
}

/// The table of categories, on the server that there is.
#[test]
fn categories_give_and_take_what_the_table_says() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let listed: Vec<String> = redis::cmd("ACL").arg(&["CAT", "write"]).query(&mut conn)?;
    let has_categories = listed.contains(&"blocking.cleanup".to_owned());
    for (name, rules, calls, is_open) in [
        (
            "app",
            "+@all -@dangerous",
            "BLOCKING.CLEANUP",
            !has_categories,
        ),
        (
            "app",
            "+@all -@dangerous",
            "BLOCKING.STATUS",
            !has_categories,
        ),
        (
            "kept",
            "+@all -blocking.cleanup -blocking.cancel",
            "BLOCKING.CLEANUP",
            false,
        ),
        ("writes", "+@write", "BLOCKING.CLEANUP", has_categories),
        ("blocks", "+@blocking", "BLOCKING.CLEANUP", has_categories),
        ("fast", "+@fast", "BLOCKING.STATUS", has_categories),
        ("fast", "+@fast", "BLOCKING.HELP", has_categories),
    ] {
        run(
            &mut conn,
            &format!("ACL SETUSER {name} on >secret ~* {rules}"),
        )?;
        let mut conn = user(&server, name)?;
        let is_refused = is_refused(&mut conn, calls, "NOPERM")?;
        ensure!(is_refused != is_open, "{rules}: {calls}");
    }
    Ok(())
}

#[test]
fn every_field_and_every_alert_it_names_exists_and_none_is_missing() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    cleanup(&mut conn, &[])?;
    let info: String = redis::cmd("INFO").arg("blocking").query(&mut conn)?;
    let words: BTreeSet<&str> = PAGE.split('`').collect();
    for word in words.iter().filter(|word| word.starts_with("blocking_")) {
        let field = format!("{word}:");
        let is_there = info.lines().any(|line| line.starts_with(&field));
        ensure!(is_there || *word == "blocking_module_loaded", "{word}");
    }
    let alerts: BTreeSet<&str> = RULES
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    let named = words.iter().filter(|word| word.starts_with("Blocking"));
    assert_eq!(named.copied().collect::<BTreeSet<_>>(), alerts);
    let settings: Vec<String> = redis::cmd("CONFIG")
        .arg(&["GET", "blocking.*"])
        .query(&mut conn)?;
    for word in words
        .iter()
        .filter_map(|word| word.strip_prefix("blocking."))
    {
        // Commands begin like settings, in rules.
        let name = format!("blocking.{word}");
        let known = settings.contains(&name) || word == "*" || word == "cleanup";
        ensure!(known, "{name}");
    }
    Ok(())
}

/// A server does not start with what is left over, and says so in these words.
#[test]
fn leftovers_keep_a_server_from_starting() -> Result<()> {
    for (name, value, words) in [
        (
            "blocking.threshold-seconds",
            "600",
            "Module Configuration detected without loadmodule directive or no ApplyConfig call: aborting",
        ),
        (
            "user",
            "janitor on nopass ~blocking:* +blocking.cleanup",
            "Unknown command or category name in ACL",
        ),
        (
            "user",
            "app on nopass ~* +@all -blocking.cleanup",
            "Unknown command or category name in ACL",
        ),
    ] {
        ensure!(PAGE.contains(words));
        let without = Server::builder().module(false).arg(name, value).start();
        let error = without
            .err()
            .with_context(|| format!("it started with {name}"))?;
        let text = format!("{error:#}");
        ensure!(text.contains(words), "{name} {value}: {text}");
        Server::builder().arg(name, value).start()?;
    }
    Ok(())
}
