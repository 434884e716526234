//! Hashes of a name and of its parts, for the indexes in which names are looked up.
//!
//! Ids and swarms begin and end at colons, so a name is hashed segment by segment, and the hash of a run of segments
//! is a polynomial over theirs: it follows in constant time from one pass over the name. A name of 64 KiB full of
//! colons has thousands of readings, and hashing each on its own would take time quadratic in its length.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

/// 2^61 - 1, a prime: products of two residues fit 128 bits and reduce without division.
const MODULUS: u64 = (1 << 61) - 1;

fn reduce(value: u64) -> u64 {
    if value >= MODULUS {
        value.wrapping_sub(MODULUS)
    } else {
        value
    }
}

fn multiply(a: u64, b: u64) -> u64 {
    let product = u128::from(a).wrapping_mul(u128::from(b));
    let low = (product as u64) & MODULUS;
    let high = (product >> 61) as u64;
    reduce(low.wrapping_add(high))
}

/// To hash a part of a name with fewer segments than this, looking at the part alone is faster than what comes before
/// it.
const FEW_SEGMENTS: u8 = 16;

/// Colons of longer names are not counted.
const LONG_BYTES: usize = 255;

/// The number of colons in a name that is not long.
fn colons(name: &[u8]) -> u8 {
    let ones = name.iter().map(|byte| u8::from(*byte == b':'));
    ones.fold(0, u8::wrapping_add)
}

/// Hashes of all runs of segments of one name at a time; buffers are reused from name to name.
#[derive(Debug)]
pub struct SegmentHasher {
    /// Hashes a segment. Its seed and the base are random, so that names which collide cannot be prepared.
    segments: RandomState,
    base: u64,
    /// `powers[n]` is the base to the power of n.
    powers: Vec<u64>,
    /// The loaded name.
    name: Vec<u8>,
    /// Where each segment of the loaded name starts, and where one more would; empty if they are few.
    starts: Vec<usize>,
    /// `beginnings[n]` is the hash of the first n segments of the loaded name.
    beginnings: Vec<u64>,
}

impl Default for SegmentHasher {
    fn default() -> Self {
        let segments = RandomState::default();
        Self {
            base: (segments.hash_one(0u8) % (MODULUS - 1024)).wrapping_add(512),
            segments,
            powers: vec![1],
            name: Vec::new(),
            starts: Vec::new(),
            beginnings: Vec::new(),
        }
    }
}

impl SegmentHasher {
    /// Make `name` the name whose parts are hashed from now on.
    pub fn load(&mut self, name: &[u8]) {
        self.name.clear();
        self.name.extend_from_slice(name);
        self.starts.clear();
        self.beginnings.clear();
        if name.len() > LONG_BYTES || colons(name) >= FEW_SEGMENTS {
            self.hash_beginnings();
        }
    }

    fn hash_beginnings(&mut self) {
        self.beginnings.push(0);
        let (mut start, mut hash) = (0usize, 0);
        for segment in self.name.split(|byte| *byte == b':') {
            self.starts.push(start);
            start = start.saturating_add(segment.len()).saturating_add(1);
            hash = self.append(hash, segment);
            self.beginnings.push(hash);
        }
        self.starts.push(start);
        let mut power = self.powers.last().copied().unwrap_or(1);
        while self.powers.len() < self.starts.len() {
            power = multiply(power, self.base);
            self.powers.push(power);
        }
    }

    /// The hash of what has `hash` and one more segment.
    fn append(&self, hash: u64, segment: &[u8]) -> u64 {
        let mut hasher = self.segments.build_hasher();
        hasher.write(segment);
        let own = hasher.finish() & MODULUS;
        reduce(reduce(own).wrapping_add(multiply(hash, self.base)))
    }

