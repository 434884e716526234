//! Keyspaces of a few keys each. A coordinator called dead is dead beyond doubt, and so is a living one alive.

/// The usual keys, and the border between dead and alive.
mod border;
/// Heartbeats that expire, and keys that scripts do not know.
mod keys;
/// Ids that are more than letters and digits.
mod names;
/// How heartbeats give their time.
mod times;

use anyhow::Result;

use crate::case::{Case, Contender, Now, Outcome, Pair, Row, hold};

/// All of them, in the order of the page.
pub fn all(now: Now) -> Vec<Case> {
    [border::cases, names::cases, times::cases, keys::cases]
        .into_iter()
        .flat_map(|cases| cases(now))
        .collect()
}

/// A case with no options; the outcomes are those of the shell script, the Lua script and the module.
fn case(
    title: &'static str,
    dead: Vec<Pair>,
    living: Vec<Pair>,
    [shell, lua, module]: [Outcome; 3],
) -> Case {
    Case {
        row: Row {
            title,
            shell,
            lua,
            module,
        },
        dead,
        living,
        options: &[],
        is_exact: false,
    }
}

#[test]
fn the_usual_keys_and_the_border() -> Result<()> {
    hold(border::cases, &Contender::ALL)
}

#[test]
fn ids() -> Result<()> {
    hold(names::cases, &Contender::ALL)
}

#[test]
fn times_of_heartbeats() -> Result<()> {
    hold(times::cases, &Contender::ALL)
}

#[test]
fn keys_of_other_kinds() -> Result<()> {
    hold(keys::cases, &Contender::ALL)
}
