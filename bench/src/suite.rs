//! The whole benchmark: all servers, all workloads on each, all rounds on each. Contenders take turns, so that noise
//! of the machine hits all alike.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use blocking_harness::Waits;
use blocking_harness::known::{self, Found, Server};
use indicatif::{ProgressBar, ProgressStyle};

use crate::contenders::{
    CAREFUL_CLIENT, CLIENT, Contender, LIMIT, MODULE, Module, SCRIPT_B, SHELL, ScriptA,
};
use crate::fixture::Fixture;
use crate::machine::Machine;
use crate::options::Options;
use crate::page::Page;
use crate::record::{Figures, Probed, Record};
use crate::results::Results;
use crate::round::{self, Questions, Rest};
use crate::stats::Spread;
use crate::tables::Form;
use crate::workloads::{self, Workload};
use crate::{contenders, goals, interrupt, script_limit, tables};

/// How long the base line is measured before each run.
const REST: Rest = Rest(Duration::from_secs(2));
const QUICK_REST: Rest = Rest(Duration::from_millis(200));

/// Contenders that run beside other clients; the rest takes too long, or fails.
const PROBED: [&str; 4] = [SCRIPT_B, CLIENT, CAREFUL_CLIENT, MODULE];
const WATCHED: [&str; 4] = [SCRIPT_B, CLIENT, MODULE, LIMIT];
/// `blocking.cpu-percent` of the module's second run under load.
const LOW_PERCENT: u32 = 5;

pub fn run(options: &Options) -> Result<()> {
    interrupt::install()?;
    let machine = Machine::describe();
    println!("{machine}");
    let began = Instant::now();
    let servers = servers(options)?;
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let name = format!("{}-{}", machine.date, since_1970.as_secs());
    let (results, path) = Results::in_folder(&options.results, &name)?;
    let mut suite = Suite {
        options,
        results,
        script_limits: Vec::new(),
        bar: ProgressBar::new_spinner(),
    };
    suite.bar.enable_steady_tick(Duration::from_millis(200));
    for (n, (title, found)) in servers.iter().enumerate() {
        suite.server(title, found, n == 0)?;
    }
    suite.bar.finish_and_clear();
    suite.report(&machine, &path)?;
    println!("This took {:.0} s.", began.elapsed().as_secs_f64());
    Ok(())
}

/// The chosen servers that are installed. A chosen one that is missing or unknown is an error.
fn servers(options: &Options) -> Result<Vec<(String, Found)>> {
    let known = known::find(Path::new("scripts/servers.list"), Path::new(".servers"))?;
    for wanted in &options.servers {
        let is_known = known.iter().any(|server: &Server| server.name == *wanted);
        ensure!(is_known, "unknown server {wanted}");
    }
    let mut here = Vec::new();
    for server in known {
        if !options.servers.is_empty() && !options.servers.contains(&server.name) {
            continue;
        }
        println!("{server}");
        let title = server.title();
        match server.found {
            Ok(found) => here.push((title, found)),
            Err(why) => ensure!(
                options.servers.is_empty(),
                "{} is not installed: {why}",
                server.name
            ),
        }
    }
    ensure!(!here.is_empty(), "no server");
    Ok(here)
}

struct Suite<'a> {
    options: &'a Options,
    results: Results,
    script_limits: Vec<(String, usize)>,
    bar: ProgressBar,
}

