//! Keys that are left when a heartbeat has expired, keys of swarms, and others that the scripts do not look for.

use super::case;
use crate::case::{Case, Now, RIGHT, beat, family, left, lost, rest, text};

pub fn cases(now: Now) -> Vec<Case> {
    let (old, fresh) = (now.old(), now.ms);
    let value = |ms| beat("build-7", ms);
    let living = || family("deploy-2", fresh);
    let expired = case(
        "the heartbeat has expired",
        rest("build-7", old),
        living(),
        [left(4), left(4), left(4)],
    );
    let with_orphans = Case {
        options: &["ORPHANS"],
        ..case(
            "the same, the module with `ORPHANS`",
            rest("build-7", old),
            living(),
            [left(4), left(4), RIGHT],
        )
    };
    let swarm = vec![
        text("swarm:s1:blocking:build-7", value(old)),
        text("swarm:s1:agent:build-7:activity", value(old)),
        text("blocking:ack:build-7", value(old)),
    ];
    let alone = vec![
        text("swarm:s1:blocking:heartbeat:build-7", value(old)),
        text("swarm:s1:blocking:build-7", value(old)),
    ];
    let beats = text("swarm:s1:blocking:heartbeat:build-7", value(fresh));
    let mut rewritten = family("team:b", old);
    rewritten.retain(|(key, _)| !key.starts_with("coordinator:"));
    rewritten.push(text("coordinator:activity:team-b", value(old)));
    vec![
        expired,
        with_orphans,
        case(
            "a swarm's keys, and acks without the signal's id",
            [family("build-7", old), swarm].concat(),
            living(),
            [left(3), left(3), RIGHT],
        ),
        case(
            "the heartbeat is a swarm's",
            alone,
            living(),
            [left(2), left(2), RIGHT],
        ),
        case(
            "an old heartbeat, and the same id beats in a swarm",
            Vec::new(),
            [family("build-7", old), vec![beats]].concat(),
            [lost(5), lost(5), RIGHT],
        ),
        case(
            "the activity key spells the id in another way: `team-b` for `team:b`",
            rewritten,
            living(),
            [left(1); 3],
        ),
    ]
}
