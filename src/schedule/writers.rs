//! What the schedule makes of times in which no client could write.

use super::{Schedule, US_PER_S};
use crate::schedule::kept_away::{Absence, Follows, Tried};

/// What a write that was tried has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noticed {
    /// Writes are refused from now on.
    pub is_first: bool,
    /// A warm-up begins by this, and no other one of its kind was on.
    pub begins: bool,
    /// It still belongs to the start of the server.
    pub is_start: bool,
}

impl Schedule {
    /// No client could write for so long, until now. As long as the server has not taken a write, that is part of its
    /// start.
    pub fn keep_away(&mut self, now_us: u64, for_us: u64, warm_up_s: u64) {
        if self.writes.has_taken() {
            let warm_up_us = warm_up_s.saturating_mul(US_PER_S);
            self.away.add(now_us, for_us, warm_up_us);
        }
        self.warm_up_from(now_us);
    }

    /// Whether it is time to try a write.
    pub fn is_a_write_due(&self, now_us: u64) -> bool {
        self.writes.is_due(now_us)
    }

    /// A write was tried. While writes are refused, every warm-up begins anew.
    pub fn tried_a_write(&mut self, now_us: u64, tried: Tried, warm_up_s: u64) -> Noticed {
        let were_refused = self.writes.are_refused();
        let follows = self.writes.tried(now_us, tried);
        let warm_up_us = warm_up_s.saturating_mul(US_PER_S);
        self.away.forget_if_over(now_us, warm_up_us);
        let is_first = self.writes.are_refused() && !were_refused;
        let is_start = follows == Follows::StillStarting;
        let is_new = self.absence(now_us, warm_up_s).is_none();
        match follows {
            Follows::Nothing => {}
            Follows::StillStarting => self.warm_up_from(now_us),
            Follows::KeptAway { for_us } => self.keep_away(now_us, for_us, warm_up_s),
        }
        Noticed {
            is_first,
            begins: is_first && is_new,
            is_start,
        }
    }

    /// Why the warm-up is on, if writers were kept away.
    pub fn absence(&self, now_us: u64, warm_up_s: u64) -> Option<Absence> {
        let warm_up_us = warm_up_s.saturating_mul(US_PER_S);
        self.away.absence(now_us, warm_up_us)
    }

    /// The same in seconds; 0 if they were not.
    pub(super) fn writers_away_s(&self, now_us: u64, warm_up_s: u64) -> u64 {
        let absence = self.absence(now_us, warm_up_s);
        absence.map_or(0, |absence| absence.away_s)
    }
}
