//! A value, or an error, on the wire: RESP2, RESP3 or JSON.

use std::ffi::{CString, c_long};

use crate::redis::api::{RedisModuleCtx, rm};
use crate::reply::error::Error;
use crate::reply::json;
use crate::reply::value::Value;

/// Reply with a value. In RESP2 the server turns maps into flat arrays and booleans into 0 and 1.
pub fn value(ctx: *mut RedisModuleCtx, value: &Value) {
    // SAFETY, for every call below: 1, 2, 3; buffers outlive their call.
    match value {
        Value::Int(number) => {
            // SAFETY: see above.
            unsafe { rm!(RedisModule_ReplyWithLongLong)(ctx, *number) };
        }
        Value::Bool(truth) => {
            // SAFETY: see above.
            unsafe { rm!(RedisModule_ReplyWithBool)(ctx, i32::from(*truth)) };
        }
        Value::Text(text) => bulk(ctx, text),
        Value::Status(word) => simple(ctx, word),
        Value::Null => {
            // SAFETY: see above.
            unsafe { rm!(RedisModule_ReplyWithNull)(ctx) };
        }
        Value::Array(elements) => {
            // SAFETY: see above.
            unsafe { rm!(RedisModule_ReplyWithArray)(ctx, elements.len() as c_long) };
            for element in elements {
                self::value(ctx, element);
            }
        }
        Value::Map(fields) => {
            // SAFETY: see above.
            unsafe { rm!(RedisModule_ReplyWithMap)(ctx, fields.len() as c_long) };
            for (name, field) in fields {
                bulk(ctx, name.as_bytes());
                self::value(ctx, field);
            }
        }
    }
}

/// Reply with one bulk string that holds a JSON document.
pub fn json(ctx: *mut RedisModuleCtx, value: &Value) {
    bulk(ctx, &json::to_json(value));
}

/// Reply with an error.
pub fn error(ctx: *mut RedisModuleCtx, error: &Error) {
    let text = CString::new(error.to_string()).unwrap_or_default();
    // SAFETY: 1, 2, 3; the server copies the text.
    unsafe { rm!(RedisModule_ReplyWithError)(ctx, text.as_ptr()) };
}

/// Reply with lines of text.
pub fn lines(ctx: *mut RedisModuleCtx, lines: &[String]) {
    // SAFETY: 1, 2, 3.
    unsafe { rm!(RedisModule_ReplyWithArray)(ctx, lines.len() as c_long) };
    lines.iter().for_each(|line| simple(ctx, line));
}

fn simple(ctx: *mut RedisModuleCtx, text: &str) {
    let text = CString::new(text).unwrap_or_default();
    // SAFETY: 1, 2, 3; the server copies the text.
    unsafe { rm!(RedisModule_ReplyWithSimpleString)(ctx, text.as_ptr()) };
}

fn bulk(ctx: *mut RedisModuleCtx, text: &[u8]) {
    // SAFETY: 1, 2, 3; the server copies the bytes.
    unsafe { rm!(RedisModule_ReplyWithStringBuffer)(ctx, text.as_ptr().cast(), text.len()) };
}
