//! Wishes that a run should end, left by callbacks that must not touch the run itself.
//!
//! Commands, disconnects and server events can come at any moment between two slices, and from
//! inside calls that a slice makes. They only leave a note here; the next slice reads it.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, Ordering};

/// Why a run should end before it is done, the graver reason after the lighter one: a failover,
/// for example, first takes the caller away and then tells of the new role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StopReason {
    CallerGone = 1,
    Cancelled,
    ManualRun,
    /// A query makes room.
    Cleanup,
    ProtectChanged,
    StoodStill,
    WritesRefused,
    Flushed,
    Swapped,
    Loading,
    UserGone,
    RoleChanged,
    TooManyBorn,
    InternalError,
}

impl StopReason {
    /// What replies and logs say.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled by BLOCKING.CANCEL",
            Self::ManualRun => "a manual run took its place",
            Self::Cleanup => "a cleanup took its place",
            Self::ProtectChanged => "blocking.protect changed",
            Self::StoodStill => "the server stood still, or its clock was set forward",
            Self::WritesRefused => "the server refused writes for a while",
            Self::CallerGone => "the caller went away",
            Self::Flushed => "the database was flushed",
            Self::Swapped => "the database was swapped",
            Self::Loading => "the server loaded another data set",
            Self::UserGone => "the caller's ACL user is gone",
            Self::RoleChanged => "the server's role changed",
            Self::TooManyBorn => "too many heartbeats appeared during the run",
            Self::InternalError => "internal error",
        }
    }

    const ALL: [Self; 14] = [
        Self::Cancelled,
        Self::CallerGone,
        Self::ManualRun,
        Self::Cleanup,
        Self::ProtectChanged,
        Self::StoodStill,
        Self::WritesRefused,
        Self::Flushed,
        Self::Swapped,
        Self::Loading,
        Self::UserGone,
        Self::RoleChanged,
        Self::TooManyBorn,
        Self::InternalError,
    ];
}

// One that is left out would be wished for in vain.
const _: () = assert!(StopReason::ALL.len() == StopReason::InternalError as usize);

/// No run, no database.
const NO_DB: i32 = -1;

static WISH: AtomicU8 = AtomicU8::new(0);
static DB: AtomicI32 = AtomicI32::new(NO_DB);

/// Tells a worker thread to stop planning.
pub static STOP_WORKER: AtomicBool = AtomicBool::new(false);

/// A run over this database begins: forget what was left for earlier ones.
pub fn begin(db: i32) {
    WISH.store(0, Ordering::Relaxed);
    STOP_WORKER.store(false, Ordering::Relaxed);
    DB.store(db, Ordering::Relaxed);
}

/// The run has ended.
pub fn over() {
    DB.store(NO_DB, Ordering::Relaxed);
}

/// The database of the run under way.
pub fn running_db() -> Option<i32> {
    let db = DB.load(Ordering::Relaxed);
    (db != NO_DB).then_some(db)
}

/// Ask the run under way to end. Of several wishes before the next slice the gravest counts.
pub fn wish(end: StopReason) {
    if running_db().is_some() {
        WISH.fetch_max(end as u8, Ordering::Relaxed);
        STOP_WORKER.store(true, Ordering::Relaxed);
    }
}

/// The wish that the run under way should end, if there is one.
pub fn wished() -> Option<StopReason> {
    let wish = WISH.load(Ordering::Relaxed);
    StopReason::ALL.into_iter().find(|end| *end as u8 == wish)
}
