//! Argument bytes of a command become typed options.
//!
//! Options come in any order and any case, each at most once. Anything else is an error that names
//! the argument and what is accepted. This file must not know the server, its settings or a clock:
//! an option that was not given stays `None`, and whoever runs the command fills in the default.

use std::ops::RangeInclusive;
use std::slice;

use crate::keys::pattern::Pattern;
use crate::reply::error::{Error, shown};

/// The smallest threshold.
pub const THRESHOLD_S_MIN: u32 = 1;
/// The largest threshold: ten years.
pub const THRESHOLD_S_MAX: u32 = 315_360_000;
/// How many coordinators one run may be limited to.
pub const LIMIT_RANGE: RangeInclusive<u32> = 1..=u32::MAX;
/// The share of stale coordinators at which the breaker opens, in percent.
pub const BREAKER_RANGE: RangeInclusive<u32> = 1..=100;
/// How many stale ids a reply may list.
pub const IDS_RANGE: RangeInclusive<u32> = 0..=10_000;
/// How many stale ids a reply lists unless told.
pub const IDS_DEFAULT: u32 = 100;

/// The options of `BLOCKING.CLEANUP`, as an error names them and as the parser finds them.
pub const CLEANUP_OPTIONS: &str =
    "THRESHOLD, DRYRUN, ORPHANS, MATCH, LIMIT, BREAKER, IDS, NOWARMUP, ASYNC, JSON";
/// The same for `BLOCKING.STATUS`.
pub const STATUS_OPTIONS: &str = "JSON";

pub const THRESHOLD_RANGE_S: RangeInclusive<u32> = THRESHOLD_S_MIN..=THRESHOLD_S_MAX;
pub const THRESHOLD_ACCEPTED: &str = "an integer from 1 to 315360000 seconds";
const LIMIT_ACCEPTED: &str = "an integer from 1 to 4294967295 coordinators";
const BREAKER_ACCEPTED: &str = "an integer from 1 to 100 percent";
const IDS_ACCEPTED: &str = "an integer from 0 to 10000 ids";
pub const MATCH_ACCEPTED: &str = "a glob pattern of 1 to 512 bytes";

/// How old the evidence about an orphan must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grace {
    /// Older than the threshold of the run.
    Threshold,
    /// Older than this many seconds.
    Seconds(u32),
}

impl Grace {
    /// In seconds, in a run with this threshold.
    pub fn seconds(self, threshold_s: u32) -> u32 {
        match self {
            Self::Threshold => threshold_s,
            Self::Seconds(seconds) => seconds,
        }
    }
}

/// What `BLOCKING.CLEANUP` was asked to do.
#[derive(Debug, Clone, PartialEq)]
pub struct CleanupOptions {
    pub threshold_s: Option<u32>,
    pub dry_run: bool,
    /// Orphans go too, when the evidence about them is older than this.
    pub orphans: Option<Grace>,
    pub pattern: Option<Pattern>,
    pub limit: Option<u32>,
    /// Remove nothing if more than this share is stale, in percent.
    pub breaker: Option<u32>,
    pub ids: u32,
    pub asynchronous: bool,
    pub json: bool,
    /// Remove although writers were kept away.
    pub no_warm_up: bool,
}

/// What `BLOCKING.STATUS` was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusOptions {
    pub json: bool,
}

