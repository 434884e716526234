//! Coordinators as their writers leave them in a keyspace: six keys each, values of the real shapes.
//! Must be reproducible from the fleet's settings alone, so that every key can be looked at afterwards.

use std::collections::HashSet;
use std::ops::Range;

use anyhow::Result;
use redis::Connection;

use crate::check::batches;

/// Keys of one coordinator of a fleet: heartbeat, signal, ack, idempotency, activity, state.
pub const FAMILY_SIZE: usize = 6;

/// The place of the idempotency key among them.
const IDEMPOTENCY: usize = 3;

/// A day, the longest lifetime a writer gives; short ones would let keys vanish from under a test.
const TTL_S: u32 = 86_400;

/// Coordinators that are alike. An idempotency key names a sender and a receiver: here each coordinator and the next
/// of the same fleet, so that stale ones pair with stale ones, live ones with live ones, and counts are exact.
#[derive(Clone, Debug)]
pub struct Fleet {
    ids: Vec<String>,
    ages_s: Range<i64>,
    now_ms: i64,
    swarm: String,
    ttl_s: Option<u32>,
}

impl Fleet {
    /// A fleet with these ids, whose last beat was at `now_ms`.
    pub fn new(ids: impl IntoIterator<Item = impl Into<String>>, now_ms: i64) -> Self {
        Self {
            ids: ids.into_iter().map(Into::into).collect(),
            ages_s: 0..1,
            now_ms,
            swarm: "demo".to_owned(),
            ttl_s: Some(TTL_S),
        }
    }

    /// A fleet with the ids `{prefix}-0`, `{prefix}-1` and so on.
    pub fn numbered(prefix: &str, count: usize, now_ms: i64) -> Self {
        Self::new((0..count).map(|n| format!("{prefix}-{n}")), now_ms)
    }

    /// Every last beat is this old.
    pub fn age_s(self, age_s: i64) -> Self {
        self.ages_s(age_s..age_s + 1)
    }

    /// The ages of the last beats run through this range, over and over.
    pub fn ages_s(self, ages_s: Range<i64>) -> Self {
        Self { ages_s, ..self }
    }

    /// The swarm in `swarm:{swarm}:blocking:{id}`.
    pub fn swarm(self, swarm: &str) -> Self {
        let swarm = swarm.to_owned();
        Self { swarm, ..self }
    }

