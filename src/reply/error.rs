//! Every error text of the module, in one place.
//!
//! A text is ASCII, one sentence, and begins with a code word, because the server's error statistics keep one class
//! per first word. This file must not decide when an error happens, and must not let bytes of a caller into a text
//! other than through [`shown`].

use std::fmt;

/// A caller's bytes beyond this many are cut from an error text.
const SHOWN_BYTES: usize = 32;

/// What CLEANUP answers while the cluster is down, and what it begins with.
pub const CLUSTER_DOWN: &str = "CLUSTERDOWN The cluster is down";

/// What a command can answer instead of its reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// HELP was asked about something else.
    UnknownCommand {
        shown: String,
        accepted: String,
    },
    UnknownOption {
        shown: String,
        command: &'static str,
        /// The accepted options, separated by a comma and a space.
        accepted: String,
    },
    RepeatedOption {
        option: &'static str,
    },
    MissingValue {
        option: &'static str,
        accepted: String,
    },
    BadValue {
        option: &'static str,
        shown: String,
        accepted: String,
    },
    PatternLength {
        got_bytes: usize,
    },
    /// Options of which only one can be asked for; two at least.
    ExclusiveOptions {
        options: &'static [&'static str],
    },
    IdLength {
        got_bytes: usize,
    },
    InProgress {
        /// `a cleanup`, or the command of a query.
        what: &'static str,
        run: u64,
        /// How much of the keyspace the walk has seen; `None` when it is over.
        percent: Option<u64>,
        /// What the run does, in the word of STATUS.
        activity: &'static str,
        started_s_ago: u64,
        /// Its caller went away: for how long it can be joined.
        lingering_s: Option<u64>,
    },
    NotBusy,
    /// The server itself keeps scripts away.
    InMulti,
    /// The same for a command that always waits.
    QueryInMulti {
        command: &'static str,
    },
    ClusterDown,
    /// Clients could not write, and have not had the time to beat again.
    WarmUp {
        away_s: u64,
        left_s: u64,
    },
    NotPrimary,
    Loading {
        command: &'static str,
    },
    CallerUnblocked {
        run: u64,
    },
    CannotStart {
        why: &'static str,
    },
    /// A query was stopped before its end.
    QueryEnded {
        command: &'static str,
        cancelled: bool,
        why: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOption {
                shown,
                command,
                accepted,
            } => {
                let verb = if accepted.contains(',') { "are" } else { "is" };
                write!(
                    out,
                    "ERR unknown option '{shown}' for {command}; accepted {verb} {accepted}"
                )
            }
            Self::UnknownCommand { shown, accepted } => write!(
                out,
                "ERR BLOCKING.HELP takes one of {accepted}, or nothing, got '{shown}'"
            ),
            Self::RepeatedOption { option } => write!(
                out,
                "ERR {option} is given more than once; each option is accepted at most once"
            ),
            Self::MissingValue { option, accepted } => {
                write!(out, "ERR {option} needs a value: {accepted}")
            }
            Self::BadValue {
                option,
                shown,
                accepted,
            } => write!(out, "ERR {option} must be {accepted}, got '{shown}'"),
            Self::PatternLength { got_bytes } => write!(
                out,
                "ERR MATCH takes a glob pattern of 1 to 512 bytes, got {got_bytes}"
            ),
            Self::ExclusiveOptions { options } => {
                let (last, others) = options.split_last().unwrap_or((&"", &[]));
                let others = others.join(", ");
                write!(out, "ERR at most one of {others} and {last} is accepted")
            }
            Self::IdLength { got_bytes } => {
                write!(out, "ERR the id must be 1 to 262144 bytes, got {got_bytes}")
            }
            Self::InProgress {
                what,
                run,
                percent,
                activity,
                started_s_ago,
                lingering_s,
            } => {
                write!(out, "INPROGRESS {what} is running: run {run}, ")?;
                match percent {
                    Some(percent) => write!(out, "{percent}% of the keyspace")?,
                    None => out.write_str(activity)?,
                }
                write!(out, ", started {started_s_ago} s ago; ")?;
                if let Some(left_s) = lingering_s {
                    write!(
                        out,
                        "its caller went away, and it ends in {left_s} s unless the same command joins it; "
                    )?;
                }
                out.write_str("see BLOCKING.STATUS")
            }
            Self::NotBusy => {
                out.write_str("NOTBUSY no cleanup is running; BLOCKING.STATUS shows the last one")
            }
            Self::InMulti => {
                out.write_str("ERR BLOCKING.CLEANUP cannot wait inside MULTI; add ASYNC")
            }
            Self::QueryInMulti { command } => {
                write!(
                    out,
                    "ERR {command} cannot wait inside MULTI; call it outside of MULTI"
                )
            }
            Self::ClusterDown => write!(
                out,
                "{CLUSTER_DOWN}, so no key can be removed; DRYRUN is accepted"
            ),
            Self::WarmUp { away_s, left_s } => write!(
                out,
                "WARMUP clients could not write for {away_s} s, so living coordinators may look dead; \
                 {left_s} s left; add NOWARMUP to remove anyway"
            ),
            Self::NotPrimary => out.write_str(
                "READONLY BLOCKING.CLEANUP runs on a primary only; this server is a replica",
            ),
            Self::Loading { command } => write!(
                out,
                "LOADING {command} cannot run while the server loads its data; \
                 try again when it is done"
            ),
            Self::CallerUnblocked { run } => write!(
                out,
                "CANCELLED run {run} was cancelled by CLIENT UNBLOCK; see BLOCKING.STATUS"
            ),
            Self::CannotStart { why } => {
                write!(out, "ERR the cleanup could not start: {why}; try again")
            }
            Self::QueryEnded {
                command,
                cancelled,
                why,
            } => {
                let code = if *cancelled {
                    "CANCELLED"
                } else {
                    "INTERRUPTED"
                };
                write!(out, "{code} {command} was stopped: {why}")
            }
        }
    }
}

