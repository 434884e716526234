//! Heartbeats that come into being while a run is on, in every way a key can.
//!
//! Servers differ here, and docs/guarantees.md#what-it-costs-while-it-is-loaded says how. Valkey from 8.1.1 to 9.1.0
//! leaves the client of a MOVE or COPY in another database when a module hears of the key that came into being. There
//! the module listens to writes of strings only, and a heartbeat that appears in another way may come too late. What
//! each server must do is asserted for it; nothing is left out.

use std::cell::Cell;

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{Connection, Pipeline, cmd, pipe};
use blocking_harness::{Server, existing_keys, hears_few_writes, server_now_ms};

use super::mid_run::{
    Dead, Deed, FEW, LAST, STEPS_MAX, Seen, ensure_there, fresh, in_every_part, slow_server,
};
use super::write;

/// The heartbeats that can be born, and what a pipeline needs to let them.
struct Birth {
    /// It could own one key of the last of the dead, beside its own.
    newborn: String,
    /// The same, for a swarm that the walk has not seen.
    of_a_swarm: String,
    value: String,
    /// What DUMP makes of `value`.
    dumped: Vec<u8>,
}

impl Birth {
    fn prepare(conn: &mut Connection) -> Result<Self> {
        let value = fresh(conn)?;
        write(conn, [("template", &value)])?;
        Ok(Self {
            newborn: format!("blocking:heartbeat:c-{LAST}:b"),
            of_a_swarm: format!("swarm:never:heard:of:blocking:heartbeat:c-{LAST}:b"),
            value,
            dumped: cmd("DUMP").arg("template").query(conn)?,
        })
    }

    /// The dead, something to copy, and the newborn in another database, waiting to be moved.
    fn load(&self, conn: &mut Connection, now_ms: i64) -> Result<()> {
        FEW.load(conn, now_ms)?;
        write(conn, [("template", &self.value)])?;
        let copied: bool = cmd("COPY")
            .arg("template")
            .arg(&self.newborn)
            .arg("DB")
            .arg(1)
            .query(conn)?;
        ensure!(copied, "the newborn is not in the other database");
        Ok(())
    }
}

/// What a birth must come to on this server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// What could be the newborn's stays, always.
    Always,
    /// It may come too late; that it does is shown, so that the page says nothing that is no longer so.
    Sometimes,
}

/// One way to be born, in every part of a run.
fn born(conn: &mut Connection, birth: &Birth, name: &str, heard: Heard, deed: Deed) -> Result<()> {
    let now = server_now_ms(conn)?;
    let ack = Dead::family(LAST)[2].clone();
    let watched = std::slice::from_ref(&ack);
    let lost = Cell::new(0);
    let check = |conn: &mut Connection, seen: &Seen| {
        let kept = existing_keys(conn, seen.there.iter().cloned().map(String::into_bytes))?;
        lost.set(lost.get() + seen.there.len() - kept.len());
        if heard == Heard::Always {
            ensure_there(conn, &seen.there)?;
        }
        let heartbeats = [&birth.newborn, &birth.of_a_swarm].map(|key| key.clone().into_bytes());
        let beating = existing_keys(conn, heartbeats)?.len();
        ensure!(beating == 1, "{beating} newborn heartbeats are there");
        let rest = Dead::family(LAST).into_iter().filter(|key| *key != ack);
        let rest = existing_keys(conn, rest.map(String::into_bytes))?;
        ensure!(
            rest.is_empty(),
            "what is only the dead one's goes: {rest:?}"
        );
        let removed = seen.last.int("coordinators_removed")?;
        ensure!(removed == 400, "{removed} coordinators removed");
        Ok(())
    };
    let load = |conn: &mut Connection| birth.load(conn, now);
    in_every_part(conn, 0..STEPS_MAX, &load, watched, deed, &check)?;
    ensure!(
        heard == Heard::Always || lost.get() > 0,
        "{name}: this server hears of it after all; docs/guarantees.md need not warn of it"
    );
    Ok(())
}

