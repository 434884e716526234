//! The limit: what the server itself charges for one full SCAN of the keyspace and UNLINK of exactly the right keys.
//! No contender that uses the server's commands can be cheaper: the limit does not even have to find the names.

use std::time::Duration;

use anyhow::{Context, Result};
use blocking_harness::info_field;
use blocking_harness::redis::{self, Connection, Value};

use super::{Contender, Done, LIMIT};
use crate::fixture::Fixture;

/// Keys in a page and in an UNLINK. Larger ones hardly make a key cheaper.
const BATCH: usize = 1_000;

pub struct Limit;

impl Contender for Limit {
    fn name(&self) -> &'static str {
        LIMIT
    }

    fn what(&self) -> &'static str {
        "what the server charges in commandstats for one full SCAN and UNLINK of exactly the same keys"
    }

    fn run(&self, fixture: &Fixture, conn: &mut Connection) -> Result<Done> {
        let before_us = charged_us(conn)?;
        let mut cursor = b"0".to_vec();
        loop {
            let mut scan = redis::cmd("SCAN");
            let (next, _page): (Vec<u8>, Value) =
                scan.arg(&cursor).arg("COUNT").arg(BATCH).query(conn)?;
            cursor = next;
            if cursor == b"0" {
                break;
            }
        }
        let mut removed = 0;
        let mut keys = fixture.doomed_keys().peekable();
        while keys.peek().is_some() {
            let mut unlink = redis::cmd("UNLINK");
            for key in keys.by_ref().take(BATCH) {
                unlink.arg(key);
            }
            removed += unlink.query::<u64>(conn)?;
        }
        let charged = Duration::from_micros(charged_us(conn)? - before_us);
        Ok(Done {
            charged: Some(charged),
            ..Done::removed(removed)
        })
    }
}

fn charged_us(conn: &mut Connection) -> Result<u64> {
    let mut sum = 0;
    for command in ["cmdstat_scan", "cmdstat_unlink"] {
        // INFO does not list a command that was never called.
        if let Ok(stats) = info_field(conn, "commandstats", command) {
            sum += usec(&stats).with_context(|| format!("no usec in {stats}"))?;
        }
    }
    Ok(sum)
}

fn usec(stats: &str) -> Option<u64> {
    let mut fields = stats.split(',');
    fields.find_map(|field| field.strip_prefix("usec=")?.parse().ok())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_charge_of_a_command_is_its_usec() {
        let stats = "calls=12,usec=3456,usec_per_call=288.00,rejected_calls=0,failed_calls=0";
        assert_eq!(super::usec(stats), Some(3_456));
        assert_eq!(super::usec("calls=12"), None);
    }
}