    /// The TTL of every key; `None` writes keys that never expire.
    pub fn ttl_s(self, ttl_s: Option<u32>) -> Self {
        Self { ttl_s, ..self }
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// When the coordinator at this place beat last.
    pub fn beat_ms(&self, index: usize) -> i64 {
        let span_s = (self.ages_s.end - self.ages_s.start).max(1);
        let age_s = self.ages_s.start + index as i64 % span_s;
        self.now_ms - age_s * 1_000
    }

    /// The six keys of the coordinator at this place, each with its value; the heartbeat comes first.
    pub fn family(&self, index: usize) -> [(Vec<u8>, Vec<u8>); FAMILY_SIZE] {
        let (id, next) = (&self.ids[index], &self.ids[(index + 1) % self.ids.len()]);
        let swarm = &self.swarm;
        let ms = self.beat_ms(index);
        let signal_id = format!("sig-{ms}-{index}");
        [
            (
                format!("blocking:heartbeat:{id}"),
                format!(
                    r#"{{"coordinatorId":"{id}","timestamp":{ms},"iteration":1,"phase":"waiting"}}"#
                ),
            ),
            (
                format!("blocking:signal:{id}"),
                format!(
                    r#"{{"timestamp":{ms},"senderId":"{next}","receiverId":"{id}","iteration":1,"type":"completion","messageId":"{signal_id}"}}"#
                ),
            ),
            (
                format!("blocking:ack:{id}:{signal_id}"),
                format!(
                    r#"{{"coordinatorId":"{id}","signalId":"{signal_id}","timestamp":{ms},"iteration":1,"status":"received"}}"#
                ),
            ),
            (
                format!("blocking:idempotency:{id}:{next}:completion:1:{ms}"),
                "1".to_owned(),
            ),
            (
                format!("coordinator:activity:{id}"),
                format!(
                    r#"{{"coordinatorId":"{id}","lastActivity":{ms},"iteration":1,"phase":"waiting"}}"#
                ),
            ),
            (
                format!("swarm:{swarm}:blocking:{id}"),
                format!(
                    r#"{{"status":"waiting","startTime":{ms},"signalType":"completion","iteration":1,"phase":"waiting","swarmId":"{swarm}","coordinatorId":"{id}","timestamp":{ms}}}"#
                ),
            ),
        ]
        .map(|(key, value)| (key.into_bytes(), value.into_bytes()))
    }

    /// The names of the six keys of the coordinator at this place; the heartbeat comes first.
    pub fn family_keys(&self, index: usize) -> Vec<Vec<u8>> {
        self.family(index).map(|(key, _)| key).to_vec()
    }

    /// Which of the keys that are `left` no heartbeat leads to any more. The idempotency key names the next
    /// coordinator, too, and goes with the later of the two.
    pub fn headless(&self, left: &HashSet<Vec<u8>>) -> Vec<Vec<u8>> {
        let is_led_to = |index: usize, place: usize| {
            let leads = |index: usize| left.contains(&self.family_keys(index)[0]);
            leads(index) || (place == IDEMPOTENCY && leads((index + 1) % self.len()))
        };
        let all = (0..self.len()).flat_map(|index| {
            let keys = self.family_keys(index).into_iter().enumerate();
            keys.map(move |(place, key)| (index, place, key))
        });
        let there = all.filter(|(_, _, key)| left.contains(key));
        let headless = there.filter(|(index, place, _)| !is_led_to(*index, *place));
        headless.map(|(_, _, key)| key).collect()
    }

    /// Every key of the fleet with the value it is written with.
    pub fn pairs(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        (0..self.len()).flat_map(|index| self.family(index))
    }

    /// Every key of the fleet.
    pub fn keys(&self) -> impl Iterator<Item = Vec<u8>> {
        self.pairs().map(|(key, _)| key)
    }

    /// Writes the fleet; `progress` hears how many keys were written since it was last called.
    pub fn load(&self, conn: &mut Connection, mut progress: impl FnMut(u64)) -> Result<()> {
        for batch in batches(self.pairs()) {
            let mut pipe = redis::pipe();
            for (key, value) in &batch {
                let write = pipe.cmd("SET").arg(key).arg(value);
                if let Some(ttl_s) = self.ttl_s {
                    write.arg("EX").arg(ttl_s);
                }
                write.ignore();
            }
            let () = pipe.query(conn)?;
            progress(batch.len() as u64);
        }
        Ok(())
    }
}

/// Writes coordinators of one age, six keys each, and yields the fleet they form.
pub fn load_coordinators(
    conn: &mut Connection,
    ids: impl IntoIterator<Item = impl Into<String>>,
    age_s: i64,
    now_ms: i64,
    progress: impl FnMut(u64),
) -> Result<Fleet> {
    let fleet = Fleet::new(ids, now_ms).age_s(age_s);
    fleet.load(conn, progress)?;
    Ok(fleet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_six_keys_that_name_only_its_own_fleet() {
        let fleet = Fleet::numbered("c", 2, 1_700_000_700_000).age_s(700);
        let keys = fleet.family_keys(1).into_iter();
        let keys: Vec<String> = keys.map(|key| String::from_utf8(key).unwrap()).collect();
        let expected = [
            "blocking:heartbeat:c-1",
            "blocking:signal:c-1",
            "blocking:ack:c-1:sig-1700000000000-1",
            "blocking:idempotency:c-1:c-0:completion:1:1700000000000",
            "coordinator:activity:c-1",
            "swarm:demo:blocking:c-1",
        ];
        assert_eq!(keys, expected);
        assert_eq!(fleet.keys().count(), 2 * FAMILY_SIZE);
    }

    #[test]
    fn ages_run_through_their_range() {
        let fleet = Fleet::numbered("c", 5, 10_000).ages_s(1..3);
        let beats: Vec<i64> = (0..5).map(|index| fleet.beat_ms(index)).collect();
        assert_eq!(beats, [9_000, 8_000, 9_000, 8_000, 9_000]);
    }
}
