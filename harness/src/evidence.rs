//! What the tests count while they run: faults injected, kills survived, keyspaces compared, live keys lost.
//! A test adds to a tally; `make reliability` sums the tallies of all tests by server and writes the page from them.

use std::env;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Where tallies go; unset, nothing is written.
pub const EVIDENCE: &str = "BLOCKING_EVIDENCE";
/// The server that a test runs on, as the tallies and the tables name it; set by the program that starts the test.
pub const SERVER_NAME: &str = "BLOCKING_SERVER_NAME";

/// Something that tests count. The page shows these in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Tests that passed, of the suites that run on servers.
    TestsPassed,
    /// Something went wrong on purpose while a run was on: a pause, a flush, a failover, a caller that went.
    FaultsInjected,
    /// The server was ended with `kill -9` during a run, started again, and everything was as promised.
    KillsSurvived,
    /// Times the module was loaded and unloaded.
    ReloadsSurvived,
    /// Random keyspaces cleaned up on a server and compared key by key with an independent model.
    KeyspacesCompared,
    /// Beats that coordinators sent while cleanups were running.
    BeatsLogged,
    /// Cleanups that ran while coordinators were beating, dying and coming back.
    CleanupsUnderBeats,
    /// Coordinators that died during those cleanups and were removed whole.
    DeadFamiliesRemoved,
    /// Servers that valgrind watched to their end without a report that names the module.
    WatchedServers,
    /// Inputs given to a parser by a fuzzer.
    FuzzInputs,
    /// Keys of living coordinators that were gone. Anything but 0 is a fault.
    LiveKeysLost,
}

impl Figure {
    /// As the page names it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TestsPassed => "tests passed",
            Self::FaultsInjected => "faults injected during runs",
            Self::KillsSurvived => "kills survived",
            Self::ReloadsSurvived => "times loaded and unloaded",
            Self::KeyspacesCompared => "random keyspaces compared key by key",
            Self::BeatsLogged => "beats logged while cleanups ran",
            Self::CleanupsUnderBeats => "cleanups under these beats",
            Self::DeadFamiliesRemoved => "coordinators that died under them and were removed",
            Self::WatchedServers => "servers watched by valgrind without a finding",
            Self::FuzzInputs => "inputs given to a parser by a fuzzer",
            Self::LiveKeysLost => "**keys of living coordinators lost**",
        }
    }
}

/// One line of the file of tallies.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tally {
    pub server: String,
    pub figure: Figure,
    pub count: u64,
}

/// Adds to a tally, once the test knows that what it counts is so. Without `BLOCKING_EVIDENCE` it does nothing.
pub fn tally(figure: Figure, count: u64) -> Result<()> {
    tally_for(&env::var(SERVER_NAME).unwrap_or_default(), figure, count)
}

/// The same for the program that runs the tests.
pub fn tally_for(server: &str, figure: Figure, count: u64) -> Result<()> {
    let Some(path) = env::var_os(EVIDENCE) else {
        return Ok(());
    };
    let server = server.to_owned();
    append(
        Path::new(&path),
        &Tally {
            server,
            figure,
            count,
        },
    )
}

/// One write a line, so that tests of several processes can share the file.
fn append(path: &Path, tally: &Tally) -> Result<()> {
    let mut line = serde_json::to_vec(tally)?;
    line.push(b'\n');
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write tallies to {}", path.display()))?;
    Ok(file.write_all(&line)?)
}
