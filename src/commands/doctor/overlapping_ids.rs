//! Ids that contain a colon, and ids that begin with another id: one key can belong to both of those.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hashbrown::HashTable;

use crate::keys::layout::Layout;
use crate::keys::segment_hash::SegmentHasher;
use crate::plan::heartbeats;
use crate::reply::room;
use crate::scan::scanned_keys::{Position, ScannedKeys};
use crate::util::cooperative::YieldCounter;

/// How many examples are kept, for the caller may not be allowed to see the first.
const MAX_EXAMPLES: usize = 8;

/// What is known of ids.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// Different ids, in whatever swarm.
    pub ids: u64,
    pub with_colon: u64,
    /// Ids that begin with another id and a colon.
    pub ambiguous: u64,
    /// Heartbeats of some ids with a colon.
    pub colons: Vec<Vec<u8>>,
    /// Heartbeats of some ambiguous ids, each with one of the id it begins with.
    pub pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Where an id stands: its hash, the record of its heartbeat, the place in that name.
#[derive(Clone, Copy, Debug)]
struct Known {
    hash: u64,
    position: Position,
    id: (u32, u32),
}

impl Known {
    fn name(self, collection: &ScannedKeys) -> &[u8] {
        let record = collection.get(self.position);
        record.map(|record| record.name).unwrap_or_default()
    }

    fn id(self, collection: &ScannedKeys) -> &[u8] {
        let name = self.name(collection);
        let (start, end) = self.id;
        name.get(start as usize..end as usize).unwrap_or_default()
    }
}

/// Looks at every id; `None` if told to stop.
pub fn look(collection: &ScannedKeys, layout: &Arc<Layout>, stop: &AtomicBool) -> Option<Ids> {
    let mut hasher = SegmentHasher::default();
    let mut known: HashTable<Known> = HashTable::new();
    let yields = YieldCounter::new(stop);
    for (position, record) in collection.iter() {
        yields.step()?;
        if record.beat.is_none() {
            continue;
        }
        yields.name(record.name)?;
        let Some(reading) = heartbeats::coordinator(record.name, layout) else {
            continue;
        };
        let (Ok(start), Ok(end)) = (u32::try_from(reading.id.0), u32::try_from(reading.id.1))
        else {
            continue;
        };
        hasher.load(record.name);
        let hash = hasher.by_id(reading.id);
        let id = reading.id_of(record.name);
        if known.find(hash, |k| k.id(collection) == id).is_none() {
            let one = Known {
                hash,
                position,
                id: (start, end),
            };
            known.insert_unique(hash, one, |k| k.hash);
        }
    }
    let mut found = Ids {
        ids: known.len() as u64,
        ..Ids::default()
    };
    for one in &known {
        let id = one.id(collection);
        yields.name(id)?;
        if memchr::memchr(b':', id).is_none() {
            continue;
        }
        let name = one.name(collection);
        found.with_colon = found.with_colon.saturating_add(1);
        if found.colons.len() < MAX_EXAMPLES && is_short(name) {
            found.colons.push(name.to_vec());
        }
        hasher.load(name);
        let start = one.id.0 as usize;
        for colon in memchr::memchr_iter(b':', id).filter(|at| *at > 0) {
            yields.step()?;
            let hash = hasher.by_id((start, start.saturating_add(colon)));
            let begin = id.get(..colon).unwrap_or_default();
            if let Some(other) = known.find(hash, |k| k.id(collection) == begin) {
                found.ambiguous = found.ambiguous.saturating_add(1);
                let other = other.name(collection);
                if found.pairs.len() < MAX_EXAMPLES && is_short(name) && is_short(other) {
                    found.pairs.push((name.to_vec(), other.to_vec()));
                }
                break;
            }
        }
    }
    Some(found)
}

/// Whether a name is short enough to stand in the answer.
fn is_short(name: &[u8]) -> bool {
    room::written_bytes(name) <= room::MAX_EXAMPLE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heartbeat::Reading;
    use crate::keys::family::Family;
    use crate::scan::scanned_keys::Record;

    fn of(heartbeats: &[&str]) -> Ids {
        let mut collection = ScannedKeys::default();
        for name in heartbeats {
            collection.push(Record {
                name: name.as_bytes(),
                family: Family::Heartbeat,
                denied: false,
                is_large: false,
                beat: Some(Reading {
                    newest_ms: Some(1),
                    doubtful: false,
                }),
            });
        }
        look(&collection, &Arc::default(), &AtomicBool::new(false)).unwrap()
    }

    #[test]
    fn ids_that_begin_with_others() {
        // Heartbeats; how many ids, how many with a colon, how many ambiguous.
        type Case = (&'static [&'static str], (u64, u64, u64));
        let table: [Case; 6] = [
            (&[], (0, 0, 0)),
            (
                &["blocking:heartbeat:a", "blocking:heartbeat:ab"],
                (2, 0, 0),
            ),
            (
                &["blocking:heartbeat:a", "blocking:heartbeat:a:b"],
                (2, 1, 1),
            ),
            // Whole segments only, and from the first one on.
            (
                &[
                    "blocking:heartbeat:a",
                    "blocking:heartbeat:ab:c",
                    "blocking:heartbeat:c:a",
                ],
                (3, 2, 0),
            ),
            // In whatever swarm, and each id once.
            (
                &[
                    "swarm:s:blocking:heartbeat:a:b:c",
                    "swarm:t:blocking:heartbeat:a",
                    "blocking:heartbeat:a",
                    "blocking:heartbeat:a",
                ],
                (2, 1, 1),
            ),
            (
                &["blocking:heartbeat::", "blocking:heartbeat::a"],
                (2, 2, 0),
            ),
        ];
        for (heartbeats, expected) in table {
            let ids = of(heartbeats);
            let found = (ids.ids, ids.with_colon, ids.ambiguous);
            assert_eq!(found, expected, "{heartbeats:?}");
        }
        let ids = of(&["blocking:heartbeat:a", "swarm:s:blocking:heartbeat:a:b"]);
        let pair = (
            b"swarm:s:blocking:heartbeat:a:b".to_vec(),
            b"blocking:heartbeat:a".to_vec(),
        );
        assert_eq!(ids.pairs, [pair]);
        assert_eq!(ids.colons, [b"swarm:s:blocking:heartbeat:a:b".to_vec()]);
    }

    #[test]
    fn examples_are_few_however_many_there_are() {
        let mut names = vec!["blocking:heartbeat:a".to_owned()];
        names.extend((0..1000).map(|n| format!("blocking:heartbeat:a:{n}")));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let ids = of(&names);
        assert_eq!((ids.with_colon, ids.ambiguous), (1000, 1000));
        assert_eq!((ids.colons.len(), ids.pairs.len()), (8, 8));
    }

    #[test]
    fn an_id_of_nothing_but_colons_ends() {
        let name = format!("blocking:heartbeat:{}", ":".repeat(64 << 10));
        assert_eq!(of(&[&name]).ambiguous, 0);
    }
}
