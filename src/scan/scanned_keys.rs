//! What a walk gathered: names of family keys, and beats of heartbeats, in flat buffers.
//!
//! A run over ten million keys must not make ten million allocations, nor grow one buffer by
//! copying it: records lie behind one another in chunks that never move. Nothing is judged here.

use crate::heartbeat::Reading;
use crate::keys::family::Family;
use crate::util::cooperative;

const FIRST_CHUNK_BYTES: usize = 16 * 1024;
const CHUNK_BYTES: usize = 1024 * 1024;

// A record: flags (1 byte), length of the name (1 byte, or 5 for a long one), beat (8 bytes, heartbeats
// only), name.
const FLAGS_BYTES: usize = 1;
const LENGTH_BYTES: usize = 4;
const BEAT_BYTES: usize = 8;

/// Stands in the byte for the length, and the length comes behind it: names are seldom so long.
const LONG: u8 = u8::MAX;

const FAMILY_MASK: u8 = 0b0000_0111;
const _: () = assert!(
    Family::ALL.len() <= FAMILY_MASK as usize + 1,
    "more families than their bits can tell apart"
);
const DENIED: u8 = 0b0000_1000;
const DOUBTFUL: u8 = 0b0001_0000;
const HAS_BEAT: u8 = 0b0010_0000;
const LARGE: u8 = 0b0100_0000;

/// Where a record lies in its collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    chunk: u32,
    offset: u32,
}

/// One key as the walk saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'c> {
    pub name: &'c [u8],
    pub family: Family,
    /// The caller's ACL user may not delete this key; known of dry runs and queries only.
    pub denied: bool,
    /// For others: the server will take long to free it, as far as the walk could see.
    pub is_large: bool,
    /// For heartbeats: what its value said.
    pub beat: Option<Reading>,
}

/// The records of one walk, in the order they came, duplicates included.
#[derive(Debug, Default)]
pub struct ScannedKeys {
    full: Vec<Vec<u8>>,
    open: Vec<u8>,
    bytes: usize,
    heartbeat_bytes: usize,
    records: u64,
}

impl Drop for ScannedKeys {
    /// A worker does this, and each chunk takes long: let go of the processor in between, see [`crate::util::cooperative`].
    fn drop(&mut self) {
        for chunk in self.full.drain(..) {
            drop(chunk);
            cooperative::let_go();
        }
    }
}

impl ScannedKeys {
    /// Bytes that all records take, headers included; what `blocking.collect-max-bytes` caps.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Of these, what heartbeats take.
    pub fn heartbeat_bytes(&self) -> usize {
        self.heartbeat_bytes
    }

    /// Number of records, duplicates included.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Append a record. Names are limited by [`crate::keys::name_bounds::MAX_NAME_BYTES`] before they come
    /// here, so lengths and offsets fit their fields; one that did not fit would be left out.
    pub fn push(&mut self, record: Record) {
        let Ok(length) = u32::try_from(record.name.len()) else {
            return;
        };
        let mut flags = record.family as u8;
        let mut beat_ms = None;
        if record.denied {
            flags |= DENIED;
        }
        if record.is_large {
            flags |= LARGE;
        }
        if let Some(beat) = record.beat {
            if beat.doubtful {
                flags |= DOUBTFUL;
            }
            if beat.newest_ms.is_some() {
                flags |= HAS_BEAT;
            }
            beat_ms = Some(beat.newest_ms.unwrap_or_default());
        }
        let short = u8::try_from(length).ok().filter(|length| *length < LONG);
        let header = FLAGS_BYTES + 1 + if short.is_some() { 0 } else { LENGTH_BYTES };
        let size = header
            .saturating_add(beat_ms.map_or(0, |_| BEAT_BYTES))
            .saturating_add(record.name.len());
        let chunk = self.chunk_with_room(size);
        chunk.extend_from_slice(&[flags, short.unwrap_or(LONG)]);
        if short.is_none() {
            chunk.extend_from_slice(&length.to_le_bytes());
        }
        if let Some(ms) = beat_ms {
            chunk.extend_from_slice(&ms.to_le_bytes());
        }
        chunk.extend_from_slice(record.name);
        if beat_ms.is_some() {
            self.heartbeat_bytes = self.heartbeat_bytes.saturating_add(size);
        }
        self.bytes = self.bytes.saturating_add(size);
        self.records = self.records.saturating_add(1);
    }

    /// The open chunk if `size` more bytes fit without moving it, else a new one.
    fn chunk_with_room(&mut self, size: usize) -> &mut Vec<u8> {
        if self.open.capacity().saturating_sub(self.open.len()) < size {
            // An eighth of what is there: however many keys there are, little stays unused.
            let usual = (self.bytes / 8).clamp(FIRST_CHUNK_BYTES, CHUNK_BYTES);
            let full = std::mem::replace(&mut self.open, Vec::with_capacity(usual.max(size)));
            if !full.is_empty() {
                self.full.push(full);
            }
        }
        &mut self.open
    }

