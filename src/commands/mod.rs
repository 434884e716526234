//! The commands as data: what COMMAND DOCS, COMMAND INFO, ACL and HELP say of them.

pub mod doctor;
pub mod explain;
pub mod linger;
pub mod listing;
pub mod look;
pub mod options;
use crate::commands::options::canonical;
use crate::reply::error::{Error, shown};

/// The type of an argument in COMMAND DOCS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentKind {
    Integer,
    /// A keyword that an integer of this name may follow.
    KeywordAndInteger(&'static str),
    Pattern,
    /// A keyword without a value.
    Keyword,
    /// One of these keywords.
    OneOf(&'static [&'static str]),
    /// A string without a keyword, which must be there.
    Id,
}

/// One argument.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    pub name: &'static str,
    /// The keyword that introduces it; empty where there is none, or several.
    pub token: &'static str,
    pub kind: ArgumentKind,
}

const fn argument(name: &'static str, token: &'static str, kind: ArgumentKind) -> Argument {
    Argument { name, token, kind }
}

/// Each primary of a cluster has keys, runs and a schedule of its own. A client that knows tips asks all of
/// them; there is no tip for how to put the answers together, for a client that is given one it does not
/// know refuses the command.
const ON_EACH_PRIMARY: &[&str] = &["nondeterministic_output", "request_policy:all_shards"];

/// The same where the answer is always the same.
const ON_EACH_PRIMARY_ALIKE: &[&str] = &["request_policy:all_shards"];

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    pub name: &'static str,
    /// Flags as the server's module API spells them.
    pub flags: &'static str,
    /// Counted with the command's name; negative: at least.
    pub arity: i32,
    /// Where the server has ACL categories for modules (7.2 and later).
    pub acl_categories: &'static str,
    pub summary: &'static str,
    pub complexity: &'static str,
    pub since: &'static str,
    /// What clients should know, in the server's words for it; where to send a command, above all.
    pub tips: &'static [&'static str],
    pub arguments: &'static [Argument],
}

pub const CLEANUP: Command = Command {
    name: "blocking.cleanup",
    flags: "write deny-script blocking",
    arity: -1,
    acl_categories: "write slow dangerous blocking",
    summary: "Removes coordinators whose heartbeat is older than a threshold, with all their keys.",
    complexity: "O(N) for the walk with N being the number of keys in the database, in slices of \
                 blocking.slice-us, plus the cost of one UNLINK for each key removed, and with ORPHANS of \
                 one GET for each orphan.",
    since: "0.1.0",
    tips: ON_EACH_PRIMARY,
    arguments: &[
        argument("seconds", "THRESHOLD", ArgumentKind::Integer),
        argument("dryrun", "DRYRUN", ArgumentKind::Keyword),
        argument(
            "orphans",
            "ORPHANS",
            ArgumentKind::KeywordAndInteger("grace-seconds"),
        ),
        argument("id-pattern", "MATCH", ArgumentKind::Pattern),
        argument("coordinators", "LIMIT", ArgumentKind::Integer),
        argument("percent", "BREAKER", ArgumentKind::Integer),
        argument("count", "IDS", ArgumentKind::Integer),
        argument("nowarmup", "NOWARMUP", ArgumentKind::Keyword),
        argument("async", "ASYNC", ArgumentKind::Keyword),
        argument("json", "JSON", ArgumentKind::Keyword),
    ],
};

pub const LIST: Command = Command {
    name: "blocking.list",
    flags: "readonly deny-script blocking",
    arity: -1,
    acl_categories: "read slow dangerous blocking",
    summary: "Lists coordinators with the state and age of their heartbeat, the oldest first.",
    complexity: "O(N) for the walk with N being the number of keys in the database, in slices of \
                 blocking.slice-us, plus one GET for each heartbeat.",
    since: "0.2.0",
    tips: ON_EACH_PRIMARY,
    arguments: &[
        argument(
            "state",
            "",
            ArgumentKind::OneOf(&["STALE", "LIVE", "UNREADABLE"]),
        ),
        argument("seconds", "THRESHOLD", ArgumentKind::Integer),
        argument("id-pattern", "MATCH", ArgumentKind::Pattern),
        argument("count", "COUNT", ArgumentKind::Integer),
        argument("json", "JSON", ArgumentKind::Keyword),
    ],
};

