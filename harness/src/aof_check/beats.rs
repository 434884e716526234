//! The log of what was written into heartbeats. The writer of a value says what time it stands for; no value is
//! parsed.

use std::collections::HashMap;

use anyhow::{Result, ensure};

/// Everything that was written as a heartbeat, with the time it stands for.
#[derive(Debug, Default)]
pub struct BeatLog {
    meanings: HashMap<Vec<u8>, i64>,
    /// Heartbeats written, and acknowledged by the server.
    pub acknowledged: u64,
}

impl BeatLog {
    /// Before this value is written: it stands for this time.
    pub fn insert(&mut self, value: &[u8], meaning_ms: i64) {
        self.meanings.insert(value.to_vec(), meaning_ms);
    }

    /// The time that a value stands for, if it was written.
    pub fn meaning_ms(&self, value: &[u8]) -> Option<i64> {
        self.meanings.get(value).copied()
    }

    /// Takes over what another thread has logged. A value never means two things.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        for (value, ms) in other.meanings {
            let known = *self.meanings.entry(value).or_insert(ms);
            ensure!(known == ms, "one value, two times: {known} and {ms}");
        }
        self.acknowledged += other.acknowledged;
        Ok(())
    }
}
