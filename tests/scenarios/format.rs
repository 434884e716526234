//! The scenario files: what they may say, and how it becomes keys, values and expectations.
//!
//! Shared by the tests of the plan and those on a server, so it must know neither. Times are written as ages, so that
//! a fixed clock and a server's own clock give the same result.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Deserialize;

pub type Key = Vec<u8>;

/// A keyspace, a command, and what must come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    /// What would go wrong in the world if this failed.
    pub why: String,
    #[serde(default)]
    options: Vec<String>,
    pub keys: Vec<KeySpec>,
    pub expect: Expect,
}

/// One key. Its value is `value` if given, an object with one time field if `age_s` is given, and `1` otherwise.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySpec {
    /// `\xNN` stands for the byte NN, `$ms(700)` for the time 700 seconds ago as in values.
    key: String,
    #[serde(default)]
    age_s: Option<f64>,
    #[serde(default = "timestamp")]
    field: String,
    /// `$ms(700)` is the time 700 seconds ago in milliseconds; see `expanded` for the others.
    #[serde(default)]
    value: Option<String>,
    /// Spaces are added up to this length.
    #[serde(default)]
    pad_to_bytes: usize,
    #[serde(default, rename = "type")]
    pub kind: Kind,
    #[serde(default)]
    pub ttl: Ttl,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    #[default]
    String,
    Hash,
    List,
    Set,
    Zset,
    Stream,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ttl {
    #[default]
    None,
    /// An hour: it must change nothing.
    Ahead,
    /// The key is still stored, but its time has passed.
    Passed,
}

/// Exactly one of `gone` and `kept` is given, and it is complete. A count that is not given is 0; the number of keys
/// removed is the number of keys gone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    #[serde(default)]
    gone: Option<Vec<String>>,
    #[serde(default)]
    kept: Option<Vec<String>>,
    #[serde(default = "complete")]
    pub status: String,
    #[serde(default)]
    pub checked: u64,
    #[serde(default)]
    pub stale: u64,
    #[serde(default)]
    pub unreadable: u64,
    #[serde(default)]
    pub removed: u64,
    #[serde(default)]
    pub vetoed: u64,
    #[serde(default)]
    pub orphaned: u64,
    /// With ORPHANS: of these, kept for being too young, and removed.
    #[serde(default)]
    pub orphans_too_young: u64,
    #[serde(default)]
    pub orphans_removed: u64,
    /// Keys removed: heartbeat, signal, ack, idempotency, activity, state.
    #[serde(default)]
    pub by_family: Option<[u64; 6]>,
    #[serde(default)]
    stale_ids: Option<Vec<String>>,
}

fn timestamp() -> String {
    "timestamp".to_owned()
}

fn complete() -> String {
    "complete".to_owned()
}

impl KeySpec {
    /// The name, in which times are written as in values.
    pub fn name(&self, now_ms: i64) -> Key {
        key_bytes(&self.key, now_ms)
    }

    pub fn value(&self, now_ms: i64) -> Vec<u8> {
        let text = match (&self.value, self.age_s) {
            (Some(text), None) => expanded(text, now_ms),
            (None, Some(age_s)) => {
                format!(r#"{{"{}":{}}}"#, self.field, now_ms - (age_s * 1e3) as i64)
            }
            (None, None) => "1".to_owned(),
            (Some(_), Some(_)) => panic!("{}: both value and age_s are given", self.key),
        };
        let mut value = bytes(&text);
        if value.len() < self.pad_to_bytes {
            value.resize(self.pad_to_bytes, b' ');
        }
        value
    }
}

impl Case {
    /// Whether the case is about ORPHANS.
    pub fn has_orphans(&self) -> bool {
        self.options
            .iter()
            .any(|option| option.eq_ignore_ascii_case("ORPHANS"))
    }

    /// The options as they go over the wire; bytes are written as in keys.
    pub fn arguments(&self) -> Vec<Vec<u8>> {
        self.options.iter().map(|option| bytes(option)).collect()
    }

