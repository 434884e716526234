//! `make profile`: how many instructions a server's main thread executes for each contender, and what for. Times
//! depend on what else the machine does; instructions hardly do, so this shows what no tuning can get below.
//! Instructions are not time: one that waits for memory counts as much as one that does not. For a walk over foreign
//! keys the cache misses are counted, too.

/// Starting, stopping and reading callgrind.
mod callgrind;
/// docs/profile.md.
mod page;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use blocking_harness::known::{self, Found};
use blocking_harness::redis;
use indicatif::ProgressBar;

use crate::contenders::{Client, Contender, LIMIT, Limit, MODULE, Module, ScriptB};
use crate::fixture::Fixture;
use crate::interrupt;
use crate::machine::Machine;
use crate::workloads::{self, CLASSIC, Workload};
use callgrind::{Counts, Profile};

/// Runs the server under callgrind.
const WATCHED: &str = "scripts/callgrind-server.sh";
/// Valgrind makes everything some fifty times slower. So long a slice keeps their number about what it is without it.
const SLICE_US: u32 = 10_000;
/// The server's regular work, whose share valgrind makes fifty times as large.
const BY_THE_CLOCK: &str = "serverCron";
/// The commands of the limit.
const SCAN: &str = "scanCommand";
const LIMIT_COMMANDS: [&str; 2] = [SCAN, "unlinkCommand"];

/// What a walk over mostly foreign keys cost.
pub struct WalkCost {
    /// For a key of the database.
    pub instructions_per_key: f64,
    pub misses_per_key: f64,
    /// Reads that missed the cache, by function.
    misses: Counts,
    keys: u64,
}

/// What a run of a contender cost.
pub struct Cost {
    pub contender: &'static str,
    /// Instructions of the main thread for a removed key.
    pub per_key: f64,
    counts: Counts,
    keys: u64,
}

impl Cost {
    fn per_key(&self, instructions: u64) -> f64 {
        instructions as f64 / self.keys as f64
    }
}

/// Measures on the system's server, or the one of BLOCKING_SERVER_BIN, and writes the page.
pub fn run(page: &Path, workload: &Workload, walk: &Workload) -> Result<()> {
    interrupt::install()?;
    let known = known::find(Path::new("scripts/servers.list"), Path::new(".servers"))?;
    let system = known.into_iter().next().context("no server")?;
    let title = system.title();
    let found = system.found.map_err(anyhow::Error::msg)?;
    let watched = Found {
        program: PathBuf::from(WATCHED).canonicalize()?,
        version: found.version,
    };
    let fixture = Fixture::make(&watched, workload, &ProgressBar::hidden())?;
    let contenders: [&dyn Contender; 4] = [&ScriptB, &Client::FAST, &Module::default(), &Limit];
    let mut all = Vec::new();
    for contender in contenders {
        let cost = cost(&fixture, contender).with_context(|| contender.name())?;
        println!(
            "{title}, {}: {:.0} instructions a key",
            cost.contender, cost.per_key
        );
        all.push(cost);
    }
    let foreign = Fixture::make(&watched, walk, &ProgressBar::hidden())?;
    let scan = walk_cost(&foreign, &Limit).context("SCAN")?;
    let module = walk_cost(&foreign, &Module::default()).context(MODULE)?;
    let machine = Machine::describe();
    let mut text = page::of_contenders(&machine, &title, &fixture, &all)?;
    text += &page::of_walks(&foreign, &scan, &module)?;
    Ok(std::fs::write(page, text.trim_end().to_owned() + "\n")?)
}

pub fn classic() -> Result<Workload> {
    let mut workloads = workloads::usual(true).into_iter();
    workloads
        .find(|workload| workload.name == CLASSIC)
        .context("no classic case")
}

fn profiled(fixture: &Fixture, contender: &dyn Contender) -> Result<Profile> {
    fixture.renew()?;
    let mut conn = fixture.patient_client()?;
    contender.prepare(&mut conn)?;
    if contender.name() == MODULE {
        let set = ("blocking.slice-us", SLICE_US);
        let () = redis::cmd("CONFIG").arg("SET").arg(set).query(&mut conn)?;
    }
    let (done, profile) =
        callgrind::counted(&fixture.server, || contender.run(fixture, &mut conn))?;
    fixture.check_all_gone(done.removed)?;
    Ok(profile)
}

/// The server's own walk is its SCAN alone; the module's is all that the main thread does.
fn walk_cost(fixture: &Fixture, contender: &dyn Contender) -> Result<WalkCost> {
    let Profile {
        instructions,
        misses,
    } = profiled(fixture, contender)?;
    let keys = fixture.keys();
    Ok(WalkCost {
        instructions_per_key: sum(contender, &instructions, &[SCAN])? as f64 / keys as f64,
        misses_per_key: sum(contender, &misses, &[SCAN])? as f64 / keys as f64,
        misses,
        keys,
    })
}

/// For the limit, what these commands take by themselves. Otherwise all that the main thread does, but for the
/// server's regular work.
fn sum(contender: &dyn Contender, counts: &Counts, commands: &[&str]) -> Result<u64> {
    if contender.name() != LIMIT {
        return Ok(counts.total - counts.inclusive(BY_THE_CLOCK));
    }
    let commands: Vec<u64> = commands.iter().map(|name| counts.inclusive(name)).collect();
    ensure!(
        commands.iter().all(|count| *count > 0),
        "the server has no symbols"
    );
    Ok(commands.iter().sum())
}

fn cost(fixture: &Fixture, contender: &dyn Contender) -> Result<Cost> {
    let counts = profiled(fixture, contender)?.instructions;
    let instructions = sum(contender, &counts, &LIMIT_COMMANDS)?;
    let keys = fixture.doomed();
    Ok(Cost {
        contender: contender.name(),
        per_key: instructions as f64 / keys as f64,
        counts,
        keys,
    })
}
