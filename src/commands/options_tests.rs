//! Tests of `options.rs`.

use super::*;
use crate::commands::query::{COUNT_DEFAULT, parse_doctor, parse_explain, parse_list};
use crate::commands::table::{ALL, Command, DOCTOR, EXPLAIN, Kind, LIST};
use crate::reply::error::shown;
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
fn unknown_options_of_cleanup() {
    let accepted = "THRESHOLD, DRYRUN, ORPHANS, MATCH, LIMIT, BREAKER, IDS, NOWARMUP, ASYNC, JSON";
    let table: [(&[&[u8]], &str); 7] = [
        (&[b"FOO"], "FOO"),
        (&[b"ORPHAN"], "ORPHAN"),
        (&[b"ORPHANS", b"soon"], "soon"),
        (&[b"ORPHANS", b"5", b"5"], "5"),
        // The separator of the list of options is no option.
        (&[b"DRYRUN,", b"MATCH"], "DRYRUN,"),
        (&[b"\xff'"], "\\xff\\x27"),
        (&[b""], ""),
    ];
    for (args, shown) in table {
        let expected =
            format!("ERR unknown option '{shown}' for BLOCKING.CLEANUP; accepted are {accepted}");
        assert_eq!(parse_cleanup(args).unwrap_err().to_string(), expected);
    }
}

#[test]
fn refused_cleanups() {
    let table = [
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
    let table: [(&[&[u8]], &str); 2] = [
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

/// What a command was asked, as one comparable line.
fn parsed(command: &Command, args: &[&str]) -> Result<String, String> {
    let args: Vec<&[u8]> = args.iter().map(|word| word.as_bytes()).collect();
    let id_and_args = [&[b"a".as_slice()], args.as_slice()].concat();
    let line = match command.topic() {
        "CLEANUP" => parse_cleanup(&args).map(|options| format!("{options:?}")),
        "LIST" => parse_list(&args).map(|options| format!("{options:?}")),
        "EXPLAIN" => parse_explain(&id_and_args).map(|options| format!("{options:?}")),
        "DOCTOR" => parse_doctor(&args).map(|options| format!("{options:?}")),
        "STATUS" => parse_status(&args).map(|options| format!("{options:?}")),
        topic => panic!("{topic} has no options"),
    };
    line.map_err(|error| error.to_string())
}

/// An argument that is in the table and that no parser asks for would be accepted and do nothing.
#[test]
fn every_argument_of_the_table_is_taken_and_means_something() {
    for command in [&CLEANUP, &LIST, &EXPLAIN, &DOCTOR, &STATUS] {
        let mut known = vec![parsed(command, &[]).unwrap()];
        for argument in command.arguments {
            for option in argument.tokens() {
                let mut lines = vec![vec![*option]];
                match argument.kind {
                    Kind::Keyword | Kind::OneOf(_) | Kind::Id => {}
                    Kind::Integer(_) | Kind::Pattern => lines = vec![vec![option, "7"]],
                    Kind::OptionalInteger(_) => lines.push(vec![option, "7"]),
                }
                for line in lines {
                    let what = parsed(command, &line).unwrap();
                    assert!(!known.contains(&what), "{line:?} means no more than {what}");
                    known.push(what);
                }
                if let Kind::Integer(range) | Kind::OptionalInteger(range) = argument.kind {
                    for (number, is_taken) in [
                        (i64::from(range.min), true),
                        (i64::from(range.max), true),
                        (i64::from(range.min) - 1, false),
                        (i64::from(range.max) + 1, false),
                    ] {
                        let number = number.to_string();
                        let line = [*option, &number];
                        let result = parsed(command, &line);
                        assert_eq!(result.is_ok(), is_taken, "{line:?} {result:?}");
                    }
                }
            }
        }
    }
    assert_eq!(
        ALL.len(),
        7,
        "a command more has a line above, or no options"
    );
}

/// HELP says what is listed unless told.
#[test]
fn defaults_are_within_their_ranges_and_in_help() {
    for (command, option, default) in [
        (&CLEANUP, "IDS", IDS_DEFAULT),
        (&LIST, "COUNT", COUNT_DEFAULT),
    ] {
        let argument = command
            .arguments
            .iter()
            .find(|a| a.token == option)
            .unwrap();
        let Kind::Integer(range) = argument.kind else {
            panic!("{option} takes no integer");
        };
        assert!((range.min..=range.max).contains(&default), "{option}");
        assert!(argument.help.contains(&format!("({default})")), "{option}");
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
