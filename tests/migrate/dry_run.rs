//! Dry runs, and whether what a contender says of itself is so.

use anyhow::{Result, ensure};
use blocking_harness::{Server, dbsize, redis, server_now_ms};

use crate::case::{Contender, Now, beat, family, text, write};
use crate::scripts::{lua, shell};

/// Two dead ones, one of them with nothing but its heartbeat, and a living one.
fn load(server: &Server) -> Result<i64> {
    let mut conn = server.client()?;
    redis::cmd("FLUSHALL").exec(&mut conn)?;
    let now = Now {
        ms: server_now_ms(&mut conn)?,
    };
    write(&mut conn, &family("build-7", now.old()))?;
    let alone = text("blocking:heartbeat:alone", beat("alone", now.old()));
    write(&mut conn, &[alone])?;
    write(&mut conn, &family("deploy-2", now.ms))?;
    dbsize(&mut conn)
}

#[test]
fn a_dry_run_names_the_same_ids_and_removes_nothing() -> Result<()> {
    let server = crate::server()?;
    let all = load(&server)?;
    let mut conn = server.client()?;
    let module = Contender::Module.run(&server, &["DRYRUN"])?;
    for said in [
        shell(&server, &["--dry-run"])?,
        lua(&server, &[",", "600", "1"])?,
        module,
    ] {
        ensure!(said.ids()? == ["alone", "build-7"], "{}", said.text);
        ensure!(
            said.count("totalCoordinatorsChecked")? == 3,
            "{}",
            said.text
        );
        ensure!(said.count("staleCoordinatorsFound")? == 2, "{}", said.text);
        ensure!(dbsize(&mut conn)? == all, "{}", said.text);
    }
    Ok(())
}

/// `redis-cli --eval` takes what stands before a comma for names of keys. Without it the script gets neither the
/// threshold nor the wish for a dry run.
#[test]
fn without_the_comma_a_dry_run_of_lua_removes() -> Result<()> {
    let server = crate::server()?;
    let all = load(&server)?;
    let said = lua(&server, &["600", "1"])?;
    ensure!(said.json.is_some(), "{}", said.text);
    ensure!(dbsize(&mut server.client()?)? == all - 6, "{}", said.text);
    Ok(())
}

#[test]
fn the_shell_script_counts_what_was_not_there() -> Result<()> {
    let server = crate::server()?;
    for (contender, counted) in [
        (Contender::Shell, 8),
        (Contender::Lua, 6),
        (Contender::Module, 6),
    ] {
        let all = load(&server)?;
        let said = contender.run(&server, &[])?;
        ensure!(all - dbsize(&mut server.client()?)? == 6, "{contender:?}");
        ensure!(said.count("keysDeleted")? == counted, "{}", said.text);
    }
    Ok(())
}
