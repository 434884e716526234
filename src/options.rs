//! Argument bytes of a command become typed options.
//!
//! Options come in any order and any case, each at most once. Anything else is an error that names
//! the argument and what is accepted. This file must not know the server, its settings or a clock:
//! an option that was not given stays `None`, and whoever runs the command fills in the default.

use std::ops::RangeInclusive;
use std::slice;

use crate::error::{Error, shown};
use crate::pattern::Pattern;

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
    "THRESHOLD, DRYRUN, ORPHANS, MATCH, LIMIT, BREAKER, IDS, ASYNC, JSON";
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
#[derive(Debug, Clone)]
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The words of a line, split at single spaces.
    fn words(line: &str) -> Vec<&[u8]> {
        line.split(' ')
            .filter(|word| !word.is_empty())
            .map(str::as_bytes)
            .collect()
    }

    /// Options as one comparable line.
    fn summary(options: &CleanupOptions) -> String {
        format!(
            "threshold={:?} dry={} orphans={:?} match={:?} limit={:?} breaker={:?} ids={} async={} json={}",
            options.threshold_s,
            options.dry_run,
            options.orphans,
            options.pattern.as_ref().map(|p| shown(p.source())),
            options.limit,
            options.breaker,
            options.ids,
            options.asynchronous,
            options.json,
        )
    }

    #[test]
    fn accepted_cleanups() {
        let plain = "threshold=None dry=false orphans=None match=None limit=None breaker=None ids=100 \
                     async=false json=false";
        let table = [
            ("", plain.to_string()),
            ("THRESHOLD 1", plain.replace("threshold=None", "threshold=Some(1)")),
            (
                "threshold 315360000",
                plain.replace("threshold=None", "threshold=Some(315360000)"),
            ),
            ("DryRun", plain.replace("dry=false", "dry=true")),
            ("ORPHANS", plain.replace("orphans=None", "orphans=Some(Threshold)")),
            ("orphans 1", plain.replace("orphans=None", "orphans=Some(Seconds(1))")),
            ("ORPHANS 315360000", plain.replace("orphans=None", "orphans=Some(Seconds(315360000))")),
            (
                "ORPHANS dryrun",
                plain.replace("orphans=None", "orphans=Some(Threshold)").replace("dry=false", "dry=true"),
            ),
            ("LIMIT 4294967295", plain.replace("limit=None", "limit=Some(4294967295)")),
            ("breaker 100", plain.replace("breaker=None", "breaker=Some(100)")),
            ("IDS 0", plain.replace("ids=100", "ids=0")),
            ("IDS 10000", plain.replace("ids=100", "ids=10000")),
            ("ASYNC", plain.replace("async=false", "async=true")),
            ("json", plain.replace("json=false", "json=true")),
            // A value may look like an option.
            ("MATCH JSON", plain.replace("match=None", "match=Some(\"JSON\")")),
            (
                "json ids 3 async limit 2 match a* dryrun threshold 60",
                "threshold=Some(60) dry=true orphans=None match=Some(\"a*\") limit=Some(2) breaker=None ids=3 async=true json=true"
                    .to_string(),
            ),
        ];
        for (line, expected) in table {
            let options = parse_cleanup(&words(line)).unwrap();
            assert_eq!(summary(&options), expected, "{line}");
        }
    }

    #[test]
    fn refused_cleanups() {
        let table = [
            (
                "FOO",
                "ERR unknown option 'FOO' for BLOCKING.CLEANUP; \
                 accepted are THRESHOLD, DRYRUN, ORPHANS, MATCH, LIMIT, BREAKER, IDS, ASYNC, JSON",
            ),
            (
                "ORPHAN",
                "ERR unknown option 'ORPHAN' for BLOCKING.CLEANUP; \
                 accepted are THRESHOLD, DRYRUN, ORPHANS, MATCH, LIMIT, BREAKER, IDS, ASYNC, JSON",
            ),
            (
                "ORPHANS soon",
                "ERR unknown option 'soon' for BLOCKING.CLEANUP; \
                 accepted are THRESHOLD, DRYRUN, ORPHANS, MATCH, LIMIT, BREAKER, IDS, ASYNC, JSON",
            ),
            (
                "ORPHANS 5 5",
                "ERR unknown option '5' for BLOCKING.CLEANUP; \
                 accepted are THRESHOLD, DRYRUN, ORPHANS, MATCH, LIMIT, BREAKER, IDS, ASYNC, JSON",
            ),
            (
                "ORPHANS orphans 5",
                "ERR ORPHANS is given more than once; each option is accepted at most once",
            ),
            (
                "ORPHANS 0",
                "ERR ORPHANS must be an integer from 1 to 315360000 seconds, got '0'",
            ),
            (
                "ORPHANS -5",
                "ERR ORPHANS must be an integer from 1 to 315360000 seconds, got '-5'",
            ),
            (
                "ORPHANS 315360001",
                "ERR ORPHANS must be an integer from 1 to 315360000 seconds, got '315360001'",
            ),
            (
                "ORPHANS 60s",
                "ERR ORPHANS must be an integer from 1 to 315360000 seconds, got '60s'",
            ),
            (
                // The separator of the list of options is no option.
                "DRYRUN, MATCH",
                "ERR unknown option 'DRYRUN,' for BLOCKING.CLEANUP; \
                 accepted are THRESHOLD, DRYRUN, ORPHANS, MATCH, LIMIT, BREAKER, IDS, ASYNC, JSON",
            ),
            (
                "DRYRUN dryrun",
                "ERR DRYRUN is given more than once; each option is accepted at most once",
            ),
            (
                "THRESHOLD 5 THRESHOLD",
                "ERR THRESHOLD is given more than once; each option is accepted at most once",
            ),
            (
                "MATCH a MATCH b",
                "ERR MATCH is given more than once; each option is accepted at most once",
            ),
            (
                "THRESHOLD",
                "ERR THRESHOLD needs a value: an integer from 1 to 315360000 seconds",
            ),
            (
                "LIMIT",
                "ERR LIMIT needs a value: an integer from 1 to 4294967295 coordinators",
            ),
            (
                "IDS",
                "ERR IDS needs a value: an integer from 0 to 10000 ids",
            ),
            (
                "MATCH",
                "ERR MATCH needs a value: a glob pattern of 1 to 512 bytes",
            ),
            (
                "THRESHOLD 0",
                "ERR THRESHOLD must be an integer from 1 to 315360000 seconds, got '0'",
            ),
            (
                "THRESHOLD 315360001",
                "ERR THRESHOLD must be an integer from 1 to 315360000 seconds, got '315360001'",
            ),
            (
                "THRESHOLD DRYRUN",
                "ERR THRESHOLD must be an integer from 1 to 315360000 seconds, got 'DRYRUN'",
            ),
            (
                "LIMIT 0",
                "ERR LIMIT must be an integer from 1 to 4294967295 coordinators, got '0'",
            ),
            (
                "LIMIT 4294967296",
                "ERR LIMIT must be an integer from 1 to 4294967295 coordinators, got '4294967296'",
            ),
            (
                "BREAKER 0",
                "ERR BREAKER must be an integer from 1 to 100 percent, got '0'",
            ),
            (
                "BREAKER 101",
                "ERR BREAKER must be an integer from 1 to 100 percent, got '101'",
            ),
            (
                "IDS 10001",
                "ERR IDS must be an integer from 0 to 10000 ids, got '10001'",
            ),
        ];
        for (line, expected) in table {
            let error = parse_cleanup(&words(line)).unwrap_err();
            assert_eq!(error.to_string(), expected, "{line}");
        }
    }

    #[test]
    fn arguments_need_not_be_text() {
        let options = parse_cleanup(&[b"MATCH", b"\xff*\x00"]).unwrap();
        assert_eq!(options.pattern.unwrap().source(), b"\xff*\x00");
        let table: [(&[&[u8]], &str); 4] = [
            (
                &[b"\xff'"],
                "ERR unknown option '\\xff\\x27' for BLOCKING.CLEANUP; \
                 accepted are THRESHOLD, DRYRUN, ORPHANS, MATCH, LIMIT, BREAKER, IDS, ASYNC, JSON",
            ),
            (
                &[b""],
                "ERR unknown option '' for BLOCKING.CLEANUP; \
                 accepted are THRESHOLD, DRYRUN, ORPHANS, MATCH, LIMIT, BREAKER, IDS, ASYNC, JSON",
            ),
            (
                &[b"IDS", b"\xd9\xa3"],
                "ERR IDS must be an integer from 0 to 10000 ids, got '\\xd9\\xa3'",
            ),
            (
                &[b"MATCH", b""],
                "ERR MATCH takes a glob pattern of 1 to 512 bytes, got 0",
            ),
        ];
        for (args, expected) in table {
            assert_eq!(parse_cleanup(args).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn integers_are_strict() {
        let table: [(&[u8], Option<u32>); 16] = [
            (b"0", Some(0)),
            (b"7", Some(7)),
            (b"600", Some(600)),
            (b"4294967295", Some(u32::MAX)),
            (b"4294967296", None),
            (b"99999999999999999999999", None),
            (b"", None),
            (b"00", None),
            (b"07", None),
            (b"+7", None),
            (b"-7", None),
            (b" 7", None),
            (b"7 ", None),
            (b"7\0", None),
            (b"1e3", None),
            (b"0x10", None),
        ];
        for (word, expected) in table {
            assert_eq!(strict_u32(word), expected, "{}", shown(word));
        }
    }

    #[test]
    fn statuses() {
        assert_eq!(parse_status(&[]), Ok(StatusOptions { json: false }));
        assert_eq!(parse_status(&[b"Json"]), Ok(StatusOptions { json: true }));
        assert_eq!(
            parse_status(&[b"JSON", b"JSON"]),
            Err(Error::RepeatedOption { option: "JSON" })
        );
        assert_eq!(
            parse_status(&[b"DRYRUN"]).unwrap_err().to_string(),
            "ERR unknown option 'DRYRUN' for BLOCKING.STATUS; accepted is JSON"
        );
    }

    #[test]
    fn texts_name_the_real_ranges() {
        let table = [
            (THRESHOLD_RANGE_S, THRESHOLD_ACCEPTED),
            (LIMIT_RANGE, LIMIT_ACCEPTED),
            (BREAKER_RANGE, BREAKER_ACCEPTED),
            (IDS_RANGE, IDS_ACCEPTED),
            (1..=crate::pattern::MAX_PATTERN_BYTES as u32, MATCH_ACCEPTED),
        ];
        for (range, accepted) in table {
            let named = format!("{} to {} ", range.start(), range.end());
            let named = if accepted == MATCH_ACCEPTED {
                named
            } else {
                format!("from {named}")
            };
            assert!(accepted.contains(&named), "{accepted}");
        }
        assert!(IDS_RANGE.contains(&IDS_DEFAULT));
    }

    #[test]
    fn every_listed_option_is_known() {
        for option in CLEANUP_OPTIONS.split(", ") {
            let error = parse_cleanup(&[option.as_bytes()]).err();
            assert!(
                matches!(error, None | Some(Error::MissingValue { .. })),
                "{option}: {error:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_order_means_the_same(
            order in Just(vec![
                "THRESHOLD 60", "DRYRUN", "ORPHANS 9", "MATCH a*", "LIMIT 2", "BREAKER 9", "IDS 3",
                "ASYNC", "JSON",
            ]).prop_shuffle()
        ) {
            let line = order.join(" ");
            let options = parse_cleanup(&words(&line)).unwrap();
            prop_assert_eq!(
                summary(&options),
                "threshold=Some(60) dry=true orphans=Some(Seconds(9)) match=Some(\"a*\") limit=Some(2) \
                 breaker=Some(9) ids=3 async=true json=true"
            );
        }

        #[test]
        fn no_arguments_make_it_panic(args in prop::collection::vec(prop_oneof![
            any::<Vec<u8>>(),
            prop::sample::select(words("THRESHOLD DRYRUN MATCH LIMIT BREAKER IDS ASYNC JSON 5 0 a*"))
                .prop_map(<[u8]>::to_vec),
        ], 0..6)) {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            if let Err(error) = parse_cleanup(&args) {
                prop_assert!(error.to_string().is_ascii());
            }
            let _ = parse_status(&args);
        }
    }
}
