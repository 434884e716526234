//! docs/migrate.md: its table is what the other tests see, and its steps work as they stand there.
//! Transcripts are run with those of all pages, by the suite e2e.

use std::os::unix::fs::symlink;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use blocking_harness::server_now_ms;

use crate::case::{Now, Row, beat, family, text, write};
use crate::{cases, cluster, late, many, refused, scripts};

const PAGE: &str = include_str!("../../docs/migrate.md");
const HEAD: &str = "| keys | shell | Lua | module |\n|---|---|---|---|\n";

/// All cases, in the order of the page.
fn rows() -> Vec<Row> {
    let of_few = cases::all(Now { ms: 0 }).into_iter().map(|case| case.row);
    let others = [
        late::ROW,
        many::ROW,
        refused::REPLICA,
        refused::PASSWORD,
        cluster::PLAIN,
        cluster::TAGGED,
    ];
    of_few.chain(others).collect()
}

/// The other tests hold the module to this.
#[test]
fn in_no_case_does_the_module_remove_a_key_of_the_living() {
    for row in rows() {
        assert_eq!(row.module.lost, 0, "{}", row.title);
    }
}

#[test]
fn the_table_is_what_was_seen() -> Result<()> {
    let (_, behind) = PAGE.split_once(HEAD).context("no table")?;
    let (there, _) = behind.split_once("\n\n").context("no end")?;
    let expected: String = rows().iter().map(|row| row.line() + "\n").collect();
    ensure!(there == expected.trim_end(), "it must be\n{HEAD}{expected}");
    Ok(())
}

/// The shell code of the page in which these words stand.
fn block(words: &str) -> Result<String> {
    let blocks = PAGE.split("```sh\n").skip(1);
    let mut found = blocks.filter_map(|rest| rest.split("```").next());
    let code = found.find(|code| code.contains(words));
    Ok(code.with_context(|| format!("no {words}"))?.to_owned())
}

#[test]
fn comparing_the_lists_shows_what_one_of_them_lacks() -> Result<()> {
    let server = crate::server()?;
    let mut conn = server.client()?;
    let now = Now {
        ms: server_now_ms(&mut conn)?,
    };
    let seconds = format!(r#"{{"timestamp":{}}}"#, now.ms / 1_000);
    let other = beat("test-3", now.old()).replace("timestamp", "lastHeartbeat");
    write(&mut conn, &family("build-7", now.old()))?;
    write(&mut conn, &family("build-8", now.ms))?;
    write(&mut conn, &[text("blocking:heartbeat:test-3", other)])?;
    write(&mut conn, &[text("blocking:heartbeat:deploy-2", seconds)])?;

    symlink(scripts::file("cleanup.sh"), server.dir().join("cleanup.sh"))?;
    let port = server.port().to_string();
    let code = block("comm -23")?.replace("redis-cli ", &format!("redis-cli -p {port} "));
    let mut shell = Command::new("sh");
    shell.args(["-euc", &code]).current_dir(server.dir());
    let said = scripts::said(shell.env("REDIS_PORT", &port))?;
    ensure!(
        said.status == 0 && said.text == "only the script:\ndeploy-2\nonly the module:\ntest-3\n",
        "{}; `make setup` installs jq",
        said.text
    );
    Ok(())
}
