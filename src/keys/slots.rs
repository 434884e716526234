//! Hash slots of a cluster: in which one a key lies, and which ones lie wholly on this node.
//!
//! Pure. Where a key lies is the server's rule, byte by byte; what this node has is read from the text of
//! CLUSTER NODES. A text that cannot be read gives `None`, which does not mean that all slots are here.

use crc::{CRC_16_XMODEM, Crc, Table};

/// How many slots a cluster has.
pub const SLOTS: u16 = 16_384;

const WORDS: usize = SLOTS as usize / 64;

/// The table takes 512 bytes.
const CRC: Crc<u16, Table<1>> = Crc::<u16, Table<1>>::new(&CRC_16_XMODEM);

/// The part of a key that alone decides its slot: what stands between the first `{` and the first `}` behind
/// it, unless that is nothing.
pub fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let open = memchr::memchr(b'{', key)?;
    let behind = key.get(open.saturating_add(1)..)?;
    let close = memchr::memchr(b'}', behind)?;
    behind.get(..close).filter(|tag| !tag.is_empty())
}

/// The slot of a key.
pub fn slot_of(key: &[u8]) -> u16 {
    CRC.checksum(hash_tag(key).unwrap_or(key)) % SLOTS
}

/// A part of a key of which not everything is known.
#[derive(Clone, Copy, Debug)]
pub enum Part<'t> {
    Text(&'t [u8]),
    /// Any bytes but braces, or none.
    Braceless,
    /// Any bytes, or none.
    Any,
}

/// The slot of every key that consists of these parts, if they have all the same.
pub fn slot_of_parts<'t>(parts: impl IntoIterator<Item = Part<'t>>) -> Option<u16> {
    let mut known: Vec<u8> = Vec::with_capacity(64);
    let mut is_whole = true;
    for part in parts {
        match part {
            Part::Text(text) => known.extend_from_slice(text),
            // Behind an opening brace whatever stands here is part of the tag, or of a key without one.
            Part::Braceless if memchr::memchr(b'{', &known).is_none() => is_whole = false,
            Part::Braceless | Part::Any => return None,
        }
        if let Some(tag) = hash_tag(&known) {
            // No tag has a tag in it: it ends before the first closing brace.
            return Some(slot_of(tag));
        }
    }
    is_whole.then(|| slot_of(&known))
}

/// A set of slots.
#[derive(Clone, PartialEq, Eq)]
pub struct Slots([u64; WORDS]);

impl Default for Slots {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl std::fmt::Debug for Slots {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} slots", self.len())
    }
}

impl Slots {
    /// Every slot there is.
    pub fn all() -> Self {
        Self([u64::MAX; WORDS])
    }

    pub fn contains(&self, slot: u16) -> bool {
        let word = self.0.get(usize::from(slot / 64));
        word.is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    pub fn insert(&mut self, slot: u16) {
        if let Some(word) = self.0.get_mut(usize::from(slot / 64)) {
            *word |= 1 << (slot % 64);
        }
    }

    /// How many there are.
    pub fn len(&self) -> u16 {
        let bits = self.0.iter().map(|word| word.count_ones());
        u16::try_from(bits.sum::<u32>()).unwrap_or(SLOTS)
    }

    pub fn are_all(&self) -> bool {
        self.0.iter().all(|word| *word == u64::MAX)
    }

    /// Keep only what is in both.
    pub fn intersect(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine &= theirs;
        }
    }

    fn remove_all(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine &= !theirs;
        }
    }
}

/// What a node says of its slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Slots with all their keys here.
    pub here: Slots,
    /// Those that are on their way from here to another node, or from there to here.
    pub open: Slots,
}

impl Own {
    /// Take note of a job of CLUSTER GETSLOTMIGRATIONS: its slots and its state. `None` if that cannot be read.
    pub fn add_job(&mut self, ranges: &[u8], state: &[u8]) -> Option<()> {
        if matches!(state, b"success" | b"failed" | b"cancelled") {
            return Some(());
        }
        for word in words(ranges) {
            let (first, last) = range(word)?;
            (first..=last).for_each(|slot| self.open.insert(slot));
        }
        self.here.remove_all(&self.open);
        Some(())
    }
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let words = text.split(|byte| *byte == b' ');
    words.filter(|word| !word.is_empty())
}

/// A node's id in CLUSTER NODES has so many bytes.
const NODE_ID_BYTES: usize = 40;

/// Reads CLUSTER NODES: the slots of the node that answers or, where that is a replica, of its primary.
/// `None` if the text does not say it.
pub fn own(nodes: &[u8]) -> Option<Own> {
    let lines = || nodes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let me = lines()
        .filter_map(Node::of)
        .find(|node| node.has(b"myself"))?;
    if !me.has(b"slave") {
        return me.slots();
    }
    let is_primary = |node: &Node| node.id == me.primary && node.id.len() == NODE_ID_BYTES;
    lines().filter_map(Node::of).find(is_primary)?.slots()
}

/// One line of CLUSTER NODES.
#[derive(Clone, Copy, Debug)]
struct Node<'t> {
    id: &'t [u8],
    flags: &'t [u8],
    primary: &'t [u8],
    /// Separated by spaces.
    slots: &'t [u8],
}

impl<'t> Node<'t> {
    fn of(line: &'t [u8]) -> Option<Self> {
        // Id, address, flags, primary, two times, epoch, state of the link, slots.
        let mut words = line.splitn(9, |byte| *byte == b' ');
        let (id, _address) = (words.next()?, words.next()?);
        let (flags, primary) = (words.next()?, words.next()?);
        // The state of the link must be there, slots need not be.
        words.nth(3)?;
        let slots = words.next().unwrap_or_default();
        Some(Self {
            id,
            flags,
            primary,
            slots,
        })
    }

    fn has(&self, flag: &[u8]) -> bool {
        self.flags.split(|byte| *byte == b',').any(|f| f == flag)
    }

    fn slots(&self) -> Option<Own> {
        let mut own = Own::default();
        for word in words(self.slots) {
            match word.strip_prefix(b"[") {
                // `[93->-id]` or `[93-<-id]`
                Some(moving) => {
                    let slot = moving.split(|byte| *byte == b'-').next()?;
                    own.open.insert(number(slot)?);
                }
                None => {
                    let (first, last) = range(word)?;
                    (first..=last).for_each(|slot| own.here.insert(slot));
                }
            }
        }
        own.here.remove_all(&own.open);
        Some(own)
    }
}

/// `7` or `7-9`.
fn range(word: &[u8]) -> Option<(u16, u16)> {
    let mut bounds = word.splitn(2, |byte| *byte == b'-');
    let first = number(bounds.next()?)?;
    let last = bounds.next().map_or(Some(first), number)?;
    (first <= last).then_some((first, last))
}

fn number(word: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(word).ok()?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|slot| is_plain && *slot < SLOTS)
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
