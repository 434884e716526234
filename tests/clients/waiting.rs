//! Runs that take longer than a client waits: what the page says of time-outs, of Ctrl-C, and of one connection for
//! everything.
//! Must not depend on how fast the machine is: a run goes on slowly until what a test waits for has happened.

use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{Reply, Server, load_foreign, wait_for_value};

use super::{DEAD_KEYS, DEADLINE, block, load, printed, program, status};

/// At one percent of the server's time enough for a minute.
const FOREIGN: u64 = 300_000;

/// A server on which a run takes its time.
fn slow_server() -> Result<(Server, Connection)> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    load(&mut conn)?;
    load_foreign(&mut conn, FOREIGN, |_| ())?;
    set_pace(&mut conn, 50, 1)?;
    Ok((server, conn))
}

fn set_pace(conn: &mut Connection, slice_us: u32, idle_cpu_percent: u32) -> Result<()> {
    let mut set = redis::cmd("CONFIG");
    set.arg("SET")
        .arg(("blocking.slice-us", slice_us))
        .arg(("blocking.idle-cpu-percent", idle_cpu_percent));
    Ok(set.exec(conn)?)
}

fn start(server: &Server, language: &str, code: &str) -> Result<Child> {
    let mut program = program(language, code, server);
    let program = program.stdout(Stdio::piped()).stderr(Stdio::piped());
    program
        .spawn()
        .context("`make clients` brings what the tests need")
}

/// The connection that waits for a cleanup, by its number; 0 for none.
fn waiting(conn: &mut Connection) -> Result<u64> {
    let list: String = redis::cmd("CLIENT").arg("LIST").query(conn)?;
    let line = list
        .lines()
        .find(|line| line.contains(" cmd=blocking.cleanup "));
    let id = line.and_then(|line| line.strip_prefix("id=")?.split(' ').next());
    Ok(id.map(str::parse).transpose()?.unwrap_or_default())
}

/// The next connection that waits after this one.
fn next_waiting(conn: &mut Connection, before: u64) -> Result<u64> {
    let is_next = |id: &u64| *id > before;
    wait_for_value("a client that waits", DEADLINE, || waiting(conn), is_next)
}

fn current(conn: &mut Connection) -> Result<Reply> {
    status(conn)?
        .map("current")
        .context("the run is over too soon")
}

/// Its defaults, 5 s and ten tries, and a run that takes longer than two of them.
#[test]
fn redis_py_gets_its_answer_however_long_the_run_takes() -> Result<()> {
    let (server, mut conn) = slow_server()?;
    let client = start(&server, "python", block("python", "\"joined\" in reply")?)?;
    let first = next_waiting(&mut conn, 0)?;
    let run = current(&mut conn)?.int("run")?;
    let second = next_waiting(&mut conn, first)?;
    next_waiting(&mut conn, second)?;
    ensure!(current(&mut conn)?.int("run")? == run, "another run");
    set_pace(&mut conn, 250, 100)?;
    let printed = printed(&client.wait_with_output()?)?;
    ensure!(printed == format!("complete {DEAD_KEYS} True"), "{printed}");
    let totals = status(&mut conn)?.map("totals")?;
    ensure!(totals.int("runs")? == 1, "{totals:?}");
    Ok(())
}

/// What `timeout --signal=INT` does is what Ctrl-C does.
#[test]
fn ctrl_c_in_redis_cli_does_not_end_the_run_and_cancel_does() -> Result<()> {
    let (server, mut conn) = slow_server()?;
    let client = start(&server, "sh", block("sh", "BLOCKING.CANCEL")?)?;
    let printed = printed(&client.wait_with_output()?)?;
    let lines: Vec<&str> = printed.lines().collect();
    let ["lingering_s", left_s, "OK"] = lines[..] else {
        anyhow::bail!("{printed}");
    };
    ensure!((1..=15).contains(&left_s.parse::<u32>()?), "{printed}");
    let idle = |status: &Reply| status.text("state").is_ok_and(|state| state == "idle");
    let ended = wait_for_value("the end of the run", DEADLINE, || status(&mut conn), idle)?;
    let reason = ended.map("last")?.text("reason")?;
    ensure!(reason == "cancelled by BLOCKING.CANCEL", "{reason}");
    Ok(())
}

/// What the page warns of: its own time-out, the run that goes on, and the next command behind it.
#[test]
fn valkey_glide_gives_up_and_its_connection_stays_busy() -> Result<()> {
    let code = r#"
import asyncio
from glide import GlideClient, GlideClientConfiguration, NodeAddress, TimeoutError

async def main():
    client = await GlideClient.create(GlideClientConfiguration([NodeAddress("127.0.0.1", 6379)]))
    for words in [["BLOCKING.CLEANUP"], ["PING"]]:
        try:
            print(words[0], await client.custom_command(words))
        except TimeoutError:
            print(words[0], "timed out")
    await client.close()

asyncio.run(main())
"#;
    let (server, mut conn) = slow_server()?;
    let client = start(&server, "python", code)?;
    next_waiting(&mut conn, 0)?;
    let printed = printed(&client.wait_with_output()?)?;
    let expected = "BLOCKING.CLEANUP timed out\nPING timed out";
    ensure!(printed == expected, "{printed}");
    Ok(())
}
