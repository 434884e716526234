//! The command line, and the words of the server's commands that it stands for.
//! Must not judge values: the server does, and its errors say what it takes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// Removes dead coordinators from Redis or Valkey, with the module blocking-cleanup that the server has loaded.
#[derive(Parser, Debug)]
#[command(
    name = "blocking-cleanup",
    version,
    disable_help_flag = true,
    disable_help_subcommand = true,
    subcommand_help_heading = "The view",
    subcommand_value_name = "top",
    after_help = "The password is read from the environment variable REDISCLI_AUTH.\n\
        Exit status: 0 complete or limited; 1 an error, or no server; 2 cut short, refused or partial; \
        3 a wrong user or password."
)]
pub struct Arguments {
    /// Print help
    #[arg(long, global = true, action = ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    pub connection: ConnectionOptions,
    #[command(flatten)]
    pub run: RunOptions,
    #[command(subcommand)]
    pub task: Option<Task>,
}

#[derive(Subcommand, Debug)]
pub enum Task {
    /// Shows coordinators, the oldest first, and what the module does, as top shows processes; q ends it
    #[command(disable_help_flag = true)]
    Top(TopOptions),
}

/// Where the server is, and as whom to ask it; as for redis-cli.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionOptions {
    /// Host name or address [default: 127.0.0.1]
    #[arg(short = 'h', global = true, value_name = "HOST")]
    pub host: Option<String>,
    /// Port [default: 6379]
    #[arg(short, global = true, value_name = "PORT")]
    pub port: Option<u16>,
    /// Unix socket in place of host and port
    #[arg(short, global = true, value_name = "SOCKET", conflicts_with_all = ["host", "port", "tls"])]
    pub socket: Option<PathBuf>,
    /// Number of the database
    #[arg(short = 'n', global = true, value_name = "DB")]
    pub db: Option<u32>,
    /// Address as a URI: redis://, rediss:// (TLS) or unix://
    #[arg(short, global = true, value_name = "URI", conflicts_with_all = ["host", "port", "socket", "tls"])]
    pub uri: Option<String>,
    /// User; the password is in the environment variable REDISCLI_AUTH
    #[arg(long, global = true, value_name = "NAME")]
    pub user: Option<String>,
    /// Connect with TLS
    #[arg(long, global = true)]
    pub tls: bool,
    /// Certificates of authorities to trust in place of the system's, PEM
    #[arg(long, global = true, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Certificate to show to the server, PEM
    #[arg(long, global = true, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Key of that certificate, PEM
    #[arg(long, global = true, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Take any certificate for the server's
    #[arg(long, global = true)]
    pub insecure: bool,
}

/// What to remove, and what to say of it.
#[derive(Args, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Run")]
pub struct RunOptions {
    /// Remove nothing, report what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Age above which a coordinator is stale [default: blocking.threshold-seconds]
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub threshold: Option<String>,
    /// Remove orphans as well, if all that is known of them is older [default: the threshold]
    #[arg(long, value_name = "GRACE", num_args = 0..=1, allow_negative_numbers = true, value_parser = grace)]
    pub orphans: Option<Option<String>>,
    /// Remove only coordinators whose id fits this glob pattern
    #[arg(long = "match", value_name = "PATTERN", allow_hyphen_values = true)]
    pub pattern: Option<OsString>,
    /// Remove at most so many coordinators, the oldest first
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub limit: Option<String>,
    /// Remove nothing if more than this share of all coordinators is stale
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    pub breaker: Option<String>,
    /// Name at most so many stale ids
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub ids: Option<String>,
    /// Remove even if clients could not write a moment ago
    #[arg(long)]
    pub no_warm_up: bool,
    /// Start the run, print its number, do not wait for its end
    #[arg(long = "async")]
    pub asynchronous: bool,
    /// Print the server's reply, one line of JSON, and nothing else
    #[arg(long)]
    pub json: bool,
    /// Print stale ids, removed keys by family, and what the run cost as well
    #[arg(short, long)]
    pub verbose: bool,
    /// Print errors only
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// A word that does not begin like a number would be the server's next option.
fn grace(text: &str) -> Result<String, String> {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c));
    match is_number {
        true => Ok(text.to_owned()),
        false => Err("a grace is a number of seconds".to_owned()),
    }
}

