//! All records of a run, kept in a file as they come, and found by server, workload and contender. Figures of two
//! servers are never compared.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::contenders::Run;
use crate::record::{Crowded, Figures, Memory, Probed, Record, Timed};
use crate::stats::Spread;

/// A contender, and one of its times in milliseconds.
pub type Figure<'a> = (&'a str, fn(&Timed) -> Option<f64>);

pub fn wall_ms(timed: &Timed) -> Option<f64> {
    Some(timed.wall_ms)
}

pub fn main_ms(timed: &Timed) -> Option<f64> {
    Some(timed.main_ms)
}

pub fn charged_ms(timed: &Timed) -> Option<f64> {
    timed.charged_ms
}

/// The part of the main thread's time that was spent in slices.
pub fn busy_ms(timed: &Timed) -> Option<f64> {
    Some(timed.run?.busy_us as f64 / 1_000.0)
}

#[derive(Default)]
pub struct Results {
    pub records: Vec<Record>,
    file: Option<File>,
}

impl Results {
    /// Writes a line for every record to a new file in `folder`.
    pub fn in_folder(folder: &Path, name: &str) -> Result<(Self, PathBuf)> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join(format!("{name}.jsonl"));
        let file = Some(File::create(&path)?);
        let records = Vec::new();
        Ok((Self { records, file }, path))
    }

    pub fn add(&mut self, record: Record) -> Result<()> {
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_vec(&record)?;
            line.push(b'\n');
            file.write_all(&line)?;
        }
        self.records.push(record);
        Ok(())
    }

    /// In the order in which they were measured.
    pub fn servers(&self) -> Vec<&str> {
        unique(self.records.iter().map(|record| record.server.as_str()))
    }

    pub fn workloads(&self, server: &str) -> Vec<&str> {
        let records = self.records.iter().filter(|record| record.server == server);
        unique(records.map(|record| record.workload.as_str()))
    }

    pub fn of<'a>(&'a self, server: &'a str, workload: &'a str) -> On<'a> {
        On {
            all: self,
            server,
            workload,
        }
    }
}

/// The results of one workload on one server.
#[derive(Clone, Copy)]
pub struct On<'a> {
    all: &'a Results,
    server: &'a str,
    workload: &'a str,
}

impl<'a> On<'a> {
    pub fn records(self) -> impl Iterator<Item = &'a Record> {
        let all = self.all.records.iter();
        all.filter(move |record| record.server == self.server && record.workload == self.workload)
    }

    pub fn first(self) -> Option<&'a Record> {
        self.records().next()
    }

    fn figures(self, contender: &str) -> impl Iterator<Item = &'a Figures> {
        self.records()
            .filter(move |record| record.contender == contender)
            .map(|record| &record.figures)
    }

    pub fn timed(self, contender: &str) -> impl Iterator<Item = &'a Timed> {
        self.figures(contender).filter_map(|figures| match figures {
            Figures::Timed(timed) => Some(timed),
            _ => None,
        })
    }

    pub fn wall_ms(self, contender: &str) -> Option<Spread> {
        Spread::of(self.timed(contender).filter_map(wall_ms))
    }

    pub fn main_ms(self, contender: &str) -> Option<Spread> {
        Spread::of(self.timed(contender).filter_map(main_ms))
    }

    pub fn charged_ms(self, contender: &str) -> Option<Spread> {
        Spread::of(self.timed(contender).filter_map(charged_ms))
    }

    /// The ratio of two figures, round by round: the machine may be faster in one round than in the next, but within
    /// a round the contenders follow each other.
    pub fn ratio(self, upper: Figure<'_>, lower: Figure<'_>) -> Option<Spread> {
        let by_round = |figure: Figure<'_>| -> BTreeMap<u32, f64> {
            let (contender, pick) = figure;
            let records = self
                .records()
                .filter(|record| record.contender == contender);
            let values = records.filter_map(|record| match &record.figures {
                Figures::Timed(timed) => Some((record.round, pick(timed)?)),
                _ => None,
            });
            values.collect()
        };
        let lower = by_round(lower);
        let ratios = by_round(upper).into_iter();
        Spread::of(ratios.filter_map(|(round, upper)| Some(upper / lower.get(&round)?)))
    }

    /// The waits of all rounds together.
    pub fn probed(self, contender: &str) -> Option<&'a Probed> {
        self.figures(contender).find_map(|figures| match figures {
            Figures::ProbedAll(probed) => Some(probed),
            _ => None,
        })
    }

    pub fn kept(self, contender: &str) -> Option<Spread> {
        Spread::of(self.crowded(contender).map(Crowded::kept))
    }

    pub fn crowded(self, contender: &str) -> impl Iterator<Item = &'a Crowded> {
        self.figures(contender).filter_map(|figures| match figures {
            Figures::Crowded(crowded) => Some(crowded),
            _ => None,
        })
    }

    pub fn memory(self, contender: &str) -> impl Iterator<Item = &'a Memory> {
        self.figures(contender).filter_map(|figures| match figures {
            Figures::Memory(memory) => Some(memory),
            _ => None,
        })
    }

    /// What the module reported in timed and probed rounds.
    pub fn runs(self, contender: &str) -> impl Iterator<Item = Run> + use<'a> {
        let contender = contender.to_owned();
        let records = self
            .records()
            .filter(move |record| record.contender == contender);
        records.filter_map(|record| match &record.figures {
            Figures::Timed(timed) => timed.run,
            Figures::Probed(probed) => probed.run,
            _ => None,
        })
    }

    pub fn not_run(self, contender: &str) -> Option<&'a str> {
        self.figures(contender).find_map(|figures| match figures {
            Figures::NotRun { why } => Some(why.as_str()),
            _ => None,
        })
    }
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

