//! A keyspace with the truth about every key, what each contender is expected to make of it, and the comparison.
//! Must look at every key by name: counts that a contender gives are no proof.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{Server, TOO_LATE, existing_keys, server_now_ms};

use crate::drop_in;
use crate::scripts::{self, Said};

/// A key and what it holds.
pub type Pair = (String, Held);

#[derive(Clone)]
pub enum Held {
    Text(String),
    /// A hash with the field `timestamp`.
    Hash(i64),
}

/// How a contender ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// Without an error, and what it says of itself is not looked at.
    Well,
    /// With these words: an error, or for the module a status other than `complete`.
    Fails(&'static str),
    /// Without an error, and it says that so many keys are removed.
    Claims(i64),
    /// It was not run, for this reason.
    NotRun(&'static str),
}

/// What a contender made of a keyspace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    pub end: End,
    /// Keys of dead coordinators that are still there.
    pub left: usize,
    /// Keys of living coordinators that are gone.
    pub lost: usize,
}

/// All keys of the dead are gone, and no other.
pub const RIGHT: Outcome = left(0);

/// So many keys of the dead are still there.
pub const fn left(left: usize) -> Outcome {
    Outcome {
        end: End::Well,
        left,
        lost: 0,
    }
}

/// So many keys of living coordinators are gone.
pub const fn lost(lost: usize) -> Outcome {
    left(0).and_lost(lost)
}

impl Outcome {
    pub const fn and_lost(self, lost: usize) -> Self {
        Self { lost, ..self }
    }

    pub const fn ending(self, end: End) -> Self {
        Self { end, ..self }
    }

    /// As the page has it.
    pub fn cell(&self) -> String {
        let mut parts = match self.end {
            End::Well => Vec::new(),
            End::Fails(words) => vec![format!("`{words}`")],
            End::Claims(keys) => vec![format!("says {keys} removed")],
            End::NotRun(why) => return why.to_owned(),
        };
        if self.left > 0 {
            parts.push(format!("leaves {}", with_commas(self.left)));
        }
        if self.lost > 0 {
            parts.push(format!("**removes {} of the living**", self.lost));
        }
        if parts.is_empty() {
            return "right".to_owned();
        }
        parts.join(", ")
    }
}

fn with_commas(number: usize) -> String {
    let digits = number.to_string();
    let at = digits.len().saturating_sub(3);
    match digits.split_at(at) {
        ("", rest) => rest.to_owned(),
        (thousands, rest) => format!("{thousands},{rest}"),
    }
}

/// A line of the page's table.
pub struct Row {
    /// What is special about the keys.
    pub title: &'static str,
    pub shell: Outcome,
    pub lua: Outcome,
    pub module: Outcome,
}

impl Row {
    pub fn line(&self) -> String {
        let [shell, lua, module] = [self.shell, self.lua, self.module].map(|one| one.cell());
        format!("| {} | {shell} | {lua} | {module} |", self.title)
    }
}

/// The time at which a keyspace is written.
#[derive(Clone, Copy)]
pub struct Now {
    pub ms: i64,
}

impl Now {
    /// Milliseconds since 1970, so many seconds ago.
    pub const fn ago(self, seconds: i64) -> i64 {
        self.ms - seconds * 1_000
    }

    /// When a dead coordinator last beat.
    pub const fn old(self) -> i64 {
        self.ago(7_000)
    }
}

pub struct Case {
    pub row: Row,
    /// Keys that should go.
    pub dead: Vec<Pair>,
    /// Keys that must stay.
    pub living: Vec<Pair>,
    /// More options for the module.
    pub options: &'static [&'static str],
    /// Must be judged within the second in which it is written.
    pub is_exact: bool,
}

pub fn text(key: impl Into<String>, value: impl Into<String>) -> Pair {
    (key.into(), Held::Text(value.into()))
}

