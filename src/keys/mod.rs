//! The names of keys: families, templates, and whose a key can be.

pub mod bad_template;
pub mod family;
pub mod layout;
pub mod layout_syntax;
pub mod name_bounds;
pub mod owner_index;
pub mod pattern;
pub mod reading;
pub mod segment_hash;
pub mod slots;
pub mod template;
