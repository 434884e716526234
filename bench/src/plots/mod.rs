//! The pictures of the page, and every figure in them as `plots.json`, from which they can be drawn again without a
//! run. They are made from the results alone, and show nothing that was extrapolated.

/// Wall time against something that grows.
mod lines;
/// Colours, marks, texts and axes of all pictures.
mod style;
/// Waits of another client.
mod waits;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use blocking_harness::FAMILY_SIZE;
use serde::{Deserialize, Serialize};

use crate::contenders::{CAREFUL_CLIENT, CLIENT, MODULE, SCRIPT_A, SCRIPT_B};
use crate::record::Record;
use crate::results::Results;
use crate::show::count;
use crate::workloads::CLASSIC;

/// Lies beside the pictures.
pub const FILE: &str = "plots.json";
/// Contenders that do all of the work. The shell's times are extrapolated.
const MEASURED: [&str; 5] = [SCRIPT_A, SCRIPT_B, CLIENT, CAREFUL_CLIENT, MODULE];

/// What the pictures show: the first server, and mostly the classic case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plots {
    pub server: String,
    pub coordinators: usize,
    pub stale: usize,
    pub waits: Vec<Wait>,
    pub by_coordinators: Vec<Line>,
    pub by_keys: Vec<Line>,
}

/// What another client waits for while this contender cleans up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    pub contender: String,
    pub p999_ms: f64,
    pub longest_ms: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub contender: String,
    /// Why it ends early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Median by the number of coordinators or keys.
    pub wall_ms: BTreeMap<u64, f64>,
}

/// The texts of a picture.
pub struct Picture {
    pub file: &'static str,
    pub title: String,
    /// What was measured, and where.
    pub subtitle: String,
}

impl Plots {
    /// `None` without the classic case.
    pub fn of(results: &Results) -> Option<Self> {
        let server = results.servers().first().copied()?;
        let classic = results.of(server, CLASSIC).first()?;
        let coordinators = |record: &Record| {
            let on_line = record.usual_share && record.foreign == 0;
            on_line.then_some(record.coordinators as u64)
        };
        let keys = |record: &Record| {
            let on_line = record.usual_share && record.coordinators == classic.coordinators;
            on_line.then_some((record.coordinators * FAMILY_SIZE) as u64 + record.foreign)
        };
        Some(Self {
            server: server.to_owned(),
            coordinators: classic.coordinators,
            stale: classic.stale,
            waits: waits_of(results, server),
            by_coordinators: lines_of(results, server, coordinators),
            by_keys: lines_of(results, server, keys),
        })
    }

    /// Draws every picture that has something to show into a folder, and keeps its figures there.
    pub fn write(&self, folder: &Path) -> Result<Vec<Picture>> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let (file, json) = (folder.join(FILE), serde_json::to_string_pretty(self)?);
        fs::write(&file, json + "\n")?;
        // From the file, so that the pictures are the same when they are drawn again.
        redraw(&file)
    }

    fn draw(&self, folder: &Path) -> Result<Vec<Picture>> {
        let Self { server, .. } = self;
        let all = count(self.coordinators as f64);
        let work = format!(
            "{} of {all} coordinators are removed",
            count(self.stale as f64)
        );
        let mut drawn = Vec::new();
        if !self.waits.is_empty() {
            let picture = Picture {
                file: "waits.svg",
                title: "What another client waits for during a cleanup".to_owned(),
                subtitle: format!("{work}, {server}"),
            };
            waits::draw(folder, &picture, &self.waits)?;
            drawn.push(picture);
        }
        if !self.by_coordinators.is_empty() {
            let picture = Picture {
                file: "coordinators.svg",
                title: "Wall time of a cleanup, by coordinators".to_owned(),
                subtitle: format!("99 % of them are removed, no other keys, idle {server}"),
            };
            let x = "coordinators in the database";
            lines::draw(folder, &picture, x, &self.by_coordinators)?;
            drawn.push(picture);
        }
        if !self.by_keys.is_empty() {
            let picture = Picture {
                file: "foreign.svg",
                title: "Wall time of a cleanup, by foreign keys around it".to_owned(),
                subtitle: format!("{work}, idle {server}"),
            };
            let own = count((self.coordinators * FAMILY_SIZE) as f64);
            let x = format!("keys in the database, all but {own} of them foreign");
            lines::draw(folder, &picture, &x, &self.by_keys)?;
            drawn.push(picture);
        }
        Ok(drawn)
    }
}

/// Draws the pictures beside `file` again, from the figures in it.
pub fn redraw(file: &Path) -> Result<Vec<Picture>> {
    let named = || file.display().to_string();
    let json = File::open(file).with_context(named)?;
    let plots: Plots = serde_json::from_reader(json).with_context(named)?;
    plots.draw(file.parent().unwrap_or(Path::new("")))
}

/// One for each contender, and the module's base line.
fn waits_of(results: &Results, server: &str) -> Vec<Wait> {
    let classic = results.of(server, CLASSIC);
    let wait = |contender: &str, waits: &crate::record::WaitsUs| Wait {
        contender: contender.to_owned(),
        p999_ms: waits.p999_us as f64 / 1_000.0,
        longest_ms: waits.max_us as f64 / 1_000.0,
    };
    let during = MEASURED
        .iter()
        .filter_map(|contender| Some(wait(contender, &classic.probed(contender)?.waits)));
    let without = classic.probed(MODULE);
    let without = without.map(|probed| wait(style::NO_CLEANUP, &probed.base));
    during.chain(without).collect()
}

