//! Runs: how they begin, wait, have their slices and end, and who waits for them.

mod accounts;
pub mod blocked_client;
#[cfg(has_timerfd)]
pub mod client_activity;
pub mod job;
pub mod linger;
pub mod observer;
pub mod registry;
pub mod request;
pub mod run;
pub mod stop;
pub mod wakeup;
pub mod worker;
