//! Orphans whose values no run reads: strings that are too long, and whatever is no string.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use blocking_harness::redis::{Pipeline, pipe};
use blocking_harness::{Server, cleanup, server_now_ms, wait_for_value};

use super::{DEADLINE, counts, keys};

const OLD_MS: i64 = 1_600_000_000_000;
const BEYOND_MAX_BYTES: usize = 70_000;

fn long_value(ms: i64) -> String {
    let pad = "x".repeat(BEYOND_MAX_BYTES);
    format!(r#"{{"timestamp":{ms:013},"pad":"{pad}"}}"#)
}

#[test]
fn a_name_with_an_old_time_proves_nothing_about_a_value_that_is_not_read() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let name = |id: &str| format!("blocking:idempotency:{id}:b:completion:1:{OLD_MS}");
    let now = server_now_ms(&mut conn)?;
    pipe()
        .cmd("SET")
        .arg(name("long"))
        .arg(long_value(now))
        .cmd("HSET")
        .arg(name("hash"))
        .arg(&["timestamp", &now.to_string()])
        .cmd("RPUSH")
        .arg(name("list"))
        .arg(now)
        .cmd("SET")
        .arg(name("read"))
        .arg("1")
        .exec(&mut conn)?;
    let reply = cleanup(&mut conn, &["ORPHANS", "600"])?;
    ensure!(counts(&reply)? == [4, 3, 1], "{reply:?}");
    ensure!(keys(&mut conn)? == ["long", "hash", "list"].map(name).into());
    Ok(())
}

/// Writes the keys of all kinds that belong to an id, always with values of the same length.
fn write(pipe: &mut Pipeline, id: &str, number: usize) -> BTreeSet<String> {
    let key = |kind: &str| format!("blocking:signal:{id}-{kind}");
    let value = format!("{number:08}");
    let long = long_value(number as i64);
    pipe.cmd("SET").arg(key("long")).arg(long);
    pipe.cmd("HSET").arg(key("hash")).arg(&["beat", &value]);
    pipe.cmd("ZADD").arg(key("zset")).arg(&value).arg("beat");
    pipe.cmd("DEL").arg(key("list"));
    pipe.cmd("RPUSH").arg(key("list")).arg(&value);
    ["long", "hash", "zset", "list"].map(key).into()
}

#[test]
fn one_that_is_written_again_with_the_same_length_stays_and_one_that_is_not_goes() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let mut number = 0;
    let mut first = pipe();
    let silent = write(&mut first, "silent", 0);
    first.exec(&mut conn)?;
    let mut alive = BTreeSet::new();
    let round = || -> Result<BTreeSet<String>> {
        number += 1;
        let mut pipe = pipe();
        alive = write(&mut pipe, "alive", number);
        pipe.exec(&mut conn)?;
        cleanup(&mut conn, &["ORPHANS", "2"])?;
        keys(&mut conn)
    };
    let left = wait_for_value("the end of the silent", DEADLINE, round, |left| {
        left.is_disjoint(&silent)
    })?;
    ensure!(left == alive, "{left:?} are left");
    Ok(())
}

/// Where the server does not know when a key was used, nothing shows that it was not.
#[test]
fn where_uses_are_counted_instead_of_timed_it_stays() -> Result<()> {
    let server = Server::builder()
        .arg("maxmemory-policy", "allkeys-lfu")
        .start()?;
    let mut conn = server.client()?;
    let mut first = pipe();
    let unread = write(&mut first, "silent", 0);
    first.cmd("SET").arg("blocking:signal:read").arg("ping");
    first.exec(&mut conn)?;
    let round = || -> Result<BTreeSet<String>> {
        cleanup(&mut conn, &["ORPHANS", "1"])?;
        keys(&mut conn)
    };
    let is_gone = |left: &BTreeSet<String>| !left.contains("blocking:signal:read");
    let left = wait_for_value("the end of what is read", DEADLINE, round, is_gone)?;
    ensure!(left == unread, "{left:?} are left");
    Ok(())
}
