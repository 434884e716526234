//! Orphans that do not say how old they are: they go a grace after a run first saw them.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use blocking_harness::redis::{Connection, cmd, pipe};
use blocking_harness::{Server, cleanup, dbsize};

use super::{counts, keys};

const SILENT: [&str; 3] = [
    "blocking:signal:silent",
    "blocking:ack:silent:s1",
    "swarm:s:agent:silent:activity",
];

/// Keys that do not say how old they are, of several types.
fn silent(conn: &mut Connection) -> Result<()> {
    let mut commands = pipe();
    commands.cmd("SET").arg(SILENT[0]).arg("ping");
    commands.cmd("SETEX").arg(SILENT[1]).arg(3_600).arg("1");
    commands.cmd("HSET").arg(SILENT[2]).arg("at").arg("noon");
    Ok(commands.query(conn)?)
}

/// Longer than a grace of one second, with what is rounded up and with the margin of the server's clock for
/// uses of keys.
fn outwait_the_grace() {
    sleep(Duration::from_millis(5_200));
}

fn run(conn: &mut Connection) -> Result<[i64; 3]> {
    counts(&cleanup(conn, &["ORPHANS", "1"])?)
}

#[test]
fn what_tells_no_time_goes_a_grace_after_it_was_first_seen() -> Result<()> {
    let server = Server::builder().aof(true).start()?;
    let mut conn = server.client()?;
    silent(&mut conn)?;
    // No run has looked yet, so it makes no difference how long they have been there.
    outwait_the_grace();
    ensure!(run(&mut conn)? == [3, 3, 0]);
    ensure!(run(&mut conn)? == [3, 3, 0]);
    outwait_the_grace();
    let dry = cleanup(&mut conn, &["ORPHANS", "1", "DRYRUN"])?;
    ensure!(counts(&dry)? == [3, 0, 3], "{dry:?}");
    // A restart forgets, which only postpones.
    server.restart()?;
    let mut conn = server.client()?;
    ensure!(run(&mut conn)? == [3, 3, 0]);
    outwait_the_grace();
    ensure!(run(&mut conn)? == [3, 0, 3]);
    ensure!(dbsize(&mut conn)? == 0);
    // What was removed is forgotten, too: written again, it is new.
    silent(&mut conn)?;
    ensure!(run(&mut conn)? == [3, 3, 0]);
    Ok(())
}

#[test]
fn a_key_that_was_written_again_waits_again() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let rewrites: [&[&str]; 5] = [
        &["SET", "blocking:signal:a", "pong"],
        &["SETEX", "blocking:signal:a", "3600", "ping"],
        &["APPEND", "blocking:signal:a", "!"],
        &["EXPIRE", "blocking:signal:a", "3600"],
        &["PERSIST", "blocking:signal:b"],
    ];
    for rewrite in rewrites {
        let () = cmd("FLUSHALL").query(&mut conn)?;
        let () = cmd("SET")
            .arg("blocking:signal:a")
            .arg("ping")
            .query(&mut conn)?;
        let () = cmd("SETEX")
            .arg(&["blocking:signal:b", "9000", "ping"])
            .query(&mut conn)?;
        ensure!(run(&mut conn)? == [2, 2, 0]);
        outwait_the_grace();
        let mut command = cmd(rewrite[0]);
        command.arg(&rewrite[1..]).exec(&mut conn)?;
        ensure!(run(&mut conn)? == [2, 1, 1], "{rewrite:?}");
        ensure!(keys(&mut conn)?.contains(rewrite[1]), "{rewrite:?}");
    }
    Ok(())
}

#[test]
fn what_was_seen_is_forgotten_with_the_data() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let forgetting: [&[&str]; 3] = [&["FLUSHALL"], &["FLUSHDB"], &["SWAPDB", "0", "1"]];
    for words in forgetting {
        let () = cmd("FLUSHALL").query(&mut conn)?;
        silent(&mut conn)?;
        ensure!(run(&mut conn)? == [3, 3, 0]);
        outwait_the_grace();
        cmd(words[0]).arg(&words[1..]).exec(&mut conn)?;
        silent(&mut conn)?;
        ensure!(run(&mut conn)? == [3, 3, 0], "{words:?}");
    }
    // Each database has a memory of its own.
    let mut other = server.client_db(5)?;
    silent(&mut other)?;
    ensure!(run(&mut other)? == [3, 3, 0]);
    outwait_the_grace();
    ensure!(run(&mut conn)? == [3, 0, 3]);
    ensure!(run(&mut other)? == [3, 0, 3]);
    Ok(())
}

#[test]
fn a_flush_of_another_database_forgets_nothing_of_this_one() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let mut other = server.client_db(1)?;
    let orphans = ["ORPHANS", "1"];
    let () = cmd("SET")
        .arg("blocking:signal:a")
        .arg("x")
        .query(&mut conn)?;
    let reply = cleanup(&mut conn, &orphans)?;
    ensure!(reply.int("orphans_too_young")? == 1, "{reply:?}");
    std::thread::sleep(Duration::from_millis(3_500));
    let () = cmd("FLUSHDB").query(&mut other)?;
    let reply = cleanup(&mut conn, &orphans)?;
    ensure!(reply.int("orphans_removed")? == 1, "{reply:?}");
    Ok(())
}
