//! What a run must do to a keyspace, by docs/keys.md#whose-a-key-is and the tables of docs/commands.md#blockingcleanup.
//! Slow and obviously right: every key is compared with every heartbeat, names are put together and never taken apart
//! where that can be avoided, and nothing is shared with the module.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::beats::State;
use crate::keyspace::Key;
use crate::orphans::{self, Asked, Values};

/// A coordinator's name: its swarm, where it is scoped to one, and its id.
type Identity = (Option<Key>, Key);

pub const FAMILIES: [&str; 6] = [
    "heartbeat",
    "signal",
    "ack",
    "idempotency",
    "activity",
    "state",
];

/// What the options say, as far as the model cares.
pub struct Wanted<'w> {
    pub admits: &'w dyn Fn(&[u8]) -> bool,
    pub limit: usize,
    pub ids: usize,
    /// With ORPHANS.
    pub orphans: Option<Asked<'w>>,
    /// All owners of a key are read again before it goes, not only those that stay: of an owner that came back no event
    /// would tell.
    pub reads_all_owners: bool,
}

/// A key with more owners than this that must be read again before it goes stays.
const MAX_OWNERS: usize = 64;

/// What must come of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub removed: BTreeSet<Key>,
    pub checked: usize,
    pub stale: usize,
    pub unreadable: usize,
    pub coordinators_removed: usize,
    pub vetoed: usize,
    pub orphaned: usize,
    /// Keys with too many owners.
    pub over_bound: usize,
    pub orphans_too_young: usize,
    pub orphans_removed: usize,
    pub by_family: [usize; 6],
    pub stale_ids: Vec<Key>,
    pub limited: bool,
    /// Coordinators are stale, and MATCH fits none of them.
    pub unmatched: bool,
}

fn joined(parts: &[&[u8]]) -> Key {
    parts.concat()
}

/// The coordinators that a name could be the heartbeat of.
fn identities(name: &[u8]) -> Vec<Identity> {
    const MARKER: &[u8] = b":blocking:heartbeat:";
    let mut found = Vec::new();
    if let Some(id) = name.strip_prefix(b"blocking:heartbeat:") {
        found.push((None, id.to_vec()));
    }
    if let Some(rest) = name.strip_prefix(b"swarm:") {
        for at in 1..rest.len() {
            if let Some(id) = rest[at..].strip_prefix(MARKER) {
                found.push((Some(rest[..at].to_vec()), id.to_vec()));
            }
        }
    }
    found.retain(|(_, id)| !id.is_empty());
    found
}

/// The coordinator that a heartbeat stands for: of several readings, the one with the longest id.
fn coordinator(heartbeat: &[u8]) -> Identity {
    let all = identities(heartbeat).into_iter();
    all.max_by_key(|(_, id)| id.len()).unwrap_or_default()
}

/// The id that MATCH looks at.
pub fn id_of(heartbeat: &[u8]) -> Key {
    coordinator(heartbeat).1
}

fn shown_id(heartbeat: &[u8]) -> Key {
    match coordinator(heartbeat) {
        (None, id) => id,
        (Some(swarm), id) => joined(&[b"swarm:", &swarm, b":", &id]),
    }
}

/// Whether something that is not empty stands between the two ends of a name; yields it.
fn between<'n>(name: &'n [u8], start: &[u8], end: &[u8]) -> Option<&'n [u8]> {
    let middle = name.strip_prefix(start)?.strip_suffix(end)?;
    (!middle.is_empty()).then_some(middle)
}

/// `swarm:{swarm}:state`, which nothing may remove.
fn is_never_touched(name: &[u8]) -> bool {
    between(name, b"swarm:", b":state").is_some()
}

/// The place of a name's family in the table of docs/keys.md#the-layout; of several that fit, the first.
fn family(name: &[u8]) -> Option<usize> {
    let has_rest = |prefix: &[u8]| name.len() > prefix.len() && name.starts_with(prefix);
    // Is there any swarm, and any id?
    let scoped = |marker: &[u8], suffix: &[u8]| {
        between(name, b"swarm:", suffix).is_some_and(|middle| {
            (1..middle.len()).any(|at| {
                let id = middle[at..].strip_prefix(marker);
                id.is_some_and(|id| !id.is_empty())
            })
        })
    };
    let fits = [
        !identities(name).is_empty(),
        has_rest(b"blocking:signal:"),
        has_rest(b"blocking:ack:"),
        has_rest(b"blocking:idempotency:"),
        has_rest(b"coordinator:activity:") || scoped(b":agent:", b":activity"),
        scoped(b":blocking:", b""),
    ];
    let family = fits.iter().position(|fits| *fits)?;
    (family == 0 || !is_never_touched(name)).then_some(family)
}

