//! Users are deleted, made anew, switched off or lose rights while a run of theirs is on. The rights of the slice
//! count: what may not be touched then stays and is counted, and a user that does not exist then removes nothing
//! more.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use blocking_harness::redis::{Connection, Value, cmd, pipe};
use blocking_harness::{
    Figure, Fleet, Reply, Server, TOO_LATE, cleanup, cleanup_async, existing_keys, server_now_ms,
    tally, wait_for_value,
};

use super::{COMMANDS, WITHIN, acl, keys, keys_with, last_run, state, user};
use crate::environment::long_run::{
    MOMENTS, Moment, Slow, assert_healthy, ended, ending, removing, runs,
};

const COORDINATORS: usize = 1_500;
const USER_GONE: &str = "the caller's ACL user is gone";

/// A connection of a user that exists.
fn login(server: &Server, name: &str) -> Result<Connection> {
    let mut conn = server.client()?;
    let () = cmd("AUTH").arg(&[name, "pw"]).query(&mut conn)?;
    Ok(conn)
}

/// Ids of one length, so that no key can be of others than those that it names whole.
fn fleet(conn: &mut Connection, count: usize) -> Result<Fleet> {
    let ids = (0..count).map(|n| format!("dead-{n:05}"));
    let fleet = Fleet::new(ids, server_now_ms(conn)?).age_s(700);
    fleet.load(conn, |_| {})?;
    Ok(fleet)
}

/// A heartbeat leads to whatever is left, so that the next run finds it; the next run does.
fn assert_the_rest_can_be_found(admin: &mut Connection, fleet: &Fleet) -> Result<()> {
    let there = keys(admin)?;
    let headless = fleet.headless(&there.iter().cloned().collect());
    ensure!(headless.is_empty(), "{headless:?}");
    let rest = cleanup(admin, &[])?;
    ensure!(rest.int("keys_removed")? == there.len() as i64, "{rest:?}");
    Ok(())
}

#[test]
fn a_run_ends_when_its_user_is_deleted() -> Result<()> {
    let server = Server::start()?;
    let mut admin = server.client()?;
    for moment in MOMENTS {
        let fleet = fleet(&mut admin, COORDINATORS)?;
        let slow = Slow::start(&server)?;
        let mut janitor = user(&server, "janitor", &[&["~*"], &COMMANDS[..]].concat())?;
        cleanup_async(&mut janitor, &[])?;
        slow.hold_at(&mut admin, moment)?;
        let () = acl(&mut admin, &["DELUSER", "janitor"])?;
        let last = last_run(&mut admin)?;
        drop(slow);
        ensure!(
            ending(&last)? == ended("interrupted", USER_GONE),
            "{last:?}"
        );
        let left = existing_keys(&mut admin, fleet.keys())?.len() as i64;
        ensure!(left + last.int("keys_removed")? == 6 * COORDINATORS as i64);
        ensure!(left > 0, "{TOO_LATE}");
        assert_the_rest_can_be_found(&mut admin, &fleet)?;
    }
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, 2)
}

/// A user that deletes itself in the transaction that starts the run is gone before its first slice.
#[test]
fn a_run_whose_user_is_gone_before_its_first_slice_looks_at_nothing() -> Result<()> {
    let server = Server::start()?;
    let mut admin = server.client()?;
    let fleet = fleet(&mut admin, 10)?;
    let rights = ["~*", "+acl", "+multi", "+exec"];
    let mut janitor = user(&server, "janitor", &[&rights, &COMMANDS[..]].concat())?;
    let mut both = pipe();
    both.atomic()
        .cmd("BLOCKING.CLEANUP")
        .arg("ASYNC")
        .cmd("ACL")
        .arg(&["DELUSER", "janitor"]);
    // The server closes the connection of a deleted user, before or after the reply.
    let _: Result<Value, _> = both.query(&mut janitor);
    let ended_runs = |status: &Reply| {
        let totals = status.map("totals");
        totals.is_ok_and(|totals| totals.int("runs").is_ok_and(|runs| runs == 1))
    };
    let status = wait_for_value("the run", WITHIN, || state(&mut admin), ended_runs)?;
    let last = status.map("last")?;
    ensure!(
        ending(&last)? == ended("interrupted", USER_GONE),
        "{last:?}"
    );
    ensure!(last.int("slices")? == 1, "{last:?}");
    ensure!(last.int("keys_scanned")? == 0, "{last:?}");
    ensure!(existing_keys(&mut admin, fleet.keys())?.len() == 60);
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, 1)
}

