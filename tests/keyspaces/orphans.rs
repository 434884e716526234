//! Which orphans go, by docs/keys.md#orphans. As slow and as obviously right as the rest of the model: every
//! key is compared with every other, and every way to read a name is tried.

use std::collections::{BTreeMap, BTreeSet};

use crate::beats;
use crate::keyspace::Key;

/// What could own a key, and what could speak for its owners, is looked at again one by one before it goes.
const LOOKS_MAX: usize = 64;

/// A swarm, if there is one, and an id.
type Identity = (Option<Key>, Key);

/// Names with the values of strings.
pub type Values = BTreeMap<Key, Option<Vec<u8>>>;

/// What is asked.
pub struct Asked<'a> {
    pub now_ms: i64,
    pub grace_s: i64,
    /// `blocking.max-heartbeat-bytes`.
    pub max_bytes: usize,
    pub admits: &'a dyn Fn(&[u8]) -> bool,
}

/// What must become of the orphans.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fates {
    pub gone: BTreeSet<Key>,
    pub too_young: usize,
    pub vetoed: usize,
}

/// Every coordinator that a key could belong to, as often as its name can be read so.
pub fn possible_owners(name: &[u8]) -> Vec<Identity> {
    let mut found = Vec::new();
    for prefix in [b"blocking:signal:".as_slice(), b"coordinator:activity:"] {
        if let Some(id) = name.strip_prefix(prefix) {
            found.push((None, id.to_vec()));
        }
    }
    for (prefix, from_the_start) in [
        (b"blocking:ack:".as_slice(), true),
        (b"blocking:idempotency:", false),
    ] {
        let Some(rest) = name.strip_prefix(prefix) else {
            continue;
        };
        let segments: Vec<&[u8]> = rest.split(|byte| *byte == b':').collect();
        for first in 0..segments.len() {
            for end in first + 1..=segments.len() {
                if first == 0 || !from_the_start {
                    found.push((None, segments[first..end].join(b":".as_slice())));
                }
            }
        }
    }
    for (marker, end) in [
        (b":agent:".as_slice(), b":activity".as_slice()),
        (b":blocking:", b""),
    ] {
        let middle = name.strip_prefix(b"swarm:");
        let Some(middle) = middle.and_then(|rest| rest.strip_suffix(end)) else {
            continue;
        };
        for at in 1..middle.len() {
            if let Some(id) = middle[at..].strip_prefix(marker) {
                found.push((Some(middle[..at].to_vec()), id.to_vec()));
            }
        }
    }
    found.retain(|(_, id)| !id.is_empty());
    found
}

/// Whether what is said of one coordinator counts for a key of the other.
fn counts_for(said_of: &Identity, owner: &Identity) -> bool {
    let same_swarm = said_of.0.is_none() || owner.0.is_none() || said_of.0 == owner.0;
    same_swarm && said_of.1 == owner.1
}

/// The newest time a key gives, and whether that proves its age. What is not read was used when it was written, just
/// now.
fn evidence(name: &[u8], value: Option<&[u8]>, asked: &Asked) -> (Option<i64>, bool) {
    let value = value.filter(|value| value.len() <= asked.max_bytes);
    let is_message = name.starts_with(b"blocking:idempotency:");
    let last = name.split(|byte| *byte == b':').next_back();
    let last = last.filter(|last| is_message && last.iter().all(u8::is_ascii_digit));
    let named = last.and_then(|last| beats::digits_ms(last, asked.now_ms));
    let Some(value) = value else {
        return (named.flatten().max(Some(asked.now_ms)), false);
    };
    let mut told = beats::evidence(value, asked.now_ms);
    told.extend(named);
    let newest = told.iter().flatten().copied().max();
    (newest, newest.is_some() && !told.contains(&None))
}

/// What becomes of the orphans among the keys; `others` are family keys that have an owner, heartbeats left out.
pub fn fates(orphans: &Values, others: &Values, asked: &Asked) -> Fates {
    let owners: BTreeMap<&Key, Vec<Identity>> = orphans
        .keys()
        .map(|name| (name, possible_owners(name)))
        .collect();
    let only = |name: &Key| {
        let owners = &owners[name];
        owners.first().filter(|_| owners.len() == 1).cloned()
    };
    let known: Vec<Identity> = orphans.keys().filter_map(only).collect();

    // Whatever any key says of a known id; of keys that say nothing of their age, that they were seen now.
    let mut said: Vec<(Identity, i64)> = Vec::new();
    let mut own_ms: BTreeMap<&Key, i64> = BTreeMap::new();
    for (name, value) in orphans.iter().chain(others) {
        let (newest_ms, is_proof) = evidence(name, value.as_deref(), asked);
        let is_orphan = orphans.contains_key(name);
        let seen_ms = (is_orphan && !is_proof).then_some(asked.now_ms);
        let Some(ms) = newest_ms.max(seen_ms) else {
            continue;
        };
        if is_orphan {
            own_ms.insert(name, ms);
        }
        for owner in possible_owners(name) {
            if known.iter().any(|id| counts_for(id, &owner)) {
                said.push((owner, ms));
            }
        }
    }

    let is_young = |ms: i64| (asked.now_ms - ms).div_euclid(1_000) <= asked.grace_s;
    let mut fates = Fates::default();
    for (name, owners) in &owners {
        let speakers: usize = owners
            .iter()
            .map(|owner| known.iter().filter(|id| counts_for(id, owner)).count())
            .sum();
        let heard = said
            .iter()
            .filter(|(of, _)| owners.iter().any(|owner| counts_for(of, owner)));
        let newest_ms = heard.map(|(_, ms)| *ms).max().max(Some(own_ms[name]));
        if owners.len() > LOOKS_MAX || speakers > LOOKS_MAX {
            fates.vetoed += 1;
        } else if newest_ms.is_some_and(is_young) {
            fates.too_young += 1;
        } else if owners.iter().any(|(_, id)| (asked.admits)(id)) {
            fates.gone.insert((*name).clone());
        }
    }
    fates
}
