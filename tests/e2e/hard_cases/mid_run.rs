//! What happens to a coordinator that comes, goes or comes back while a run is on.
//!
//! A run cannot be stopped between two slices from outside. So each of these tests does its deed again and again, each
//! time a few turns of the server later, until the run was over before it: it falls into every part of a run. What is
//! right is decided by what was there in the very moment of the deed, which the server tells in one transaction.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use blocking_harness::redis::{Connection, Pipeline, Value, cmd, pipe};
use blocking_harness::{
    Reply, Server, cleanup, cleanup_async, command, dbsize, existing_keys, reply_map,
    server_now_ms, wait_for_value,
};

use crate::environment::long_run::{Moment, Slow, World};

use super::{RUN_DEADLINE, beat, counts, last_run, write};

/// So many runs in a row that were over before the deed show that the end has been passed.
const TOO_LATE: usize = 3;
pub(crate) const STEPS_MAX: usize = 400;
const SWEEPS_MAX: usize = 8;

/// What is done in the middle of a run.
pub(crate) type Deed<'d> = &'d dyn Fn(&mut Pipeline);

/// A fleet of dead coordinators `c-0`, `c-1` and so on; the higher the number, the longer it lives.
pub(crate) struct Dead {
    count: i64,
    keys_of_each: i64,
}

impl Dead {
    pub(crate) fn family(n: i64) -> Vec<String> {
        vec![
            format!("blocking:heartbeat:c-{n}"),
            format!("blocking:signal:c-{n}"),
            format!("blocking:ack:c-{n}:b:s1"),
            format!("coordinator:activity:c-{n}"),
            format!("swarm:s:blocking:c-{n}"),
        ]
    }

    pub(crate) fn load(&self, conn: &mut Connection, now_ms: i64) -> Result<()> {
        let () = cmd("FLUSHALL").query(conn)?;
        let pairs = (0..self.count).flat_map(|n| {
            let value = beat(now_ms, 10_000_000 - n * 1_000);
            let family = Self::family(n).into_iter();
            family
                .take(self.keys_of_each as usize)
                .map(move |key| (key, value.clone()))
        });
        write(conn, pairs)
    }
}

/// What was there when the deed was done, and what came of the run.
pub(crate) struct Seen {
    pub(crate) state: String,
    /// The watched keys that were there just before the deed.
    pub(crate) there: Vec<String>,
    pub(crate) last: Reply,
}

fn one_run(
    conn: &mut Connection,
    options: &[&str],
    turns: usize,
    watched: &[String],
    deed: Deed,
) -> Result<Seen> {
    cleanup_async(conn, options)?;
    for _ in 0..turns {
        let () = cmd("PING").query(conn)?;
    }
    let mut moment = pipe();
    moment.atomic().cmd("BLOCKING.STATUS");
    for key in watched {
        moment.cmd("EXISTS").arg(key);
    }
    deed(&mut moment);
    let mut replies: Vec<Value> = moment.query(conn)?;
    let exists = replies.split_off(1);
    let status = reply_map(replies.remove(0))?;
    let there = watched.iter().zip(exists);
    let there = there.filter(|(_, exists)| *exists == Value::Int(1));
    Ok(Seen {
        state: status.text("state")?,
        there: there.map(|(key, _)| key.clone()).collect(),
        last: last_run(conn)?,
    })
}

/// Does the deed in every part of a run, and hands what came of it to `check`.
pub(crate) fn in_every_part(
    conn: &mut Connection,
    steps: impl Iterator<Item = usize> + Clone,
    load: &dyn Fn(&mut Connection) -> Result<()>,
    watched: &[String],
    deed: Deed,
    check: &dyn Fn(&mut Connection, &Seen) -> Result<()>,
) -> Result<()> {
    let parts = (&[][..], &["collecting", "reaping", "idle"][..]);
    in_every_part_of(conn, parts, steps, load, watched, deed, check)
}

