//! What names and patterns that are made to harm cost the server's main thread: about as much as harmless ones of the
//! same length.
//! Must not look at a clock: processor time is compared with processor time, side by side, and reads are counted, so
//! that other work of the machine does not matter.

use anyhow::{Result, ensure};
use blocking_harness::redis::{Connection, cmd};
use blocking_harness::{
    Server, TOO_LATE, cleanup, cleanup_async, command, info_field, load_foreign,
};

use super::mid_run::slow_server;
use super::{last_run, write};

/// What is made to harm may cost so many times as much as what is not: up to 10 times was measured, without
/// optimization, and without bounds on names and steps it is 50 to 1,000 times.
const MOST: u64 = 20;

const OLD: &str = r#"{"timestamp":1700000000000}"#;

/// Processor time that the main thread has had so far.
fn main_thread_us(conn: &mut Connection) -> Result<u64> {
    let mut sum = 0.0;
    for what in ["user", "sys"] {
        let field = format!("used_cpu_{what}_main_thread");
        sum += info_field(conn, "cpu", &field)?.parse::<f64>()?;
    }
    Ok((sum * 1e6) as u64)
}

/// Holds one cost against the other.
fn compare(what: &str, harmless_us: u64, hostile_us: u64) -> Result<()> {
    eprintln!("{what}: {hostile_us} us, harmless {harmless_us} us");
    ensure!(
        hostile_us < MOST * harmless_us,
        "{what}: {hostile_us} us, harmless {harmless_us} us"
    );
    Ok(())
}

#[test]
fn a_pattern_that_is_hard_to_match_costs_as_much_as_another() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..3 {
        // At each byte another set of places in the pattern, and no match in the end.
        let id: String = (0..200_000)
            .map(|_| random.choice(['a', 'b']).unwrap_or('a'))
            .collect();
        let key = format!("blocking:heartbeat:{id}{}", "c".repeat(600));
        write(&mut conn, [(key, OLD)])?;
    }
    let mut cost = |pattern: &str| -> Result<u64> {
        let before_us = main_thread_us(&mut conn)?;
        let list = command(&mut conn, "BLOCKING.LIST", &["MATCH", pattern])?;
        ensure!(list.int("coordinators_matched")? == 0, "{list:?}");
        Ok(main_thread_us(&mut conn)? - before_us)
    };
    let harmless_us = cost(&format!("*{}", "z".repeat(502)))?;
    let hostile_us = cost(&format!("*a{}", "?".repeat(501)))?;
    compare("LIST", harmless_us, hostile_us)
}

#[test]
fn a_birth_with_a_name_full_of_colons_costs_as_much_as_another() -> Result<()> {
    let cost = |birth: &str| -> Result<u64> {
        let server = slow_server()?;
        let mut conn = server.client()?;
        load_foreign(&mut conn, 20_000, |_| ())?;
        let key = format!("blocking:idempotency:x:{}q", "a:".repeat(16_000));
        let pairs = [("blocking:heartbeat:x", OLD), (key.as_str(), "1")];
        write(&mut conn, pairs)?;
        let pace = |conn: &mut Connection, percent: &str| -> Result<()> {
            let mut config = cmd("CONFIG");
            config.arg(&["SET", "blocking.idle-cpu-percent", percent]);
            Ok(config.exec(conn)?)
        };
        pace(&mut conn, "1")?;
        let before_us = main_thread_us(&mut conn)?;
        cleanup_async(&mut conn, &[])?;
        write(&mut conn, [(birth, OLD)])?;
        let state = command(&mut conn, "BLOCKING.STATUS", &[])?.text("state")?;
        ensure!(state == "collecting", "{TOO_LATE}: {state}");
        pace(&mut conn, "100")?;
        last_run(&mut conn)?;
        Ok(main_thread_us(&mut conn)? - before_us)
    };
    let long = format!("swarm:s{}:z", ":blocking:heartbeat".repeat(5_000));
    let harmless = format!("swarm:s:blocking:heartbeat:{}", "z".repeat(long.len() - 27));
    // The smaller of two: other work of the machine only ever adds to it.
    let smaller = |name: &str| -> Result<u64> { Ok(cost(name)?.min(cost(name)?)) };
    let (harmless_us, hostile_us) = (smaller(&harmless)?, smaller(&long)?);
    compare("a birth", harmless_us, hostile_us)
}

/// In the slice that removes a key, whatever else could own it would come on top, uncounted.
#[test]
fn what_else_could_own_a_key_is_hardly_read_again_to_remove_it() -> Result<()> {
    const KEYS: usize = 60;
    // So few that the names of all can be looked up where the server does not tell of new keys, too.
    const OWNERS: usize = 12;
    let reads = |owners: usize| -> Result<i64> {
        let server = Server::start()?;
        let mut conn = server.client()?;
        let ids = |n: usize| (0..OWNERS).map(move |owner| format!("{n}-{owner}"));
        let heartbeats = (0..KEYS).flat_map(ids).chain(["x".to_owned()]);
        let heartbeats = heartbeats.map(|id| (format!("blocking:heartbeat:{id}"), OLD));
        write(&mut conn, heartbeats)?;
        // Each could be a message of `x` to any of so many others.
        let keys = (0..KEYS).map(|n| {
            let named: Vec<String> = ids(n).take(owners).collect();
            let key = format!("blocking:idempotency:x:{}:{n}:init", named.join(":"));
            (key, "1")
        });
        write(&mut conn, keys)?;
        let hits = |conn: &mut Connection| -> Result<i64> {
            Ok(info_field(conn, "stats", "keyspace_hits")?.parse()?)
        };
        let before = hits(&mut conn)?;
        let reply = cleanup(&mut conn, &[])?;
        let all = (KEYS * OWNERS + 1 + KEYS) as i64;
        ensure!(reply.int("keys_removed")? == all, "{reply:?}");
        Ok(hits(&mut conn)? - before)
    };
    let (few, many) = (reads(1)?, reads(OWNERS)?);
    eprintln!("reads: {many}, with one other owner {few}");
    let most = (KEYS * OWNERS / 3) as i64;
    ensure!(
        few > 0 && many - few < most,
        "{many}, with one other owner {few}"
    );
    Ok(())
}
