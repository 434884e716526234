//! What each command takes and answers.

mod args;
pub mod doctor;
pub mod explain;
pub mod help;
pub mod linger;
pub mod listing;
pub mod look;
pub mod options;
pub mod table;
