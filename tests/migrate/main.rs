//! docs/migrate.md: cleanups as users write them, and the module, on the same keys.
//! Must not make the scripts worse than users' are: what they get wrong is marked in them, and the page tells it.

/// What a script has left behind.
mod after;
/// A keyspace, and what each contender leaves of it.
mod case;
/// Keyspaces of a few keys, run by all three.
mod cases;
/// Nodes of a cluster.
mod cluster;
/// The program that takes the place of a script.
mod drop_in;
/// Dry runs, and what each says of itself.
mod dry_run;
/// A coordinator that beats between the verdict and the removal.
mod late;
/// More dead coordinators than a script can hold.
mod many;
/// The page: its table is what was seen, its steps work.
mod page;
/// Servers that refuse the work.
mod refused;
/// The scripts, run as cron would.
mod scripts;

use anyhow::Result;
use blocking_harness::{Server, ServerBuilder};

/// A server on which everything may be judged at once.
fn builder() -> ServerBuilder {
    Server::builder().arg("blocking.warm-up-seconds", 0)
}

fn server() -> Result<Server> {
    builder().start()
}
