//! From how many stale coordinators on script A fails, found by trying. Any other error is an error here, too.

use anyhow::Result;
use blocking_harness::known::Found;
use indicatif::ProgressBar;

use crate::contenders::ScriptA;
use crate::fixture::Fixture;
use crate::record::Figures;
use crate::round;
use crate::workloads::{Rounds, Workload};

/// The first size that is tried; it doubles until one fails. Every step costs four times the one before, so the best
/// start is a little below a half or a quarter of the limit.
const FIRST: usize = 350;

/// The smallest number of stale coordinators of six keys at which it was seen to fail, within a twentieth.
pub fn script_a_fails_from(found: &Found) -> Result<usize> {
    first_failure(FIRST, |stale| {
        let workload = Workload {
            name: "script limit".to_owned(),
            stale,
            live: 0,
            foreign: 0,
            acks: 0,
            rounds: Rounds::default(),
        };
        let fixture = Fixture::make(found, &workload, &ProgressBar::hidden())?;
        let figures = round::timed(&fixture, &ScriptA::default())?;
        Ok(matches!(figures, Figures::NotRun { .. }))
    })
}

fn first_failure(first: usize, mut fails: impl FnMut(usize) -> Result<bool>) -> Result<usize> {
    let (mut good, mut bad) = (0, first);
    while !fails(bad)? {
        (good, bad) = (bad, bad * 2);
    }
    while bad - good > (bad / 20).max(1) {
        let middle = good.midpoint(bad);
        match fails(middle)? {
            true => bad = middle,
            false => good = middle,
        }
    }
    Ok(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_found_within_a_twentieth() {
        for limit in [1, 499, 500, 1_333, 40_000] {
            let mut tried = Vec::new();
            let found = first_failure(500, |size| {
                tried.push(size);
                Ok(size >= limit)
            });
            let found = found.unwrap();
            assert!(
                found >= limit && found - limit <= found / 20 + 1,
                "{limit}: {found}"
            );
            assert!(tried.contains(&found), "{tried:?}");
        }
    }

    #[test]
    fn another_error_is_an_error() {
        assert!(first_failure(500, |_| anyhow::bail!("no server")).is_err());
    }
}
