//! Everything that is proved over the wire and not by time: one binary, one server a test.

/// The server's ACL: what the caller may not delete stays and is counted.
mod acl;
/// Exact errors, COMMAND DOCS and INFO, MULTI, scripts, replicas, RESP2 and RESP3.
mod arguments;
/// How heartbeats are read.
mod beats;
/// Cluster mode on one node.
mod cluster;
/// DOCTOR finds what is there, with its numbers, and nothing else.
mod doctor;
/// The environment changes during a run: pauses, flushes, swaps, loading, roles, callers, unloading.
mod environment;
/// EXPLAIN says what a dry run does.
mod explain;
/// Key layouts of other fleets.
mod families;
/// Named hard cases.
mod hard_cases;
/// LIST, and what a query must not do to other runs.
mod list;
/// What is written about the dead.
mod obituaries;
/// Orphans: what speaks for life, what goes, and what happens in the middle of a run.
mod orphans;
/// The documentation: its transcripts are run, and everything on the wire is in it.
mod pages;
/// Effects where they must arrive: AOF, replica, other databases, after a crash.
mod propagation;
/// The scenario files, run against a server.
mod scenarios;
/// The server cleans up by itself.
mod schedule;
/// CONFIG, INFO, log lines, redis.conf.example.
mod settings;
/// Names of the fields that hold a time.
mod time_fields;
