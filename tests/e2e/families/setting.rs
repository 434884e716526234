//! The setting itself: refused with a place, shown, rewritten, changed between runs and in the middle of one.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use blocking_harness::redis::{Connection, ConnectionLike, Value, cmd};
use blocking_harness::{Server, TOO_LATE, cleanup, cleanup_async, existing_keys, server_now_ms};

use super::{NAME, OLD_MS, OTHER, get, set, write, write_family};
use crate::environment::long_run::{MOMENTS, Moment, Slow, World, assert_healthy, wait_until_idle};

fn refusal(conn: &mut Connection, value: &str) -> Result<String> {
    match conn.req_command(cmd("CONFIG").arg(&["SET", NAME, value]))? {
        Value::ServerError(error) => Ok(error.details().unwrap_or_default().to_owned()),
        other => bail!("{value} gave {other:?}"),
    }
}

/// By another layout it may have had an owner.
#[test]
fn what_was_first_seen_by_another_layout_is_forgotten() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    write(&mut conn, b"act:gone", "no time")?;
    let too_young = |conn: &mut Connection| -> Result<bool> {
        let reply = cleanup(conn, &["ORPHANS", "1"])?;
        Ok(reply.int("orphans_too_young")? == 1 && reply.int("keys_removed")? == 0)
    };
    let grace = || sleep(Duration::from_millis(3_100));
    set(&mut conn, OTHER)?;
    ensure!(too_young(&mut conn)?, "seen for the first time");
    grace();
    set(&mut conn, &format!("{OTHER} signal=more:{{id}}"))?;
    ensure!(too_young(&mut conn)?, "forgotten");
    grace();
    // The same again is no other layout.
    set(&mut conn, &format!("{OTHER} signal=more:{{id}}"))?;
    let reply = cleanup(&mut conn, &["ORPHANS", "1"])?;
    ensure!(reply.int("orphans_removed")? == 1, "{reply:?}");
    Ok(())
}

#[test]
fn a_run_under_way_keeps_the_layout_it_began_with() -> Result<()> {
    for moment in MOMENTS {
        let server = Server::start()?;
        let mut conn = server.client()?;
        let world = World::load(&mut conn)?;
        let other = write_family(&mut conn, b"c-1", OLD_MS)?;
        let slow = Slow::start(&server)?;
        cleanup_async(&mut conn, &[])?;
        slow.hold_at(&mut conn, moment)?;
        set(&mut conn, OTHER)?;
        ensure!(world.dead_keys_left(&mut conn)? > 0, "{TOO_LATE}");
        drop(slow);
        let report = wait_until_idle(&mut conn)?;
        ensure!(
            report.text("status")? == "complete",
            "{moment:?}: {report:?}"
        );
        ensure!(
            world.dead_keys_left(&mut conn)? == 0,
            "{moment:?}: {report:?}"
        );
        ensure!(
            existing_keys(&mut conn, other.clone())? == other,
            "{moment:?}"
        );
        let reply = cleanup(&mut conn, &[])?;
        ensure!(
            reply.int("keys_removed")? == other.len() as i64,
            "{reply:?}"
        );
        world.assert_others_are_whole(&mut conn)?;
        assert_healthy(&server)?;
    }
    Ok(())
}

