//! The bytes of a heartbeat become the time of the last beat; a beat and a clock become a verdict.
//!
//! Whatever cannot be read with certainty is said to be doubtful, and doubt never kills: only a coordinator whose
//! every known time field was read, and is old, is stale. This file must not know where the bytes came from and must
//! not look at a clock of its own.

pub mod details;
pub mod fingerprint;
pub mod forms;
mod json;
pub mod reader;
pub mod state;
pub mod time_fields;
pub mod trouble;

use crate::heartbeat::time_fields::Names;
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

/// Judges a reading. A beat in the future counts as live, and so does one whose age, floored to whole seconds, equals
/// the threshold.
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

/// What a value says, in full. It begins empty, and each field adds what it says.
#[derive(Clone, Debug, Default)]
pub struct Account<'n> {
    /// The newest time, and the field it stands in; no field for the whole value.
    newest: Option<(Option<&'n str>, Time)>,
    /// A field that should have been a time was none.
    doubtful: bool,
    /// The first of what is wrong; a field that is as good as absent only where nothing else is.
    trouble: Option<Box<Trouble>>,
    /// A field holds a number that is no integer. Its digits tell how exact it is, and are not known yet.
    lacks_digits: bool,
}

impl<'n> Account<'n> {
    /// Add what one field says, or the whole value; the bytes are those to blame if it is no time.
    fn add(&mut self, field: Option<&'n str>, moment: Moment, bytes: &[u8]) {
        let trouble = |reason| Box::new(Trouble::new(reason, field, bytes));
        match moment {
            Moment::At(time) => {
                if self.newest.is_none_or(|(_, newest)| time.ms > newest.ms) {
                    self.newest = Some((field, time));
                }
            }
            Moment::Absent(reason) => {
                self.trouble.get_or_insert_with(|| trouble(reason));
            }
            Moment::Not(reason) => {
                if !std::mem::replace(&mut self.doubtful, true) {
                    self.trouble = Some(trouble(reason));
                }
            }
        }
    }

    /// Nothing can be read, for this reason.
    fn refuse(&mut self, reason: Reason, bytes: &[u8]) {
        self.add(None, Moment::Not(reason), bytes);
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
    /// A hash: the time fields that it has, by their place among the names; none for a value that is too long.
    Hash(&'v [(usize, Option<Vec<u8>>)]),
    /// It was not read, for this reason, to which these bytes belong.
    Unread(Reason, &'v [u8]),
}

/// What a heartbeat says of which these fields hold a time: all are looked at, the newest wins.
pub fn account<'n>(stored: Stored, names: &'n Names, rules: Rules) -> Account<'n> {
    let mut account = Account::default();
    match stored {
        Stored::Text(value) => add_text(&mut account, value, names, rules),
        Stored::Unread(reason, bytes) => account.refuse(reason, bytes),
        Stored::Hash(fields) => {
            for (place, value) in fields {
                if let Some(field) = names.all.get(*place) {
                    add_hash_field(&mut account, field, value.as_deref(), rules);
                }
            }
        }
    }
    if account.newest.is_none() && account.trouble.is_none() {
        account.refuse(Reason::NoField, b"");
    }
    account
}

/// What the field of a hash says: a number or a date, perhaps in quotes.
fn add_hash_field<'n>(
    account: &mut Account<'n>,
    field: &'n str,
    value: Option<&[u8]>,
    rules: Rules,
) {
    let mut said = |moment, bytes| account.add(Some(field), moment, bytes);
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

fn add_text<'n>(account: &mut Account<'n>, value: &[u8], names: &'n Names, rules: Rules) {
    // JSON is UTF-8, and so is every date. Looked at once and as a whole, it is not looked at again string by string.
    let Ok(text) = std::str::from_utf8(value) else {
        let is_meant_as_object = value.trim_ascii_start().starts_with(b"{");
        let reason = match is_meant_as_object {
            true => Reason::BrokenJson,
            false => Reason::Binary,
        };
        return account.refuse(reason, value);
    };
    let bare = text.trim_ascii();
    let is_number = bare.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    // JSON knows less white space.
    if !is_number && json::read(text, names, rules, account) && !account.lacks_digits {
        return;
    }
    *account = Account::default();
    if !bare.starts_with('{') {
        return account.add(None, rules.text(bare), bare.as_bytes());
    }
    let quoted = json::with_quoted_numbers(bare);
    if !quoted.is_some_and(|text| json::read(&text, names, rules, account)) {
        *account = Account::default();
        account.refuse(Reason::BrokenJson, bare.as_bytes());
    }
}

#[cfg(test)]
mod tests;
