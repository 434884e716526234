//! MODULE UNLOAD while a rule names a command of the module: the server would abort, so it is refused.

use anyhow::{Result, bail, ensure};
use blocking_harness::Server;
use blocking_harness::redis::{Connection, ConnectionLike, Value, cmd};

use super::acl;
use crate::environment::long_run::assert_healthy;

/// The error of MODULE UNLOAD, if there is one.
fn unload(conn: &mut Connection) -> Result<Option<String>> {
    match conn.req_command(cmd("MODULE").arg(&["UNLOAD", "blocking"]))? {
        Value::Okay => Ok(None),
        Value::ServerError(error) => Ok(Some(error.details().unwrap_or_default().to_owned())),
        other => bail!("{other:?}"),
    }
}

#[test]
fn a_rule_that_names_a_command_keeps_the_module_loaded() -> Result<()> {
    for rules in [
        &["+blocking.cleanup"][..],
        &["+@all", "-blocking.cancel"],
        &["+get", "(~* +blocking.status)"],
    ] {
        let server = Server::start()?;
        let mut conn = server.client()?;
        // Categories name no command.
        acl(&mut conn, &["SETUSER", "app", "on", "+@all", "-@dangerous"])?;
        acl(&mut conn, &[&["SETUSER", "janitor", "on"], rules].concat())?;
        for _ in 0..2 {
            let error = unload(&mut conn)?;
            let refused = error.is_some_and(|text| text.starts_with("Error unloading module"));
            ensure!(refused, "{rules:?}");
        }
        // It goes on working.
        ensure!(blocking_harness::cleanup(&mut conn, &[])?.text("status")? == "complete");
        acl(&mut conn, &["SETUSER", "janitor", "reset"])?;
        ensure!(unload(&mut conn)?.is_none(), "{rules:?}");
        assert_healthy(&server)?;
    }
    Ok(())
}

#[test]
fn the_log_says_whose_rule_it_is() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    acl(
        &mut conn,
        &["SETUSER", "janitor", "on", "+blocking.cleanup"],
    )?;
    ensure!(unload(&mut conn)?.is_some());
    let log = server.log();
    // Newer servers of Valkey refuse by themselves.
    let ours =
        "blocking not unloaded: the ACL user 'janitor' has a rule that names one of its commands";
    let theirs = "one or more ACL users reference commands from this module";
    ensure!(log.contains(ours) || log.contains(theirs), "{log}");
    Ok(())
}
