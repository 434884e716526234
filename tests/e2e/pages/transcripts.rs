//! Every block fenced as `console` is run, those of a page in order against one server.
//!
//! A line that begins with `127.0.0.1:6379> ` is typed into `redis-cli -3`, one that begins with `$ ` goes to a
//! shell, where `redis-cli` and `blocking-cleanup` talk to that server; what follows, up to the next such line, is what
//! must be printed. Empty lines do not count. Numbers that
//! differ from run to run, those behind the names in `VOLATILE`, count as any number. Must not skip a block.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use blocking_harness::{Server, client_program};

use super::{PAGES, Page};

const VOLATILE: [&str; 10] = [
    "slices",
    "longest_slice_us",
    "busy_us",
    "elapsed_us",
    "longestSliceUs",
    "busyUs",
    "elapsedUs",
    "executionTimeMs",
    "warm_up_left_s",
    "warmUpLeftS",
];

const SERVER_PROMPT: &str = "127.0.0.1:6379> ";
const SHELL_PROMPT: &str = "$ ";
const CLIENT: &str = "blocking-cleanup ";

/// Something typed, and what must be printed.
struct Step {
    line: String,
    printed: Vec<String>,
}

fn steps(page: &Page) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut in_block = false;
    for line in page.text.lines() {
        if let Some(fence) = line.trim_start().strip_prefix("```") {
            in_block = !in_block && fence == "console";
        } else if !in_block {
            ensure!(
                !line.contains(SERVER_PROMPT),
                "{}: not run: {line}",
                page.path
            );
        } else if line.starts_with(SERVER_PROMPT) || line.starts_with(SHELL_PROMPT) {
            let (line, printed) = (line.to_owned(), Vec::new());
            steps.push(Step { line, printed });
        } else {
            let step = steps.last_mut().context("output before any command")?;
            step.printed.push(line.to_owned());
        }
    }
    Ok(steps)
}

/// Runs what was typed and yields what redis-cli, or the shell, printed.
fn run(server: &Server, line: &str) -> Result<String> {
    let port = server.port().to_string();
    let (mut process, typed) = if let Some(typed) = line.strip_prefix(SERVER_PROMPT) {
        let mut cli = Command::new("redis-cli");
        // `--no-raw` is what a terminal shows.
        cli.args(["-p", &port, "-3", "--no-raw"]);
        (cli, format!("{typed}\n"))
    } else {
        let typed = line.strip_prefix(SHELL_PROMPT).context("no prompt")?;
        let script = typed.replace("redis-cli ", &format!("redis-cli -p {port} "));
        // A page that does not speak of it needs no client.
        let script = match script.contains(CLIENT) {
            true => {
                let client = format!("{} -p {port} ", client_program()?.display());
                script.replace(CLIENT, &client)
            }
            false => script,
        };
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec 2>&1; {script}")]);
        (shell, String::new())
    };
    let mut child = process
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    stdin.write_all(typed.as_bytes())?;
    drop(stdin);
    Ok(String::from_utf8(child.wait_with_output()?.stdout)?)
}

/// The number behind each volatile name becomes `N`.
fn masked(line: &str) -> String {
    let mut text = line.to_owned();
    for name in VOLATILE {
        let quoted = format!("\"{name}\"");
        if let Some((before, after)) = text.split_once(&quoted) {
            let number = after.trim_start_matches(|c: char| !c.is_ascii_digit());
            let rest = number.trim_start_matches(|c: char| c.is_ascii_digit());
            let link = after.strip_suffix(number).unwrap_or_default();
            text = format!("{before}{quoted}{link}N{rest}");
        }
    }
    text
}

/// What redis-cli adds when an answer took half a second or longer: `(0.57s)`. On a busy machine one may.
fn is_duration(line: &str) -> bool {
    let seconds = line
        .strip_prefix('(')
        .and_then(|line| line.strip_suffix("s)"));
    seconds.is_some_and(|seconds| seconds.parse::<f64>().is_ok())
}

fn comparable<'l>(lines: impl IntoIterator<Item = &'l str>) -> Vec<String> {
    let lines = lines.into_iter().map(str::trim_end);
    let counts = |line: &&str| !line.is_empty() && !is_duration(line);
    lines.filter(counts).map(masked).collect()
}

#[test]
fn every_transcript_is_what_redis_cli_prints() -> Result<()> {
    let mut counts = BTreeMap::new();
    for page in &PAGES {
        let steps = steps(page)?;
        if steps.is_empty() {
            continue;
        }
        counts.insert(page.path, steps.len());
        let server = Server::start()?;
        for step in steps {
            let printed = run(&server, &step.line)?;
            let found = comparable(printed.lines());
            let expected = comparable(step.printed.iter().map(String::as_str));
            let what = format!("{}: {}", page.path, step.line);
            assert!(!expected.is_empty(), "{what}: no output is shown");
            assert_eq!(found, expected, "{what}");
        }
    }
    let pages = [
        "README.md",
        "docs/cli.md",
        "docs/commands.md",
        "docs/keys.md",
        "docs/operations.md",
    ];
    assert!(
        pages.iter().all(|page| counts.contains_key(page)),
        "{counts:?}"
    );
    assert!(counts.values().sum::<usize>() > 25, "{counts:?}");
    Ok(())
}

#[test]
fn masking_touches_volatile_numbers_only() {
    for (line, expected) in [
        (
            r#"17# "busy_us" => (integer) 304"#,
            r#"17# "busy_us" => (integer) N"#,
        ),
        (r#"{"run":2,"elapsedUs":573}"#, r#"{"run":2,"elapsedUs":N}"#),
        (r#"1# "run" => (integer) 1"#, r#"1# "run" => (integer) 1"#),
    ] {
        assert_eq!(masked(line), expected);
    }
}
