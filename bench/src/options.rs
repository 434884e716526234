//! The command line. Must have a default for everything.

use std::path::PathBuf;

use clap::Parser;

/// Measures BLOCKING.CLEANUP against everything a user would do instead, on private servers.
#[derive(Parser)]
#[command(version)]
pub struct Options {
    /// All keyspaces on all servers; hours rather than minutes
    #[arg(long)]
    pub full: bool,
    /// Tiny keyspaces, to see that everything works; the figures mean nothing
    #[arg(long, conflicts_with = "full")]
    pub quick: bool,
    /// Only these servers, by the name of their folder in .servers, or `system`
    #[arg(long, value_delimiter = ',')]
    pub servers: Vec<String>,
    /// Only keyspaces with one of these words in their names
    #[arg(long, alias = "works", value_delimiter = ';')]
    pub workloads: Vec<String>,
    /// Only these contenders; the module and the limit are always among them
    #[arg(long, value_delimiter = ',')]
    pub contenders: Vec<String>,
    /// At most this many rounds of each kind
    #[arg(long)]
    pub rounds: Option<u32>,
    /// Where the page goes; without this and with a choice of servers, keyspaces or contenders, none is written
    #[arg(long)]
    pub page: Option<PathBuf>,
    /// Measures nothing: draws the pictures beside this file again, from the figures in it
    #[arg(long, value_name = "PLOTS_JSON", exclusive = true)]
    pub redraw: Option<PathBuf>,
    /// Where a line for every round goes
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
