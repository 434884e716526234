//! `blocking-cleanup` against private servers: what it prints, how it ends, and what it does when it is interrupted or
//! loses its connection. Must wait for states, never for times.

/// Who may, where the server is: passwords, TLS, sockets, addresses.
mod connections;
/// Ctrl-C and SIGTERM end the run that is waited for, and no other.
mod interrupts;
/// The connection is lost in the middle of a run.
mod losses;
/// What is printed, and the exit status.
mod outcomes;
/// A TCP proxy that can drop what goes through it.
mod proxy;
/// On a terminal: the bar, and the view.
mod terminal;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{Reply, Server, command, wait_for_value};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Far above what anything takes, for machines that have other work.
const DEADLINE: Duration = Duration::from_secs(60);
const OLD_MS: i64 = 1_700_000_000_000;
/// Enough for a slow run to last for a minute.
const MANY: u64 = 300_000;

fn set(conn: &mut Connection, key: &[u8], value: impl ToString) -> Result<()> {
    let mut set = redis::cmd("SET");
    Ok(set.arg(key).arg(value.to_string()).exec(conn)?)
}

fn run(conn: &mut Connection, line: &str) -> Result<redis::Value> {
    let mut command = redis::Cmd::new();
    command.arg(line.split(' ').collect::<Vec<_>>());
    Ok(command.query(conn)?)
}

/// A server with one dead coordinator of two keys.
fn server() -> Result<Server> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    for key in ["blocking:heartbeat:dead", "blocking:signal:dead"] {
        set(&mut conn, key.as_bytes(), OLD_MS)?;
    }
    Ok(server)
}

/// The same with so many other keys that a run at a crawl takes a minute, unless [`hurry`] is called.
fn slow_server() -> Result<Server> {
    let server = server()?;
    let mut conn = server.client()?;
    run(&mut conn, &format!("DEBUG POPULATE {MANY}"))?;
    let pace = "CONFIG SET blocking.slice-us 50 blocking.idle-cpu-percent 1";
    run(&mut conn, pace)?;
    Ok(server)
}

fn hurry(conn: &mut Connection) -> Result<()> {
    let pace = "CONFIG SET blocking.slice-us 1000 blocking.idle-cpu-percent 100";
    run(conn, pace).map(drop)
}

/// A user whose password is `secret`, with the keys of coordinators.
fn user(conn: &mut Connection, name: &str, rights: &str) -> Result<()> {
    let keys = "~blocking:* ~coordinator:activity:* ~swarm:*";
    run(
        conn,
        &format!("ACL SETUSER {name} reset on >secret {keys} {rights}"),
    )
    .map(drop)
}

fn status(conn: &mut Connection) -> Result<Reply> {
    Ok(command(conn, "BLOCKING.STATUS", &[])?)
}

/// Waits until a run is under way, and yields its number.
fn wait_for_run(conn: &mut Connection) -> Result<i64> {
    let is_on = |status: &Reply| status.map("current").is_ok();
    let status = wait_for_value("a run", DEADLINE, || status(conn), is_on)?;
    status.map("current")?.int("run")
}

/// Waits for the run under way to end and yields its reply.
fn wait_until_idle(conn: &mut Connection) -> Result<Reply> {
    let is_idle = |status: &Reply| status.text("state").is_ok_and(|state| state == "idle");
    wait_for_value("the end of the run", DEADLINE, || status(conn), is_idle)?.map("last")
}

/// The client, with its environment but without a password.
fn client(arguments: &[&str]) -> Command {
    let mut client = Command::new(Path::new(env!("CARGO_BIN_EXE_blocking-cleanup")));
    client.args(arguments).env_remove("REDISCLI_AUTH");
    client.stdin(Stdio::null());
    client
}

/// The same for that server.
fn client_of(server: &Server, arguments: &[&str]) -> Command {
    let port = server.port().to_string();
    let mut client = client(&["-p", &port]);
    client.args(arguments);
    client
}

/// Runs the client to its end.
fn ran(server: &Server, arguments: &[&str]) -> Result<Output> {
    Ok(client_of(server, arguments).output()?)
}

/// The same as the user `janitor`, with that password.
fn ran_as_janitor(server: &Server, password: &str, arguments: &[&str]) -> Result<Output> {
    let mut client = client_of(server, &["--user", "janitor"]);
    client.args(arguments).env("REDISCLI_AUTH", password);
    Ok(client.output()?)
}

/// A client under way.
struct Started(Child);

impl Started {
    fn new(mut client: Command) -> Result<Self> {
        client.stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self(client.spawn()?))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.0.id().try_into()?), signal)?)
    }

    fn output(self) -> Result<Output> {
        Ok(self.0.wait_with_output()?)
    }
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn warned(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// It ended with this status, and one of its outputs has these words.
fn ends_with(output: &Output, status: i32, words: &str) -> Result<()> {
    let said = printed(output) + &warned(output);
    ensure!(
        output.status.code() == Some(status) && said.contains(words),
        "{:?}, not {status} with {words}: {said}",
        output.status
    );
    Ok(())
}

/// Standard output as one line of JSON.
fn json(output: &Output) -> Result<serde_json::Value> {
    let text = printed(output);
    let line = text.strip_suffix('\n').context("no line")?;
    ensure!(!line.contains('\n'), "{text}");
    Ok(serde_json::from_str(line)?)
}
