//! The time fields of a JSON value. The rest of it is read, too, for what is no JSON is no heartbeat, and forgotten.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::Account;
use super::forms::{Moment, Rules};
use super::trouble::Reason;
use crate::heartbeat::time_fields::Names;

/// Add what a JSON value says that is no number itself; false if it is none, and then the account is worth nothing.
pub fn read<'n>(text: &str, names: &'n Names, rules: Rules, account: &mut Account<'n>) -> bool {
    let top = Object {
        names,
        alive: u32::MAX,
        behind: 0,
    };
    let whole = Value {
        account,
        rules,
        place: Place::Whole,
        inside: Some(top),
    };
    let mut json = serde_json::Deserializer::from_str(text);
    // Trailing garbage makes it no JSON.
    whole.deserialize(&mut json).is_ok() && json.end().is_ok()
}

/// The same text with some numbers in quotes, so that they are read as they were written: those that are no integers
/// of 64 bits, and NaN, Infinity and -Infinity, which Python writes and JSON does not know. `None` if there are none,
/// or if something that begins like a number is none.
pub fn with_quoted_numbers(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    let mut is_value = false;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest)?,
            '-' | '0'..='9' | 'N' | 'I' if is_value => {
                let ends = |letter: char| letter.is_ascii_whitespace() || ",}]".contains(letter);
                let number = rest.get(..rest.find(ends).unwrap_or(rest.len()))?;
                let is_inexact = match number {
                    "NaN" | "Infinity" | "-Infinity" => true,
                    _ => serde_json::from_str::<Number>(number).ok()?.is_f64(),
                };
                if is_inexact {
                    out.push_str(&format!("\"{number}\""));
                    rest = rest.get(number.len()..)?;
                    is_value = false;
                    continue;
                }
                number.len()
            }
            letter => letter.len_utf8(),
        };
        if !first.is_ascii_whitespace() {
            is_value = matches!(first, ':' | ',' | '[');
        }
        out.push_str(rest.get(..length)?);
        rest = rest.get(length..)?;
    }
    (out.len() > text.len()).then_some(out)
}

/// The length of the string that a text begins with, its quotes included.
fn string_length(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some(at.saturating_add(1)),
            _ => {}
        }
    }
    None
}

/// Where a value stands.
#[derive(Clone, Copy)]
enum Place<'n> {
    /// It is the whole heartbeat.
    Whole,
    /// In a time field.
    Field(&'n str),
    /// On the way to one: only what is inside matters.
    Way,
}

/// A value that may be a time, or an object that may hold some. Any JSON is taken, so that one field that is no
/// time does not hide another one that is.
struct Value<'a, 'n> {
    /// Adds to this.
    account: &'a mut Account<'n>,
    rules: Rules,
    place: Place<'n>,
    /// What may be meant inside of it.
    inside: Option<Object<'n>>,
}

impl Value<'_, '_> {
    fn says_integer(self, number: i128) {
        match self.rules.integer(number) {
            moment @ Moment::At(_) => self.says(moment, ""),
            moment => self.says(moment, &number.to_string()),
        }
    }

    fn says(self, moment: Moment, bytes: &str) {
        match self.place {
            Place::Whole => self.account.add(None, moment, bytes.as_bytes()),
            Place::Field(field) => self.account.add(Some(field), moment, bytes.as_bytes()),
            Place::Way => {}
        }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any JSON")
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.says_integer(number.into());
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.says_integer(number.into());
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.account.lacks_digits |= !matches!(self.place, Place::Way);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        let moment = self.rules.text(text);
        self.says(moment, text);
        Ok(())
    }

    fn visit_bool<E>(self, truth: bool) -> Result<(), E> {
        let word = if truth { "true" } else { "false" };
        self.says(Moment::Not(Reason::NoScalar), word);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.says(Moment::Absent(Reason::Null), "");
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<(), A::Error> {
        let Skip = Skip.visit_seq(items)?;
        self.says(Moment::Not(Reason::NoScalar), "");
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let Some(object) = self.inside else {
            let Skip = Skip.visit_map(fields)?;
            self.says(Moment::Not(Reason::Nested), "");
            return Ok(());
        };
        while let Some(known) = fields.next_key_seed(Key { object })? {
            let Known {
                field,
                deeper,
                behind,
            } = known;
            if field.is_none() && deeper == 0 {
                fields.next_value::<Skip>()?;
                continue;
            }
            fields.next_value_seed(Value {
                account: self.account,
                rules: self.rules,
                place: field.map_or(Place::Way, Place::Field),
                inside: (deeper != 0).then_some(Object {
                    names: object.names,
                    alive: deeper,
                    behind,
                }),
            })?;
        }
        Ok(())
    }
}

/// An object: which of the names can still be meant in it. All can at the top, and those that begin with the way to
/// it further down.
#[derive(Clone, Copy)]
struct Object<'n> {
    names: &'n Names,
    /// A bit for each name.
    alive: u32,
    /// How many bytes of those names are the way to here.
    behind: u32,
}

/// What a field's name means. Small, for there is one for every field of every heartbeat.
struct Known<'n> {
    /// The time field that it is, or that its way ends.
    field: Option<&'n str>,
    /// The names that may be meant inside its value, and how many bytes of them are the way there.
    deeper: u32,
    behind: u32,
}

/// A field's name. It is compared after its escapes are decoded.
#[derive(Clone, Copy)]
struct Key<'n> {
    object: Object<'n>,
}

impl<'de, 'n> DeserializeSeed<'de> for Key<'n> {
    type Value = Known<'n>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'n> Visitor<'_> for Key<'n> {
    type Value = Known<'n>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let names: &'n Names = self.object.names;
        if !names.nested {
            let known = names.all.iter().find(|known| *known == name);
            return Ok(Known {
                field: known.map(String::as_str),
                deeper: 0,
                behind: 0,
            });
        }
        let Object { alive, behind, .. } = self.object;
        let (mut field, mut deeper) = (None, 0u32);
        let bits = (0..u32::BITS).map(|place| 1u32 << place);
        for (known, bit) in names
            .all
            .iter()
            .zip(bits)
            .filter(|(_, bit)| alive & bit != 0)
        {
            match known
                .get(behind as usize..)
                .and_then(|rest| rest.strip_prefix(name))
            {
                Some("") => field = field.or(Some(known.as_str())),
                Some(rest) if rest.starts_with('.') => deeper |= bit,
                _ => {}
            }
        }
        // A name is no longer than a heartbeat may be.
        let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
        Ok(Known {
            field,
            deeper,
            behind: behind.saturating_add(length).saturating_add(1),
        })
    }
}

/// Any JSON, read and forgotten. serde's own `IgnoredAny` is not used: serde_json skips it without its depth limit
/// and without looking into strings.
struct Skip;

impl<'de> Deserialize<'de> for Skip {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Skip)
    }
}

impl<'de> Visitor<'de> for Skip {
    type Value = Skip;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Skip, E> {
        Ok(Skip)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Skip, E> {
        Ok(Skip)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Skip, E> {
        Ok(Skip)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Skip, E> {
        Ok(Skip)
    }

    fn visit_str<E>(self, _: &str) -> Result<Skip, E> {
        Ok(Skip)
    }

    fn visit_unit<E>(self) -> Result<Skip, E> {
        Ok(Skip)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Skip, A::Error> {
        while let Some(Skip) = items.next_element()? {}
        Ok(Skip)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Skip, A::Error> {
        while let Some((Skip, Skip)) = fields.next_entry()? {}
        Ok(Skip)
    }
}
