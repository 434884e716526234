//! The option parser: what is accepted lies within the ranges and means the same when written out and read again; what
//! is well formed is accepted; an error is one line of ASCII. Half of the inputs are well formed but for chance.
#![no_main]

use std::ops::RangeInclusive;

use blocking_cleanup_fuzz::commands::options::{
    CleanupOptions, Grace, parse_cleanup, parse_status,
};
use blocking_cleanup_fuzz::fault_of_error_text;
use blocking_cleanup_fuzz::keys::pattern::MAX_PATTERN_BYTES;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

/// The ranges as documented, written down a second time.
const THRESHOLD_S: RangeInclusive<u32> = 1..=315_360_000;
const LIMIT: RangeInclusive<u32> = 1..=4_294_967_295;
const IDS: RangeInclusive<u32> = 0..=10_000;
const IDS_DEFAULT: u32 = 100;

const FLAGS: [&str; 4] = ["DRYRUN", "ASYNC", "JSON", "NOWARMUP"];
const NUMBERS: [&str; 3] = ["THRESHOLD", "LIMIT", "IDS"];

/// Options as compared: everything that can be asked of them.
type Meaning = (
    Option<u32>,
    Option<Grace>,
    bool,
    Option<Vec<u8>>,
    Option<u32>,
    u32,
    bool,
    bool,
    bool,
);

fn meaning(options: &CleanupOptions) -> Meaning {
    let pattern = options
        .pattern
        .as_ref()
        .map(|pattern| pattern.source().to_vec());
    let CleanupOptions {
        threshold_s,
        orphans,
        dry_run,
        limit,
        ids,
        asynchronous,
        json,
        no_warm_up,
        ..
    } = options;
    (
        *threshold_s,
        *orphans,
        *dry_run,
        pattern,
        *limit,
        *ids,
        *asynchronous,
        *json,
        *no_warm_up,
    )
}

fuzz_target!(|data: &[u8]| {
    let mut from = Unstructured::new(data);
    if let Ok(words) = words(&mut from) {
        check(&words);
    }
    let mut from = Unstructured::new(data);
    let _ = well_formed(&mut from);
});

/// Words of all kinds: options in any case, numbers around the borders, anything.
fn words(from: &mut Unstructured) -> Result<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    while !from.is_empty() && words.len() < 16 {
        words.push(match from.int_in_range(0..=5)? {
            0 | 1 => in_any_case(from.choose(&NUMBERS)?, from)?,
            2 => in_any_case(
                from.choose(&[
                    "DRYRUN", "ASYNC", "JSON", "NOWARMUP", "MATCH", "ORPHANS", "DRYRUN,", ", ",
                ])?,
                from,
            )?,
            3 => (*from.choose(&[
                "0",
                "1",
                "00",
                "-1",
                "+1",
                "01",
                "10000",
                "10001",
                "315360000",
                "315360001",
                "4294967295",
                "4294967296",
                "18446744073709551616",
                " 1",
                "1 ",
                "1.0",
                "",
            ])?)
            .as_bytes()
            .to_vec(),
            4 => from.arbitrary::<u64>()?.to_string().into_bytes(),
            _ => {
                let length = from.int_in_range(0..=40)?;
                from.bytes(length)?.to_vec()
            }
        });
    }
    Ok(words)
}

fn in_any_case(word: &str, from: &mut Unstructured) -> Result<Vec<u8>> {
    word.bytes()
        .map(|byte| {
            Ok(if from.ratio(1, 4)? {
                byte.to_ascii_lowercase()
            } else {
                byte
            })
        })
        .collect()
}

fn parse(words: &[Vec<u8>]) -> std::result::Result<CleanupOptions, String> {
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    parse_cleanup(&words).map_err(|error| error.to_string())
}

