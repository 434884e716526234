//! Writing obituaries: one XADD for each coordinator that is wholly gone, in the slice that removed
//! its last key, so that AOF and replicas get both in one transaction.
//!
//! The entry is the server's own record: no user's ACL is asked. That it cannot be written takes
//! nothing back; it is counted, and said in the log once, until one can be written again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::keys::layout::Layout;
use crate::redis::api::{self, Answer, Level, OwnString, RedisModuleCtx, RedisModuleString, rm};
use crate::report::obituary::Obituaries;
use crate::settings;

static WRITTEN: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);
/// The last one could not be written, and the log says so.
static FAILING: AtomicBool = AtomicBool::new(false);

/// What an entry costs in the stream to replicas and AOF beside its words.
const WORD_OVERHEAD_BYTES: usize = 8;

/// Forget everything; at load, for the library may have been in memory before.
pub fn load() {
    WRITTEN.store(0, Ordering::Relaxed);
    FAILED.store(0, Ordering::Relaxed);
    FAILING.store(false, Ordering::Relaxed);
}

/// Obituaries for a run that reads names by this layout; none while they are switched off.
pub fn begin(run: u64, layout: &Layout) -> Option<Obituaries> {
    let stream = settings::OBITUARY_STREAM.get();
    let name = stream.0.clone();
    let is_family = layout.family_of(&name).is_some();
    let maxlen = settings::OBITUARY_MAXLEN.get();
    (!name.is_empty()).then(|| Obituaries::new(name, is_family, maxlen, run))
}

/// Write one for each coordinator that is wholly gone by now. Gives about how many bytes that is in the stream
/// to replicas.
pub fn write(ctx: *mut RedisModuleCtx, obituaries: &mut Obituaries) -> u64 {
    let mut bytes = 0usize;
    for words in obituaries.finished() {
        let outcome = if obituaries.is_family {
            Err("its name fits a template of blocking.families".to_owned())
        } else {
            add(ctx, &words)
        };
        match outcome {
            Ok(()) => {
                WRITTEN.fetch_add(1, Ordering::Relaxed);
                FAILING.store(false, Ordering::Relaxed);
                let size = |word: &Vec<u8>| word.len().saturating_add(WORD_OVERHEAD_BYTES);
                bytes = words.iter().map(size).fold(bytes, usize::saturating_add);
            }
            Err(why) => {
                FAILED.fetch_add(1, Ordering::Relaxed);
                if !FAILING.swap(true, Ordering::Relaxed) {
                    let line =
                        format!("obituaries cannot be written (blocking.obituary-stream): {why}");
                    api::log(ctx, Level::Warning, &line);
                }
            }
        }
    }
    bytes as u64
}

fn add(ctx: *mut RedisModuleCtx, words: &[Vec<u8>]) -> Result<(), String> {
    let words: Vec<OwnString> = words.iter().map(|word| OwnString::new(word)).collect();
    let mut arguments: Vec<*mut RedisModuleString> = words.iter().map(OwnString::as_ptr).collect();
    // SAFETY: 1, 2, 3; `v` takes an array and its length, and both outlive the call. `!ES` as with
    // UNLINK; `M` has the server refuse what it has no memory for.
    let reply = unsafe {
        rm!(RedisModule_Call)(
            ctx,
            c"XADD".as_ptr(),
            c"!ESMv".as_ptr(),
            arguments.as_mut_ptr(),
            arguments.len(),
        )
    };
    let answer = Answer::new(reply).ok_or("ERR the server gave no answer to XADD")?;
    match answer.error() {
        Some(text) => Err(String::from_utf8_lossy(text).trim().to_owned()),
        None => Ok(()),
    }
}

/// The fields of INFO, without the module's name.
pub fn info_fields() -> [(String, u64); 2] {
    [
        ("obituaries_written", &WRITTEN),
        ("obituaries_failed", &FAILED),
    ]
    .map(|(name, count)| (name.to_owned(), count.load(Ordering::Relaxed)))
}