/// The same for a run with these options, which has these parts.
pub(crate) fn in_every_part_of(
    conn: &mut Connection,
    (options, needed): (&[&str], &[&str]),
    steps: impl Iterator<Item = usize> + Clone,
    load: &dyn Fn(&mut Connection) -> Result<()>,
    watched: &[String],
    deed: Deed,
    check: &dyn Fn(&mut Connection, &Seen) -> Result<()>,
) -> Result<()> {
    let mut states = BTreeSet::new();
    // On a busy machine a run can be over before its deed is sent, so one sweep may miss a part.
    for _ in 0..SWEEPS_MAX {
        let mut too_late = 0;
        for turns in steps.clone() {
            load(conn)?;
            let seen = one_run(conn, options, turns, watched, deed)?;
            check(conn, &seen).map_err(|why| {
                why.context(format!(
                    "after {turns} turns, {}, when there were {:?}; the run: {:?}",
                    seen.state, seen.there, seen.last
                ))
            })?;
            let is_over = seen.state == "idle";
            too_late = if is_over { too_late + 1 } else { 0 };
            states.insert(seen.state);
            if too_late == TOO_LATE {
                break;
            }
        }
        if needed.iter().all(|state| states.contains(*state)) {
            return Ok(());
        }
    }
    bail!("not in every part of a run, only in {states:?}")
}

/// A server whose runs take many slices.
pub(crate) fn slow_server() -> Result<Server> {
    Server::builder().arg("blocking.slice-us", 50).start()
}

pub(crate) fn ensure_there(conn: &mut Connection, keys: &[String]) -> Result<()> {
    let names = keys.iter().map(|key| key.clone().into_bytes());
    let found = existing_keys(conn, names)?;
    ensure!(found.len() == keys.len(), "lost a key of {keys:?}");
    Ok(())
}

pub(crate) const FEW: Dead = Dead {
    count: 400,
    keys_of_each: 5,
};
/// The one of the few that is removed last.
pub(crate) const LAST: i64 = 399;

pub(crate) fn fresh(conn: &mut Connection) -> Result<String> {
    Ok(beat(server_now_ms(conn)?, 0))
}

#[test]
fn case_9_of_5000_the_one_that_comes_back_is_kept() -> Result<()> {
    let server = slow_server()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    let value = fresh(&mut conn)?;
    let dead = Dead {
        count: 5_000,
        keys_of_each: 3,
    };
    // The youngest is removed last, so that the deed is early in most runs.
    let family = Dead::family(4_999)[..3].to_vec();
    let deed = |pipe: &mut Pipeline| {
        pipe.cmd("SETEX").arg(&family[0]).arg(300).arg(&value);
    };
    // Steps of a quarter: the removal is a third of a run or more, so they cannot jump over it.
    let growing = std::iter::successors(Some(0), |turns| Some(turns + 1 + turns / 4));
    let steps = growing.take_while(|turns| *turns < 8_000);
    in_every_part(
        &mut conn,
        steps,
        &|conn| dead.load(conn, now),
        &family,
        &deed,
        &|conn, seen| {
            ensure!(seen.there.is_empty() || seen.there == family, "half gone");
            ensure_there(conn, &seen.there)?;
            let kept = if seen.there.is_empty() { 1 } else { 3 };
            ensure!(dbsize(conn)? == kept, "{} keys are left", dbsize(conn)?);
            let removed = seen.last.int("coordinators_removed")?;
            let expected = if seen.there.is_empty() { 5_000 } else { 4_999 };
            ensure!(removed == expected, "{removed} coordinators removed");
            Ok(())
        },
    )
}

