//! A removal arrives wherever a removal must arrive: append-only file, replica, other clients, and after a crash.
//! What must not arrive anywhere is the command itself.

/// Subscribers hear that a run is over.
mod announcements;
/// Reading an append-only file without a server.
mod append_only;
/// The server ends without warning.
mod crashes;
/// Append-only file and replica hold what the primary holds.
mod equality;
/// Clients that watch, track or listen hear of it.
mod observers;
