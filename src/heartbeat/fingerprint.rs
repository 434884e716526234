//! A keyed hash of what a heartbeat holds: two looks at the same bytes give the same number.

use std::hash::{BuildHasher, RandomState};

use super::Stored;

/// Hashes with a key of this process alone, so that no client can choose values with equal fingerprints.
#[derive(Clone, Debug, Default)]
pub struct Fingerprinter(RandomState);

impl Fingerprinter {
    /// The fingerprint of a name or of a value.
    pub fn of(&self, bytes: &[u8]) -> u64 {
        self.0.hash_one(bytes)
    }

    /// The fingerprint of what is stored under a name; `None` if it was not read. Of a hash the time fields alone
    /// count.
    pub fn of_stored(&self, stored: Stored, max_bytes: usize) -> Option<u64> {
        match stored {
            Stored::Text(value) => (value.len() <= max_bytes).then(|| self.of(value)),
            Stored::Hash(fields) => Some(self.0.hash_one(fields)),
            Stored::Unread(..) => None,
        }
    }
}
