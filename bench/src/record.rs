//! One measured round, a line of the results. Tables, goals and pictures are made from these alone. A record has no
//! ratios; they are computed where they are shown.

use blocking_harness::Waits;
use serde::{Deserialize, Serialize};

use crate::contenders::Run;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// `Redis 7.0.15`
    pub server: String,
    pub workload: String,
    pub stale: usize,
    pub coordinators: usize,
    pub foreign: u64,
    /// Keys that belong to stale coordinators.
    pub family_keys: u64,
    /// Whether it belongs on a line of a picture.
    pub usual_share: bool,
    pub contender: String,
    pub round: u32,
    #[serde(flatten)]
    pub figures: Figures,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Figures {
    Timed(Timed),
    Probed(Probed),
    /// The waits of all probed rounds together: percentiles need many.
    ProbedAll(Probed),
    Crowded(Crowded),
    Memory(Memory),
    NotRun {
        why: String,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timed {
    pub wall_ms: f64,
    /// CPU time of the server's main thread.
    pub main_ms: f64,
    /// What the server charges in commandstats; the limit only.
    pub charged_ms: Option<f64>,
    /// The times above are extrapolated from so many coordinators.
    pub sample: Option<usize>,
    pub run: Option<Run>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Probed {
    pub wall_ms: f64,
    pub waits: WaitsUs,
    /// The same probe on the same server just before the run.
    pub base: WaitsUs,
    pub run: Option<Run>,
}

/// `Waits`, to be written and read.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct WaitsUs {
    pub count: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub max_us: u64,
}

impl From<Waits> for WaitsUs {
    fn from(waits: Waits) -> Self {
        Self {
            count: waits.count,
            p50_us: waits.p50_us,
            p99_us: waits.p99_us,
            p999_us: waits.p999_us,
            max_us: waits.max_us,
        }
    }
}

/// Requests per second of fifty busy clients.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Crowded {
    pub wall_ms: f64,
    pub before: f64,
    pub during: f64,
    pub after: f64,
}

impl Crowded {
    /// The share of their throughput that clients keep.
    pub fn kept(&self) -> f64 {
        2.0 * self.during / (self.before + self.after)
    }
}

/// Bytes beyond what the server used just before the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Memory {
    /// Highest `used_memory`, by the server's account. Lua's own memory is not in it.
    pub used_peak: i64,
    /// Highest resident size of the process, by the system's account.
    pub resident_peak: i64,
    /// `used_memory` after the run; negative, as keys are gone.
    pub used_after: i64,
}
