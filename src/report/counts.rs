//! Coordinators and keys, counted. One line of the list says where a count is shown.

use crate::keys::family::{Family, FamilyMap};
use crate::reply::value::Value;
use crate::report::hold::Held;

/// Coordinators and keys, counted. In a dry run, `*_removed` is what would be removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub keys_scanned: u64,
    pub coordinators_checked: u64,
    pub coordinators_stale: u64,
    pub coordinators_unreadable: u64,
    pub coordinators_removed: u64,
    pub coordinators_revived: u64,
    /// Stale, and kept for `blocking.protect`.
    pub coordinators_protected: u64,
    /// Stale, and kept because the run before did not see the same.
    pub coordinators_waiting: u64,
    pub keys_by_family: FamilyMap<u64>,
    pub keys_vetoed: u64,
    pub keys_orphaned: u64,
    pub orphans_too_young: u64,
    pub orphans_removed: u64,
    pub keys_not_owned: u64,
    /// Keys that stay without a living owner, and their stale owners' heartbeats with them.
    pub held: Held,
}

impl Counts {
    /// Keys removed, all families together.
    pub fn keys_removed(&self) -> u64 {
        let counts = self.keys_by_family.values();
        counts.fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Count `count` removed keys of a family.
    pub fn add_removed(&mut self, family: Family, count: u64) {
        let sum = &mut self.keys_by_family[family];
        *sum = sum.saturating_add(count);
    }

    /// Keys removed, family by family.
    pub fn by_family(&self) -> Value {
        let pairs = self.keys_by_family.iter();
        Value::Map(
            pairs
                .map(|(f, count)| (f.name(), (*count).into()))
                .collect(),
        )
    }
}

/// Where the reply of CLEANUP shows a count. INFO shows all of the last run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Always,
    /// Among the remarks, and only if there is something to count.
    IfAny,
    /// Among the remarks, with ORPHANS.
    WithOrphans,
}

/// A count by name.
pub struct Count {
    pub name: &'static str,
    pub shown: Shown,
    pub of: fn(&Counts) -> u64,
}

const fn count(name: &'static str, shown: Shown, of: fn(&Counts) -> u64) -> Count {
    Count { name, shown, of }
}

/// Every count but those of the causes for which keys stay, in the order of the reply.
pub const COUNTS: [Count; 14] = [
    count("keys_scanned", Shown::Always, |c| c.keys_scanned),
    count("coordinators_checked", Shown::Always, |c| {
        c.coordinators_checked
    }),
    count("coordinators_stale", Shown::Always, |c| {
        c.coordinators_stale
    }),
    count("coordinators_unreadable", Shown::Always, |c| {
        c.coordinators_unreadable
    }),
    count("coordinators_removed", Shown::Always, |c| {
        c.coordinators_removed
    }),
    count("coordinators_revived", Shown::Always, |c| {
        c.coordinators_revived
    }),
    count(KEYS_REMOVED, Shown::Always, Counts::keys_removed),
    count("keys_vetoed", Shown::Always, |c| c.keys_vetoed),
    count("keys_orphaned", Shown::Always, |c| c.keys_orphaned),
    count("orphans_removed", Shown::Always, |c| c.orphans_removed),
    count("orphans_too_young", Shown::WithOrphans, |c| {
        c.orphans_too_young
    }),
    count("keys_not_owned", Shown::IfAny, |c| c.keys_not_owned),
    count("coordinators_protected", Shown::IfAny, |c| {
        c.coordinators_protected
    }),
    count("coordinators_waiting", Shown::IfAny, |c| {
        c.coordinators_waiting
    }),
];

/// The reply shows the counts by family behind this one.
pub const KEYS_REMOVED: &str = "keys_removed";

impl Counts {
    /// The counts that the reply shows in this way, with their names.
    pub fn shown(&self, shown: Shown) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = COUNTS.iter().filter(move |count| count.shown == shown);
        counts.map(|count| (count.name, (count.of)(self)))
    }

    /// All of them.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = COUNTS.iter();
        counts
            .map(|count| (count.name, (count.of)(self)))
            .chain(self.held.fields())
    }
}
