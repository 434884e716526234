//! What a walk over the keyspace keeps.

pub mod expired_share;
pub mod scanned_keys;
