//! Times in which no client can write to this server although the clock goes on: afterwards every coordinator
//! looks dead.
//!
//! Pure. There are two ways to notice. The clocks show that the server stood still, or that its wall clock was set
//! forward; and a write that is tried now and then shows whether writes are refused.

use crate::reply::error::{CLUSTER_DOWN, Error};

const US_PER_S: u64 = 1_000_000;

/// However short the threshold: a server that stands still for less than this, in milliseconds, has merely been busy.
const STANDSTILL_MIN_MS: u64 = 5_000;

/// The wall clock may run ahead of the monotonic one by so much, in milliseconds, between two looks. Clocks that are
/// steered gently stay far below it.
const CLOCK_STEP_MS: i64 = 2_000;

/// How often a write is tried, in microseconds.
const TRY_EVERY_US: u64 = US_PER_S;

/// How long a server may stand still, in milliseconds, before it counts as one that was away: a quarter of the
/// threshold or, with orphans, of the grace if that is shorter. Heartbeats expire meanwhile that no client can
/// refresh, and the TTL of many is half the threshold.
pub fn standstill_ms(threshold_s: u64, orphan_grace_s: u64) -> i64 {
    let shortest_s = match orphan_grace_s {
        0 => threshold_s,
        grace_s => threshold_s.min(grace_s),
    };
    let quarter_ms = shortest_s.saturating_mul(250);
    i64::try_from(quarter_ms.max(STANDSTILL_MIN_MS)).unwrap_or(i64::MAX)
}

/// One look at both clocks: the wall clock in milliseconds, the monotonic one in microseconds just before and just
/// after.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub before_us: u64,
    pub wall_ms: i64,
    pub after_us: u64,
}

/// Both clocks as they were at the last look.
#[derive(Clone, Copy, Debug)]
pub struct Clocks(Moment);

impl Clocks {
    pub fn new(now: Moment) -> Self {
        Self(now)
    }

    /// For how long, in microseconds, no client could write since the last look, if it was for longer than allowed:
    /// the server stood still, or its clock was set forward. Such a step counts however short the standstill: keys
    /// expire at once whose owners had no time to refresh them.
    pub fn missed_us(&mut self, now: Moment, allowed_ms: i64) -> Option<u64> {
        let last = std::mem::replace(&mut self.0, now);
        let missed_ms = now.wall_ms.saturating_sub(last.wall_ms);
        // At most so long: a process that is stopped between two clocks must not look like a step.
        let went_by_us = now.after_us.saturating_sub(last.before_us);
        let went_by_ms = i64::try_from(went_by_us / 1000).unwrap_or(i64::MAX);
        let step_ms = missed_ms.saturating_sub(went_by_ms);
        (missed_ms > allowed_ms || step_ms > CLOCK_STEP_MS)
            .then(|| u64::try_from(missed_ms).unwrap_or_default())
            .map(|missed_ms| missed_ms.saturating_mul(1000))
    }
}

/// What a write that was tried has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    Taken,
    Refused,
    /// In a cluster: no slot of this node was found, so it is not known.
    Unknown,
}

/// What follows from a write that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    Nothing,
    /// Since the server started, loaded or became a primary it has not taken a single write: it is as if that
    /// happened only now.
    StillStarting,
    /// Writers have been kept away for so long since this was last known.
    KeptAway {
        for_us: u64,
    },
}

/// What the writes that were tried have shown so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Writes {
    has_taken: bool,
    tried_us: Option<u64>,
    refused_us: Option<u64>,
}

impl Writes {
    /// Whether it is time to try again.
    pub fn is_due(&self, now_us: u64) -> bool {
        let due_us = self.tried_us.map(|us| us.saturating_add(TRY_EVERY_US));
        due_us.is_none_or(|due_us| now_us >= due_us)
    }

    /// Whether the server has taken a write since it started, loaded or became a primary.
    pub fn has_taken(&self) -> bool {
        self.has_taken
    }

    /// Whether writes were refused when one was last tried.
    pub fn are_refused(&self) -> bool {
        self.refused_us.is_some()
    }

    /// A write was tried.
    pub fn tried(&mut self, now_us: u64, tried: Tried) -> Follows {
        self.tried_us = Some(now_us);
        let refused_us = self.refused_us;
        let follows = if self.has_taken {
            let for_us = now_us.saturating_sub(refused_us.unwrap_or(now_us));
            Follows::KeptAway { for_us }
        } else {
            Follows::StillStarting
        };
        match tried {
            Tried::Taken => {
                self.has_taken = true;
                self.refused_us = None;
                refused_us.map_or(Follows::Nothing, |_| follows)
            }
            Tried::Unknown if refused_us.is_none() => match follows {
                Follows::StillStarting => follows,
                _ => Follows::Nothing,
            },
            Tried::Unknown | Tried::Refused => {
                self.refused_us = Some(now_us);
                follows
            }
        }
    }
}

/// For how long writers were kept away, all in all, before and in the warm-up that is on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Away {
    total_us: u64,
    until_us: Option<u64>,
}

impl Away {
    /// Microseconds until living coordinators have had the time of a warm-up; 0 if none was kept away.
    fn left_us(&self, now_us: u64, warm_up_us: u64) -> u64 {
        let warm_us = self.until_us.map(|us| us.saturating_add(warm_up_us));
        warm_us.unwrap_or_default().saturating_sub(now_us)
    }

    /// What is over stays so, whatever becomes of the setting.
    pub fn forget_if_over(&mut self, now_us: u64, warm_up_us: u64) {
        if self.left_us(now_us, warm_up_us) == 0 {
            *self = Self::default();
        }
    }

    /// Writers were kept away for so long, until now.
    pub fn add(&mut self, now_us: u64, for_us: u64, warm_up_us: u64) {
        self.forget_if_over(now_us, warm_up_us);
        self.total_us = self.total_us.saturating_add(for_us);
        self.until_us = Some(now_us);
    }

    /// What a warm-up of this kind is for.
    pub fn absence(&self, now_us: u64, warm_up_us: u64) -> Option<Absence> {
        let left_us = self.left_us(now_us, warm_up_us);
        (left_us > 0).then(|| Absence {
            away_s: self.total_us.div_ceil(US_PER_S).max(1),
            left_s: left_us.div_ceil(US_PER_S),
        })
    }
}

/// Writers were kept away for so many seconds, and their warm-up takes so many more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    pub away_s: u64,
    pub left_s: u64,
}

/// Why a run by hand that removes may not begin; `refusal` is why the server refuses writes.
pub fn objection(
    refusal: Option<&str>,
    absence: Option<Absence>,
    no_warm_up: bool,
) -> Result<(), Error> {
    if refusal.is_some_and(|why| why.starts_with(CLUSTER_DOWN)) {
        return Err(Error::ClusterDown);
    }
    match absence {
        Some(Absence { away_s, left_s }) if !no_warm_up => Err(Error::WarmUp { away_s, left_s }),
        _ => Ok(()),
    }
}

/// What DOCTOR and EXPLAIN say of a warm-up.
pub fn sentence(left_s: u64, away_s: u64) -> String {
    let mut text = format!(
        "warm-up: for {left_s} s more no scheduled run begins, because living coordinators may look dead"
    );
    if away_s > 0 {
        text += &format!(
            "; clients could not write for {away_s} s, so BLOCKING.CLEANUP removes nothing without NOWARMUP"
        );
    }
    text
}

#[cfg(test)]
#[path = "kept_away_tests.rs"]
mod tests;
