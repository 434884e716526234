//! One way to read a key, and how far the readings of keys must be tried.

/// One way to read a key: it would belong to the coordinator `id`, of swarm `swarm` if scoped. Both are byte ranges
/// (start, end) of the key's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reading {
    pub swarm: Option<(usize, usize)>,
    pub id: (usize, usize),
}

impl Reading {
    /// The bytes of the id in the name this reading was made from.
    pub fn id_of(self, name: &[u8]) -> &[u8] {
        name.get(self.id.0..self.id.1).unwrap_or_default()
    }

    /// The bytes of the swarm, if scoped, in the name this reading was made from.
    pub fn swarm_of(self, name: &[u8]) -> Option<&[u8]> {
        self.swarm
            .map(|(start, end)| name.get(start..end).unwrap_or_default())
    }
}

/// How many colon-separated segments the known ids have. An idempotency key has about n squared readings; only those
/// with a number of segments that occurs among known ids can matter.
#[derive(Clone, Debug, Default)]
pub struct SegmentCounts {
    sorted: Vec<usize>,
}

impl SegmentCounts {
    /// Remember the number of segments of `id`.
    pub fn add(&mut self, id: &[u8]) {
        let count = memchr::memchr_iter(b':', id).count().saturating_add(1);
        if let Err(place) = self.sorted.binary_search(&count) {
            self.sorted.insert(place, count);
        }
    }

    /// Every number of segments up to this one: then every reading counts.
    pub fn up_to(count: usize) -> Self {
        let sorted = (1..=count).collect();
        Self { sorted }
    }

    /// Every such number, the smallest first.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.sorted.iter().copied()
    }

    /// Whether an id has this number of segments.
    pub fn contains(&self, count: usize) -> bool {
        self.sorted.binary_search(&count).is_ok()
    }
}
