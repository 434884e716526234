//! Argument bytes of any command become values, by the table of commands.
//!
//! Options come in any order and any case, each at most once. Anything else is an error that names the argument and
//! what is accepted.

use std::slice;

use crate::commands::table::{Argument, Command, Kind};
use crate::keys::pattern::Pattern;
use crate::reply::error::{Error, shown};

/// The options that were given, by the keywords of the table, with their values.
pub struct Given {
    values: Vec<(&'static str, Value)>,
}

enum Value {
    Nothing,
    Integer(u32),
    Pattern(Pattern),
}

impl Given {
    /// Reads the arguments of a command, its name and an id left out.
    pub fn read(command: &'static Command, args: &[&[u8]]) -> Result<Self, Error> {
        let mut given = Self { values: Vec::new() };
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let (argument, option) = find(command, word).ok_or_else(|| Error::UnknownOption {
                shown: shown(word),
                command: command.name,
                accepted: command.accepted(),
            })?;
            // Before the value is read: a repeated option is reported as repeated whatever follows it.
            if given.has(option) {
                return Err(Error::RepeatedOption { option });
            }
            given.values.push((option, read(argument, &mut words)?));
        }
        for argument in command.arguments {
            if let Kind::OneOf(tokens) = argument.kind
                && tokens.iter().filter(|token| given.has(token)).count() > 1
            {
                return Err(Error::ExclusiveOptions { options: tokens });
            }
        }
        Ok(given)
    }

    fn value(&self, option: &str) -> Option<&Value> {
        let mut values = self.values.iter();
        let found = values.find(|(token, _)| token.eq_ignore_ascii_case(option));
        found.map(|(_, value)| value)
    }

    /// Whether the option is there, with or without a value.
    pub fn has(&self, option: &str) -> bool {
        self.value(option).is_some()
    }

    /// The integer of an option; `None` also if the option is there without it.
    pub fn integer(&self, option: &str) -> Option<u32> {
        match self.value(option)? {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    pub fn pattern(&self, option: &str) -> Option<Pattern> {
        match self.value(option)? {
            Value::Pattern(pattern) => Some(pattern.clone()),
            _ => None,
        }
    }
}

/// The argument that a word begins, and its keyword as the table spells it.
fn find(command: &'static Command, word: &[u8]) -> Option<(&'static Argument, &'static str)> {
    command.arguments.iter().find_map(|argument| {
        let mut tokens = argument.tokens().iter();
        let token = tokens.find(|token| token.as_bytes().eq_ignore_ascii_case(word))?;
        Some((argument, *token))
    })
}

/// Takes the value of an argument from the words behind its keyword.
fn read(argument: &Argument, words: &mut slice::Iter<'_, &[u8]>) -> Result<Value, Error> {
    let Argument { token, kind, .. } = *argument;
    let is_number_next = || {
        let next = words.as_slice().first().and_then(|word| word.first());
        matches!(next, Some(b'0'..=b'9' | b'+' | b'-'))
    };
    match kind {
        Kind::Keyword | Kind::OneOf(_) | Kind::Id => return Ok(Value::Nothing),
        // What cannot be meant for a number is the next option.
        Kind::OptionalInteger(_) if !is_number_next() => return Ok(Value::Nothing),
        Kind::OptionalInteger(_) | Kind::Integer(_) | Kind::Pattern => {}
    }
    let word = words.next().ok_or_else(|| Error::MissingValue {
        option: token,
        accepted: kind.accepted(),
    })?;
    match kind {
        Kind::Integer(range) | Kind::OptionalInteger(range) => strict_u32(word)
            .filter(|number| (range.min..=range.max).contains(number))
            .map(Value::Integer)
            .ok_or_else(|| Error::BadValue {
                option: token,
                shown: shown(word),
                accepted: kind.accepted(),
            }),
        _ => Pattern::new(word).map(Value::Pattern),
    }
}

/// As strict as the server's own integer arguments: decimal digits only, no sign, no white space, no leading zero. A
/// negative number is not in any of the ranges, so its sign needs no reading.
fn strict_u32(word: &[u8]) -> Option<u32> {
    let strict = match word {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !strict {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_strict() {
        let table: [(&[u8], Option<u32>); 16] = [
            (b"0", Some(0)),
            (b"7", Some(7)),
            (b"600", Some(600)),
            (b"4294967295", Some(u32::MAX)),
            (b"4294967296", None),
            (b"99999999999999999999999", None),
            (b"", None),
            (b"00", None),
            (b"07", None),
            (b"+7", None),
            (b"-7", None),
            (b" 7", None),
            (b"7 ", None),
            (b"7\0", None),
            (b"1e3", None),
            (b"0x10", None),
        ];
        for (word, expected) in table {
            assert_eq!(strict_u32(word), expected, "{}", shown(word));
        }
    }
}