    /// Hash of the bytes from `start` to `end` (exclusive) of the loaded name.
    fn part(&self, (start, end): (usize, usize)) -> u64 {
        #[cfg(test)]
        crate::util::cooperative::gauge::work();
        let bounds = (
            self.starts.binary_search(&start),
            self.starts.binary_search(&end.saturating_add(1)),
        );
        let (Ok(first), Ok(last)) = bounds else {
            // Few segments, or not whole ones, which no template reads; the hash is the same.
            let bytes = self.name.get(start..end).unwrap_or_default();
            let segments = bytes.split(|byte| *byte == b':');
            return segments.fold(0, |hash, segment| self.append(hash, segment));
        };
        let at = |list: &[u64], index: usize| list.get(index).copied().unwrap_or_default();
        let before = multiply(
            at(&self.beginnings, first),
            at(&self.powers, last.saturating_sub(first)),
        );
        let through = at(&self.beginnings, last);
        reduce(through.wrapping_add(MODULUS).wrapping_sub(before))
    }

    /// Hash of the whole loaded name, to be compared with others of its kind only.
    pub fn whole(&self) -> u64 {
        let mut hasher = self.segments.build_hasher();
        hasher.write(&self.name);
        hasher.finish()
    }

    /// Hash of the id that stands there in the loaded name.
    pub fn by_id(&self, id: (usize, usize)) -> u64 {
        spread(self.part(id))
    }

    /// Hash of the swarm and the id that stand there in the loaded name.
    pub fn by_swarm_and_id(&self, swarm: (usize, usize), id: (usize, usize)) -> u64 {
        spread(self.part(id).wrapping_add(self.part(swarm).rotate_left(29)))
    }
}

/// Hash tables look at the high bits for one thing and at the low bits for another.
fn spread(hash: u64) -> u64 {
    let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_parts_do_not_depend_on_where_they_stand() {
        let mut hasher = SegmentHasher::default();
        let name = b"a:bc:a:bc";
        hasher.load(name);
        assert_eq!(hasher.part((0, 4)), hasher.part((5, 9)));
        assert_ne!(hasher.part((0, 4)), hasher.part((2, 6)));
        assert_ne!(hasher.part((0, 1)), hasher.part((2, 4)));
        assert_eq!(hasher.part((3, 4)), hasher.part((8, 9)));
        let part = hasher.part((2, 6));
        hasher.load(b"bc:a");
        assert_eq!(hasher.part((0, 4)), part);
        let whole = hasher.whole();
        hasher.load(b"bc:ab");
        assert_ne!(hasher.whole(), whole);
        hasher.load(b"bc:a");
        assert_eq!(hasher.whole(), whole);
    }

    #[test]
    fn parts_hash_alike_in_short_and_long_names_whole_segments_or_not() {
        let mut hasher = SegmentHasher::default();
        let mut alone = SegmentHasher {
            segments: hasher.segments.clone(),
            base: hasher.base,
            ..SegmentHasher::default()
        };
        let few = "x::a:b:".to_owned();
        let many = few.repeat(usize::from(FEW_SEGMENTS));
        let long = format!("x::{}:b:", "a".repeat(LONG_BYTES));
        for (name, is_indexed) in [(few, false), (many, true), (long, true)] {
            hasher.load(name.as_bytes());
            assert_eq!(!hasher.starts.is_empty(), is_indexed, "{name}");
            for start in 0..=name.len() {
                for end in start..=name.len() {
                    let bytes = &name.as_bytes()[start..end];
                    alone.load(bytes);
                    assert!(alone.starts.is_empty() || bytes.len() >= usize::from(FEW_SEGMENTS));
                    let by_itself = bytes.split(|byte| *byte == b':');
                    let by_itself = by_itself.fold(0, |hash, part| alone.append(hash, part));
                    assert_eq!(hasher.part((start, end)), by_itself, "{start}..{end}");
                    assert_eq!(alone.part((0, bytes.len())), by_itself, "{start}..{end}");
                }
            }
        }
    }
}
