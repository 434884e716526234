//! All that a removal may ask of the server, and have it do, in the slice at hand.

use std::sync::Arc;

use crate::cluster::locality::{ClusterTags, Locality};
use crate::heartbeat::reader::{Beat, Reader};
use crate::keys::layout::Layout;
use crate::orphans::OrphanValue;
use crate::report::obituary::Obituaries;
use crate::report::progress::Waiting;

/// Why keys were not removed.
#[derive(Debug)]
pub enum Refusal {
    /// The key's cluster slot is another node's.
    NotOwned,
    /// Nothing can be removed now: the server's own error.
    Refused(String),
}

/// The keys of one database as a removal sees them. Every answer is of this moment.
pub trait Keyspace {
    /// The name of a key as the server takes it.
    type Name;

    /// A name from its bytes.
    fn name(&self, bytes: &[u8]) -> Self::Name;

    /// What a heartbeat says; `None` if it is not there (any more).
    fn heartbeat(&mut self, name: &Self::Name, reader: &Reader) -> Option<Beat>;

    /// Bytes of values that were read so far, from any beginning.
    fn bytes_read(&self) -> usize;

    /// The beginning of a heartbeat, for its obituary.
    fn beginning(&mut self, name: &Self::Name, reader: &Reader, max_bytes: usize) -> Vec<u8>;

    /// Whether a key exists.
    fn exists(&mut self, name: &Self::Name) -> bool;

    /// In a cluster: whether it exists here, or may on the node that its slot moves to.
    fn may_exist(&mut self, name: &Self::Name) -> bool;

    /// What an orphan says and how it looks; `None` if it is not there (any more).
    fn orphan_value(
        &mut self,
        bytes: &[u8],
        name: &Self::Name,
        reader: &Reader,
        key: &std::hash::RandomState,
    ) -> Option<OrphanValue>;

    /// Whether the user of the run may delete it.
    fn may_delete(&mut self, name: &Self::Name) -> bool;

    /// Unlink keys in one command; gives how many there were.
    fn unlink<'k>(&mut self, names: impl Iterator<Item = &'k Self::Name>) -> Result<u64, Refusal>
    where
        Self::Name: 'k;

    /// What a removal that has written so many bytes must wait for.
    fn must_wait(&mut self, written_bytes: u64) -> Option<Waiting>;

    /// In a cluster: what can still be judged here, if slots have gone since the last look.
    fn moved_slots(&mut self, layout: &Arc<Layout>) -> Option<Locality>;

    /// In a cluster: which readings of a key name no id.
    fn tags(&self) -> ClusterTags;

    /// The heartbeats that came into being since this was last asked; `None` if that is not known, and the run
    /// ends.
    fn new_heartbeats(&mut self) -> Option<Vec<Vec<u8>>>;

    /// More heartbeats came than can be told apart: the run ends.
    fn too_many_new_heartbeats(&mut self);

    /// The other family keys that were written since this was last asked; `None` if they were too many.
    fn new_keys(&mut self) -> Option<Vec<Vec<u8>>>;

    /// A new key that was taken for a heartbeat is another key of a family: [`Self::new_keys`] has to give it.
    fn note_key(&mut self, name: &[u8]);

    /// Write an obituary for each coordinator that is wholly gone; gives the bytes that replicas get of it.
    fn write_obituaries(&mut self, obituaries: &mut Obituaries) -> u64;

    /// A clock that never steps, in microseconds.
    fn now_us(&self) -> u64;
}
