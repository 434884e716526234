//! What the name of a key may cost. Every phase of every command holds names to these bounds.
//!
//! Names come from every client that may write a key, and may be as long as 512 MB. A name over a bound is never
//! taken apart: a family key of such a name stays, is counted and explained, and a heartbeat of such a name protects
//! every id that its end can spell. That is enough, for a key within the bounds cannot hold a longer id.

/// Longer names (bytes) are not looked at but for their end: it would cost a slice.
pub const MAX_NAME_BYTES: usize = 256 * 1024;

/// More segments, counted over the whole name, could be too many different ids.
pub const MAX_SEGMENTS: usize = 64;

#[cfg(test)]
/// In how many ways a name within the bounds can be read by one template: an id may be any run of its segments.
pub const MAX_READINGS: usize = MAX_SEGMENTS * (MAX_SEGMENTS + 1) / 2;

/// A key that has more owners than this which must be read again in the slice that removes it stays.
pub const MAX_OWNERS: usize = 64;

/// The same for the bytes of their heartbeats: reading them takes a good part of a slice.
pub const MAX_OWNERS_BYTES: usize = 64 * 1024;

/// Readings of names over the bounds that a worker may try, of one and of all together, to find out whose they could
/// be.
const MAX_TRIES_A_NAME: usize = 1 << 20;
const MAX_TRIES: usize = 1 << 23;

/// Readings of a name within the bounds that may be tried in a walk, on the main thread: some 20 us.
pub const MAX_TRIES_IN_WALK: usize = 256;

/// What is left for names over the bounds.
#[derive(Clone, Copy, Debug)]
pub struct Tries(usize);

impl Default for Tries {
    fn default() -> Self {
        Self(MAX_TRIES)
    }
}

impl Tries {
    /// Whether so many may be tried of one more name.
    pub fn take(&mut self, tries: usize) -> bool {
        let left = self.0.checked_sub(tries);
        let left = left.filter(|_| tries <= MAX_TRIES_A_NAME);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}

/// Whether a name is over the bounds.
#[inline]
pub fn is_over(name: &[u8]) -> bool {
    // So many segments do not fit into fewer bytes.
    name.len() >= MAX_SEGMENTS && (name.len() > MAX_NAME_BYTES || segments(name) > MAX_SEGMENTS)
}

/// The number of segments of a name or of a part of one.
pub fn segments(name: &[u8]) -> usize {
    memchr::memchr_iter(b':', name).count().saturating_add(1)
}

/// Where the end of a name begins that is as long as a name within the bounds may be.
pub fn end_of(name: &[u8]) -> usize {
    let longest = name.len().saturating_sub(MAX_NAME_BYTES);
    let end = name.get(longest..).unwrap_or_default();
    let colon = memchr::memrchr_iter(b':', end).nth(MAX_SEGMENTS.saturating_sub(1));
    colon.map_or(longest, |at| longest.saturating_add(at).saturating_add(1))
}

/// Room for the beginning of a template.
const HEAD_BYTES: usize = 1024;

/// A name, or what is kept of one that is too long: its beginning and its end. That is over the bounds, too.
pub fn shortened(name: &[u8]) -> Vec<u8> {
    let end_at = name.len().saturating_sub(MAX_NAME_BYTES);
    let head = name.get(..end_at.min(HEAD_BYTES)).unwrap_or_default();
    [head, name.get(end_at..).unwrap_or_default()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_over_with_one_segment_or_one_byte_too_many() {
        let of = |count: usize| vec!["x"; count].join(":").into_bytes();
        assert!(!is_over(b"") && !is_over(b"a"));
        assert!(!is_over(&of(MAX_SEGMENTS)));
        assert!(is_over(&of(MAX_SEGMENTS + 1)));
        assert!(is_over(&[b':'; MAX_SEGMENTS]));
        assert!(!is_over(&[b':'; MAX_SEGMENTS - 1]));
        assert!(!is_over(&vec![b'x'; MAX_NAME_BYTES]));
        assert!(is_over(&vec![b'x'; MAX_NAME_BYTES + 1]));
    }

    #[test]
    fn there_is_an_end_to_trying() {
        let mut tries = Tries::default();
        assert!(!tries.take(MAX_TRIES_A_NAME + 1));
        assert!((0..8).all(|_| tries.take(MAX_TRIES_A_NAME)));
        assert!(tries.take(0) && !tries.take(1));
    }

    #[test]
    fn what_is_kept_of_a_name_begins_and_ends_as_it_does() {
        assert_eq!(shortened(b"a:b"), b"a:b");
        for more in [0, 1, 1023, 1024, 1025, 300_000] {
            let name = [
                b"swarm:".to_vec(),
                vec![b'x'; MAX_NAME_BYTES + more],
                b":z".to_vec(),
            ]
            .concat();
            let kept = shortened(&name);
            assert!(is_over(&kept) && kept.len() <= MAX_NAME_BYTES + HEAD_BYTES);
            assert!(kept.starts_with(b"swarm:") && kept.ends_with(b":z"));
        }
    }

    #[test]
    fn the_end_of_a_name_is_the_longest_that_is_not_over() {
        let many = [b"ab:".repeat(200), vec![b'x'; 40]].concat();
        let long = vec![b'y'; MAX_NAME_BYTES + 7];
        for name in [&many[..], b"a:b", &[b':'; 300], &long, b""] {
            let at = end_of(name);
            assert!(!is_over(&name[at..]));
            assert!(at == 0 || at + MAX_NAME_BYTES == name.len() || name[at - 1] == b':');
            assert!(at == 0 || is_over(&name[at - 1..]));
        }
    }
}
