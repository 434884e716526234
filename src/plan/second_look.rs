//! The second look: whether a heartbeat still holds the very bytes that the last scheduled run saw.
//!
//! A coordinator whose clock is wrong, or whose times have an unknown unit, looks dead at every
//! moment and yet writes a new value with every beat. So the schedule remembers of each stale
//! coordinator two keyed hashes, of its heartbeat's name and of its value, and a run removes only
//! those that it finds unchanged. Forgetting costs one interval and nothing else.

use std::sync::Arc;

use crate::heartbeat::fingerprint::Fingerprinter;
use crate::scan::fingerprints::{Fingerprint, SeenFingerprints};
use crate::util::cooperative::YieldCounter;

/// What all databases together may remember: 16 MiB.
pub const MAX_FINGERPRINTS: usize = 1 << 20;

/// What a scheduled run remembers of the stale coordinators of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprints(Vec<Fingerprint>);

impl Fingerprints {
    /// Number of coordinators remembered.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the heartbeat of this name held a value of this fingerprint.
    pub fn confirm(&self, name: u64, value: u64) -> bool {
        let fingerprint = Fingerprint { name, value };
        self.0.binary_search(&fingerprint).is_ok()
    }
}

/// What a run needs for its second look.
#[derive(Clone, Debug)]
pub struct SecondLook {
    pub prints: Fingerprinter,
    /// What the run before it saw of the same database.
    pub before: Arc<Fingerprints>,
    /// At most this many are remembered for the next run.
    pub most: usize,
    /// What this run's walk saw.
    pub seen: SeenFingerprints,
}

impl SecondLook {
    /// Bring what was seen into an order that can be searched; before any other question, and on
    /// a worker thread, for it takes long. `None` if told to stop.
    pub fn prepare(&mut self, yields: &YieldCounter) -> Option<()> {
        self.seen.sort(yields)
    }

    /// Whether the run before saw this heartbeat as this run did.
    pub fn confirms(&self, name: &[u8]) -> bool {
        let name = self.prints.of(name);
        let value = self.seen.value(name);
        value.is_some_and(|value| self.before.confirm(name, value))
    }

    /// What the next run should know of these heartbeats, of which the first are the most urgent.
    /// `None` if told to stop.
    pub fn remember<'n>(
        &self,
        names: impl Iterator<Item = &'n [u8]>,
        yields: &YieldCounter,
    ) -> Option<Fingerprints> {
        let mut fingerprints = Vec::new();
        for name in names {
            yields.name(name)?;
            if fingerprints.len() >= self.most {
                break;
            }
            let name = self.prints.of(name);
            fingerprints.extend(
                self.seen
                    .value(name)
                    .map(|value| Fingerprint { name, value }),
            );
        }
        yields.sort_by(&mut fingerprints, Ord::cmp)?;
        Some(Fingerprints(fingerprints))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(prints: &Fingerprinter, before: Fingerprints, seen: &[(&str, &str)]) -> SecondLook {
        let mut look = SecondLook {
            prints: prints.clone(),
            before: Arc::new(before),
            most: 3,
            seen: SeenFingerprints::default(),
        };
        for (name, value) in seen {
            let value = prints.of(value.as_bytes());
            look.seen.push(prints, name.as_bytes(), value);
        }
        look.prepare(&YieldCounter::unstoppable()).unwrap();
        look
    }

    #[test]
    fn only_unchanged_bytes_are_confirmed() {
        let prints = Fingerprinter::default();
        let first = look(
            &prints,
            Fingerprints::default(),
            &[
                ("a", "1"),
                ("b", "1"),
                ("c", "1"),
                ("c", "2"),
                ("d", "1"),
                ("d", "1"),
            ],
        );
        for name in ["a", "b", "c", "d"] {
            assert!(!first.confirms(name.as_bytes()), "{name}");
        }
        let names = ["a", "b", "c", "d"];
        let known = first
            .remember(
                names.iter().map(|name| name.as_bytes()),
                &YieldCounter::unstoppable(),
            )
            .unwrap();
        assert_eq!(known.len(), 3, "c changed under the walk");
        let second = look(
            &prints,
            known,
            &[("d", "1"), ("c", "1"), ("b", "2"), ("a", "1"), ("e", "1")],
        );
        let confirmed = ["a", "b", "c", "d", "e", "f"].map(|name| second.confirms(name.as_bytes()));
        assert_eq!(confirmed, [true, false, false, true, false, false]);
    }

    #[test]
    fn what_does_not_fit_is_forgotten_from_the_end() {
        let prints = Fingerprinter::default();
        let seen = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")];
        let look = look(&prints, Fingerprints::default(), &seen);
        let names = ["d", "c", "b", "a"];
        let known = look
            .remember(
                names.iter().map(|name| name.as_bytes()),
                &YieldCounter::unstoppable(),
            )
            .unwrap();
        assert_eq!(known.len(), 3);
        let value = prints.of(b"1");
        assert!(known.confirm(prints.of(b"d"), value));
        assert!(!known.confirm(prints.of(b"a"), value));
    }
}