impl std::error::Error for Error {}

/// Why a value of a setting is refused. The server puts its own words, and the setting's name, in front of these, so
/// they begin without a code word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadSetting {
    Databases {
        /// The highest number of a database of this server.
        last: u32,
    },
    Protect,
    ObituaryStream,
    TimeFields,
    Zoneless,
    ClusterTags,
    Families {
        /// Where the mistake begins: the number of its byte in the value, from 1 on.
        at: usize,
        /// What is accepted instead.
        accepted: &'static str,
    },
}

impl fmt::Display for BadSetting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Databases { last } => write!(
                out,
                "argument must be one or more different numbers from 0 to {last}, separated by spaces"
            ),
            Self::Protect => out.write_str(
                "argument must be at most 64 glob patterns of 1 to 512 bytes, separated by spaces, without double quotes, backslashes and NUL bytes",
            ),
            Self::ObituaryStream => out.write_str(
                "argument must be the name of a key of at most 512 bytes, without quotes, backslashes and control characters, that fits no template of blocking.families, or empty",
            ),
            Self::TimeFields => out.write_str(
                "argument must be 1 to 16 names of fields of 1 to 64 bytes, separated by spaces, without quotes, backslashes and control characters",
            ),
            Self::Zoneless => out.write_str("argument must be refuse or utc"),
            Self::ClusterTags => out.write_str("argument must be unknown or ids"),
            Self::Families { at, accepted } => write!(
                out,
                "argument must be templates separated by spaces, at byte {at}: {accepted}"
            ),
        }
    }
}

/// A caller's bytes made fit for an error text: printable ASCII stays, except quotes and the backslash;
/// everything else becomes `\xNN`. Long input is cut and ends in `...`.
pub fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes.iter().take(SHOWN_BYTES) {
        match byte {
            b' '..=b'~' if !br#"'"\"#.contains(&byte) => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    if bytes.len() > SHOWN_BYTES {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
