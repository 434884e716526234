//! When the server cleans up by itself, and what it remembers from one time to the next.
//!
//! Pure: clocks and random numbers come in, the database to clean up comes out. A *round* is one run in each database
//! of the list. Rounds keep the interval: they are due at moments an interval apart, of which the first is chosen at
//! random within the first interval, and each round is put off by a random part of up to a tenth of the interval, so
//! that many servers do not act at once. A round that cannot begin when it is due is skipped, never put in a queue.

pub mod kept_away;
pub mod pace;
pub mod replica_lag;
use std::collections::BTreeMap;
use std::sync::Arc;

mod writers;

pub use writers::Noticed;

use crate::plan::second_look::{Fingerprints, MAX_FINGERPRINTS};
use crate::reply::value::Value;
use crate::report::{Report, Status};
use crate::schedule::kept_away::{Away, Writes};

const US_PER_S: u64 = 1_000_000;

/// Jitter of a round: up to one part in so many of the interval.
const JITTER_PART: u64 = 10;

/// The settings that say when and where.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'w> {
    /// 0: no schedule.
    pub interval_s: u64,
    pub warm_up_s: u64,
    pub databases: &'w [u32],
}

/// Whether a run is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    Idle,
    Scheduled,
    Manual,
}

/// What an ended run means for the breaker of its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    Opened,
    StillOpen,
    Closed,
}

/// The moments of the rounds; all times are of the monotonic clock, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Timetable {
    interval_s: u64,
    /// The end of the warm-up that this was made for.
    warm_us: u64,
    begins_us: u64,
    /// The next round, without its jitter.
    slot_us: u64,
    due_us: u64,
}

impl Timetable {
    fn new(interval_s: u64, warm_us: u64, now_us: u64, random: u64) -> Self {
        let begins_us = warm_us.max(now_us);
        let slot_us = begins_us.saturating_add(random % interval_us(interval_s));
        Self {
            interval_s,
            warm_us,
            begins_us,
            slot_us,
            due_us: slot_us,
        }
    }

    /// The first moment that is still to come; those that were missed are left out.
    fn advance(&mut self, now_us: u64, random: u64) {
        let interval_us = interval_us(self.interval_s);
        let missed = now_us.saturating_sub(self.slot_us) / interval_us;
        let forward = interval_us.saturating_mul(missed.saturating_add(1));
        self.slot_us = self.slot_us.saturating_add(forward);
        let jitter_us = random % (interval_us / JITTER_PART).max(1);
        self.due_us = self.slot_us.saturating_add(jitter_us);
    }
}

fn interval_us(interval_s: u64) -> u64 {
    interval_s.saturating_mul(US_PER_S).max(1)
}

/// An open breaker.
#[derive(Clone, Debug)]
struct Breaker {
    reason: String,
    since_us: u64,
}

/// What is remembered of one database.
#[derive(Clone, Debug, Default)]
struct Memory {
    breaker: Option<Breaker>,
    fingerprints: Arc<Fingerprints>,
    /// When the run that saw them began.
    looked_us: u64,
}

/// How things stand for one database; times are seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    pub is_replica: bool,
    pub next_run_s: Option<u64>,
    pub warm_up_left_s: u64,
    /// For how long writers were kept away before a warm-up that is on for that reason; otherwise 0.
    pub writers_away_s: u64,
    pub breaker_open_s: Option<u64>,
}

/// The schedule of this server.
#[derive(Debug, Default)]
pub struct Schedule {
    /// The last time that the server started, loaded, became a primary, or kept writers away: before, it may not have
    /// seen every beat.
    warm_from_us: u64,
    writes: Writes,
    away: Away,
    is_replica: bool,
    timetable: Option<Timetable>,
    /// Databases of this round that are still to be cleaned up.
    left: usize,
    /// The place in the list of the database that is next. A round that was cut short goes on there.
    next: usize,
    /// When the last run began.
    began_us: u64,
    memory: BTreeMap<u32, Memory>,
    last_ended_us: Option<u64>,
    runs: u64,
    skipped: u64,
    trips: u64,
}

impl Schedule {
    /// At load: nothing is known of the time before.
    pub fn new(now_us: u64, is_replica: bool) -> Self {
        Self {
            warm_from_us: now_us,
            is_replica,
            ..Self::default()
        }
    }

    /// The server was away, or has another data set than before: every coordinator may look dead.
    pub fn start_warm_up(&mut self, now_us: u64) {
        self.writes = Writes::default();
        self.warm_up_from(now_us);
    }

    fn warm_up_from(&mut self, now_us: u64) {
        self.warm_from_us = now_us;
        self.left = 0;
        self.memory.clear();
    }

    /// The server has another role.
    pub fn change_role(&mut self, now_us: u64, is_replica: bool) {
        self.is_replica = is_replica;
        self.start_warm_up(now_us);
    }

