//! Waiting for something to become true, with a deadline and a message that says what was waited for.
//! Must never wait for a fixed time in the hope that it suffices.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What a test says that came too late to act in the middle of something, for the machine had other work. It has shown
/// nothing then, neither good nor bad, and is run again by itself.
pub const TOO_LATE: &str = "too late: it was over before the test could look";

/// How long to rest between two looks: short enough for tests, long enough not to disturb a measurement.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How many times longer than usual everything may take: for servers that run under a tool that slows them down.
pub const PATIENCE: &str = "BLOCKING_PATIENCE";

/// The factor of [`PATIENCE`], 1 unless it is set.
pub fn patience() -> u32 {
    let factor = std::env::var(PATIENCE).ok();
    factor.and_then(|factor| factor.parse().ok()).unwrap_or(1)
}

/// A deadline that takes [`PATIENCE`] into account.
pub fn stretched(deadline: Duration) -> Duration {
    deadline * patience()
}

/// Looks until `look` yields a value. `what` completes the sentence "waited for ...".
pub fn wait_until<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T> {
    let (started, within) = (Instant::now(), stretched(within));
    loop {
        if let Some(value) = look() {
            return Ok(value);
        }
        if started.elapsed() >= within {
            bail!("waited {within:?} for {what}, in vain");
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Looks until `good` accepts what `look` yields; when it never does, the error shows the last value seen.
pub fn wait_for_value<T: Debug>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Result<T>,
    good: impl Fn(&T) -> bool,
) -> Result<T> {
    let (started, within) = (Instant::now(), stretched(within));
    loop {
        let value = look()?;
        if good(&value) {
            return Ok(value);
        }
        if started.elapsed() >= within {
            bail!("waited {within:?} for {what}, in vain; last seen: {value:?}");
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yields_the_first_value_that_is_there() {
        let mut looks = 0;
        let found = wait_until("the third look", Duration::from_secs(5), || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found.unwrap(), 3);
    }

    #[test]
    fn a_failure_says_what_was_waited_for_and_what_was_seen() {
        let short = Duration::from_millis(5);
        let error = wait_until("the moon", short, || None::<()>).unwrap_err();
        assert!(error.to_string().contains("the moon"));
        let error = wait_for_value("seven", short, || Ok(6), |n| *n == 7).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("for seven, in vain; last seen: 6")
        );
    }
}
