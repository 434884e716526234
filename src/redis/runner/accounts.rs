//! The accounts of a run: what its slices cost, how long it rests between two, samples for the latency monitor.

use super::job::SliceKind;
use crate::redis::api::keyspace;
use crate::redis::api::system;
use crate::redis::api::{self, RedisModuleCtx};
use crate::report::cost::{Cost, SliceCost};
use crate::schedule::pace::{self, Pace, Shares, Turn};
use crate::settings;

/// What was spent so far, and when the run stood still last.
#[derive(Debug)]
pub struct Accounts {
    /// Of all slices.
    pub cost: Cost,
    /// How long to rest before the next slice.
    pub pause_us: u64,
    pace: Pace,
    turn_began_us: u64,
    turn_began_cpu_us: u64,
    /// Length of the last slice if it removed keys.
    removing_us: u64,
    latency_threshold_ms: i64,
}

/// A slice under way.
#[derive(Debug)]
pub struct Began {
    pub at_us: u64,
    cpu_us: u64,
    before: Turn,
}

impl Accounts {
    /// Nothing spent yet.
    pub fn begin(ctx: *mut RedisModuleCtx, now_us: u64) -> Self {
        Self {
            cost: Cost::default(),
            pause_us: 0,
            pace: Pace::default(),
            turn_began_us: now_us,
            turn_began_cpu_us: system::thread_cpu_us(),
            removing_us: 0,
            latency_threshold_ms: api::server_setting(ctx, c"latency-monitor-threshold")
                .and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok())
                .unwrap_or_default(),
        }
    }

    /// A slice begins.
    pub fn begin_slice(&self) -> Began {
        let (at_us, cpu_us) = (system::monotonic_us(), system::thread_cpu_us());
        let before = Turn {
            cpu_us: cpu_us.saturating_sub(self.turn_began_cpu_us),
            own_us: pace::propagation_us(self.removing_us),
            wall_us: at_us.saturating_sub(self.turn_began_us),
            asked_us: self.pause_us,
        };
        Began {
            at_us,
            cpu_us,
            before,
        }
    }

    /// It is over.
    pub fn end_slice(&mut self, began: Began, kind: SliceKind, allowed_us: u64) {
        self.turn_began_us = system::monotonic_us();
        self.turn_began_cpu_us = system::thread_cpu_us();
        let took_us = self.turn_began_us.saturating_sub(began.at_us);
        self.cost.add_slice(SliceCost {
            took_us,
            cpu_us: self.turn_began_cpu_us.saturating_sub(began.cpu_us),
            allowed_us,
            scan_us: match kind.walked {
                true => kind.longest_piece_us,
                false => 0,
            },
            read_us: kind.longest_read_us,
            unlink_us: keyspace::take_longest_unlink_us(),
        });
        self.removing_us = if kind.removed { took_us } else { 0 };
        self.sample_latency(took_us);
        let shares = Shares {
            busy: settings::CPU_PERCENT.get(),
            idle: settings::IDLE_CPU_PERCENT.get(),
        };
        self.pause_us = self.pace.pause_us(began.before, took_us, shares);
    }

    /// Some servers take samples even while their monitor is off, hence our own test.
    fn sample_latency(&self, took_us: u64) {
        let took_ms = i64::try_from(took_us / 1000).unwrap_or(i64::MAX);
        if self.latency_threshold_ms > 0 && took_ms >= self.latency_threshold_ms {
            // SAFETY: 1, 2; the server copies the name.
            unsafe {
                api::rm!(RedisModule_LatencyAddSample)(c"blocking-cleanup".as_ptr(), took_ms)
            };
        }
    }
}