    /// A database has other content than before; all of them if none is named.
    pub fn forget(&mut self, database: Option<u32>) {
        for (_, memory) in self
            .memory
            .iter_mut()
            .filter(|(known, _)| database.is_none_or(|database| database == **known))
        {
            memory.fingerprints = Arc::default();
        }
    }

    fn warm_us(&self, warm_up_s: u64) -> u64 {
        let length_us = warm_up_s.saturating_mul(US_PER_S);
        self.warm_from_us.saturating_add(length_us)
    }

    /// Seconds until the warm-up is over, rounded up.
    pub fn warm_up_left_s(&self, now_us: u64, warm_up_s: u64) -> u64 {
        let left_us = self.warm_us(warm_up_s).saturating_sub(now_us);
        left_us.div_ceil(US_PER_S)
    }

    /// The end of the warm-up, past or to come, in microseconds of the monotonic clock; none on a replica.
    pub fn judging_since_us(&self, warm_up_s: u64) -> Option<u64> {
        (!self.is_replica).then(|| self.warm_us(warm_up_s))
    }

    /// Called several times a second: the database to clean up now, if there is one.
    pub fn tick(
        &mut self,
        now_us: u64,
        wanted: Wanted,
        busy: Busy,
        random: &mut dyn FnMut() -> u64,
    ) -> Option<u32> {
        if wanted.interval_s == 0 || self.is_replica {
            if self.timetable.take().is_some() {
                self.left = 0;
                self.memory.clear();
            }
            return None;
        }
        let warm_us = self.warm_us(wanted.warm_up_s);
        // A warm-up that is over does not matter any more, whatever becomes of its setting.
        let is_other = |t: &Timetable| {
            let pending = t.warm_us.max(warm_us) > now_us;
            t.interval_s != wanted.interval_s || (pending && t.warm_us != warm_us)
        };
        let kept = self.timetable.filter(|t| !is_other(t));
        let mut timetable =
            kept.unwrap_or_else(|| Timetable::new(wanted.interval_s, warm_us, now_us, random()));
        if now_us >= timetable.due_us {
            timetable.advance(now_us, random());
            if busy != Busy::Idle || self.left > 0 {
                self.skipped = self.skipped.saturating_add(1);
            } else {
                self.left = wanted.databases.len();
                self.memory.retain(|db, _| wanted.databases.contains(db));
            }
        }
        self.timetable = Some(timetable);
        match busy {
            Busy::Idle if self.left > 0 => {
                self.left = self.left.min(wanted.databases.len()).saturating_sub(1);
                let place = self.next.checked_rem(wanted.databases.len())?;
                self.next = place.saturating_add(1);
                self.began_us = now_us;
                wanted.databases.get(place).copied()
            }
            // Whatever is left of the round waits for the next one.
            Busy::Manual => {
                self.left = 0;
                None
            }
            _ => None,
        }
    }

    /// A run could not be started, or was cancelled: the next round begins with its database.
    pub fn give_way(&mut self) {
        self.left = 0;
        self.next = self.next.saturating_sub(1);
    }

    /// What the last run saw in this database.
    pub fn fingerprints(&self, database: u32) -> Arc<Fingerprints> {
        let memory = self.memory.get(&database);
        memory
            .map(|m| Arc::clone(&m.fingerprints))
            .unwrap_or_default()
    }

    /// The same for a run that begins now: nothing if the last one began less than half an interval ago, as it can
    /// when the interval was changed. A second look a moment after the first proves nothing.
    pub fn fingerprints_before(
        &self,
        database: u32,
        now_us: u64,
        interval_s: u64,
    ) -> Arc<Fingerprints> {
        let looked_us = self.memory.get(&database).map(|memory| memory.looked_us);
        let apart_us = now_us.saturating_sub(looked_us.unwrap_or_default());
        if apart_us < interval_us(interval_s) / 2 {
            return Arc::default();
        }
        self.fingerprints(database)
    }

    /// How many coordinators of one database may be remembered.
    pub fn most_fingerprints(databases: usize) -> usize {
        (MAX_FINGERPRINTS / databases.max(1)).max(1)
    }

    /// Keep what a run saw in this database.
    pub fn remember(&mut self, database: u32, fingerprints: Fingerprints) {
        if fingerprints.len() > 0 {
            let memory = self.memory.entry(database).or_default();
            memory.fingerprints = Arc::new(fingerprints);
            memory.looked_us = self.began_us;
        } else if let Some(memory) = self.memory.get_mut(&database) {
            memory.fingerprints = Arc::default();
        }
    }

