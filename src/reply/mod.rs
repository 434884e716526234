//! What a command answers: values, their JSON, errors, and how much of names fits a reply.

pub mod error;
pub mod json;
pub mod room;
pub mod value;
