//! The schedule of this server: when a run is due, and what is remembered from one to the next.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis_module::raw;

use crate::heartbeat::fingerprint::Fingerprinter;
use crate::plan::second_look::{Fingerprints, SecondLook};
use crate::redis::api::system;
use crate::redis::api::{self, Level, RedisModuleCtx};
use crate::reply::value::Value;
use crate::report::Report;
use crate::scan::fingerprints::SeenFingerprints;
use crate::schedule::kept_away::{Absence, Tried};
use crate::schedule::{Busy, Change, Noticed, Outlook, Schedule, Wanted};
use crate::settings;

/// What belongs to the schedule; none while the module is not loaded.
#[derive(Debug)]
struct Keeper {
    schedule: Schedule,
    /// One key for all fingerprints.
    prints: Fingerprinter,
}

/// Locked for moments only, and never while the server is called.
static KEEPER: Mutex<Option<Keeper>> = Mutex::new(None);

fn keeper() -> MutexGuard<'static, Option<Keeper>> {
    KEEPER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn with_schedule<T>(use_it: impl FnOnce(&mut Schedule) -> T) -> Option<T> {
    keeper().as_mut().map(|keeper| use_it(&mut keeper.schedule))
}

/// Begin with nothing known; at load only.
pub fn load(ctx: *mut RedisModuleCtx) {
    let is_replica = api::context_flags(ctx) & raw::REDISMODULE_CTX_FLAGS_MASTER == 0;
    *keeper() = Some(Keeper {
        schedule: Schedule::new(system::monotonic_us(), is_replica),
        prints: Fingerprinter::default(),
    });
}

/// Forget everything.
pub fn unload() {
    *keeper() = None;
}

/// Use what the settings say now.
fn with_wanted<T>(use_them: impl FnOnce(Wanted) -> T) -> T {
    let databases = settings::DATABASES.get();
    use_them(Wanted {
        interval_s: settings::INTERVAL_SECONDS.get(),
        warm_up_s: settings::warm_up_s(),
        databases: &databases,
    })
}

/// The database of a scheduled run that is due now, if the place is not taken.
pub fn due(busy: Busy) -> Option<u32> {
    let now_us = system::monotonic_us();
    let mut random = || RandomState::new().build_hasher().finish();
    with_wanted(|wanted| {
        with_schedule(|schedule| schedule.tick(now_us, wanted, busy, &mut random)).flatten()
    })
}

/// The run that was due could not begin.
pub fn give_way() {
    with_schedule(Schedule::give_way);
}

/// What the scheduled run of this database that begins now knows of the one before; `None` if it looks only
/// once.
pub fn fingerprints_before(database: u32) -> Option<SecondLook> {
    let (now_us, interval_s) = (system::monotonic_us(), settings::INTERVAL_SECONDS.get());
    let before = |schedule: &Schedule| schedule.fingerprints_before(database, now_us, interval_s);
    settings::SECOND_LOOK
        .get()
        .then(|| second_look(before))
        .flatten()
}

/// What the next scheduled run of this database would know of earlier ones; `None` if there is
/// none to come, or it looks only once.
pub fn fingerprints_for_the_next(database: i32) -> Option<SecondLook> {
    let database = u32::try_from(database).ok()?;
    let is_on = settings::INTERVAL_SECONDS.get() > 0 && settings::SECOND_LOOK.get();
    let is_listed = settings::DATABASES.get().contains(&database);
    (is_on && is_listed)
        .then(|| second_look(|schedule| schedule.fingerprints(database)))
        .flatten()
}

fn second_look(before: impl FnOnce(&Schedule) -> Arc<Fingerprints>) -> Option<SecondLook> {
    let listed = settings::DATABASES.get().len();
    keeper().as_ref().map(|keeper| SecondLook {
        prints: keeper.prints.clone(),
        before: before(&keeper.schedule),
        most: Schedule::most_fingerprints(listed),
        seen: SeenFingerprints::default(),
    })
}

/// A scheduled run knows which coordinators are stale: the next one should know it, too.
pub fn remember(database: i32, fingerprints: Fingerprints) {
    if let Ok(database) = u32::try_from(database) {
        with_schedule(|schedule| schedule.remember(database, fingerprints));
    }
}