/// The server also closes the connections of a deleted user; either may be noticed first.
#[test]
fn a_run_that_is_waited_for_ends_when_its_user_is_deleted() -> Result<()> {
    let server = Server::start()?;
    let mut admin = server.client()?;
    for moment in MOMENTS {
        let fleet = fleet(&mut admin, COORDINATORS)?;
        let slow = Slow::start(&server)?;
        let mut janitor = user(&server, "janitor", &[&["~*"], &COMMANDS[..]].concat())?;
        let waiting = std::thread::spawn(move || cleanup(&mut janitor, &[]).map(|_| ()));
        slow.hold_at(&mut admin, moment)?;
        let () = acl(&mut admin, &["DELUSER", "janitor"])?;
        let last = last_run(&mut admin)?;
        drop(slow);
        let status = last.text("status")?;
        ensure!(
            ["interrupted", "cancelled"].contains(&status.as_str()),
            "{last:?}"
        );
        let left = existing_keys(&mut admin, fleet.keys())?.len() as i64;
        ensure!(left + last.int("keys_removed")? == 6 * COORDINATORS as i64);
        ensure!(left > 0, "{TOO_LATE}");
        ensure!(waiting.join().is_ok_and(|answer| answer.is_err()));
        assert_the_rest_can_be_found(&mut admin, &fleet)?;
    }
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, 2)
}

/// What a user may still remove after a change in the middle of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Everything,
    /// Keys that begin with `blocking:`.
    Blocking,
    Nothing,
}

/// Every change is a list of ACL commands that the server does in one piece; `*` stands for the user's name.
const CHANGES: [(&[&[&str]], Then); 8] = [
    (
        &[&["SETUSER", "*", "resetkeys", "~blocking:*"]],
        Then::Blocking,
    ),
    (
        &[&["SETUSER", "*", "resetkeys", "%R~*", "%W~blocking:*"]],
        Then::Blocking,
    ),
    (
        &[&[
            "SETUSER",
            "*",
            "resetkeys",
            "(~blocking:* +blocking.cleanup)",
        ]],
        Then::Blocking,
    ),
    (
        &[
            &["SETUSER", "*", "reset"],
            &[
                "SETUSER",
                "*",
                "on",
                ">pw",
                "~blocking:*",
                "+blocking.cleanup",
            ],
        ],
        Then::Blocking,
    ),
    (&[&["SETUSER", "*", "resetkeys"]], Then::Nothing),
    // Switched off and without any rights.
    (&[&["SETUSER", "*", "reset"]], Then::Nothing),
    // No client can log in as this user any more; clients that are logged in stay so, and their runs go on.
    (&[&["SETUSER", "*", "off"]], Then::Everything),
    // The right to the command is asked for when it is given, as with every command that waits.
    (&[&["SETUSER", "*", "-blocking.cleanup"]], Then::Everything),
];

/// Only users other than `default` can be deleted.
const MADE_ANEW: [(&[&[&str]], Then); 2] = [
    (
        &[
            &["DELUSER", "*"],
            &[
                "SETUSER",
                "*",
                "on",
                ">pw",
                "~blocking:*",
                "+blocking.cleanup",
            ],
        ],
        Then::Blocking,
    ),
    (
        &[&["DELUSER", "*"], &["SETUSER", "*", "on", ">other", "+get"]],
        Then::Nothing,
    ),
];

