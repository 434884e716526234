//! Helpers that know neither servers nor coordinators.

pub mod breath;
pub mod chunked_list;
pub mod named_enum;
pub mod yielding;