impl Suite<'_> {
    fn server(&mut self, title: &str, found: &Found, is_first: bool) -> Result<()> {
        // The limit is Lua's and hardly differs between servers, so only `--full` measures it on each.
        let mut fails_from = self.script_limits.first().map(|(_, stale)| *stale);
        let looks = is_first || self.options.full;
        if looks && !self.options.quick && self.wants(contenders::SCRIPT_A) {
            self.say(format!(
                "{title}: looking for the size at which script A fails"
            ));
            let stale = script_limit::script_a_fails_from(found)?;
            fails_from = Some(stale);
            self.script_limits.push((title.to_owned(), stale));
        }
        let contenders = self.contenders(fails_from);
        for workload in self.workloads(is_first) {
            self.workload(title, found, &workload, &contenders)
                .with_context(|| format!("{title}, {}", workload.name))?;
        }
        Ok(())
    }

    fn wants(&self, contender: &str) -> bool {
        let chosen = &self.options.contenders;
        chosen.is_empty()
            || [MODULE, LIMIT].contains(&contender)
            || chosen.iter().any(|name| name == contender)
    }

    fn contenders(&self, fails_from: Option<usize>) -> Vec<Box<dyn Contender>> {
        let mut contenders = contenders::all();
        for contender in &mut contenders {
            if contender.name() == contenders::SCRIPT_A {
                *contender = Box::new(ScriptA::failing_from(fails_from));
            }
        }
        contenders.retain(|contender| self.wants(contender.name()));
        contenders
    }

    fn workloads(&self, is_first: bool) -> Vec<Workload> {
        let mut workloads = match (self.options.full, self.options.quick) {
            (true, _) => workloads::all(),
            (_, true) => workloads::tiny(),
            _ => workloads::usual(is_first),
        };
        let chosen = &self.options.workloads;
        workloads.retain(|workload| {
            chosen.is_empty() || chosen.iter().any(|word| workload.name.contains(word))
        });
        if let Some(rounds) = self.options.rounds {
            workloads
                .iter_mut()
                .for_each(|workload| workload.rounds = workload.rounds.limited_to(rounds));
        }
        workloads
    }

    fn say(&self, what: String) {
        self.bar.set_message(what);
    }

    /// Stays on the terminal when the bar is gone, and is printed where no bar is shown.
    fn line(&self, line: String) {
        self.bar.suspend(|| println!("{line}"));
    }

    fn workload(
        &mut self,
        title: &str,
        found: &Found,
        workload: &Workload,
        contenders: &[Box<dyn Contender>],
    ) -> Result<()> {
        let loading = ProgressBar::new(0).with_style(ProgressStyle::with_template(
            "{msg} {bar:40} {human_pos} of {human_len} keys",
        )?);
        loading.set_message(format!("{title}, {}: loading", workload.name));
        let began = Instant::now();
        let fixture = Fixture::make(found, workload, &loading)?;
        loading.finish_and_clear();
        let loaded = began.elapsed();
        let mut measurement = Measurement {
            suite: self,
            title,
            fixture: &fixture,
        };
        measurement.timed(contenders)?;
        measurement.probed(contenders)?;
        measurement.crowded(contenders)?;
        measurement.memory(contenders)?;
        let short = goals::in_short(self.results.of(title, &workload.name));
        let name = &workload.name;
        self.line(format!(
            "{title}, {name}: {short}; loaded in {:.1} s, measured in {:.1} s",
            loaded.as_secs_f64(),
            (began.elapsed() - loaded).as_secs_f64()
        ));
        Ok(())
    }

    fn report(&self, machine: &Machine, path: &Path) -> Result<()> {
        let results = &self.results;
        for server in results.servers() {
            for workload in results.workloads(server) {
                let on = results.of(server, workload);
                println!(
                    "\n{server}, {workload}\n{}",
                    tables::speed(on, Form::Terminal).trim_fmt()
                );
                let more = [
                    tables::waits(on, Form::Terminal),
                    tables::throughput(on, Form::Terminal),
                    tables::memory(on, Form::Terminal),
                ];
                for table in more.into_iter().flatten() {
                    println!("\n{}", table.trim_fmt());
                }
                if let Some(slices) = tables::slices(on) {
                    println!("\n{slices}");
                }
            }
        }
        for (server, stale) in &self.script_limits {
            println!("\n{server}: script A fails from {stale} stale coordinators on");
        }
        let goals = goals::goals(results);
        println!(
            "\n{}\n\n{}.",
            goals::table(&goals, Form::Terminal).trim_fmt(),
            goals::summary(&goals)
        );
        println!("A line for every round is in {}.", path.display());
        if let Some(page) = self.options.page() {
            let contents = Page {
                machine,
                command: self.options.command(),
                results,
                goals: &goals,
                script_limits: &self.script_limits,
            };
            contents.write(&page)?;
            println!("Tables and plots are in {}.", page.display());
        }
        Ok(())
    }
}

/// The rounds of one workload.
struct Measurement<'a, 'b> {
    suite: &'a mut Suite<'b>,
    title: &'a str,
    fixture: &'a Fixture,
}

impl Measurement<'_, '_> {
    fn timed(&mut self, contenders: &[Box<dyn Contender>]) -> Result<()> {
        let workload = &self.fixture.workload;
        for round in 0..workload.rounds.timed {
            for contender in contenders {
                // The shell is slow and its times hardly vary. The reason to leave a contender out does not change.
                let once = contender.name() == SHELL || self.was_not_run(contender.name());
                if round > 0 && once {
                    continue;
                }
                let figures = match contender.left_out(workload) {
                    Some(why) => Figures::NotRun { why },
                    None => {
                        self.say("timed", round, workload.rounds.timed, contender.as_ref());
                        round::timed(self.fixture, contender.as_ref())?
                    }
                };
                self.add(contender.name(), round, figures)?;
            }
        }
        Ok(())
    }

