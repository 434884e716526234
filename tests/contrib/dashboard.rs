//! The dashboard: every panel says what it shows and of which server, and those that an alert is about change colour at
//! its bound. Whether its queries have answers is tested beside a server, in monitoring.rs.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::read;

/// Each alert, what its rule says of its bound, and the panel with the value from which it is red or orange.
const BOUNDS: [(&str, &str, &str, f64); 8] = [
    ("BlockingModuleMissing", "== 0", "Module", 1.0),
    (
        "BlockingCleanupNotRun",
        "3 *",
        "Intervals since a scheduled run",
        3.0,
    ),
    (
        "BlockingCleanupNotComplete",
        ", 3600)",
        "Since a complete run",
        3600.0,
    ),
    // A count that went up by one may look like a little less.
    (
        "BlockingCleanupCutShort",
        "> 0",
        "Cut short in the last hour",
        0.5,
    ),
    ("BlockingBreakerOpen", "> 0", "Breakers open", 1.0),
    ("BlockingOrphansGrowing", "> 1000", "Orphans", 1000.0),
    ("BlockingLongSlice", "> 10000", "Longest slice", 10_000.0),
    (
        "BlockingUnreadableHeartbeats",
        "> 0",
        "Unreadable heartbeats",
        1.0,
    ),
];

fn panels() -> Result<Vec<Value>> {
    let dashboard: Value = serde_json::from_str(&read("grafana-dashboard.json")?)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    ensure!(panels.len() >= 18, "{} panels", panels.len());
    Ok(panels.clone())
}

fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str> {
    let found = value[field].as_str().filter(|text| !text.is_empty());
    found.with_context(|| format!("no {field} in {value}"))
}

/// From which value on a panel has which colour; the first is for all that is lower.
fn steps(panel: &Value) -> Vec<(Option<f64>, String)> {
    let steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"].as_array();
    let step = |step: &Value| {
        let colour = step["color"].as_str().unwrap_or_default();
        (step["value"].as_f64(), colour.to_owned())
    };
    steps.into_iter().flatten().map(step).collect()
}

/// What is wrong with a panel by itself.
fn judge(panel: &Value) -> Result<()> {
    text(panel, "title")?;
    text(panel, "description")?;
    text(&panel["fieldConfig"]["defaults"], "unit")?;
    let targets = panel["targets"].as_array().context("no targets")?;
    let mut legends = BTreeSet::new();
    for target in targets {
        text(target, "expr")?;
        let legend = text(target, "legendFormat")?;
        ensure!(legend.contains("{{instance}}"), "of which server? {legend}");
        ensure!(legends.insert(legend), "two series are called {legend}");
    }
    // A number in large type has a colour, be it one for all values.
    let steps = steps(panel);
    ensure!(
        text(panel, "type")? != "stat" || !steps.is_empty(),
        "no thresholds in {panel}"
    );
    for (number, (value, colour)) in steps.iter().enumerate() {
        ensure!(
            !colour.is_empty() && (number == 0) == value.is_none(),
            "{steps:?}"
        );
    }
    Ok(())
}

#[test]
fn every_panel_says_what_it_shows_and_of_which_server() -> Result<()> {
    let panels = panels()?;
    let mut titles = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in &panels {
        judge(panel)?;
        ensure!(titles.insert(text(panel, "title")?), "{panel}");
        ensure!(ids.insert(panel["id"].as_i64()), "{panel}");
    }
    // The judge sees what is missing.
    for spoil in [
        |panel: &mut Value| panel["description"] = "".into(),
        |panel: &mut Value| panel["targets"][0]["legendFormat"] = "stale".into(),
        |panel: &mut Value| panel["fieldConfig"]["defaults"]["unit"] = Value::Null,
        |panel: &mut Value| panel["fieldConfig"]["defaults"]["thresholds"] = Value::Null,
    ] {
        let mut panel = panels[0].clone();
        spoil(&mut panel);
        ensure!(judge(&panel).is_err(), "{panel}");
    }
    Ok(())
}

#[test]
fn panels_do_not_overlap() -> Result<()> {
    let mut taken = BTreeMap::new();
    for panel in panels()? {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_i64());
        let (x, y) = (x.context("x")?, y.context("y")?);
        let (w, h) = (w.context("w")?, h.context("h")?);
        ensure!(x >= 0 && x + w <= 24, "{panel}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            let other = taken.insert(cell, panel["title"].clone());
            ensure!(other.is_none(), "{} over {other:?}", panel["title"]);
        }
    }
    Ok(())
}

#[test]
fn every_alert_has_a_panel_that_changes_colour_at_its_bound() -> Result<()> {
    let rules = read("prometheus-rules.yml")?;
    let rules: BTreeMap<&str, &str> = rules
        .split("- alert: ")
        .skip(1)
        .filter_map(|rule| rule.split_once('\n'))
        .collect();
    ensure!(rules.len() == BOUNDS.len(), "{:?}", rules.keys());
    let panels = panels()?;
    for (alert, says, title, bound) in BOUNDS {
        let rule = rules.get(alert).with_context(|| alert.to_owned())?;
        ensure!(rule.contains(says), "{alert} has another bound: {rule}");
        let panel = panels.iter().find(|panel| panel["title"] == title);
        let panel = panel.with_context(|| format!("no panel {title}"))?;
        ensure!(text(panel, "description")?.contains(alert), "{title}");
        let steps = steps(panel);
        let at = steps.iter().position(|(value, _)| *value == Some(bound));
        let at = at.with_context(|| format!("{title} has no step at {bound}"))?;
        // Above the bound, or below it where less is worse.
        let colours: Vec<&str> = steps.iter().map(|(_, colour)| colour.as_str()).collect();
        let (good, bad) = if says == "== 0" {
            (at, at - 1)
        } else {
            (at - 1, at)
        };
        ensure!(
            colours[good] == "green" && ["red", "orange"].contains(&colours[bad]),
            "{title}: {colours:?}"
        );
    }
    Ok(())
}

#[test]
fn the_module_and_what_a_run_waits_for_have_panels() -> Result<()> {
    let panels = panels()?;
    for field in [
        "module_loaded",
        "current_paused",
        "writers_away_s",
        "running",
    ] {
        let name = format!("\"blocking_{field}\"");
        let shows = |panel: &&Value| {
            panel["targets"]
                .to_string()
                .contains(&name.replace('"', "\\\""))
        };
        ensure!(
            panels.iter().any(|panel| shows(&panel)),
            "no panel shows {field}"
        );
    }
    Ok(())
}
