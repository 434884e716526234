//! Runs one suite on one server, its output in a file of its own.
//! Must not wait forever, and must not leave running what it started.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use blocking_harness::{Figure, SERVER_NAME, tally_for, wait_until};

use crate::outcome::{Outcome, too_late};
use crate::servers::{Found, Server};
use crate::suites::Suite;

/// No suite takes a tenth of this; one that does hangs.
const LIMIT: Duration = Duration::from_secs(3600);
/// Shown of a suite that ended without a word about failures.
const TAIL_LINES: usize = 40;

/// Of a longer line only the beginning is shown.
const LINE_CHARS: usize = 1_000;

/// A suite to be run on a server.
#[derive(Clone, Copy)]
struct Job<'j> {
    suite: &'j Suite,
    server: &'j Found,
    /// What the server is called.
    title: &'j str,
    arguments: &'j [String],
}

/// Where output goes, and what every suite is given.
pub struct Runner {
    output: PathBuf,
    arguments: Vec<String>,
    limit: Duration,
}

impl Runner {
    /// Empties `output`, so that nothing in it is older than this run.
    pub fn new(output: &Path, arguments: &[String]) -> Result<Self> {
        if output.exists() {
            fs::remove_dir_all(output)?;
        }
        fs::create_dir_all(output).with_context(|| format!("cannot make {}", output.display()))?;
        Ok(Self {
            output: output.to_owned(),
            arguments: arguments.to_vec(),
            limit: LIMIT,
        })
    }

    /// Says when it starts, and how it ended; shows what failed.
    pub fn run(&self, suite: &Suite, server: &Server) -> Outcome {
        let Ok(found) = &server.found else {
            return Outcome::NotTested;
        };
        let (title, name) = (server.title(), &suite.name);
        println!("{title}: {name} ...");
        let path = self.output.join(format!("{}-{name}.txt", server.name));
        let started = Instant::now();
        let first = Job {
            suite,
            server: found,
            title: &title,
            arguments: &self.arguments,
        };
        let (mut outcome, printed) = self.run_once(&path, &first);
        if let (Outcome::Failed(counts), Some(late)) = (&outcome, too_late(&printed)) {
            println!(
                "{title}: {name}: {outcome}; again by themselves: {}",
                late.join(", ")
            );
            let path = self
                .output
                .join(format!("{}-{name}-again.txt", server.name));
            let alone = ["--exact", "--test-threads=1"].into_iter().chain(late);
            let alone: Vec<String> = alone.map(str::to_owned).collect();
            let again = Job {
                arguments: &alone,
                ..first
            };
            let (second, _) = self.run_once(&path, &again);
            outcome = counts.and_then(second);
        }
        let tallied = match outcome {
            Outcome::Passed(counts) => tally_for(&title, Figure::TestsPassed, counts.passed),
            _ => Ok(()),
        };
        let outcome = match tallied {
            Ok(()) => outcome,
            Err(error) => Outcome::broken(&format!("{error:#}")),
        };
        // One call, so that suites that run at the same time do not mix their lines.
        let shown = match outcome.is_bad() {
            true => format!("\n{}", failures(&printed)),
            false => String::new(),
        };
        let took_s = started.elapsed().as_secs();
        println!("{title}: {name}: {outcome}, in {took_s} s{shown}");
        outcome
    }

    /// How a suite with these arguments did, and what it printed.
    fn run_once(&self, path: &Path, job: &Job) -> (Outcome, String) {
        let ended = self.run_into(path, job);
        let printed = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let outcome = match ended {
            Ok(status) => Outcome::of(&printed, status.success()),
            Err(error) => Outcome::broken(&format!("{error:#}")),
        };
        (outcome, printed)
    }

    fn run_into(&self, path: &Path, job: &Job) -> Result<ExitStatus> {
        let output = File::create(path)?;
        let mut child = Command::new(&job.suite.program)
            .args(job.arguments)
            .current_dir(&job.suite.folder)
            .env("BLOCKING_SERVER_BIN", &job.server.program)
            .env(SERVER_NAME, job.title)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", job.suite.program.display()))?;
        let ended = wait_until("its end", self.limit, || child.try_wait().transpose());
        if ended.is_err() {
            // The servers that it started end with it.
            child.kill()?;
            child.wait()?;
        }
        Ok(ended??)
    }
}