/// Reads the arguments of `BLOCKING.CLEANUP`, the command name left out.
pub fn parse_cleanup(args: &[&[u8]]) -> Result<CleanupOptions, Error> {
    let (mut threshold_s, mut limit, mut breaker, mut ids) = (None, None, None, None);
    let mut orphans = None;
    let (mut dry_run, mut pattern, mut asynchronous, mut json) = (None, None, None, None);
    let mut no_warm_up = None;
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match canonical(word, CLEANUP_OPTIONS) {
            Some(option @ "THRESHOLD") => once(&mut threshold_s, option, || {
                integer(&mut words, option, THRESHOLD_RANGE_S, THRESHOLD_ACCEPTED)
            })?,
            Some(option @ "ORPHANS") => once(&mut orphans, option, || {
                // What cannot be meant for a number is the next option.
                let next = words.as_slice().first().and_then(|word| word.first());
                if next.is_none_or(|byte| !matches!(byte, b'0'..=b'9' | b'+' | b'-')) {
                    return Ok(Grace::Threshold);
                }
                integer(&mut words, option, THRESHOLD_RANGE_S, THRESHOLD_ACCEPTED)
                    .map(Grace::Seconds)
            })?,
            Some(option @ "LIMIT") => once(&mut limit, option, || {
                integer(&mut words, option, LIMIT_RANGE, LIMIT_ACCEPTED)
            })?,
            Some(option @ "BREAKER") => once(&mut breaker, option, || {
                integer(&mut words, option, BREAKER_RANGE, BREAKER_ACCEPTED)
            })?,
            Some(option @ "IDS") => once(&mut ids, option, || {
                integer(&mut words, option, IDS_RANGE, IDS_ACCEPTED)
            })?,
            Some(option @ "MATCH") => once(&mut pattern, option, || {
                Pattern::new(value(&mut words, option, MATCH_ACCEPTED)?)
            })?,
            Some(option @ "DRYRUN") => once(&mut dry_run, option, || Ok(()))?,
            Some(option @ "NOWARMUP") => once(&mut no_warm_up, option, || Ok(()))?,
            Some(option @ "ASYNC") => once(&mut asynchronous, option, || Ok(()))?,
            Some(option @ "JSON") => once(&mut json, option, || Ok(()))?,
            _ => return Err(unknown(word, "BLOCKING.CLEANUP", CLEANUP_OPTIONS)),
        }
    }
    Ok(CleanupOptions {
        threshold_s,
        dry_run: dry_run.is_some(),
        orphans,
        pattern,
        limit,
        breaker,
        ids: ids.unwrap_or(IDS_DEFAULT),
        asynchronous: asynchronous.is_some(),
        json: json.is_some(),
        no_warm_up: no_warm_up.is_some(),
    })
}

/// Reads the arguments of `BLOCKING.STATUS`, the command name left out.
pub fn parse_status(args: &[&[u8]]) -> Result<StatusOptions, Error> {
    let mut json = None;
    for word in args {
        match canonical(word, STATUS_OPTIONS) {
            Some(option @ "JSON") => once(&mut json, option, || Ok(()))?,
            _ => return Err(unknown(word, "BLOCKING.STATUS", STATUS_OPTIONS)),
        }
    }
    Ok(StatusOptions {
        json: json.is_some(),
    })
}

/// The option a word names, spelled as in the list of accepted ones.
pub fn canonical(word: &[u8], accepted: &'static str) -> Option<&'static str> {
    accepted
        .split(", ")
        .find(|option| option.as_bytes().eq_ignore_ascii_case(word))
}

pub fn unknown(word: &[u8], command: &'static str, accepted: &'static str) -> Error {
    Error::UnknownOption {
        shown: shown(word),
        command,
        accepted,
    }
}

/// Fills a slot the first time its option is met. The value is read only then, so that a repeated
/// option is reported as repeated whatever follows it.
pub fn once<T>(
    slot: &mut Option<T>,
    option: &'static str,
    read: impl FnOnce() -> Result<T, Error>,
) -> Result<(), Error> {
    if slot.is_some() {
        return Err(Error::RepeatedOption { option });
    }
    *slot = Some(read()?);
    Ok(())
}

pub fn value<'a>(
    words: &mut slice::Iter<'_, &'a [u8]>,
    option: &'static str,
    accepted: &'static str,
) -> Result<&'a [u8], Error> {
    words
        .next()
        .copied()
        .ok_or(Error::MissingValue { option, accepted })
}

pub fn integer(
    words: &mut slice::Iter<'_, &[u8]>,
    option: &'static str,
    range: RangeInclusive<u32>,
    accepted: &'static str,
) -> Result<u32, Error> {
    let word = value(words, option, accepted)?;
    strict_u32(word)
        .filter(|number| range.contains(number))
        .ok_or_else(|| Error::BadValue {
            option,
            shown: shown(word),
            accepted,
        })
}

/// As strict as the server's own integer arguments: decimal digits only, no sign, no white space,
/// no leading zero. A negative number is not in any of the ranges, so its sign needs no reading.
fn strict_u32(word: &[u8]) -> Option<u32> {
    let strict = match word {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !strict {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
