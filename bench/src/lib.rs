//! The benchmark as a library, so that tests can run parts of it. All contenders are treated alike, and one that did
//! not do the work is an error. A missed goal is a result, not an error.

/// What the benchmark compares.
pub mod contenders;
/// A private server with keys.
pub mod fixture;
/// Goals, and whether they are reached.
pub mod goals;
/// Ctrl-C.
pub mod interrupt;
/// The machine.
pub mod machine;
/// Time and memory of a server.
pub mod measure;
/// Command line.
pub mod options;
/// docs/benchmark.md.
pub mod page;
/// The pictures of docs/benchmark.md.
pub mod plots;
/// Instructions instead of times.
pub mod profile;
/// A measured round as data.
pub mod record;
/// All records of a run.
pub mod results;
/// One round of one contender.
pub mod round;
/// Where script A fails.
pub mod script_limit;
/// Numbers with units.
pub mod show;
/// Medians.
pub mod stats;
/// The whole benchmark.
pub mod suite;
/// Results as tables.
pub mod tables;
/// What there is to clean up.
pub mod workloads;
