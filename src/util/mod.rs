//! What has nothing to do with servers or coordinators.

pub mod breath;
pub mod chunked;
pub mod named_enum;
pub mod yielding;
