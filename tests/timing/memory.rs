//! Memory before and after many runs and many loads of the module: nothing may stay behind.
//! Looks at the server's own account of its memory, which the module's allocations are part of, and at the process's.

use anyhow::{Context, Result, bail, ensure};
use blocking_harness::{
    Fleet, Server, cleanup, command, info_field, load_foreign, module_path, redis, server_now_ms,
    settled_memory, wait_for_value,
};
use redis::{Connection, Value};

use super::stalls::one_at_a_time;

const FOREIGN: u64 = 200_000;
const COORDINATORS: usize = 2_000;
const RUNS: usize = 20;

/// One leaked name a run would be 200,000 x 20 x 20 bytes; one leaked record of the dead 12,000 x 60 x 20. What the
/// server itself keeps from run to run, such as client buffers, stays below this.
const TOLERANCE_BYTES: i64 = 512 * 1024;

/// The process's own account counts the allocator's free pages too.
const RESIDENT_TOLERANCE_BYTES: i64 = 16 * 1024 * 1024;

const RELOADS: usize = 100;

/// Bytes a reload may keep: the server's own tables for commands, settings and their help.
const BYTES_A_RELOAD: i64 = 4 * 1024;

fn used_memory(conn: &mut Connection) -> Result<i64> {
    Ok(settled_memory(conn)?.try_into()?)
}

fn resident(conn: &mut Connection) -> Result<i64> {
    let () = redis::cmd("MEMORY").arg("PURGE").query(conn)?;
    Ok(info_field(conn, "memory", "used_memory_rss")?.parse()?)
}

fn server() -> Result<Server> {
    // Client buffers shrink and grow by the clock; the query buffer is the only one worth naming here.
    Server::builder().arg("hz", 100).start()
}

#[test]
fn twenty_dry_runs_leave_memory_as_it_was() -> Result<()> {
    let _alone = one_at_a_time();
    let server = server()?;
    let mut conn = server.client()?;
    load_foreign(&mut conn, FOREIGN, |_| ())?;
    let now_ms = server_now_ms(&mut conn)?;
    let fleet = Fleet::numbered("dead", COORDINATORS, now_ms).age_s(10_000);
    fleet.load(&mut conn, |_| ())?;
    // The first run makes what is made once.
    cleanup(&mut conn, &["DRYRUN"])?;
    let (before, resident_before) = (used_memory(&mut conn)?, resident(&mut conn)?);
    for _ in 0..RUNS {
        let reply = cleanup(&mut conn, &["DRYRUN"])?;
        ensure!(
            reply.int("coordinators_removed")? == COORDINATORS as i64,
            "{reply:?}"
        );
    }
    let (after, resident_after) = (used_memory(&mut conn)?, resident(&mut conn)?);
    let grown = after - before;
    let resident_grown = resident_after - resident_before;
    eprintln!(
        "{RUNS} dry runs: used {before} -> {after} ({grown:+}), resident {resident_grown:+} bytes"
    );
    ensure!(
        grown.abs() <= TOLERANCE_BYTES,
        "used memory changed by {grown} bytes"
    );
    ensure!(
        resident_grown <= RESIDENT_TOLERANCE_BYTES,
        "resident grew by {resident_grown}"
    );
    Ok(())
}

#[test]
fn twenty_runs_leave_memory_as_it_was() -> Result<()> {
    let _alone = one_at_a_time();
    let server = server()?;
    let mut conn = server.client()?;
    load_foreign(&mut conn, FOREIGN, |_| ())?;
    let now_ms = server_now_ms(&mut conn)?;
    let fleet = Fleet::numbered("dead", COORDINATORS, now_ms).age_s(10_000);
    fleet.load(&mut conn, |_| ())?;
    cleanup(&mut conn, &[])?;
    let (before, resident_before) = (used_memory(&mut conn)?, resident(&mut conn)?);
    for _ in 0..RUNS {
        fleet.load(&mut conn, |_| ())?;
        let reply = cleanup(&mut conn, &[])?;
        ensure!(
            reply.int("coordinators_removed")? == COORDINATORS as i64,
            "{reply:?}"
        );
    }
    let (after, resident_after) = (used_memory(&mut conn)?, resident(&mut conn)?);
    let grown = after - before;
    let resident_grown = resident_after - resident_before;
    eprintln!(
        "{RUNS} runs: used {before} -> {after} ({grown:+}), resident {resident_grown:+} bytes"
    );
    ensure!(
        grown.abs() <= TOLERANCE_BYTES,
        "used memory changed by {grown} bytes"
    );
    ensure!(
        resident_grown <= RESIDENT_TOLERANCE_BYTES,
        "resident grew by {resident_grown}"
    );
    Ok(())
}

