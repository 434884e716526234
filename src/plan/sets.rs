//! Sets of owners of keys that several stale coordinators could own: each set is kept once, however many keys
//! have it.
//!
//! A member is a heartbeat or a crowd: the stale heartbeats of one id in so many swarms that they are kept once for
//! all the sets that they are in.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use crate::keys::owner_index::HeartbeatNumber;

/// The number of a set.
pub type SetNumber = u32;

/// A member of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    One(HeartbeatNumber),
    /// By its number in [`OwnerSets::crowd`].
    Crowd(u32),
}

/// All sets.
#[derive(Debug, Default)]
pub struct OwnerSets {
    members: Vec<Member>,
    /// By number: where its members begin, and where they end.
    spans: Vec<(u32, u32)>,
    table: HashTable<SetNumber>,
    hasher: RandomState,
    crowds: Vec<Vec<HeartbeatNumber>>,
    crowds_bytes: usize,
}

impl OwnerSets {
    /// The members of a set, sorted.
    pub fn members(&self, set: SetNumber) -> &[Member] {
        members(&self.members, &self.spans, set)
    }

    /// The heartbeats of a crowd; of a finished plan in the order of removal, those that stay last.
    pub fn crowd(&self, crowd: u32) -> &[HeartbeatNumber] {
        self.crowds
            .get(crowd as usize)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// Every crowd, to be brought into an order.
    pub fn crowds_mut(&mut self) -> impl Iterator<Item = &mut Vec<HeartbeatNumber>> {
        self.crowds.iter_mut()
    }

    /// How many crowds there are.
    pub fn crowds(&self) -> usize {
        self.crowds.len()
    }

    /// Every heartbeat in a set; one may come more than once.
    pub fn heartbeats(&self, set: SetNumber) -> impl Iterator<Item = HeartbeatNumber> {
        self.members(set).iter().flat_map(|member| {
            let (one, crowd) = match member {
                Member::One(number) => (Some(*number), &[][..]),
                Member::Crowd(crowd) => (None, self.crowd(*crowd)),
            };
            one.into_iter().chain(crowd.iter().copied())
        })
    }

    /// Memory that all of it takes, in bytes and about.
    pub fn bytes(&self) -> usize {
        const SET_BYTES: usize = size_of::<(u32, u32)>() + 2 * size_of::<SetNumber>();
        let members = self.members.len().saturating_mul(size_of::<Member>());
        let sets = self.spans.len().saturating_mul(SET_BYTES);
        members
            .saturating_add(sets)
            .saturating_add(self.crowds_bytes)
    }

    /// Remember a crowd; gives its number.
    pub fn add_crowd(&mut self, heartbeats: Vec<HeartbeatNumber>) -> u32 {
        let number = u32::try_from(self.crowds.len()).unwrap_or(u32::MAX);
        let bytes = heartbeats
            .len()
            .saturating_mul(size_of::<HeartbeatNumber>());
        self.crowds_bytes = self.crowds_bytes.saturating_add(bytes);
        self.crowds.push(heartbeats);
        number
    }

    /// The number of the set of these members, which are sorted; `None` if there is no room for more.
    pub fn add(&mut self, of: &[Member]) -> Option<SetNumber> {
        let Self {
            members: all,
            spans,
            table,
            hasher,
            ..
        } = self;
        let hash = hasher.hash_one(of);
        if let Some(number) = table.find(hash, |number| members(all, spans, *number) == of) {
            return Some(*number);
        }
        let number = SetNumber::try_from(spans.len()).ok()?;
        let first = u32::try_from(all.len()).ok()?;
        let end = u32::try_from(all.len().checked_add(of.len())?).ok()?;
        all.extend_from_slice(of);
        spans.push((first, end));
        table.insert_unique(hash, number, |number| {
            hasher.hash_one(members(all, spans, *number))
        });
        Some(number)
    }

    /// No set is added any more.
    pub fn close(&mut self) {
        self.table = HashTable::new();
    }
}

fn members<'m>(all: &'m [Member], spans: &[(u32, u32)], set: SetNumber) -> &'m [Member] {
    let span = spans.get(set as usize);
    span.and_then(|(first, end)| all.get(*first as usize..*end as usize))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_are_kept_once() {
        let mut sets = OwnerSets::default();
        let crowd = sets.add_crowd(vec![7, 8, 9]);
        let a = [Member::One(1), Member::One(2)];
        let b = [Member::One(1), Member::Crowd(crowd)];
        let first = sets.add(&a).unwrap();
        let second = sets.add(&b).unwrap();
        assert_ne!(first, second);
        let bytes = sets.bytes();
        for _ in 0..1000 {
            assert_eq!(sets.add(&a), Some(first));
            assert_eq!(sets.add(&b), Some(second));
        }
        assert_eq!(sets.bytes(), bytes);
        sets.close();
        assert_eq!(sets.members(first), a);
        assert!(sets.heartbeats(second).eq([1, 7, 8, 9]));
        assert_eq!(sets.members(9), []);
    }
}