impl RunOptions {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What stands behind BLOCKING.CLEANUP.
    pub fn words(&self) -> Vec<Vec<u8>> {
        let mut words = Words::default();
        words.flag("DRYRUN", self.dry_run);
        words.value("THRESHOLD", self.threshold.as_ref());
        if let Some(grace) = &self.orphans {
            words.flag("ORPHANS", true);
            words.0.extend(grace.clone().map(String::into_bytes));
        }
        words.pattern(self.pattern.as_ref());
        words.value("LIMIT", self.limit.as_ref());
        words.value("BREAKER", self.breaker.as_ref());
        words.value("IDS", self.ids.as_ref());
        words.flag("NOWARMUP", self.no_warm_up);
        words.flag("ASYNC", self.asynchronous);
        words.flag("JSON", true);
        words.0
    }
}

/// What the view shows.
#[derive(Args, Debug, Default)]
pub struct TopOptions {
    /// Seconds between two looks; a walk of the keyspace is followed by at least ten times its own length of rest
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = interval)]
    pub interval: f64,
    /// Only coordinators in this state
    #[arg(long)]
    pub state: Option<State>,
    /// Only coordinators whose id fits this glob pattern
    #[arg(long = "match", value_name = "PATTERN", allow_hyphen_values = true)]
    pub pattern: Option<OsString>,
    /// Age above which a coordinator is stale [default: blocking.threshold-seconds]
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub threshold: Option<String>,
    /// Show at most so many, 1 to 1000 [default: as many as fit, 1000 without a terminal]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub count: Option<String>,
    /// Print one table and end, as without a terminal
    #[arg(long)]
    pub once: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum State {
    Stale,
    Live,
    Unreadable,
}

fn interval(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match (0.1..=86_400.0).contains(&seconds) {
        true => Ok(seconds),
        false => Err("0.1 to 86400 seconds".to_owned()),
    }
}

impl TopOptions {
    /// What stands behind BLOCKING.LIST; `fits` if no count is given.
    pub fn words(&self, fits: usize) -> Vec<Vec<u8>> {
        let mut words = Words::default();
        if let Some(state) = self.state {
            let word = match state {
                State::Stale => "STALE",
                State::Live => "LIVE",
                State::Unreadable => "UNREADABLE",
            };
            words.flag(word, true);
        }
        words.value("THRESHOLD", self.threshold.as_ref());
        words.pattern(self.pattern.as_ref());
        let fits = fits.to_string();
        words.value("COUNT", Some(self.count.as_ref().unwrap_or(&fits)));
        words.flag("JSON", true);
        words.0
    }
}

#[derive(Default)]
struct Words(Vec<Vec<u8>>);

impl Words {
    fn flag(&mut self, word: &str, is_given: bool) {
        self.0.extend(is_given.then(|| word.as_bytes().to_vec()));
    }

    fn value(&mut self, word: &str, value: Option<&String>) {
        if let Some(value) = value {
            self.flag(word, true);
            self.flag(value, true);
        }
    }

