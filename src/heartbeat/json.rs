//! The time fields of a JSON value. The rest of it is read, too, for what is no JSON is no heartbeat,
//! and forgotten.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Account;
use super::forms::{Moment, Rules};
use super::trouble::Reason;
use crate::time_fields::Names;

/// What a JSON value says; `None` if it is none.
pub fn read<'n>(text: &str, names: &'n Names, rules: Rules) -> Option<Account<'n>> {
    let mut json = serde_json::Deserializer::from_str(text);
    let account = Whole { names, rules }.deserialize(&mut json).ok()?;
    // Trailing garbage makes it no JSON.
    json.end().ok()?;
    Some(account)
}

/// The same text with NaN, Infinity and -Infinity in quotes where a value stands; `None` if there are
/// none. Python writes them, and JSON does not know them.
pub fn with_quoted_numbers(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    let mut is_value = false;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest)?,
            letter if is_value && !letter.is_ascii_whitespace() => {
                let words = ["NaN", "Infinity", "-Infinity"];
                match words.into_iter().find(|word| rest.starts_with(word)) {
                    Some(word) => {
                        let after = rest.get(word.len()..)?.trim_ascii_start();
                        if !after.starts_with([',', '}', ']']) {
                            return None;
                        }
                        out.push_str(&format!("\"{word}\""));
                        rest = rest.get(word.len()..)?;
                        is_value = false;
                        continue;
                    }
                    None => letter.len_utf8(),
                }
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

/// A whole value: an object that may hold time fields, or a time.
#[derive(Clone, Copy)]
struct Whole<'n> {
    names: &'n Names,
    rules: Rules,
}

impl<'n> Whole<'n> {
    fn said(self, moment: Moment, bytes: &str) -> Account<'n> {
        Account::of(None, moment, bytes.as_bytes())
    }

    fn top(self) -> Object<'n> {
        Object {
            names: self.names,
            rules: self.rules,
            alive: u32::MAX,
            behind: 0,
        }
    }
}

impl<'de, 'n> DeserializeSeed<'de> for Whole<'n> {
    type Value = Account<'n>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, 'n> Visitor<'de> for Whole<'n> {
    type Value = Account<'n>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any JSON")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(of_integer(None, number.into(), self.rules))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(of_integer(None, number.into(), self.rules))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(of_float(None, number, self.rules))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.said(self.rules.text(text), text))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Self::Value, E> {
        Ok(self.said(Moment::Not(Reason::NoScalar), truth_word(truth)))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(self.said(Moment::Absent(Reason::Null), ""))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        let Skip = Skip.visit_seq(items)?;
        Ok(self.said(Moment::Not(Reason::NoScalar), ""))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
        let found = self.top().visit_map(fields)?;
        Ok(found.unwrap_or_else(Account::without_fields))
    }
}

/// An object, and which of the names can still be meant in it: all at the top, those that begin with
/// the way to it further down.
#[derive(Clone, Copy)]
struct Object<'n> {
    names: &'n Names,
    rules: Rules,
    /// A bit for each name.
    alive: u32,
    /// How many bytes of those names are the way to here.
    behind: usize,
}

impl<'de, 'n> Visitor<'de> for Object<'n> {
    type Value = Option<Account<'n>>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut found: Option<Account> = None;
        while let Some(known) = fields.next_key_seed(Key { object: self })? {
            let said = match known {
                Known {
                    field: None,
                    inside: None,
                } => {
                    fields.next_value::<Skip>()?;
                    continue;
                }
                Known { field, inside } => fields.next_value_seed(Field {
                    field,
                    inside,
                    rules: self.rules,
                })?,
            };
            found = match (found, said) {
                (Some(so_far), Some(said)) => Some(so_far.merged(said)),
                (so_far, said) => so_far.or(said),
            };
        }
        Ok(found)
    }
}

/// What a field's name means.
struct Known<'n> {
    /// The name that it is, or that its way ends.
    field: Option<&'n str>,
    /// What may be meant inside its value.
    inside: Option<Object<'n>>,
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
                inside: None,
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
            match known.get(behind..).and_then(|rest| rest.strip_prefix(name)) {
                Some("") => field = field.or(Some(known.as_str())),
                Some(rest) if rest.starts_with('.') => deeper |= bit,
                _ => {}
            }
        }
        Ok(Known {
            field,
            inside: (deeper != 0).then_some(Object {
                alive: deeper,
                behind: behind.saturating_add(name.len()).saturating_add(1),
                ..self.object
            }),
        })
    }
}

/// The value of a known field: a time, or none, or an object on the way to one. Any JSON is taken, so
/// that one field that is no time does not hide another one that is.
struct Field<'n> {
    /// `None` if only something inside is known.
    field: Option<&'n str>,
    inside: Option<Object<'n>>,
    rules: Rules,
}

impl<'n> Field<'n> {
    fn said(&self, moment: Moment, bytes: &str) -> Option<Account<'n>> {
        let field = self.field?;
        Some(Account::of(Some(field), moment, bytes.as_bytes()))
    }
}

impl<'de, 'n> DeserializeSeed<'de> for Field<'n> {
    type Value = Option<Account<'n>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, 'n> Visitor<'de> for Field<'n> {
    type Value = Option<Account<'n>>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any JSON")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(self
            .field
            .map(|field| of_integer(Some(field), number.into(), self.rules)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(self
            .field
            .map(|field| of_integer(Some(field), number.into(), self.rules)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(self
            .field
            .map(|field| of_float(Some(field), number, self.rules)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.said(self.rules.text(text), text))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Self::Value, E> {
        Ok(self.said(Moment::Not(Reason::NoScalar), truth_word(truth)))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(self.said(Moment::Absent(Reason::Null), ""))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        let Skip = Skip.visit_seq(items)?;
        Ok(self.said(Moment::Not(Reason::NoScalar), ""))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
        if let Some(inside) = self.inside {
            return inside.visit_map(fields);
        }
        let Skip = Skip.visit_map(fields)?;
        Ok(self.said(Moment::Not(Reason::Nested), ""))
    }
}

fn of_integer(field: Option<&str>, number: i128, rules: Rules) -> Account<'_> {
    match rules.integer(number) {
        moment @ Moment::At(_) => Account::of(field, moment, b""),
        moment => Account::of(field, moment, number.to_string().as_bytes()),
    }
}

fn of_float(field: Option<&str>, number: f64, rules: Rules) -> Account<'_> {
    match rules.float(number) {
        moment @ Moment::At(_) => Account::of(field, moment, b""),
        moment => Account::of(field, moment, number.to_string().as_bytes()),
    }
}

fn truth_word(truth: bool) -> &'static str {
    if truth { "true" } else { "false" }
}

/// Any JSON, read and forgotten. serde's own `IgnoredAny` is not used: serde_json skips it without
/// its depth limit and without looking into strings.
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
