//! What a walk over the keyspace keeps.

pub mod collection;
pub mod expired_share;
