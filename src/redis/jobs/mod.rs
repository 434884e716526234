//! What a command does in a slice.

pub mod collect;
pub mod doctor;
pub mod list;
pub mod orphan_check;
pub mod server_keyspace;
pub mod tell;
