//! Which coordinators could own a key, by a plain reading of the page that describes the key layout.
//! Must share nothing with the module: what it gets wrong, this must not get wrong the same way.

use std::collections::{BTreeSet, HashMap, HashSet};

const HEARTBEAT: &[u8] = b":blocking:heartbeat:";

/// A swarm if the key names one, and an id.
type Claim<'k> = (Option<&'k [u8]>, &'k [u8]);

/// Every place where `marker` splits `text` into two parts that are not empty.
fn splits<'t>(text: &'t [u8], marker: &'t [u8]) -> impl Iterator<Item = (&'t [u8], &'t [u8])> {
    let places = text.windows(marker.len()).enumerate();
    places
        .filter(move |(_, window)| *window == marker)
        .map(move |(at, _)| (&text[..at], &text[at + marker.len()..]))
        .filter(|(before, after)| !before.is_empty() && !after.is_empty())
}

/// Every way to read a name as a coordinator's key.
fn claims(key: &[u8]) -> Vec<Claim<'_>> {
    let mut found: Vec<Claim> = Vec::new();
    let after = |prefix: &str| key.strip_prefix(prefix.as_bytes());
    for prefix in [
        "blocking:heartbeat:",
        "blocking:signal:",
        "coordinator:activity:",
    ] {
        found.extend(after(prefix).map(|id| (None, id)));
    }
    if let Some(rest) = after("blocking:ack:") {
        found.push((None, rest));
        let colons = (0..rest.len()).filter(|at| rest[*at] == b':');
        found.extend(colons.map(|at| (None, &rest[..at])));
    }
    if let Some(rest) = after("blocking:idempotency:") {
        let begins = (0..rest.len()).filter(|at| *at == 0 || rest[at - 1] == b':');
        for from in begins {
            let ends = (from..=rest.len()).filter(|at| *at == rest.len() || rest[*at] == b':');
            found.extend(ends.map(|to| (None, &rest[from..to])));
        }
    }
    if let Some(rest) = after("swarm:") {
        let mut scoped = |text, marker| {
            found.extend(splits(text, marker).map(|(swarm, id)| (Some(swarm), id)));
        };
        scoped(rest, b":blocking:");
        if let Some(body) = rest.strip_suffix(b":activity") {
            scoped(body, b":agent:");
        }
        scoped(rest, HEARTBEAT);
        // The state of a whole swarm has no owner, unless it is a heartbeat.
        if rest.ends_with(b":state") && rest.len() > b":state".len() && !is_heartbeat(key) {
            found.clear();
        }
    }
    found.retain(|(_, id)| !id.is_empty());
    found
}

pub fn is_heartbeat(key: &[u8]) -> bool {
    let scoped = key.strip_prefix(b"swarm:".as_slice());
    unscoped_id(key).is_some()
        || scoped.is_some_and(|rest| splits(rest, HEARTBEAT).next().is_some())
}

/// A set of heartbeats that can be asked which of them could own a key.
#[derive(Debug, Default)]
pub struct Heartbeats {
    names: HashSet<Vec<u8>>,
    unscoped_ids: HashSet<Vec<u8>>,
    of_swarms_by_id: HashMap<Vec<u8>, BTreeSet<Vec<u8>>>,
}

impl Heartbeats {
    pub fn insert(&mut self, name: &[u8]) {
        if self.names.insert(name.to_vec()) {
            self.unscoped_ids
                .extend(unscoped_id(name).map(<[u8]>::to_vec));
            for id in ids_in_swarms(name) {
                let same_id = self.of_swarms_by_id.entry(id.to_vec()).or_default();
                same_id.insert(name.to_vec());
            }
        }
    }

    pub fn remove(&mut self, name: &[u8]) {
        if self.names.remove(name) {
            if let Some(id) = unscoped_id(name) {
                self.unscoped_ids.remove(id);
            }
            for id in ids_in_swarms(name) {
                if let Some(same_id) = self.of_swarms_by_id.get_mut(id) {
                    same_id.remove(name);
                }
            }
        }
    }

    pub fn contains(&self, name: &[u8]) -> bool {
        self.names.contains(name)
    }