/// A scheduled run is over; says what goes into the log.
pub fn ended(database: i32, report: &Report) -> Change {
    let database = u32::try_from(database).unwrap_or_default();
    let now_us = system::monotonic_us();
    with_schedule(|schedule| schedule.ended(now_us, database, report)).unwrap_or(Change::None)
}

/// No client could write for so long, until now.
pub fn stood_still(missed_us: u64) {
    let (now_us, warm_up_s) = (system::monotonic_us(), settings::warm_up_s());
    with_schedule(|schedule| schedule.keep_away(now_us, missed_us, warm_up_s));
}

/// Whether it is time to try a write.
pub fn is_a_write_due(now_us: u64) -> bool {
    with_schedule(|schedule| schedule.is_a_write_due(now_us)).unwrap_or_default()
}

/// A write was tried.
pub fn tried_a_write(now_us: u64, tried: Tried) -> Noticed {
    let warm_up_s = settings::warm_up_s();
    with_schedule(|schedule| schedule.tried_a_write(now_us, tried, warm_up_s)).unwrap_or_default()
}

/// Why the warm-up is on, if writers were kept away.
pub fn absence() -> Option<Absence> {
    let (now_us, warm_up_s) = (system::monotonic_us(), settings::warm_up_s());
    with_schedule(|schedule| schedule.absence(now_us, warm_up_s)).flatten()
}

/// The server loads, or has loaded, another data set.
pub fn on_loading() {
    with_schedule(|schedule| schedule.start_warm_up(system::monotonic_us()));
}

/// The server has become a replica, or a primary.
pub fn on_role(is_replica: bool) {
    with_schedule(|schedule| schedule.change_role(system::monotonic_us(), is_replica));
}

/// A database was flushed or swapped; all of them if its number is negative.
pub fn on_flush(database: i32) {
    with_schedule(|schedule| schedule.forget(u32::try_from(database).ok()));
}

/// Seconds until the warm-up is over.
pub fn warm_up_left_s() -> u64 {
    let now_us = system::monotonic_us();
    let left_s = with_schedule(|schedule| schedule.warm_up_left_s(now_us, settings::warm_up_s()));
    left_s.unwrap_or_default()
}

/// The end of the warm-up, past or to come, in microseconds of the monotonic clock; none on a
/// replica.
pub fn judging_since_us() -> Option<u64> {
    with_schedule(|schedule| schedule.judging_since_us(settings::warm_up_s())).flatten()
}

/// How things stand for this database.
pub fn outlook(database: u32) -> Outlook {
    let (now_us, warm_up_s) = (system::monotonic_us(), settings::warm_up_s());
    with_schedule(|schedule| schedule.outlook(now_us, warm_up_s, database)).unwrap_or_default()
}

/// The field `schedule` of STATUS.
/// `refusal` is what the server says where it refuses writes.
pub fn status(refusal: Option<&str>) -> Value {
    let (now_us, dry_run) = (system::monotonic_us(), settings::DRY_RUN.get());
    with_wanted(|wanted| with_schedule(|s| s.to_value(now_us, wanted, dry_run, refusal)))
        .unwrap_or(Value::Null)
}

/// The fields of INFO, without the module's name.
pub fn info_fields() -> Vec<(String, u64)> {
    let now_us = system::monotonic_us();
    let fields = with_wanted(|wanted| {
        with_schedule(|schedule| schedule.info_fields(now_us, wanted).to_vec()).unwrap_or_default()
    });
    let patterns = settings::PROTECT.get().patterns() as u64;
    let all = fields.into_iter().chain([("protect_patterns", patterns)]);
    all.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Log the end of a run of the schedule. An open breaker is in the log once, and then again when it
/// closes.
pub fn log_change(ctx: *mut RedisModuleCtx, change: Change, report: &Report, database: i32) {
    let reason = report.reason.as_deref().unwrap_or_default();
    match change {
        Change::None | Change::StillOpen => {}
        Change::Opened => {
            let line = format!(
                "schedule: {reason} in database {database}; scheduled runs remove nothing there \
                 until the share falls (blocking.max-stale-percent)"
            );
            api::log(ctx, Level::Warning, &line);
        }
        Change::Closed => {
            let line = format!("schedule: the breaker of database {database} is closed again");
            api::log(ctx, Level::Notice, &line);
        }
    }
}
