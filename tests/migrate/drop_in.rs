//! The program `blocking-cleanup` in the place of a script: the same keys as with the command, what wrappers read, and
//! an exit status for all that scripts did not report.
//! Must not test what the program has beyond that: its own tests do.

use std::process::Command;

use anyhow::{Result, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{Server, client_program, dbsize, server_now_ms};

use crate::case::{Contender, Now, beat, family, hold, text, write};
use crate::scripts::{Said, said, shell, shell_command};
use crate::{builder, cases};

/// The program, told which server.
pub fn command(server: &Server) -> Result<Command> {
    let mut command = Command::new(client_program()?);
    command
        .args(["-p", &server.port().to_string()])
        .env_remove("REDISCLI_AUTH");
    Ok(command)
}

fn run(server: &Server, options: &[&str]) -> Result<Said> {
    said(command(server)?.args(options))
}

/// Two dead ones with all their keys, and a living one.
fn load(conn: &mut Connection) -> Result<Now> {
    let now = Now {
        ms: server_now_ms(conn)?,
    };
    for (id, ms) in [
        ("build-7", now.ago(9_000)),
        ("test-3", now.old()),
        ("deploy-2", now.ms),
    ] {
        write(conn, &family(id, ms))?;
    }
    Ok(now)
}

#[test]
fn it_removes_what_the_command_removes() -> Result<()> {
    hold(cases::all, &[Contender::Program])
}

/// What jq takes out of the reply, as out of the script's.
#[test]
fn a_wrapper_reads_the_fields_that_it_read_of_the_script() -> Result<()> {
    let server = crate::server()?;
    let mut conn = server.client()?;
    load(&mut conn)?;
    let before = shell(&server, &["--dry-run"])?;
    let dry = run(&server, &["--dry-run", "--json"])?;
    ensure!(dry.status == 0 && dbsize(&mut conn)? == 15, "{}", dry.text);
    ensure!(dry.text.trim_end().lines().count() == 1, "{}", dry.text);
    ensure!(dry.ids()? == before.ids()?, "{}", dry.text);
    let names = [
        "totalCoordinatorsChecked",
        "staleCoordinatorsFound",
        "keysDeleted",
        "executionTimeMs",
    ];
    for name in &names[..3] {
        ensure!(dry.count(name)? == before.count(name)?, "{name}");
    }
    let real = run(&server, &["--json"])?;
    ensure!(real.status == 0 && dbsize(&mut conn)? == 5, "{}", real.text);
    for name in names {
        real.count(name)?;
    }
    ensure!(real.count("keysDeleted")? == 10, "{}", real.text);
    Ok(())
}

#[test]
fn options_do_what_the_page_says() -> Result<()> {
    let server = crate::server()?;
    let mut conn = server.client()?;
    for (options, status, left) in [
        (&["--threshold", "8000"][..], 0, 10),
        (&["--threshold", "600"], 0, 5),
        (&["--limit", "1"], 0, 10),
        (&["--match", "test-*"], 0, 10),
        (&["--ids", "1"], 0, 5),
        (&["--limit", "10", "--breaker", "50"], 0, 5),
        (&["--orphans", "86400"], 0, 5),
        (&["--treshold", "60"], 1, 15),
        (&["--threshold", "0"], 1, 15),
    ] {
        redis::cmd("FLUSHALL").exec(&mut conn)?;
        load(&mut conn)?;
        let said = run(&server, options)?;
        let seen = (said.status, dbsize(&mut conn)?);
        ensure!(
            seen == (status, left),
            "{options:?}: {seen:?}: {}",
            said.text
        );
    }
    Ok(())
}

/// Ends with this status and these words, and removes nothing. What it prints is for people then, not for jq.
fn fails(said: &Said, status: i32, words: &str) -> Result<()> {
    let (ended, text) = (said.status, &said.text);
    ensure!(
        ended == status && text.contains(words),
        "{ended}, not {status} with {words}: {text}"
    );
    ensure!(said.json.is_none() || status == 2, "{text}");
    Ok(())
}

#[test]
fn a_replica_and_a_missing_module_are_errors() -> Result<()> {
    let primary = crate::server()?;
    load(&mut primary.client()?)?;
    let replica = builder().replica_of(&primary).start()?;
    replica.wait_in_sync_with(&primary)?;
    fails(&run(&replica, &["--json"])?, 1, "READONLY")?;
    ensure!(shell(&replica, &[])?.status == 0);
    ensure!(dbsize(&mut primary.client()?)? == 15);

    let bare = Server::builder().module(false).start()?;
    load(&mut bare.client()?)?;
    fails(&run(&bare, &["--json"])?, 1, "BLOCKING.CLEANUP")?;
    ensure!(dbsize(&mut bare.client()?)? == 15);
    Ok(())
}

#[test]
fn no_server_and_a_wrong_password_have_statuses_of_their_own() -> Result<()> {
    let server = crate::server()?;
    let mut conn = server.client()?;
    load(&mut conn)?;
    let password = ["SET", "requirepass", "secret"];
    redis::cmd("CONFIG").arg(&password).exec(&mut conn)?;
    let with = |command: &mut Command, password| said(command.env("REDISCLI_AUTH", password));
    fails(&with(command(&server)?.arg("--json"), "wrong")?, 3, "")?;
    ensure!(with(&mut shell_command(&server), "wrong")?.status == 0);
    ensure!(dbsize(&mut conn)? == 15);
    let right = with(command(&server)?.arg("--json"), "secret")?;
    ensure!(
        right.status == 0 && dbsize(&mut conn)? == 5,
        "{}",
        right.text
    );

    server.kill9()?;
    fails(&run(&server, &["--json"])?, 1, "")?;
    ensure!(shell(&server, &[])?.status == 1);
    Ok(())
}

#[test]
fn a_run_that_is_refused_is_no_success() -> Result<()> {
    let server = crate::server()?;
    let mut conn = server.client()?;
    let now = load(&mut conn)?;
    for n in 0..20 {
        let id = format!("job-{n}");
        let heartbeat = format!("blocking:heartbeat:{id}");
        write(&mut conn, &[text(heartbeat, beat(&id, now.old()))])?;
    }
    let refused = run(&server, &["--breaker", "50", "--json"])?;
    fails(&refused, 2, r#""status":"refused""#)?;
    ensure!(dbsize(&mut conn)? == 35 && refused.count("keysDeleted")? == 0);
    Ok(())
}
