//! Random choices that can be made again.

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

/// Names the seed of an earlier test, to repeat its choices.
pub const SEED: &str = "BLOCKING_SEED";

/// The seed given, or another one each time; printed, so that a failure can be looked at twice.
pub fn seed() -> Result<u64> {
    let seed = match env::var(SEED) {
        Ok(given) => given
            .parse()
            .with_context(|| format!("{SEED} is {given}, not a number"))?,
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as u64,
    };
    eprintln!("{SEED}={seed}");
    Ok(seed)
}