fn check(words: &[Vec<u8>]) {
    let slices: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    if let Err(error) = parse_status(&slices) {
        assert_eq!(fault_of_error_text(&error.to_string()), None, "{error}");
    } else {
        assert!(
            words.len() <= 1 && slices.iter().all(|word| word.eq_ignore_ascii_case(b"JSON")),
            "{words:?}"
        );
    }
    match parse(words) {
        Err(text) => assert_eq!(fault_of_error_text(&text), None, "{text}"),
        Ok(options) => {
            let said = meaning(&options);
            let (threshold_s, orphans, _, pattern, limit, ids, _, _, _) = &said;
            assert!(
                threshold_s.is_none_or(|s| THRESHOLD_S.contains(&s)),
                "{words:?}"
            );
            if let Some(Grace::Seconds(seconds)) = orphans {
                assert!(THRESHOLD_S.contains(seconds), "{words:?}");
            }
            assert!(
                limit.is_none_or(|limit| LIMIT.contains(&limit)),
                "{words:?}"
            );
            assert!(IDS.contains(ids), "{words:?}");
            let length = pattern.as_ref().map_or(1, Vec::len);
            assert!((1..=MAX_PATTERN_BYTES).contains(&length), "{words:?}");
            let again = written(&said);
            assert_eq!(
                parse(&again).map(|options| meaning(&options)),
                Ok(said.clone()),
                "{words:?}"
            );
            // Each word was an option or the value of one; nothing was passed over.
            let defaults = usize::from(*ids == IDS_DEFAULT) * 2;
            assert!(
                again.len() - defaults <= words.len() && words.len() <= again.len(),
                "{words:?}"
            );
        }
    }
}

fn written(
    (threshold_s, orphans, dry_run, pattern, limit, ids, asynchronous, json, no_warm_up): &Meaning,
) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut add = |name: &str, value: Option<Vec<u8>>| {
        words.push(name.as_bytes().to_vec());
        words.extend(value);
    };
    add("IDS", Some(ids.to_string().into_bytes()));
    for (name, is_there) in FLAGS.iter().zip([dry_run, asynchronous, json, no_warm_up]) {
        if *is_there {
            add(name, None);
        }
    }
    for (name, value) in [("THRESHOLD", threshold_s), ("LIMIT", limit)] {
        if let Some(value) = value {
            add(name, Some(value.to_string().into_bytes()));
        }
    }
    if let Some(pattern) = pattern {
        add("MATCH", Some(pattern.clone()));
    }
    match orphans {
        None => {}
        Some(Grace::Threshold) => add("ORPHANS", None),
        Some(Grace::Seconds(seconds)) => {
            add("ORPHANS", Some(seconds.to_string().into_bytes()));
        }
    }
    words
}

/// Every well-formed command is accepted as what it says, in any order and any case; with one word more it is not.
fn well_formed(from: &mut Unstructured) -> Result<()> {
    let optional = |from: &mut Unstructured, range: RangeInclusive<u32>| -> Result<Option<u32>> {
        Ok(if from.arbitrary()? {
            Some(from.int_in_range(range)?)
        } else {
            None
        })
    };
    let threshold_s = optional(from, THRESHOLD_S)?;
    let grace_s = optional(from, THRESHOLD_S)?;
    let orphans = match from.int_in_range(0..=2)? {
        0 => None,
        1 => Some(Grace::Threshold),
        _ => grace_s.map(Grace::Seconds),
    };
    let limit = optional(from, LIMIT)?;
    let ids = optional(from, IDS)?.unwrap_or(IDS_DEFAULT);
    let length = from.int_in_range(1..=20)?;
    let pattern = if from.arbitrary()? {
        Some(from.bytes(length)?.to_vec())
    } else {
        None
    };
    let said = (
        threshold_s,
        orphans,
        from.arbitrary()?,
        pattern,
        limit,
        ids,
        from.arbitrary()?,
        from.arbitrary()?,
        from.arbitrary()?,
    );
    // Options with their values, in an order of their own.
    let mut groups: Vec<Vec<Vec<u8>>> = Vec::new();
    for word in written(&said) {
        let is_name = groups
            .last()
            .is_none_or(|group| group.len() == 2 || FLAGS.iter().any(|f| f.as_bytes() == group[0]));
        match (is_name, groups.last_mut()) {
            (false, Some(group)) => group.push(word),
            _ => groups.push(vec![word]),
        }
    }
    for last in (1..groups.len()).rev() {
        groups.swap(last, from.int_in_range(0..=last)?);
    }
    for group in &mut groups {
        group[0] = in_any_case(std::str::from_utf8(&group[0]).unwrap_or_default(), from)?;
    }
    let mut words: Vec<Vec<u8>> = groups.into_iter().flatten().collect();
    assert_eq!(
        parse(&words).map(|options| meaning(&options)),
        Ok(said),
        "{words:?}"
    );
    // IDS is always among them, so it comes twice now.
    words.extend([b"IDS".to_vec(), b"7".to_vec()]);
    let error = parse(&words).err();
    assert!(
        error.is_some_and(|text| text.starts_with("ERR IDS is given more than once")),
        "{words:?}"
    );
    Ok(())
}
