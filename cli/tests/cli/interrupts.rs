//! Ctrl-C and SIGTERM end the run that is waited for, and no other.

use anyhow::{Result, ensure};
use blocking_harness::wait_for_value;
use nix::sys::signal::Signal;

use super::{
    DEADLINE, Started, client_of, ends_with, hurry, json, run, slow_server, status, user,
    wait_for_run, wait_until_idle, warned,
};

const KILLED: &str = "the caller went away";
const CANCELLED: &str = "cancelled by BLOCKING.CANCEL";

#[test]
fn the_run_ends_and_its_reply_is_printed() -> Result<()> {
    let server = slow_server()?;
    let mut conn = server.client()?;
    let mut runs = 0;
    for (rights, reason) in [
        ("+@all", KILLED),
        ("+blocking.cleanup +blocking.status +client|kill", KILLED),
        (
            "+blocking.cleanup +blocking.status +blocking.cancel",
            CANCELLED,
        ),
        ("+blocking.cleanup +blocking.cancel", CANCELLED),
    ] {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            user(&mut conn, "janitor", rights)?;
            let mut client = client_of(&server, &["--user", "janitor", "--json"]);
            client.env("REDISCLI_AUTH", "secret");
            let started = Started::new(client)?;
            let number = wait_for_run(&mut conn)?;
            started.signal(signal)?;
            let output = started.output()?;
            ends_with(&output, 2, &format!("the run ended as cancelled: {reason}"))?;
            let reply = json(&output)?;
            ensure!(
                reply["run"] == number && reply["status"] == "cancelled",
                "{reply}"
            );
            ensure!(wait_until_idle(&mut conn)?.int("run")? == number);
            runs += 1;
            ensure!(status(&mut conn)?.map("totals")?.int("runs")? == runs);
        }
    }
    Ok(())
}

/// Its client may take it away, but not ask how it ended.
#[test]
fn the_run_ends_even_if_nobody_says_so() -> Result<()> {
    let server = slow_server()?;
    let mut conn = server.client()?;
    user(&mut conn, "janitor", "+blocking.cleanup +client|kill")?;
    let mut client = client_of(&server, &["--user", "janitor", "--json"]);
    client.env("REDISCLI_AUTH", "secret");
    let started = Started::new(client)?;
    wait_for_run(&mut conn)?;
    started.signal(Signal::SIGTERM)?;
    let output = started.output()?;
    ends_with(&output, 2, "interrupted; the run was ended")?;
    ensure!(output.stdout.is_empty());
    ensure!(wait_until_idle(&mut conn)?.text("reason")? == KILLED);
    Ok(())
}

#[test]
fn those_who_may_not_cancel_leave_it_to_end_by_itself() -> Result<()> {
    let server = slow_server()?;
    let mut conn = server.client()?;
    user(&mut conn, "janitor", "+blocking.cleanup +blocking.status")?;
    let mut client = client_of(&server, &["--user", "janitor"]);
    client.env("REDISCLI_AUTH", "secret");
    let started = Started::new(client)?;
    let number = wait_for_run(&mut conn)?;
    started.signal(Signal::SIGINT)?;
    let output = started.output()?;
    ends_with(&output, 2, "the run could not be cancelled: NOPERM")?;
    ensure!(warned(&output).contains("blocking.linger-seconds"));
    let look = || status(&mut conn);
    let status = wait_for_value("the run to linger", DEADLINE, look, |status| {
        let current = status.map("current");
        current.is_ok_and(|current| current.int("lingering_s").is_ok())
    })?;
    ensure!(status.map("current")?.int("run")? == number);
    Ok(())
}

/// The client's command waits because writes are paused, behind a run of somebody else.
#[test]
fn the_run_of_another_goes_on() -> Result<()> {
    for (rights, told) in [
        ("+@all", "interrupted; the run was ended"),
        (
            "+blocking.cleanup +blocking.status +blocking.cancel",
            "interrupted; a run that is on ends by itself",
        ),
    ] {
        for is_waited_for in [false, true] {
            let server = slow_server()?;
            let mut conn = server.client()?;
            user(&mut conn, "janitor", rights)?;
            let other = is_waited_for.then(|| Started::new(client_of(&server, &["--json"])));
            let other = other.transpose()?;
            if other.is_none() {
                run(&mut conn, "BLOCKING.CLEANUP ASYNC")?;
            }
            let number = wait_for_run(&mut conn)?;
            run(&mut conn, "CLIENT PAUSE 600000 WRITE")?;
            let mut client = client_of(&server, &["--user", "janitor"]);
            client.env("REDISCLI_AUTH", "secret");
            let started = Started::new(client)?;
            let list = || run(&mut conn, "CLIENT LIST");
            wait_for_value("the command", DEADLINE, list, |list| {
                let list = format!("{list:?}");
                let mut clients = list.split("\\n");
                let is_there = |one: &str| one.contains("cmd=blocking.cleanup");
                clients.any(|one| one.contains("user=janitor") && is_there(one))
            })?;
            started.signal(Signal::SIGINT)?;
            ends_with(&started.output()?, 2, told)?;
            let current = status(&mut conn)?.map("current")?;
            ensure!(current.int("run")? == number, "{current:?}");
            run(&mut conn, "CLIENT UNPAUSE")?;
            hurry(&mut conn)?;
            let last = wait_until_idle(&mut conn)?;
            ensure!(last.int("run")? == number, "{last:?}");
            ensure!(last.text("status")? == "complete", "{last:?}");
            ensure!(status(&mut conn)?.map("totals")?.int("runs")? == 1);
            if let Some(other) = other {
                ends_with(&other.output()?, 0, r#""status":"complete""#)?;
            }
        }
    }
    Ok(())
}
