//! Which keys can be judged on this node of a cluster, which does not see the others.
//!
//! Pure. A key is judged here only if every heartbeat that could prove its owner's life would lie in a slot whose
//! keys are all here; a family goes only if all its keys would. What the slot depends on may be unknown, such as the
//! name of a swarm: then the key may be anywhere.

use std::sync::Arc;

use crate::keys::layout::{AllReadings, Layout};
use crate::keys::reading::Reading;
use crate::keys::slots::{Part, SLOTS, Slots, hash_tag, slot_of_parts};
use crate::reply::error::BadSetting;

/// A key that can be read in more ways than this is not judged.
const MAX_READINGS: usize = 64;

/// What the operator says of hash tags in names of family keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClusterTags {
    /// Nothing: they may be in ids, in names of swarms, and in whatever `*` stands for.
    #[default]
    Unknown,
    /// Every id has one, that of its partners, and no brace stands anywhere else.
    Ids,
}

impl ClusterTags {
    /// The value of `blocking.cluster-tags` unless it is set.
    pub const DEFAULT: &str = "unknown";

    /// The word of the setting.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ids => "ids",
        }
    }

    /// Which of all the readings of the key `name` can name an id: where every id has a tag, what has none is
    /// no id but the type of a message, its number, its time.
    pub fn ids_in<'n>(
        self,
        name: &'n [u8],
        readings: &[Reading],
    ) -> impl Fn(&Reading) -> bool + 'n {
        let has_tag = move |reading: &Reading| hash_tag(reading.id_of(name)).is_some();
        let are_tagged = self == Self::Ids && readings.iter().any(has_tag);
        move |reading| !are_tagged || has_tag(reading)
    }

    /// Reads the value of `blocking.cluster-tags`.
    pub fn parse(text: &[u8]) -> Result<Self, BadSetting> {
        match text {
            b"unknown" => Ok(Self::Unknown),
            b"ids" => Ok(Self::Ids),
            _ => Err(BadSetting::ClusterTags),
        }
    }
}

/// What this node has of the keyspace. There is none for a server whose keys are all here.
#[derive(Clone, Debug)]
pub struct Locality {
    layout: Arc<Layout>,
    /// Slots whose keys are all here.
    pub here: Slots,
    /// How many slots are on their way from or to this node.
    pub open: u16,
    pub tags: ClusterTags,
}

impl Locality {
    pub fn new(layout: &Arc<Layout>, here: Slots, open: u16, tags: ClusterTags) -> Self {
        Self {
            layout: Arc::clone(layout),
            here,
            open,
            tags,
        }
    }

    /// Whether the operator says where hash tags are, so that whole families can be judged.
    pub fn trusts_tags(&self) -> bool {
        self.tags == ClusterTags::Ids
    }

    /// What reads names for the other calls.
    pub fn reader(&self) -> AllReadings {
        AllReadings::up_to(MAX_READINGS, &self.layout)
    }

    /// Whether every heartbeat that could own the key `name` would lie here.
    pub fn has_owners(&self, name: &[u8], reader: &mut AllReadings) -> bool {
        self.all_readings(name, reader, |reading| {
            self.has_heartbeats(reading.swarm_of(name), reading.id_of(name))
        })
    }

    /// Whether all keys of every coordinator that the key `name` could belong to would lie here.
    pub fn has_families(&self, name: &[u8], reader: &mut AllReadings) -> bool {
        self.all_readings(name, reader, |reading| self.has_family(reading.id_of(name)))
    }

    /// Whether a heartbeat can be judged and leads to nothing elsewhere.
    pub fn has_all_of(&self, heartbeat: &[u8], reader: &mut AllReadings) -> bool {
        let mut has_families = true;
        self.layout.beating(heartbeat, &mut |reading| {
            has_families = has_families && self.has_family(reading.id_of(heartbeat));
        });
        has_families && self.has_owners(heartbeat, reader)
    }

    /// Whether every heartbeat of an id, in a swarm or not, would lie here.
    pub fn has_heartbeats_of(&self, id: &[u8]) -> bool {
        self.has_heartbeats(None, id)
    }

    fn all_readings(
        &self,
        name: &[u8],
        reader: &mut AllReadings,
        holds: impl Fn(&Reading) -> bool,
    ) -> bool {
        let Some(readings) = reader.of(name) else {
            return false;
        };
        let is_id = self.tags.ids_in(name, readings);
        readings.iter().filter(|reading| is_id(reading)).all(holds)
    }

    /// What may stand before an id where it is not known.
    fn unknown(&self) -> Part<'static> {
        match self.tags {
            ClusterTags::Unknown => Part::Any,
            ClusterTags::Ids => Part::Braceless,
        }
    }

    fn are_here<'t>(&self, parts: [Part<'t>; 6]) -> bool {
        slot_of_parts(parts).is_some_and(|slot| self.here.contains(slot))
    }

    fn has_heartbeats(&self, swarm: Option<&[u8]>, id: &[u8]) -> bool {
        let swarm = swarm.map_or(self.unknown(), Part::Text);
        let mut heartbeats = self.layout.heartbeats();
        heartbeats.all(|template| self.are_here(template.parts(swarm, self.unknown(), id)))
    }

    fn has_family(&self, id: &[u8]) -> bool {
        let unknown = self.unknown();
        let mut templates = self.layout.templates();
        templates.all(|template| self.are_here(template.parts(unknown, unknown, id)))
    }

    /// What there is to do about keys that cannot be judged here.
    pub fn advice(&self) -> String {
        let advice = match self.tags {
            ClusterTags::Unknown => {
                "give every id the hash tag of its partners, and set blocking.cluster-tags to ids"
            }
            ClusterTags::Ids => {
                "some ids do not have the hash tag of their partners, although blocking.cluster-tags is ids"
            }
        };
        match self.open {
            0 => advice.to_owned(),
            1 => format!("{advice}; 1 slot is on the move: run again when it has arrived"),
            open => {
                format!("{advice}; {open} slots are on the move: run again when they have arrived")
            }
        }
    }

    /// What this node sees of its cluster, in a sentence.
    pub fn view(&self) -> String {
        let (here, open) = (self.here.len(), self.open);
        let open = match open {
            0 => String::new(),
            1 => ", and 1 slot is on the move".to_owned(),
            open => format!(", and {open} slots are on the move"),
        };
        format!("this node has {here} of the {SLOTS} slots of its cluster{open}")
    }
}

/// What is still here, since slots went away or began to move after a plan was made.
#[derive(Debug)]
pub struct Shrunk {
    locality: Locality,
    reader: AllReadings,
}

impl Shrunk {
    pub fn new(locality: Locality) -> Self {
        let reader = locality.reader();
        Self { locality, reader }
    }

    /// Whether this does not hold of the key `name` any more.
    pub fn lacks(
        &mut self,
        name: &[u8],
        lies_here: impl Fn(&Locality, &[u8], &mut AllReadings) -> bool,
    ) -> bool {
        !lies_here(&self.locality, name, &mut self.reader)
    }
}

#[cfg(test)]
#[path = "locality_tests.rs"]
mod tests;
