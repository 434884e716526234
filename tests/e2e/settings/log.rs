//! What the module writes to the log, and what it does not.

use anyhow::{Context, Result};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{Server, cleanup, command, module_path, wait_for_value};

use super::{module_lines, set, write_stale};

/// A name that must not get into a log: ids may be personal, and may be anything.
const ID: &str = "very-private-id";

/// A line of the log with its volatile numbers cut off: slices, times.
fn stable(line: &str) -> &str {
    line.split(", slices ").next().unwrap_or_default()
}

fn start_and_cancel(conn: &mut Connection) -> Result<()> {
    redis::pipe()
        .atomic()
        .cmd("BLOCKING.CLEANUP")
        .arg("ASYNC")
        .cmd("BLOCKING.CANCEL")
        .query::<()>(conn)?;
    wait_for_value(
        "the end of the run",
        std::time::Duration::from_secs(10),
        || command(conn, "BLOCKING.STATUS", &[])?.text("state"),
        |state| state == "idle",
    )?;
    Ok(())
}

#[test]
fn a_run_that_removed_something_leaves_one_line_without_ids() -> Result<()> {
    let server = Server::builder().arg("loglevel", "debug").start()?;
    let mut conn = server.client_db(3)?;
    write_stale(&mut conn, ID, 2)?;
    cleanup(&mut conn, &["DRYRUN"])?;
    let reply = cleanup(&mut conn, &[])?;
    let lines = module_lines(&server);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let (run, slices) = (reply.int("run")?, reply.int("slices")?);
    let expected = format!(
        "cleanup run {run} of database 3: complete; coordinators removed 1, keys removed 3, \
         revived 0, slices {slices}, longest slice {} us, elapsed {} ms",
        reply.int("longest_slice_us")?,
        reply.int("elapsed_us")? / 1000
    );
    assert_eq!(lines, [expected]);
    assert!(!server.log().contains(ID));
    Ok(())
}

#[test]
fn a_run_that_was_cut_short_says_why() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    write_stale(&mut conn, ID, 2)?;
    start_and_cancel(&mut conn)?;
    let lines = module_lines(&server);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let expected = "cleanup run 1 of database 0: cancelled (cancelled by BLOCKING.CANCEL); \
                    coordinators removed 0, keys removed 0, revived 0";
    assert_eq!(stable(&lines[0]), expected);
    assert!(!server.log().contains(ID));
    Ok(())
}

#[test]
fn a_run_with_nothing_to_remove_leaves_no_line() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    for _ in 0..3 {
        cleanup(&mut conn, &[])?;
        redis::cmd("BLOCKING.CLEANUP")
            .arg("JSON")
            .query::<String>(&mut conn)?;
    }
    write_stale(&mut conn, ID, 2)?;
    cleanup(&mut conn, &["DRYRUN"])?;
    cleanup(&mut conn, &["MATCH", "nobody"])?;
    assert_eq!(module_lines(&server), Vec::<String>::new());
    Ok(())
}

#[test]
fn an_argument_on_the_loadmodule_line_is_refused_with_one_line() -> Result<()> {
    let donor = Server::start()?;
    let path = module_path(&mut donor.client()?)?;
    let expected =
        "blocking not loaded: it takes no arguments; set blocking.* in the configuration";

    // At run time: the server stays as it was.
    let server = Server::builder().module(false).start()?;
    let mut conn = server.client()?;
    let load = |conn: &mut Connection, arguments: &[&str]| {
        redis::cmd("MODULE")
            .arg("LOAD")
            .arg(&path)
            .arg(arguments)
            .query::<()>(conn)
    };
    load(&mut conn, &["threshold", "60"])
        .err()
        .context("it was loaded")?;
    assert_eq!(module_lines(&server), [expected]);
    // Nothing half registered stays behind.
    load(&mut conn, &[])?;
    set(&mut conn, "blocking.threshold-seconds", 60)?;
    cleanup(&mut conn, &[])?;

    // At start: the server does not come up.
    let refused = Server::builder()
        .module(false)
        .arg("loadmodule", format!("{path} foo"))
        .start();
    let error = format!("{:#}", refused.err().context("the server started")?);
    assert_eq!(error.matches(expected).count(), 1, "{error}");
    Ok(())
}

#[test]
fn a_second_load_is_refused_with_the_reason() -> Result<()> {
    let expected = "blocking not loaded: a module of that name is loaded already";
    let server = Server::start()?;
    let mut conn = server.client()?;
    let path = module_path(&mut conn)?;
    let again = redis::cmd("MODULE")
        .arg(&["LOAD", &path])
        .query::<()>(&mut conn);
    again.err().context("it was loaded again")?;
    let log = server.log();
    assert_eq!(log.matches(expected).count(), 1, "{log}");
    // The one that was there works on.
    write_stale(&mut conn, ID, 2)?;
    let reply = cleanup(&mut conn, &[])?;
    assert_eq!(reply.int("keys_removed")?, 3, "{reply:?}");

    let refused = Server::builder().arg("loadmodule", &path).start();
    let error = format!("{:#}", refused.err().context("the server started")?);
    assert_eq!(error.matches(expected).count(), 1, "{error}");
    Ok(())
}

#[test]
fn a_setting_out_of_range_keeps_the_server_from_starting_and_is_named() -> Result<()> {
    let refused = Server::builder().arg("blocking.slice-us", 49).start();
    let error = format!("{:#}", refused.err().context("the server started")?);
    for part in [
        "blocking.slice-us : argument must be between 50 and 100000 inclusive",
        "blocking not loaded: a setting was refused; see the lines above",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    Ok(())
}