/// Where in a key without a swarm this id could stand, first place first.
fn unscoped_place(key: &[u8], id: &[u8]) -> Option<usize> {
    for prefix in [
        b"blocking:heartbeat:".as_slice(),
        b"blocking:signal:",
        b"blocking:ack:",
        b"coordinator:activity:",
    ] {
        if key == joined(&[prefix, id]) {
            return Some(prefix.len());
        }
    }
    if key.starts_with(&joined(&[b"blocking:ack:", id, b":"])) {
        return Some(b"blocking:ack:".len());
    }
    let prefix = b"blocking:idempotency:";
    let rest = joined(&[b":", key.strip_prefix(prefix)?, b":"]);
    let wanted = joined(&[b":", id, b":"]);
    let at = rest.windows(wanted.len()).position(|part| part == wanted)?;
    Some(prefix.len() + at)
}

/// What stands behind the swarm in the keys that a swarm has for an id, and how far behind it the id begins.
fn scoped_ends(id: &[u8]) -> [(Key, usize); 3] {
    [
        (joined(&[b":blocking:heartbeat:", id]), 20),
        (joined(&[b":agent:", id, b":activity"]), 7),
        (joined(&[b":blocking:", id]), 10),
    ]
}

/// How good a claim to a key is: the longest id first, then the one that stands first in the key.
type Claim = (usize, Reverse<usize>);

/// Every heartbeat by its name: what it is, and whose it could be.
type Beating = BTreeMap<Key, (State, Vec<Identity>)>;

/// The heartbeats whose coordinator could own a key, each with its best claim.
fn owners(key: &[u8], beating: &Beating) -> BTreeMap<Key, Claim> {
    let is_known = |wanted: &Identity| beating.values().any(|(_, whose)| whose.contains(wanted));
    let mut found: BTreeMap<Key, Claim> = BTreeMap::new();
    for (heartbeat, (_, whose)) in beating {
        for (swarm, id) in whose {
            let mut claim = |place: usize| {
                let claim = (id.len(), Reverse(place));
                let best = found.entry(heartbeat.clone()).or_insert(claim);
                *best = claim.max(*best);
            };
            // Unscoped keys belong to the id, wherever it beats.
            if let Some(place) = unscoped_place(key, id) {
                claim(place);
            }
            for (end, id_at) in scoped_ends(id) {
                let Some(of) = between(key, b"swarm:", &end) else {
                    continue;
                };
                // Scoped keys belong to the heartbeat of their swarm; to the unscoped one, where the swarm has none.
                let mine = match swarm {
                    Some(swarm) => of == swarm,
                    None => !is_known(&(Some(of.to_vec()), id.clone())),
                };
                if mine {
                    claim(b"swarm:".len() + of.len() + id_at);
                }
            }
        }
    }
    found
}

/// What becomes of a key for its possible owners' sake.
enum Fate {
    Orphan,
    /// No stale coordinator could own it.
    Kept,
    Vetoed,
    /// With this one, of these owners.
    GoesWith(Key, Vec<Key>),
}

fn fate(key: &[u8], beating: &Beating) -> Fate {
    let owners = owners(key, beating);
    let is_stale = |owner: &Key| matches!(beating[owner].0, State::Stale { .. });
    let stale: Vec<_> = owners.iter().filter(|(owner, _)| is_stale(owner)).collect();
    // Where neither length nor place decides, the name of the heartbeat does.
    let best = stale
        .iter()
        .max_by_key(|(owner, claim)| (**claim, Reverse((*owner).clone())));
    match best {
        None if owners.is_empty() => Fate::Orphan,
        None => Fate::Kept,
        Some(_) if stale.len() < owners.len() => Fate::Vetoed,
        Some((owner, _)) => {
            let all = stale.iter().map(|(owner, _)| (*owner).clone());
            Fate::GoesWith((*owner).clone(), all.collect())
        }
    }
}

