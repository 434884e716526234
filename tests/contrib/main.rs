//! The files in contrib/, run by the programs they are for: Prometheus, redis_exporter, promtool, systemd-analyze.
//! Must leave nothing running, and nothing outside the folders of its own servers. `make contrib` brings
//! the programs.

/// The dashboard for Grafana, without a server: every panel can be read, and agrees with the alerts.
mod dashboard;
/// What the files say, without a server: heads, rules.
mod files;
/// What runs the module in containers: Dockerfile, compose.yaml, values for Helm.
mod images;
/// Exporter and Prometheus beside a server: the numbers arrive, alerts fire, every panel shows something.
mod monitoring;
/// The files for cron and systemd: they are accepted, shut off what is not needed, and call the client right.
mod units;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result};

const DEADLINE: Duration = Duration::from_secs(60);

/// A file in contrib/.
fn contrib(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("contrib")
        .join(name)
}

fn read(name: &str) -> Result<String> {
    std::fs::read_to_string(contrib(name)).with_context(|| name.to_owned())
}

/// What `scripts/tools.sh` brought, or what is installed.
fn tool(name: &str) -> PathBuf {
    let brought = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(".tools")
        .join(name);
    if brought.exists() {
        brought
    } else {
        name.into()
    }
}

/// Runs a program to its end.
fn output(command: &mut Command) -> Result<Output> {
    let what = format!("cannot run {command:?}; `make contrib` brings what it needs");
    command.output().context(what)
}

/// Both outputs of a program, one behind the other.
fn said(output: &Output) -> String {
    let parts = [&output.stdout, &output.stderr].map(|part| String::from_utf8_lossy(part));
    parts.concat()
}
