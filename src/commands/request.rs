//! What a run is asked for, by a command or by the schedule.

use crate::commands::options::CleanupOptions;
use crate::commands::query::{DoctorOptions, ExplainOptions, ListOptions};
use crate::commands::table::{CLEANUP, DOCTOR, EXPLAIN, LIST};
use crate::keys::pattern::Pattern;

/// What a run does. All but a cleanup are queries: they change nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    Cleanup(CleanupOptions),
    List(ListOptions),
    Explain(ExplainOptions),
    Doctor(DoctorOptions),
}

impl Task {
    /// The command, as replies and errors name it.
    pub const fn command(&self) -> &'static str {
        match self {
            Self::Cleanup(_) => CLEANUP.name,
            Self::List(_) => LIST.name,
            Self::Explain(_) => EXPLAIN.name,
            Self::Doctor(_) => DOCTOR.name,
        }
    }

    fn cleanup(&self) -> Option<&CleanupOptions> {
        match self {
            Self::Cleanup(options) => Some(options),
            _ => None,
        }
    }

    /// Whether it changes nothing, neither the keyspace nor what the module remembers.
    pub fn is_query(&self) -> bool {
        self.cleanup().is_none()
    }

    /// Whether it removes nothing.
    pub fn is_dry_run(&self) -> bool {
        self.cleanup().is_none_or(|options| options.dry_run)
    }

    /// Whether the client gets its reply before the run is over.
    pub fn is_asynchronous(&self) -> bool {
        self.cleanup().is_some_and(|options| options.asynchronous)
    }

    /// Whether it removes although writers were kept away.
    pub fn is_without_warm_up(&self) -> bool {
        self.cleanup().is_some_and(|options| options.no_warm_up)
    }

    /// Whether the reply is JSON.
    pub const fn json(&self) -> bool {
        match self {
            Self::Cleanup(options) => options.json,
            Self::List(options) => options.json,
            Self::Explain(options) => options.json,
            Self::Doctor(options) => options.json,
        }
    }

    /// The age in seconds beyond which a coordinator is stale, if the command says it.
    const fn threshold_s(&self) -> Option<u32> {
        match self {
            Self::Cleanup(options) => options.threshold_s,
            Self::List(options) => options.threshold_s,
            Self::Explain(options) => options.threshold_s,
            Self::Doctor(_) => None,
        }
    }

    /// The ids that it is about; `None` for all.
    pub fn pattern(&self) -> Option<Pattern> {
        match self {
            Self::Cleanup(options) => options.pattern.clone(),
            Self::List(options) => options.pattern.clone(),
            Self::Explain(options) => Some(Pattern::exactly(&options.id)),
            Self::Doctor(_) => None,
        }
    }

    /// The same as it was given.
    pub fn pattern_source(&self) -> Option<&[u8]> {
        match self {
            Self::Cleanup(options) => options.pattern.as_ref().map(Pattern::source),
            Self::List(options) => options.pattern.as_ref().map(Pattern::source),
            Self::Explain(options) => Some(&options.id),
            Self::Doctor(_) => None,
        }
    }

    /// How many coordinators may go.
    pub fn limit(&self) -> Option<u32> {
        self.cleanup()?.limit
    }

    /// How many stale ids the reply lists.
    pub fn ids(&self) -> u32 {
        self.cleanup().map_or(0, |options| options.ids)
    }

    /// The share of stale coordinators, in percent, beyond which nothing is removed.
    pub fn breaker_percent(&self) -> Option<u32> {
        self.cleanup()?.breaker
    }
}

/// What is asked for, and by which user. Only the same request of the same user joins a run that lingers.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub database: i32,
    /// The name of the ACL user; `None` for a call without one.
    pub user: Option<Vec<u8>>,
    pub task: Task,
    /// With the settings of then: a joiner must not get a run by another threshold than now.
    pub threshold_s: u32,
    /// With ORPHANS: the age that is asked of their evidence.
    pub orphan_grace_s: Option<u32>,
}

impl Request {
    /// The threshold is the default one, unless the task says another.
    pub fn new(database: i32, user: Option<Vec<u8>>, task: Task, default_threshold_s: u64) -> Self {
        let default_s = u32::try_from(default_threshold_s).unwrap_or(u32::MAX);
        let threshold_s = task.threshold_s().unwrap_or(default_s);
        let grace = task.cleanup().and_then(|options| options.orphans);
        Self {
            database,
            user,
            threshold_s,
            orphan_grace_s: grace.map(|grace| grace.seconds(threshold_s)),
            task,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::options::Grace;
    use crate::commands::query::{parse_doctor, parse_explain};

    #[test]
    fn a_query_changes_nothing() {
        let doctor = Task::Doctor(parse_doctor(&[b"JSON"]).unwrap());
        assert!(doctor.is_query() && doctor.is_dry_run() && doctor.json());
        assert!(!doctor.is_asynchronous());
        // Every coordinator counts, by the threshold of the settings.
        assert!(doctor.pattern().is_none() && doctor.limit().is_none());
        assert_eq!(Request::new(0, None, doctor, 600).threshold_s, 600);
        let cleanup = Task::Cleanup(CleanupOptions::default());
        assert!(!cleanup.is_query() && !cleanup.is_dry_run());
    }

    #[test]
    fn an_id_is_no_glob() {
        let explain = Task::Explain(parse_explain(&[b"a*"]).unwrap());
        let pattern = explain.pattern().unwrap();
        assert!(pattern.matches(b"a*") && !pattern.matches(b"ab"));
    }

    #[test]
    fn what_the_command_says_comes_before_the_settings() {
        let table = [
            (None, None, 600, None),
            (Some(5), None, 5, None),
            (None, Some(Grace::Threshold), 600, Some(600)),
            (Some(5), Some(Grace::Threshold), 5, Some(5)),
            (Some(5), Some(Grace::Seconds(7)), 5, Some(7)),
        ];
        for (given_s, orphans, threshold_s, grace_s) in table {
            let options = CleanupOptions {
                threshold_s: given_s,
                orphans,
                ..CleanupOptions::default()
            };
            let request = Request::new(0, None, Task::Cleanup(options), 600);
            assert_eq!(request.threshold_s, threshold_s);
            assert_eq!(request.orphan_grace_s, grace_s);
        }
    }
}
