//! The environment changes during a query, or its caller disconnects: a caller that is there is told, and nothing is
//! left behind.

use std::thread::JoinHandle;

use anyhow::{Result, bail, ensure};
use blocking_harness::redis::{self, Connection, RedisResult, Value, cmd};
use blocking_harness::{FAMILY_SIZE, Server, cleanup, error_text, reply_map, wait_for_value};

use crate::environment::long_run::{
    DEADLINE, Moment, Raw, Slow, World, assert_healthy, run, status,
};

pub const QUERIES: [&[&str]; 3] = [
    &["BLOCKING.LIST"],
    &["BLOCKING.EXPLAIN", "dead-00007"],
    &["BLOCKING.DOCTOR"],
];

/// A client that waits for a query in a thread of its own.
pub struct Asker(JoinHandle<RedisResult<Value>>);

impl Asker {
    pub fn start(server: &Server, words: &'static [&'static str]) -> Result<Self> {
        let mut conn = server.client()?;
        let ask = move || cmd(words[0]).arg(&words[1..]).query(&mut conn);
        Ok(Self(std::thread::spawn(ask)))
    }

    pub fn answer(self) -> RedisResult<Value> {
        self.0.join().expect("the asking thread does not panic")
    }
}

/// Waits for the end of the query, and gives how many keys it was last seen to have looked at.
pub fn wait_until_over(conn: &mut Connection) -> Result<i64> {
    let mut scanned = 0;
    let look = || {
        let status = status(conn)?;
        if let Ok(current) = status.map("current") {
            scanned = current.int("keys_scanned")?;
        }
        status.text("state")
    };
    wait_for_value("the end of the query", DEADLINE, look, |state| {
        state == "idle"
    })?;
    Ok(scanned)
}

#[test]
fn a_query_that_cannot_go_on_says_why() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let table = [
        ("FLUSHALL", "INTERRUPTED", "the database was flushed"),
        ("FLUSHDB ASYNC", "INTERRUPTED", "the database was flushed"),
        ("SWAPDB 0 1", "INTERRUPTED", "the database was swapped"),
        (
            "DEBUG RELOAD",
            "INTERRUPTED",
            "the server loaded another data set",
        ),
        (
            "BLOCKING.CANCEL",
            "CANCELLED",
            "cancelled by BLOCKING.CANCEL",
        ),
    ];
    for words in QUERIES {
        for (act, code, why) in table {
            run(&mut conn, "FLUSHALL")?;
            World::load(&mut conn)?;
            let slow = Slow::start(&server)?;
            let asker = Asker::start(&server, words)?;
            slow.hold_at(&mut conn, Moment::Collecting)?;
            run(&mut conn, act)?;
            let text = error_text(&asker.answer().unwrap_err());
            let expected = format!("{code} {} was stopped: {why}", words[0]);
            ensure!(text == expected, "{act}: {text}");
            wait_until_over(&mut conn)?;
            drop(slow);
        }
    }
    assert_healthy(&server)
}

#[test]
fn a_client_that_disconnects_ends_its_query() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let world = World::load(&mut conn)?;
    for words in QUERIES {
        for how in ["hang up", "kill", "unblock"] {
            // For a client that hangs up it would linger.
            let linger_s = if how == "hang up" { 0 } else { 15 };
            let linger = format!("CONFIG SET blocking.linger-seconds {linger_s}");
            run(&mut conn, &linger)?;
            let slow = Slow::start(&server)?;
            let mut asker = Raw::connect(&server)?;
            let id = asker.id()?;
            asker.send(&words.join(" "))?;
            let number = slow.hold_at(&mut conn, Moment::Collecting)?;
            ensure!(status(&mut conn)?.map("current")?.text("look")? == words[0]);
            // Nothing of the module may be unloaded under it.
            let unloaded = run(&mut conn, "MODULE UNLOAD blocking");
            ensure!(unloaded.is_err(), "{unloaded:?}");
            match how {
                "hang up" => drop(asker),
                "kill" => run(&mut conn, &format!("CLIENT KILL ID {id}")).map(drop)?,
                _ => {
                    run(&mut conn, &format!("CLIENT UNBLOCK {id} TIMEOUT"))?;
                    let text = format!(
                        "-CANCELLED run {number} was cancelled by CLIENT UNBLOCK; see BLOCKING.STATUS"
                    );
                    ensure!(asker.line()? == text);
                }
            }
            // Slow as it is, it would be seen on its way by itself.
            let scanned = wait_until_over(&mut conn)?;
            let keys = world.dead_keys() + world.other_keys();
            ensure!(
                (scanned as usize) < keys * 9 / 10,
                "it went on: {scanned} of {keys}"
            );
            drop(slow);
        }
    }
    run(&mut conn, "MODULE UNLOAD blocking")?;
    assert_healthy(&server)
}

