//! The benchmark's parts, so that tests can take one and put something wrong in its place.
//! Must treat all contenders alike, and must fail when one of them did not do the work. A missed goal is a result, not an
//! error.

/// What is compared.
pub mod contenders;
/// A server with keys on it.
pub mod fixture;
/// What is wanted, and what was reached.
pub mod goals;
/// Ctrl-C.
pub mod interrupt;
/// What this runs on.
pub mod machine;
/// Time and memory of a server.
pub mod measure;
/// Command line.
pub mod options;
/// docs/benchmark.md.
pub mod page;
/// SVG.
pub mod plots;
/// Instructions instead of time.
pub mod profile;
/// A measured round as data.
pub mod record;
/// All of them.
pub mod results;
/// One round.
pub mod round;
/// Where script A fails.
pub mod script_limit;
/// Numbers for people.
pub mod show;
/// Medians.
pub mod stats;
/// Everything, in the right order.
pub mod suite;
/// Results as tables.
pub mod tables;
/// What there is to do.
pub mod workloads;