    fn probed(&mut self, contenders: &[Box<dyn Contender>]) -> Result<()> {
        let rounds = self.fixture.workload.rounds.probed;
        let contenders: Vec<_> = contenders
            .iter()
            .filter(|contender| PROBED.contains(&contender.name()))
            .collect();
        let mut all: Vec<Vec<(Figures, Questions)>> =
            contenders.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds {
            for (contender, seen) in contenders.iter().zip(&mut all) {
                self.say("probed", round, rounds, contender.as_ref());
                let (figures, questions) =
                    round::probed(self.fixture, contender.as_ref(), self.rest())?;
                self.add(contender.name(), round, figures.clone())?;
                seen.push((figures, questions));
            }
        }
        for (contender, seen) in contenders.iter().zip(all) {
            if let Some(together) = together(&seen) {
                self.add(contender.name(), rounds, Figures::ProbedAll(together))?;
            }
        }
        Ok(())
    }

    fn crowded(&mut self, contenders: &[Box<dyn Contender>]) -> Result<()> {
        let rounds = self.fixture.workload.rounds.crowded;
        let low = Module {
            cpu_percent: Some(LOW_PERCENT),
        };
        for round in 0..rounds {
            let contenders = contenders.iter().map(Box::as_ref);
            let contenders = contenders.filter(|contender| PROBED.contains(&contender.name()));
            for contender in contenders.chain([&low as &dyn Contender]) {
                self.say("under load", round, rounds, contender);
                let figures = round::crowded(self.fixture, contender, self.rest())?;
                self.add(contender.name(), round, figures)?;
            }
        }
        Ok(())
    }

    fn memory(&mut self, contenders: &[Box<dyn Contender>]) -> Result<()> {
        let rounds = self.fixture.workload.rounds.memory;
        for round in 0..rounds {
            for contender in contenders
                .iter()
                .filter(|contender| WATCHED.contains(&contender.name()))
            {
                self.say("memory", round, rounds, contender.as_ref());
                let figures = round::memory(self.fixture, contender.as_ref())?;
                self.add(contender.name(), round, figures)?;
            }
        }
        Ok(())
    }

    fn rest(&self) -> Rest {
        match self.suite.options.quick {
            true => QUICK_REST,
            false => REST,
        }
    }

    fn was_not_run(&self, contender: &str) -> bool {
        self.suite
            .results
            .of(self.title, &self.fixture.workload.name)
            .not_run(contender)
            .is_some()
    }

    fn say(&self, kind: &str, round: u32, rounds: u32, contender: &dyn Contender) {
        let (title, workload) = (self.title, &self.fixture.workload.name);
        self.suite.say(format!(
            "{title}, {workload}, {kind}, round {} of {rounds}: {}",
            round + 1,
            contender.name()
        ));
    }

    fn add(&mut self, contender: &str, round: u32, figures: Figures) -> Result<()> {
        let workload = &self.fixture.workload;
        self.suite.results.add(Record {
            server: self.title.to_owned(),
            workload: workload.name.clone(),
            stale: workload.stale,
            coordinators: workload.coordinators(),
            foreign: workload.foreign,
            family_keys: self.fixture.doomed(),
            usual_share: workload.has_usual_share(),
            contender: contender.to_owned(),
            round,
            figures,
        })
    }
}

/// The waits of all rounds of a contender as one.
fn together(seen: &[(Figures, Questions)]) -> Option<Probed> {
    let walls = seen.iter().filter_map(|(figures, _)| match figures {
        Figures::Probed(probed) => Some(probed.wall_ms),
        _ => None,
    });
    let wall_ms = Spread::of(walls)?.median;
    let questions = || seen.iter().map(|(_, questions)| questions);
    let waits: Vec<_> = questions().flat_map(|q| q.waits.iter().copied()).collect();
    let base: Vec<_> = questions().flat_map(|q| q.base.iter().copied()).collect();
    Some(Probed {
        wall_ms,
        waits: Waits::of(&waits).into(),
        base: Waits::of(&base).into(),
        run: None,
    })
}
