//! The connection is lost in the middle of a run: the client comes back for the same run, and for no other.

use anyhow::{Result, ensure};
use blocking_harness::redis::Connection;
use blocking_harness::{info_field, wait_for_value, wait_until};

use super::proxy::Proxy;
use super::{
    DEADLINE, Started, client, client_of, ends_with, hurry, json, run, slow_server, status, user,
    wait_for_run, wait_until_idle,
};

/// Waits until the run under way has so many clients that wait for it: none or one.
fn wait_until_joined(conn: &mut Connection, is_joined: bool) -> Result<()> {
    let look = || status(conn);
    let what = if is_joined {
        "the run to be joined"
    } else {
        "the run to linger"
    };
    wait_for_value(what, DEADLINE, look, |status| {
        let current = status.map("current");
        current.is_ok_and(|current| current.int("lingering_s").is_err() == is_joined)
    })
    .map(drop)
}

#[test]
fn the_same_run_is_joined() -> Result<()> {
    let server = slow_server()?;
    let mut conn = server.client()?;
    // Those who may not ask for the status come back as well.
    for (name, rights) in [
        ("default", ""),
        ("watching", "+blocking.cleanup +blocking.status"),
        ("blind", "+blocking.cleanup"),
    ] {
        if name != "default" {
            user(&mut conn, name, rights)?;
        }
        super::set(&mut conn, b"blocking:heartbeat:dead", super::OLD_MS)?;
        let proxy = Proxy::start(server.port())?;
        let port = proxy.port.to_string();
        let mut client = client(&["-p", &port, "--json"]);
        if name != "default" {
            client.args(["--user", name]).env("REDISCLI_AUTH", "secret");
        }
        let started = Started::new(client)?;
        let number = wait_for_run(&mut conn)?;
        for _ in 0..2 {
            wait_until_joined(&mut conn, true)?;
            proxy.cut();
        }
        // It may be back before anybody sees it away. What it joins late, it gets as well.
        hurry(&mut conn)?;
        let output = started.output()?;
        ends_with(&output, 0, r#""joined":true"#)?;
        let reply = json(&output)?;
        ensure!(
            reply["run"] == number && reply["coordinatorsRemoved"] == 1,
            "{reply}"
        );
        ensure!(output.stderr.is_empty());
        let totals = status(&mut conn)?.map("totals")?;
        ensure!(totals.int("runs")? == number, "another run: {totals:?}");
        run(
            &mut conn,
            "CONFIG SET blocking.slice-us 50 blocking.idle-cpu-percent 1",
        )?;
    }
    Ok(())
}

/// As behind a firewall that forgets connections.
#[test]
fn a_server_that_learns_late_of_the_loss_is_asked_again() -> Result<()> {
    let server = slow_server()?;
    let mut conn = server.client()?;
    let proxy = Proxy::start(server.port())?;
    let started = Started::new(client(&["-p", &proxy.port.to_string(), "--json"]))?;
    let number = wait_for_run(&mut conn)?;
    let hidden = proxy.cut_near();
    wait_until("the refusal", DEADLINE, || {
        info_field(&mut conn, "errorstats", "errorstat_INPROGRESS").ok()
    })?;
    drop(hidden);
    wait_until_joined(&mut conn, true)?;
    hurry(&mut conn)?;
    let output = started.output()?;
    ends_with(&output, 0, r#""joined":true"#)?;
    ensure!(json(&output)?["run"] == number);
    Ok(())
}

#[test]
fn a_client_that_an_operator_took_away_does_not_begin_again() -> Result<()> {
    let server = slow_server()?;
    let mut conn = server.client()?;
    let started = Started::new(client_of(&server, &["--json"]))?;
    let number = wait_for_run(&mut conn)?;
    run(&mut conn, "CLIENT KILL TYPE normal SKIPME yes")?;
    let output = started.output()?;
    ends_with(
        &output,
        2,
        "the run ended as cancelled: the caller went away",
    )?;
    ensure!(output.stdout.is_empty());
    let last = wait_until_idle(&mut conn)?;
    ensure!(last.int("run")? == number && last.text("status")? == "cancelled");
    ensure!(status(&mut conn)?.map("totals")?.int("runs")? == 1);
    Ok(())
}

#[test]
fn a_server_that_was_started_anew_is_not_asked_again() -> Result<()> {
    let server = slow_server()?;
    let mut conn = server.client()?;
    // Its connections have numbers that the next server does not reach at once.
    for _ in 0..50 {
        server.client()?;
    }
    let started = Started::new(client_of(&server, &[]))?;
    wait_for_run(&mut conn)?;
    server.restart()?;
    ends_with(
        &started.output()?,
        2,
        "the server was started anew in the middle of the run",
    )?;
    let mut conn = server.client()?;
    ensure!(status(&mut conn)?.map("totals")?.int("runs")? == 0);
    Ok(())
}

#[test]
fn a_server_that_stays_away_is_an_error() -> Result<()> {
    let server = slow_server()?;
    let mut conn = server.client()?;
    let started = Started::new(client_of(&server, &["--json"]))?;
    wait_for_run(&mut conn)?;
    server.kill9()?;
    let output = started.output()?;
    ends_with(
        &output,
        1,
        "the connection was lost in the middle of the run",
    )?;
    ends_with(&output, 1, "cannot connect to ")?;
    ensure!(output.stdout.is_empty());
    Ok(())
}
