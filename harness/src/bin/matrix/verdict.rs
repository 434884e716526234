//! What all runs amount to: a table, and everything that keeps them from being a success.
//! Must not soften anything: what is missing from the table, or not tested, is said.

use comfy_table::{Table, presets};

use crate::outcome::Outcome;
use crate::servers::Server;
use crate::suites::Suite;

/// The server that must be there whatever else is: kind and series.
const INDISPENSABLE: (&str, &str) = ("Redis", "7.0.");

/// The outcome of each suite on each server.
pub struct Verdict<'a> {
    servers: &'a [Server],
    suites: Vec<&'a str>,
    outcomes: Vec<(&'a str, &'a str, Outcome)>,
}

impl<'a> Verdict<'a> {
    pub fn new(servers: &'a [Server]) -> Self {
        Self {
            servers,
            suites: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    pub fn add(&mut self, server: &'a Server, suite: &'a Suite, outcome: Outcome) {
        if !self.suites.contains(&suite.name.as_str()) {
            self.suites.push(&suite.name);
        }
        self.outcomes.push((&server.name, &suite.name, outcome));
    }

    /// A row for each server, a column for each suite.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["server", "version"].iter().chain(&self.suites));
        for server in self.servers {
            let mut row = vec![
                server.kind.clone(),
                server.version().unwrap_or("-").to_owned(),
            ];
            if server.found.is_err() {
                row[0].clone_from(&server.name);
            }
            let cells = self.suites.iter().map(|suite| self.cell(server, suite));
            table.add_row(row.into_iter().chain(cells));
        }
        table
    }

    fn cell(&self, server: &Server, suite: &str) -> String {
        let mut outcomes = self.outcomes.iter();
        let found = outcomes.find(|(name, of, _)| *name == server.name && *of == suite);
        found.map_or("did not run".to_owned(), |(_, _, outcome)| {
            outcome.to_string()
        })
    }

    /// Everything that is said below the table, and whether any of it is a failure.
    pub fn problems(&self, require_all: bool) -> Vec<String> {
        let mut problems = Vec::new();
        for server in self.servers {
            if let (Err(why), true) = (&server.found, require_all) {
                problems.push(format!("{} is required: {why}", server.name));
            }
            for suite in &self.suites {
                let outcomes = self.outcomes.iter();
                let mut here = outcomes.filter(|(name, of, _)| *name == server.name && of == suite);
                match here.next() {
                    None => problems.push(format!("{suite} did not run on {}", server.title())),
                    Some((_, _, outcome)) if outcome.is_bad() => {
                        problems.push(format!("{suite} on {}: {outcome}", server.title()));
                    }
                    Some(_) => {}
                }
            }
        }
        let (kind, series) = INDISPENSABLE;
        let is_it = |server: &&Server| {
            let version = server.version().unwrap_or_default();
            server.kind == kind && version.starts_with(series)
        };
        if self.suites.is_empty() {
            problems.push("nothing ran".to_owned());
        }
        if !self.servers.iter().any(|server| is_it(&server)) {
            let found: Vec<String> = self.servers.iter().map(Server::title).collect();
            problems.push(format!(
                "{kind} {series}x is missing; here are {}; BLOCKING_SERVER_BIN names another",
                found.join(", ")
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Counts;
    use crate::servers::Found;

    fn server(name: &str, kind: &str, version: Result<&str, &str>) -> Server {
        let found = version.map(|version| Found {
            program: name.into(),
            version: version.to_owned(),
        });
        Server {
            name: name.to_owned(),
            kind: kind.to_owned(),
            found: found.map_err(str::to_owned),
        }
    }

    fn suite(name: &str) -> Suite {
        Suite {
            name: name.to_owned(),
            program: name.into(),
            folder: "/".into(),
        }
    }

    fn passed(passed: u64) -> Outcome {
        Outcome::Passed(Counts {
            passed,
            ..Counts::default()
        })
    }

    #[test]
    fn a_server_that_is_not_there_is_in_the_table_and_fails_only_where_required() {
        let servers = [
            server("system", "Redis", Ok("7.0.15")),
            server("valkey-9", "Valkey", Err("no way")),
        ];
        let (e2e, timing) = (suite("e2e"), suite("timing"));
        let mut verdict = Verdict::new(&servers);
        for suite in [&e2e, &timing] {
            verdict.add(&servers[0], suite, passed(7));
            verdict.add(&servers[1], suite, Outcome::NotTested);
        }
        let table = verdict.table().trim_fmt();
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|line| {
                line.split("  ")
                    .map(str::trim)
                    .filter(|cell| !cell.is_empty())
                    .collect()
            })
            .collect();
        assert!(
            rows.contains(&vec!["server", "version", "e2e", "timing"]),
            "{table}"
        );
        assert!(
            rows.contains(&vec!["Redis", "7.0.15", "7 passed", "7 passed"]),
            "{table}"
        );
        assert!(
            rows.contains(&vec!["valkey-9", "-", "not tested", "not tested"]),
            "{table}"
        );
        assert!(verdict.problems(false).is_empty());
        assert_eq!(verdict.problems(true), ["valkey-9 is required: no way"]);
    }

    #[test]
    fn a_suite_that_failed_or_did_not_run_is_a_failure() {
        let servers = [
            server("system", "Redis", Ok("7.0.15")),
            server("a", "Valkey", Ok("9.1.2")),
        ];
        let (e2e, timing) = (suite("e2e"), suite("timing"));
        let mut verdict = Verdict::new(&servers);
        assert_eq!(verdict.problems(false), ["nothing ran"]);
        verdict.add(&servers[0], &e2e, Outcome::broken("no test ran"));
        verdict.add(&servers[0], &timing, passed(1));
        verdict.add(&servers[1], &e2e, passed(1));
        let problems = verdict.problems(false);
        assert_eq!(
            problems,
            [
                "e2e on Redis 7.0.15: FAILED: no test ran",
                "timing did not run on Valkey 9.1.2"
            ]
        );
    }

    #[test]
    fn without_redis_7_0_there_is_no_success() {
        for system in [
            server("system", "Redis", Ok("8.0.2")),
            server("system", "Redis", Ok("17.0.2")),
            server("system", "Valkey", Ok("7.0.1")),
            server("system", "Redis", Err("not here")),
        ] {
            let (servers, e2e) = ([system], suite("e2e"));
            let mut verdict = Verdict::new(&servers);
            verdict.add(&servers[0], &e2e, passed(1));
            let problems = verdict.problems(false);
            assert!(
                problems.len() == 1 && problems[0].contains("7.0.x is missing"),
                "{problems:?}"
            );
        }
    }
}
