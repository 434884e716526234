//! What the server tells: new keys, and another data set.

pub mod dataset;
pub mod new_keys;