/// The heartbeat that most writers write.
pub fn beat(id: &str, ms: i64) -> String {
    let id = serde_json::Value::from(id);
    format!(r#"{{"coordinatorId":{id},"timestamp":{ms},"iteration":3}}"#)
}

/// What a coordinator has beside its heartbeat: a signal, an ack, a message's mark, its activity.
pub fn rest(id: &str, ms: i64) -> Vec<Pair> {
    let name = serde_json::Value::from(id);
    vec![
        text(
            format!("blocking:signal:{id}"),
            format!(r#"{{"timestamp":{ms},"senderId":"planner","receiverId":{name}}}"#),
        ),
        text(
            format!("blocking:ack:{id}:s1"),
            format!(r#"{{"coordinatorId":{name},"signalId":"s1","timestamp":{ms}}}"#),
        ),
        text(
            format!("blocking:idempotency:planner:{id}:CONTINUE:3:{ms}"),
            "1",
        ),
        text(
            format!("coordinator:activity:{id}"),
            format!(r#"{{"coordinatorId":{name},"lastActivity":{ms}}}"#),
        ),
    ]
}

/// A coordinator of five keys with that value as its heartbeat.
pub fn with_beat(id: &str, value: impl Into<String>, ms: i64) -> Vec<Pair> {
    let mut all = rest(id, ms);
    all.push(text(format!("blocking:heartbeat:{id}"), value));
    all
}

/// A coordinator of five keys.
pub fn family(id: &str, ms: i64) -> Vec<Pair> {
    with_beat(id, beat(id, ms), ms)
}

pub fn write<'p>(conn: &mut Connection, pairs: impl IntoIterator<Item = &'p Pair>) -> Result<()> {
    let mut pipe = redis::pipe();
    for (key, held) in pairs {
        match held {
            Held::Text(value) => pipe.cmd("SET").arg(key).arg(value),
            Held::Hash(ms) => pipe.cmd("HSET").arg(key).arg("timestamp").arg(*ms),
        };
    }
    Ok(pipe.exec(conn)?)
}

/// Which of these keys are gone, by name.
pub fn gone(conn: &mut Connection, pairs: &[Pair]) -> Result<BTreeSet<String>> {
    let names = pairs.iter().map(|(key, _)| key.clone().into_bytes());
    let there: BTreeSet<Vec<u8>> = existing_keys(conn, names)?.into_iter().collect();
    let keys = pairs.iter().map(|(key, _)| key.clone());
    Ok(keys.filter(|key| !there.contains(key.as_bytes())).collect())
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Contender {
    Shell,
    Lua,
    Module,
    /// `blocking-cleanup`, which does what the module does.
    Program,
}

impl Contender {
    /// Those of the table.
    pub const ALL: [Self; 3] = [Self::Shell, Self::Lua, Self::Module];

    pub fn expected(self, row: &Row) -> Outcome {
        match self {
            Self::Shell => row.shell,
            Self::Lua => row.lua,
            Self::Module | Self::Program => row.module,
        }
    }

    /// Runs it once, as an operator would with a threshold of ten minutes.
    pub fn run(self, server: &Server, options: &[&str]) -> Result<Said> {
        match self {
            Self::Shell => scripts::shell(server, &[]),
            Self::Lua => scripts::lua(server, &[",", "600", "0"]),
            Self::Module => module(server, options),
            Self::Program => program(server, options),
        }
    }

    /// How it ended, as far as that was expected: anything else is an error.
    pub fn end(self, said: &Said, expected: End) -> Result<End> {
        let removed = || said.count("keysDeleted");
        // Servers begin the same sentence in different ways.
        let text = said.text.to_lowercase();
        let says = |words: &str| text.contains(&words.to_lowercase());
        let well = match self {
            Self::Shell => said.status == 0,
            // redis-cli ends with 0 for an error, too.
            Self::Lua => said.json.is_some(),
            Self::Module => said.text.contains(r#""status":"complete""#),
            Self::Program => said.status == 0 && said.text.contains(r#""status":"complete""#),
        };
        Ok(match expected {
            End::Fails(words) if !well && says(words) => expected,
            End::Claims(_) if well => End::Claims(removed()?),
            End::Well if well => End::Well,
            _ => bail!(
                "{self:?} ended with {}, not {expected:?}: {}",
                said.status,
                said.text
            ),
        })
    }
}

fn module(server: &Server, options: &[&str]) -> Result<Said> {
    let mut command = redis::cmd("BLOCKING.CLEANUP");
    command
        .arg(&["THRESHOLD", "600", "IDS", "10000", "JSON"])
        .arg(options);
    Ok(match command.query::<String>(&mut server.client()?) {
        Ok(text) => Said {
            status: 0,
            json: serde_json::from_str(&text)?,
            text,
        },
        Err(error) => Said {
            status: 1,
            json: None,
            text: blocking_harness::error_text(&error),
        },
    })
}

/// The options of the command are those of the program, in lower case.
fn program(server: &Server, options: &[&str]) -> Result<Said> {
    let mut command = drop_in::command(server)?;
    command.args(["--threshold", "600", "--ids", "10000", "--json"]);
    command.args(
        options
            .iter()
            .map(|name| format!("--{}", name.to_lowercase())),
    );
    scripts::said(&mut command)
}

/// What came of one run.
struct Played {
    title: &'static str,
    seen: Outcome,
    removed: usize,
    /// How many it says it removed, if what it says is to be trusted.
    counted: Option<i64>,
    /// To be shown if anything is wrong.
    how: String,
}

impl Played {
    fn mistake(&self, expected: Outcome) -> Option<String> {
        let is_right = self.seen == expected;
        let counts = self
            .counted
            .is_none_or(|counted| counted == self.removed as i64);
        let (title, seen, how) = (self.title, self.seen, &self.how);
        (!is_right || !counts).then(|| format!("{title}: {seen:?}, not {expected:?}: {how}"))
    }
}

impl Case {
    /// Writes the keys anew and runs one contender.
    fn play(&self, contender: Contender, server: &Server) -> Result<Played> {
        let mut conn = server.client()?;
        let expected = contender.expected(&self.row);
        redis::cmd("FLUSHALL").exec(&mut conn)?;
        write(&mut conn, self.dead.iter().chain(&self.living))?;
        let said = contender.run(server, self.options)?;
        let end = contender.end(&said, expected.end)?;
        let removed = gone(&mut conn, &self.dead)?;
        let lost = gone(&mut conn, &self.living)?;
        let counted = match contender {
            Contender::Module | Contender::Program => Some(said.count("keysDeleted")?),
            Contender::Shell | Contender::Lua => None,
        };
        let text = said.text;
        Ok(Played {
            title: self.row.title,
            seen: Outcome {
                end,
                left: self.dead.len() - removed.len(),
                lost: lost.len(),
            },
            removed: removed.len() + lost.len(),
            counted,
            how: format!("{contender:?} removed {removed:?}, of the living {lost:?}; said {text}"),
        })
    }
}

/// Holds each case against what is seen on a server. `build` yields the cases as they are written at that time.
pub fn hold(build: fn(Now) -> Vec<Case>, contenders: &[Contender]) -> Result<()> {
    let server = crate::server()?;
    let mut mistakes = Vec::new();
    for (index, case) in build(Now { ms: 0 }).iter().enumerate() {
        for &contender in contenders {
            let played = in_time(build, index, contender, &server)
                .with_context(|| format!("{}: {contender:?}", case.row.title))?;
            mistakes.extend(played.mistake(contender.expected(&case.row)));
        }
    }
    ensure!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    Ok(())
}

/// Plays a case; one that must be judged within a second is played until it was.
fn in_time(
    build: fn(Now) -> Vec<Case>,
    index: usize,
    contender: Contender,
    server: &Server,
) -> Result<Played> {
    const TRIES: usize = 50;
    let mut conn = server.client()?;
    for _ in 0..TRIES {
        let ms = server_now_ms(&mut conn)?;
        let ms = ms - ms % 1_000;
        let case = build(Now { ms })
            .into_iter()
            .nth(index)
            .context("no case")?;
        let played = case.play(contender, server)?;
        if !case.is_exact || server_now_ms(&mut conn)? < ms + 1_000 {
            return Ok(played);
        }
    }
    bail!("{TOO_LATE}")
}

#[test]
fn cells_say_what_was_seen() {
    for (outcome, cell) in [
        (RIGHT, "right"),
        (left(8_500), "leaves 8,500"),
        (left(5).and_lost(2), "leaves 5, **removes 2 of the living**"),
        (left(5).ending(End::Claims(5)), "says 5 removed, leaves 5"),
        (
            left(5).ending(End::Fails("READONLY")),
            "`READONLY`, leaves 5",
        ),
        (RIGHT.ending(End::NotRun("minutes")), "minutes"),
    ] {
        assert_eq!(outcome.cell(), cell);
    }
}
