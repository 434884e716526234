//! Every link leads to a file that is there, and to a heading that is on it. Addresses elsewhere are not looked up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use pulldown_cmark::{Event, Tag, TagEnd, TextMergeStream};

use super::{PAGES, ROOT, parsed};

/// What a heading is called in links, as GitHub makes it: lower case, without punctuation, dashes for spaces.
fn slug(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().replace(' ', "-")
}

/// The headings of a page by their names in links. Of several that are called the same, the later ones get a number.
fn anchors(text: &str) -> BTreeSet<String> {
    let (mut found, mut times) = (BTreeSet::new(), BTreeMap::<String, usize>::new());
    let mut heading = None;
    for event in parsed(text) {
        match (event, &mut heading) {
            (Event::Start(Tag::Heading { .. }), _) => heading = Some(String::new()),
            (Event::Text(words) | Event::Code(words), Some(heading)) => heading.push_str(&words),
            (Event::End(TagEnd::Heading(_)), Some(words)) => {
                let name = slug(words);
                let before = times.entry(name.clone()).or_default();
                found.insert(match *before {
                    0 => name,
                    n => format!("{name}-{n}"),
                });
                *before += 1;
                heading = None;
            }
            _ => {}
        }
    }
    found
}

/// Where the links and pictures of a page lead.
fn targets(text: &str) -> Vec<String> {
    let leads_to = |event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
            Some(dest_url.into_string())
        }
        _ => None,
    };
    parsed(text).filter_map(leads_to).collect()
}

/// Whether `target`, a path and perhaps a heading, is there, as seen from `from`.
fn leads_somewhere(from: &Path, target: &str) -> Result<()> {
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = match file {
        "" => from.to_owned(),
        file => from.parent().context("no folder")?.join(file),
    };
    ensure!(path.exists(), "{}: no file {target}", from.display());
    if !heading.is_empty() {
        let text = fs::read_to_string(&path)?;
        let is_there = anchors(&text).contains(heading);
        ensure!(is_there, "{}: no heading {target}", from.display());
    }
    Ok(())
}

#[test]
fn every_link_leads_somewhere() -> Result<()> {
    let mut all = 0;
    for page in &PAGES {
        for target in targets(page.text) {
            if !target.contains("://") {
                leads_somewhere(&Path::new(ROOT).join(page.path), &target)?;
                all += 1;
            }
        }
    }
    ensure!(all > 100, "{all} links");
    Ok(())
}

/// A link in brackets that the parser takes for text, for lack of a file or for a space in it.
#[test]
fn no_link_is_left_as_text() {
    for page in &PAGES {
        for event in TextMergeStream::new(parsed(page.text)) {
            if let Event::Text(words) = event {
                assert!(!words.contains("]("), "{}: {words}", page.path);
            }
        }
    }
}

/// Every text file below that folder, or the file itself.
fn files(path: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != "target" && !name.to_string_lossy().starts_with('.') {
            files(&entry.path(), found)?;
        }
    }
    Ok(())
}

/// The pages that a text names, with the heading behind the name: `docs/keys.md#orphans`.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_./#".contains(c);
    let words = text.split(move |c| !is_part(c));
    let words = words.map(|word| word.trim_end_matches('.'));
    words.filter(|word| {
        let file = word.split('#').next().unwrap_or_default();
        let is_page = file.starts_with("docs/")
            || !file.contains('/') && file.starts_with(|c: char| c.is_ascii_uppercase());
        is_page && file.ends_with(".md")
    })
}

/// Comments, texts and files for operators: what they call a page is one. The README has no sections to speak of, so a
/// text that means more than its file names the page.
#[test]
fn every_page_that_a_file_names_is_there() -> Result<()> {
    let root = Path::new(ROOT);
    let mut all = Vec::new();
    for path in [
        "src",
        "tests",
        "harness",
        "bench",
        "fuzz",
        "cli",
        "contrib",
        "scripts",
        ".ci",
        ".github",
        "Dockerfile",
        "compose.yaml",
        "deny.toml",
        "Makefile",
        "Cargo.toml",
        "redis.conf.example",
    ] {
        files(&root.join(path), &mut all)?;
    }
    let (mut named, here) = (0, root.join("tests/e2e/pages"));
    for path in all {
        // What is not text names no page.
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        for name in names(&text) {
            leads_somewhere(&root.join("Makefile"), name)
                .with_context(|| path.display().to_string())?;
            named += 1;
        }
        let is_named = !text.replace("README.md", "").contains("README");
        let is_here = path.starts_with(&here) || path == here.with_extension("rs");
        ensure!(is_named || is_here, "{} names no page", path.display());
    }
    ensure!(named > 20, "{named} names");
    Ok(())
}

#[test]
fn headings_are_called_as_on_github() {
    let page =
        "# A `b`: c, d\n\n## BLOCKING.CLEANUP\n\n## Twice\n\n```\n# no heading\n```\n\n## Twice\n";
    let expected = ["a-b-c-d", "blockingcleanup", "twice", "twice-1"];
    assert_eq!(anchors(page), expected.map(str::to_owned).into());
    let text = "see docs/keys.md#orphans. In README.md, not in a.md or src/x.md";
    assert_eq!(
        names(text).collect::<Vec<_>>(),
        ["docs/keys.md#orphans", "README.md"]
    );
}
