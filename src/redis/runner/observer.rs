//! What a run asks and tells the parts that outlive it: the schedule, the history, the watch over writers.

use std::fmt::Debug;

use crate::plan::second_look::{Fingerprints, SecondLook};
use crate::report::history::LastRuns;
use crate::schedule::Outlook;

/// Implemented above the run, which must not know them.
pub trait RunObserver: Debug + Sync {
    /// A slice begins: is there a reason to end the run?
    fn before_slice(&self);
    /// Why the server refuses writes, in its own words.
    fn refusal(&self) -> Option<String>;
    /// The stale coordinators of this database that the next scheduled run should know.
    fn remember(&self, database: i32, fingerprints: Fingerprints);
    /// What the next scheduled run of this database would know; `None` if there is none to come.
    fn fingerprints_for_the_next(&self, database: i32) -> Option<SecondLook>;
    /// For how many seconds writers were kept away before the warm-up that is on.
    fn writers_away_s(&self) -> u64;
    /// How the schedule stands for this database.
    fn outlook(&self, database: u32) -> Outlook;
    /// The last runs over this database.
    fn last_runs(&self, database: i32) -> LastRuns;
}
