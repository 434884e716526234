//! What earlier runs saw of keys that do not tell their age, by database.

use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::keys::layout::Layout;
use crate::orphans::first_seen::{FirstSeen, MAX_KEYS};
use crate::redis::api::system;

#[derive(Debug)]
struct Memory {
    /// What had no owner was so by this layout.
    layout: Arc<Layout>,
    /// Makes the prints; secret, so that no client can choose keys that collide.
    key: RandomState,
    databases: HashMap<i32, Arc<FirstSeen>>,
}

/// Made when it is first needed, and gone again with everything that was seen.
static MEMORY: Mutex<Option<Memory>> = Mutex::new(None);

fn lock() -> MutexGuard<'static, Option<Memory>> {
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner)
}

fn new(layout: &Arc<Layout>) -> Memory {
    Memory {
        layout: Arc::clone(layout),
        key: RandomState::new(),
        databases: HashMap::new(),
    }
}

/// Forget a database, whose data is not what it was; all of them if its number is negative.
pub fn forget(database: i32) {
    let mut memory = lock();
    if database < 0 {
        *memory = None;
    } else if let Some(memory) = memory.as_mut() {
        memory.databases.remove(&database);
    }
}

/// What a run that reads names by this layout needs to know: what was seen in its database, and how
/// prints are made. What was seen by another layout is forgotten.
pub fn of(database: i32, layout: &Arc<Layout>) -> (Arc<FirstSeen>, RandomState) {
    let mut memory = lock();
    if memory
        .as_ref()
        .is_some_and(|known| !Arc::ptr_eq(&known.layout, layout))
    {
        *memory = None;
    }
    let memory = memory.get_or_insert_with(|| new(layout));
    let seen = memory.databases.get(&database).cloned();
    (seen.unwrap_or_default(), memory.key.clone())
}

/// How many keys of this database may be remembered, for what others take.
pub fn room(database: i32) -> usize {
    let memory = lock();
    let others = memory.iter().flat_map(|memory| &memory.databases);
    let taken = others
        .filter(|(number, _)| **number != database)
        .fold(0usize, |sum, (_, seen)| sum.saturating_add(seen.len()));
    MAX_KEYS.saturating_sub(taken)
}

/// Put what a run saw in the place of what was seen before. Without effect if all was forgotten
/// since the run began.
pub fn remember(database: i32, seen: FirstSeen) {
    if let Some(memory) = lock().as_mut() {
        memory.databases.insert(database, Arc::new(seen));
    }
}

/// Whole seconds of the clock by which it is remembered what was seen.
pub fn now_s() -> u32 {
    u32::try_from(system::monotonic_us() / 1_000_000).unwrap_or(u32::MAX)
}
