//! Proof from a server's own append-only file that cleanups removed what they should and nothing else.
//!
//! Coordinators log what they write as heartbeats, the thread that starts a run marks its begin and its end; the
//! replay does the rest. Must not ask the module anything, and must share nothing with it.

/// What values of heartbeats stand for.
mod beats;
/// Which coordinators could own a key.
mod claims;
/// Times and runs in the file.
mod marks;
/// What happened, and whether it was allowed.
mod replay;

pub use beats::BeatLog;
pub use marks::{Mark, Marks, Scope};
pub use replay::{Outcome, Removed, Replay, ReplayCounts};
