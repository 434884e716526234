//! The module's settings: name, default, range, unit, and the value in force.
//!
//! Registered with the server by `redis/settings.rs`; `redis.conf.example` lists the same.

pub mod databases;
pub mod obituary_stream;

use obituary_stream::Stream;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::cluster::locality::ClusterTags;
use crate::heartbeat::forms::Zoneless;
use crate::heartbeat::time_fields::{self, TimeFields};
use crate::keys::layout::Layout;
use crate::keys::layout_syntax;
use crate::plan::protect::Protected;
use crate::reply::error::BadSetting;

/// One setting that is a number, `blocking.<name>` to the outside.
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

    /// The value in force, as it was set.
    pub fn as_set(&self) -> i64 {
        self.value.load(Ordering::Relaxed)
    }

    /// The value in force; a negative one, which stands for something else, is 0.
    pub fn get(&self) -> u64 {
        u64::try_from(self.as_set()).unwrap_or_default()
    }

    /// Put a value in force. The server has checked the range.
    pub fn set(&self, value: i64) {
        self.value.store(value, Ordering::Relaxed);
    }
}

/// One setting that is `yes` or `no`.
#[derive(Debug)]
pub struct Switch {
    pub name: &'static str,
    pub default: bool,
    value: AtomicBool,
}

impl Switch {
    const fn new(name: &'static str, default: bool) -> Self {
        Self {
            name,
            default,
            value: AtomicBool::new(default),
        }
    }

    /// The value in force.
    pub fn get(&self) -> bool {
        self.value.load(Ordering::Relaxed)
    }

    /// Put a value in force.
    pub fn set(&self, value: bool) {
        self.value.store(value, Ordering::Relaxed);
    }
}

/// One setting that is text, and what the text means.
#[derive(Debug)]
pub struct Text<T> {
    name: &'static str,
    default: &'static str,
    parse: fn(&[u8]) -> Result<T, BadSetting>,
    /// The text as it was set, and what it means; none before the first time.
    value: Mutex<Option<(Vec<u8>, Arc<T>)>>,
}

impl<T: Default> Text<T> {
    const fn new(
        name: &'static str,
        default: &'static str,
        parse: fn(&[u8]) -> Result<T, BadSetting>,
    ) -> Self {
        Self {
            name,
            default,
            parse,
            value: Mutex::new(None),
        }
    }

    /// What the value in force means.
    pub fn get(&self) -> Arc<T> {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let meaning = value.as_ref().map(|(_, meaning)| Arc::clone(meaning));
        meaning.unwrap_or_default()
    }
}

/// A [`Text`], whatever it means.
pub trait AnyText: Sync {
    fn name(&self) -> &'static str;
    fn default(&self) -> &'static str;
    /// The value in force, as it was set.
    fn as_set(&self) -> Vec<u8>;
    /// Put a value in force; says whether it is another one than before.
    fn set(&self, text: &[u8]) -> Result<bool, BadSetting>;
}

impl<T: Default + Send + Sync> AnyText for Text<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn default(&self) -> &'static str {
        self.default
    }

    fn as_set(&self) -> Vec<u8> {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let text = value.as_ref().map(|(text, _)| text.clone());
        text.unwrap_or_else(|| self.default.into())
    }

    fn set(&self, text: &[u8]) -> Result<bool, BadSetting> {
        let meaning = (self.parse)(text)?;
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = value.as_ref().is_none_or(|(before, _)| before != text);
        // The same text keeps its meaning, which others may hold against theirs.
        if changed {
            *value = Some((text.to_vec(), Arc::new(meaning)));
        }
        Ok(changed)
    }
}

/// Age in seconds above which a coordinator is stale, unless THRESHOLD says otherwise.
pub static THRESHOLD_SECONDS: Setting = Setting::new(
    "threshold-seconds",
    600,
    crate::commands::table::THRESHOLD_S.min as i64,
    MAX_SECONDS,
);

/// How long a slice of a run may hold the main thread, in microseconds.
pub static SLICE_US: Setting = Setting::new("slice-us", 250, 50, 100_000);

/// Share of the main thread that a run may use while clients have work, in percent.
pub static CPU_PERCENT: Setting = Setting::new("cpu-percent", 25, 1, 100);

/// The same while no client has work, for machines whose processors have other work; a limit for the share of a busy
/// server, too.
pub static IDLE_CPU_PERCENT: Setting = Setting::new("idle-cpu-percent", 100, 1, 100);

/// A longer heartbeat is unreadable: parsing it would stall the server.
pub static MAX_HEARTBEAT_BYTES: Setting =
    Setting::new("max-heartbeat-bytes", 65_536, 64, 16 << 20).in_bytes();

/// A beat further back than this is none: a number of an unknown unit looks so. Beyond 25 years ago numbers that are
/// written today in other units and epochs would fall inside.
pub static BEAT_WINDOW_DAYS: Setting = Setting::new("beat-window-days", 3650, 1, 9125);

