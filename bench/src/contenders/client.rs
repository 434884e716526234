//! The best client we can write: large pages of SCAN, each requested before the last one is sorted, heartbeats by
//! MGET, UNLINK in pipelines. It does what BLOCKING.CLEANUP does for ids without a colon. The careful client is the
//! same in small steps, none of which takes the server longer than a slice of the module.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use blocking_harness::redis::{self, Connection};

use super::{CAREFUL_CLIENT, CLIENT, Contender, Done, THRESHOLD_S};
use crate::fixture::Fixture;

type Key = Vec<u8>;

pub struct Client {
    name: &'static str,
    what: &'static str,
    page: usize,
    /// Whether the next page is requested before this one is sorted.
    reads_ahead: bool,
    /// Keys of one MGET or UNLINK, and how many of these commands are in a pipeline.
    batch: usize,
    at_once: usize,
}

impl Client {
    pub const FAST: Self = Self {
        name: CLIENT,
        what: "a client in Rust: SCAN in large pages, MGET, pipelined UNLINK",
        page: 10_000,
        reads_ahead: true,
        batch: 500,
        at_once: 20,
    };
    pub const CAREFUL: Self = Self {
        name: CAREFUL_CLIENT,
        what: "the same client in small steps, one command at a time: 100 keys a SCAN, 64 a MGET or UNLINK",
        page: 100,
        reads_ahead: false,
        batch: 64,
        at_once: 1,
    };
}

impl Contender for Client {
    fn name(&self) -> &'static str {
        self.name
    }

    fn what(&self) -> &'static str {
        self.what
    }

    fn run(&self, _fixture: &Fixture, conn: &mut Connection) -> Result<Done> {
        let mut seen = Seen::default();
        self.scan(conn, b"0")?;
        loop {
            let (cursor, keys) = read_page(conn)?;
            let done = cursor == b"0";
            if !done && self.reads_ahead {
                // The server walks on while this page is sorted.
                self.scan(conn, &cursor)?;
            }
            keys.into_iter().for_each(|key| seen.add(key));
            if done {
                break;
            }
            if !self.reads_ahead {
                self.scan(conn, &cursor)?;
            }
        }
        let gone = seen.gone(self, conn)?;
        Ok(Done::removed(self.unlink(conn, &gone)?))
    }
}

impl Client {
    /// Only sends the command; `read_page` waits for the reply.
    fn scan(&self, conn: &mut Connection, cursor: &[u8]) -> Result<()> {
        let mut scan = redis::cmd("SCAN");
        let scan = scan.arg(cursor).arg("COUNT").arg(self.page);
        conn.send_packed_command(&scan.get_packed_command())?;
        Ok(())
    }

    fn get(&self, conn: &mut Connection, keys: &[&Key]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut values = Vec::with_capacity(keys.len());
        for round in keys.chunks(self.batch * self.at_once) {
            let mut pipe = redis::pipe();
            for batch in round.chunks(self.batch) {
                pipe.cmd("MGET").arg(batch);
            }
            let replies: Vec<Vec<Option<Vec<u8>>>> = pipe.query(conn)?;
            values.extend(replies.into_iter().flatten());
        }
        Ok(values)
    }

    fn unlink(&self, conn: &mut Connection, keys: &[Key]) -> Result<u64> {
        let mut removed = 0;
        for round in keys.chunks(self.batch * self.at_once) {
            let mut pipe = redis::pipe();
            for batch in round.chunks(self.batch) {
                pipe.cmd("UNLINK").arg(batch);
            }
            let counts: Vec<u64> = pipe.query(conn).context("UNLINK")?;
            removed += counts.iter().sum::<u64>();
        }
        Ok(removed)
    }
}

fn read_page(conn: &mut Connection) -> Result<(Vec<u8>, Vec<Key>)> {
    Ok(redis::from_redis_value(conn.recv_response()?)?)
}

/// Keys by their kind. Foreign keys are not kept.
#[derive(Default)]
struct Seen {
    beats: HashMap<Key, Key>,
    owned: HashMap<Key, Vec<Key>>,
    shared: Vec<Key>,
}

