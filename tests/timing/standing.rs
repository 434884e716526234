//! What the loaded module costs while no run is on: one look at the name of every key that is created.

use anyhow::{Context, Result};
use blocking_harness::{Server, info_field, load_foreign, redis};

const KEYS: u64 = 200_000;
const ROUNDS: usize = 5;

/// Server time for writing one new key, in microseconds, by the server's own account.
fn write_us(server: &Server) -> Result<f64> {
    let mut conn = server.client()?;
    redis::cmd("FLUSHALL").exec(&mut conn)?;
    redis::cmd("CONFIG").arg("RESETSTAT").exec(&mut conn)?;
    load_foreign(&mut conn, KEYS, |_| ())?;
    let stats = info_field(&mut conn, "commandstats", "cmdstat_mset")?;
    let mut fields = stats.split(',');
    let total_us = fields.find_map(|field| field.strip_prefix("usec="));
    Ok(total_us.context("usec")?.parse::<f64>()? / KEYS as f64)
}

#[test]
fn creating_a_key_costs_little_more_than_without_the_module() -> Result<()> {
    let _alone = super::stalls::one_at_a_time();
    let without = Server::builder().module(false).start()?;
    let with = Server::start()?;
    let mut pairs = Vec::new();
    for _ in 0..ROUNDS {
        pairs.push((write_us(&without)?, write_us(&with)?));
    }
    let fastest = |pick: fn(&(f64, f64)) -> f64| pairs.iter().map(pick).fold(f64::MAX, f64::min);
    let (plain_us, loaded_us) = (fastest(|p| p.0), fastest(|p| p.1));
    eprintln!(
        "a new key in MSET, server time: {plain_us:.2} us without the module, {loaded_us:.2} us with it; rounds {pairs:.2?}"
    );
    assert!(loaded_us < plain_us * 1.5, "{pairs:?}");
    Ok(())
}
