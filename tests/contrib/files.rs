//! What the files in contrib/ say, checked by the programs that read them, without a server.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Result, ensure};
use blocking_harness::Server;
use blocking_harness::redis;

use crate::{contrib, output, read, said, tool};

#[test]
fn every_file_says_in_two_lines_what_it_is_for() -> Result<()> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(contrib("."))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    ensure!(names.len() >= 7, "{names:?}");
    for name in names {
        let text = read(&name)?;
        // JSON has no comments; there it is the first field.
        if name.ends_with(".json") {
            let json: serde_json::Value = serde_json::from_str(&text)?;
            let description = json["description"].as_str().unwrap_or_default();
            ensure!(description.lines().count() == 2, "{name}: {description}");
            ensure!(
                text.lines()
                    .nth(1)
                    .unwrap_or_default()
                    .contains("description")
            );
            continue;
        }
        let mut lines = text.lines().skip_while(|line| line.starts_with("#!"));
        for line in lines.by_ref().take(2) {
            ensure!(
                line.starts_with("# ") || line.starts_with("-- "),
                "{name}: {line}"
            );
        }
        ensure!(
            !lines.next().unwrap_or_default().starts_with(['#', '-']),
            "{name}"
        );
    }
    Ok(())
}

/// Whatever a file names, the server shows: a field that was renamed must not silence an alarm.
#[test]
fn every_field_that_a_file_names_exists() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    blocking_harness::cleanup(&mut conn, &[])?;
    let info: String = redis::cmd("INFO").arg("blocking").query(&mut conn)?;
    let lines = info.lines();
    let mut fields: BTreeSet<&str> = lines
        .filter_map(|line| Some(line.split_once(':')?.0))
        .collect();
    fields.insert("blocking_module_loaded");
    for name in [
        "prometheus-rules.yml",
        "prometheus-rules.test.yml",
        "grafana-dashboard.json",
    ] {
        let text = read(name)?;
        let named: BTreeSet<&str> = text
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("blocking_"))
            .collect();
        ensure!(named.len() >= 8, "{name}: {named:?}");
        for word in named {
            // The beginning of a group of names ends in an underscore.
            let known = fields.contains(word)
                || (word.ends_with('_') && fields.iter().any(|field| field.starts_with(word)));
            ensure!(known, "{name} names {word}");
        }
    }
    Ok(())
}

#[test]
fn prometheus_takes_the_rules_and_every_alert_does_what_its_tests_say() -> Result<()> {
    for arguments in [
        ["check", "rules", "prometheus-rules.yml"],
        ["test", "rules", "prometheus-rules.test.yml"],
    ] {
        let mut promtool = Command::new(tool("promtool"));
        promtool.args(arguments).current_dir(contrib("."));
        let output = output(&mut promtool)?;
        ensure!(output.status.success(), "{}", said(&output));
        ensure!(said(&output).contains("SUCCESS"), "{}", said(&output));
    }
    let rules = read("prometheus-rules.yml")?;
    let tests = read("prometheus-rules.test.yml")?;
    for line in rules.lines() {
        if let Some(alert) = line.trim().strip_prefix("- alert: ") {
            let tested = format!("alertname: {alert}\n        exp_alerts:\n");
            ensure!(tests.contains(&tested), "no test in which {alert} fires");
        }
    }
    Ok(())
}
