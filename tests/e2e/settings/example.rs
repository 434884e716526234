//! redis.conf.example: a server starts from it, and every word in it about a setting is true.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use blocking_harness::{Server, module_path};

use super::{all, get, refusal, set};

const EXAMPLE: &str = include_str!("../../../redis.conf.example");

/// What the line above a setting that is no number begins with.
const WORDS: &str = "# Values: ";

/// A setting as the example describes it.
#[derive(Debug)]
struct Described {
    name: String,
    default: String,
    unit: String,
    min: i64,
    max: i64,
}

/// The number at the beginning of a text.
fn number(text: &str) -> Result<i64> {
    let is_part = |c: &char| c.is_ascii_digit() || *c == '-';
    let digits: String = text.chars().take_while(is_part).collect();
    digits
        .parse()
        .with_context(|| format!("no number in {text}"))
}

/// Every `blocking.*` line with the `# Unit: ... Range: ...` line above it.
fn described() -> Result<Vec<Described>> {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    let settings = lines
        .windows(2)
        .filter(|pair| pair[1].starts_with("blocking.") && !pair[0].starts_with(WORDS));
    settings
        .map(|pair| {
            let (name, default) = pair[1].split_once(' ').context(pair[1].to_owned())?;
            let about = pair[0]
                .strip_prefix("# Unit: ")
                .context(pair[1].to_owned())?;
            let (unit, range) = about.split_once(". Range: ").context(about.to_owned())?;
            let (min, max) = range.split_once(" to ").context(range.to_owned())?;
            // "65536 (64kb) to 1099511627776 (1tb)": what stands in brackets is the same in words.
            Ok(Described {
                name: name.to_owned(),
                default: default.to_owned(),
                unit: unit.split(" (").next().unwrap_or_default().to_owned(),
                min: number(min)?,
                max: number(max)?,
            })
        })
        .collect()
}

/// A server that starts from the example, its loadmodule line changed to the module under test.
fn start_from_example() -> Result<Server> {
    let donor = Server::start()?;
    let path = module_path(&mut donor.client()?)?;
    let (before, after) = EXAMPLE
        .split_once("\nloadmodule ")
        .context("no loadmodule line")?;
    let (_, after) = after
        .split_once('\n')
        .context("nothing behind loadmodule")?;
    let copy = donor.dir().join("example.conf");
    fs::write(&copy, format!("{before}\nloadmodule {path}\n{after}"))?;
    Server::builder().module(false).config_file(copy).start()
}

#[test]
fn a_server_starts_from_the_example_with_the_defaults_it_shows() -> Result<()> {
    let server = start_from_example()?;
    let from_example = all(&mut server.client()?)?;
    let bare = all(&mut Server::start()?.client()?)?;
    assert_eq!(from_example, bare);
    let lines = EXAMPLE.lines().filter(|line| line.starts_with("blocking."));
    let shown = lines.map(|line| line.split(' ').next().unwrap_or_default());
    let mut sorted: Vec<&str> = shown.collect();
    sorted.sort_unstable();
    let names: Vec<&str> = bare.keys().map(String::as_str).collect();
    assert_eq!(sorted, names, "each setting stands there once");
    let numbers = described()?.into_iter().map(|setting| setting.name);
    let expected: Vec<&str> = super::SETTINGS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(
        numbers.collect::<Vec<_>>(),
        expected,
        "each with its unit and range"
    );
    Ok(())
}

#[test]
fn the_example_tells_the_truth_about_units_and_ranges() -> Result<()> {
    let server = start_from_example()?;
    let mut conn = server.client()?;
    let mut units = BTreeMap::new();
    for setting in described()? {
        let name = &setting.name;
        // The default as it is written there can be given to CONFIG SET.
        let default = get(&mut conn, name)?;
        set(&mut conn, name, setting.max)?;
        set(&mut conn, name, setting.min)?;
        set(&mut conn, name, &setting.default)?;
        assert_eq!(get(&mut conn, name)?, default, "{setting:?}");
        refusal(&mut conn, name, &(setting.min - 1).to_string())?;
        refusal(&mut conn, name, &(setting.max + 1).to_string())?;
        units.insert(name.clone(), setting.unit);
    }
    // A size takes a suffix, the others do not: that is what tells bytes from the rest on the wire.
    for (name, unit) in &units {
        let suffix = name.rsplit('-').next().unwrap_or_default();
        let expected = match suffix {
            "us" => "microseconds",
            "maxlen" => "entries",
            suffix => suffix,
        };
        assert_eq!(unit, expected, "{name}");
        if unit == "bytes" {
            set(&mut conn, name, "65kb")?;
        } else {
            refusal(&mut conn, name, "65kb")?;
        }
    }
    Ok(())
}

#[test]
fn the_example_names_an_absolute_library_of_the_right_name() -> Result<()> {
    let line = EXAMPLE
        .lines()
        .find_map(|line| line.strip_prefix("loadmodule "));
    let path = Path::new(line.context("no loadmodule line")?);
    assert!(path.is_absolute());
    assert_eq!(path.file_name(), Some("libblocking_cleanup.so".as_ref()));
    Ok(())
}
