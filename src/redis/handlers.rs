//! BLOCKING.*: parse the arguments, start the work or show it.

use crate::commands::help;
use crate::commands::options;
use crate::commands::query;
use crate::commands::request::Task;
use crate::commands::table::{self, Command};
use crate::redis::api::reply;
use crate::redis::api::{self, RedisModuleCtx, RedisModuleString};
use crate::redis::runner::registry;
use crate::redis::runner::stop::{self, StopReason};
use crate::redis::start::{self, Reply};
use crate::redis::status;
use crate::reply::error::Error;
use crate::reply::value::Value;

/// A handler as the server wants it.
pub type Handler =
    unsafe extern "C" fn(*mut RedisModuleCtx, *mut *mut RedisModuleString, i32) -> i32;

/// Every command with its handler.
pub const ALL: [(&Command, Handler); 7] = [
    (&table::CLEANUP, cleanup),
    (&table::LIST, list),
    (&table::EXPLAIN, explain),
    (&table::DOCTOR, doctor),
    (&table::STATUS, status),
    (&table::CANCEL, cancel),
    (&table::HELP, help),
];

/// The arguments behind the command's name.
///
/// # Safety
/// `argv` and `argc` must be what the server passed to a command (3).
unsafe fn arguments<'a>(argv: *mut *mut RedisModuleString, argc: i32) -> Vec<&'a [u8]> {
    let count = usize::try_from(argc).unwrap_or_default();
    if argv.is_null() || count == 0 {
        return Vec::new();
    }
    // SAFETY: the caller vouches for both.
    let strings = unsafe { std::slice::from_raw_parts(argv, count) };
    let behind_name = strings.iter().skip(1);
    // SAFETY: 3.
    behind_name.map(|s| unsafe { api::bytes_of(*s) }).collect()
}

/// A handler that replies as `$answer` says, which is given the context and the arguments.
macro_rules! handler {
    ($(#[$doc:meta])* $name:ident, $answer:expr) => {
        $(#[$doc])*
        unsafe extern "C" fn $name(
            ctx: *mut RedisModuleCtx,
            argv: *mut *mut RedisModuleString,
            argc: i32,
        ) -> i32 {
            api::guard(api::ERR, || {
                // SAFETY: 3.
                let arguments = unsafe { arguments(argv, argc) };
                let answer: fn(*mut RedisModuleCtx, &[&[u8]]) -> Reply = $answer;
                match answer(ctx, &arguments) {
                    Ok(Some((value, true))) => reply::json(ctx, &value),
                    Ok(Some((value, false))) => reply::value(ctx, &value),
                    Ok(None) => {}
                    Err(error) => reply::error(ctx, &error),
                }
                api::OK
            })
        }
    };
}

handler!(
    /// BLOCKING.CLEANUP
    cleanup,
    |ctx, words| start::by_command(ctx, Task::Cleanup(options::parse_cleanup(words)?))
);

handler!(
    /// BLOCKING.LIST
    list,
    |ctx, words| start::by_command(ctx, Task::List(query::parse_list(words)?))
);

handler!(
    /// BLOCKING.EXPLAIN
    explain,
    |ctx, words| start::by_command(ctx, Task::Explain(query::parse_explain(words)?))
);

handler!(
    /// BLOCKING.DOCTOR
    doctor,
    |ctx, words| start::by_command(ctx, Task::Doctor(query::parse_doctor(words)?))
);

handler!(
    /// BLOCKING.STATUS
    status,
    |_, words| {
        let json = options::parse_status(words)?.json;
        Ok(Some((status::value(json), json)))
    }
);

handler!(
    /// BLOCKING.CANCEL; the server checks that there are no arguments.
    cancel,
    |_, _| {
        if registry::progress().is_none() {
            return Err(Error::NotBusy);
        }
        stop::wish(StopReason::Cancelled);
        registry::wish_for_successor(StopReason::Cancelled);
        registry::wake();
        Ok(Some((Value::Status("OK"), false)))
    }
);

handler!(
    /// BLOCKING.HELP
    help,
    |ctx, words| {
        let lines = help::help(words)?;
        reply::lines(ctx, &lines);
        Ok(None)
    }
);
