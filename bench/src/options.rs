//! The command line. Every option has a default.

use std::path::PathBuf;

use clap::Parser;

/// Compares BLOCKING.CLEANUP with the shell, Lua scripts and clients, on private servers
#[derive(Parser)]
#[command(version)]
pub struct Options {
    /// All workloads on all servers; takes hours
    #[arg(long)]
    pub full: bool,
    /// Tiny workloads, to see that everything works; the figures mean nothing
    #[arg(long, conflicts_with = "full")]
    pub quick: bool,
    /// Only these servers: names of folders in .servers, or `system`
    #[arg(long, value_delimiter = ',')]
    pub servers: Vec<String>,
    /// Only workloads with one of these words in their names, separated by `;`
    #[arg(long, alias = "works", value_delimiter = ';')]
    pub workloads: Vec<String>,
    /// Only these contenders, besides the module and the limit
    #[arg(long, value_delimiter = ',')]
    pub contenders: Vec<String>,
    /// At most so many rounds of each kind
    #[arg(long)]
    pub rounds: Option<u32>,
    /// File of the page [default: docs/benchmark.md, but none for a part of the benchmark]
    #[arg(long)]
    pub page: Option<PathBuf>,
    /// Draws the pictures beside this file again, from the figures in it, and measures nothing
    #[arg(long, value_name = "PLOTS_JSON", exclusive = true)]
    pub redraw: Option<PathBuf>,
    /// Folder of a file with a line for every round
    #[arg(long, default_value = "bench-results")]
    pub results: PathBuf,
}

impl Options {
    pub fn page(&self) -> Option<PathBuf> {
        let is_whole = self.servers.is_empty()
            && self.workloads.is_empty()
            && self.contenders.is_empty()
            && self.rounds.is_none()
            && !self.quick;
        self.page
            .clone()
            .or(is_whole.then(|| "docs/benchmark.md".into()))
    }

    pub fn command(&self) -> &'static str {
        match (self.full, self.quick) {
            (true, _) => "make bench-full",
            (_, true) => "bench --quick",
            _ => "make bench",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_benchmark_does_not_replace_the_page() {
        let page = |words: &[&str]| Options::parse_from([&["bench"], words].concat()).page();
        assert_eq!(page(&[]), Some("docs/benchmark.md".into()));
        assert_eq!(page(&["--full"]), Some("docs/benchmark.md".into()));
        for part in [
            "--servers=system",
            "--workloads=classic",
            "--works=classic",
            "--contenders=client",
            "--quick",
            "--rounds=1",
        ] {
            assert_eq!(page(&[part]), None, "{part}");
        }
        assert_eq!(page(&["--quick", "--page=a.md"]), Some("a.md".into()));
    }
}