    fn pattern(&mut self, pattern: Option<&OsString>) {
        if let Some(pattern) = pattern {
            self.flag("MATCH", true);
            self.0.push(pattern.clone().into_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(line: &str) -> Arguments {
        Arguments::try_parse_from(line.split_whitespace()).expect(line)
    }

    fn text(words: Vec<Vec<u8>>) -> String {
        String::from_utf8(words.join(&b' ')).expect("text")
    }

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_become_the_words_of_the_command() {
        for (line, words) in [
            ("", "JSON"),
            ("--json -q", "JSON"),
            ("-p 6380 -n 3 --user janitor --dry-run", "DRYRUN JSON"),
            ("--threshold=600", "THRESHOLD 600 JSON"),
            ("--threshold 600 --orphans", "THRESHOLD 600 ORPHANS JSON"),
            ("--orphans 86400 --match a*", "ORPHANS 86400 MATCH a* JSON"),
            ("--orphans=60 --no-warm-up", "ORPHANS 60 NOWARMUP JSON"),
            ("--orphans --limit 10", "ORPHANS LIMIT 10 JSON"),
            (
                "--limit 10 --breaker 50 --ids 0",
                "LIMIT 10 BREAKER 50 IDS 0 JSON",
            ),
            ("--async -v", "ASYNC JSON"),
            ("--match --threshold", "MATCH --threshold JSON"),
            // Values are for the server to judge.
            ("--limit -1 --threshold x", "THRESHOLD x LIMIT -1 JSON"),
            ("--orphans -1", "ORPHANS -1 JSON"),
        ] {
            let arguments = parsed(&format!("blocking-cleanup {line}"));
            assert_eq!(text(arguments.run.words()), words, "{line}");
            assert!(arguments.task.is_none());
        }
    }

    #[test]
    fn a_pattern_may_be_any_bytes() {
        let pattern = OsString::from_vec(b"caf\xe9*".to_vec());
        let line = ["blocking-cleanup".into(), "--match".into(), pattern];
        let words = Arguments::try_parse_from(line).expect("bytes").run.words();
        assert_eq!(words, [&b"MATCH"[..], b"caf\xe9*", b"JSON"]);
    }

    #[test]
    fn the_view_has_words_of_its_own() {
        for (line, words) in [
            ("top", "COUNT 20 JSON"),
            ("-p 6380 top", "COUNT 20 JSON"),
            ("top -p 6380 --count 5", "COUNT 5 JSON"),
            (
                "top --state stale --match a*",
                "STALE MATCH a* COUNT 20 JSON",
            ),
            (
                "top --state live --threshold=60",
                "LIVE THRESHOLD 60 COUNT 20 JSON",
            ),
            ("top --state unreadable --once", "UNREADABLE COUNT 20 JSON"),
        ] {
            let arguments = parsed(&format!("blocking-cleanup {line}"));
            assert!(arguments.run.is_empty());
            assert_eq!(arguments.connection.port.is_some(), line.contains("-p"));
            let Some(Task::Top(options)) = arguments.task else {
                panic!("{line}: no view");
            };
            assert_eq!(text(options.words(20)), words, "{line}");
        }
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for line in [
            "--treshold 60",
            "treshold",
            "--threshold",
            "--orphans NOWARMUP",
            "--password secret",
            "-a secret",
            "--socket /s -p 1",
            "-u redis://a -h b",
            "--cert c",
            "-q -v",
            "-n x",
            "top --state odd",
            "top --interval 0",
            "top --dry-run",
        ] {
            let line = format!("blocking-cleanup {line}");
            let parsed = Arguments::try_parse_from(line.split_whitespace());
            assert!(parsed.is_err_and(|error| error.use_stderr()), "{line}");
        }
        assert!(!parsed("blocking-cleanup --dry-run top").run.is_empty());
    }

    /// Each option has a row in a table of its own section, with the forms that it has here, and none is made up.
    #[test]
    fn the_page_knows_every_option_and_no_other() {
        let page = include_str!("../../docs/cli.md");
        let row = |line: &str| {
            let cell = line.strip_prefix("| `-")?.split('|').next()?;
            Some(format!("| `-{}", cell.trim_end()))
        };
        let mut there: Vec<String> = page.lines().filter_map(row).collect();
        let command = Arguments::command();
        let top = command.find_subcommand("top").expect("the view");
        let mut expected = Vec::new();
        for argument in command.get_arguments().chain(top.get_arguments()) {
            let names = [
                argument.get_short().map(|c| format!("-{c}")),
                argument.get_long().map(|long| format!("--{long}")),
            ];
            let value = match argument.get_action().takes_values() {
                false => String::new(),
                true => {
                    let names = argument.get_value_names().unwrap_or_default();
                    let name = names.first().expect("a name of the value").as_str();
                    let is_optional = argument.get_num_args().is_some_and(|n| n.min_values() == 0);
                    match is_optional {
                        true => format!(" [{name}]"),
                        false => format!(" {name}"),
                    }
                }
            };
            let names: Vec<String> = names.into_iter().flatten().collect();
            expected.push(format!("| `{}{value}`", names.join("`, `")));
        }
        // Version is added by the library when it parses.
        expected.push("| `-V`, `--version`".to_owned());
        there.sort();
        expected.sort();
        assert_eq!(there, expected);
    }
}
