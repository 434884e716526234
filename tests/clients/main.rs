//! The code on docs/clients.md, run by the clients that it is for. `make clients` brings them.
//! Must not test what the module decides: only that what the page says to write works, and what it says of waiting.

/// The Rust code of the page, compiled.
mod rust_snippet;
/// Clients that give up in the middle of a run.
mod waiting;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{Fleet, Reply, Server, command, dbsize, server_now_ms, wait_for_value};

const PAGE: &str = include_str!("../../docs/clients.md");

const DEADLINE: Duration = Duration::from_secs(60);

/// Dead coordinators on a server of these tests, and what goes with them.
const DEAD: usize = 10;
const DEAD_KEYS: usize = DEAD * blocking_harness::FAMILY_SIZE;

/// The code blocks of the page in their order: language and code.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let parts: Vec<&str> = PAGE.split("```").collect();
    // Outside, inside, outside, and so on.
    let inside = parts.iter().skip(1).step_by(2);
    inside.filter_map(|block| block.split_once('\n')).collect()
}

/// The block of that language in which these words stand.
fn block(language: &str, words: &str) -> Result<&'static str> {
    let all = blocks();
    let mut found = all
        .iter()
        .filter(|(name, code)| *name == language && code.contains(words));
    let (_, code) = found
        .next()
        .with_context(|| format!("no {language} with {words}"))?;
    ensure!(found.next().is_none(), "several {language} with {words}");
    Ok(code)
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".clients")
}

/// A program in one of the languages, for this server.
fn program(language: &str, code: &str, server: &Server) -> Command {
    let port = server.port().to_string();
    let code = code.replace("6379", &port);
    let (program, option) = match language {
        "python" => (clients().join("python/bin/python"), "-c"),
        "javascript" => (PathBuf::from("node"), "-e"),
        _ => (PathBuf::from("sh"), "-c"),
    };
    let code = match language {
        "sh" => code.replace("redis-cli ", &format!("redis-cli -p {port} ")),
        _ => code,
    };
    let mut command = Command::new(program);
    command
        .env("NODE_PATH", clients().join("node/node_modules"))
        .args([option, &code]);
    command
}

fn output(mut program: Command) -> Result<Output> {
    let output = program.output();
    output.context("cannot run a client; `make clients` brings what the tests need")
}

