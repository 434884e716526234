//! Servers that refuse the work: a replica, and one that asks for another password. Whoever only reads the exit status
//! of a script must learn of it.

use anyhow::Result;
use blocking_harness::redis::Connection;
use blocking_harness::{Server, redis, server_now_ms};

use crate::case::{Contender, End, Now, Outcome, Pair, Row, family, gone, left, write};

pub const REPLICA: Row = Row {
    title: "on a replica",
    shell: left(5).ending(End::Claims(5)),
    lua: left(5).ending(End::Fails("READONLY")),
    module: left(5).ending(End::Fails("READONLY")),
};

pub const PASSWORD: Row = Row {
    title: "with a wrong password",
    shell: left(5).ending(End::Claims(0)),
    lua: left(5).ending(End::Fails("NOAUTH")),
    module: left(5).ending(End::Fails("NOAUTH")),
};

/// One dead coordinator.
fn load(conn: &mut Connection) -> Result<Vec<Pair>> {
    let now = Now {
        ms: server_now_ms(conn)?,
    };
    let dead = family("build-7", now.old());
    write(conn, &dead)?;
    Ok(dead)
}

/// All three on this server; `conn` may read there.
fn hold(row: &Row, server: &Server, conn: &mut Connection, dead: &[Pair]) -> Result<()> {
    for contender in Contender::ALL {
        let expected = contender.expected(row);
        let said = contender.run(server, &[])?;
        let seen = Outcome {
            end: contender.end(&said, expected.end)?,
            left: dead.len() - gone(conn, dead)?.len(),
            lost: 0,
        };
        assert_eq!(seen, expected, "{contender:?}: {}", said.text);
    }
    Ok(())
}

#[test]
fn a_replica_is_left_alone_and_the_shell_script_says_otherwise() -> Result<()> {
    let primary = crate::server()?;
    let replica = crate::builder().replica_of(&primary).start()?;
    let dead = load(&mut primary.client()?)?;
    replica.wait_in_sync_with(&primary)?;
    hold(&REPLICA, &replica, &mut replica.client()?, &dead)
}

#[test]
fn with_a_wrong_password_the_shell_script_reports_success() -> Result<()> {
    let server = crate::server()?;
    let mut conn = server.client()?;
    let dead = load(&mut conn)?;
    let password = ["SET", "requirepass", "secret"];
    redis::cmd("CONFIG").arg(&password).exec(&mut conn)?;
    hold(&PASSWORD, &server, &mut conn, &dead)
}
