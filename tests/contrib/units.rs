//! The files for cron and systemd: systemd accepts them, they shut off what is not needed, and what they call works.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use blocking_harness::redis;
use blocking_harness::{Server, client_program, dbsize};

use crate::{contrib, output, read, said};

const INSTALLED: &str = "/usr/bin/blocking-cleanup";
/// In tenths: what `systemd-analyze security` calls OK ends below 5.0, and an exposure of 2.0 leaves little but sockets.
const EXPOSURE: &str = "20";

/// A text with the client where it lies here in place of where it is to be installed.
fn here(text: &str) -> Result<String> {
    ensure!(text.contains(INSTALLED), "{text}");
    let program = client_program()?;
    let program = program.to_str().context("a path that is not UTF-8")?;
    Ok(text.replace(INSTALLED, program))
}

#[test]
fn systemd_takes_the_units() -> Result<()> {
    let server = Server::start()?;
    let folder = server.dir().join("units");
    std::fs::create_dir(&folder)?;
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no"]);
    for name in ["blocking-cleanup.service", "blocking-cleanup.timer"] {
        let text = read(name)?;
        let path = folder.join(name);
        let is_timer = name.ends_with(".timer");
        std::fs::write(&path, if is_timer { text } else { here(&text)? })?;
        verify.arg(path);
    }
    let output = output(&mut verify)?;
    ensure!(output.status.success(), "{}", said(&output));
    // A word that it does not know is a remark and no error; remarks about other units are not ours.
    let said = said(&output);
    let ours: Vec<&str> = said.lines().filter(|l| l.contains("blocking")).collect();
    ensure!(ours.is_empty(), "{ours:?}");
    Ok(())
}

#[test]
fn the_service_may_do_little_but_reach_a_server() -> Result<()> {
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--threshold", EXPOSURE]);
    security.arg(contrib("blocking-cleanup.service"));
    let output = output(&mut security)?;
    ensure!(output.status.success(), "{}", said(&output));
    let unit = read("blocking-cleanup.service")?;
    let lines: Vec<&str> = unit.lines().collect();
    ensure!(lines.contains(&"RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX"));
    for wall in [
        "PrivateNetwork",
        "IPAddressDeny",
        "SocketBindDeny",
        "RestrictNetworkInterfaces",
    ] {
        ensure!(!unit.contains(wall), "{wall} keeps it from its server");
    }
    Ok(())
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
        let server = Server::start()?;
        let mut conn = server.client()?;
        for key in ["blocking:heartbeat:dead", "blocking:signal:dead"] {
            let mut set = redis::cmd("SET");
            set.arg(key).arg(1_700_000_000_000i64).exec(&mut conn)?;
        }
        redis::cmd("ACL")
            .arg(&["SETUSER", "janitor", "on", ">secret", "~blocking:*"])
            .arg(&["+blocking.cleanup"])
            .exec(&mut conn)?;
        let mut shell = Command::new("sh");
        shell.args(["-c", &here(command)?]);
        let set = |name: &str| {
            let line = format!("{name}=");
            let found = cron.lines().find_map(|l| l.strip_prefix(&line));
            found.with_context(|| format!("no {name}"))
        };
        let arguments = format!("-p {} {}", server.port(), set("BLOCKING_CLEANUP_ARGS")?);
        shell.env("BLOCKING_CLEANUP_ARGS", arguments);
        shell.env("REDISCLI_AUTH", set("REDISCLI_AUTH")?);
        let output = output(&mut shell)?;
        ensure!(output.status.success(), "{}", said(&output));
        ensure!(output.stdout.is_empty() != prints && output.stderr.is_empty());
        ensure!(!prints || said(&output).contains(r#""status":"complete""#));
        ensure!(dbsize(&mut conn)? == 0);
    }
    Ok(())
}