/// Idempotency keys that a coordinator which is still there has of one that is gone: they go with the later.
fn shared_with_the_gone(fleet: &Fleet, active: &[Vec<u8>]) -> usize {
    let active: HashSet<&Vec<u8>> = active.iter().collect();
    let is_there = |index: usize| active.contains(&fleet.family_keys(index % fleet.len())[4]);
    let ends = (0..fleet.len()).filter(|index| !is_there(*index) && is_there(index + 1));
    ends.count()
}

/// Makes the change in the middle of a run, again if the run was over before.
fn change(
    server: &Server,
    root: &mut Connection,
    name: &str,
    case: (&[&[&str]], Then),
) -> Result<()> {
    for _ in 0..20 {
        if try_change(server, root, name, case)? {
            return Ok(());
        }
    }
    bail!("{name} {:?}: {TOO_LATE}, every time", case.0)
}

/// How a run ends that had to leave so many keys to others.
fn with_denied(keys: i64) -> (String, Option<String>) {
    let why = format!(
        "keys stay, and their stale owners' heartbeats: {keys} that the user may not delete"
    );
    match keys {
        0 => ("complete".to_owned(), None),
        _ => ("partial".to_owned(), Some(why)),
    }
}

/// Makes the change in the middle of a run by the user `name`, and compares every key with what should become of it;
/// false if the run was over before.
fn try_change(
    server: &Server,
    root: &mut Connection,
    name: &str,
    (commands, then): (&[&[&str]], Then),
) -> Result<bool> {
    let what = format!("{name} {commands:?}");
    let rights = ["reset", "on", ">pw", "~*", "&*", "+@all"];
    let () = acl(root, &[&["SETUSER", name], &rights[..]].concat())?;
    let () = cmd("FLUSHALL").query(root)?;
    let fleet = fleet(root, COORDINATORS)?;
    let mut caller = login(server, name)?;
    let slow = Slow::with(login(server, "root")?)?;
    let before = runs(root)?;
    cleanup_async(&mut caller, &[])?;
    if removing(root, before)?.is_none() {
        return Ok(false);
    }
    let mut change = pipe();
    change.atomic();
    for command in commands {
        let words = command
            .iter()
            .map(|word| if *word == "*" { name } else { word });
        change.cmd("ACL").arg(words.collect::<Vec<_>>()).ignore();
    }
    change.cmd("KEYS").arg("coordinator:activity:*");
    let (active,): (Vec<Vec<u8>>,) = change.query(root)?;
    let there = active.len() as i64;
    let shared = shared_with_the_gone(&fleet, &active);
    drop(slow);
    let last = last_run(root)?;
    let counted = last.int("keys_denied").unwrap_or_default();
    ensure!(ending(&last)? == with_denied(counted), "{what}: {last:?}");
    if there == 0 {
        return Ok(false);
    }
    let left = keys(root)?;
    let of = |prefixes: &[&str]| left.intersection(&keys_with(&fleet, prefixes)).count() as i64;
    let (each, denied, shared) = match then {
        Then::Everything => (0, 0, 0),
        Then::Blocking => (3, 2, 0),
        Then::Nothing => (6, 6, shared as i64),
    };
    let expected = there * each + shared;
    ensure!(left.len() as i64 == expected, "{what}: {last:?}");
    if then == Then::Blocking {
        // The heartbeat stays for what may not be touched.
        for kept in ["coordinator:activity:", "swarm:", "blocking:heartbeat:"] {
            ensure!(of(&[kept]) == there, "{what}: {kept}");
        }
    }
    let expected = there * denied + shared;
    ensure!(counted == expected, "{what}: {there}: {last:?}");
    let whole = if each == 0 { 0 } else { there };
    let removed = COORDINATORS as i64 - whole;
    ensure!(
        last.int("coordinators_removed")? == removed,
        "{what}: {last:?}"
    );
    let removed = 6 * COORDINATORS as i64 - left.len() as i64;
    ensure!(last.int("keys_removed")? == removed, "{what}: {last:?}");
    Ok(true)
}

