//! The benchmark itself, on keyspaces so small that its figures mean nothing: every contender does the work, every
//! figure is there, and a contender that does something else fails the round.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use blocking_bench::contenders::{self, Contender, Done};
use blocking_bench::fixture::Fixture;
use blocking_bench::record::{Figures, Record};
use blocking_bench::round;
use blocking_bench::workloads::{self, CLASSIC, Workload};
use blocking_harness::known::{self, Found};
use blocking_harness::redis::{self, Connection};
use indicatif::ProgressBar;

/// The server that these tests are run on.
fn server() -> Result<Found> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let known = known::find(&root.join("scripts/servers.list"), &root.join(".servers"))?;
    let system = known.into_iter().next().context("no server")?;
    system.found.map_err(anyhow::Error::msg)
}

fn tiny(name: &str) -> Workload {
    let workload = workloads::tiny()
        .into_iter()
        .find(|workload| workload.name == name);
    workload.expect("a keyspace of that name")
}

#[test]
fn every_contender_does_the_work_and_every_figure_is_there() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (page, lines) = (folder.path().join("page.md"), folder.path().join("lines"));
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["--quick", "--servers", "system", "--page"])
        .arg(&page)
        .arg("--results")
        .arg(&lines)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{complained}\n{said}");

    let file = fs::read_dir(&lines)?.next().context("no lines")??.path();
    let text = fs::read_to_string(file)?;
    let records: Vec<Record> = text
        .lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect::<Result<_>>()?;
    let contenders = |workload: &str, kind: fn(&Figures) -> bool| -> BTreeSet<&str> {
        let found = records
            .iter()
            .filter(|r| r.workload == workload && kind(&r.figures));
        found.map(|record| record.contender.as_str()).collect()
    };
    let is_timed = |figures: &Figures| matches!(figures, Figures::Timed(_));
    let all = BTreeSet::from([
        "shell",
        "script A",
        "script B",
        "client",
        "careful client",
        "module",
        "limit",
    ]);
    for workload in [CLASSIC, "among others"] {
        assert_eq!(contenders(workload, is_timed), all, "{workload}");
    }
    // One coordinator has more keys than script A can hand over.
    let mut others = all.clone();
    others.remove("script A");
    assert_eq!(contenders("acks", is_timed), others);
    assert_eq!(
        contenders(
            "acks",
            |figures| matches!(figures, Figures::NotRun { why } if why.contains(contenders::TOO_MANY))
        ),
        BTreeSet::from(["script A"])
    );
    assert_eq!(
        contenders(CLASSIC, |figures| matches!(figures, Figures::ProbedAll(_))),
        BTreeSet::from(["script B", "client", "careful client", "module"])
    );
    assert_eq!(
        contenders(CLASSIC, |figures| matches!(figures, Figures::Crowded(_))),
        BTreeSet::from([
            "script B",
            "client",
            "careful client",
            "module",
            "module, 5 %"
        ])
    );
    assert_eq!(
        contenders(CLASSIC, |figures| matches!(figures, Figures::Memory(_))),
        BTreeSet::from(["script B", "client", "module", "limit"])
    );
    for record in &records {
        if let Figures::Timed(timed) = &record.figures {
            ensure!(timed.wall_ms > 0.0 && timed.main_ms > 0.0, "{record:?}");
            assert_eq!(timed.run.is_some(), record.contender == "module");
            assert_eq!(timed.charged_ms.is_some(), record.contender == "limit");
        }
        if let Figures::Probed(probed) = &record.figures {
            ensure!(
                probed.waits.count > 0 && probed.base.count > 0,
                "{record:?}"
            );
        }
    }

    let page = fs::read_to_string(page)?;
    for words in [
        "## Goals",
        "### classic",
        "fails: too many",
        "waits.svg",
        "coordinators.svg",
        "foreign.svg",
        "plots.json",
    ] {
        ensure!(page.contains(words), "no {words} in {page}");
    }
    for plot in ["waits", "coordinators", "foreign"] {
        let svg = fs::read_to_string(folder.path().join(format!("page/{plot}.svg")))?;
        ensure!(svg.contains("module") && svg.contains("script B"), "{svg}");
    }
    ensure!(said.contains("goals reached"), "{said}");
    Ok(())
}

/// Removes other keys than it should, or reports another number.
struct Wrong {
    removes: fn(&Fixture) -> Vec<Vec<u8>>,
    says: fn(&Fixture) -> u64,
}

impl Contender for Wrong {
    fn name(&self) -> &'static str {
        "wrong"
    }

    fn what(&self) -> &'static str {
        "something else"
    }

    fn run(&self, fixture: &Fixture, conn: &mut Connection) -> Result<Done> {
        let _: u64 = redis::cmd("DEL").arg((self.removes)(fixture)).query(conn)?;
        Ok(Done {
            removed: (self.says)(fixture),
            ..Done::default()
        })
    }
}

#[test]
fn a_contender_that_removes_other_keys_is_found_out() -> Result<()> {
    let fixture = Fixture::make(&server()?, &tiny("among others"), &ProgressBar::hidden())?;
    let right = Wrong {
        removes: |fixture| fixture.doomed_keys().collect(),
        says: Fixture::doomed,
    };
    ensure!(matches!(round::timed(&fixture, &right)?, Figures::Timed(_)));
    let wrong = [
        // One key is left, as it reports.
        Wrong {
            removes: |fixture| fixture.doomed_keys().skip(1).collect(),
            says: |fixture| fixture.doomed() - 1,
        },
        // One key is left, and it reports all.
        Wrong {
            removes: |fixture| fixture.doomed_keys().skip(1).collect(),
            ..right
        },
        // The right number, but one of them belongs to a live coordinator, or is foreign.
        Wrong {
            removes: |fixture| {
                let living = b"blocking:signal:live-7".to_vec();
                fixture.doomed_keys().skip(1).chain([living]).collect()
            },
            ..right
        },
        Wrong {
            removes: |fixture| {
                fixture
                    .doomed_keys()
                    .skip(1)
                    .chain([b"user:3".to_vec()])
                    .collect()
            },
            ..right
        },
        // One key too many.
        Wrong {
            removes: |fixture| fixture.doomed_keys().chain([b"user:3".to_vec()]).collect(),
            ..right
        },
    ];
    for (n, contender) in wrong.iter().enumerate() {
        let error = round::timed(&fixture, contender)
            .err()
            .with_context(|| format!("{n} passed"))?;
        ensure!(
            format!("{error:#}").contains("wrong did not do the work"),
            "{n}: {error:#}"
        );
    }
    // The next round has all keys again.
    ensure!(matches!(round::timed(&fixture, &right)?, Figures::Timed(_)));
    Ok(())
}
