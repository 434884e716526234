//! Fingerprints of heartbeats: what a walk saw, to be compared with what an earlier one saw.

use crate::heartbeat::fingerprint::Fingerprinter;
use crate::util::cooperative::YieldCounter;

/// Keyed hashes of a heartbeat's name and of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint {
    pub name: u64,
    pub value: u64,
}

/// What a walk saw: every heartbeat, in any order, some more than once.
#[derive(Clone, Debug, Default)]
pub struct SeenFingerprints(Vec<Fingerprint>);

impl SeenFingerprints {
    /// Add a heartbeat.
    pub fn push(&mut self, prints: &Fingerprinter, name: &[u8], value: u64) {
        let name = prints.of(name);
        self.0.push(Fingerprint { name, value });
    }

    /// Memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.len().saturating_mul(size_of::<Fingerprint>())
    }

    /// Bring it into the order that [`Self::value`] needs. `None` if told to stop.
    pub fn sort(&mut self, yields: &YieldCounter) -> Option<()> {
        yields.sort_by(&mut self.0, Ord::cmp)
    }

    /// The one value that the walk saw for the heartbeat with this hash of its name; `None` if it changed meanwhile.
    pub fn value(&self, name: u64) -> Option<u64> {
        let first = self
            .0
            .partition_point(|fingerprint| fingerprint.name < name);
        let mut values = self.0.iter().skip(first).take_while(|s| s.name == name);
        let value = values.next()?.value;
        values
            .all(|fingerprint| fingerprint.value == value)
            .then_some(value)
    }
}
