//! A second, slow and obviously right account of which keys go, for tests only.
//!
//! It shares nothing with the plan but the reading of a heartbeat's value: it tries every template on every byte
//! range of every name, compares every key with every heartbeat, and uses no index.

use std::collections::{BTreeMap, BTreeSet};

use crate::heartbeat::{self, Verdict};

/// The coordinator of a heartbeat.
pub type Identity = (Option<Vec<u8>>, Vec<u8>);

/// What the model says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub removed: BTreeSet<Vec<u8>>,
    pub checked: u64,
    pub stale: u64,
    pub unreadable: u64,
    pub coordinators_removed: u64,
    pub vetoed: u64,
    pub orphaned: u64,
    /// Stay for their name, and the heartbeats of their stale owners with them.
    pub held: u64,
    pub limited: bool,
}

fn ranges(text: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let end = text.len();
    (0..end).flat_map(move |from| (from + 1..=end).map(move |to| (from, to)))
}

/// Splits of `text` into a swarm, the marker, and an id behind it, all not empty.
fn splits(text: &[u8], marker: &[u8]) -> Vec<(Vec<u8>, Vec<u8>, usize)> {
    ranges(text)
        .filter(|(from, to)| &text[*from..*to] == marker && *from > 0 && *to < text.len())
        .map(|(from, to)| (text[..from].to_vec(), text[to..].to_vec(), to))
        .collect()
}

/// The coordinators that a name is the heartbeat of, in every reading.
pub fn beats_for(name: &[u8]) -> Vec<Identity> {
    let mut found = Vec::new();
    if let Some(id) = name.strip_prefix(b"blocking:heartbeat:".as_slice()) {
        found.push((None, id.to_vec()));
    }
    if let Some(rest) = name.strip_prefix(b"swarm:".as_slice()) {
        for (swarm, id, _) in splits(rest, b":blocking:heartbeat:") {
            found.push((Some(swarm), id));
        }
    }
    found.retain(|(_, id)| !id.is_empty());
    found
}

/// Every reading of a family key, heartbeats included, with the place where the id begins.
pub fn readings(name: &[u8]) -> Vec<(Identity, usize)> {
    let mut found = Vec::new();
    for prefix in [
        "blocking:heartbeat:",
        "blocking:signal:",
        "coordinator:activity:",
    ] {
        if let Some(id) = name.strip_prefix(prefix.as_bytes()) {
            found.push(((None, id.to_vec()), prefix.len()));
        }
    }
    for (prefix, head_only) in [("blocking:ack:", true), ("blocking:idempotency:", false)] {
        let Some(rest) = name.strip_prefix(prefix.as_bytes()) else {
            continue;
        };
        for (from, to) in ranges(rest) {
            let begins = from == 0 || (!head_only && rest[from - 1] == b':');
            let ends = to == rest.len() || rest[to] == b':';
            if begins && ends {
                found.push(((None, rest[from..to].to_vec()), prefix.len() + from));
            }
        }
    }
    if let Some(rest) = name.strip_prefix(b"swarm:".as_slice()) {
        let scoped = |marker: &[u8], suffix: &[u8]| -> Vec<(Identity, usize)> {
            let body = rest.strip_suffix(suffix).unwrap_or_default();
            let splits = splits(body, marker).into_iter();
            splits
                .map(|(swarm, id, at)| ((Some(swarm), id), 6 + at))
                .collect()
        };
        found.extend(scoped(b":blocking:heartbeat:", b""));
        found.extend(scoped(b":agent:", b":activity"));
        found.extend(scoped(b":blocking:", b""));
    }
    found.retain(|((_, id), _)| !id.is_empty());
    found
}

/// Names of the heartbeats that could own a key, each with its best claim.
pub fn owners(
    name: &[u8],
    heartbeats: &BTreeMap<Vec<u8>, Verdict>,
) -> BTreeMap<Vec<u8>, (usize, std::cmp::Reverse<usize>)> {
    let mut found = BTreeMap::new();
    for ((swarm, id), at) in readings(name) {
        let mine = |wanted: &dyn Fn(&Identity) -> bool| -> Vec<&Vec<u8>> {
            let fits = |h: &&Vec<u8>| beats_for(h).iter().any(wanted);
            heartbeats.keys().filter(fits).collect()
        };
        let mut here = match &swarm {
            None => mine(&|(_, beating)| *beating == id),
            Some(_) => mine(&|beating| *beating == (swarm.clone(), id.clone())),
        };
        if here.is_empty() {
            here = mine(&|beating| *beating == (None, id.clone()));
        }
        // Of a name over the bounds the end counts, and not the swarm.
        here.retain(|heartbeat| !over(heartbeat));
        let ends = heartbeats
            .keys()
            .filter(|heartbeat| over(heartbeat) && !over(&id));
        let spells = |heartbeat: &&Vec<u8>| {
            let found = beats_for(heartbeat);
            found
                .iter()
                .any(|(swarm, beating)| swarm.is_some() && *beating == id)
        };
        here.extend(ends.filter(spells));
        for heartbeat in here {
            let claim = (id.len(), std::cmp::Reverse(at));
            let best = found.entry(heartbeat.clone()).or_insert(claim);
            *best = claim.max(*best);
        }
    }
    found
}

