//! Tests of `options.rs`.

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
             accepted are THRESHOLD, DRYRUN, ORPHANS, MATCH, LIMIT, BREAKER, IDS, NOWARMUP, ASYNC, JSON",
        ),
        (
            "ORPHAN",
            "ERR unknown option 'ORPHAN' for BLOCKING.CLEANUP; \
             accepted are THRESHOLD, DRYRUN, ORPHANS, MATCH, LIMIT, BREAKER, IDS, NOWARMUP, ASYNC, JSON",
        ),
        (
            "ORPHANS soon",
            "ERR unknown option 'soon' for BLOCKING.CLEANUP; \
             accepted are THRESHOLD, DRYRUN, ORPHANS, MATCH, LIMIT, BREAKER, IDS, NOWARMUP, ASYNC, JSON",
        ),
        (
            "ORPHANS 5 5",
            "ERR unknown option '5' for BLOCKING.CLEANUP; \
             accepted are THRESHOLD, DRYRUN, ORPHANS, MATCH, LIMIT, BREAKER, IDS, NOWARMUP, ASYNC, JSON",
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
             accepted are THRESHOLD, DRYRUN, ORPHANS, MATCH, LIMIT, BREAKER, IDS, NOWARMUP, ASYNC, JSON",
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
             accepted are THRESHOLD, DRYRUN, ORPHANS, MATCH, LIMIT, BREAKER, IDS, NOWARMUP, ASYNC, JSON",
        ),
        (
            &[b""],
            "ERR unknown option '' for BLOCKING.CLEANUP; \
             accepted are THRESHOLD, DRYRUN, ORPHANS, MATCH, LIMIT, BREAKER, IDS, NOWARMUP, ASYNC, JSON",
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
        (
            1..=crate::keys::pattern::MAX_PATTERN_BYTES as u32,
            MATCH_ACCEPTED,
        ),
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
