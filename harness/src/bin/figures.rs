//! Puts what the tests have counted into `docs/reliability.md`, between the two marks there.
//! Must not add, round or leave out: a tally that no test wrote does not appear.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use blocking_harness::{Figure, Tally};
use clap::Parser;
use comfy_table::{Table, presets};
use indicatif::HumanCount;

const BEGIN: &str = "<!-- figures: written by `make reliability` -->\n";
const END: &str = "<!-- end of figures -->";

/// Writes the tallies of all tests into the page.
#[derive(Parser)]
struct Options {
    /// The file that tests wrote their tallies to.
    tallies: PathBuf,
    /// The page to put them into.
    page: PathBuf,
    /// The day they were taken, for the page.
    #[arg(long)]
    date: String,
}

/// Sums by figure and server, servers in the order in which they were tested.
#[derive(Default)]
struct Sums {
    servers: Vec<String>,
    by_figure: BTreeMap<Figure, BTreeMap<String, u64>>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let text = fs::read_to_string(&options.tallies)
        .with_context(|| format!("no tallies in {}", options.tallies.display()))?;
    let mut sums = Sums::default();
    for line in text.lines() {
        sums.add(serde_json::from_str(line).with_context(|| format!("no tally: {line}"))?);
    }
    ensure!(!sums.by_figure.is_empty(), "no test has counted anything");
    let table = sums.table();
    println!("{table}");
    let page = fs::read_to_string(&options.page)?;
    let figures = format!("\nTaken on {}:\n\n{table}\n\n", options.date);
    fs::write(&options.page, replaced(&page, &figures)?)?;
    Ok(())
}

impl Sums {
    fn add(&mut self, tally: Tally) {
        if !tally.server.is_empty() && !self.servers.contains(&tally.server) {
            self.servers.push(tally.server.clone());
        }
        let by_server = self.by_figure.entry(tally.figure).or_default();
        *by_server.entry(tally.server).or_default() += tally.count;
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        let servers = self.servers.iter().map(String::as_str);
        table.set_header(["", "all"].into_iter().chain(servers));
        for (figure, by_server) in &self.by_figure {
            let shown = |count: u64| HumanCount(count).to_string();
            let mut row = vec![figure.label().to_owned(), shown(by_server.values().sum())];
            row.extend(self.servers.iter().map(|server| {
                let count = by_server.get(server);
                count.map_or(String::new(), |count| shown(*count))
            }));
            table.add_row(row);
        }
        table
    }
}

/// The page with other figures between its marks.
fn replaced(page: &str, figures: &str) -> Result<String> {
    let (head, rest) = page
        .split_once(BEGIN)
        .context("the page has no mark for its figures")?;
    let (_, tail) = rest.split_once(END).context("the page has no end mark")?;
    Ok(format!("{head}{BEGIN}{figures}{END}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(server: &str, figure: Figure, count: u64) -> Tally {
        let server = server.to_owned();
        Tally {
            server,
            figure,
            count,
        }
    }

    #[test]
    fn tallies_of_a_server_add_up_and_servers_stand_side_by_side() {
        let mut sums = Sums::default();
        sums.add(tally("A 1", Figure::KillsSurvived, 2));
        sums.add(tally("B 2", Figure::KillsSurvived, 1_000));
        sums.add(tally("A 1", Figure::KillsSurvived, 3));
        sums.add(tally("", Figure::FuzzInputs, 7));
        let rows: Vec<String> = sums
            .table()
            .lines()
            .map(|row| row.replace(' ', ""))
            .collect();
        assert_eq!(rows[0], "||all|A1|B2|");
        assert!(
            rows.contains(&"|killssurvived|1,005|5|1,000|".to_owned()),
            "{rows:?}"
        );
        assert!(
            rows.contains(&"|inputsgiventoaparserbyafuzzer|7|||".to_owned()),
            "{rows:?}"
        );
    }

    #[test]
    fn only_what_stands_between_the_marks_changes() -> Result<()> {
        let page = format!("head\n{BEGIN}old{END}\ntail\n");
        assert_eq!(
            replaced(&page, "new")?,
            format!("head\n{BEGIN}new{END}\ntail\n")
        );
        assert!(replaced("nothing", "new").is_err());
        Ok(())
    }
}