/// Median wall time of each contender against `x`, over the keyspaces for which there is one.
fn lines_of(results: &Results, server: &str, x: impl Fn(&Record) -> Option<u64>) -> Vec<Line> {
    let mut lines = Vec::new();
    for contender in MEASURED {
        let mut line = Line {
            contender: contender.to_owned(),
            note: None,
            wall_ms: BTreeMap::new(),
        };
        for workload in results.workloads(server) {
            let on = results.of(server, workload);
            let Some(at) = on.first().and_then(&x) else {
                continue;
            };
            if let Some(wall) = on.wall_ms(contender) {
                line.wall_ms.insert(at, wall.median);
            }
            if let Some(why) = on.not_run(contender) {
                // The server's error follows the colon.
                line.note = why.split(':').next().map(str::to_owned);
            }
        }
        if !line.wall_ms.is_empty() {
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::made_up::{results, timed};
    use crate::show;

    #[test]
    fn lines_hold_the_medians_of_the_keyspaces_that_belong_on_them() {
        let mut results = results();
        let mut larger = timed(MODULE, 700.0, 500.0);
        (larger.workload, larger.coordinators) = ("larger".to_owned(), 100_000);
        results.records.push(larger.clone());
        (larger.workload, larger.usual_share) = ("1 % stale".to_owned(), false);
        results.records.push(larger);
        let plots = Plots::of(&results).unwrap();
        let of = |lines: &[Line], name: &str| -> Vec<(u64, f64)> {
            let line = lines.iter().find(|line| line.contender == name);
            line.map_or(Vec::new(), |line| {
                line.wall_ms.clone().into_iter().collect()
            })
        };
        assert_eq!(
            of(&plots.by_coordinators, MODULE),
            [(10_000, 80.0), (100_000, 700.0)]
        );
        assert_eq!(of(&plots.by_coordinators, SCRIPT_B), [(10_000, 320.0)]);
        assert_eq!(of(&plots.by_keys, MODULE), [(60_000, 80.0)]);
        // Its times are extrapolated.
        assert_eq!(of(&plots.by_coordinators, "shell"), []);
    }

    #[test]
    fn pictures_name_what_they_show_and_can_be_drawn_again() {
        let folder = tempfile::tempdir().unwrap();
        let plots = Plots::of(&results()).unwrap();
        let drawn = plots.write(folder.path()).unwrap();
        let read = |picture: &Picture| fs::read_to_string(folder.path().join(picture.file));
        let before: Vec<String> = drawn.iter().map(|picture| read(picture).unwrap()).collect();
        assert_eq!(before.len(), 3);
        for svg in &before {
            for word in ["script B", MODULE, "Redis 7.0.15", "100 ms"] {
                assert!(svg.contains(word), "no {word}");
            }
        }
        assert!(before[0].contains(style::NO_CLEANUP) && before[0].contains("450 µs"));
        assert!(before[1].contains("80.0 ms") && before[1].contains("10 k"));
        let again = redraw(&folder.path().join(FILE)).unwrap();
        let after: Vec<String> = again.iter().map(|picture| read(picture).unwrap()).collect();
        assert_eq!(before, after);
        assert!(Plots::of(&Results::default()).is_none());
    }

    const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");

    fn stored() -> Plots {
        let json = fs::read_to_string(format!("{DOCS}/benchmark/{FILE}")).unwrap();
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn the_pictures_of_the_page_are_those_of_its_figures() {
        let folder = tempfile::tempdir().unwrap();
        for picture in stored().write(folder.path()).unwrap() {
            let drawn = fs::read_to_string(folder.path().join(picture.file)).unwrap();
            let kept = fs::read_to_string(format!("{DOCS}/benchmark/{}", picture.file)).unwrap();
            assert!(drawn == kept, "`make plots` changes {}", picture.file);
        }
    }

    #[test]
    fn the_readme_quotes_the_waits_of_its_picture() {
        let readme = fs::read_to_string(format!("{DOCS}/../README.md")).unwrap();
        for Wait {
            contender,
            p999_ms,
            longest_ms,
        } in stored().waits
        {
            for figure in [p999_ms, longest_ms].map(show::time) {
                assert!(readme.contains(&figure), "{contender}: no {figure}");
            }
        }
    }

    #[test]
    fn every_figure_of_the_pictures_stands_on_the_page() {
        let page = fs::read_to_string(format!("{DOCS}/benchmark.md")).unwrap();
        let plots = stored();
        // Other servers have the same rows with other figures.
        let mut servers = page.split("\n## ");
        let on_server = servers.find(|part| part.starts_with(&plots.server));
        let rows = on_server.unwrap().lines();
        let rows: Vec<&str> = rows.filter(|line| line.starts_with("| ")).collect();
        let stands = |contender: &str, ms: f64| {
            let (name, figure) = (format!("| {contender} "), show::time(ms));
            let mut cells = rows
                .iter()
                .filter(|row| row.starts_with(&name))
                .flat_map(|row| row.split('|'))
                .map(|cell| cell.trim());
            assert!(
                cells.any(|cell| cell == figure || cell.starts_with(&format!("{figure} ("))),
                "{contender}: no {figure}"
            );
        };
        for wait in &plots.waits {
            // The base line stands in the module's row.
            let base_line = wait.contender == style::NO_CLEANUP;
            let contender = if base_line { MODULE } else { &wait.contender };
            stands(contender, wait.p999_ms);
            stands(contender, wait.longest_ms);
        }
        for line in plots.by_coordinators.iter().chain(&plots.by_keys) {
            line.wall_ms
                .values()
                .for_each(|ms| stands(&line.contender, *ms));
        }
    }
}