#[test]
fn a_replica_that_becomes_a_primary_ends_its_query() -> Result<()> {
    let primary = Server::start()?;
    let mut conn = primary.client()?;
    World::load(&mut conn)?;
    let replica = Server::builder().replica_of(&primary).start()?;
    replica.wait_in_sync_with(&primary)?;
    let mut there = replica.client()?;
    for words in QUERIES {
        let slow = Slow::start(&replica)?;
        let asker = Asker::start(&replica, words)?;
        slow.hold_at(&mut there, Moment::Collecting)?;
        run(&mut there, "REPLICAOF NO ONE")?;
        let text = error_text(&asker.answer().unwrap_err());
        let why = "the server's role changed";
        let expected = format!("INTERRUPTED {} was stopped: {why}", words[0]);
        ensure!(text == expected, "{text}");
        drop(slow);
        run(
            &mut there,
            &format!("REPLICAOF 127.0.0.1 {}", primary.port()),
        )?;
        replica.wait_in_sync_with(&primary)?;
    }
    assert_healthy(&replica)
}

/// In every slice, to the last: EXPLAIN reads heartbeats when all else is known.
#[test]
fn a_query_under_way_keeps_the_layout_and_the_fields_it_began_with() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let world = World::load(&mut conn)?;
    let config = |conn: &mut Connection, families: &str, fields: &str| -> Result<()> {
        let names = ["blocking.families", "blocking.time-fields"];
        for (name, value) in names.into_iter().zip([families, fields]) {
            let () = cmd("CONFIG").arg(&["SET", name, value]).query(conn)?;
        }
        Ok(())
    };
    let built_in: Vec<String> = cmd("CONFIG")
        .arg(&["GET", "blocking.families"])
        .query(&mut conn)?;
    for words in QUERIES {
        let slow = Slow::start(&server)?;
        let asker = Asker::start(&server, words)?;
        slow.hold_at(&mut conn, Moment::Collecting)?;
        config(&mut conn, "heartbeat=beat:{id}", "seen")?;
        drop(slow);
        let answer = asker.answer()?;
        if words[0] == "BLOCKING.DOCTOR" {
            let lines: Vec<String> = redis::from_redis_value(answer)?;
            ensure!(
                !lines.iter().any(|line| line.starts_with("problem")),
                "{lines:#?}"
            );
            config(
                &mut conn,
                &built_in[1],
                "timestamp lastHeartbeat last_heartbeat",
            )?;
            continue;
        }
        let reply = reply_map(answer)?;
        if words[0] == "BLOCKING.LIST" {
            ensure!(reply.int("coordinators_unreadable")? == 0, "{reply:?}");
            // While its table grows, the server may report one twice.
            let (live, dead) = (world.live.len() as i64, world.dead.len() as i64);
            ensure!(reply.int("coordinators_live")? >= live, "{reply:?}");
            ensure!(reply.int("coordinators_stale")? >= dead, "{reply:?}");
        } else {
            let Some(Value::Array(heartbeats)) = reply.get("heartbeats") else {
                bail!("no list: {reply:?}");
            };
            ensure!(heartbeats.len() == 1, "{reply:?}");
            let heartbeat = reply_map(heartbeats[0].clone())?;
            ensure!(heartbeat.text("field").is_ok(), "{heartbeat:?}");
            ensure!(
                heartbeat.get("trouble") == Some(&Value::Nil),
                "{heartbeat:?}"
            );
            let removed = reply.int("keys_removed")?;
            ensure!(removed == FAMILY_SIZE as i64, "{reply:?}");
        }
        config(
            &mut conn,
            &built_in[1],
            "timestamp lastHeartbeat last_heartbeat",
        )?;
    }
    assert_healthy(&server)
}

/// A heartbeat that is refreshed in the middle of a query is shown as it is then, and a query never counts as a run.
#[test]
fn a_query_leaves_nothing_behind() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let world = World::load_sized(&mut conn, 50, 10, 100)?;
    let last = cleanup(&mut conn, &["DRYRUN"])?;
    let before = status(&mut conn)?;
    for words in QUERIES {
        let answer: Value = cmd(words[0]).arg(&words[1..]).query(&mut conn)?;
        ensure!(matches!(answer, Value::Array(_)), "{answer:?}");
    }
    let after = status(&mut conn)?;
    ensure!(after.map("last")? == last && before.map("last")? == last);
    ensure!(after.map("totals")? == before.map("totals")?, "{after:?}");
    ensure!(world.dead_keys_left(&mut conn)? == world.dead_keys());
    world.assert_others_are_whole(&mut conn)
}
