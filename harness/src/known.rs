//! Which servers there are to test and to measure on: the system's own, or the one that BLOCKING_SERVER_BIN names,
//! and those that `make servers` brought. Must not leave out a known server that is not there.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// A server that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub program: PathBuf,
    /// `8.0.2`
    pub version: String,
}

/// A known server, there or not.
#[derive(Clone, Debug)]
pub struct Server {
    /// What its folder of output is called: `system`, `valkey-8.1`.
    pub name: String,
    /// `Redis`, `Valkey`.
    pub kind: String,
    /// Or why it is not there.
    pub found: std::result::Result<Found, String>,
}

impl Server {
    /// `Redis 8.0.2`, as tables and tallies have it.
    pub fn title(&self) -> String {
        match &self.found {
            Ok(found) => format!("{} {}", self.kind, found.version),
            Err(_) => self.name.clone(),
        }
    }

    pub fn version(&self) -> Option<&str> {
        self.found.as_ref().ok().map(|found| found.version.as_str())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.found {
            Ok(found) => write!(f, "{}: {}", self.title(), found.program.display()),
            Err(why) => write!(f, "{} is not tested: {why}", self.name),
        }
    }
}

/// The system's server first, then those of `list`, which live in `folder`.
pub fn find(list: &Path, folder: &Path) -> Result<Vec<Server>> {
    let list =
        fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
    let mut servers = vec![system()];
    for line in list.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            [kind, series, _suite] => servers.push(brought(folder, kind, series)?),
            _ => anyhow::bail!("cannot read this line of the list of servers: {line}"),
        }
    }
    Ok(servers)
}

fn system() -> Server {
    let given = std::env::var_os("BLOCKING_SERVER_BIN");
    let program = PathBuf::from(given.unwrap_or_else(|| "redis-server".into()));
    let (kind, found) = match look_at(&program) {
        Ok((kind, found)) => (kind, Ok(found)),
        Err(error) => ("Redis".to_owned(), Err(format!("{error:#}"))),
    };
    Server {
        name: "system".to_owned(),
        kind,
        found,
    }
}

fn brought(folder: &Path, kind: &str, series: &str) -> Result<Server> {
    let name = format!("{kind}-{series}");
    let folder = folder.join(&name);
    let program = std::path::absolute(folder.join(format!("{kind}-server")))?;
    let found = match fs::read_to_string(folder.join("missing")) {
        Ok(why) => Err(why.lines().next().unwrap_or("no reason given").to_owned()),
        Err(_) if !program.exists() => Err("`make servers` has not brought it".to_owned()),
        Err(_) => match look_at(&program) {
            Ok((_, found)) if found.version.starts_with(&format!("{series}.")) => Ok(found),
            Ok((_, found)) => Err(format!("it is {}, not {series}", found.version)),
            Err(error) => Err(format!("{error:#}")),
        },
    };
    let mut letters = kind.chars();
    let initial = letters.next().into_iter().flat_map(char::to_uppercase);
    let kind = initial.chain(letters).collect();
    Ok(Server { name, kind, found })
}

/// Kind and version of a program that says `Redis server v=7.0.15 sha=...`.
fn look_at(program: &Path) -> Result<(String, Found)> {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .with_context(|| format!("{} does not run", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let kind = said.split_whitespace().next();
    let version = said
        .split_whitespace()
        .find_map(|word| word.strip_prefix("v="));
    let (Some(kind), Some(version), true) = (kind, version, output.status.success()) else {
        anyhow::bail!("{} does not tell its version", program.display());
    };
    let found = Found {
        program: program.to_owned(),
        version: version.to_owned(),
    };
    Ok((kind.to_owned(), found))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn server(folder: &Path, name: &str, kind: &str, says: &str) {
        let folder = folder.join(name);
        let program = folder.join(format!("{kind}-server"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(&program, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    }

    #[test]
    fn every_server_of_the_list_is_there_or_named_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list");
        fs::write(
            &list,
            "# known\n\nredis 8.0 a\nvalkey 8.1 a\nvalkey 9 b\nvalkey 1 c\n",
        )
        .unwrap();
        server(
            folder.path(),
            "redis-8.0",
            "redis",
            "Redis server v=8.0.2 sha=0",
        );
        server(
            folder.path(),
            "valkey-1",
            "valkey",
            "Valkey server v=10.0.0 sha=0",
        );
        fs::create_dir(folder.path().join("valkey-8.1")).unwrap();
        fs::write(folder.path().join("valkey-8.1/missing"), "no way\nmore\n").unwrap();
        let servers = find(&list, folder.path()).unwrap();
        let shown: Vec<String> = servers[1..].iter().map(Server::to_string).collect();
        assert!(shown[0].starts_with("Redis 8.0.2: /"), "{}", shown[0]);
        assert_eq!(
            shown[1..],
            [
                "valkey-8.1 is not tested: no way",
                "valkey-9 is not tested: `make servers` has not brought it",
                "valkey-1 is not tested: it is 10.0.0, not 1",
            ]
        );
    }

    #[test]
    fn a_list_that_cannot_be_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list");
        assert!(find(&list, folder.path()).is_err());
        fs::write(&list, "redis 8.0\n").unwrap();
        assert!(find(&list, folder.path()).is_err());
    }

    #[test]
    fn a_list_without_servers_leaves_the_systems_own() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list");
        for text in ["", "# nothing\n"] {
            fs::write(&list, text).unwrap();
            let names: Vec<String> = find(&list, folder.path())
                .unwrap()
                .into_iter()
                .map(|server| server.name)
                .collect();
            assert_eq!(names, ["system"], "{text:?}");
        }
    }
}