#[test]
fn a_heartbeat_born_during_the_run_keeps_what_could_be_its_own() -> Result<()> {
    let server = slow_server()?;
    let mut conn = server.client()?;
    let birth = Birth::prepare(&mut conn)?;
    let Birth {
        newborn,
        of_a_swarm,
        value,
        dumped,
    } = &birth;
    let others = match hears_few_writes(&mut conn) {
        true => Heard::Sometimes,
        false => Heard::Always,
    };
    // Without an event it is found by name, but not in a swarm that the walk has not seen.
    let deeds: [(&str, Heard, Deed); 9] = [
        ("written", Heard::Always, &|pipe| {
            pipe.cmd("SET").arg(newborn).arg(value);
        }),
        ("written to a swarm", Heard::Always, &|pipe| {
            pipe.cmd("SET").arg(of_a_swarm).arg(value);
        }),
        ("written as a hash", Heard::Always, &|pipe| {
            let now = "2999-01-01T00:00:00Z";
            pipe.cmd("HSET").arg(newborn).arg("timestamp").arg(now);
        }),
        ("written as a list", Heard::Always, &|pipe| {
            pipe.cmd("RPUSH").arg(newborn).arg("x");
        }),
        ("renamed to a swarm", others, &|pipe| {
            pipe.cmd("SET").arg("draft").arg(value);
            pipe.cmd("RENAME").arg("draft").arg(of_a_swarm);
        }),
        ("renamed", Heard::Always, &|pipe| {
            // Written under a name that is no heartbeat's, so only the new name tells.
            pipe.cmd("SET").arg("draft").arg(value);
            pipe.cmd("RENAME").arg("draft").arg(newborn);
        }),
        ("copied", Heard::Always, &|pipe| {
            pipe.cmd("COPY").arg("template").arg(newborn);
        }),
        ("restored", Heard::Always, &|pipe| {
            pipe.cmd("RESTORE").arg(newborn).arg(0).arg(dumped);
        }),
        ("moved in from another database", Heard::Always, &|pipe| {
            pipe.cmd("SELECT").arg(1);
            pipe.cmd("MOVE").arg(newborn).arg(0);
            pipe.cmd("SELECT").arg(0);
        }),
    ];
    for (name, heard, deed) in deeds {
        born(&mut conn, &birth, name, heard, deed)
            .with_context(|| format!("the newborn was {name}"))?;
    }
    Ok(())
}

/// Why the module does not listen to more everywhere: no client may find itself in another database.
#[test]
fn a_client_that_moves_or_copies_a_key_stays_in_its_database() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let deeds: [Deed; 3] = [
        &|pipe: &mut Pipeline| {
            pipe.cmd("MOVE").arg("key").arg(2);
        },
        &|pipe: &mut Pipeline| {
            pipe.cmd("COPY")
                .arg("key")
                .arg("blocking:heartbeat:copy")
                .arg("DB")
                .arg(2);
        },
        &|pipe: &mut Pipeline| {
            pipe.cmd("COPY")
                .arg("key")
                .arg("copy")
                .arg("DB")
                .arg(2)
                .arg("REPLACE");
        },
    ];
    for deed in deeds {
        for atomic in [false, true] {
            let () = cmd("FLUSHALL").query(&mut conn)?;
            write(&mut conn, [("key", "1"), ("landmark", "here")])?;
            let mut commands = pipe();
            if atomic {
                commands.atomic();
            }
            deed(&mut commands);
            commands.cmd("GET").arg("landmark");
            let (done, landmark): (i64, Option<String>) = commands.query(&mut conn)?;
            ensure!(done == 1, "nothing was moved or copied");
            ensure!(
                landmark.as_deref() == Some("here"),
                "the client is in another database"
            );
        }
    }
    Ok(())
}
