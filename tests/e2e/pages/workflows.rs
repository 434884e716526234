//! The workflows for a public forge: what they run is a target of the Makefile, and every action is pinned. They run
//! nowhere else, so nothing else would notice.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use saphyr::{LoadableYamlNode, Yaml};

use super::{MAKEFILE, ROOT};

/// Every text below `yaml` whose field is called so.
fn texts<'b>(yaml: &'b Yaml, field: &str, found: &mut Vec<&'b str>) {
    if let Some(mapping) = yaml.as_mapping() {
        for (name, value) in mapping {
            match value.as_str() {
                Some(text) if name.as_str() == Some(field) => found.push(text),
                _ => texts(value, field, found),
            }
        }
    }
    for item in yaml.as_sequence().into_iter().flatten() {
        texts(item, field, found);
    }
}

fn targets() -> BTreeSet<&'static str> {
    let lines = MAKEFILE.lines().filter(|line| !line.starts_with('\t'));
    lines
        .filter_map(|line| Some(line.split_once(':')?.0))
        .collect()
}

/// The texts of that field in every workflow.
fn each(field: &str, mut check: impl FnMut(&str, &str) -> Result<()>) -> Result<usize> {
    let mut all = 0;
    for entry in fs::read_dir(Path::new(ROOT).join(".github/workflows"))? {
        let path = entry?.path();
        let content = fs::read_to_string(&path)?;
        let name = path.display().to_string();
        let mut found = Vec::new();
        let documents = Yaml::load_from_str(&content).context(name.clone())?;
        for document in &documents {
            texts(document, field, &mut found);
        }
        for text in &found {
            check(&name, text)?;
        }
        all += found.len();
    }
    Ok(all)
}

#[test]
fn every_step_calls_targets_that_there_are() -> Result<()> {
    let targets = targets();
    ensure!(
        targets.contains("lint") && targets.len() > 20,
        "{targets:?}"
    );
    let all = each("run", |name, command| {
        let called = command.strip_prefix("make ");
        let called = called.with_context(|| format!("{name}: {command}"))?;
        for target in called.split(' ') {
            let is_known = targets.contains(target);
            ensure!(is_known, "{name}: no target {target}");
        }
        Ok(())
    })?;
    ensure!(all >= 9, "{all} steps");
    Ok(())
}

/// A tag can be moved to other code, a commit cannot.
#[test]
fn every_action_is_pinned_to_a_commit() -> Result<()> {
    let all = each("uses", |name, action| {
        let commit = action.rsplit_once('@').map(|(_, commit)| commit);
        let is_commit = |commit: &str| {
            commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        let is_ours = action.starts_with("./");
        ensure!(is_ours || commit.is_some_and(is_commit), "{name}: {action}");
        Ok(())
    })?;
    ensure!(all >= 8, "{all} actions");
    Ok(())
}
