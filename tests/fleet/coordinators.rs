//! Coordinators: those that beat without a break, those that die and come back under the same or another name, and
//! those that come back in the very moment in which a run is about to remove them.
//! Sleeping is their nature: between two beats nothing is waited for but the time of the next one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use blocking_harness::BeatLog;
use blocking_harness::redis::{self, Connection};
use fastrand::Rng;

use crate::beats::{beat, unreadable, wall_ms};
use crate::names;

/// Faster than 1 Hz, so that a beat that is a little late is still younger than the shortest threshold.
const BEAT_EVERY: Duration = Duration::from_millis(400);
/// The longest that a thread sleeps before it looks whether it should end.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Lifetimes of heartbeats, seconds. The shortest is longer than the longest threshold, so one that expires is dead.
const TTLS_S: [i64; 2] = [5, 300];

/// What the threads of a round share.
#[derive(Debug, Default)]
pub struct Scene {
    pub over: AtomicBool,
    pub run_is_on: AtomicBool,
    /// Ids that were dead when the run under way began, the oldest first.
    pub dead: Mutex<Vec<Vec<u8>>>,
}

impl Scene {
    /// One failure ends it for all.
    pub fn ending_if_failed<T>(&self, outcome: Result<T>) -> Result<T> {
        if outcome.is_err() {
            self.over.store(true, Ordering::Relaxed);
        }
        outcome
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub fn set_dead(&self, ids: Vec<Vec<u8>>) {
        *self.dead.lock().unwrap_or_else(PoisonError::into_inner) = ids;
    }

    /// A dead coordinator, preferably one of those that a run removes last.
    fn pick_dead(&self, rng: &mut Rng) -> Option<Vec<u8>> {
        let dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        let back = (rng.f64().powi(2) * dead.len() as f64) as usize;
        dead.iter().rev().nth(back).cloned()
    }
}

/// One connection and the coordinators that use it, which no other uses.
pub struct Crew {
    conn: Connection,
    rng: Rng,
    log: BeatLog,
    members: Vec<Member>,
}

struct Member {
    number: u32,
    swarm: Option<&'static str>,
    /// How often the name was changed.
    successor: u32,
    is_mortal: bool,
    is_mute: bool,
    beats_left: u32,
    next_beat: Instant,
}

impl Member {
    fn id(&self) -> Vec<u8> {
        let mut id = names::id(self.number);
        if self.successor > 0 {
            // A name that begins with the old one.
            id.extend(self.successor.to_string().into_bytes());
        }
        id
    }
}

impl Crew {
    pub fn new(conn: Connection, seed: u64) -> Self {
        Self {
            conn,
            rng: Rng::with_seed(seed),
            log: BeatLog::default(),
            members: Vec::new(),
        }
    }

    /// Coordinators with these numbers, which beat for ever or, if mortal, for a while.
    pub fn with_members(mut self, numbers: &[u32], is_mortal: bool) -> Self {
        for number in numbers {
            let delay = BEAT_EVERY.mul_f64(self.rng.f64());
            self.members.push(Member {
                number: *number,
                swarm: in_some_swarm(&mut self.rng),
                successor: 0,
                is_mortal,
                // A few give no time. They must protect what is theirs all the same.
                is_mute: !is_mortal && self.rng.u8(..40) == 0,
                beats_left: self.rng.u32(3..10),
                next_beat: Instant::now() + delay,
            });
        }
        self
    }

    /// Beats until the scene is over.
    pub fn live(mut self, scene: &Scene) -> Result<BeatLog> {
        while !scene.is_over() {
            let mut next = Instant::now() + LOOK_EVERY;
            for at in 0..self.members.len() {
                if self.members[at].next_beat <= Instant::now() {
                    self.beat_once(at)?;
                }
                next = next.min(self.members[at].next_beat);
            }
            sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(self.log)
    }

    fn beat_once(&mut self, at: usize) -> Result<()> {
        let member = &self.members[at];
        let (id, swarm, is_mute) = (member.id(), member.swarm, member.is_mute);
        self.beat(swarm, &id, is_mute)?;
        let (member, rng) = (&mut self.members[at], &mut self.rng);
        member.next_beat = Instant::now() + BEAT_EVERY;
        if member.is_mortal {
            member.beats_left -= 1;
            if member.beats_left == 0 {
                // Dead until then; and then the same one, another one in its place, or the same in another swarm.
                member.next_beat += Duration::from_millis(rng.u64(200..8_000));
                member.beats_left = rng.u32(1..10);
                match rng.u8(..4) {
                    0 => member.successor = (member.successor + 1) % 4,
                    1 => member.swarm = in_some_swarm(rng),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// One beat, with what its coordinator has to say at the same time: in a pipeline, a transaction, or one command.
    fn beat(&mut self, swarm: Option<&str>, id: &[u8], is_mute: bool) -> Result<()> {
        let rng = &mut self.rng;
        let key = names::heartbeat(swarm, id);
        let keys = names::family(id);
        let others = (0..rng.usize(..3)).map(|_| keys[rng.usize(..keys.len())].clone());
        let mut others: Vec<_> = others.collect();
        // A signal for a coordinator that may be dead.
        others.push(names::between(id, &names::id(rng.u32(..names::IDS))));
        let ms = wall_ms()?;
        let value = if is_mute {
            unreadable(&mut self.log)
        } else {
            beat(&mut self.log, ms, rng)
        };
        let mut pipe = redis::pipe();
        match rng.u8(..8) {
            0 => {
                let mset = pipe.cmd("MSET").arg(&key).arg(&value);
                for other in &others {
                    mset.arg(other).arg(1);
                }
            }
            way => {
                if way == 1 {
                    pipe.atomic();
                }
                let set = pipe.cmd("SET").arg(&key).arg(&value);
                if !is_mute && rng.bool() {
                    set.arg("EX").arg(TTLS_S[rng.usize(..TTLS_S.len())]);
                }
                for other in &others {
                    pipe.cmd("SET").arg(other).arg(1);
                }
            }
        }
        pipe.exec(&mut self.conn)?;
        self.log.acknowledged += 1;
        Ok(())
    }

    /// While a run is on, brings those back to life that it is about to remove, or writes a new heartbeat that could
    /// own what they left.
    pub fn revive(mut self, scene: &Scene) -> Result<BeatLog> {
        while !scene.is_over() {
            if scene.run_is_on.load(Ordering::Relaxed)
                && let Some(id) = scene.pick_dead(&mut self.rng)
            {
                match self.rng.u8(..6) {
                    0 => self.beat(Some(names::SWARMS[0]), &id, false)?,
                    1 => self.beat(None, &names::partner(&id), false)?,
                    2 => self.beat(None, &names::peer(&id), false)?,
                    _ => self.beat(None, &id, false)?,
                }
            }
            sleep(Duration::from_millis(self.rng.u64(2..20)));
        }
        Ok(self.log)
    }
}

pub fn in_some_swarm(rng: &mut Rng) -> Option<&'static str> {
    let place = rng.usize(..4 * names::SWARMS.len());
    names::SWARMS.get(place).copied()
}
