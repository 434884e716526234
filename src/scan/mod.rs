//! The walk over the keyspace, and what it keeps.

pub mod collect;
pub mod expired_share;
pub mod fingerprints;
pub mod scanned_keys;
pub mod source;
pub mod visit;

#[cfg(test)]
pub mod memory;
#[cfg(test)]
mod tests;
