//! Names kept as examples.

use crate::reply::room::{self, Room};

/// Room for names kept as examples.
#[derive(Debug, Default)]
pub struct Examples(Room);

impl Examples {
    /// A copy of the name while there is room.
    pub fn keep(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        let fits = room::written_bytes(name) <= room::MAX_EXAMPLE_BYTES && self.0.take(&[name]);
        fits.then(|| name.to_vec())
    }
}