/// What a program printed that ended well.
fn printed(output: &Output) -> Result<String> {
    let (out, err) = (&output.stdout, &output.stderr);
    let said = [out, err].map(|text| String::from_utf8_lossy(text).trim().to_owned());
    ensure!(output.status.success(), "{:?}: {said:?}", output.status);
    // valkey-glide warns of slow answers in the same place.
    let lines = said[0]
        .lines()
        .filter(|line| !line.contains("glide_logger"));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// A server with dead coordinators.
fn server() -> Result<Server> {
    let server = Server::start()?;
    load(&mut server.client()?)?;
    Ok(server)
}

fn load(conn: &mut Connection) -> Result<()> {
    let now_ms = server_now_ms(conn)?;
    let dead = Fleet::numbered("dead", DEAD, now_ms).age_s(10_000);
    dead.load(conn, |_| ())
}

fn status(conn: &mut Connection) -> Result<Reply> {
    Ok(command(conn, "BLOCKING.STATUS", &[])?)
}

/// The block prints what the run did, and everything is gone.
fn cleans_up(language: &str, words: &str, prints: &str) -> Result<()> {
    let server = server()?;
    let printed = printed(&output(program(
        language,
        block(language, words)?,
        &server,
    ))?)?;
    ensure!(printed == prints, "{words}: {printed}");
    ensure!(
        dbsize(&mut server.client()?)? == 0,
        "{words}: something is left"
    );
    Ok(())
}

#[test]
fn redis_py_waits_as_it_comes() -> Result<()> {
    let prints = format!("complete {DEAD_KEYS} False");
    cleans_up("python", "\"joined\" in reply", &prints)
}

#[test]
fn redis_py_waits_as_long_as_it_takes() -> Result<()> {
    let prints = format!("complete {DEAD_KEYS}");
    cleans_up(
        "python",
        "redis.Redis(port=6379, decode_responses=True, socket_timeout=None)",
        &prints,
    )
}

#[test]
fn redis_py_does_not_wait() -> Result<()> {
    let prints = format!("complete {DEAD_KEYS}");
    cleans_up("python", "time.sleep(0.2)", &prints)
}

#[test]
fn valkey_glide_does_not_wait() -> Result<()> {
    let prints = format!("complete {DEAD_KEYS}");
    cleans_up("python", "GlideClient.create", &prints)
}

#[test]
fn ioredis_waits_on_a_connection_of_its_own() -> Result<()> {
    let prints = format!("complete {DEAD_KEYS}");
    cleans_up("javascript", "redis.duplicate()", &prints)
}

#[test]
fn ioredis_does_not_wait() -> Result<()> {
    let prints = format!("complete {DEAD_KEYS}");
    cleans_up("javascript", "\"ASYNC\"", &prints)
}

#[test]
fn the_rust_code_is_on_the_page_as_it_is_compiled_and_works() -> Result<()> {
    let code = include_str!("rust_snippet.rs");
    ensure!(
        block("rust", "get_connection")? == code,
        "the page has another code"
    );
    let server = server()?;
    let mut conn = server.client()?;
    let url = format!("redis://127.0.0.1:{}", server.port());
    let reply: serde_json::Value = serde_json::from_str(&rust_snippet::cleanup(&url)?)?;
    ensure!(reply["keysDeleted"] == DEAD_KEYS, "{reply}");
    load(&mut conn)?;
    let status = rust_snippet::cleanup_without_waiting(&url)?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    ensure!(status["last"]["keysDeleted"] == DEAD_KEYS, "{status}");
    ensure!(dbsize(&mut conn)? == 0);
    Ok(())
}

#[test]
fn a_cluster_is_asked_node_by_node() -> Result<()> {
    let server = Server::builder().arg("cluster-enabled", "yes").start()?;
    let mut conn = server.client()?;
    let mut all = redis::cmd("CLUSTER");
    all.arg(&["ADDSLOTSRANGE", "0", "16383"]).exec(&mut conn)?;
    let info = || {
        Ok(redis::cmd("CLUSTER")
            .arg("INFO")
            .query::<String>(&mut conn)?)
    };
    let ok = |info: &String| info.contains("cluster_state:ok");
    wait_for_value("the cluster serves its slots", DEADLINE, info, ok)?;
    load(&mut conn)?;
    let code = block("python", "target_nodes=node")?;
    let printed = printed(&output(program("python", code, &server))?)?;
    let expected = format!("127.0.0.1:{} complete {DEAD_KEYS}", server.port());
    ensure!(printed == expected, "{printed}");
    ensure!(dbsize(&mut conn)? == 0);
    Ok(())
}

/// A test that picks a block by its words would not miss one that was added.
#[test]
fn every_block_of_the_page_is_run() {
    let mut count = std::collections::BTreeMap::new();
    for (language, _) in blocks() {
        *count.entry(language).or_insert(0) += 1;
    }
    let expected = [("javascript", 2), ("python", 5), ("rust", 1), ("sh", 1)];
    assert_eq!(count.into_iter().collect::<Vec<_>>(), expected);
}

/// The versions that the script brings are those that the page names.
#[test]
fn the_page_names_the_versions_that_it_was_run_with() -> Result<()> {
    let script = include_str!("../../scripts/clients.sh");
    let lock = include_str!("../../Cargo.lock");
    for (on_the_page, brought, from) in [
        ("redis-py 8.1.0", "redis==8.1.0", script),
        ("valkey-glide 2.6.0", "valkey-glide==2.6.0", script),
        ("ioredis 5.11.1", "ioredis@5.11.1", script),
        (
            "crate redis 1.8.1",
            "name = \"redis\"\nversion = \"1.8.1\"",
            lock,
        ),
    ] {
        ensure!(PAGE.contains(on_the_page), "the page has no {on_the_page}");
        ensure!(from.contains(brought), "{brought} is not what is brought");
    }
    Ok(())
}