    fn chunks(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.full.iter().chain([&self.open])
    }

    /// The record at a position that this collection gave out.
    pub fn get(&self, position: Position) -> Option<Record<'_>> {
        let chunk = position.chunk as usize;
        let chunk = self.full.get(chunk).unwrap_or(&self.open);
        let (record, _) = read_record(chunk.get(position.offset as usize..)?)?;
        Some(record)
    }

    /// Read a little of each of these records and forget it. They lie far apart, and reads that do
    /// not depend on one another wait for the memory together; those that follow wait no more.
    pub fn touch<'p>(&self, positions: impl Iterator<Item = &'p Position>) {
        const CACHE_LINE: usize = 64;
        let mut read = 0u8;
        for position in positions {
            let chunk = self.full.get(position.chunk as usize).unwrap_or(&self.open);
            let first = position.offset as usize;
            for at in [first, first.saturating_add(CACHE_LINE - 1)] {
                read ^= chunk.get(at).copied().unwrap_or_default();
            }
        }
        std::hint::black_box(read);
    }

    /// All records in the order they were pushed, with their positions.
    pub fn iter(&self) -> impl Iterator<Item = (Position, Record<'_>)> {
        self.chunks().zip(0u32..).flat_map(|(bytes, chunk)| {
            let mut offset = 0usize;
            std::iter::from_fn(move || {
                let (record, size) = read_record(bytes.get(offset..)?)?;
                let position = Position {
                    chunk,
                    offset: u32::try_from(offset).ok()?,
                };
                offset = offset.saturating_add(size);
                Some((position, record))
            })
        })
    }
}

/// The record at the beginning of `bytes`, and its size.
fn read_record(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    #[cfg(test)]
    crate::util::cooperative::gauge::work();
    let (&flags, rest) = bytes.split_first()?;
    let (&short, mut rest) = rest.split_first()?;
    let mut length = usize::from(short);
    if short == LONG {
        let (long, after) = rest.split_first_chunk::<LENGTH_BYTES>()?;
        length = u32::from_le_bytes(*long) as usize;
        rest = after;
    }
    let family = *Family::ALL.get(usize::from(flags & FAMILY_MASK))?;
    let mut beat = None;
    if family == Family::Heartbeat {
        let (ms, after) = rest.split_first_chunk::<BEAT_BYTES>()?;
        beat = Some(Reading {
            newest_ms: (flags & HAS_BEAT != 0).then(|| i64::from_le_bytes(*ms)),
            doubtful: flags & DOUBTFUL != 0,
        });
        rest = after;
    }
    let header = bytes.len().saturating_sub(rest.len());
    let size = header.saturating_add(length);
    let record = Record {
        name: rest.get(..length)?,
        family,
        denied: flags & DENIED != 0,
        is_large: flags & LARGE != 0,
        beat,
    };
    Some((record, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(name: &[u8], family: Family, denied: bool, beat: Option<i64>) -> Record<'_> {
        Record {
            name,
            family,
            denied,
            is_large: false,
            beat: (family == Family::Heartbeat).then_some(Reading {
                newest_ms: beat,
                doubtful: denied,
            }),
        }
    }

    /// Of any bytes, now and then about as long as a short length can say, or much longer.
    fn any_name() -> impl Strategy<Value = Vec<u8>> {
        let short = prop::collection::vec(any::<u8>(), 1..60);
        let long = prop_oneof![250..260usize, 65_530..65_540usize];
        prop_oneof![8 => short, 1 => long.prop_map(|bytes| vec![b'x'; bytes])]
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            keys in prop::collection::vec(
                (any_name(), 0..Family::ALL.len(), any::<bool>(), any::<Option<i64>>()),
                0..200,
            ),
        ) {
            let mut collection = ScannedKeys::default();
            let records: Vec<Record> = keys
                .iter()
                .map(|(name, family, denied, beat)| record(name, Family::ALL[*family], *denied, *beat))
                .collect();
            for r in &records {
                collection.push(*r);
            }
            prop_assert_eq!(collection.records(), records.len() as u64);
            let read: Vec<Record> = collection.iter().map(|(_, r)| r).collect();
            prop_assert_eq!(&read, &records);
            for (position, r) in collection.iter() {
                prop_assert_eq!(collection.get(position), Some(r));
            }
        }
    }

    #[test]
    fn chunks_never_move_and_long_names_get_their_own() {
        let mut collection = ScannedKeys::default();
        let long = vec![b'x'; 200 * 1024];
        for _ in 0..40 {
            collection.push(record(b"short", Family::Ack, false, None));
            collection.push(record(&long, Family::Signal, false, None));
        }
        assert_eq!(collection.iter().count(), 80);
        for chunk in collection.chunks() {
            assert!(chunk.len() <= chunk.capacity());
            assert!(chunk.capacity() <= CHUNK_BYTES);
        }
    }
}
