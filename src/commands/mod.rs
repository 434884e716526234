//! What each command takes and answers.

mod args;
pub mod doctor;
pub mod explain;
pub mod help;
pub mod linger;
pub mod listing;
pub mod options;
pub mod query;
pub mod request;
pub mod table;
