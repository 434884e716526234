//! `docs/benchmark.md`, which every whole run writes anew: what was measured, and how.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::contenders;
use crate::goals::{self, Goal};
use crate::machine::Machine;
use crate::plots::{self, Plots};
use crate::results::Results;
use crate::show;
use crate::tables::{self, Form};

/// What the page is made of.
pub struct Page<'a> {
    pub machine: &'a Machine,
    /// The command that writes the page.
    pub command: &'a str,
    pub results: &'a Results,
    pub goals: &'a [Goal],
    /// By server, the number of stale coordinators from which on script A fails.
    pub script_limits: &'a [(String, usize)],
}

impl Page<'_> {
    /// Writes the page, and its pictures into a folder beside it of the same name.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = self.head()?;
        text += &self.pictures(&path.with_extension(""))?;
        text += &self.body()?;
        Ok(fs::write(path, text.trim_end().to_owned() + "\n")?)
    }

    fn pictures(&self, folder: &Path) -> Result<String> {
        let mut text = String::new();
        let Some(plots) = Plots::of(self.results) else {
            return Ok(text);
        };
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let drawn = plots.write(folder)?;
        let file = plots::FILE;
        writeln!(
            text,
            "## Plots\n\n{PICTURES} [{name}/{file}]({name}/{file}) holds every figure of the pictures, and `make plots` draws them from it.\n"
        )?;
        for picture in drawn {
            let (title, subtitle) = (picture.title, picture.subtitle);
            writeln!(text, "![{title}: {subtitle}]({name}/{})\n", picture.file)?;
        }
        Ok(text)
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
Every round starts a new server process that loads the same file of keys, all with the TTLs that their writers give. The
contenders take turns, round by round. After every round the keys are counted and looked up by name: a contender that
removed other keys than the right ones ends the benchmark.

- Figures are medians, with the smallest and the largest value in brackets. A wall time of one round has none.
- Ratios of times are medians, too, of the ratios within each round, because the machine may be faster in one round than in
  the next.
- Wall time is the client's, from the first command to the last reply.
- Main thread is the CPU time of the server's main thread, as INFO reports it. For the limit it is what commandstats charges,
  by the clock. That leaves out reading commands and writing replies, which the shell and the clients pay on top.
- Waits are those of a probe that sends PING, pauses for 0.2 ms after the reply, and sends the next, in rounds that are not
  timed. Percentiles are over all waits of all rounds. The base line is the same probe just before each run.
- Fifty busy clients read one key, each with 16 requests in its pipeline.
- Peak memory is what the server used beyond what it held before the run. Lua's own memory is part of the resident size only.";

const PICTURES: &str = "\
Wall times are medians, waits those of all rounds, as in the tables below. The shell is not drawn, for its times are extrapolated.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::made_up::results;

    #[test]
    fn the_page_has_goals_tables_and_plots() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docs/benchmark.md");
        let results = results();
        let page = Page {
            machine: &Machine::describe(),
            command: "make bench",
            results: &results,
            goals: &goals::goals(&results),
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
            4
        );
    }

    #[test]
    fn the_text_of_the_stored_page_is_up_to_date() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmark.md");
        let page = fs::read_to_string(docs).unwrap();
        let rows = contenders::all();
        let rows = rows
            .iter()
            .map(|c| format!("| {} | {} |", c.name(), c.what()));
        for text in rows.chain([HOW, PICTURES].map(str::to_owned)) {
            assert!(page.contains(&text), "not on the page: {text}");
        }
    }
}
