//! Selectors, and rights to read and to write: a key goes only if the caller may write it by one of its sets of rules.

use anyhow::{Result, ensure};
use blocking_harness::{Figure, Server, cleanup, tally};

use super::{by_family, fleet, user};

const COORDINATORS: i64 = 4;

/// Rules of a user, and which families it may remove: heartbeat, signal, ack, idempotency, activity, state.
const CASES: [(&str, &[&str], [i64; 6]); 7] = [
    (
        "everything in the selector",
        &["(~* +blocking.cleanup)"],
        [1, 1, 1, 1, 1, 1],
    ),
    (
        "a part in the selector",
        &["(~blocking:* +blocking.cleanup)"],
        [0, 1, 1, 1, 0, 0],
    ),
    (
        "two selectors make one set of keys",
        &[
            "(~blocking:* +blocking.cleanup)",
            "(~coordinator:* ~swarm:* +blocking.cleanup)",
        ],
        [1, 1, 1, 1, 1, 1],
    ),
    (
        "a selector to read does not let write",
        &["~blocking:*", "+blocking.cleanup", "(%R~* +@read)"],
        [0, 1, 1, 1, 0, 0],
    ),
    (
        "to write is enough",
        &["%W~blocking:*", "%R~*", "+blocking.cleanup"],
        [0, 1, 1, 1, 0, 0],
    ),
    (
        "to read one half and to write the other",
        &[
            "%R~blocking:*",
            "%W~coordinator:*",
            "%W~swarm:*",
            "+blocking.cleanup",
        ],
        [0, 0, 0, 0, 1, 1],
    ),
    (
        "to read and to write in one",
        &["%RW~*", "+blocking.cleanup"],
        [1, 1, 1, 1, 1, 1],
    ),
];

#[test]
fn what_may_be_written_goes_and_the_rest_is_counted() -> Result<()> {
    let server = Server::start()?;
    let mut admin = server.client()?;
    for (case, rules, goes) in CASES {
        let () = blocking_harness::redis::cmd("FLUSHALL").query(&mut admin)?;
        fleet(&mut admin, COORDINATORS as usize)?;
        let rules = [&["reset", "on", ">pw"], rules].concat();
        let reply = cleanup(&mut user(&server, "janitor", &rules)?, &[])?;
        let removed = goes.map(|goes| goes * COORDINATORS);
        ensure!(by_family(&reply)? == removed, "{case}: {reply:?}");
        let removed: i64 = removed.iter().sum();
        let left: i64 = blocking_harness::redis::cmd("DBSIZE").query(&mut admin)?;
        ensure!(left + removed == COORDINATORS * 6, "{case}: {left} left");
        // A heartbeat that the user may remove stays with keys that it may not remove, and is not counted.
        let writes_heartbeats = goes[1] == 1;
        let kept = (1..6).filter(|family| goes[*family] == 0).count() as i64;
        let denied = (kept + i64::from(!writes_heartbeats)) * COORDINATORS;
        let counted = reply.int("keys_denied").unwrap_or_default();
        ensure!(counted == denied, "{case}: {denied} denied: {reply:?}");
        let status = if denied == 0 { "complete" } else { "partial" };
        ensure!(reply.text("status")? == status, "{case}: {reply:?}");
    }
    tally(Figure::FaultsInjected, CASES.len() as u64)
}
