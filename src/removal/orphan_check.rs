//! Between plan and removal, with ORPHANS only: read what keys without an owner say. Nothing is judged here.

use std::hash::RandomState;
use std::sync::Arc;

use super::keyspace::Keyspace;
use crate::heartbeat::reader::Reader;
use crate::orphans::Orphans;
use crate::orphans::first_seen::FirstSeen;
use crate::scan::scanned_keys::ScannedKeys;

/// Orphans on their way from the plan to the reap.
#[derive(Debug)]
pub struct OrphanCheck {
    pub orphans: Orphans,
    pub seen: Arc<FirstSeen>,
    /// Makes the prints.
    pub key: RandomState,
    reader: Reader,
}

impl OrphanCheck {
    /// Nothing read yet; `seen` is what earlier runs saw, with prints that `key` made.
    pub fn new(orphans: Orphans, seen: Arc<FirstSeen>, key: RandomState, reader: Reader) -> Self {
        Self {
            orphans,
            seen,
            key,
            reader,
        }
    }

    /// Keys to be read, and keys read so far.
    pub fn progress(&self) -> (u64, u64) {
        let Orphans {
            keys,
            witnesses,
            orphan_values,
            testimonies_ms,
            ..
        } = &self.orphans;
        let all = keys.len().saturating_add(witnesses.len());
        let done = orphan_values.len().saturating_add(testimonies_ms.len());
        (all as u64, done as u64)
    }

    /// Read until `time_is_up`, which is asked after every key; true when all are read.
    pub fn slice(
        &mut self,
        space: &mut impl Keyspace,
        collection: &ScannedKeys,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> bool {
        loop {
            let orphans = &mut self.orphans;
            let orphan = orphans.keys.get(orphans.orphan_values.len()).copied();
            let witness = orphans.witnesses.get(orphans.testimonies_ms.len()).copied();
            let Some(position) = orphan.or(witness) else {
                return true;
            };
            let orphan_value = collection.get(position).and_then(|record| {
                let name = space.name(record.name);
                space.orphan_value(record.name, &name, &self.reader, &self.key)
            });
            if orphan.is_some() {
                orphans.orphan_values.push(orphan_value);
            } else {
                let newest_ms = orphan_value.and_then(|seen| seen.evidence.newest_ms);
                orphans.testimonies_ms.push(newest_ms);
            }
            if time_is_up() {
                return false;
            }
        }
    }
}
