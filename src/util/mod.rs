//! What has nothing to do with servers or coordinators.

pub mod breath;
pub mod chunked_list;
pub mod named_enum;
pub mod yielding;
