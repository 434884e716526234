//! A source of names in memory, for tests: a list of keys with the texts of strings.

use std::collections::BTreeSet;

use super::source::{KeySource, ScannedKey, Step, Visitor};
use crate::heartbeat::Stored;
use crate::heartbeat::details::HeartbeatDetails;
use crate::heartbeat::reader::{Beat, Reader};

/// One key. Its TTL passes at a time, if it has one.
#[derive(Clone, Debug, Default)]
pub struct Key {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
    pub expires_ms: Option<i64>,
}

impl Key {
    /// A key without a TTL.
    pub fn new(name: &str, value: &[u8]) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            value: value.to_vec(),
            expires_ms: None,
        }
    }
}

#[derive(Debug)]
pub struct MemoryKeys {
    pub keys: Vec<Key>,
    /// How many keys a step visits.
    pub step_keys: usize,
    /// A visit shows names alone, as SCAN does; what has expired is removed instead of visited.
    pub names_only: bool,
    pub now_ms: i64,
    /// The user may neither read nor delete these.
    pub denied: BTreeSet<Vec<u8>>,
    /// Before these steps the walk goes back to the beginning.
    pub starts_over: BTreeSet<u64>,
    /// Replicas are too far behind.
    pub must_wait: bool,
    /// Steps so far.
    pub steps: u64,
    /// Walks that were begun, and whether visits of the last one are slow.
    pub walks: u64,
    pub is_slow: bool,
    place: usize,
}

impl MemoryKeys {
    /// With these keys, a step to each.
    pub fn of(keys: Vec<Key>) -> Self {
        Self {
            keys,
            step_keys: 1,
            names_only: false,
            now_ms: 0,
            denied: BTreeSet::new(),
            starts_over: BTreeSet::new(),
            must_wait: false,
            steps: 0,
            walks: 1,
            is_slow: false,
            place: 0,
        }
    }

    fn is_gone(&self, key: &Key) -> bool {
        key.expires_ms.is_some_and(|at_ms| at_ms <= self.now_ms)
    }

    fn find(&self, name: &[u8]) -> Option<&Key> {
        let found = self.keys.iter().find(|key| key.name == name);
        found.filter(|key| !self.is_gone(key))
    }
}

/// What a visit shows.
struct Visited<'v> {
    key: &'v Key,
    source: &'v MemoryKeys,
}

impl ScannedKey for Visited<'_> {
    fn name(&self) -> &[u8] {
        &self.key.name
    }

    fn is_expired(&self, now_ms: i64) -> bool {
        !self.source.names_only && self.key.expires_ms.is_some_and(|at_ms| at_ms <= now_ms)
    }

    fn is_string(&self) -> bool {
        !self.source.names_only
    }

    fn is_long(&self) -> bool {
        false
    }

    fn may_be_deleted(&self) -> bool {
        !self.source.denied.contains(&self.key.name)
    }

    fn may_be_read(&self) -> bool {
        self.may_be_deleted()
    }

    fn heartbeat(&self, reader: &Reader) -> Option<Beat> {
        (!self.source.names_only).then(|| reader.read(Stored::Text(&self.key.value)))
    }
}

impl KeySource for MemoryKeys {
    type Name = Vec<u8>;

    fn step(&mut self, visitor: &mut impl Visitor) -> Step {
        self.steps += 1;
        if self.starts_over.remove(&self.steps) {
            self.place = 0;
            return Step {
                more: true,
                expired: 0,
                starts_over: true,
            };
        }
        let page = self.keys.iter().skip(self.place).take(self.step_keys);
        let mut expired = 0;
        for key in page {
            if self.names_only && self.is_gone(key) {
                expired += 1;
            } else {
                visitor.visit(&Visited { key, source: self });
            }
        }
        self.place += self.step_keys;
        Step {
            more: self.place < self.keys.len(),
            expired,
            starts_over: false,
        }
    }

    fn max_steps(&self) -> u32 {
        8
    }

    fn begin_again(&mut self, is_slow: bool) {
        self.walks += 1;
        self.is_slow = is_slow;
        self.place = 0;
    }

    fn name(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }

    fn heartbeat(&mut self, name: &Vec<u8>, reader: &Reader) -> Option<Beat> {
        let key = self.find(name)?;
        Some(reader.read(Stored::Text(&key.value)))
    }

    fn details(&mut self, name: &Vec<u8>, reader: &Reader) -> Option<HeartbeatDetails> {
        let key = self.find(name)?;
        let stored = Stored::Text(&key.value);
        let expires_ms = key.expires_ms.unwrap_or(-1);
        Some(HeartbeatDetails::of(stored, expires_ms, reader, None))
    }

    fn may_delete(&self, name: &Vec<u8>) -> bool {
        !self.denied.contains(name)
    }

    fn may_read(&self, name: &Vec<u8>) -> bool {
        self.may_delete(name)
    }

    fn must_wait(&mut self) -> bool {
        self.must_wait
    }
}