pub const EXPLAIN: Command = Command {
    name: "blocking.explain",
    flags: "readonly deny-script blocking",
    arity: -2,
    acl_categories: "read slow dangerous blocking",
    summary: "Shows what a cleanup would do with one coordinator and its keys, and why.",
    complexity: "O(N) for the walk with N being the number of keys in the database, in slices of \
                 blocking.slice-us, plus one GET for each orphan if any of its keys is one.",
    since: "0.2.0",
    tips: ON_EACH_PRIMARY,
    arguments: &[
        argument("id", "", ArgumentKind::Id),
        argument("seconds", "THRESHOLD", ArgumentKind::Integer),
        argument("json", "JSON", ArgumentKind::Keyword),
    ],
};

pub const DOCTOR: Command = Command {
    name: "blocking.doctor",
    flags: "readonly deny-script blocking",
    arity: -1,
    acl_categories: "read slow dangerous blocking",
    summary: "Says in plain sentences what is wrong with coordinators, settings and schedule, the most serious first.",
    complexity: "O(N) for the walk with N being the number of keys in the database, in slices of \
                 blocking.slice-us, plus one GET for each heartbeat and one MEMORY USAGE for each of at most \
                 1,000 orphans a family.",
    since: "0.2.0",
    tips: ON_EACH_PRIMARY,
    arguments: &[argument("json", "JSON", ArgumentKind::Keyword)],
};

pub const STATUS: Command = Command {
    name: "blocking.status",
    flags: "allow-loading allow-stale fast",
    arity: -1,
    acl_categories: "fast dangerous",
    summary: "Shows the cleanup under way, the last result, the totals since load and the schedule.",
    complexity: "O(M) with M being the number of ids listed in the last result.",
    since: "0.1.0",
    tips: ON_EACH_PRIMARY,
    arguments: &[argument("json", "JSON", ArgumentKind::Keyword)],
};

pub const CANCEL: Command = Command {
    name: "blocking.cancel",
    flags: "allow-loading allow-stale fast",
    arity: 1,
    acl_categories: "fast dangerous",
    summary: "Ends the cleanup under way before its next slice.",
    complexity: "O(1)",
    since: "0.1.0",
    tips: ON_EACH_PRIMARY_ALIKE,
    arguments: &[],
};

pub const HELP: Command = Command {
    name: "blocking.help",
    flags: "allow-loading allow-stale fast",
    arity: -1,
    acl_categories: "fast",
    summary: "Shows the commands and their options, or those of one command.",
    complexity: "O(1)",
    since: "0.1.0",
    tips: &[],
    arguments: &[argument(
        "command",
        "",
        ArgumentKind::OneOf(&[
            "CLEANUP", "LIST", "EXPLAIN", "DOCTOR", "STATUS", "CANCEL", "HELP",
        ]),
    )],
};

/// What HELP can be asked about, as an error names it and as the parser finds it.
const HELP_TOPICS: &str = "CLEANUP, LIST, EXPLAIN, DOCTOR, STATUS, CANCEL, HELP";

/// What `BLOCKING.HELP` prints, its name left out of the arguments: all, or what is about one command,
/// with or without `BLOCKING.` in front of it.
pub fn help(args: &[&[u8]]) -> Result<&'static [&'static str], Error> {
    let asked = match args {
        [] => return Ok(HELP_TEXT),
        [word] => *word,
        [_, more, ..] => more,
    };
    const PREFIX: &[u8] = b"blocking.";
    let begin = asked.get(..PREFIX.len()).unwrap_or_default();
    let word = match begin.eq_ignore_ascii_case(PREFIX) {
        true => asked.get(PREFIX.len()..).unwrap_or_default(),
        false => asked,
    };
    let topic = canonical(word, HELP_TOPICS).filter(|_| args.len() == 1);
    let topic = topic.ok_or_else(|| Error::UnknownCommand {
        shown: shown(asked),
        accepted: HELP_TOPICS,
    })?;
    let is_head = |line: &&str| line.split(' ').next() == Some(topic);
    let first = HELP_TEXT.iter().position(is_head);
    let lines = first.and_then(|first| HELP_TEXT.get(first..));
    let lines = lines.unwrap_or_default();
    let details = lines
        .iter()
        .skip(1)
        .take_while(|line| line.starts_with(' '));
    Ok(lines.get(..=details.count()).unwrap_or_default())
}

