//! What is proved by time or memory: one test at a time, in a binary of its own.

/// Other clients are served while a run is on.
mod expiry;
/// Memory before, during and after repeated walks.
mod memory;
mod stalls;
/// What the loaded module costs while no run is on.
mod standing;
