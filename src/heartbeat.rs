//! The bytes of a heartbeat become the time of the last beat; a beat and a clock become a verdict.
//!
//! Whatever cannot be read with certainty is said to be doubtful, and doubt never kills: only a
//! coordinator whose every known time field was read, and is old, is stale. This file must not know
//! where the bytes came from and must not look at a clock of its own.

#[path = "heartbeat/forms.rs"]
pub mod forms;
#[path = "heartbeat/json.rs"]
mod json;
#[path = "heartbeat/trouble.rs"]
pub mod trouble;

use crate::time_fields::Names;
use forms::{Form, Moment, Rules, Time};
use trouble::{Reason, Trouble};

const MS_PER_S: i64 = 1_000;

/// What one heartbeat value said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The newest time among the known fields, in milliseconds since 1970.
    pub newest_ms: Option<i64>,
    /// Something that should have been a time was none, or there was nothing to read.
    pub doubtful: bool,
}

/// A heartbeat that gives no time at all: wrong type, too large, no date.
pub const UNREADABLE: Reading = Reading {
    newest_ms: None,
    doubtful: true,
};

/// A heartbeat that gives no time and whose TTL says the rest: alive while it is there.
pub const PRESENCE: Reading = Reading {
    newest_ms: Some(i64::MAX),
    doubtful: false,
};

impl Reading {
    /// What two heartbeats of one coordinator say together: the newest wins, doubt adds up.
    pub fn merged(self, other: Reading) -> Reading {
        Reading {
            newest_ms: self.newest_ms.max(other.newest_ms),
            doubtful: self.doubtful || other.doubtful,
        }
    }
}

/// What a reading means at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Live,
    Stale { age_s: i64 },
    Unreadable,
}

/// Judges a reading. A beat in the future counts as live, and so does one whose age, floored to
/// whole seconds, equals the threshold.
pub fn verdict(reading: Reading, now_ms: i64, threshold_s: u32) -> Verdict {
    let Some(newest_ms) = reading.newest_ms else {
        return Verdict::Unreadable;
    };
    let age_s = now_ms.saturating_sub(newest_ms).div_euclid(MS_PER_S);
    if age_s <= i64::from(threshold_s) {
        Verdict::Live
    } else if reading.doubtful {
        Verdict::Unreadable
    } else {
        Verdict::Stale { age_s }
    }
}

/// What a value says, in full.
#[derive(Clone, Debug)]
pub struct Account<'n> {
    /// The newest time, and the field it stands in; no field for the whole value.
    newest: Option<(Option<&'n str>, Time)>,
    /// A field that should have been a time was none.
    doubtful: bool,
    /// The first of what is wrong; a field that is as good as absent only where nothing else is.
    trouble: Option<Box<Trouble>>,
}

impl<'n> Account<'n> {
    /// What one field says, or the whole value; the bytes are those to blame if it is no time.
    fn of(field: Option<&'n str>, moment: Moment, bytes: &[u8]) -> Self {
        let trouble = |reason| Some(Box::new(Trouble::new(reason, field, bytes)));
        match moment {
            Moment::At(time) => Self {
                newest: Some((field, time)),
                doubtful: false,
                trouble: None,
            },
            Moment::Absent(reason) => Self {
                newest: None,
                doubtful: false,
                trouble: trouble(reason),
            },
            Moment::Not(reason) => Self {
                newest: None,
                doubtful: true,
                trouble: trouble(reason),
            },
        }
    }

    /// Nothing can be read, for this reason.
    fn without(reason: Reason, bytes: &[u8]) -> Self {
        Self::of(None, Moment::Not(reason), bytes)
    }

    /// An object, or a hash, in which no field is known.
    fn without_fields() -> Self {
        Self::without(Reason::NoField, b"")
    }

    fn merged(self, other: Self) -> Self {
        let ms = |account: &Self| account.newest.map(|(_, time)| time.ms);
        let newest = if ms(&other) > ms(&self) {
            other.newest
        } else {
            self.newest
        };
        let trouble = match self.trouble {
            Some(trouble) if self.doubtful || !other.doubtful => Some(trouble),
            mine => other.trouble.or(mine),
        };
        Self {
            newest,
            doubtful: self.doubtful || other.doubtful,
            trouble,
        }
    }