/// Too many segments, or too many bytes, to be taken apart.
fn over(name: &[u8]) -> bool {
    name.split(|byte| *byte == b':').count() > 64 || name.len() > 262_144
}

fn never_touched(name: &[u8]) -> bool {
    name.starts_with(b"swarm:") && name.ends_with(b":state") && name.len() > 12
}

/// Which keys go. `keys` are names with, for heartbeats, what was read of them; `admits` says whether MATCH lets a
/// coordinator of this id be removed.
pub fn model(
    keys: &[(Vec<u8>, Option<heartbeat::Reading>)],
    now_ms: i64,
    threshold_s: u32,
    admits: &dyn Fn(&[u8]) -> bool,
    limit: Option<u32>,
) -> Outcome {
    let mut read: BTreeMap<Vec<u8>, heartbeat::Reading> = BTreeMap::new();
    for (name, beat) in keys {
        if let Some(beat) = beat {
            let merged = read.get(name).map_or(*beat, |known| known.merged(*beat));
            read.insert(name.clone(), merged);
        }
    }
    let judge = |name: &[u8], beat: &heartbeat::Reading| match heartbeat::verdict(
        *beat,
        now_ms,
        threshold_s,
    ) {
        Verdict::Stale { .. } if never_touched(name) || over(name) => Verdict::Unreadable,
        verdict => verdict,
    };
    let heartbeats: BTreeMap<Vec<u8>, Verdict> = read
        .iter()
        .map(|(name, beat)| (name.clone(), judge(name, beat)))
        .collect();
    let stale = |name: &[u8]| matches!(heartbeats[name], Verdict::Stale { .. });
    let mut outcome = Outcome {
        checked: heartbeats.len() as u64,
        stale: heartbeats.keys().filter(|name| stale(name)).count() as u64,
        ..Outcome::default()
    };
    let unreadable = heartbeats.values().filter(|v| **v == Verdict::Unreadable);
    outcome.unreadable = unreadable.count() as u64;

    let is_vetoed = |name: &[u8]| owners(name, &heartbeats).keys().any(|h| !stale(h));
    let mut candidates: Vec<&Vec<u8>> = Vec::new();
    for name in heartbeats.keys().filter(|name| stale(name)) {
        // The coordinator's own id is the longest one its name can be read with.
        let id = beats_for(name)
            .into_iter()
            .map(|(_, id)| id)
            .max_by_key(Vec::len);
        if is_vetoed(name) {
            outcome.vetoed += 1;
        } else if admits(&id.unwrap_or_default()) {
            candidates.push(name);
        }
    }
    candidates.sort_by_key(|name| (read[*name].newest_ms, (*name).clone()));
    if let Some(limit) = limit {
        outcome.limited = candidates.len() > limit as usize;
        candidates.truncate(limit as usize);
    }
    outcome.coordinators_removed = candidates.len() as u64;

    let mut held_back: BTreeSet<Vec<u8>> = BTreeSet::new();
    let others: BTreeSet<&Vec<u8>> = keys.iter().map(|(name, _)| name).collect();
    for name in others {
        if read.contains_key(name) {
            if candidates.contains(&name) {
                outcome.removed.insert(name.clone());
            }
            continue;
        }
        if readings(name).is_empty() || never_touched(name) {
            continue;
        }
        let owners = owners(name, &heartbeats);
        let stale_owners: Vec<_> = owners.iter().filter(|(h, _)| stale(h)).collect();
        let protected = stale_owners.len() < owners.len();
        if owners.is_empty() {
            outcome.orphaned += 1;
        } else if let Some((owner, _)) = stale_owners
            .iter()
            .max_by_key(|(name, claim)| (**claim, std::cmp::Reverse((*name).clone())))
        {
            if protected {
                outcome.vetoed += 1;
            } else if over(name) {
                outcome.held += 1;
                held_back.extend(stale_owners.iter().map(|(owner, _)| (*owner).clone()));
            } else if is_vetoed(owner) {
                outcome.vetoed += 1;
            } else if candidates.contains(owner) {
                outcome.removed.insert(name.clone());
            }
        }
    }
    for heartbeat in held_back {
        if outcome.removed.remove(&heartbeat) {
            outcome.coordinators_removed -= 1;
        }
    }
    outcome
}
