//! A second client that keeps asking and writes down how long it waited: what a run costs other clients.
//! Must ask nothing that a run could answer for, and must not judge what it measures.

use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;
use redis::{Cmd, Connection};

use crate::server::Server;

/// The longest wait that is told apart from longer ones.
const LONGEST_US: u64 = 600_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;
const PROBE_KEY: &str = "probe:written";

/// What the probe asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Ping,
    /// Writes one key of its own, which is removed when the probe finishes.
    Set,
}

/// What the probe saw. A wait is counted once however long it was, so percentiles speak of questions asked, not of
/// time; the longest wait is exact to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    pub count: u64,
    pub max_us: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
}

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    pub asked: Instant,
    pub waited: Duration,
}

/// A running probe; dropping it stops it too.
pub struct Probe {
    orders: Sender<Order>,
    thread: Option<JoinHandle<Result<()>>>,
}

enum Order {
    /// Report and begin anew.
    Take(Sender<Vec<Wait>>),
    Stop,
}

impl Probe {
    /// Asks `server` over a connection of its own, resting for `interval` after every answer.
    pub fn start(server: &Server, interval: Duration, ask: Ask) -> Result<Self> {
        let mut conn = server.client()?;
        let question = match ask {
            Ask::Ping => redis::cmd("PING"),
            Ask::Set => redis::cmd("SET").arg(PROBE_KEY).arg("1").to_owned(),
        };
        let (orders, inbox) = channel();
        let thread = std::thread::Builder::new()
            .name("probe".to_owned())
            .spawn(move || {
                let asked = keep_asking(&mut conn, &question, interval, &inbox);
                if ask == Ask::Set {
                    let () = redis::cmd("DEL").arg(PROBE_KEY).query(&mut conn)?;
                }
                asked
            })?;
        Ok(Self {
            orders,
            thread: Some(thread),
        })
    }

    /// Forgets what was seen so far.
    pub fn mark(&mut self) -> Result<()> {
        self.take().map(drop)
    }

    /// What was seen since the start or since the last `mark` or `take`. A question still on its way counts: its
    /// answer is awaited first.
    pub fn take(&mut self) -> Result<Waits> {
        self.take_all().map(|waits| Waits::of(&waits))
    }

    /// The same, question by question.
    pub fn take_all(&mut self) -> Result<Vec<Wait>> {
        let (report, waits) = channel();
        // Both fail only when the probe's thread has ended, and then its own error says why.
        if self.orders.send(Order::Take(report)).is_ok()
            && let Ok(waits) = waits.recv()
        {
            return Ok(waits);
        }
        self.join()?;
        Err(anyhow!("the probe has already stopped"))
    }

    /// The last `take`, and the end of the probe.
    pub fn finish(mut self) -> Result<Waits> {
        let waits = self.take()?;
        self.join()?;
        Ok(waits)
    }

    fn join(&mut self) -> Result<()> {
        let _ = self.orders.send(Order::Stop);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome.context("the probe could not go on asking"),
            Some(Err(_)) => Err(anyhow!("the probe's thread panicked")),
            None => Ok(()),
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.join();
    }
}

fn keep_asking(
    conn: &mut Connection,
    question: &Cmd,
    interval: Duration,
    inbox: &Receiver<Order>,
) -> Result<()> {
    let mut seen = Vec::new();
    loop {
        let asked = Instant::now();
        let () = question.query(conn)?;
        let waited = asked.elapsed();
        seen.push(Wait { asked, waited });
        match inbox.recv_timeout(interval) {
            Ok(Order::Take(report)) => {
                let _ = report.send(std::mem::take(&mut seen));
            }
            Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

impl Waits {
    /// Of any questions: those of several runs can be put together.
    pub fn of(waits: &[Wait]) -> Self {
        let mut seen = Histogram::<u64>::new_with_bounds(1, LONGEST_US, SIGNIFICANT_DIGITS)
            .expect("bounds that fit a histogram");
        let mut longest_us = 0;
        for wait in waits {
            let waited_us = wait.waited.as_micros().min(LONGEST_US.into()) as u64;
            seen.saturating_record(waited_us);
            longest_us = longest_us.max(waited_us);
        }
        // A percentile is the upper end of its bucket, which may lie just above the longest wait.
        let at = |quantile| seen.value_at_quantile(quantile).min(longest_us);
        Self {
            count: seen.len(),
            max_us: longest_us,
            p50_us: at(0.50),
            p99_us: at(0.99),
            p999_us: at(0.999),
        }
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            count,
            max_us,
            p50_us,
            p99_us,
            p999_us,
        } = self;
        write!(
            f,
            "{count} asked, p50 {p50_us} us, p99 {p99_us} us, p99.9 {p999_us} us, longest {max_us} us"
        )
    }
}