/// Deeds after which the coordinator must keep all that it still has.
#[test]
fn case_9_a_coordinator_that_comes_back_before_any_slice_keeps_everything() -> Result<()> {
    let server = slow_server()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    let value = fresh(&mut conn)?;
    let family = Dead::family(LAST);
    // It goes with c-0, the first in the key, but could be c-399's.
    let shared = format!("blocking:idempotency:c-0:c-{LAST}:completion:1:9");
    let watched = [&family[..], std::slice::from_ref(&shared)].concat();
    let heartbeat = family[0].as_str();
    let scoped = format!("swarm:s:blocking:heartbeat:c-{LAST}");
    let deeds: [(&str, Deed); 6] = [
        ("overwritten", &|pipe| {
            pipe.cmd("SETEX").arg(heartbeat).arg(300).arg(&value);
        }),
        ("removed and written again", &|pipe| {
            pipe.cmd("DEL").arg(heartbeat);
            pipe.cmd("SET").arg(heartbeat).arg(&value);
        }),
        ("renamed into place", &|pipe| {
            pipe.cmd("SET").arg("draft").arg(&value);
            pipe.cmd("RENAME").arg("draft").arg(heartbeat);
        }),
        ("made unreadable", &|pipe| {
            pipe.cmd("DEL").arg(heartbeat);
            pipe.cmd("HSET").arg(heartbeat).arg("timestamp").arg(&value);
        }),
        ("edited in place", &|pipe| {
            pipe.cmd("APPEND").arg(heartbeat).arg("x");
        }),
        ("beating in a swarm", &|pipe| {
            pipe.cmd("SET").arg(&scoped).arg(&value);
        }),
    ];
    for (name, deed) in deeds {
        let load = |conn: &mut Connection| {
            FEW.load(conn, now)?;
            write(conn, [(&shared, "1")])
        };
        let check = |conn: &mut Connection, seen: &Seen| {
            let own: Vec<_> = seen.there.iter().filter(|key| **key != shared).collect();
            let whole = own.is_empty() || own.len() == family.len();
            ensure!(whole, "half gone");
            ensure_there(conn, &seen.there)?;
            let [stale, removed, revived] = counts(
                &seen.last,
                [
                    "coordinators_stale",
                    "coordinators_removed",
                    "coordinators_revived",
                ],
            )?;
            let expected = if own.is_empty() { 400 } else { 399 };
            ensure!(removed == expected, "{removed} coordinators removed");
            // A veto by a heartbeat that the walk has seen is no revival.
            ensure!(revived <= 1 && stale >= removed, "{stale}, {revived}");
            Ok(())
        };
        in_every_part(&mut conn, 0..STEPS_MAX, &load, &watched, deed, &check)
            .map_err(|why| why.context(format!("the heartbeat was {name}")))?;
    }
    Ok(())
}

#[test]
fn a_heartbeat_that_vanishes_during_the_run_leaves_its_family_without_an_owner() -> Result<()> {
    let server = slow_server()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    let heartbeat = Dead::family(LAST)[0].clone();
    let rest = Dead::family(LAST)[1..].to_vec();
    let deed = |pipe: &mut Pipeline| {
        pipe.cmd("DEL").arg(&heartbeat);
    };
    let check = |conn: &mut Connection, seen: &Seen| {
        ensure_there(conn, &seen.there)?;
        let left = dbsize(conn)?;
        ensure!(left == seen.there.len() as i64, "{left} keys are left");
        if seen.state != "idle" {
            let orphaned = seen.last.int("keys_orphaned")?;
            ensure!(orphaned == left, "{orphaned} orphaned, {left} left");
        }
        Ok(())
    };
    let load = |conn: &mut Connection| FEW.load(conn, now);
    in_every_part(&mut conn, 0..STEPS_MAX, &load, &rest, &deed, &check)
}

