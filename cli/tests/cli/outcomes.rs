//! What is printed, and the exit status: of runs that did all, that were cut short or refused, and of errors.

use anyhow::{Result, ensure};
use blocking_harness::redis;
use blocking_harness::{Server, dbsize};

use super::{
    OLD_MS, ends_with, json, printed, ran, ran_as_janitor, run, server, set, slow_server,
    wait_until_idle, warned,
};

#[test]
fn the_status_says_how_it_went() -> Result<()> {
    let server = server()?;
    let mut conn = server.client()?;
    let dry = ran(&server, &["--dry-run", "--json"])?;
    ends_with(&dry, 0, r#""keysDeleted":2"#)?;
    ensure!(dry.stderr.is_empty() && dbsize(&mut conn)? == 2);
    ensure!(json(&dry)?["status"] == "complete");
    // A run for one of two is no failure.
    set(&mut conn, b"blocking:heartbeat:b", OLD_MS)?;
    let limited = ran(&server, &["--limit", "1", "--json"])?;
    ends_with(&limited, 0, r#""status":"limited""#)?;
    ends_with(&ran(&server, &["--json"])?, 0, r#""status":"complete""#)?;
    ensure!(dbsize(&mut conn)? == 0);
    let wrong = ran(&server, &["--treshold", "60"])?;
    ends_with(&wrong, 1, "unexpected argument '--treshold'")?;
    ensure!(wrong.stdout.is_empty());
    // What a value must be is said by the server.
    let wrong = ran(&server, &["--threshold", "0"])?;
    ends_with(
        &wrong,
        1,
        "blocking-cleanup: ERR THRESHOLD must be an integer from 1 to 315360000",
    )?;
    ensure!(wrong.stdout.is_empty() && warned(&wrong).lines().count() == 1);
    Ok(())
}

#[test]
fn a_run_that_was_cut_short_or_refused_is_a_failure_of_its_own() -> Result<()> {
    let server = server()?;
    let mut conn = server.client()?;
    // Ids must not be taken for the status.
    for n in 0..20 {
        let id = format!(r#"blocking:heartbeat:{n}","status":"complete"#);
        set(&mut conn, id.as_bytes(), OLD_MS)?;
    }
    let refused = ran(&server, &["--breaker", "50", "--json"])?;
    ends_with(&refused, 2, r#""status":"refused""#)?;
    let warning = "blocking-cleanup: the run ended as refused: breaker: 21 of 21";
    ends_with(&refused, 2, warning)?;
    ensure!(dbsize(&mut conn)? == 22);
    // People read the same, and the quiet only the error.
    let refused = ran(&server, &["--breaker", "50"])?;
    ensure!(
        printed(&refused).starts_with("would remove 0")
            || printed(&refused).starts_with("removed 0")
    );
    ends_with(&refused, 2, warning)?;
    let refused = ran(&server, &["--breaker", "50", "-q"])?;
    ends_with(&refused, 2, warning)?;
    ensure!(refused.stdout.is_empty() && warned(&refused).lines().count() == 1);
    // More names than fit.
    let mut pipe = redis::pipe();
    for n in 0..5_000 {
        pipe.set(format!("blocking:heartbeat:a-rather-long-id-{n}"), OLD_MS);
    }
    let () = pipe.exec(&mut conn)?;
    run(&mut conn, "CONFIG SET blocking.collect-max-bytes 65536")?;
    let truncated = ran(&server, &["--json"])?;
    ends_with(&truncated, 2, r#""status":"truncated""#)?;
    ends_with(&truncated, 2, "the run ended as truncated")?;
    // A server that refuses writes from the beginning answers itself.
    run(&mut conn, "CONFIG SET min-replicas-to-write 1")?;
    ends_with(&ran(&server, &[])?, 1, "blocking-cleanup: NOREPLICAS")
}

#[test]
fn a_run_that_may_not_delete_all_is_a_failure_too() -> Result<()> {
    let server = server()?;
    let mut conn = server.client()?;
    set(&mut conn, b"coordinator:activity:dead", 1)?;
    run(
        &mut conn,
        "ACL SETUSER janitor on >secret ~blocking:* +blocking.cleanup",
    )?;
    let partial = ran_as_janitor(&server, "secret", &["--json"])?;
    ends_with(&partial, 2, r#""status":"partial""#)?;
    ends_with(&partial, 2, "the run ended as partial: ")?;
    ends_with(&partial, 2, "1 that the user may not delete")
}

#[test]
fn people_read_one_line_and_more_only_if_they_ask() -> Result<()> {
    let server = Server::builder()
        .arg("blocking.warm-up-seconds", 0)
        .start()?;
    let mut conn = server.client()?;
    // Names are bytes, and no terminal may obey them.
    set(&mut conn, b"blocking:heartbeat:\x1b[2Jred\xe9\n", OLD_MS)?;
    let dry = ran(&server, &["--dry-run"])?;
    ends_with(&dry, 0, "would remove 1 of 1 stale coordinator and 1 key\n")?;
    ensure!(printed(&dry).lines().count() == 1 && dry.stderr.is_empty());
    let quiet = ran(&server, &["--dry-run", "-q"])?;
    ensure!(quiet.status.success() && quiet.stdout.is_empty() && quiet.stderr.is_empty());
    let verbose = printed(&ran(&server, &["--dry-run", "-v"])?);
    ensure!(!verbose.contains('\x1b'), "{verbose:?}");
    let lines: Vec<&str> = verbose.lines().collect();
    ensure!(
        lines.len() == 4 && lines[1] == r"stale: \x1b[2Jred\xe9\x0a",
        "{lines:?}"
    );
    ensure!(
        lines[2].starts_with("keys: heartbeat 1, signal 0, "),
        "{lines:?}"
    );
    ensure!(lines[3].starts_with("cost: 1 key looked at; "), "{lines:?}");
    let ids = json(&ran(&server, &["--dry-run", "--json"])?)?;
    ensure!(
        ids["staleCoordinatorIds"][0] == "\x1b[2Jred\\xe9\n",
        "{ids}"
    );
    Ok(())
}

#[test]
fn a_warm_up_is_a_warning_for_people() -> Result<()> {
    let server = server()?;
    let dry = ran(&server, &["--dry-run"])?;
    let warning = "blocking-cleanup: warning: the warm-up lasts for ";
    ensure!(
        dry.status.success() && warned(&dry).starts_with(warning),
        "{dry:?}"
    );
    for options in [["--dry-run", "--json"], ["--dry-run", "-q"]] {
        ensure!(ran(&server, &options)?.stderr.is_empty());
    }
    Ok(())
}

#[test]
fn a_run_can_be_left_to_itself() -> Result<()> {
    let server = server()?;
    let mut conn = server.client()?;
    let started = ran(&server, &["--async", "--dry-run"])?;
    ensure!(printed(&started) == "1\n", "{started:?}");
    ensure!(wait_until_idle(&mut conn)?.int("run")? == 1);
    let started = ran(&server, &["--async", "--json"])?;
    ensure!(
        started.status.success() && json(&started)?["run"] == 2,
        "{started:?}"
    );
    ensure!(wait_until_idle(&mut conn)?.int("keys_removed")? == 2);
    Ok(())
}

#[test]
fn a_run_of_another_is_not_waited_for() -> Result<()> {
    let server = slow_server()?;
    let mut conn = server.client()?;
    run(&mut conn, "BLOCKING.CLEANUP ASYNC")?;
    let refused = ran(&server, &["--json"])?;
    ends_with(
        &refused,
        1,
        "blocking-cleanup: INPROGRESS a cleanup is running: run 1,",
    )?;
    ensure!(refused.stdout.is_empty());
    Ok(())
}

#[test]
fn what_no_run_can_come_from_is_an_error() -> Result<()> {
    let bare = Server::builder().module(false).start()?;
    let expected =
        "blocking-cleanup: the module is not loaded: the server does not know BLOCKING.CLEANUP\n";
    let none = ran(&bare, &[])?;
    ensure!(
        none.status.code() == Some(1) && warned(&none) == expected,
        "{none:?}"
    );
    ends_with(&ran(&bare, &["top"])?, 1, "the module is not loaded")?;
    let primary = server()?;
    let replica = Server::builder().replica_of(&primary).start()?;
    replica.wait_in_sync_with(&primary)?;
    ends_with(
        &ran(&replica, &["--json"])?,
        1,
        "blocking-cleanup: READONLY ",
    )?;
    // The view works there.
    ends_with(&ran(&replica, &["top"])?, 0, " replica\n")
}
