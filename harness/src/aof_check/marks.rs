//! Marks in the server's file: what time it was, and where a run began and ended.
//! A mark is a key set in one transaction with TIME, so its place in the file and its time belong together.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use redis::Connection;

/// The key that all marks are written to. No coordinator's.
pub const MARK: &[u8] = b"fleet:mark";

/// What may be expected of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything that is due must be gone.
    Full,
    /// Cut short, or for some only.
    Partial,
    /// Nothing may go.
    Dry,
}

const SCOPES: [(Scope, &str); 3] = [
    (Scope::Full, "full"),
    (Scope::Partial, "partial"),
    (Scope::Dry, "dry"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Tick,
    Begin {
        run: u64,
        threshold_s: i64,
        scope: Scope,
    },
    End {
        run: u64,
    },
}

impl Mark {
    fn text(self, number: usize) -> String {
        match self {
            Self::Tick => format!("tick {number}"),
            Self::Begin {
                run,
                threshold_s,
                scope,
            } => {
                let word = SCOPES.iter().find(|(known, _)| *known == scope);
                let word = word.map_or("", |(_, word)| word);
                format!("begin {run} {threshold_s} {word}")
            }
            Self::End { run } => format!("end {run}"),
        }
    }

    /// Reads back what `set` has written.
    pub fn read(value: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(value)?;
        match text.split(' ').collect::<Vec<_>>()[..] {
            ["tick", _] => Ok(Self::Tick),
            ["begin", run, threshold_s, word] => {
                let scope = SCOPES.iter().find(|(_, known)| *known == word);
                Ok(Self::Begin {
                    run: run.parse()?,
                    threshold_s: threshold_s.parse()?,
                    scope: scope.context("a word for the scope")?.0,
                })
            }
            ["end", run] => Ok(Self::End { run: run.parse()? }),
            _ => bail!("no mark: {text}"),
        }
    }
}

/// The server's time at every mark, as the server told it.
#[derive(Debug, Default)]
pub struct Marks {
    times_ms: HashMap<String, i64>,
}

impl Marks {
    /// Sets a mark and remembers its time.
    pub fn set(&mut self, conn: &mut Connection, mark: Mark) -> Result<()> {
        let text = mark.text(self.times_ms.len());
        let ((seconds, micros), ()): ((i64, i64), ()) = redis::pipe()
            .atomic()
            .cmd("TIME")
            .cmd("SET")
            .arg(MARK)
            .arg(&text)
            .query(conn)?;
        self.insert(text, seconds * 1_000 + micros / 1_000);
        Ok(())
    }

    pub fn insert(&mut self, text: String, ms: i64) {
        self.times_ms.insert(text, ms);
    }

    /// Takes over what another thread has set.
    pub fn merge(&mut self, other: Self) {
        self.times_ms.extend(other.times_ms);
    }

    /// The server's time at the mark with this value.
    pub fn time_ms(&self, value: &[u8]) -> Result<i64> {
        let text = std::str::from_utf8(value)?;
        let ms = self.times_ms.get(text);
        ms.copied().with_context(|| format!("no time for {text}"))
    }
}