#[test]
fn rights_that_change_during_the_run_count_from_the_next_slice() -> Result<()> {
    let server = Server::start()?;
    let mut root = user(&server, "root", &["~*", "&*", "+@all"])?;
    for case in CHANGES.into_iter().chain(MADE_ANEW) {
        change(&server, &mut root, "janitor", case)?;
    }
    assert_healthy(&server)?;
    tally(
        Figure::FaultsInjected,
        (CHANGES.len() + MADE_ANEW.len()) as u64,
    )
}

#[test]
fn the_default_user_is_a_user_like_others() -> Result<()> {
    let server = Server::start()?;
    let mut root = user(&server, "root", &["~*", "&*", "+@all"])?;
    for case in CHANGES {
        change(&server, &mut root, "default", case)?;
    }
    let back = ["SETUSER", "default", "on", "nopass", "~*", "&*", "+@all"];
    let () = acl(&mut root, &back)?;
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, CHANGES.len() as u64)
}

/// A file of users, gone when dropped.
struct UserFile(PathBuf);

impl UserFile {
    fn write(&self, lines: &[&str]) -> Result<()> {
        Ok(std::fs::write(&self.0, lines.join("\n") + "\n")?)
    }
}

impl Drop for UserFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// ACL LOAD makes every user anew, also those that are the same as before.
#[test]
fn users_that_are_loaded_anew_during_a_run() -> Result<()> {
    const DEFAULT: &str = "user default on nopass ~* &* +@all";
    const JANITOR: &str = "user janitor on >pw ~* +blocking.cleanup";
    const LESS: &str = "user janitor on >pw ~blocking:* +blocking.cleanup";
    let name = format!("users-{}.acl", std::process::id());
    let file = UserFile(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
    file.write(&[DEFAULT, JANITOR])?;
    let path = file.0.to_str().context("UTF-8")?;
    let server = Server::builder().arg("aclfile", path).start()?;
    let mut admin = server.client()?;
    for (line, end) in [
        (Some(JANITOR), None),
        (Some(LESS), None),
        (None, Some(ended("interrupted", USER_GONE))),
    ] {
        let () = cmd("FLUSHALL").query(&mut admin)?;
        file.write(&[DEFAULT, JANITOR])?;
        let () = acl(&mut admin, &["LOAD"])?;
        let fleet = fleet(&mut admin, COORDINATORS)?;
        let slow = Slow::start(&server)?;
        cleanup_async(&mut login(&server, "janitor")?, &[])?;
        slow.hold_at(&mut admin, Moment::Reaping)?;
        file.write(&[&[DEFAULT][..], line.as_slice()].concat())?;
        let mut load = pipe();
        load.atomic()
            .cmd("ACL")
            .arg("LOAD")
            .ignore()
            .cmd("KEYS")
            .arg("coordinator:activity:*");
        let (there,): (Vec<Vec<u8>>,) = load.query(&mut admin)?;
        drop(slow);
        let last = last_run(&mut admin)?;
        ensure!(!there.is_empty(), "the run was over too early");
        let denied = if line == Some(LESS) { 2 } else { 0 };
        let end = end.unwrap_or_else(|| with_denied(denied * there.len() as i64));
        ensure!(ending(&last)? == end, "{line:?}: {last:?}");
        let (each, shared) = match line {
            Some(JANITOR) => (0, 0),
            Some(_) => (3, 0),
            None => (6, shared_with_the_gone(&fleet, &there)),
        };
        let left = existing_keys(&mut admin, fleet.keys())?.len();
        ensure!(
            left == there.len() * each + shared,
            "{line:?}: {left}: {last:?}"
        );
        assert_the_rest_can_be_found(&mut admin, &fleet)?;
    }
    assert_healthy(&server)?;
    tally(Figure::FaultsInjected, 3)
}
