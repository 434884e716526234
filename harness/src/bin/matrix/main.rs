//! Runs the test suites on every server there is and prints how each did: server by version by suite.
//! Must not count as passed what did not run: a server that is not there is named, and a suite without tests fails.

/// How a suite did, read from what its tests printed.
mod outcome;
/// One suite on one server.
mod run;
/// The compiled test suites.
mod suites;
/// The table at the end, and what it amounts to.
mod verdict;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use blocking_harness::known as servers;
use clap::Parser;

use run::Runner;
use servers::Server;
use suites::Suite;
use verdict::Verdict;

/// Runs the test suites on every server there is.
#[derive(Parser)]
#[command(about)]
struct Options {
    /// Suites that want the machine to themselves: one after the other, one server after the other.
    #[arg(long, value_delimiter = ',', required = true)]
    one_by_one: Vec<String>,
    /// Suites that mostly wait: on all servers at the same time, after the others.
    #[arg(long, value_delimiter = ',')]
    at_once: Vec<String>,
    /// Fail if one of the known servers is not there.
    #[arg(long)]
    require_all: bool,
    /// The known servers besides the system's own.
    #[arg(long, default_value = "scripts/servers.list")]
    list: PathBuf,
    /// Where they are.
    #[arg(long, default_value = ".servers")]
    servers: PathBuf,
    /// Where the output of every suite goes.
    #[arg(long, default_value = "target/matrix")]
    output: PathBuf,
    /// Given to the tests as they are, a part of a test's name for example.
    #[arg(last = true)]
    arguments: Vec<String>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    std::env::set_current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))?;
    let servers = servers::find(&options.list, &options.servers)?;
    for server in &servers {
        println!("{server}");
    }
    let one_by_one = suites::compile(&options.one_by_one)?;
    let at_once = suites::compile(&options.at_once)?;
    let runner = Runner::new(&options.output, &options.arguments)?;

    let mut verdict = Verdict::new(&servers);
    for server in &servers {
        for suite in &one_by_one {
            verdict.add(server, suite, runner.run(suite, server));
        }
    }
    for suite in &at_once {
        on_all(suite, &servers, &runner, &mut verdict);
    }
    println!("\n{}\n", verdict.table().trim_fmt());
    for server in servers.iter().filter(|server| server.found.is_err()) {
        println!("{server}");
    }
    let problems = verdict.problems(options.require_all);
    for problem in &problems {
        println!("{problem}");
    }
    println!("What the tests printed is in {}.", options.output.display());
    Ok(match problems.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn on_all<'a>(suite: &'a Suite, servers: &'a [Server], runner: &Runner, verdict: &mut Verdict<'a>) {
    let outcomes = std::thread::scope(|scope| {
        let started: Vec<_> = servers
            .iter()
            .map(|server| scope.spawn(move || runner.run(suite, server)))
            .collect();
        let ended = started.into_iter();
        ended
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| outcome::Outcome::broken("a panic"))
            })
            .collect::<Vec<_>>()
    });
    for (server, outcome) in servers.iter().zip(outcomes) {
        verdict.add(server, suite, outcome);
    }
}
