//! What a finding is, and the words that sentences are made of.
//!
//! A sentence may hold numbers, and each of them stands in the finding's details, too; ids and names of keys stand
//! between single quotes, escaped, and whole in the details.

use crate::reply::error::shown;
use crate::reply::value::Value;

/// How serious a finding is, the most serious first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something does not work, and will not by itself.
    Problem,
    /// Something may be wrong, or an operator should decide.
    Warning,
    Note,
}

impl Severity {
    /// The word in replies.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

macro_rules! codes {
    ($($(#[$text:meta])* $name:ident = $word:literal),* $(,)?) => {
        /// What a finding is about. Findings of one severity are told in this order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $($(#[$text])* $name),* }

        impl Code {
            #[cfg(test)]
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word in replies, for programs.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }
        }
    };
}

codes![
    Memory = "memory",
    NoCoordinators = "no-coordinators",
    Unreadable = "unreadable",
    NeverStale = "never-stale",
    BreakerOpen = "breaker-open",
    Denied = "denied",
    Cluster = "cluster",
    FutureBeats = "future-beats",
    ScheduleOff = "schedule-off",
    NotListed = "not-listed",
    DryRun = "dry-run",
    GraceOff = "grace-off",
    ShortWindow = "short-window",
    BreakerWouldOpen = "breaker-would-open",
    LastRun = "last-run",
    Orphans = "orphans",
    AmbiguousIds = "ambiguous-ids",
    UnknownNames = "unknown-names",
    NoTtl = "no-ttl",
    Found = "found",
    Cleanup = "cleanup",
    TimeFields = "time-fields",
    Presence = "presence",
    ColonIds = "colon-ids",
    LeftAlone = "left-alone",
    WarmUp = "warm-up",
    Schedule = "schedule",
    Replica = "replica",
];

/// One thing to say.
#[derive(Clone, Debug)]
pub struct Finding {
    pub severity: Severity,
    pub code: Code,
    /// A sentence without its full stop.
    pub text: String,
    /// What to do; a sentence without its full stop.
    pub advice: String,
    /// Numbers and names, for programs.
    pub details: Vec<(&'static str, Value)>,
}

impl Finding {
    /// The finding as one line.
    pub fn line(&self) -> String {
        format!("{}: {}. {}.", self.severity.word(), self.text, self.advice)
    }

    pub fn to_value(&self) -> Value {
        let mut fields = vec![
            ("severity", Value::Status(self.severity.word())),
            ("code", Value::Status(self.code.word())),
            ("finding", Value::text(self.text.as_bytes())),
            ("advice", Value::text(self.advice.as_bytes())),
        ];
        fields.extend(self.details.iter().cloned());
        Value::Map(fields)
    }
}

/// A number and what it counts: `1 key`, `2 keys`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", pick(number, one, many))
}

/// The word that goes with a number.
pub fn pick<'w>(number: u64, one: &'w str, many: &'w str) -> &'w str {
    if number == 1 { one } else { many }
}

/// An id or a name of a key in a sentence.
pub fn quoted(bytes: &[u8]) -> String {
    format!("'{}'", shown(bytes))
}

/// `, such as 'a'`, if there is an example.
pub fn such_as(example: Option<&[u8]>) -> String {
    example.map_or_else(String::new, |name| format!(", such as {}", quoted(name)))
}

/// A name in the details.
pub fn name_or_null(name: Option<&[u8]>) -> Value {
    name.map_or(Value::Null, Value::text)
}