    /// All of these that could own the key. A key of a swarm follows the heartbeat of that swarm, and the one outside
    /// of all swarms only where `standing` has none of that swarm.
    pub fn owners(&self, key: &[u8], standing: &Heartbeats) -> BTreeSet<Vec<u8>> {
        let mut found = BTreeSet::new();
        for (swarm, id) in claims(key) {
            // Most readings of a key name no id with a heartbeat; those must cost little.
            let is_unscoped = self.unscoped_ids.contains(id);
            let of_swarms = self.of_swarms_by_id.get(id);
            let unscoped = || [&HEARTBEAT[1..], id].concat();
            match swarm {
                None => {
                    found.extend(is_unscoped.then(unscoped));
                    found.extend(of_swarms.into_iter().flatten().cloned());
                }
                Some(swarm) => {
                    let scoped = [b"swarm:", swarm, HEARTBEAT, id].concat();
                    if is_unscoped && !standing.contains(&scoped) {
                        found.insert(unscoped());
                    }
                    if of_swarms.is_some_and(|names| names.contains(&scoped)) {
                        found.insert(scoped);
                    }
                }
            }
        }
        found
    }
}

fn unscoped_id(name: &[u8]) -> Option<&[u8]> {
    name.strip_prefix(&HEARTBEAT[1..])
        .filter(|id| !id.is_empty())
}

fn ids_in_swarms(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let rest = name.strip_prefix(b"swarm:".as_slice()).unwrap_or_default();
    splits(rest, HEARTBEAT).map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(heartbeats: &[&str], key: &str) -> Vec<String> {
        let mut set = Heartbeats::default();
        for name in heartbeats {
            set.insert(name.as_bytes());
        }
        let found = set.owners(key.as_bytes(), &set).into_iter();
        found.map(|name| String::from_utf8(name).unwrap()).collect()
    }

    #[test]
    fn possible_owners_are_those_of_the_page() {
        let (a, ab) = ("blocking:heartbeat:a", "blocking:heartbeat:a:b");
        let (s1a, s2a) = (
            "swarm:s1:blocking:heartbeat:a",
            "swarm:s2:blocking:heartbeat:a",
        );
        let odd = "blocking:heartbeat:heartbeat:a";
        let cases: &[(&[&str], &str, &[&str])] = &[
            (&[a, ab], "blocking:ack:a:b:s1", &[a, ab]),
            (&[a, ab], "blocking:ack:a:s1", &[a]),
            (&[a, ab], "blocking:ack:a1:s1", &[]),
            (&[a, ab], "blocking:ack:x:a", &[]),
            (&[a, ab], "blocking:idempotency:x:a:b:1", &[a, ab]),
            (&[a, ab], "blocking:idempotency:xa:b", &[]),
            (&[a], "blocking:signal:a", &[a]),
            (&[a], "blocking:signal:a:s1", &[]),
            (&[a], "coordinator:activity:a", &[a]),
            (&[a], "coordinator:work:a", &[]),
            (&[a, s1a, s2a], "blocking:signal:a", &[a, s1a, s2a]),
            (&[a, s1a], "swarm:s1:blocking:a", &[s1a]),
            (&[a, s1a], "swarm:s3:blocking:a", &[a]),
            (&[a, s1a], "swarm:s1:agent:a:activity", &[s1a]),
            (&[a, s1a], "swarm:s1:agent:a", &[]),
            (&[a, s1a], a, &[a, s1a]),
            (&[a, s1a], s1a, &[s1a]),
            (&[odd, s1a], s1a, &[odd, s1a]),
            (
                &["blocking:heartbeat:a:state"],
                "swarm:s1:blocking:a:state",
                &[],
            ),
            (
                &["blocking:heartbeat:a:"],
                "blocking:ack:a::s1",
                &["blocking:heartbeat:a:"],
            ),
        ];
        for (heartbeats, key, expected) in cases {
            assert_eq!(owners(heartbeats, key), *expected, "{key}");
        }
    }

    #[test]
    fn a_heartbeat_that_is_gone_owns_nothing() {
        let (a, s1a) = (b"blocking:heartbeat:a", b"swarm:s1:blocking:heartbeat:a");
        let mut set = Heartbeats::default();
        set.insert(a);
        set.insert(s1a);
        set.remove(s1a);
        let left = set.owners(b"swarm:s1:blocking:a", &set);
        assert_eq!(left, BTreeSet::from([a.to_vec()]));
    }
}
