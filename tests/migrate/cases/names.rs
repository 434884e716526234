//! Ids that are part of others, are patterns, or hold what a shell takes for its own.

use super::case;
use crate::case::{Case, End, Now, RIGHT, beat, family, left, lost, text};

pub fn cases(now: Now) -> Vec<Case> {
    let (old, fresh) = (now.old(), now.ms);
    let mark = format!("blocking:idempotency:build-7:deploy-2:CONTINUE:3:{old}");
    let shared = [family("deploy-2", fresh), vec![text(mark, "1")]].concat();
    // An ack in the short form, without the signal's id.
    let short = text("blocking:ack:team", beat("team", fresh));
    let team = [family("team", fresh), vec![short]].concat();
    vec![
        case(
            "an id that is part of another: `c-1` dead, `c-10` alive",
            family("c-1", old),
            family("c-10", fresh),
            [lost(1), lost(1), RIGHT],
        ),
        case(
            "a message from a dead one to a living one",
            family("build-7", old),
            shared,
            [lost(1), lost(1), RIGHT],
        ),
        case(
            "`:` in ids: `team` dead, `team:b` alive",
            family("team", old),
            family("team:b", fresh),
            [lost(2), lost(2), RIGHT],
        ),
        case(
            "brackets: `job[1]` dead, `job1` alive",
            family("job[1]", old),
            family("job1", fresh),
            [left(2).and_lost(2), left(2).and_lost(2), RIGHT],
        ),
        case(
            "a star: `*` dead, `deploy-2` alive",
            family("*", old),
            family("deploy-2", fresh),
            [lost(2), lost(2), RIGHT],
        ),
        case(
            "an old heartbeat without an id, `blocking:heartbeat:`",
            vec![text("blocking:heartbeat:", beat("", old))],
            family("deploy-2", fresh),
            [lost(1), lost(1), left(1)],
        ),
        case(
            "a space: `team a` dead, `team` alive",
            family("team a", old),
            team,
            [left(2).and_lost(1), RIGHT, RIGHT],
        ),
        case(
            "a quote: `it's` dead",
            family("it's", old),
            family("deploy-2", fresh),
            [
                left(2).ending(End::Fails("unmatched single quote")),
                RIGHT,
                RIGHT,
            ],
        ),
        case(
            "a line break in an id",
            family("two\nlines", old),
            family("deploy-2", fresh),
            [left(5), RIGHT, RIGHT],
        ),
    ]
}
