//! In a cluster: which keys lie on this node.

pub mod locality;
