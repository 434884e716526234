//! The commands and their arguments, each said once: the parser, error texts, COMMAND DOCS, COMMAND INFO, ACL
//! and HELP all come from here.

use std::slice;

use crate::keys::pattern::MAX_PATTERN_BYTES;

/// The integers that an argument takes, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub min: u32,
    pub max: u32,
    /// What is counted, for error texts.
    pub unit: &'static str,
}

/// What follows an argument's keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Keyword,
    Integer(Range),
    /// An integer, or nothing.
    OptionalInteger(Range),
    Pattern,
    /// Nothing, and there are several keywords, of which at most one may be given.
    OneOf(&'static [&'static str]),
    /// A string without a keyword, which must be there.
    Id,
}

const fn integer(min: u32, max: u32, unit: &'static str) -> Kind {
    Kind::Integer(Range { min, max, unit })
}

impl Kind {
    /// The values that are accepted, as an error names them; empty where there are no others.
    pub fn accepted(self) -> String {
        match self {
            Self::Integer(Range { min, max, unit })
            | Self::OptionalInteger(Range { min, max, unit }) => {
                format!("an integer from {min} to {max} {unit}")
            }
            Self::Pattern => format!("a glob pattern of 1 to {MAX_PATTERN_BYTES} bytes"),
            Self::Keyword | Self::OneOf(_) | Self::Id => String::new(),
        }
    }
}

/// One argument.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Its name in COMMAND DOCS.
    pub name: &'static str,
    /// The keyword that introduces it; empty where there is none, or several.
    pub token: &'static str,
    pub kind: Kind,
    /// What stands for its value in HELP, and in COMMAND DOCS where the value is a part of its own. Empty where
    /// HELP shows the keywords of which one may be given.
    pub value: &'static str,
    /// What HELP says of it, the keyword left out; empty where the lines of an earlier command do.
    pub help: &'static str,
}

impl Argument {
    const fn value(self, value: &'static str) -> Self {
        Self { value, ..self }
    }

    const fn help(self, help: &'static str) -> Self {
        Self { help, ..self }
    }

    /// The keywords that introduce it.
    pub fn tokens(&self) -> &[&'static str] {
        match self.kind {
            Kind::OneOf(tokens) => tokens,
            Kind::Id => &[],
            _ => slice::from_ref(&self.token),
        }
    }
}

const fn option(token: &'static str, name: &'static str, kind: Kind) -> Argument {
    Argument {
        name,
        token,
        kind,
        value: name,
        help: "",
    }
}

/// How old is stale: from a second to ten years.
pub const THRESHOLD_S: Range = Range {
    min: 1,
    max: 315_360_000,
    unit: "seconds",
};

const THRESHOLD: Argument = option("THRESHOLD", "seconds", Kind::Integer(THRESHOLD_S));
const MATCH: Argument = option("MATCH", "id-pattern", Kind::Pattern);
const JSON: Argument = option("JSON", "json", Kind::Keyword);

/// Each primary of a cluster has keys, runs and a schedule of its own. A client that knows tips asks all of them;
/// there is no tip for how to put the answers together, for a client that is given one it does not know refuses the
/// command.
const ON_EACH_PRIMARY: &[&str] = &["nondeterministic_output", "request_policy:all_shards"];

/// The same where the answer is always the same.
const ON_EACH_PRIMARY_ALIKE: &[&str] = &["request_policy:all_shards"];

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// In upper case, as replies and errors name it.
    pub name: &'static str,
    /// Flags as the server's module API spells them.
    pub flags: &'static str,
    /// Counted with the command's name; negative: at least.
    pub arity: i32,
    /// Where the server has ACL categories for modules (7.2 and later).
    pub acl_categories: &'static str,
    /// What COMMAND DOCS says it does.
    pub summary: &'static str,
    /// What HELP says it does.
    pub help: &'static str,
    pub complexity: &'static str,
    pub since: &'static str,
    /// What clients should know, in the server's words for it; where to send a command, above all.
    pub tips: &'static [&'static str],
    pub arguments: &'static [Argument],
}

impl Command {
    /// The name without what it shares with the others.
    pub fn topic(&self) -> &'static str {
        self.name.strip_prefix("BLOCKING.").unwrap_or(self.name)
    }

    /// Every keyword, separated by a comma and a space, as errors name them.
    pub fn accepted(&self) -> String {
        let tokens = self.arguments.iter().flat_map(Argument::tokens);
        tokens.copied().collect::<Vec<_>>().join(", ")
    }
}

