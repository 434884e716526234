//! The version is one: whatever names it, a file or the server, means that of the workspace.

use anyhow::{Context, Result, ensure};
use blocking_harness::{Server, redis};

use super::{PAGES, README};

/// That of the workspace, which the package has from it.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// As the server has it: 1.2.3 is 10203.
fn number() -> Result<i64> {
    let parts = VERSION.split('.').map(str::parse::<i64>);
    let parts: Vec<i64> = parts.collect::<Result<_, _>>()?;
    ensure!(parts.len() == 3 && parts[1] < 100 && parts[2] < 100);
    Ok(parts[0] * 10_000 + parts[1] * 100 + parts[2])
}

/// What stands behind each `before` in the text, up to a space, a quote or the end of the line.
fn behind<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    let ends = |c: char| c.is_whitespace() || "\"]`".contains(c);
    let found = text.split(before).skip(1);
    found
        .map(|rest| rest.split(ends).next().unwrap_or_default())
        .map(|word| word.trim_end_matches('.'))
        .collect()
}

#[test]
fn every_file_that_names_the_version_names_this_one() -> Result<()> {
    let changelog = PAGES
        .iter()
        .find(|page| page.path == "CHANGELOG.md")
        .context("no CHANGELOG.md")?;
    let newest = behind(changelog.text, "\n## [");
    ensure!(newest.first() == Some(&VERSION), "{newest:?}");
    let image = "blocking-cleanup-redis:";
    for (name, text, before) in [
        (
            "Cargo.toml",
            include_str!("../../../Cargo.toml"),
            "[workspace.package]\nversion = \"",
        ),
        ("README.md", README.text, "It is version "),
        (
            "Dockerfile",
            include_str!("../../../Dockerfile"),
            "ARG VERSION=",
        ),
        ("compose.yaml", include_str!("../../../compose.yaml"), image),
        (
            "helm-bitnami-redis.yaml",
            include_str!("../../../contrib/helm-bitnami-redis.yaml"),
            image,
        ),
        (
            "helm-bitnami-valkey.yaml",
            include_str!("../../../contrib/helm-bitnami-valkey.yaml"),
            "blocking-cleanup-valkey:",
        ),
        (
            "helm-valkey.yaml",
            include_str!("../../../contrib/helm-valkey.yaml"),
            "blocking-cleanup-valkey:",
        ),
    ] {
        let found = behind(text, before);
        ensure!(!found.is_empty(), "{name} does not name it");
        ensure!(
            found.iter().all(|word| *word == VERSION),
            "{name}: {found:?}"
        );
    }
    Ok(())
}

/// MODULE LIST is looked at with the commands, in `arguments/declared.rs`.
#[test]
fn the_server_names_the_version_of_the_workspace() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let info: String = redis::cmd("INFO").arg("modules").query(&mut conn)?;
    let expected = format!("module:name=blocking,ver={},", number()?);
    ensure!(info.contains(&expected), "{info}");
    Ok(())
}
