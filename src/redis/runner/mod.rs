//! Runs: how they begin, wait, have their slices and end, and who waits for them.

pub mod blocked_client;
#[cfg(has_timerfd)]
pub mod client_activity;
pub mod linger;
pub mod observer;
pub mod registry;
pub mod request;
pub mod run;
pub mod runs;
pub mod stop;
pub mod wakeup;
pub mod worker;
