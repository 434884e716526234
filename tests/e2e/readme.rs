//! README.md and docs/operations.md against a real server: every transcript is run, and everything that exists on the wire is
//! in it.
//! Must not be kept quiet by loosening: the page changes, or the module.

/// Options, settings, fields and errors of the wire, looked up on the page.
mod mentions;
/// docs/operations.md: its commands, its names, and what it says of rights and of what is left over.
mod operations;
/// The page's transcripts, run.
mod transcripts;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

const README: &str = include_str!("../../README.md");
const MAKEFILE: &str = include_str!("../../Makefile");

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
            is_there.iter().any(|word| README.contains(word)),
            "no {name}"
        );
    }
    Ok(())
}

/// The borders of a row, as GitHub counts them: `\|` is none, in backticks neither.
fn borders(row: &str) -> usize {
    row.replace(r"\|", "").matches('|').count()
}

/// A line of dashes belongs below the first row of a table, an empty line would be the table's end, and every row has
/// as many cells as the first.
#[test]
fn no_table_is_torn() -> Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    for entry in std::fs::read_dir(root.join("docs"))? {
        pages.push(entry?.path());
    }
    pages.retain(|page| page.extension().is_some_and(|kind| kind == "md"));
    ensure!(pages.len() > 5, "{pages:?}");
    for path in pages {
        let page = path.display();
        let text = std::fs::read_to_string(&path)?;
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        let is_row = |at: usize| lines.get(at).is_some_and(|line| line.starts_with('|'));
        let heads = (0..lines.len()).filter(|at| is_row(*at) && (*at == 0 || !is_row(at - 1)));
        for head in heads {
            let below = lines.get(head + 1).copied().unwrap_or_default();
            let is_table = below.starts_with("|-") || below.starts_with("| -");
            ensure!(is_table, "{page}, line {}: {}", head + 1, lines[head]);
            let cells = borders(lines[head]);
            for row in (head..lines.len()).take_while(|at| is_row(*at)) {
                ensure!(
                    borders(lines[row]) == cells,
                    "{page}, line {}: {}",
                    row + 1,
                    lines[row]
                );
            }
        }
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
    ensure!(README.contains("   make setup-build build\n"));
    Ok(())
}

/// The headings of a page, as links name them.
fn headings(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|c| c.is_alphanumeric() || " -".contains(*c));
            kept.collect::<String>().replace(' ', "-")
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() -> Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in ["README.md", "docs/operations.md", "docs/clients.md"] {
        let page = root.join(page);
        let text = std::fs::read_to_string(&page)?;
        let links: Vec<&str> = text
            .split("](")
            .skip(1)
            .filter_map(|rest| Some(rest.split_once(')')?.0))
            .collect();
        assert!(!links.is_empty(), "no links on {}", page.display());
        for link in links {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            // A link without a file is to a heading of the same page; an address is not looked up.
            if file.contains("://") {
                continue;
            }
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap_or(root).join(file),
            };
            ensure!(target.exists(), "no file {link}");
            let text = std::fs::read_to_string(&target)?;
            let known = heading.is_empty()
                || headings(&text).contains(heading)
                || text.contains(&format!("<a id=\"{heading}\">"));
            ensure!(known, "no heading {link}");
        }
    }
    Ok(())
}
