//! The documentation against a real server: every transcript is run, and everything that exists on the wire is on the
//! page where it belongs.
//! Must not be kept quiet by loosening: the page changes, or the module.

/// Links between pages, and from comments to pages.
mod links;
/// Options, settings, fields and errors of the wire, looked up on their pages.
mod mentions;
/// docs/operations.md: its commands, its names, and what it says of rights and of what is left over.
mod operations;
/// Every table is one, with as many cells in each row.
mod tables;
/// The transcripts of all pages, run.
mod transcripts;
/// The version is one.
mod version;
/// The workflows for a public forge.
mod workflows;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use pulldown_cmark::{Options, Parser};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

struct Page {
    /// From the project's folder.
    path: &'static str,
    text: &'static str,
}

/// The page at that path.
macro_rules! page {
    ($path:literal) => {
        Page {
            path: $path,
            text: include_str!(concat!("../../", $path)),
        }
    };
}

const README: Page = page!("README.md");
const CONTRIBUTING: Page = page!("CONTRIBUTING.md");
const COMMANDS: Page = page!("docs/commands.md");
const SETTINGS: Page = page!("docs/settings.md");
const MONITORING: Page = page!("docs/monitoring.md");
const OPERATIONS: Page = page!("docs/operations.md");

const PAGES: [Page; 19] = [
    README,
    CONTRIBUTING,
    page!("CHANGELOG.md"),
    page!("SECURITY.md"),
    COMMANDS,
    page!("docs/keys.md"),
    page!("docs/schedule.md"),
    page!("docs/guarantees.md"),
    SETTINGS,
    MONITORING,
    page!("docs/install.md"),
    OPERATIONS,
    page!("docs/cli.md"),
    page!("docs/migrate.md"),
    page!("docs/clients.md"),
    page!("docs/images.md"),
    page!("docs/benchmark.md"),
    page!("docs/profile.md"),
    page!("docs/reliability.md"),
];

/// A page as a reader's browser understands it.
fn parsed(text: &str) -> Parser<'_> {
    Parser::new_ext(text, Options::ENABLE_TABLES)
}

const MAKEFILE: &str = include_str!("../../Makefile");

#[test]
fn every_page_is_in_the_list() -> Result<()> {
    let mut there = BTreeSet::new();
    for folder in ["", "docs/"] {
        for entry in fs::read_dir(Path::new(ROOT).join(folder))? {
            let name = entry?.file_name();
            let name = name.to_str().context("no text")?;
            if name.ends_with(".md") {
                there.insert(format!("{folder}{name}"));
            }
        }
    }
    let listed: BTreeSet<String> = PAGES.iter().map(|page| page.path.to_owned()).collect();
    assert_eq!(listed, there);
    Ok(())
}

/// What a newcomer reads first stays short; the rest has pages of its own.
#[test]
fn the_readme_stays_short_and_leads_to_every_page() {
    let lines = README.text.lines().count();
    assert!(lines <= 220, "{lines} lines");
    for page in PAGES.iter().skip(1) {
        let link = format!("]({})", page.path);
        assert!(README.text.contains(&link), "no link to {}", page.path);
    }
}

#[test]
fn every_make_target_is_mentioned() -> Result<()> {
    let targets = MAKEFILE
        .lines()
        .filter(|line| line.contains(":") && line.contains(" ## "));
    let names: Vec<&str> = targets
        .filter_map(|line| Some(line.split_once(':')?.0))
        .collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        let is_there = [format!("`{name}`"), format!("`make {name}`")];
        ensure!(
            is_there.iter().any(|word| CONTRIBUTING.text.contains(word)),
            "no {name}"
        );
    }
    Ok(())
}

#[test]
fn building_needs_no_server() -> Result<()> {
    let setup = |words: &[&str]| {
        std::process::Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/setup.sh"))
            .args(words)
            .env("BLOCKING_SERVER_BIN", "/no/such/server")
            .output()
    };
    let (build, all) = (setup(&["build"])?, setup(&[])?);
    ensure!(build.status.success(), "{build:?}");
    ensure!(!all.status.success(), "{all:?}");
    ensure!(README.text.contains("   make setup-build build\n"));
    Ok(())
}
