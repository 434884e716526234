//! How a suite did on a server: what libtest counted, or why there is nothing to count.
//! Must not take the lack of a failure for a success.

use std::fmt;

use blocking_harness::TOO_LATE;

/// What libtest counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
    pub ignored: u64,
    /// Of those that passed, run again by themselves because they had come too late the first time.
    pub again: u64,
}

impl Counts {
    /// With those that failed taken from a second run of just these.
    pub fn and_then(self, second: Outcome) -> Outcome {
        match second {
            Outcome::Passed(again) if again.passed == self.failed => Outcome::Passed(Self {
                passed: self.passed + again.passed,
                failed: 0,
                ignored: self.ignored,
                again: again.passed,
            }),
            _ => Outcome::Failed(self),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every test that ran passed, and there was at least one.
    Passed(Counts),
    Failed(Counts),
    /// It did not come to an end as a suite does; the words say how.
    Broken(String),
    /// The server is not there.
    NotTested,
}

impl Outcome {
    pub fn broken(how: &str) -> Self {
        Self::Broken(how.to_owned())
    }

    /// From what a suite printed, and whether its exit status was 0.
    pub fn of(printed: &str, succeeded: bool) -> Self {
        let mut results = printed.lines().filter_map(counts);
        match (results.next(), results.next()) {
            (None, _) => Self::broken("ended without a result"),
            (Some(_), Some(_)) => Self::broken("more than one result"),
            (Some(counts), None) if counts.failed > 0 => Self::Failed(counts),
            (Some(_), None) if !succeeded => Self::broken("exit status not 0"),
            (Some(counts), None) if counts.passed == 0 => Self::broken("no test ran"),
            (Some(counts), None) => Self::Passed(counts),
        }
    }

    pub fn is_bad(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Broken(_))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Passed(counts) | Self::Failed(counts) => {
                write!(f, "{} passed", counts.passed)?;
                if counts.again > 0 {
                    write!(f, " ({} by themselves)", counts.again)?;
                }
                if counts.failed > 0 {
                    write!(f, ", {} FAILED", counts.failed)?;
                }
                if counts.ignored > 0 {
                    write!(f, ", {} ignored", counts.ignored)?;
                }
                Ok(())
            }
            Self::Broken(how) => write!(f, "FAILED: {how}"),
            Self::NotTested => write!(f, "not tested"),
        }
    }
}

/// Names of the tests that failed, if all of them failed for coming too late.
pub fn too_late(printed: &str) -> Option<Vec<&str>> {
    let (_, blocks) = printed.split_once("\nfailures:\n")?;
    let blocks: Vec<&str> = blocks.split("\n---- ").skip(1).collect();
    let late = blocks.iter().filter(|block| block.contains(TOO_LATE));
    let names: Vec<&str> = late
        .filter_map(|block| Some(block.split_once(" stdout ----")?.0))
        .collect();
    (!names.is_empty() && names.len() == blocks.len()).then_some(names)
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
fn counts(line: &str) -> Option<Counts> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |name: &str| {
        let mut parts = numbers.split("; ");
        parts.find_map(|part| part.strip_suffix(name)?.trim().parse().ok())
    };
    Some(Counts {
        passed: count("passed")?,
        failed: count("failed")?,
        ignored: count("ignored")?,
        again: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.1s";
    const BAD: &str = "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s";
    const NONE: &str = "test result: ok. 0 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0s";

    #[test]
    fn counts_are_read() {
        let good = Outcome::of(&format!("running 4 tests\ntest a ... ok\n\n{GOOD}\n"), true);
        assert_eq!(good.to_string(), "3 passed, 1 ignored");
        assert!(matches!(good, Outcome::Passed(_)));
        let bad = Outcome::of(BAD, false);
        assert_eq!(bad.to_string(), "3 passed, 2 FAILED");
        assert!(bad.is_bad());
    }

    #[test]
    fn only_tests_that_came_too_late_are_run_again() {
        let late = format!("---- a::b stdout ----\nError: {TOO_LATE}; more\n\n");
        let bad = "---- c stdout ----\nError: a key is lost\n\n";
        let printed = |blocks: &str| {
            format!("test x ... FAILED\n\nfailures:\n\n{blocks}\nfailures:\n    x\n")
        };
        assert_eq!(too_late(&printed(&late)), Some(vec!["a::b"]));
        assert_eq!(
            too_late(&printed(&format!("{late}{late}"))),
            Some(vec!["a::b"; 2])
        );
        assert_eq!(too_late(&printed(bad)), None);
        assert_eq!(too_late(&printed(&format!("{late}{bad}"))), None);
        assert_eq!(too_late("test x ... ok\n"), None);
    }

    #[test]
    fn nothing_but_a_result_with_tests_and_exit_status_0_is_a_success() {
        for (printed, succeeded, how) in [
            ("", true, "FAILED: ended without a result"),
            ("test a ... ok\n", false, "FAILED: ended without a result"),
            (NONE, true, "FAILED: no test ran"),
            (GOOD, false, "FAILED: exit status not 0"),
            (
                &format!("{GOOD}\n{GOOD}"),
                true,
                "FAILED: more than one result",
            ),
            (BAD, true, "3 passed, 2 FAILED"),
        ] {
            let outcome = Outcome::of(printed, succeeded);
            assert_eq!(outcome.to_string(), how, "{printed}");
            assert!(outcome.is_bad(), "{printed}");
        }
    }
}