pub const CLEANUP: Command = Command {
    name: "BLOCKING.CLEANUP",
    flags: "write deny-script blocking",
    arity: -1,
    acl_categories: "write slow dangerous blocking",
    summary: "Removes coordinators whose heartbeat is older than a threshold, with all their keys.",
    help: "Remove coordinators whose heartbeat is older than the threshold, with all their keys.",
    complexity: "O(N) for the walk with N being the number of keys in the database, in slices of \
                 blocking.slice-us, plus the cost of one UNLINK for each key removed, and with ORPHANS of \
                 one GET for each orphan.",
    since: "0.1.0",
    tips: ON_EACH_PRIMARY,
    arguments: &[
        THRESHOLD.help(
            "age in seconds above which a coordinator is stale (blocking.threshold-seconds).",
        ),
        option("DRYRUN", "dryrun", Kind::Keyword).help("remove nothing, report what would go."),
        option("ORPHANS", "orphans", Kind::OptionalInteger(THRESHOLD_S))
            .value("grace-seconds")
            .help("also remove keys whose possible owners have no heartbeat, if nothing about them is younger than this (threshold)."),
        MATCH.help("remove only coordinators whose id fits this glob pattern."),
        option("LIMIT", "coordinators", integer(1, u32::MAX, "coordinators"))
            .help("remove at most this many coordinators, the oldest first."),
        option("BREAKER", "percent", integer(1, 100, "percent"))
            .help("remove nothing if more than this share of at least 20 coordinators is stale."),
        option("IDS", "count", integer(0, 10_000, "ids"))
            .help("list at most this many stale ids (100)."),
        option("NOWARMUP", "nowarmup", Kind::Keyword)
            .help("remove even if clients could not write a moment ago."),
        option("ASYNC", "async", Kind::Keyword).help("reply at once with the run's number."),
        JSON.help("reply with one JSON object."),
    ],
};

pub const LIST: Command = Command {
    name: "BLOCKING.LIST",
    flags: "readonly deny-script blocking",
    arity: -1,
    acl_categories: "read slow dangerous blocking",
    summary: "Lists coordinators with the state and age of their heartbeat, the oldest first.",
    help: "List coordinators with the state and age of their heartbeat, the oldest first.",
    complexity: "O(N) for the walk with N being the number of keys in the database, in slices of \
                 blocking.slice-us, plus one GET for each heartbeat.",
    since: "0.2.0",
    tips: ON_EACH_PRIMARY,
    arguments: &[
        option("", "state", Kind::OneOf(&["STALE", "LIVE", "UNREADABLE"]))
            .value("")
            .help("list only these; all are counted."),
        THRESHOLD,
        MATCH,
        // The reply is written in one piece, and ten thousand take some 20 ms.
        option("COUNT", "count", integer(1, 1_000, "coordinators"))
            .value("n")
            .help("list at most this many (100)."),
        JSON,
    ],
};

pub const EXPLAIN: Command = Command {
    name: "BLOCKING.EXPLAIN",
    flags: "readonly deny-script blocking",
    arity: -2,
    acl_categories: "read slow dangerous blocking",
    summary: "Shows what a cleanup would do with one coordinator and its keys, and why.",
    help: "Show what CLEANUP would do with one coordinator and its keys, and why.",
    complexity: "O(N) for the walk with N being the number of keys in the database, in slices of \
                 blocking.slice-us, plus one GET for each orphan if any of its keys is one.",
    since: "0.2.0",
    tips: ON_EACH_PRIMARY,
    arguments: &[option("", "id", Kind::Id), THRESHOLD, JSON],
};

pub const DOCTOR: Command = Command {
    name: "BLOCKING.DOCTOR",
    flags: "readonly deny-script blocking",
    arity: -1,
    acl_categories: "read slow dangerous blocking",
    summary: "Says in plain sentences what is wrong with coordinators, settings and schedule, the most serious first.",
    help: "Say in plain sentences what is wrong, the most serious first, and what to do.",
    complexity: "O(N) for the walk with N being the number of keys in the database, in slices of \
                 blocking.slice-us, plus one GET for each heartbeat and one MEMORY USAGE for each of at most \
                 1,000 orphans a family.",
    since: "0.2.0",
    tips: ON_EACH_PRIMARY,
    arguments: &[JSON],
};

pub const STATUS: Command = Command {
    name: "BLOCKING.STATUS",
    flags: "allow-loading allow-stale fast",
    arity: -1,
    acl_categories: "fast dangerous",
    summary: "Shows the cleanup under way, the last result, the totals since load and the schedule.",
    help: "Show the cleanup under way, the last result, the totals since load and the schedule.",
    complexity: "O(M) with M being the number of ids listed in the last result.",
    since: "0.1.0",
    tips: ON_EACH_PRIMARY,
    arguments: &[JSON],
};

pub const CANCEL: Command = Command {
    name: "BLOCKING.CANCEL",
    flags: "allow-loading allow-stale fast",
    arity: 1,
    acl_categories: "fast dangerous",
    summary: "Ends the cleanup under way before its next slice.",
    help: "End the cleanup under way before its next slice.",
    complexity: "O(1)",
    since: "0.1.0",
    tips: ON_EACH_PRIMARY_ALIKE,
    arguments: &[],
};

pub const HELP: Command = Command {
    name: "BLOCKING.HELP",
    flags: "allow-loading allow-stale fast",
    arity: -1,
    acl_categories: "fast",
    summary: "Shows the commands and their options, or those of one command.",
    help: "Print this help, or that of one command.",
    complexity: "O(1)",
    since: "0.1.0",
    tips: &[],
    arguments: &[option(
        "",
        "command",
        Kind::OneOf(&[
            "CLEANUP", "LIST", "EXPLAIN", "DOCTOR", "STATUS", "CANCEL", "HELP",
        ]),
    )],
};

/// In the order in which HELP shows them.
pub const ALL: [&Command; 7] = [&CLEANUP, &LIST, &EXPLAIN, &DOCTOR, &STATUS, &CANCEL, &HELP];
