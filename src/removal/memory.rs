//! A keyspace in memory, for tests: a map from names to the texts of strings.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::keyspace::{Keyspace, Refusal};
use crate::cluster::locality::{ClusterTags, Locality};
use crate::heartbeat::reader::{Beat, Reader};
use crate::heartbeat::{Stored, Verdict, verdict};
use crate::keys::layout::Layout;
use crate::orphans::OrphanValue;
use crate::orphans::evidence::{self, Content};
use crate::plan::plan_model::{beats_for, owners};
use crate::report::obituary::Obituaries;
use crate::report::progress::Waiting;

/// The wall clock of all tests, milliseconds since 1970.
pub const NOW_MS: i64 = 1_700_000_000_000;
pub const THRESHOLD_S: u32 = 600;

/// The value of a heartbeat of this age.
pub fn beat(age_s: i64) -> Vec<u8> {
    format!("{{\"timestamp\":{}}}", NOW_MS - age_s * 1_000).into_bytes()
}

#[derive(Debug, Default)]
pub struct MemoryKeyspace {
    pub keys: BTreeMap<Vec<u8>, Vec<u8>>,
    pub denied: BTreeSet<Vec<u8>>,
    /// What every removal has to wait for.
    pub waiting: Option<Waiting>,
    /// What every UNLINK is refused with.
    pub refusal: Option<String>,
    /// The server does not tell of heartbeats that come into being.
    pub is_silent: bool,
    /// What was unlinked, command by command.
    pub commands: Vec<Vec<String>>,
    /// The slow model is not asked, for keys are many.
    pub is_unchecked: bool,
    /// Keys that went although a heartbeat that is not stale could own them: there must be none.
    pub lost: Vec<String>,
    /// Heartbeats that the run removed, and how they were read last.
    pub removed: BTreeMap<Vec<u8>, Verdict>,
    /// Heartbeats read so far, and the bytes of their values.
    pub reads: usize,
    bytes_read: usize,
    new_heartbeats: Vec<Vec<u8>>,
    new_keys: Vec<Vec<u8>>,
}

pub fn reader() -> Reader {
    Reader {
        max_bytes: 65_536,
        ..Reader::default()
    }
}

impl MemoryKeyspace {
    /// With these keys; nothing is told of them.
    pub fn of(keys: &[(&str, Vec<u8>)]) -> Self {
        let keys = keys.iter();
        Self {
            keys: keys
                .map(|(name, value)| (name.as_bytes().to_vec(), value.clone()))
                .collect(),
            ..Self::default()
        }
    }

    /// Write a key as a client would; the server tells of it if it is new.
    pub fn write(&mut self, name: &str, value: Vec<u8>) {
        let name = name.as_bytes().to_vec();
        if self.keys.insert(name.clone(), value).is_none() && !self.is_silent {
            match beats_for(&name).is_empty() {
                true => self.new_keys.push(name),
                false => self.new_heartbeats.push(name),
            }
        }
    }

    pub fn names(&self) -> Vec<String> {
        self.keys.keys().map(|name| text(name)).collect()
    }

    /// Every heartbeat that is there, with what it means now.
    pub fn heartbeats(&self) -> BTreeMap<Vec<u8>, Verdict> {
        let there = self
            .keys
            .iter()
            .filter(|(name, _)| !beats_for(name).is_empty());
        let judged = |value: &Vec<u8>| {
            let beat = reader().read(Stored::Text(value));
            verdict(beat.reading, NOW_MS, THRESHOLD_S)
        };
        there
            .map(|(name, value)| (name.clone(), judged(value)))
            .collect()
    }
}

pub fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

impl Keyspace for MemoryKeyspace {
    type Name = Vec<u8>;

    fn name(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }

    fn heartbeat(&mut self, name: &Vec<u8>, reader: &Reader) -> Option<Beat> {
        let value = self.keys.get(name)?;
        self.reads += 1;
        self.bytes_read += value.len();
        Some(reader.read(Stored::Text(value)))
    }

    fn bytes_read(&self) -> usize {
        self.bytes_read
    }

    fn beginning(&mut self, name: &Vec<u8>, _: &Reader, max_bytes: usize) -> Vec<u8> {
        let value = self.keys.get(name).cloned().unwrap_or_default();
        value.into_iter().take(max_bytes).collect()
    }

    fn exists(&mut self, name: &Vec<u8>) -> bool {
        self.keys.contains_key(name)
    }

    fn may_exist(&mut self, name: &Vec<u8>) -> bool {
        self.exists(name)
    }

    fn orphan_value(
        &mut self,
        bytes: &[u8],
        name: &Vec<u8>,
        reader: &Reader,
        key: &RandomState,
    ) -> Option<OrphanValue> {
        let value = self.keys.get(name)?;
        let Reader {
            layout,
            fields,
            rules,
            ..
        } = reader;
        Some(OrphanValue {
            evidence: evidence::of_key(bytes, Content::Read(value), layout, fields, *rules),
            print: key.hash_one(value),
        })
    }

    fn may_delete(&mut self, name: &Vec<u8>) -> bool {
        !self.denied.contains(name)
    }

    /// The slow model says, of this very moment, whether a key may go.
    fn unlink<'k>(&mut self, names: impl Iterator<Item = &'k Vec<u8>>) -> Result<u64, Refusal> {
        if let Some(text) = &self.refusal {
            return Err(Refusal::Refused(text.clone()));
        }
        let names: Vec<&Vec<u8>> = names.collect();
        let mut now = match self.is_unchecked {
            true => BTreeMap::new(),
            false => self.heartbeats(),
        };
        // What has gone by this run was dead, and owned what it owned.
        for (name, verdict) in &self.removed {
            now.entry(name.clone()).or_insert(*verdict);
        }
        let mut count = 0;
        for name in &names {
            let is_stale = |owner: &Vec<u8>| matches!(now[owner], Verdict::Stale { .. });
            if !owners(name, &now).keys().all(is_stale) {
                self.lost.push(text(name));
            }
            if self.keys.remove(*name).is_some() {
                count += 1;
                if let Some(verdict) = now.get(*name) {
                    self.removed.insert((*name).clone(), *verdict);
                }
            }
        }
        if !names.is_empty() {
            self.commands
                .push(names.iter().map(|name| text(name)).collect());
        }
        Ok(count)
    }

    fn must_wait(&mut self, _: u64) -> Option<Waiting> {
        self.waiting
    }

    fn moved_slots(&mut self, _: &Arc<Layout>) -> Option<Locality> {
        None
    }

    fn tags(&self) -> ClusterTags {
        ClusterTags::default()
    }

    fn new_heartbeats(&mut self) -> Option<Vec<Vec<u8>>> {
        Some(std::mem::take(&mut self.new_heartbeats))
    }

    fn too_many_new_heartbeats(&mut self) {}

    fn new_keys(&mut self) -> Option<Vec<Vec<u8>>> {
        Some(std::mem::take(&mut self.new_keys))
    }

    fn note_key(&mut self, name: &[u8]) {
        self.new_keys.push(name.to_vec());
    }

    fn write_obituaries(&mut self, _: &mut Obituaries) -> u64 {
        0
    }

    fn now_us(&self) -> u64 {
        0
    }
}
