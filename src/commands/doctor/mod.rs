//! What DOCTOR knows and says: facts that one walk gathered, findings that follow, sentences.
//!
//! Pure. `survey.rs` counts what the walk meets, `forecast.rs` asks the plan about all of it on a worker
//! thread; `heartbeats.rs`, `keys.rs` and `operation.rs` turn the facts into findings, `answer.rs` puts these in order.

mod answer;
mod examples;
mod finding;
mod forecast;
mod heartbeats;
mod keys;
mod operation;
mod overlapping_ids;
mod survey;
mod unknown_keys;

pub use answer::Answer;
pub use forecast::{Naming, Orphaned, Study, study};
pub use overlapping_ids::Ids;
pub use survey::Survey;

use crate::cluster::locality::Locality;
use crate::keys::family::FamilyMap;
use crate::report::history::LastRuns;
use crate::schedule::Outlook;

/// The settings that findings speak of, as they were when the run began.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub database: u32,
    pub threshold_s: u32,
    pub interval_s: u64,
    pub databases: Vec<u32>,
    pub dry_run: bool,
    pub second_look: bool,
    pub orphan_grace_s: u64,
    pub max_stale_percent: u32,
    pub collect_max_bytes: u64,
}

impl Settings {
    /// The schedule looks at this database.
    fn is_scheduled(&self) -> bool {
        self.interval_s > 0 && self.databases.contains(&self.database)
    }

    /// How long a coordinator must be stale so that as many scheduled runs as it takes surely find it so, in
    /// seconds; 0 without a schedule. A round may be late by a tenth of the interval.
    pub fn window_s(&self) -> u64 {
        let runs = if self.second_look { 2 } else { 1 };
        let late_s = self.interval_s.div_ceil(10);
        let window_s = self.interval_s.saturating_mul(runs).saturating_add(late_s);
        if self.is_scheduled() { window_s } else { 0 }
    }
}

/// How the walk went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    pub keys_scanned: u64,
    /// Keys other than heartbeats were left out for lack of memory.
    pub is_truncated: bool,
    /// The heartbeats alone did not fit.
    pub is_overfull: bool,
}

/// Memory that some orphans of one family take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    pub keys: u64,
    pub bytes: u64,
}

/// What was looked at by name when all else was known.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// By family.
    pub measured: FamilyMap<Measured>,
    /// Orphans that the caller may not read, of those that were to be measured.
    pub orphans_denied: u64,
    /// A heartbeat whose id contains a colon.
    pub colon: Option<Vec<u8>>,
    /// Heartbeats of an id and of another that it begins with.
    pub pair: Option<(Vec<u8>, Vec<u8>)>,
}

/// Everything that is known.
#[derive(Debug)]
pub struct Facts {
    pub survey: Survey,
    pub walked: Walked,
    pub study: Study,
    pub seen: Seen,
    pub outlook: Outlook,
    pub last_runs: LastRuns,
    /// The monotonic clock.
    pub now_us: u64,
    /// In a cluster: what this node has of it, unless that is everything.
    pub locality: Option<Locality>,
}

impl Facts {
    /// The schedule of this server removes things in this database.
    fn is_served(&self) -> bool {
        let settings = &self.survey.settings;
        settings.is_scheduled() && !settings.dry_run && !self.outlook.is_replica
    }
}