    /// What it means for life.
    pub fn reading(&self) -> Reading {
        self.newest.map_or(UNREADABLE, |(_, time)| Reading {
            newest_ms: Some(time.ms),
            doubtful: self.doubtful,
        })
    }

    /// Whether the key, if it has a TTL, proves life by being there.
    pub fn may_be_presence(&self) -> bool {
        let whole = self
            .trouble
            .as_ref()
            .filter(|trouble| trouble.field.is_none());
        self.newest.is_none() && whole.is_some_and(|trouble| trouble.reason.may_be_presence())
    }

    /// Which field gives the newest time, `None` for the whole value, and in which form.
    pub fn told(&self) -> Option<(Option<&'n str>, Form)> {
        self.newest.map(|(field, time)| (field, time.form))
    }

    /// What is wrong: why there is no time, or none that can be relied on.
    pub fn trouble(&self) -> Option<&Trouble> {
        let matters = self.doubtful || self.newest.is_none();
        self.trouble.as_deref().filter(|_| matters)
    }
}

/// What is stored under a name.
#[derive(Clone, Copy, Debug)]
pub enum Stored<'v> {
    Text(&'v [u8]),
    /// A hash: the time fields that it has, by their place among the names; none for a value that is
    /// too long.
    Hash(&'v [(usize, Option<Vec<u8>>)]),
    /// It was not read, for this reason, to which these bytes belong.
    Unread(Reason, &'v [u8]),
}

/// What a heartbeat says of which these fields hold a time: all are looked at, the newest wins.
pub fn account<'n>(stored: Stored, names: &'n Names, rules: Rules) -> Account<'n> {
    match stored {
        Stored::Text(value) => of_text(value, names, rules),
        Stored::Unread(reason, bytes) => Account::without(reason, bytes),
        Stored::Hash(fields) => fields
            .iter()
            .filter_map(|(place, value)| Some((names.all.get(*place)?, value.as_deref())))
            .map(|(field, value)| of_hash_field(field, value, rules))
            .reduce(Account::merged)
            .unwrap_or_else(Account::without_fields),
    }
}

/// What the field of a hash says: a number or a date, perhaps in quotes.
fn of_hash_field<'n>(field: &'n str, value: Option<&[u8]>, rules: Rules) -> Account<'n> {
    let said = |moment, bytes| Account::of(Some(field), moment, bytes);
    let Some(value) = value else {
        return said(Moment::Not(Reason::TooLong), b"");
    };
    let Ok(text) = std::str::from_utf8(value) else {
        return said(Moment::Not(Reason::Binary), value);
    };
    let quoted = text.starts_with('"').then(|| serde_json::from_str(text));
    match quoted {
        Some(Ok::<String, _>(inner)) => said(rules.text(&inner), value),
        _ => said(rules.text(text), value),
    }
}

fn of_text<'n>(value: &[u8], names: &'n Names, rules: Rules) -> Account<'n> {
    // JSON is UTF-8, and so is every date. Looked at once and as a whole, it is not looked at again
    // string by string.
    let Ok(text) = std::str::from_utf8(value) else {
        let is_meant_as_object = value.trim_ascii_start().starts_with(b"{");
        let reason = match is_meant_as_object {
            true => Reason::BrokenJson,
            false => Reason::Binary,
        };
        return Account::without(reason, value);
    };
    json::read(text, names, rules).unwrap_or_else(|| bare(text.trim_ascii(), names, rules))
}

/// What a value says that is no JSON.
fn bare<'n>(text: &str, names: &'n Names, rules: Rules) -> Account<'n> {
    if !text.starts_with('{') {
        return Account::of(None, rules.text(text), text.as_bytes());
    }
    let quoted = json::with_quoted_numbers(text);
    let mended = quoted.and_then(|text| json::read(&text, names, rules));
    mended.unwrap_or_else(|| Account::without(Reason::BrokenJson, text.as_bytes()))
}

#[cfg(test)]
#[path = "heartbeat_tests.rs"]
mod tests;
