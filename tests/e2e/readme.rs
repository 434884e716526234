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
            let known = heading.is_empty()
                || headings(&std::fs::read_to_string(&target)?).contains(heading);
            ensure!(known, "no heading {link}");
        }
    }
    Ok(())
}
