//! Where a heartbeat has its time, and in which form.

use super::case;
use crate::case::{
    Case, End, Held, Now, Outcome, Pair, RIGHT, family, left, lost, rest, with_beat,
};

/// `build-7` is dead and `deploy-2` alive, with heartbeats of this form.
fn both(
    now: Now,
    title: &'static str,
    form: impl Fn(i64) -> String,
    outcomes: [Outcome; 3],
) -> Case {
    let dead = with_beat("build-7", form(now.old()), now.old());
    let living = with_beat("deploy-2", form(now.ms), now.ms);
    case(title, dead, living, outcomes)
}

pub fn cases(now: Now) -> Vec<Case> {
    let (old, fresh) = (now.old(), now.ms);
    let nested =
        |other: i64, own: i64| format!(r#"{{"stats":{{"timestamp":{other}}},"timestamp":{own}}}"#);
    let hash: Vec<Pair> = [
        rest("build-7", old),
        vec![("blocking:heartbeat:build-7".to_owned(), Held::Hash(old))],
        family("test-3", old),
    ]
    .concat();
    vec![
        both(
            now,
            "the time is in `lastHeartbeat`",
            |ms| format!(r#"{{"lastHeartbeat":{ms},"iteration":3}}"#),
            [left(5), left(5), RIGHT],
        ),
        both(
            now,
            "the time is in seconds",
            |ms| format!(r#"{{"timestamp":{}}}"#, ms / 1_000),
            [lost(5), lost(5), RIGHT],
        ),
        case(
            "another `timestamp` in an object before it",
            with_beat("build-7", nested(fresh, old), old),
            with_beat("deploy-2", nested(old, fresh), fresh),
            [left(5).and_lost(5), RIGHT, RIGHT],
        ),
        both(
            now,
            "a space before the number, as Python writes it",
            |ms| format!(r#"{{"timestamp": {ms}, "iteration": 3}}"#),
            [left(5), RIGHT, RIGHT],
        ),
        both(
            now,
            "an exponent: `1.796e12`",
            |ms| {
                let digits = ms.to_string();
                let (first, others) = digits.split_at(1);
                format!(r#"{{"timestamp":{first}.{others}e{}}}"#, others.len())
            },
            [lost(5), RIGHT, RIGHT],
        ),
        both(
            now,
            "the number is in quotes",
            |ms| format!(r#"{{"timestamp":"{ms}"}}"#),
            [left(5), RIGHT, RIGHT],
        ),
        case(
            "the time is a date",
            with_beat("build-7", r#"{"timestamp":"2023-11-14T22:13:20Z"}"#, old),
            with_beat("deploy-2", r#"{"timestamp":"2100-01-02T03:04:05Z"}"#, fresh),
            [left(5), left(5), RIGHT],
        ),
        both(
            now,
            "the value is the time and nothing else",
            |ms| ms.to_string(),
            [left(5), left(5), RIGHT],
        ),
        case(
            "a date without a zone; the module needs `blocking.zoneless`",
            with_beat("build-7", r#"{"timestamp":"2023-11-14T22:13:20"}"#, old),
            family("deploy-2", fresh),
            [left(5); 3],
        ),
        both(
            now,
            "the time is in a field `at`; the module needs `blocking.time-fields`",
            |ms| format!(r#"{{"at":{ms},"iteration":3}}"#),
            [left(5); 3],
        ),
        case(
            "one of two dead ones has a hash as its heartbeat",
            hash,
            family("deploy-2", fresh),
            [left(5), left(10).ending(End::Fails("WRONGTYPE")), RIGHT],
        ),
    ]
}
