//! When the server first saw each key that has no owner and gives no time of its own.
//!
//! Kept from run to run, 12 bytes a key. A key is known by its print, a keyed hash over its name and over all that
//! shows when it is written again, so that one that was written again is a new one. Forgotten at restart, and for
//! every key that a run did not see: that only postpones.

use crate::util::cooperative::YieldCounter;

/// Keys of all databases together that are remembered: 48 MiB. Those beyond it wait for room.
pub const MAX_KEYS: usize = 4 << 20;

/// The memory of one database. Moments are seconds of a clock that never jumps.
#[derive(Debug, Default)]
pub struct FirstSeen {
    /// Sorted.
    prints: Vec<u64>,
    /// In the order of the prints.
    moments_s: Vec<u32>,
}

impl FirstSeen {
    /// What one run saw, prints with moments; the longest known ones where there is no `room` for all. `None` if told
    /// to stop.
    pub fn new(mut seen: Vec<(u64, u32)>, room: usize, yields: &YieldCounter) -> Option<Self> {
        if seen.len() > room {
            yields.sort_by(&mut seen, |a, b| (a.1, a.0).cmp(&(b.1, b.0)))?;
            seen.truncate(room);
        }
        yields.sort_by(&mut seen, Ord::cmp)?;
        Some(Self {
            prints: seen.iter().map(|(print, _)| *print).collect(),
            moments_s: seen.iter().map(|(_, moment_s)| *moment_s).collect(),
        })
    }

    /// When a key was first seen, if an earlier run saw it.
    pub fn moment_s(&self, print: u64) -> Option<u32> {
        let place = self.prints.binary_search(&print).ok()?;
        self.moments_s.get(place).copied()
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.prints.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_seen(seen: &[(u64, u32)], room: usize) -> FirstSeen {
        FirstSeen::new(seen.to_vec(), room, &YieldCounter::unstoppable()).unwrap()
    }

    #[test]
    fn what_was_seen_is_found_and_nothing_else() {
        let seen = first_seen(&[(9, 3), (1, 7), (5, 0)], 10);
        let found: Vec<Option<u32>> = (0..11).map(|print| seen.moment_s(print)).collect();
        let mut expected = vec![None; 11];
        (expected[9], expected[1], expected[5]) = (Some(3), Some(7), Some(0));
        assert_eq!(found, expected);
        assert_eq!(FirstSeen::default().moment_s(0), None);
    }

    #[test]
    fn without_room_the_longest_known_stay() {
        let seen = first_seen(&[(1, 7), (2, 7), (3, 5), (4, 9), (5, 6)], 3);
        assert_eq!(seen.len(), 3);
        let kept: Vec<u64> = (0..6).filter(|p| seen.moment_s(*p).is_some()).collect();
        assert_eq!(kept, [1, 3, 5]);
        assert_eq!(first_seen(&[(1, 7)], 0).len(), 0);
    }
}