/// A heartbeat that appears in the middle of a run is known by the layout of the run, in an unknown swarm, and
/// whatever the setting says by then.
#[test]
fn births_follow_the_layout_of_the_run() -> Result<()> {
    let built_in = get(&mut Server::start()?.client()?)?;
    let swarms = "heartbeat=swarm:{swarm}:blocking:heartbeat:{id}";
    let teams = built_in.replace(swarms, "heartbeat=team:{swarm}:beat:{id}");
    ensure!(teams != built_in, "{built_in}");
    let server = Server::start()?;
    let mut conn = server.client()?;
    let world = World::load(&mut conn)?;
    set(&mut conn, &teams)?;
    let slow = Slow::start(&server)?;
    cleanup_async(&mut conn, &[])?;
    slow.hold_at(&mut conn, Moment::Reaping)?;
    set(&mut conn, &built_in)?;
    let last = world.dead.len() - 1;
    let id = world.dead.ids()[last].clone();
    let family = world.dead.family_keys(last);
    let now = server_now_ms(&mut conn)?.to_string();
    write(&mut conn, format!("team:new:beat:{id}").as_bytes(), &now)?;
    let there = existing_keys(&mut conn, family.clone())?;
    ensure!(there.len() == family.len(), "{TOO_LATE}");
    drop(slow);
    let report = wait_until_idle(&mut conn)?;
    ensure!(report.text("status")? == "complete", "{report:?}");
    let kept = existing_keys(&mut conn, family.clone())?;
    ensure!(kept == family, "{kept:?}: {report:?}");
    // Beside its own there is one idempotency key that names it, too.
    let left = world.dead_keys_left(&mut conn)?;
    ensure!(left <= family.len() + 1, "{left}: {report:?}");
    Ok(())
}

#[test]
fn a_bad_template_is_refused_with_its_place_and_changes_nothing() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let built_in = get(&mut conn)?;
    ensure!(
        built_in.starts_with("heartbeat=blocking:heartbeat:{id} "),
        "{built_in}"
    );
    for (value, place, accepted) in [
        ("", 1, "at least one heartbeat="),
        ("signal=a:{id}", 14, "at least one heartbeat="),
        (
            "heartbeat=a:{id} beat=b:{id}",
            18,
            "begins with heartbeat=, signal=",
        ),
        ("heartbeat=a:{ID}", 13, "{id} and {swarm}"),
        ("heartbeat=a{id}", 12, "text that ends with a colon"),
        ("heartbeat=a:{id}b", 17, "end at a colon"),
        ("heartbeat=a:\"{id}", 13, "quotes, backslashes"),
        ("heartbeat=a:{id}*", 17, "takes no *"),
    ] {
        let error = refusal(&mut conn, value)?;
        let place = format!("at byte {place}: ");
        ensure!(
            error.contains(&place) && error.contains(accepted),
            "{value}: {error}"
        );
        ensure!(error.contains(NAME), "{value}: {error}");
        ensure!(get(&mut conn)? == built_in, "{value} changed something");
    }
    // What is shown can be given back.
    set(&mut conn, OTHER)?;
    set(&mut conn, &built_in)?;
    let refused = Server::builder().arg(NAME, "\"heartbeat=a{id}\"").start();
    let error = format!("{:#}", refused.err().context("the server started")?);
    ensure!(error.contains("at byte 12: "), "{error}");
    Ok(())
}

#[test]
fn a_layout_survives_rewrites_and_restarts() -> Result<()> {
    let server = Server::start()?;
    // As long as can be, and all that is not refused.
    let long = format!("signal={}:{{id}}", "s".repeat(500));
    let many = (0..60).map(|n| format!("ack=x{n}:{{id}}* "));
    let strange = "activity=#$%&?[^]`|~\u{e9}:{id}";
    let value = format!(
        "  heartbeat=h:{{id}} {long}  {strange} {}",
        many.collect::<String>()
    );
    for value in [value.as_str(), OTHER] {
        set(&mut server.client()?, value)?;
        for _ in 0..2 {
            let mut conn = server.client()?;
            ensure!(get(&mut conn)? == value);
            let () = cmd("CONFIG").arg("REWRITE").query(&mut conn)?;
            server.restart()?;
        }
        ensure!(get(&mut server.client()?)? == value);
    }
    let mut conn = server.client()?;
    write_family(&mut conn, b"c-1", OLD_MS)?;
    let reply = cleanup(&mut conn, &[])?;
    ensure!(reply.int("coordinators_removed")? == 1, "{reply:?}");
    Ok(())
}