/// A swarm's heartbeat can be read as the state of a coordinator with a longer id, and that follows the swarm's own
/// heartbeat of this id or, where there is none, the unscoped one. All of them are dead but the unscoped one, which
/// says nothing until the swarm's own has gone. If it was this run that removed it, all goes on as planned, whether
/// the heartbeats of a batch are removed together or, for obituaries, one by one.
#[test]
fn a_coordinator_that_inherits_a_key_during_the_run_keeps_it() -> Result<()> {
    const OWNED_TWICE: &str = "swarm:s:blocking:heartbeat:x";
    const OWN: &str = "swarm:s:blocking:heartbeat:heartbeat:x";
    const HEIR: &str = "blocking:heartbeat:heartbeat:x";
    let server = Server::start()?;
    let mut conn = server.client()?;
    let nothing = &["DEL", "no-such-key"][..];
    let cases = [
        (&["DEL", OWN][..], 650_000, true),
        (&["PEXPIRE", OWN, "1"], 650_000, true),
        // No coordinator inherits anything.
        (nothing, 650_000, false),
        // The swarm's own goes with the first batch of the run, the key with the last.
        (nothing, 20_000_000, false),
    ];
    let with_streams = ["", "obituaries"].map(|stream| cases.map(|case| (stream, case)));
    for (stream, (deed, own_age_ms, keeps)) in with_streams.into_iter().flatten() {
        let () = cmd("FLUSHALL").query(&mut conn)?;
        let set = ["SET", "blocking.obituary-stream", stream];
        let () = cmd("CONFIG").arg(&set).query(&mut conn)?;
        // All other dead coordinators go before these.
        World::load(&mut conn)?;
        let now_ms = server_now_ms(&mut conn)?;
        let ours = [(OWNED_TWICE, 700_000), (OWN, own_age_ms), (HEIR, 0)];
        write(
            &mut conn,
            ours.map(|(key, age_ms)| (key.to_owned(), beat(now_ms, age_ms))),
        )?;
        let slow = Slow::start(&server)?;
        cleanup_async(&mut conn, &[])?;
        slow.hold_at(&mut conn, Moment::Reaping)?;
        let () = cmd(deed[0]).arg(&deed[1..]).query(&mut conn)?;
        drop(slow);
        let last = last_run(&mut conn)?;
        let left = existing_keys(
            &mut conn,
            ours.iter().map(|(key, _)| key.as_bytes().to_vec()),
        )?;
        let expected: &[&str] = if keeps { &[OWNED_TWICE, HEIR] } else { &[HEIR] };
        ensure!(
            left == expected
                .iter()
                .map(|key| key.as_bytes().to_vec())
                .collect::<Vec<_>>(),
            "{stream} {deed:?} {own_age_ms}: {left:?} {last:?}"
        );
        // Where the server does not tell of new keys, the heir is found by name.
        let is_vetoed = last.int("keys_vetoed")? == 1;
        let is_held = last.get("keys_unsettled").is_some() && last.text("status")? == "partial";
        ensure!(
            (is_vetoed || is_held) == keeps && !(is_vetoed && is_held),
            "{stream} {deed:?} {own_age_ms}: {last:?}"
        );
    }
    Ok(())
}

/// The last of a key's owners loses its heartbeat during the run. If another owner is still there, the key can be found
/// again through that one, and the reply says so; where the run has removed the others by then, it is an orphan.
#[test]
fn a_key_whose_last_owner_loses_its_heartbeat_is_told_to_the_next_run() -> Result<()> {
    const OTHER: &str = "blocking:heartbeat:a-old";
    const LAST: &str = "blocking:heartbeat:a-old:b";
    const SHARED: &str = "blocking:ack:a-old:b";
    const OWN: &str = "blocking:signal:a-old:b";
    let server = Server::start()?;
    let mut conn = server.client()?;
    let cases = [
        (&["MATCH", "*[^d]"][..], "partial", 1, 1),
        (&[], "complete", 0, 2),
    ];
    for (args, status, unsettled, orphaned) in cases {
        let () = cmd("FLUSHALL").query(&mut conn)?;
        World::load(&mut conn)?;
        let now_ms = server_now_ms(&mut conn)?;
        let (older, younger) = (beat(now_ms, 700_000), beat(now_ms, 650_000));
        write(
            &mut conn,
            [
                (OTHER, older.as_str()),
                (LAST, &younger),
                (SHARED, "1"),
                (OWN, "1"),
            ],
        )?;
        let slow = Slow::start(&server)?;
        cleanup_async(&mut conn, args)?;
        slow.hold_at(&mut conn, Moment::Reaping)?;
        let () = cmd("DEL").arg(LAST).query(&mut conn)?;
        drop(slow);
        let last = last_run(&mut conn)?;
        ensure!(last.text("status")? == status, "{last:?}");
        let held = last.int("keys_unsettled").unwrap_or_default();
        ensure!(held == unsettled, "{last:?}");
        ensure!(last.int("keys_orphaned")? == orphaned, "{last:?}");
        ensure_there(&mut conn, &[SHARED.to_owned(), OWN.to_owned()])?;
        if unsettled > 0 {
            let next = cleanup(&mut conn, &[])?;
            ensure!(next.int("keys_removed")? == 2, "{next:?}");
            ensure!(next.int("coordinators_removed")? == 1, "{next:?}");
        }
    }
    Ok(())
}

