//! What a keyspace is made of, before it meets a clock: names, values with ages in them, lifetimes, and what is asked.
//! Must know neither the generator nor the rules; it becomes keys on a server, bytes for the model, or text for a
//! human.

use std::fmt;

use time::OffsetDateTime;

pub type Key = Vec<u8>;

/// Everything that one comparison needs.
#[derive(Clone)]
pub struct Keyspace {
    pub entries: Vec<Entry>,
    pub question: Question,
    /// `blocking.max-heartbeat-bytes`.
    pub max_heartbeat_bytes: usize,
    /// The database that the keys are in.
    pub database: i64,
}

/// The options of the command.
#[derive(Clone, Default)]
pub struct Question {
    pub threshold_s: Option<u32>,
    /// Whether orphans go, and the grace if one is given.
    pub orphans: Option<Option<u32>>,
    pub pattern: Option<Key>,
    pub limit: Option<u32>,
    pub ids: Option<u32>,
}

impl Question {
    /// The threshold in force; the module's own default where none is asked for.
    pub fn threshold_s(&self) -> i64 {
        self.threshold_s.unwrap_or(600).into()
    }

    /// The grace in force, where orphans go.
    pub fn grace_s(&self) -> Option<i64> {
        let given = self.orphans?;
        Some(given.map_or(self.threshold_s(), i64::from))
    }

    /// As words of the command.
    pub fn words(&self) -> Vec<Vec<u8>> {
        let number = |value: Option<u32>| value.map(|value| value.to_string().into_bytes());
        let options = [
            ("THRESHOLD", number(self.threshold_s)),
            ("MATCH", self.pattern.clone()),
            ("LIMIT", number(self.limit)),
            ("IDS", number(self.ids)),
        ];
        let given = options.into_iter();
        let mut words: Vec<Vec<u8>> = given
            .filter_map(|(name, value)| Some([name.as_bytes().to_vec(), value?]))
            .flatten()
            .collect();
        if let Some(grace_s) = self.orphans {
            words.push(b"ORPHANS".to_vec());
            words.extend(number(grace_s));
        }
        words
    }
}

#[derive(Clone)]
pub struct Entry {
    pub name: Key,
    pub content: Content,
    pub ttl: Ttl,
}

#[derive(Clone)]
pub enum Content {
    String { value: Value, written: Written },
    Hash(usize),
    List(usize),
    Set(usize),
    Zset(usize),
    Stream(usize),
}

/// How a string comes into being, for servers store it in different ways.
#[derive(Clone, Copy, Debug)]
pub enum Written {
    Set,
    /// SET and APPEND: never stored inside the object, however short.
    Append,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    None,
    /// An hour: it must change nothing.
    Ahead,
    /// The key is still stored, but its time has passed.
    Passed,
}

/// A string's value: parts one behind the other, and spaces up to a length.
#[derive(Clone, Default)]
pub struct Value {
    pub parts: Vec<Part>,
    pub padded_to: usize,
}

#[derive(Clone)]
pub enum Part {
    Bytes(Vec<u8>),
    Time(Time),
}

/// A moment so long ago, written in some way.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    pub age_ms: i64,
    pub form: Form,
    /// Between quotes. A date always is.
    pub quoted: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Form {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
    /// Seconds with three places behind the point.
    FloatSeconds,
    FloatMilliseconds,
    Exponent,
    /// With a plus sign, which JSON has in strings only.
    Plus,
    /// RFC 3339, with this offset to UTC.
    Date {
        offset_minutes: i64,
    },
}

impl Value {
    /// The bytes of the value when the clock shows this.
    pub fn bytes(&self, now_ms: i64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in &self.parts {
            match part {
                Part::Bytes(part) => bytes.extend(part),
                Part::Time(time) => bytes.extend(time.text(now_ms).into_bytes()),
            }
        }
        bytes.resize(self.padded_to.max(bytes.len()), b' ');
        bytes
    }
}

impl Time {
    fn text(&self, now_ms: i64) -> String {
        let ms = now_ms - self.age_ms;
        let (s, rest_ms) = (ms.div_euclid(1_000), ms.rem_euclid(1_000));
        let number = match self.form {
            Form::Seconds => s.to_string(),
            Form::Milliseconds => ms.to_string(),
            Form::Microseconds => format!("{ms}999"),
            Form::Nanoseconds => format!("{ms}999999"),
            Form::FloatSeconds => format!("{s}.{rest_ms:03}"),
            Form::FloatMilliseconds => format!("{ms}.75"),
            Form::Exponent => {
                // One digit more, for the last one is taken for inexact.
                let digits = format!("{ms}0");
                format!("{}.{}E{}", &digits[..1], &digits[1..], digits.len() - 2)
            }
            Form::Plus => return format!("\"+{ms}\""),
            Form::Date { offset_minutes } => {
                return format!(
                    "\"{}\"",
                    date(s + offset_minutes * 60, rest_ms, offset_minutes)
                );
            }
        };
        if self.quoted {
            format!("\"{number}\"")
        } else {
            number
        }
    }
}

/// The local time that shows on a clock of this offset; `local_s` has the offset in it already.
fn date(local_s: i64, ms: i64, offset_minutes: i64) -> String {
    let Ok(local) = OffsetDateTime::from_unix_timestamp(local_s) else {
        return String::new();
    };
    let offset = match offset_minutes {
        0 => "Z".to_owned(),
        minutes => {
            let sign = if minutes < 0 { '-' } else { '+' };
            format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
        }
    };
    let (date, time) = (local.date(), local.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{ms:03}{offset}",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
    )
}

impl fmt::Display for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.question.words();
        let words: Vec<String> = words.iter().map(|word| shown(word)).collect();
        writeln!(
            f,
            "BLOCKING.CLEANUP {} in database {}, blocking.max-heartbeat-bytes {}",
            words.join(" "),
            self.database,
            self.max_heartbeat_bytes
        )?;
        for entry in &self.entries {
            writeln!(f, "  {entry}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  =  ", shown(&self.name))?;
        match &self.content {
            Content::String { value, written } => {
                for part in &value.parts {
                    match part {
                        Part::Bytes(bytes) => write!(f, "{}", shown(bytes))?,
                        Part::Time(Time {
                            age_ms,
                            form,
                            quoted,
                        }) => {
                            let quoted = if *quoted { ", quoted" } else { "" };
                            write!(f, "<{age_ms} ms ago as {form:?}{quoted}>")?;
                        }
                    }
                }
                if value.padded_to > 0 {
                    write!(f, "  padded to {} bytes", value.padded_to)?;
                }
                if matches!(written, Written::Append) {
                    write!(f, "  by APPEND")?;
                }
            }
            Content::Hash(size) => write!(f, "a hash of {size}")?,
            Content::List(size) => write!(f, "a list of {size}")?,
            Content::Set(size) => write!(f, "a set of {size}")?,
            Content::Zset(size) => write!(f, "a sorted set of {size}")?,
            Content::Stream(size) => write!(f, "a stream of {size}")?,
        }
        match self.ttl {
            Ttl::None => Ok(()),
            ttl => write!(f, "  TTL {ttl:?}"),
        }
    }
}

/// Bytes as a human can read them, and long ones cut.
pub fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 300;
    let text = bytes[..bytes.len().min(MOST)].escape_ascii().to_string();
    match bytes.len() {
        length if length > MOST => format!("{text}... ({length} bytes)"),
        _ => text,
    }
}