/// What libtest prints about the tests that failed, or the end of all it printed; without what a reader need not see
/// here, for the file has it.
fn failures(printed: &str) -> String {
    let lines: Vec<&str> = printed.lines().collect();
    let tail = lines.len().saturating_sub(TAIL_LINES);
    let from = lines.iter().position(|line| *line == "failures:");
    let mut in_backtrace = false;
    let mut shown = Vec::new();
    for line in &lines[from.unwrap_or(tail)..] {
        if line.to_ascii_lowercase().starts_with("stack backtrace:") {
            in_backtrace = true;
        } else if in_backtrace && !line.starts_with(' ') {
            in_backtrace = false;
        }
        if !in_backtrace {
            shown.push(line.chars().take(LINE_CHARS).collect::<String>());
        }
    }
    shown.join("\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use blocking_harness::TOO_LATE;

    use super::*;

    const RESULT: &str = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured";

    const BAD: &str = "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured";

    fn runner(folder: &Path, limit: Duration) -> Runner {
        let mut runner = Runner::new(&folder.join("output"), &["some::test".to_owned()]).unwrap();
        runner.limit = limit;
        runner
    }

    fn suite(folder: &Path, script: &str) -> Suite {
        let program = folder.join("suite");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        Suite {
            name: "suite".to_owned(),
            program,
            folder: folder.to_owned(),
        }
    }

    fn server() -> Server {
        Server {
            name: "valkey-9".to_owned(),
            kind: "Valkey".to_owned(),
            found: Ok(Found {
                program: "/some/valkey-server".into(),
                version: "9.1.2".to_owned(),
            }),
        }
    }

    #[test]
    fn a_suite_is_told_its_server_and_its_output_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            r#"echo "$BLOCKING_SERVER_BIN|$BLOCKING_SERVER_NAME|$*|$PWD"; echo careful >&2; echo "{RESULT}""#
        );
        let suite = suite(folder.path(), &script);
        let outcome = runner(folder.path(), LIMIT).run(&suite, &server());
        assert_eq!(outcome.to_string(), "1 passed");
        let kept = fs::read_to_string(folder.path().join("output/valkey-9-suite.txt")).unwrap();
        let here = folder.path().canonicalize().unwrap();
        let told = format!(
            "/some/valkey-server|Valkey 9.1.2|some::test|{}",
            here.display()
        );
        assert_eq!(kept, format!("{told}\ncareful\n{RESULT}\n"));
    }

    #[test]
    fn what_came_too_late_is_run_again_by_itself_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        for (why, again, expected) in [
            (TOO_LATE, RESULT, "4 passed (1 by themselves)"),
            (TOO_LATE, BAD, "3 passed, 1 FAILED"),
            ("a key is lost", RESULT, "3 passed, 1 FAILED"),
        ] {
            let script = format!(
                r#"if [ "$*" = "--exact --test-threads=1 a::b" ]; then echo "{again}"
                   else printf '\nfailures:\n\n---- a::b stdout ----\n{why}\n\nfailures:\n    a::b\n'; echo "{BAD}"; fi"#
            );
            let suite = suite(folder.path(), &script);
            let outcome = runner(folder.path(), LIMIT).run(&suite, &server());
            assert_eq!(outcome.to_string(), expected, "{why}");
        }
    }

    #[test]
    fn a_suite_that_dies_hangs_or_does_not_start_is_broken() {
        let folder = tempfile::tempdir().unwrap();
        let soon = Duration::from_millis(200);
        for (script, how) in [
            (
                &format!("echo '{RESULT}'; kill -9 $$")[..],
                "exit status not 0",
            ),
            (
                &format!("echo '{RESULT}'; exec sleep 60"),
                "its end, in vain",
            ),
        ] {
            let suite = suite(folder.path(), script);
            let outcome = runner(folder.path(), soon).run(&suite, &server());
            assert!(
                outcome.is_bad() && outcome.to_string().contains(how),
                "{outcome}"
            );
        }
        let mut suite = suite(folder.path(), "");
        suite.program = "/no/such/program".into();
        let outcome = runner(folder.path(), soon).run(&suite, &server());
        assert!(outcome.to_string().contains("cannot start"), "{outcome}");
    }

    #[test]
    fn a_server_that_is_not_there_is_not_tested() {
        let folder = tempfile::tempdir().unwrap();
        let mut server = server();
        server.found = Err("no way".to_owned());
        let suite = suite(folder.path(), &format!("echo '{RESULT}'"));
        assert_eq!(
            runner(folder.path(), LIMIT).run(&suite, &server),
            Outcome::NotTested
        );
    }

    #[test]
    fn what_failed_is_shown() {
        let printed =
            "test a ... FAILED\n\nfailures:\n\n---- a stdout ----\nwhy\n\nfailures:\n    a\n";
        assert!(failures(printed).starts_with("failures:\n\n---- a stdout"));
        let printed = format!(
            "failures:\n\n---- a stdout ----\nError: {}\n\nStack backtrace:\n   0: here\n      at there\n\n---- b stdout ----\nno",
            "e".repeat(5_000)
        );
        let shown = failures(&printed);
        assert!(!shown.contains("there") && shown.ends_with("---- b stdout ----\nno"));
        assert!(shown.len() < 1_200, "{shown}");
        let long: String = (0..100).map(|line| format!("{line}\n")).collect();
        assert_eq!(failures(&long).lines().next(), Some("60"));
    }
}
