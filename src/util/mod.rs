//! Helpers that know neither servers nor coordinators.

pub mod chunked_list;
pub mod cooperative;
pub mod named_enum;
pub mod yielding;
