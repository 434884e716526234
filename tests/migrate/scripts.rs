//! The two scripts of users, run as cron would run them: by a shell, against one server.
//! Must not judge what they say: that is for the tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result};
use blocking_harness::Server;

/// What a script printed, and how it ended.
pub struct Said {
    pub status: i32,
    pub text: String,
    /// The line of JSON that a wrapper reads, if there is one.
    pub json: Option<serde_json::Value>,
}

impl Said {
    fn new(output: &Output) -> Result<Self> {
        let printed = String::from_utf8_lossy(&output.stdout);
        let json = printed.lines().last().unwrap_or_default();
        let json: Option<serde_json::Value> = serde_json::from_str(json).ok();
        Ok(Self {
            status: output.status.code().context("ended by a signal")?,
            json: json.filter(serde_json::Value::is_object),
            text: format!("{printed}{}", String::from_utf8_lossy(&output.stderr)),
        })
    }

    /// A number of the JSON.
    pub fn count(&self, name: &str) -> Result<i64> {
        let json = self.json.as_ref().with_context(|| self.text.clone())?;
        json[name].as_i64().with_context(|| format!("no {name}"))
    }

    /// The ids that it found dead, in order.
    pub fn ids(&self) -> Result<Vec<String>> {
        let json = self.json.as_ref().with_context(|| self.text.clone())?;
        let ids = json["staleCoordinatorIds"].as_array().context("no ids")?;
        let texts = ids.iter().filter_map(|id| id.as_str().map(str::to_owned));
        let mut ids: Vec<String> = texts.collect();
        ids.sort();
        Ok(ids)
    }
}

/// A file of these tests.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/migrate")
        .join(name)
}

/// The shell script, before it is told anything of its own.
pub fn shell_command(server: &Server) -> Command {
    let mut command = Command::new("sh");
    command
        .arg(file("cleanup.sh"))
        .env("REDIS_PORT", server.port().to_string())
        .env_remove("REDISCLI_AUTH")
        .env_remove("BEFORE_DELETE");
    command
}

/// Runs a script to its end.
pub fn said(command: &mut Command) -> Result<Said> {
    let what = format!("cannot run {command:?}");
    Said::new(&command.output().context(what)?)
}

/// The shell script with these options.
pub fn shell(server: &Server, options: &[&str]) -> Result<Said> {
    said(shell_command(server).args(options))
}

/// The Lua script; what stands behind its name on the command line of redis-cli.
pub fn lua(server: &Server, words: &[&str]) -> Result<Said> {
    let mut cli = Command::new("redis-cli");
    cli.args(["-p", &server.port().to_string(), "--eval"])
        .arg(file("cleanup.lua"))
        .args(words)
        .env_remove("REDISCLI_AUTH");
    said(&mut cli)
}