#[test]
fn a_hundred_reloads_with_a_run_each_keep_next_to_nothing() -> Result<()> {
    let _alone = one_at_a_time();
    let server = server()?;
    let mut conn = server.client()?;
    let path = module_path(&mut conn)?;
    load_foreign(&mut conn, 1_000, |_| ())?;
    let now_ms = server_now_ms(&mut conn)?;
    let fleet = Fleet::numbered("dead", 50, now_ms).age_s(10_000);
    let round = |conn: &mut Connection| -> Result<()> {
        fleet.load(conn, |_| ())?;
        let reply = cleanup(conn, &[])?;
        ensure!(reply.int("coordinators_removed")? == 50, "{reply:?}");
        let () = redis::cmd("MODULE")
            .arg(&["UNLOAD", "blocking"])
            .query(conn)?;
        let () = redis::cmd("MODULE").arg(&["LOAD", &path]).query(conn)?;
        Ok(())
    };
    for _ in 0..5 {
        round(&mut conn)?;
    }
    let before = used_memory(&mut conn)?;
    for _ in 0..RELOADS {
        round(&mut conn)?;
    }
    let after = used_memory(&mut conn)?;
    let each = (after - before) / RELOADS as i64;
    eprintln!("{RELOADS} reloads: used {before} -> {after}, {each} bytes each");
    ensure!(each <= BYTES_A_RELOAD, "every reload keeps {each} bytes");
    Ok(())
}

const MANY_RUNS: usize = 1_000;

/// A thousand runs must keep less than this: half of what the smallest leak would come to, for the smallest thing
/// that a run could leave behind, one block of the allocator, is 8 bytes. The other half is room for the server's own
/// tables, which may shrink meanwhile and hide as much.
const BYTES_OF_A_THOUSAND: i64 = 8 * MANY_RUNS as i64 / 2;

/// After so many looks that bring no smaller figure the smallest is taken.
const LOOKS: usize = 30;

/// The least that the server uses, over many looks: its buffers and tables come and go by the clock, a leak only comes.
/// Every look is a connection of its own, so that no earlier command has left anything in its buffers.
fn least_used(server: &Server) -> Result<i64> {
    settled_memory(&mut server.client()?)?;
    let mut least = i64::MAX;
    let mut looks = 0;
    while looks < LOOKS {
        let deadline = std::time::Duration::from_secs(30);
        let alone = || {
            let mut conn = server.client()?;
            let used = info_field(&mut conn, "memory", "used_memory")?.parse::<i64>()?;
            let clients = info_field(&mut conn, "clients", "connected_clients")?;
            Ok((clients, used))
        };
        let is_alone = |(clients, _): &(String, i64)| clients == "1";
        let (_, used) = wait_for_value("the only connection", deadline, alone, is_alone)?;
        looks += 1;
        if used < least {
            (least, looks) = (used, 0);
        }
    }
    Ok(least)
}

/// Some runs first, because what is made once is made then; then a thousand, and what they have kept.
fn a_thousand(
    what: &str,
    server: &Server,
    mut run: impl FnMut(&mut Connection, usize) -> Result<()>,
) -> Result<()> {
    let mut some = |from: usize, to: usize| -> Result<()> {
        let mut conn = server.client()?;
        (from..to).try_for_each(|number| run(&mut conn, number))
    };
    some(0, MANY_RUNS / 10)?;
    let mut before = least_used(server)?;
    let mut grown = 0;
    // What a run keeps grows with every thousand. The server's own memory has steps (24,688 bytes on Valkey 9, with a
    // module of any version), and stays where it is after one.
    for _ in 0..3 {
        some(0, MANY_RUNS)?;
        let after = least_used(server)?;
        grown = after - before;
        eprintln!(
            "{MANY_RUNS} {what}: used {before} -> {after} ({grown:+}), {:.3} bytes a run",
            grown as f64 / MANY_RUNS as f64
        );
        if grown < BYTES_OF_A_THOUSAND {
            return Ok(());
        }
        before = after;
    }
    bail!("{MANY_RUNS} {what} keep {grown} bytes")
}

/// A server that writes nothing down about the commands it is sent, with keys of others, and a few dead coordinators.
fn small_world(foreign: u64) -> Result<(Server, Fleet)> {
    let server = Server::builder()
        .arg("hz", 100)
        .arg("slowlog-log-slower-than", -1)
        .start()?;
    let mut conn = server.client()?;
    load_foreign(&mut conn, foreign, |_| ())?;
    let now_ms = server_now_ms(&mut conn)?;
    // Without TTLs: the table of those would grow and shrink.
    let fleet = Fleet::numbered("dead", 20, now_ms)
        .age_s(10_000)
        .ttl_s(None);
    fleet.load(&mut conn, |_| ())?;
    drop(conn);
    Ok((server, fleet))
}

#[test]
fn a_thousand_dry_runs_keep_less_than_a_block_each() -> Result<()> {
    let _alone = one_at_a_time();
    let (server, fleet) = small_world(300)?;
    a_thousand("dry runs", &server, |conn, number| {
        match number % 4 {
            0 => {
                let reply = cleanup(conn, &["DRYRUN"])?;
                ensure!(reply.int("coordinators_removed")? == fleet.len() as i64);
            }
            1 => {
                let reply = cleanup(conn, &["DRYRUN", "MATCH", "dead-1*", "LIMIT", "3"])?;
                ensure!(reply.text("status")? == "limited", "{reply:?}");
            }
            2 => {
                let reply = cleanup(conn, &["DRYRUN", "MATCH", "[^d]*", "IDS", "0"])?;
                ensure!(reply.int("coordinators_removed")? == 0, "{reply:?}");
            }
            _ => {
                let json: String = redis::cmd("BLOCKING.CLEANUP")
                    .arg(&["DRYRUN", "JSON"])
                    .query(conn)?;
                ensure!(json.contains("\"dead-7\""), "{json}");
            }
        }
        Ok(())
    })
}