    /// Keys that clients see: those whose TTL has passed are not among them.
    pub fn visible(&self, now_ms: i64) -> BTreeSet<Key> {
        let there = self.keys.iter().filter(|key| key.ttl != Ttl::Passed);
        there.map(|key| key.name(now_ms)).collect()
    }

    /// The keys that must go.
    pub fn gone(&self, now_ms: i64) -> BTreeSet<Key> {
        let visible = self.visible(now_ms);
        let listed = |keys: &[String]| {
            let name = |key: &String| key_bytes(key, now_ms);
            let keys: BTreeSet<Key> = keys.iter().map(name).collect();
            let unknown: Vec<&Key> = keys.difference(&visible).collect();
            assert!(
                unknown.is_empty(),
                "{}: no such keys: {unknown:?}",
                self.name
            );
            keys
        };
        match (&self.expect.gone, &self.expect.kept) {
            (Some(gone), None) => listed(gone),
            (None, Some(kept)) => &visible - &listed(kept),
            _ => panic!("{}: give exactly one of gone and kept", self.name),
        }
    }

    /// The ids that must be listed, where the case says so.
    pub fn stale_ids(&self) -> Option<Vec<Key>> {
        let ids = self.expect.stale_ids.as_ref()?;
        Some(ids.iter().map(|id| bytes(id)).collect())
    }
}

/// Every case of every file, with the file's name.
pub fn all() -> Vec<(String, Vec<Case>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = fs::read_dir(&folder).expect("the folder of the scenarios");
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "json"));
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let cases =
            serde_json::from_str(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        (path.file_name().unwrap().to_string_lossy().into(), cases)
    };
    files.iter().map(read).collect()
}

/// `\xNN` becomes the byte NN; all else is as it stands.
fn bytes(text: &str) -> Vec<u8> {
    let mut pieces = text.split("\\x");
    let mut out = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (hex, rest) = piece.split_at(2);
        out.push(u8::from_str_radix(hex, 16).expect("two hex digits behind \\x"));
        out.extend_from_slice(rest.as_bytes());
    }
    out
}

/// A key's name. A dollar sign without a time behind it stands for itself.
fn key_bytes(text: &str, now_ms: i64) -> Key {
    match text.contains("s(") {
        true => bytes(&expanded(text, now_ms)),
        false => bytes(text),
    }
}

/// Replaces `$form(argument)`. The argument is an age in seconds, negative for the future, except for `$deep`.
fn expanded(text: &str, now_ms: i64) -> String {
    let mut pieces = text.split('$');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (call, rest) = piece.split_once(')').expect("a closing bracket behind $");
        let (form, argument) = call.split_once('(').expect("an opening bracket behind $");
        let argument: f64 = argument.parse().expect("a number in brackets");
        let ms = now_ms - (argument * 1e3) as i64;
        let (s, fraction) = (ms.div_euclid(1000), ms.rem_euclid(1000));
        out += &match form {
            "s" => s.to_string(),
            "s_float" => format!("{s}.{fraction:03}"),
            "ms" => ms.to_string(),
            "ms_float" => format!("{ms}.0"),
            "us" => format!("{ms}000"),
            "ns" => format!("{ms}000000"),
            // Twelve digits behind the point hold a millisecond exactly.
            "exponent" => format!("{}.{:012}e12", ms / 10i64.pow(12), ms % 10i64.pow(12)),
            "utc" => format!("{}.{fraction:03}Z", date_time(s)),
            "utc_seconds" => format!("{}Z", date_time(s)),
            "east" => format!("{}.{fraction:03}+05:30", date_time(s + 19_800)),
            "west" => format!("{}.{fraction:03}-08:00", date_time(s - 28_800)),
            "local" => date_time(s),
            "deep" => "[".repeat(argument as usize) + &"]".repeat(argument as usize),
            _ => panic!("no such form: {form}"),
        };
        out += rest;
    }
    out
}

/// `2023-11-14T22:13:20`, by the well-known conversion of days to a date.
fn date_time(seconds: i64) -> String {
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}
