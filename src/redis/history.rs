//! What is kept of ended runs for monitoring: fed at the end of a run, shown by INFO.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::redis::api::system;
use crate::redis::schedule;
use crate::report::Report;
use crate::report::history::{History, LastRuns};

/// Locked for moments only, and never while the server is called.
static WATCH: Mutex<History> = Mutex::new(History::new());

fn watch() -> MutexGuard<'static, History> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forget everything; at load, for the library may have been in memory before.
pub fn load() {
    *watch() = History::new();
}

/// A run is over.
pub fn ended(database: i32, report: &Report) {
    watch().ended(system::monotonic_us(), database, report);
}

/// A database has other content than before; all of them if the number is negative.
pub fn forget(database: i32) {
    watch().forget(database);
}

/// The last runs over this database.
pub fn last_runs(database: i32) -> LastRuns {
    watch().last_runs(database)
}

/// The fields of INFO, without the module's name.
pub fn info_fields() -> Vec<(String, u64)> {
    let judging_since_us = schedule::judging_since_us();
    let fields = watch().info_fields(system::monotonic_us(), judging_since_us);
    fields.map(|(name, value)| (name.to_owned(), value)).into()
}