/// What a run must do. `values` are the keys that exist, heartbeats included, whose TTL has not passed.
pub fn outcome(values: &Values, judged: &BTreeMap<Key, State>, wanted: &Wanted) -> Outcome {
    let mut beating = Beating::new();
    for (name, state) in judged {
        // What may not be removed cannot be what proves a death.
        let proves_nothing = is_never_touched(name) && matches!(state, State::Stale { .. });
        let state = if proves_nothing {
            State::Unreadable
        } else {
            *state
        };
        beating.insert(name.clone(), (state, identities(name)));
    }
    let mut outcome = Outcome {
        checked: beating.len(),
        ..Outcome::default()
    };
    let mut candidates = Vec::new();
    let mut vetoed = BTreeSet::new();
    let mut is_any_admitted = false;
    for (name, (state, _)) in &beating {
        match state {
            State::Live => {}
            State::Unreadable => outcome.unreadable += 1,
            State::Stale { beat_ms } => {
                outcome.stale += 1;
                is_any_admitted = is_any_admitted || (wanted.admits)(&id_of(name));
                if matches!(fate(name, &beating), Fate::Vetoed) {
                    vetoed.insert(name.clone());
                } else if (wanted.admits)(&id_of(name)) {
                    candidates.push((*beat_ms, name.clone()));
                }
            }
        }
    }
    outcome.unmatched = outcome.stale > 0 && !is_any_admitted;
    candidates.sort();
    let listed = candidates.iter().take(wanted.ids);
    outcome.stale_ids = listed.map(|(_, name)| shown_id(name)).collect();
    outcome.limited = candidates.len() > wanted.limit;
    candidates.truncate(wanted.limit);
    let goes: BTreeSet<Key> = candidates.into_iter().map(|(_, name)| name).collect();
    let are_too_many = |owners: &[Key]| {
        let is_read = |owner: &&Key| wanted.reads_all_owners || !goes.contains(*owner);
        owners.len() > 1 && owners.iter().filter(is_read).count() > MAX_OWNERS
    };
    // Such a key is found again through its owners' heartbeats, so all of them stay.
    let mut held = BTreeSet::new();
    for name in &goes {
        if let Fate::GoesWith(_, owners) = fate(name, &beating)
            && are_too_many(&owners)
        {
            outcome.over_bound += 1;
            held.extend(owners);
        }
    }

    outcome.vetoed = vetoed.len();
    let (mut orphaned, mut others) = (Values::new(), Values::new());
    for (name, value) in values {
        if beating.contains_key(name) || family(name).is_none() {
            continue;
        }
        let fate = fate(name, &beating);
        let pile = match fate {
            Fate::Orphan => &mut orphaned,
            _ => &mut others,
        };
        pile.insert(name.clone(), value.clone());
        match fate {
            Fate::Kept => {}
            Fate::Orphan => outcome.orphaned += 1,
            Fate::Vetoed => outcome.vetoed += 1,
            Fate::GoesWith(owner, _) if vetoed.contains(&owner) => outcome.vetoed += 1,
            Fate::GoesWith(owner, owners) if goes.contains(&owner) => {
                if are_too_many(&owners) {
                    outcome.over_bound += 1;
                    held.extend(owners);
                } else {
                    outcome.removed.insert(name.clone());
                }
            }
            Fate::GoesWith(..) => {}
        }
    }
    let gone = goes.difference(&held).cloned();
    outcome.coordinators_removed = gone.clone().count();
    outcome.removed.extend(gone);
    if let Some(asked) = &wanted.orphans {
        let fates = orphans::fates(&orphaned, &others, asked);
        outcome.vetoed += fates.vetoed;
        outcome.orphans_too_young = fates.too_young;
        outcome.orphans_removed = fates.gone.len();
        outcome.removed.extend(fates.gone);
    }
    for name in &outcome.removed {
        if let Some(family) = family(name) {
            outcome.by_family[family] += 1;
        }
    }
    outcome
}

/// Whether a name is a heartbeat's.
pub fn is_heartbeat(name: &[u8]) -> bool {
    !identities(name).is_empty()
}
