//! On the keyspace of every scenario, for every id that a key of it could name: EXPLAIN says exactly what CLEANUP
//! DRYRUN with MATCH for this id counts, with and without ORPHANS.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{Connection, cmd};
use blocking_harness::{Reply, Server};

use super::{explain, maps};
use crate::scenarios::{format, load};

/// A pattern that fits these bytes and no others.
fn exactly(id: &[u8]) -> Vec<u8> {
    id.iter().flat_map(|byte| [b'\\', *byte]).collect()
}

/// Every run of segments of every name: more ids than there are.
fn ids(keys: &BTreeSet<Vec<u8>>) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    for key in keys.iter().filter(|key| key.len() < 200) {
        let segments: Vec<&[u8]> = key.split(|byte| *byte == b':').collect();
        for from in 0..segments.len() {
            for to in from + 1..=segments.len() {
                found.insert(segments[from..to].join(&b':'));
            }
        }
    }
    found.retain(|id| !id.is_empty() && id.len() <= 200);
    found
}

/// In the order of replies.
const FAMILIES: [&str; 6] = [
    "heartbeat",
    "signal",
    "ack",
    "idempotency",
    "activity",
    "state",
];

fn dry_run(conn: &mut Connection, id: &[u8], orphans: bool) -> Result<Reply> {
    let mut command = cmd("BLOCKING.CLEANUP");
    command.arg("DRYRUN").arg("MATCH").arg(exactly(id));
    if orphans {
        command.arg("ORPHANS");
    }
    Ok(command.query(conn)?)
}

/// Keys of this fate, family by family.
fn by_family(explained: &Reply, fate: &str) -> Result<Vec<i64>> {
    let families = explained.map("families")?;
    // What there is none of is left out.
    let count = |name: &&str| match families.get(name) {
        Some(_) => families
            .map(name)?
            .get(fate)
            .map_or(Ok(0), |_| families.map(name)?.int(fate)),
        None => Ok(0),
    };
    FAMILIES.iter().map(count).collect()
}

fn check(conn: &mut Connection, id: &[u8]) -> Result<()> {
    let plain = dry_run(conn, id, false)?;
    let with_orphans = dry_run(conn, id, true)?;
    let told = explain(conn, id, &[])?;
    let counted = |reply: &Reply| -> Result<Vec<i64>> {
        let families = reply.map("keys_by_family")?;
        families
            .names()
            .iter()
            .map(|name| families.int(name))
            .collect()
    };
    let removed = by_family(&told, "removed")?;
    ensure!(
        removed == counted(&plain)?,
        "removed {removed:?}: {plain:?}"
    );
    for field in ["keys_removed", "coordinators_removed", "keys_scanned"] {
        ensure!(told.int(field)? == plain.int(field)?, "{field}: {told:?}");
    }
    let orphans = by_family(&told, "orphan_removed")?;
    let all: Vec<i64> = removed.iter().zip(&orphans).map(|(a, b)| a + b).collect();
    ensure!(all == counted(&with_orphans)?, "{all:?}: {with_orphans:?}");
    ensure!(told.int("orphans_removed")? == with_orphans.int("orphans_removed")?);
    // A heartbeat that is listed as stale is explained as stale, unless another of the id's heartbeats lives.
    if plain.int("coordinators_removed")? > 0 {
        let states = maps(&told, "heartbeats")?;
        let is_stale = |b: &Reply| b.text("state").is_ok_and(|state| state == "stale");
        ensure!(states.iter().any(is_stale), "{told:?}");
    }
    Ok(())
}

#[test]
fn every_id_of_every_scenario_is_explained_as_a_dry_run_does_it() -> Result<()> {
    let server = Server::builder()
        .arg("blocking.warm-up-seconds", 0)
        .start()?;
    let mut conn = server.client()?;
    let () = cmd("DEBUG")
        .arg("SET-ACTIVE-EXPIRE")
        .arg(0)
        .query(&mut conn)?;
    let (mut checked, mut failed) = (0, Vec::new());
    for (file, cases) in format::all() {
        for case in cases {
            let now_ms = load(&mut conn, &case)?;
            for id in ids(&case.visible(now_ms)) {
                let shown = id.escape_ascii().to_string();
                let what = || format!("{file}: {}: {shown}", case.name);
                // A scenario may put a beat half a second beside the threshold: what comes between two looks at such a
                // one is looked at again, from the beginning.
                let mut outcome = check(&mut conn, &id).with_context(what);
                if outcome.is_err() {
                    load(&mut conn, &case)?;
                    outcome = check(&mut conn, &id).with_context(what);
                }
                checked += 1;
                failed.extend(outcome.err().map(|why| format!("{why:#}")));
            }
        }
    }
    failed.truncate(10);
    assert!(failed.is_empty(), "{checked} checked, failed: {failed:#?}");
    assert!(checked > 500, "{checked}");
    Ok(())
}
