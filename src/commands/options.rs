//! What `BLOCKING.CLEANUP` and `BLOCKING.STATUS` are asked, as typed options.
//!
//! This file must not know the server, its settings or a clock: an option that was not given stays `None`, and
//! the handler of the command fills in the default.

use crate::commands::args::Given;
use crate::commands::table::{CLEANUP, STATUS};
use crate::keys::pattern::Pattern;
use crate::reply::error::Error;

/// How many stale ids a reply lists unless told.
pub const IDS_DEFAULT: u32 = 100;

/// How old the evidence about an orphan must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grace {
    /// Older than the threshold of the run.
    Threshold,
    /// Older than this many seconds.
    Seconds(u32),
}

impl Grace {
    /// In seconds, in a run with this threshold.
    pub fn seconds(self, threshold_s: u32) -> u32 {
        match self {
            Self::Threshold => threshold_s,
            Self::Seconds(seconds) => seconds,
        }
    }
}

/// What `BLOCKING.CLEANUP` was asked to do. Its default asks for nothing, not even for ids.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CleanupOptions {
    pub threshold_s: Option<u32>,
    pub dry_run: bool,
    /// Orphans go too, when the evidence about them is older than this.
    pub orphans: Option<Grace>,
    pub pattern: Option<Pattern>,
    pub limit: Option<u32>,
    /// Remove nothing if more than this share is stale, in percent.
    pub breaker: Option<u32>,
    pub ids: u32,
    pub asynchronous: bool,
    pub json: bool,
    /// Remove even if clients could not write a moment ago.
    pub no_warm_up: bool,
}

/// What `BLOCKING.STATUS` was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusOptions {
    pub json: bool,
}

/// Reads the arguments of `BLOCKING.CLEANUP`, the command name left out.
pub fn parse_cleanup(args: &[&[u8]]) -> Result<CleanupOptions, Error> {
    let given = Given::read(&CLEANUP, args)?;
    let grace = || {
        given
            .integer("ORPHANS")
            .map_or(Grace::Threshold, Grace::Seconds)
    };
    Ok(CleanupOptions {
        threshold_s: given.integer("THRESHOLD"),
        dry_run: given.has("DRYRUN"),
        orphans: given.has("ORPHANS").then(grace),
        pattern: given.pattern("MATCH"),
        limit: given.integer("LIMIT"),
        breaker: given.integer("BREAKER"),
        ids: given.integer("IDS").unwrap_or(IDS_DEFAULT),
        asynchronous: given.has("ASYNC"),
        json: given.has("JSON"),
        no_warm_up: given.has("NOWARMUP"),
    })
}

/// Reads the arguments of `BLOCKING.STATUS`, the command name left out.
pub fn parse_status(args: &[&[u8]]) -> Result<StatusOptions, Error> {
    let json = Given::read(&STATUS, args)?.has("JSON");
    Ok(StatusOptions { json })
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
