//! What the tests, the demo and the benchmark of blocking-cleanup share: private servers, connections, test data,
//! probes, checks. Nothing here is part of the module, and nothing here may touch a server that it did not start
//! itself.

mod aof;
mod aof_check;
mod builder;
mod check;
mod client;
#[cfg(target_os = "linux")]
mod clock;
mod cluster;
mod evidence;
mod fleet;
mod foreign;
mod freeze;
pub mod known;
mod load_generator;
mod memory;
mod probe;
mod process;
mod program;
mod reply;
mod seed;
mod server;
mod wait;

pub use aof::AofCommands;
pub use aof_check::{BeatLog, Mark, Marks, Outcome, Removed, Replay, ReplayCounts, Scope};
pub use builder::ServerBuilder;
pub use check::{dbsize, differing_keys, digest, existing_keys};
pub use client::{
    cleanup, cleanup_async, command, error_text, hears_few_writes, info_field, module_path,
    server_now_ms, walk_removes_expired,
};
#[cfg(target_os = "linux")]
pub use clock::Clock;
pub use cluster::{Cluster, cluster_info};
pub use evidence::{EVIDENCE, Figure, SERVER_NAME, Tally, tally, tally_for};
pub use fleet::{FAMILY_SIZE, Fleet, load_coordinators};
pub use foreign::{foreign_pair, load_foreign};
pub use load_generator::LoadGenerator;
pub use memory::settled_memory;
pub use probe::{Ask, Probe, Wait, Waits};
pub use process::spawn_bound;
pub use program::client_program;
pub use reply::{Reply, reply_map};
pub use seed::{SEED, seed};
pub use server::Server;
pub use wait::{PATIENCE, TOO_LATE, patience, stretched, wait_for_value, wait_until};

/// The client library, so that every test speaks through the same version of it.
pub use redis;