/// What BLOCKING.HELP prints, line by line.
const HELP_TEXT: &[&str] = &[
    "BLOCKING.<command> [<option> [value] ...]. Commands are:",
    "CLEANUP [THRESHOLD seconds] [DRYRUN] [ORPHANS [grace-seconds]] [MATCH id-pattern] [LIMIT coordinators] [BREAKER percent] [IDS count] [NOWARMUP] [ASYNC] [JSON]",
    "    Remove coordinators whose heartbeat is older than the threshold, with all their keys.",
    "    THRESHOLD: age in seconds above which a coordinator is stale (blocking.threshold-seconds).",
    "    DRYRUN: remove nothing, report what would go.",
    "    ORPHANS: remove keys of nobody, too, when nothing about them is younger than this (threshold).",
    "    MATCH: remove only coordinators whose id fits this glob pattern.",
    "    LIMIT: remove at most this many coordinators, the oldest first.",
    "    BREAKER: remove nothing if more than this share of at least 20 coordinators is stale.",
    "    IDS: list at most this many stale ids (100).",
    "    NOWARMUP: remove although writers were kept away a moment ago.",
    "    ASYNC: reply at once with the run's number.",
    "    JSON: reply with one JSON object.",
    "LIST [STALE | LIVE | UNREADABLE] [THRESHOLD seconds] [MATCH id-pattern] [COUNT n] [JSON]",
    "    List coordinators with the state and age of their heartbeat, the oldest first.",
    "    STALE, LIVE, UNREADABLE: list only these; all are counted.",
    "    COUNT: list at most this many (100).",
    "EXPLAIN id [THRESHOLD seconds] [JSON]",
    "    Show what CLEANUP would do with one coordinator and its keys, and why.",
    "DOCTOR [JSON]",
    "    Say in plain sentences what is wrong, the most serious first, and what to do.",
    "STATUS [JSON]",
    "    Show the cleanup under way, the last result, the totals since load and the schedule.",
    "CANCEL",
    "    End the cleanup under way before its next slice.",
    "HELP [command]",
    "    Print this help, or that of one command.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_option_and_is_plain() {
        let text = HELP_TEXT.join("\n");
        assert_eq!(help(&[]).unwrap(), HELP_TEXT);
        for (args, got) in [(&[&b"CLEAN"[..]][..], "CLEAN"), (&[b"LIST", b"me"], "me")] {
            let error = help(args).unwrap_err().to_string();
            assert!(
                error.starts_with("ERR BLOCKING.HELP takes one of CLEANUP, "),
                "{error}"
            );
            assert!(error.ends_with(&format!(", got '{got}'")), "{error}");
        }
        assert!(text.is_ascii());
        for command in [CLEANUP, LIST, EXPLAIN, DOCTOR, STATUS, CANCEL, HELP] {
            let word = command.name.trim_start_matches("blocking.").to_uppercase();
            assert!(
                HELP_TEXT.iter().any(|line| line.starts_with(&word)),
                "{word}"
            );
            let lines = help(&[word.to_lowercase().as_bytes()]).unwrap();
            assert_eq!(help(&[command.name.as_bytes()]).unwrap(), lines);
            assert!(lines.len() > 1 && lines[0].starts_with(&word), "{word}");
            assert!(lines[1..].iter().all(|line| line.starts_with("    ")));
            assert!(HELP_TOPICS.split(", ").any(|topic| topic == word));
            for argument in command.arguments {
                assert!(text.contains(argument.token), "{}", argument.token);
                if let ArgumentKind::OneOf(words) = argument.kind {
                    assert!(words.iter().all(|word| text.contains(word)), "{words:?}");
                }
            }
        }
    }
}
