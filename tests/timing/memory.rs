//! Memory before and after many runs and many loads of the module: nothing may stay behind.
//! Looks at the server's own account of its memory, which the module's allocations are part of, and at the process's.

use anyhow::{Result, ensure};
use blocking_harness::{
    Fleet, Server, cleanup, info_field, load_foreign, module_path, redis, server_now_ms,
    wait_for_value,
};
use redis::Connection;

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

/// What the server uses when everything that it frees in the background is freed.
fn used_memory(conn: &mut Connection) -> Result<i64> {
    settle(conn)?;
    Ok(info_field(conn, "memory", "used_memory")?.parse()?)
}

fn resident(conn: &mut Connection) -> Result<i64> {
    let () = redis::cmd("MEMORY").arg("PURGE").query(conn)?;
    Ok(info_field(conn, "memory", "used_memory_rss")?.parse()?)
}

fn settle(conn: &mut Connection) -> Result<()> {
    let deadline = std::time::Duration::from_secs(30);
    let pending = || info_field(conn, "memory", "lazyfree_pending_objects");
    wait_for_value("the background to finish", deadline, pending, |left| {
        left == "0"
    })?;
    // Tables that shrink or grow are moved bit by bit; two are held at once meanwhile.
    let rehashing = || {
        let stats: String = redis::cmd("DEBUG").arg(&["HTSTATS", "0"]).query(conn)?;
        Ok(stats.contains("rehashing target"))
    };
    wait_for_value("the tables to rest", deadline, rehashing, |busy| !busy).map(drop)
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
