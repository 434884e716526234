//! `docs/benchmark.md`, written anew by every run. Must hold nothing but what was measured and how.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::contenders;
use crate::goals::{self, Goal};
use crate::machine::Machine;
use crate::plots::{self, Plot};
use crate::results::Results;
use crate::round::Trace;
use crate::show;
use crate::tables::{self, Form};

/// Everything the page is made of.
pub struct Page<'a> {
    pub machine: &'a Machine,
    /// The command that made it.
    pub command: &'a str,
    pub results: &'a Results,
    pub goals: &'a [Goal],
    /// Of one keyspace on the first server.
    pub traces: &'a [(String, Trace)],
    /// What the traces and the line over foreign keys are about.
    pub classic: usize,
    /// By server, the number of stale coordinators from which on script A fails.
    pub script_limits: &'a [(String, usize)],
}

impl Page<'_> {
    /// Writes the page, and its plots into a folder beside it that is called like it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let folder = path.with_extension("");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let plots = self.draw(&folder)?;
        let mut text = self.head()?;
        for (file, title) in plots {
            writeln!(text, "![{title}]({name}/{file})\n")?;
        }
        text += &self.body()?;
        Ok(fs::write(path, text.trim_end().to_owned() + "\n")?)
    }

    /// The plots for which there is something to show: file and title.
    fn draw(&self, folder: &Path) -> Result<Vec<(&'static str, String)>> {
        let Some(server) = self.results.servers().first().copied() else {
            return Ok(Vec::new());
        };
        let classic = show::count(self.classic as f64);
        let foreign = plots::foreign_of(self.classic);
        let all = [
            (
                "waits.svg",
                format!("Wait of another client during a run, {classic} coordinators, {server}"),
                "since the run began",
                false,
                show::time as fn(f64) -> String,
                plots::wait_lines(self.traces),
            ),
            (
                "coordinators.svg",
                format!("Wall time against coordinators, {server}"),
                "coordinators, 99 % of them stale",
                true,
                show::count,
                plots::wall_lines(self.results, server, plots::coordinators),
            ),
            (
                "foreign.svg",
                format!("Wall time against foreign keys, {classic} coordinators, {server}"),
                "foreign keys",
                false,
                show::count,
                plots::wall_lines(self.results, server, foreign),
            ),
        ];
        let mut drawn = Vec::new();
        for (file, title, x, log_x, x_label, lines) in all {
            if lines.iter().all(|line| line.points.is_empty()) {
                continue;
            }
            let y = if file == "waits.svg" {
                "wait"
            } else {
                "wall time"
            };
            let plot = Plot {
                title: &title,
                x,
                y,
                log_x,
                x_label,
            };
            plots::draw(&folder.join(file), &plot, &lines)?;
            drawn.push((file, title));
        }
        Ok(drawn)
    }

    fn head(&self) -> Result<String> {
        let mut text = String::new();
        writeln!(text, "# Benchmark\n")?;
        writeln!(
            text,
            "Written by `{}`; every figure on this page comes from one run of it.\n",
            self.command
        )?;
        writeln!(text, "- machine: {}", self.machine)?;
        writeln!(text, "- servers: {}\n", self.results.servers().join(", "))?;
        writeln!(text, "| contender | what it does |\n|---|---|")?;
        for contender in contenders::all() {
            writeln!(text, "| {} | {} |", contender.name(), contender.what())?;
        }
        writeln!(text, "\n{HOW}\n")?;
        for (server, stale) in self.script_limits {
            let stale = show::count(*stale as f64);
            writeln!(
                text,
                "{server}: script A fails from {stale} stale coordinators of six keys on (`{}`).",
                contenders::TOO_MANY
            )?;
        }
        writeln!(
            text,
            "\n## Goals\n\n{}\n",
            goals::table(self.goals, Form::Markdown)
        )?;
        writeln!(text, "## Plots\n")?;
        Ok(text)
    }

    fn body(&self) -> Result<String> {
        let mut text = String::new();
        for server in self.results.servers() {
            writeln!(text, "## {server}\n")?;
            for workload in self.results.workloads(server) {
                let on = self.results.of(server, workload);
                let Some(first) = on.first() else { continue };
                writeln!(
                    text,
                    "### {workload}\n\n{} coordinators, {} of them stale, with {} keys to remove, among {} foreign keys.\n",
                    show::count(first.coordinators as f64),
                    show::count(first.stale as f64),
                    show::count(first.family_keys as f64),
                    show::count(first.foreign as f64),
                )?;
                writeln!(text, "{}\n", tables::speed(on, Form::Markdown))?;
                let more = [
                    tables::waits(on, Form::Markdown),
                    tables::throughput(on, Form::Markdown),
                    tables::memory(on, Form::Markdown),
                ];
                for table in more.into_iter().flatten() {
                    writeln!(text, "{table}\n")?;
                }
                if let Some(slices) = tables::slices(on) {
                    writeln!(text, "{slices}\n")?;
                }
            }
        }
        Ok(text)
    }
}

const HOW: &str = "\
Every round begins with a new server process that has loaded the same file of keys, all of them with the TTLs that their
writers give. The contenders take turns, round by round. After every round the keys are counted, and asked for by name: a
contender that removed another number of keys than the others would end the benchmark. Figures are medians, with the smallest
and the largest value in brackets. Ratios of times are taken round by round, for the machine may be faster in one than in the next,
and are medians of these. Wall time is the client's, from the first command to the last reply; main thread is the CPU time
of the server's main thread as INFO reports it. For the limit it is what commandstats charges, by the clock, without reading commands and
writing replies, which every contender but the module has to pay on top.

A probe asks PING, rests for 0.2 ms, and asks again; its rounds are not those that are timed. Percentiles are over all
questions of all rounds, and the base line is the same probe just before each run. Fifty busy clients ask for one key with
16 requests on their way each. Peak memory is what the server used beyond what it held before the run; Lua's own memory
is part of the resident size only.";

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use blocking_harness::Wait;

    use super::*;
    use crate::results::made_up::results;

    #[test]
    fn the_page_has_goals_tables_and_plots() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docs/benchmark.md");
        let results = results();
        let now = Instant::now();
        let wait = Wait {
            asked: now,
            waited: Duration::from_millis(1),
        };
        let trace = Trace {
            started: now,
            ended: now + Duration::from_millis(9),
            waits: vec![wait],
            base: vec![wait],
        };
        let page = Page {
            machine: &Machine::describe(),
            command: "make bench",
            results: &results,
            goals: &goals::goals(&results),
            traces: &[("module".to_owned(), trace)],
            classic: 10_000,
            script_limits: &[("Redis 7.0.15".to_owned(), 1_333)],
        };
        page.write(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for words in [
            "Written by `make bench`",
            "Redis 7.0.15: script A fails from 1,333 stale",
            "| classic, idle server: 3 times faster than script B",
            "### classic",
            "10,000 coordinators, 9,900 of them stale",
            "](benchmark/waits.svg)",
            "](benchmark/coordinators.svg)",
            "](benchmark/foreign.svg)",
        ] {
            assert!(text.contains(words), "no {words} in {text}");
        }
        assert_eq!(
            fs::read_dir(folder.path().join("docs/benchmark"))
                .unwrap()
                .count(),
            3
        );
    }
}
