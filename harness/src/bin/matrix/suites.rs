//! The test suites, compiled once, so that every server is tested by the same program.
//! Must not run anything.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// A compiled test target.
#[derive(Clone, Debug)]
pub struct Suite {
    pub name: String,
    pub program: PathBuf,
    /// The folder of its package, where cargo would run it.
    pub folder: PathBuf,
}

/// Compiles the test targets of these names, in this order; none for none.
pub fn compile(names: &[String]) -> Result<Vec<Suite>> {
    // Without a target, cargo would take all of them.
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "--locked", "--workspace", "--no-run"]);
    command.arg("--message-format=json-render-diagnostics");
    for name in names {
        command.args(["--test", name]);
    }
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("no output of cargo")?;
    let mut suites = Vec::new();
    for line in BufReader::new(stdout).lines() {
        suites.extend(suite(serde_json::from_str(&line?)?));
    }
    ensure!(child.wait()?.success(), "the tests do not compile");
    let named = |name: &String| {
        let found = suites.iter().find(|suite: &&Suite| suite.name == *name);
        found
            .cloned()
            .with_context(|| format!("cargo made no test program {name}"))
    };
    names.iter().map(named).collect()
}

/// What we read of a message of cargo's; those about other things than an artifact have less.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

fn suite(message: Message) -> Option<Suite> {
    let target = message.target?;
    target.kind.contains(&"test".to_owned()).then_some(())?;
    Some(Suite {
        name: target.name,
        program: message.executable?,
        folder: message.manifest_path?.parent()?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_programs_are_taken() {
        let read = |json: &str| suite(serde_json::from_str(json).unwrap());
        let artifact = r#"{"reason":"compiler-artifact","manifest_path":"/a/Cargo.toml","executable":"/t/e2e-1",
            "target":{"kind":["test"],"name":"e2e","src_path":"/a/tests/e2e.rs"},"fresh":true}"#;
        let found = read(artifact).unwrap();
        assert_eq!(found.name, "e2e");
        assert_eq!(found.program, PathBuf::from("/t/e2e-1"));
        assert_eq!(found.folder, PathBuf::from("/a"));
        assert!(read(&artifact.replace(r#"["test"]"#, r#"["bin"]"#)).is_none());
        assert!(read(&artifact.replace(r#""/t/e2e-1""#, "null")).is_none());
        assert!(read(r#"{"reason":"build-finished","success":true}"#).is_none());
    }
}