/// Results for tests.
#[cfg(test)]
pub mod made_up {
    use super::*;
    use crate::contenders::{CLIENT, LIMIT, MODULE, SCRIPT_A, SCRIPT_B, SHELL};
    use crate::record::WaitsUs;
    use crate::workloads::CLASSIC;

    pub fn record(contender: &str, figures: Figures) -> Record {
        Record {
            server: "Redis 7.0.15".to_owned(),
            workload: CLASSIC.to_owned(),
            stale: 9_900,
            coordinators: 10_000,
            foreign: 0,
            family_keys: 60_000,
            usual_share: true,
            contender: contender.to_owned(),
            round: 0,
            figures,
        }
    }

    pub fn timed(contender: &str, wall_ms: f64, main_ms: f64) -> Record {
        let run = Run {
            slices: 400,
            overruns: 3,
            longest_slice_us: 400,
            slice_us: 250,
            busy_us: (main_ms * 1_000.0) as u64,
            ..Run::default()
        };
        record(
            contender,
            Figures::Timed(Timed {
                wall_ms,
                main_ms,
                charged_ms: (contender == LIMIT).then_some(main_ms),
                sample: (contender == SHELL).then_some(5),
                run: (contender == MODULE).then_some(run),
            }),
        )
    }

    pub fn probed(contender: &str, p999_us: u64, max_us: u64) -> Record {
        let waits = |p999_us, max_us| WaitsUs {
            count: 1_000,
            p50_us: 50,
            p99_us: 90,
            p999_us,
            max_us,
        };
        record(
            contender,
            Figures::ProbedAll(Probed {
                wall_ms: 100.0,
                waits: waits(p999_us, max_us),
                base: waits(200, 300),
                run: None,
            }),
        )
    }

    pub fn results() -> Results {
        let records = vec![
            timed(SHELL, 3_600_000.0, 100_000.0),
            record(
                SCRIPT_A,
                Figures::NotRun {
                    why: "fails".to_owned(),
                },
            ),
            timed(SCRIPT_B, 320.0, 310.0),
            Record {
                round: 1,
                ..timed(SCRIPT_B, 300.0, 300.0)
            },
            Record {
                round: 2,
                ..timed(SCRIPT_B, 340.0, 330.0)
            },
            timed(CLIENT, 640.0, 200.0),
            timed(MODULE, 80.0, 50.0),
            timed(LIMIT, 70.0, 45.0),
            probed(SCRIPT_B, 100_000, 320_000),
            probed(MODULE, 450, 1_000),
            record(
                MODULE,
                Figures::Crowded(Crowded {
                    wall_ms: 500.0,
                    before: 100.0,
                    during: 80.0,
                    after: 60.0,
                }),
            ),
            record(
                MODULE,
                Figures::Memory(Memory {
                    used_peak: 4_800_000,
                    resident_peak: 6_000_000,
                    used_after: -9_000_000,
                }),
            ),
            record(
                LIMIT,
                Figures::Memory(Memory {
                    used_peak: 1_000,
                    resident_peak: 0,
                    used_after: -9_001_000,
                }),
            ),
        ];
        Results {
            records,
            file: None,
        }
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let mut results = Results::default();
        // Twice as slow in the second round. The third round has only one of the two, and does not count.
        let rounds = [(MODULE, 10.0), (LIMIT, 5.0), (MODULE, 20.0), (LIMIT, 10.0)];
        for (round, (contender, ms)) in [0, 0, 1, 1].into_iter().zip(rounds) {
            let record = timed(contender, ms, ms);
            results.records.push(Record { round, ..record });
        }
        let alone = timed(MODULE, 99.0, 99.0);
        results.records.push(Record { round: 2, ..alone });
        let on = results.of("Redis 7.0.15", CLASSIC);
        let ratio = on.ratio((MODULE, main_ms), (LIMIT, charged_ms)).unwrap();
        assert_eq!((ratio.median, ratio.min, ratio.max), (2.0, 2.0, 2.0));
        assert_eq!(on.ratio((SHELL, wall_ms), (LIMIT, charged_ms)), None);
    }

    #[test]
    fn results_are_found_by_server_workload_and_contender() {
        let results = results();
        assert_eq!(results.servers(), ["Redis 7.0.15"]);
        assert_eq!(results.workloads("Redis 7.0.15"), [CLASSIC]);
        let on = results.of("Redis 7.0.15", CLASSIC);
        assert_eq!(on.wall_ms(SCRIPT_B).unwrap().median, 320.0);
        assert_eq!(on.charged_ms(LIMIT).unwrap().median, 45.0);
        assert_eq!(on.charged_ms(MODULE), None);
        assert_eq!(on.kept(MODULE).unwrap().median, 1.0);
        assert_eq!(on.not_run(SCRIPT_A), Some("fails"));
        assert!(results.of("Valkey 9.1.2", CLASSIC).first().is_none());
    }

    #[test]
    fn every_record_becomes_a_line_that_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mut written, path) = Results::in_folder(&folder.path().join("new"), "a").unwrap();
        for record in results().records {
            written.add(record).unwrap();
        }
        let text = fs::read_to_string(path).unwrap();
        let read: Vec<Record> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(read.len(), written.records.len());
        assert_eq!(format!("{read:?}"), format!("{:?}", written.records));
    }
}