#[test]
fn case_10_a_cancel_in_the_middle_keeps_the_heartbeat_and_the_next_run_finishes() -> Result<()> {
    const ACKS: i64 = 200_000;
    let server = slow_server()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    let acks = (0..ACKS).map(|n| (format!("blocking:ack:big:s-{n}"), "1"));
    write(&mut conn, acks)?;
    write(&mut conn, [("blocking:heartbeat:big", beat(now, 700_000))])?;
    cleanup_async(&mut conn, &[])?;
    let status = || Ok(command(&mut conn, "BLOCKING.STATUS", &[])?);
    let removes = |status: &Reply| {
        let current = status.map("current");
        current.is_ok_and(|run| run.int("keys_removed").is_ok_and(|keys| keys > 0))
    };
    wait_for_value("the first removal", RUN_DEADLINE, status, removes)?;
    let () = command_ok(&mut conn, "BLOCKING.CANCEL")?;
    let cancelled = last_run(&mut conn)?;
    assert_eq!(cancelled.text("status")?, "cancelled");
    assert_eq!(cancelled.text("reason")?, "cancelled by BLOCKING.CANCEL");
    let removed = cancelled.int("keys_removed")?;
    assert!((1..ACKS).contains(&removed), "{removed} removed");
    assert_eq!(cancelled.int("coordinators_removed")?, 0);
    assert_eq!(dbsize(&mut conn)?, ACKS + 1 - removed);
    ensure_there(&mut conn, &["blocking:heartbeat:big".to_owned()])?;

    let finished = cleanup(&mut conn, &[])?;
    assert_eq!(finished.text("status")?, "complete");
    assert_eq!(finished.int("keys_removed")?, ACKS + 1 - removed);
    assert_eq!(finished.int("coordinators_removed")?, 1);
    assert_eq!(dbsize(&mut conn)?, 0);
    Ok(())
}

/// One large family is removed in parts: if it comes back between two of them, the rest stays.
#[test]
fn a_large_family_that_comes_back_half_way_keeps_the_rest() -> Result<()> {
    const ACKS: i64 = 100_000;
    let server = slow_server()?;
    let mut conn = server.client()?;
    let now = server_now_ms(&mut conn)?;
    let acks = (0..ACKS).map(|n| (format!("blocking:ack:big:s-{n}"), "1"));
    write(&mut conn, acks)?;
    write(&mut conn, [("blocking:heartbeat:big", beat(now, 700_000))])?;
    cleanup_async(&mut conn, &[])?;
    let status = || Ok(command(&mut conn, "BLOCKING.STATUS", &[])?);
    let removes = |status: &Reply| {
        let current = status.map("current");
        current.is_ok_and(|run| run.int("keys_removed").is_ok_and(|keys| keys > 0))
    };
    wait_for_value("the first removal", RUN_DEADLINE, status, removes)?;
    let value = fresh(&mut conn)?;
    let (left,): (i64,) = pipe()
        .atomic()
        .cmd("SET")
        .arg("blocking:heartbeat:big")
        .arg(&value)
        .ignore()
        .cmd("DBSIZE")
        .query(&mut conn)?;
    let last = last_run(&mut conn)?;
    assert!((2..ACKS).contains(&left), "{left} were left at that time");
    assert_eq!(dbsize(&mut conn)?, left);
    assert_eq!(last.text("status")?, "complete");
    assert_eq!(
        counts(
            &last,
            [
                "coordinators_removed",
                "coordinators_revived",
                "keys_removed"
            ]
        )?,
        [0, 1, ACKS + 1 - left]
    );
    Ok(())
}

fn command_ok(conn: &mut Connection, name: &str) -> Result<()> {
    let answer: String = cmd(name).query(conn)?;
    ensure!(answer == "OK", "{name} answered {answer}");
    Ok(())
}
