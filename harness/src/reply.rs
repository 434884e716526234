//! A reply of named fields, read alike from RESP2 (a flat array) and RESP3 (a map), in the order they came.
//! Must not supply defaults: a field that is missing or of another type is an error that shows the whole reply.

use std::fmt;

use anyhow::{Context, Result, bail};
use redis::{FromRedisValue, ParsingError, Value};

/// Named fields in the order of the wire.
#[derive(Clone, PartialEq)]
pub struct Reply {
    fields: Vec<(String, Value)>,
}

/// Reads a flat array of names and values, or a map.
pub fn reply_map(value: Value) -> Result<Reply> {
    let pairs: Vec<(Value, Value)> = match value {
        Value::Map(pairs) => pairs,
        Value::Array(items) if items.len() % 2 == 0 => {
            let mut items = items.into_iter();
            std::iter::from_fn(|| Some((items.next()?, items.next()?))).collect()
        }
        other => bail!("not a map: {other:?}"),
    };
    let fields = pairs
        .into_iter()
        .map(|(name, value)| Ok((text_of(&name).context("a name that is no text")?, value)))
        .collect::<Result<_>>()?;
    Ok(Reply { fields })
}

impl Reply {
    /// The names in the order of the wire.
    pub fn names(&self) -> Vec<&str> {
        self.fields.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The fields in the order of the wire.
    pub fn fields(&self) -> &[(String, Value)] {
        &self.fields
    }

    /// The raw value of a field, if it is there.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value)
    }

    /// An integer field.
    pub fn int(&self, name: &str) -> Result<i64> {
        self.read(name, "an integer", |value| match value {
            Value::Int(number) => Some(*number),
            _ => None,
        })
    }

    /// A boolean field: `#t`/`#f` in RESP3, 1/0 in RESP2.
    pub fn flag(&self, name: &str) -> Result<bool> {
        self.read(name, "a boolean", |value| match value {
            Value::Boolean(flag) => Some(*flag),
            Value::Int(0) => Some(false),
            Value::Int(1) => Some(true),
            _ => None,
        })
    }

    /// A text field; bytes that are not UTF-8 are an error.
    pub fn text(&self, name: &str) -> Result<String> {
        self.read(name, "a text", text_of)
    }

    /// A list of byte strings.
    pub fn list(&self, name: &str) -> Result<Vec<Vec<u8>>> {
        self.read(name, "a list of strings", |value| match value {
            Value::Array(items) => items.iter().map(bytes_of).collect(),
            _ => None,
        })
    }

    /// A list of byte strings as text; other bytes are replaced, so compare with `list` where they matter.
    pub fn texts(&self, name: &str) -> Result<Vec<String>> {
        let lossy = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        Ok(self.list(name)?.iter().map(lossy).collect())
    }

    /// A field that is a map itself.
    pub fn map(&self, name: &str) -> Result<Reply> {
        self.read(name, "a map", |value| reply_map(value.clone()).ok())
    }

    fn read<T>(
        &self,
        name: &str,
        expected: &str,
        reader: impl Fn(&Value) -> Option<T>,
    ) -> Result<T> {
        let value = self
            .get(name)
            .with_context(|| format!("no field {name} in {self:?}"))?;
        reader(value).with_context(|| format!("{name} is not {expected} in {self:?}"))
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = self.fields.iter().map(|(name, value)| (name, value));
        f.debug_map().entries(pairs).finish()
    }
}

impl FromRedisValue for Reply {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        reply_map(value).map_err(|error| format!("{error:#}").into())
    }
}

fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes.clone()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => {
            Some(text.clone().into_bytes())
        }
        Value::Okay => Some(b"OK".to_vec()),
        _ => None,
    }
}

fn text_of(value: &Value) -> Option<String> {
    String::from_utf8(bytes_of(value)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn both_protocols_read_alike_and_keep_their_order() {
        let ids = Value::Array(vec![bulk("b"), bulk("a")]);
        let flat = vec![
            bulk("run"),
            Value::Int(7),
            bulk("dry_run"),
            Value::Int(1),
            bulk("status"),
            bulk("complete"),
            bulk("stale_ids"),
            ids.clone(),
            bulk("keys_by_family"),
            Value::Array(vec![bulk("signal"), Value::Int(2)]),
        ];
        let map = vec![
            (bulk("run"), Value::Int(7)),
            (bulk("dry_run"), Value::Boolean(true)),
            (bulk("status"), Value::SimpleString("complete".to_owned())),
            (bulk("stale_ids"), ids),
            (
                bulk("keys_by_family"),
                Value::Map(vec![(bulk("signal"), Value::Int(2))]),
            ),
        ];
        for value in [Value::Array(flat), Value::Map(map)] {
            let reply = reply_map(value).unwrap();
            let names = ["run", "dry_run", "status", "stale_ids", "keys_by_family"];
            assert_eq!(reply.names(), names);
            assert_eq!(reply.int("run").unwrap(), 7);
            assert!(reply.flag("dry_run").unwrap());
            assert_eq!(reply.text("status").unwrap(), "complete");
            assert_eq!(reply.texts("stale_ids").unwrap(), ["b", "a"]);
            let families = reply.map("keys_by_family").unwrap();
            assert_eq!(families.int("signal").unwrap(), 2);
        }
    }

    #[test]
    fn nothing_is_made_up() {
        let reply = reply_map(Value::Array(vec![bulk("run"), bulk("seven")])).unwrap();
        assert!(reply.int("run").is_err());
        assert!(reply.int("status").is_err());
        assert!(reply_map(Value::Array(vec![bulk("run")])).is_err());
        assert!(reply_map(Value::Int(3)).is_err());
    }
}