impl Seen {
    fn add(&mut self, key: Key) {
        if let Some(rest) = key.strip_prefix(b"blocking:") {
            if let Some(id) = rest.strip_prefix(b"heartbeat:") {
                self.beats.insert(id.to_vec(), key);
            } else if let Some(id) = rest.strip_prefix(b"signal:") {
                self.own(id.to_vec(), key);
            } else if let Some(rest) = rest.strip_prefix(b"ack:") {
                self.own(segment(rest).0.to_vec(), key);
            } else if rest.starts_with(b"idempotency:") {
                self.shared.push(key);
            }
        } else if let Some(id) = key.strip_prefix(b"coordinator:activity:") {
            self.own(id.to_vec(), key);
        } else if key.starts_with(b"swarm:")
            && let Some(id) = key[6..].split_once_at(b":blocking:")
        {
            self.own(id.to_vec(), key);
        }
    }

    fn own(&mut self, id: Key, key: Key) {
        self.owned.entry(id).or_default().push(key);
    }

    /// The keys to remove, each heartbeat after the other keys of its coordinator.
    fn gone(mut self, client: &Client, conn: &mut Connection) -> Result<Vec<Key>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let oldest_ms = i64::try_from(now)? - i64::from(THRESHOLD_S + 1) * 1_000;
        let ids: Vec<(&Key, &Key)> = self.beats.iter().collect();
        let heartbeats: Vec<&Key> = ids.iter().map(|(_, key)| *key).collect();
        let values = client.get(conn, &heartbeats)?;
        let stale: HashMap<Key, ()> = ids
            .iter()
            .zip(&values)
            .filter(|(_, value)| {
                let beat = value.as_deref().and_then(newest_ms);
                beat.is_some_and(|ms| ms <= oldest_ms)
            })
            .map(|((id, _), _)| ((*id).clone(), ()))
            .collect();
        let mut gone = Vec::new();
        for id in stale.keys() {
            gone.extend(self.owned.remove(id).unwrap_or_default());
        }
        for key in std::mem::take(&mut self.shared) {
            let (sender, rest) = segment(&key[b"blocking:idempotency:".len()..]);
            let (receiver, _) = segment(rest);
            let dead = |id: &[u8]| stale.contains_key(id);
            let alive = |id: &[u8]| !dead(id) && self.beats.contains_key(id);
            if (dead(sender) || dead(receiver)) && !alive(sender) && !alive(receiver) {
                gone.push(key);
            }
        }
        gone.extend(stale.keys().filter_map(|id| self.beats.remove(id)));
        Ok(gone)
    }
}

/// The bytes before the first colon, and those after it.
fn segment(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == b':') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

trait SplitOnce {
    /// The bytes after the first `mark`.
    fn split_once_at(&self, mark: &[u8]) -> Option<&[u8]>;
}

impl SplitOnce for [u8] {
    fn split_once_at(&self, mark: &[u8]) -> Option<&[u8]> {
        let at = self.windows(mark.len()).position(|window| window == mark)?;
        Some(&self[at + mark.len()..])
    }
}

fn newest_ms(value: &[u8]) -> Option<i64> {
    let beat: serde_json::Value = serde_json::from_slice(value).ok()?;
    let number = |value: &serde_json::Value| match value {
        serde_json::Value::Number(number) => {
            number.as_i64().or(number.as_f64().map(|ms| ms as i64))
        }
        serde_json::Value::String(text) => text.parse().ok(),
        _ => None,
    };
    if beat.is_number() {
        return number(&beat);
    }
    let fields = ["timestamp", "lastHeartbeat", "last_heartbeat"];
    fields
        .iter()
        .filter_map(|field| number(beat.get(field)?))
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_three_fields_or_a_bare_number_counts() {
        assert_eq!(newest_ms(b"1700000000000"), Some(1_700_000_000_000));
        assert_eq!(
            newest_ms(br#"{"timestamp":1,"lastHeartbeat":3,"last_heartbeat":2}"#),
            Some(3)
        );
        assert_eq!(newest_ms(br#"{"timestamp":"17"}"#), Some(17));
        assert_eq!(newest_ms(br#"{"metadata":{"timestamp":1}}"#), None);
        assert_eq!(newest_ms(b"test"), None);
    }

    #[test]
    fn names_find_their_owners() {
        let mut seen = Seen::default();
        for key in [
            "blocking:heartbeat:a",
            "blocking:signal:a",
            "blocking:ack:a:s1",
            "blocking:ack:a",
            "coordinator:activity:a",
            "swarm:x:blocking:a",
            "blocking:idempotency:a:b:completion:1:2",
            "user:1",
            "swarm:x:state",
            "blocking:retry:a",
        ] {
            seen.add(key.into());
        }
        assert_eq!(seen.beats.len(), 1);
        assert_eq!(seen.owned[&b"a".to_vec()].len(), 5);
        assert_eq!((seen.owned.len(), seen.shared.len()), (1, 1));
    }
}
