//! Globs against the server's own matcher, transcribed; and no glob may make a match slow.
#![no_main]

use std::time::Duration;

use blocking_cleanup_fuzz::keys::pattern::{MAX_PATTERN_BYTES, Pattern};
use blocking_cleanup_fuzz::oracle_pattern::stringmatchlen;
use blocking_cleanup_fuzz::reply::error::Error;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

/// What globs and ids are spelled with.
const LETTERS: &[u8] = b"aabbc*?[]^-\\:\0\x7f\x80\xff*[]";

/// An id this long, matched by a glob of `g` bytes, may take `g` steps a byte; a backtracking matcher takes far
/// longer than a test can wait.
const LONG_ID_BYTES: usize = 4_096;
/// A step with all the checks of a fuzzing build; some ten times what it takes.
const STEP_NS: u64 = 200;
const OVERHEAD: Duration = Duration::from_millis(50);

fuzz_target!(|data: &[u8]| {
    let mut from = Unstructured::new(data);
    let _ = run(&mut from);
});

fn spelled(from: &mut Unstructured, most: usize) -> Result<Vec<u8>> {
    let length = from.int_in_range(0..=most)?;
    if from.ratio(1, 8)? {
        return Ok(from.bytes(length)?.to_vec());
    }
    (0..length).map(|_| Ok(*from.choose(LETTERS)?)).collect()
}

/// An id that the glob may well fit: its bytes one by one, each special one replaced by something that it could mean.
fn fitting(from: &mut Unstructured, glob: &[u8]) -> Result<Vec<u8>> {
    let mut id = Vec::new();
    let mut rest = glob;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'*' => id.extend(spelled(from, 2)?),
            b'?' => id.push(*from.choose(LETTERS)?),
            b'[' => {
                // Where the class ends is for the matchers to say; mostly it is at the next bracket.
                let end = rest.iter().position(|byte| *byte == b']');
                let end = end.map_or(rest.len(), |end| {
                    end + usize::from(from.ratio(1, 8).unwrap_or(false))
                });
                let (class, after) = rest.split_at(end);
                let of_class = !class.is_empty() && from.ratio(3, 4)?;
                id.push(*from.choose(if of_class { class } else { LETTERS })?);
                rest = after.strip_prefix(b"]").unwrap_or(after);
            }
            b'\\' if !rest.is_empty() => {}
            _ => id.push(*byte),
        }
    }
    Ok(id)
}

fn run(from: &mut Unstructured) -> Result<()> {
    let times = if from.ratio(1, 64)? {
        from.int_in_range(2..=64)?
    } else {
        1
    };
    let most = *from.choose(&[4, 6, 10, 24])?;
    let glob = spelled(from, most)?.repeat(times);
    let pattern = match Pattern::new(&glob) {
        Ok(pattern) => pattern,
        Err(error) => {
            assert_eq!(
                error,
                Error::PatternLength {
                    got_bytes: glob.len()
                }
            );
            assert!(
                glob.is_empty() || glob.len() > MAX_PATTERN_BYTES,
                "refused: {glob:?}"
            );
            return Ok(());
        }
    };
    assert!(
        (1..=MAX_PATTERN_BYTES).contains(&glob.len()),
        "accepted: {} bytes",
        glob.len()
    );
    assert_eq!(pattern.source(), glob);
    for number in 0..from.int_in_range(2..=12)? {
        let id = if number % 4 == 0 {
            spelled(from, 8)?
        } else {
            fitting(from, &glob)?
        };
        // The server's matcher does not see `*` fit the empty text; there is no empty id.
        if !id.is_empty() {
            let shown = || format!("{} for {}", glob.escape_ascii(), id.escape_ascii());
            assert_eq!(
                pattern.matches(&id),
                stringmatchlen(&glob, &id),
                "{}",
                shown()
            );
        }
    }
    if from.ratio(1, 128)? {
        let piece = spelled(from, 4)?;
        if !piece.is_empty() {
            check_time(&pattern, &piece.repeat(LONG_ID_BYTES / piece.len()));
        }
    }
    Ok(())
}

/// Time of this thread alone, so that a busy machine makes no find.
fn check_time(pattern: &Pattern, id: &[u8]) {
    let before = thread_time();
    pattern.matches(id);
    let took = thread_time() - before;
    let steps = (pattern.source().len() * id.len()) as u64;
    let allowed = OVERHEAD + Duration::from_nanos(steps * STEP_NS);
    let glob = pattern.source().escape_ascii();
    assert!(took <= allowed, "{took:?}, allowed {allowed:?}: {glob}");
}

fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}