/// What a run may keep of the keys it walked over.
pub static COLLECT_MAX_BYTES: Setting =
    Setting::new("collect-max-bytes", 512 << 20, 64 << 10, 1 << 40).in_bytes();

/// How long a run whose caller's connection went away waits for the same command, in seconds; 0 ends it at
/// once.
pub static LINGER_SECONDS: Setting = Setting::new("linger-seconds", 15, 0, 3_600);

/// Seconds between two rounds of the schedule; 0 switches it off.
pub static INTERVAL_SECONDS: Setting = Setting::new("interval-seconds", 0, 0, MAX_SECONDS);

/// Age from which scheduled runs remove orphans, in seconds; 0 leaves them.
pub static ORPHAN_GRACE_SECONDS: Setting = Setting::new("orphan-grace-seconds", 0, 0, MAX_SECONDS);

/// How long no scheduled run judges after a start, a load or a promotion, in seconds; -1 stands for the threshold.
pub static WARM_UP_SECONDS: Setting = Setting::new("warm-up-seconds", -1, -1, MAX_SECONDS);

/// Scheduled runs remove nothing if more than this share of the coordinators is stale, in percent.
pub static MAX_STALE_PERCENT: Setting = Setting::new("max-stale-percent", 50, 1, 100);

/// Ten years, as long as the longest threshold.
const MAX_SECONDS: i64 = crate::commands::table::THRESHOLD_S.max as i64;

/// Scheduled runs remove nothing and report what would go.
pub static DRY_RUN: Switch = Switch::new("dry-run", false);

/// Scheduled runs remove only what the one before saw in the same state.
pub static SECOND_LOOK: Switch = Switch::new("second-look", true);

/// How many databases the server has; learned at load.
pub static SERVER_DATABASES: AtomicU32 = AtomicU32::new(1);

/// The databases of the schedule.
pub static DATABASES: Text<Vec<u32>> = Text::new("databases", "0", |text| {
    databases::parse(text, SERVER_DATABASES.load(Ordering::Relaxed))
});

/// Ids whose keys are never removed.
pub static PROTECT: Text<Protected> = Text::new("protect", "", Protected::parse);

/// The layout of keys.
pub static FAMILIES: Text<Layout> = Text::new("families", layout_syntax::DEFAULT, Layout::parse);

/// Which fields of a heartbeat hold a time.
pub static TIME_FIELDS: Text<TimeFields> =
    Text::new("time-fields", time_fields::DEFAULT, TimeFields::parse);

/// What a date without a zone means.
pub static ZONELESS: Text<Zoneless> = Text::new("zoneless", "refuse", Zoneless::parse);

/// What the operator of a cluster says of hash tags.
pub static CLUSTER_TAGS: Text<ClusterTags> =
    Text::new("cluster-tags", ClusterTags::DEFAULT, ClusterTags::parse);

/// The stream that obituaries are written to; empty for none. Behind the families, which it is held against when the
/// configuration is read.
pub static OBITUARY_STREAM: Text<Stream> = Text::new("obituary-stream", "", Stream::parse);

/// How many obituaries the stream keeps, about.
pub static OBITUARY_MAXLEN: Setting = Setting::new("obituary-maxlen", 10_000, 1, 1_000_000_000);

/// The length of a warm-up in seconds.
pub fn warm_up_s() -> u64 {
    let seconds = u64::try_from(WARM_UP_SECONDS.as_set());
    seconds.unwrap_or_else(|_| THRESHOLD_SECONDS.get())
}

/// Every setting that is a number, in the order of the documentation.
pub static NUMBERS: [&Setting; 13] = [
    &THRESHOLD_SECONDS,
    &SLICE_US,
    &CPU_PERCENT,
    &IDLE_CPU_PERCENT,
    &MAX_HEARTBEAT_BYTES,
    &BEAT_WINDOW_DAYS,
    &COLLECT_MAX_BYTES,
    &LINGER_SECONDS,
    &INTERVAL_SECONDS,
    &ORPHAN_GRACE_SECONDS,
    &WARM_UP_SECONDS,
    &MAX_STALE_PERCENT,
    &OBITUARY_MAXLEN,
];

/// Every setting that is `yes` or `no`.
pub static SWITCHES: [&Switch; 2] = [&DRY_RUN, &SECOND_LOOK];

/// Every setting that is text. None may take a NUL byte: CONFIG REWRITE would compare what stands before it with the
/// default, and leave the setting out.
pub static TEXTS: [&dyn AnyText; 7] = [
    &DATABASES,
    &PROTECT,
    &FAMILIES,
    &TIME_FIELDS,
    &ZONELESS,
    &OBITUARY_STREAM,
    &CLUSTER_TAGS,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_takes_a_nul_byte() {
        for text in TEXTS {
            for value in [
                format!("{}\0", text.default()),
                format!("\0 {}", text.default()),
            ] {
                let refused = text.set(value.as_bytes());
                assert!(refused.is_err(), "{} {value:?}", text.name());
            }
        }
    }
}