#[test]
fn a_thousand_runs_keep_less_than_a_block_each() -> Result<()> {
    let _alone = one_at_a_time();
    let (server, fleet) = small_world(300)?;
    a_thousand("runs", &server, |conn, number| {
        fleet.load(conn, |_| ())?;
        let removed = if number % 2 == 0 {
            cleanup(conn, &["THRESHOLD", "60"])?.int("coordinators_removed")?
        } else {
            let json: String = redis::cmd("BLOCKING.CLEANUP").arg("JSON").query(conn)?;
            let json: serde_json::Value = serde_json::from_str(&json)?;
            json["coordinatorsRemoved"].as_i64().context("no count")?
        };
        ensure!(removed == fleet.len() as i64, "{removed} removed");
        Ok(())
    })
}

#[test]
fn a_thousand_runs_over_orphans_keep_less_than_a_block_each() -> Result<()> {
    let _alone = one_at_a_time();
    let (server, fleet) = small_world(300)?;
    let heartbeats: Vec<String> = (fleet.ids().iter())
        .map(|id| format!("blocking:heartbeat:{id}"))
        .collect();
    a_thousand("runs over orphans", &server, |conn, number| {
        fleet.load(conn, |_| ())?;
        // One that is written anew in each run, and so is never old enough.
        redis::pipe()
            .cmd("DEL")
            .arg(&heartbeats)
            .cmd("SET")
            .arg("blocking:signal:silent")
            .arg(format!("{:04}", number % 1_000))
            .exec(conn)?;
        let options = [&["ORPHANS", "DRYRUN"][..], &["ORPHANS"]][number % 2];
        let reply = cleanup(conn, options)?;
        ensure!(reply.int("orphans_removed")? > 0, "{reply:?}");
        ensure!(reply.int("orphans_too_young")? > 0, "{reply:?}");
        Ok(())
    })
}

#[test]
fn a_thousand_cancelled_runs_keep_less_than_a_block_each() -> Result<()> {
    let _alone = one_at_a_time();
    // Enough keys for a walk of several slices.
    let (server, _) = small_world(20_000)?;
    let mut cancelled = 0;
    a_thousand("cancelled runs", &server, |conn, number| {
        let mut pipe = redis::pipe();
        pipe.cmd("BLOCKING.CLEANUP").arg(&["DRYRUN", "ASYNC"]);
        // Both commands in one go end a run that has not begun; questions in between let it begin.
        for _ in 0..number % 3 {
            let () = pipe.query(conn)?;
            pipe.clear();
            pipe.cmd("PING");
        }
        let () = pipe.query(conn)?;
        let cancel: redis::RedisResult<Value> = redis::cmd("BLOCKING.CANCEL").query(conn);
        cancelled += usize::from(cancel.is_ok());
        let status = || -> Result<_> { Ok(command(conn, "BLOCKING.STATUS", &[])?) };
        let deadline = std::time::Duration::from_secs(30);
        wait_for_value("the end of the run", deadline, status, |status| {
            status.text("state").is_ok_and(|state| state == "idle")
        })?;
        Ok(())
    })?;
    ensure!(cancelled > MANY_RUNS / 2, "{cancelled} were cancelled only");
    Ok(())
}

#[test]
fn a_thousand_refused_commands_keep_less_than_a_block_each() -> Result<()> {
    let _alone = one_at_a_time();
    let (server, _) = small_world(300)?;
    let long = "x".repeat(600);
    let refused: [&[&str]; 7] = [
        &["BLOCKING.CLEANUP", "NONSENSE"],
        &["BLOCKING.CLEANUP", "THRESHOLD", "0"],
        &["BLOCKING.CLEANUP", "MATCH", "a*", "MATCH", "b*"],
        &["BLOCKING.CLEANUP", "MATCH", &long],
        &["BLOCKING.CLEANUP", "IDS"],
        &["BLOCKING.STATUS", "NONSENSE"],
        &["BLOCKING.CANCEL"],
    ];
    a_thousand("refused commands", &server, |conn, number| {
        let words = refused[number % refused.len()];
        let answer: redis::RedisResult<Value> = redis::cmd(words[0]).arg(&words[1..]).query(conn);
        ensure!(answer.is_err(), "{words:?}: {answer:?}");
        let script = "return redis.pcall('BLOCKING.CLEANUP')";
        let answer: redis::RedisResult<Value> = redis::cmd("EVAL").arg(script).arg(0).query(conn);
        ensure!(answer.is_err(), "{answer:?}");
        let () = redis::cmd("BLOCKING.STATUS").arg("JSON").query(conn)?;
        let () = redis::cmd("BLOCKING.HELP").query(conn)?;
        Ok(())
    })
}
