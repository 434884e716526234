//! The usual keys, which all three remove alike, and the second in which a coordinator is dead.

use super::case;
use crate::case::{Case, Now, RIGHT, family};

pub fn cases(now: Now) -> Vec<Case> {
    let exactly = Case {
        is_exact: true,
        ..case(
            "600 s old: alive; 601 s old: dead",
            family("build-601", now.ago(601)),
            family("build-600", now.ago(600)),
            [RIGHT; 3],
        )
    };
    let dead = [family("build-7", now.old()), family("test-3", now.old())].concat();
    vec![
        case(
            "plain: ids of letters, digits and dashes, `timestamp` in milliseconds",
            dead,
            family("deploy-2", now.ms),
            [RIGHT; 3],
        ),
        exactly,
    ]
}
