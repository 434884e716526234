//! A reply as JSON.
//!
//! Names become camel case, the order of fields is kept, and bytes that are no UTF-8 survive. This file must not
//! choose fields or their order.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::reply::value::Value;

/// The value as one line of JSON.
pub fn to_json(value: &Value) -> Vec<u8> {
    // Writing to memory with text for names cannot fail; should it ever, null is still JSON.
    serde_json::to_vec(&Json(value)).unwrap_or_else(|_| b"null".to_vec())
}

/// Bytes as text from which the bytes can be had back: every backslash is doubled, every byte that is not part of
/// valid UTF-8 becomes `\xNN` in lower case, the rest stays.
pub fn lossless(bytes: &[u8]) -> Cow<'_, str> {
    if let (Ok(text), None) = (std::str::from_utf8(bytes), memchr::memchr(b'\\', bytes)) {
        return text.into();
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for (number, part) in chunk.valid().split('\\').enumerate() {
            if number > 0 {
                text.push_str("\\\\");
            }
            text.push_str(part);
        }
        for byte in chunk.invalid() {
            text.push_str("\\x");
            let digits = [byte >> 4, byte & 0xf].map(u32::from);
            text.extend(digits.map(|digit| char::from_digit(digit, 16).unwrap_or_default()));
        }
    }
    text.into()
}

/// A value on its way through serde.
struct Json<'a>(&'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Int(number) => out.serialize_i64(*number),
            Value::Bool(truth) => out.serialize_bool(*truth),
            Value::Text(bytes) => out.serialize_str(&lossless(bytes)),
            Value::Status(word) => out.serialize_str(word),
            Value::Array(items) => out.collect_seq(items.iter().map(Json)),
            Value::Map(fields) => {
                let mut map = out.serialize_map(Some(fields.len()))?;
                for (name, field) in fields {
                    map.serialize_entry(&camel_case(name), &Json(field))?;
                }
                map.end()
            }
            Value::Null => out.serialize_unit(),
        }
    }
}

/// `keys_by_family` becomes `keysByFamily`.
fn camel_case(snake_case: &str) -> String {
    let mut camel = String::with_capacity(snake_case.len());
    let mut raise = false;
    for character in snake_case.chars() {
        if character == '_' {
            raise = true;
        } else if raise {
            camel.push(character.to_ascii_uppercase());
            raise = false;
        } else {
            camel.push(character);
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The way back from `lossless`, as a reader of the JSON would write it.
    fn unlossless(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('\\') {
            bytes.extend_from_slice(before.as_bytes());
            rest = after;
            if let Some(after) = rest.strip_prefix('\\') {
                bytes.push(b'\\');
                rest = after;
            } else {
                let hex = rest.strip_prefix('x').unwrap();
                bytes.push(u8::from_str_radix(&hex[..2], 16).unwrap());
                rest = &hex[2..];
            }
        }
        bytes.extend_from_slice(rest.as_bytes());
        bytes
    }

    #[test]
    fn names() {
        let table = [
            ("run", "run"),
            ("threshold_s", "thresholdS"),
            ("longest_slice_us", "longestSliceUs"),
            ("keys_by_family", "keysByFamily"),
            ("total_coordinators_checked", "totalCoordinatorsChecked"),
            ("keysDeleted", "keysDeleted"),
            ("", ""),
        ];
        for (snake, camel) in table {
            assert_eq!(camel_case(snake), camel);
        }
    }

    #[test]
    fn bytes_as_text() {
        let table: [(&[u8], &str); 8] = [
            (b"", ""),
            (b"coordinator:1", "coordinator:1"),
            ("\u{e9}\u{1f600}\"\n".as_bytes(), "\u{e9}\u{1f600}\"\n"),
            (br"a\b", r"a\\b"),
            (b"\\xff", r"\\xff"),
            (b"\xff", r"\xff"),
            (b"a\xc3(\xf0\x9f\x98", r"a\xc3(\xf0\x9f\x98"),
            // A surrogate and an overlong form are no UTF-8.
            (b"\xed\xa0\x80\xc0\xaf", r"\xed\xa0\x80\xc0\xaf"),
        ];
        for (bytes, text) in table {
            assert_eq!(lossless(bytes), text);
            assert_eq!(unlossless(text), bytes);
        }
    }

    #[test]
    fn values() {
        let table = [
            (Value::Int(i64::MIN), "-9223372036854775808"),
            (Value::from(u64::MAX), "9223372036854775807"),
            (Value::Bool(true), "true"),
            (Value::Null, "null"),
            (Value::Status("complete"), "\"complete\""),
            (Value::text("a\"b\n\0"), r#""a\"b\n\u0000""#),
            // Doubled once by us and once more by JSON.
            (Value::text("a\\b"), r#""a\\\\b""#),
            (Value::text(b"\xff"), r#""\\xff""#),
            (Value::Array(vec![]), "[]"),
            (Value::Map(vec![]), "{}"),
            (
                Value::Array(vec![Value::Int(1), Value::Array(vec![Value::Null])]),
                "[1,[null]]",
            ),
            (
                Value::Map(vec![
                    ("z_last", Value::Int(1)),
                    ("a_first", Value::Map(vec![("in_side", Value::Bool(false))])),
                    ("m", Value::Array(vec![Value::text("x")])),
                ]),
                r#"{"zLast":1,"aFirst":{"inSide":false},"m":["x"]}"#,
            ),
        ];
        for (value, expected) in table {
            assert_eq!(String::from_utf8(to_json(&value)).unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn bytes_survive_json(bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"\\x\"0f\xc3\xa9\xff".to_vec())], 0..40,
        )) {
            prop_assert_eq!(&unlossless(&lossless(&bytes)), &bytes);
            let json = to_json(&Value::Text(bytes.clone()));
            let text: String = serde_json::from_slice(&json).unwrap();
            prop_assert_eq!(unlossless(&text), bytes);
        }

        #[test]
        fn different_bytes_stay_different(one: Vec<u8>, other: Vec<u8>) {
            prop_assert_eq!(lossless(&one) == lossless(&other), one == other);
        }
    }
}
