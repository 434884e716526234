//! What a coordinator's heartbeat says of it, in the words of replies.

use super::Verdict;

/// What a coordinator's heartbeat says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Stale,
    Live,
    Unreadable,
}

impl State {
    /// The word in replies.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Live => "live",
            Self::Unreadable => "unreadable",
        }
    }
}

impl From<Verdict> for State {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Live => Self::Live,
            Verdict::Stale { .. } => Self::Stale,
            Verdict::Unreadable => Self::Unreadable,
        }
    }
}
