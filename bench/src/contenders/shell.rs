//! The shell: redis-cli for every step of every coordinator, like a shell script that cron runs. It takes hours for
//! ten thousand coordinators, so it cleans up a few, and the rest is extrapolated.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use blocking_harness::FAMILY_SIZE;
use blocking_harness::redis::Connection;

use super::{Contender, Done, SHELL};
use crate::fixture::Fixture;

/// Key names in one command line.
const ARGUMENTS: usize = 1_000;
/// In a larger database the sample is a single coordinator.
const SMALL: u64 = 1_000_000;
const SAMPLE: usize = 5;

pub struct Shell;

impl Contender for Shell {
    fn name(&self) -> &'static str {
        SHELL
    }

    fn what(&self) -> &'static str {
        "redis-cli for every coordinator: GET, SCAN for acks, SCAN for idempotency keys, DEL; a few are timed, the rest is extrapolated"
    }

    fn run(&self, fixture: &Fixture, _conn: &mut Connection) -> Result<Done> {
        let all = fixture.stale.len();
        let some = if fixture.keys() < SMALL { SAMPLE } else { 1 };
        let sample = some.min(all);
        let mut removed = 0;
        for id in &fixture.stale.ids()[..sample] {
            removed += clean_up(fixture.server.port(), id)?;
        }
        Ok(Done {
            sample: (sample < all).then_some(sample),
            ..Done::removed(removed)
        })
    }
}

/// How many keys go with the first `sample` of `all` stale coordinators: their families, and the idempotency key that
/// the last coordinator sent to the first.
pub fn removed_with(sample: usize, all: usize) -> u64 {
    (sample * FAMILY_SIZE + usize::from(sample < all)) as u64
}

fn clean_up(port: u16, id: &str) -> Result<u64> {
    let heartbeat = format!("blocking:heartbeat:{id}");
    ensure!(
        !redis_cli(port, &["GET", &heartbeat])?.trim().is_empty(),
        "no {heartbeat}"
    );
    let mut keys = Vec::new();
    for pattern in [
        format!("blocking:ack:{id}:*"),
        format!("blocking:idempotency:*{id}:*"),
    ] {
        let found = redis_cli(port, &["--scan", "--pattern", &pattern])?;
        keys.extend(found.lines().map(str::to_owned));
    }
    keys.extend([
        format!("blocking:signal:{id}"),
        format!("coordinator:activity:{id}"),
        format!("swarm:demo:blocking:{id}"),
        heartbeat,
    ]);
    // DEL counts a key once, even if SCAN has reported it twice.
    let mut removed = 0;
    for keys in keys.chunks(ARGUMENTS) {
        let words: Vec<&str> = ["DEL"]
            .into_iter()
            .chain(keys.iter().map(String::as_str))
            .collect();
        let said = redis_cli(port, &words)?;
        removed += said
            .trim()
            .parse::<u64>()
            .with_context(|| format!("DEL said {said}"))?;
    }
    Ok(removed)
}

fn redis_cli(port: u16, words: &[&str]) -> Result<String> {
    let mut command = Command::new("redis-cli");
    let output = command.args(["-p", &port.to_string()]).args(words).output();
    let output = output.context("cannot start redis-cli; `make setup` installs it")?;
    ensure!(
        output.status.success(),
        "redis-cli {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_sample_takes_the_last_ones_idempotency_key_along() {
        assert_eq!(super::removed_with(5, 9_900), 31);
        assert_eq!(super::removed_with(5, 5), 30);
    }
}
