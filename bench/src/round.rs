//! One round of one contender: restores the keys, runs and measures it, and checks that exactly the right keys are
//! gone.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use blocking_harness::{Ask, LoadGenerator, Probe, Wait, Waits, redis, settled_memory};

use crate::contenders::{Contender, Done, TOO_MANY, shell_removes};
use crate::fixture::Fixture;
use crate::measure::{Resident, UsedPeak, main_thread_ms};
use crate::record::{Crowded, Figures, Memory, Probed, Timed};
use crate::stats::extrapolated;

/// The probe's pause between two PINGs.
const PROBE_REST: Duration = Duration::from_micros(200);
const CLIENTS: usize = 50;

/// How long the base line is measured.
#[derive(Clone, Copy, Debug)]
pub struct Rest(pub Duration);

/// Every wait of the probe: during the run, and just before it.
pub struct Questions {
    pub waits: Vec<Wait>,
    pub base: Vec<Wait>,
}

/// On an idle server.
pub fn timed(fixture: &Fixture, contender: &dyn Contender) -> Result<Figures> {
    fixture.renew()?;
    let mut conn = fixture.patient_client()?;
    contender.prepare(&mut conn)?;
    let mut control = fixture.server.client()?;
    let main_before = main_thread_ms(&mut control)?;
    let started = Instant::now();
    let done = contender.run(fixture, &mut conn);
    let wall_ms = ms(started.elapsed());
    let main_ms = main_thread_ms(&mut control)? - main_before;
    let done = match done {
        // This is a limit of the contender and no error here, if no key is gone.
        Err(error) if format!("{error:#}").contains(TOO_MANY) => {
            fixture.check_nothing_gone()?;
            return Ok(Figures::NotRun {
                why: format!("fails: {TOO_MANY}"),
            });
        }
        done => done?,
    };
    let done = look_back(fixture, contender, done)?;
    let whole = |took| match done.sample {
        Some(sample) => {
            let keys = fixture.keys();
            extrapolated(
                took,
                sample,
                fixture.stale.len(),
                keys,
                keys - fixture.doomed(),
            )
        }
        None => took,
    };
    Ok(Figures::Timed(Timed {
        wall_ms: whole(wall_ms),
        main_ms: whole(main_ms),
        charged_ms: done.charged.map(ms),
        sample: done.sample,
        run: done.run,
    }))
}

/// Beside a client that keeps sending PING, before the run and during it.
pub fn probed(
    fixture: &Fixture,
    contender: &dyn Contender,
    rest: Rest,
) -> Result<(Figures, Questions)> {
    fixture.renew()?;
    let mut conn = fixture.patient_client()?;
    contender.prepare(&mut conn)?;
    let mut probe = Probe::start(&fixture.server, PROBE_REST, Ask::Ping)?;
    probe.mark()?;
    std::thread::sleep(rest.0);
    let base = probe.take_all()?;
    let started = Instant::now();
    let done = contender.run(fixture, &mut conn)?;
    let wall_ms = ms(started.elapsed());
    let waits = probe.take_all()?;
    drop(probe);
    let done = look_back(fixture, contender, done)?;
    let figures = Figures::Probed(Probed {
        wall_ms,
        waits: Waits::of(&waits).into(),
        base: Waits::of(&base).into(),
        run: done.run,
    });
    Ok((figures, Questions { waits, base }))
}

/// Beside fifty busy clients.
pub fn crowded(fixture: &Fixture, contender: &dyn Contender, rest: Rest) -> Result<Figures> {
    fixture.renew()?;
    let mut conn = fixture.patient_client()?;
    contender.prepare(&mut conn)?;
    let load = LoadGenerator::start(&fixture.server, CLIENTS)?;
    let wait = || {
        std::thread::sleep(rest.0);
        Ok(())
    };
    let ((), before) = load.rate(wait)?;
    let started = Instant::now();
    let (done, during) = load.rate(|| contender.run(fixture, &mut conn))?;
    let wall_ms = ms(started.elapsed());
    let ((), after) = load.rate(wait)?;
    load.finish()?;
    check(fixture, contender, &done)?;
    Ok(Figures::Crowded(Crowded {
        wall_ms,
        before,
        during,
        after,
    }))
}

/// The server's memory during the run and after it.
pub fn memory(fixture: &Fixture, contender: &dyn Contender) -> Result<Figures> {
    fixture.renew()?;
    let mut conn = fixture.patient_client()?;
    contender.prepare(&mut conn)?;
    let mut control = fixture.server.client()?;
    // So that the server frees memory sooner.
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "hz", "100"])
        .query(&mut control)?;
    contender.run_on_nothing(&mut conn)?;
    let used = i64::try_from(settled_memory(&mut control)?)?;
    let watch = UsedPeak::watch(&fixture.server)?;
    let (resident, resident_before) = Resident::begin(&fixture.server)?;
    let done = contender.run(fixture, &mut conn)?;
    let resident_peak = resident.peak()? - resident_before;
    let used_peak = watch.end()?;
    drop(conn);
    let used_after = i64::try_from(settled_memory(&mut control)?)? - used;
    check(fixture, contender, &done)?;
    Ok(Figures::Memory(Memory {
        used_peak: used_peak - used,
        resident_peak,
        used_after,
    }))
}

/// Checks that the work was done, and adds what the contender can say about it afterwards.
fn look_back(fixture: &Fixture, contender: &dyn Contender, mut done: Done) -> Result<Done> {
    contender.look_back(&mut fixture.server.client()?, &mut done)?;
    check(fixture, contender, &done)?;
    Ok(done)
}

fn check(fixture: &Fixture, contender: &dyn Contender, done: &Done) -> Result<()> {
    let checked = match done.sample {
        None => fixture.check_all_gone(done.removed),
        Some(sample) => {
            let removed = shell_removes(sample, fixture.stale.len());
            fixture.check_first_gone(sample, done.removed, removed)
        }
    };
    checked.with_context(|| format!("{} did not do the work", contender.name()))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
