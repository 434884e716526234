//! contrib/blocking-cleanup as cron and systemd run it: what it prints, and how it ends.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{Server, dbsize};

use crate::{contrib, output, read, said};

fn acl(conn: &mut Connection, rules: &[&str]) -> Result<()> {
    let mut command = redis::cmd("ACL");
    Ok(command.arg("SETUSER").arg(rules).exec(conn)?)
}

/// A server with one dead coordinator of two keys.
fn server() -> Result<Server> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    for key in ["blocking:heartbeat:dead", "blocking:signal:dead"] {
        let mut set = redis::cmd("SET");
        set.arg(key).arg(1_700_000_000_000i64).exec(&mut conn)?;
    }
    Ok(server)
}

/// Runs the script; `cli` are options of redis-cli.
fn job(server: &Server, cli: &str, password: Option<&str>, arguments: &[&str]) -> Result<Output> {
    let mut script = Command::new(contrib("blocking-cleanup"));
    script
        .env(
            "BLOCKING_CLI",
            format!("redis-cli -p {} {cli}", server.port()),
        )
        .env_remove("REDISCLI_AUTH")
        .envs(password.map(|password| ("REDISCLI_AUTH", password)))
        .args(arguments);
    output(&mut script)
}

fn ends_with(output: &Output, status: i32, words: &str) -> Result<()> {
    let said = said(output);
    ensure!(
        output.status.code() == Some(status) && said.contains(words),
        "{:?}, not {status}: {said}",
        output.status
    );
    Ok(())
}

#[test]
fn the_status_says_how_it_went() -> Result<()> {
    let server = server()?;
    let mut conn = server.client()?;
    // The options are those of the command.
    let dry = job(&server, "", None, &["DRYRUN"])?;
    ends_with(&dry, 0, r#""keysDeleted":2"#)?;
    ensure!(dry.stderr.is_empty() && dbsize(&mut conn)? == 2);
    let reply: serde_json::Value = serde_json::from_slice(&dry.stdout)?;
    ensure!(reply["status"] == "complete");
    // A run for one of two is no failure.
    let mut set = redis::cmd("SET");
    set.arg("blocking:heartbeat:b")
        .arg(1_700_000_000_000i64)
        .exec(&mut conn)?;
    let limited = job(&server, "", None, &["LIMIT", "1"])?;
    ends_with(&limited, 0, r#""status":"limited""#)?;
    ends_with(&job(&server, "", None, &[])?, 0, r#""status":"complete""#)?;
    ensure!(dbsize(&mut conn)? == 0);
    let wrong = job(&server, "", None, &["TRESHOLD", "60"])?;
    ends_with(&wrong, 1, "ERR unknown option 'TRESHOLD'")?;
    ensure!(wrong.stdout.is_empty());
    let unreachable = job(&server, "-p 1", None, &[])?;
    ends_with(&unreachable, 1, "Could not connect")?;
    Ok(())
}

#[test]
fn a_run_that_was_cut_short_or_refused_is_a_failure_of_its_own() -> Result<()> {
    let server = server()?;
    let mut conn = server.client()?;
    // Ids must not be taken for the status.
    for n in 0..20 {
        let id = format!(r#"blocking:heartbeat:{n}","status":"complete"#);
        let mut set = redis::cmd("SET");
        set.arg(id).arg(1_700_000_000_000i64).exec(&mut conn)?;
    }
    let refused = job(&server, "", None, &["BREAKER", "50"])?;
    ends_with(&refused, 2, r#""status":"refused""#)?;
    ensure!(dbsize(&mut conn)? == 22);
    // More names than fit.
    let mut pipe = redis::pipe();
    for n in 0..5_000 {
        let key = format!("blocking:heartbeat:a-rather-long-id-{n}");
        pipe.set(key, 1_700_000_000_000i64);
    }
    let () = pipe.exec(&mut conn)?;
    let limit = ["SET", "blocking.collect-max-bytes", "65536"];
    redis::cmd("CONFIG").arg(&limit).exec(&mut conn)?;
    let truncated = job(&server, "", None, &[])?;
    ends_with(&truncated, 2, r#""status":"truncated""#)?;
    ends_with(&truncated, 2, "cut short, refused")?;
    // A server that refuses writes from the beginning answers itself.
    let replicas = ["SET", "min-replicas-to-write", "1"];
    redis::cmd("CONFIG").arg(&replicas).exec(&mut conn)?;
    ends_with(&job(&server, "", None, &[])?, 1, "NOREPLICAS")
}

#[test]
fn a_run_that_may_not_delete_all_is_a_failure_too() -> Result<()> {
    let server = server()?;
    let mut conn = server.client()?;
    let key = "coordinator:activity:dead";
    redis::cmd("SET").arg(&[key, "1"]).exec(&mut conn)?;
    let rules = [
        "janitor",
        "on",
        ">secret",
        "~blocking:*",
        "+blocking.cleanup",
    ];
    acl(&mut conn, &rules)?;
    let partial = job(&server, "--user janitor", Some("secret"), &[])?;
    ends_with(&partial, 2, r#""status":"partial""#)?;
    ends_with(&partial, 2, "1 that the user may not delete")?;
    ends_with(&partial, 2, "left keys of stale coordinators")
}

#[test]
fn a_wrong_password_runs_nothing_as_another_user() -> Result<()> {
    let server = server()?;
    let mut conn = server.client()?;
    acl(
        &mut conn,
        &[
            "janitor",
            "on",
            ">secret",
            "~blocking:*",
            "+blocking.cleanup",
        ],
    )?;
    for (cli, password) in [("--user janitor", "wrong"), ("--user nobody", "secret")] {
        let failed = job(&server, cli, Some(password), &[])?;
        ends_with(&failed, 3, "AUTH failed")?;
        ensure!(failed.stdout.is_empty() && dbsize(&mut conn)? == 2);
    }
    let right = job(&server, "--user janitor", Some("secret"), &[])?;
    ends_with(&right, 0, r#""keysDeleted":2"#)
}

/// What stands in the file for cron and in the unit is a command that works.
#[test]
fn cron_and_systemd_call_it_right() -> Result<()> {
    let cron = read("blocking-cleanup.cron")?;
    let unit = read("blocking-cleanup.service")?;
    let line = cron.lines().find(|line| line.starts_with("*/5 * * * * "));
    let called = line.and_then(|line| line.strip_prefix("*/5 * * * * nobody "));
    let called = called.context("five fields and a user")?;
    // Cron takes a percent sign for the end of the line.
    ensure!(!called.contains('%'), "{called}");
    let started = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let started = started.context("no ExecStart")?;
    for (command, prints) in [(called, false), (started, true)] {
        let server = server()?;
        let mut conn = server.client()?;
        acl(
            &mut conn,
            &[
                "janitor",
                "on",
                ">secret",
                "~blocking:*",
                "+blocking.cleanup",
            ],
        )?;
        let here = contrib("blocking-cleanup");
        let script = command.replace("/usr/local/bin/blocking-cleanup", &here.to_string_lossy());
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]);
        for name in ["BLOCKING_CLI", "REDISCLI_AUTH"] {
            let set = cron
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{name}=")));
            let port = format!("redis-cli -p {}", server.port());
            shell.env(name, set.context(name)?.replace("redis-cli", &port));
        }
        let output = output(&mut shell)?;
        ends_with(&output, 0, if prints { "complete" } else { "" })?;
        ensure!(output.stdout.is_empty() != prints && output.stderr.is_empty());
        ensure!(dbsize(&mut conn)? == 0);
    }
    Ok(())
}
