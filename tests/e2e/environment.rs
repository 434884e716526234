//! The environment changes during a run: pauses, flushes, swaps, reloads, roles, callers, scripts, unloading, failing
//! saves. Every test ends with the server alive and with nothing lost that was not family of a dead coordinator.

/// Clients that wait for a run, and what becomes of the run when they disconnect.
mod callers;
/// A child process saves or rewrites the log.
mod children;
/// The primary of a cluster hands over to its replica.
mod cluster_failover;
/// A caller disconnects at a known place of its run.
mod departures;
/// The server itself removes keys: full memory, TTLs that pass.
mod evictions;
/// The command filter is there during a run only.
#[cfg(target_os = "linux")]
mod filters;
/// The data set is flushed, swapped, reloaded or replaced.
mod flushes;
/// A caller's connection goes away, and the same command comes again.
mod lingering;
/// A run long enough to act in the middle of it.
pub(crate) mod long_run;
/// Writes are paused: by an operator, for a failover.
mod pauses;
/// The server refuses writes: the log, a replica.
mod refused_writes;
/// A replica that cannot keep up.
mod replica_lag;
/// The role changes, and the data set with it.
mod resync;
/// Saves, refused writes, full memory.
mod saving;
/// Scripts that hold the server up.
mod scripts;
/// The server is asked to end.
mod shutdown;
/// Nothing is removed while writes are paused: how that is looked at.
pub mod standstill;
/// The module goes and comes back.
mod unload;
