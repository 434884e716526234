//! A reply as data.
//!
//! One tree is built per reply and written twice: in the server's protocol and as JSON. This file must not know
//! either form.

/// A piece of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Int(i64),
    Bool(bool),
    /// A bulk string; ids are bytes, not text.
    Text(Vec<u8>),
    /// A short word of our own, ASCII.
    Status(&'static str),
    Array(Vec<Value>),
    /// Fields in the order in which they are shown; names are in snake case.
    Map(Vec<(&'static str, Value)>),
    Null,
}

impl Value {
    pub fn text(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Text(bytes.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

/// The protocol has no unsigned integers; what does not fit is shown as the largest that does.
impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions() {
        let table = [
            (Value::from(-1_i64), Value::Int(-1)),
            (Value::from(7_u64), Value::Int(7)),
            (Value::from(i64::MAX as u64), Value::Int(i64::MAX)),
            (Value::from(i64::MAX as u64 + 1), Value::Int(i64::MAX)),
            (Value::from(u64::MAX), Value::Int(i64::MAX)),
            (Value::from(true), Value::Bool(true)),
            (Value::text("a"), Value::Text(b"a".to_vec())),
            (Value::text(b"\xff"), Value::Text(b"\xff".to_vec())),
            (Value::text(vec![0_u8]), Value::Text(vec![0])),
        ];
        for (value, expected) in table {
            assert_eq!(value, expected);
        }
    }
}