    /// A run of the schedule is over.
    pub fn ended(&mut self, now_us: u64, database: u32, report: &Report) -> Change {
        self.runs = self.runs.saturating_add(1);
        self.last_ended_us = Some(now_us);
        let breaker = self.memory.get_mut(&database).map(|m| &mut m.breaker);
        match report.status {
            Status::Refused => {
                let breaker = &mut self.memory.entry(database).or_default().breaker;
                let was_open = breaker.is_some();
                let since_us = breaker.as_ref().map_or(now_us, |open| open.since_us);
                let reason = report.reason.clone().unwrap_or_default();
                *breaker = Some(Breaker { reason, since_us });
                if was_open {
                    return Change::StillOpen;
                }
                self.trips = self.trips.saturating_add(1);
                Change::Opened
            }
            // These may have ended before they had a plan.
            Status::Cancelled => {
                self.give_way();
                Change::None
            }
            Status::Interrupted => Change::None,
            Status::Complete | Status::Partial | Status::Limited | Status::Truncated => {
                match breaker.and_then(Option::take) {
                    Some(_) => Change::Closed,
                    None => Change::None,
                }
            }
        }
    }

    fn next_s(&self, now_us: u64) -> Option<u64> {
        let due_us = self.timetable.map(|timetable| timetable.due_us)?;
        Some(due_us.saturating_sub(now_us).div_ceil(US_PER_S))
    }

    /// Seconds since the last run ended or, if that is later, since the schedule began.
    fn idle_s(&self, now_us: u64) -> u64 {
        let Some(timetable) = self.timetable else {
            return 0;
        };
        let since_us = timetable
            .begins_us
            .max(self.last_ended_us.unwrap_or_default());
        now_us.saturating_sub(since_us) / US_PER_S
    }

    fn open(&self) -> impl Iterator<Item = (u32, &Breaker)> {
        let memory = self.memory.iter();
        memory.filter_map(|(database, m)| Some((*database, m.breaker.as_ref()?)))
    }

    /// How things stand for this database.
    pub fn outlook(&self, now_us: u64, warm_up_s: u64, database: u32) -> Outlook {
        let since_s = |us: u64| now_us.saturating_sub(us) / US_PER_S;
        let mut open = self.open();
        let breaker = open.find(|(open, _)| *open == database);
        Outlook {
            is_replica: self.is_replica,
            next_run_s: self.next_s(now_us),
            warm_up_left_s: self.warm_up_left_s(now_us, warm_up_s),
            writers_away_s: self.writers_away_s(now_us, warm_up_s),
            breaker_open_s: breaker.map(|(_, breaker)| since_s(breaker.since_us)),
        }
    }

    /// The field `schedule` of STATUS; `refusal` is why the server refuses writes.
    pub fn to_value(
        &self,
        now_us: u64,
        wanted: Wanted,
        dry_run: bool,
        refusal: Option<&str>,
    ) -> Value {
        let breakers = self.open().map(|(database, open)| {
            let since_us = now_us.saturating_sub(open.since_us);
            Value::Map(vec![
                ("database", u64::from(database).into()),
                ("reason", Value::text(open.reason.as_bytes())),
                ("open_s", (since_us / US_PER_S).into()),
            ])
        });
        let databases = wanted.databases.iter().map(|db| u64::from(*db).into());
        let next_s = self.next_s(now_us).map_or(Value::Null, Value::from);
        let warm_up_left_s = self.warm_up_left_s(now_us, wanted.warm_up_s);
        Value::Map(vec![
            ("interval_s", wanted.interval_s.into()),
            ("databases", Value::Array(databases.collect())),
            ("dry_run", dry_run.into()),
            ("next_run_s", next_s),
            ("warm_up_left_s", warm_up_left_s.into()),
            (
                "writers_away_s",
                self.writers_away_s(now_us, wanted.warm_up_s).into(),
            ),
            (
                "writes_refused",
                refusal.map_or(Value::Null, |why| Value::text(why.as_bytes())),
            ),
            ("runs", self.runs.into()),
            ("skipped", self.skipped.into()),
            ("breakers_open", Value::Array(breakers.collect())),
        ])
    }

    /// The fields of INFO.
    pub fn info_fields(&self, now_us: u64, wanted: Wanted) -> [(&'static str, u64); 11] {
        let fingerprints = self
            .memory
            .values()
            .map(|memory| memory.fingerprints.len() as u64);
        [
            ("schedule_on", u64::from(self.timetable.is_some())),
            ("schedule_interval_s", wanted.interval_s),
            (
                "schedule_next_run_s",
                self.next_s(now_us).unwrap_or_default(),
            ),
            ("schedule_idle_s", self.idle_s(now_us)),
            ("schedule_runs", self.runs),
            ("schedule_skipped", self.skipped),
            (
                "schedule_remembered",
                fingerprints.fold(0, u64::saturating_add),
            ),
            ("breaker_open", self.open().count() as u64),
            ("breaker_trips", self.trips),
            (
                "warm_up_left_s",
                self.warm_up_left_s(now_us, wanted.warm_up_s),
            ),
            (
                "writers_away_s",
                self.writers_away_s(now_us, wanted.warm_up_s),
            ),
        ]
    }
}

#[cfg(test)]
mod tests;
