//! Random keyspaces, cleaned up on a server and compared key by key with an independent slow model.
//!
//! Every keyspace has a seed of its own. A failure prints the seed, the line that plays this keyspace again, and the
//! smallest part of the keyspace that still fails. `BLOCKING_KEYSPACES` says how many, `BLOCKING_SEED` where to begin.

use std::env;

use anyhow::{Context, Result, bail};
use blocking_harness::{Figure, seed, tally};

/// What a heartbeat says, read a second time.
mod beats;
/// Random keyspaces.
mod generate;
/// What they are made of.
mod keyspace;
/// What must come of a run.
mod model;
/// What must become of orphans.
mod orphans;
/// One keyspace on a server.
mod play;

use keyspace::{Keyspace, Question};
use play::Player;

const KEYSPACES: u64 = 500;
/// Making a failing keyspace smaller ends after so many comparisons.
const SHRINKS_MAX: usize = 2_000;

fn keyspaces() -> Result<u64> {
    match env::var("BLOCKING_KEYSPACES") {
        Ok(given) => given.parse().context("BLOCKING_KEYSPACES is no number"),
        Err(_) => Ok(KEYSPACES),
    }
}

#[test]
fn random_keyspaces_end_as_the_model_says() -> Result<()> {
    let (keyspaces, first) = (keyspaces()?, seed()?);
    let player = Player::start()?;
    for n in 0..keyspaces {
        let seed = first.wrapping_add(n);
        let keyspace = generate::keyspace(seed);
        if let Err(why) = player.play(&keyspace) {
            let (smaller, why) = shrunk(&player, keyspace, why);
            bail!(
                "keyspace {n} of {keyspaces}, seed {seed}: {why:#}\n\nWhat is left of it and still fails:\n{smaller}\n\
                 To play it again:\n  BLOCKING_SEED={seed} BLOCKING_KEYSPACES=1 cargo test --locked --test keyspaces"
            );
        }
    }
    tally(Figure::KeyspacesCompared, keyspaces)
}

/// Takes away what can be taken away while the comparison still fails.
fn shrunk(
    player: &Player,
    mut keyspace: Keyspace,
    mut why: anyhow::Error,
) -> (Keyspace, anyhow::Error) {
    let mut left = SHRINKS_MAX;
    let mut fails = |smaller: &Keyspace| {
        left = left.checked_sub(1)?;
        player.play(smaller).err()
    };
    let mut again = true;
    while again {
        again = false;
        for n in (0..keyspace.entries.len()).rev() {
            let mut smaller = keyspace.clone();
            smaller.entries.remove(n);
            if let Some(error) = fails(&smaller) {
                (keyspace, why, again) = (smaller, error, true);
            }
        }
    }
    let simpler: [fn(&mut Question); 5] = [
        |question| question.orphans = None,
        |question| question.pattern = None,
        |question| question.limit = None,
        |question| question.ids = None,
        |question| question.threshold_s = None,
    ];
    for simplify in simpler {
        let mut smaller = keyspace.clone();
        simplify(&mut smaller.question);
        if let Some(error) = fails(&smaller) {
            (keyspace, why) = (smaller, error);
        }
    }
    (keyspace, why)
}
