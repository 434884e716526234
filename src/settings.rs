//! The module's settings: name, default, range, unit, and the value in force.
//!
//! Registered with the server by `redis/settings.rs`; `redis.conf.example` lists the same.

use std::sync::atomic::{AtomicI64, Ordering};

/// One setting, `blocking.<name>` to the outside.
#[derive(Debug)]
pub struct Setting {
    pub name: &'static str,
    pub default: i64,
    pub min: i64,
    pub max: i64,
    /// Takes and shows sizes such as `512mb`.
    pub is_memory: bool,
    value: AtomicI64,
}

impl Setting {
    const fn new(name: &'static str, default: i64, min: i64, max: i64) -> Self {
        Self {
            name,
            default,
            min,
            max,
            is_memory: false,
            value: AtomicI64::new(default),
        }
    }

    const fn in_bytes(mut self) -> Self {
        self.is_memory = true;
        self
    }

    /// The value in force; never negative.
    pub fn get(&self) -> u64 {
        u64::try_from(self.value.load(Ordering::Relaxed)).unwrap_or_default()
    }

    /// Put a value in force. The server has checked the range.
    pub fn set(&self, value: i64) {
        self.value.store(value, Ordering::Relaxed);
    }
}

/// Age in seconds above which a coordinator is stale, unless THRESHOLD says otherwise.
pub static THRESHOLD_SECONDS: Setting = Setting::new(
    "threshold-seconds",
    600,
    crate::options::THRESHOLD_S_MIN as i64,
    crate::options::THRESHOLD_S_MAX as i64,
);

/// How long a slice of a run may hold the main thread, in microseconds.
pub static SLICE_US: Setting = Setting::new("slice-us", 250, 50, 100_000);

/// Share of the main thread that a run may use while others have work, in percent.
pub static CPU_PERCENT: Setting = Setting::new("cpu-percent", 25, 1, 100);

/// The same while nobody else has work, for machines whose processors have other work; a limit for
/// the share of a busy server, too.
pub static IDLE_CPU_PERCENT: Setting = Setting::new("idle-cpu-percent", 100, 1, 100);

/// A longer heartbeat is unreadable: parsing it would stall the server.
pub static MAX_HEARTBEAT_BYTES: Setting =
    Setting::new("max-heartbeat-bytes", 65_536, 64, 16 << 20).in_bytes();

/// What a run may keep of the keys it walked over.
pub static COLLECT_MAX_BYTES: Setting =
    Setting::new("collect-max-bytes", 512 << 20, 64 << 10, 1 << 40).in_bytes();

/// Every setting, in the order of the documentation.
pub static ALL: [&Setting; 6] = [
    &THRESHOLD_SECONDS,
    &SLICE_US,
    &CPU_PERCENT,
    &IDLE_CPU_PERCENT,
    &MAX_HEARTBEAT_BYTES,
    &COLLECT_MAX_BYTES,
];
