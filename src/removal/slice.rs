//! What a slice of the removal knows, and the batch that it fills.

use crate::heartbeat::reader::Reader;
use crate::keys::family::FamilyMap;

/// What a slice knows.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'s> {
    /// Wall clock of the run, milliseconds since 1970.
    pub now_ms: i64,
    pub threshold_s: u32,
    pub reader: &'s Reader,
    /// In a cluster one command may name keys of one slot only.
    pub cluster: bool,
    /// The slice's number, so that a heartbeat is read once a slice and not once a key.
    pub number: u64,
    /// How long a slice should take.
    pub slice_us: u64,
}

/// Keys of one batch, by family, each with the number of its owner among the obituaries; 0 without
/// any.
pub type Batch<N> = FamilyMap<Vec<(N, usize)>>;
