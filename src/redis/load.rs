//! Loading and unloading: validate first, subscribe last, leave nothing behind.
//!
//! Not the crate's `redis_module!` macro: it registers commands and settings before any check of
//! ours could run, and its own INFO callback formats a backtrace inside the crash handler.

use std::ffi::{CStr, CString, c_char};
use std::slice;

use redis_module::raw;

use crate::commands::table::{Command, Kind};
use crate::redis::api::acl;
use crate::redis::api::detached;
use crate::redis::api::keyspace;
use crate::redis::api::{self, Level, RedisModuleCtx, RedisModuleString, rm};
use crate::redis::cron;
use crate::redis::events::dataset;
use crate::redis::events::new_keys;
use crate::redis::events::new_keys::Events;
use crate::redis::first_seen;
use crate::redis::handlers::{self, Handler};
use crate::redis::history;
use crate::redis::info;
use crate::redis::obituaries;
use crate::redis::runner::blocked_client::{self, Going};
use crate::redis::runner::linger;
use crate::redis::runner::registry;
use crate::redis::runner::wakeup;
use crate::redis::runs;
use crate::redis::schedule;
use crate::redis::settings;
use crate::redis::source;
use crate::redis::writers;

/// The module's memory is the server's: it is counted, and shows in INFO memory. Unit tests have
/// no server.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: redis_module::alloc::RedisAlloc = redis_module::alloc::RedisAlloc;

/// As MODULE LIST shows it: major * 10000 + minor * 100 + patch.
const VERSION: i32 = number(env!("CARGO_PKG_VERSION_MAJOR")) * 10_000
    + number(env!("CARGO_PKG_VERSION_MINOR")) * 100
    + number(env!("CARGO_PKG_VERSION_PATCH"));

const fn number(digits: &str) -> i32 {
    match i32::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => 0,
    }
}

/// Earlier servers crash on calls that a run makes from timers.
const OLDEST: (i32, i32, i32) = (7, 0, 6);

/// Option bit of Valkey 9 that the crate does not know: we hold no data that a slot migration
/// would have to carry along. Elsewhere the bit means nothing.
const OPTIONS_HANDLE_ATOMIC_SLOT_MIGRATION: u32 = 1 << 5;

/// Called by the server when it loads the module.
///
/// # Safety
/// Only the server may call this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RedisModule_OnLoad(
    ctx: *mut RedisModuleCtx,
    _argv: *mut *mut RedisModuleString,
    argc: i32,
) -> i32 {
    // SAFETY: this fills the API pointers; nothing before it may allocate.
    let status = unsafe {
        let name = c"blocking".as_ptr();
        raw::Export_RedisModule_Init(ctx, name, VERSION, raw::REDISMODULE_APIVER_1 as i32)
    };
    if status != api::OK {
        // The functions are there by now, or this would be a server without modules. What refuses is
        // the name, and Redis says no more of that than that the initialization failed.
        return api::guard(api::ERR, || {
            if is_named_already() {
                let why = "a module of that name is loaded already; load it once, by one line of the configuration or by MODULE LOAD";
                api::log(ctx, Level::Warning, &format!("blocking not loaded: {why}"));
            }
            api::ERR
        });
    }
    api::guard(api::ERR, || match load(ctx, argc) {
        Ok(()) => api::OK,
        Err(why) => {
            // The one function that even the oldest servers have.
            api::log(ctx, Level::Warning, &format!("blocking not loaded: {why}"));
            api::ERR
        }
    })
}

fn is_named_already() -> bool {
    // SAFETY: 2; the name outlives the call. Where one of the functions is missing, nothing is said.
    let is_busy = unsafe {
        raw::RedisModule_IsModuleNameBusy.is_some_and(|ask| ask(c"blocking".as_ptr()) != 0)
    };
    // SAFETY: 2.
    is_busy && unsafe { raw::RedisModule_Log }.is_some()
}

fn load(ctx: *mut RedisModuleCtx, argc: i32) -> Result<(), String> {
    let version = server_version();
    let (major, minor, patch) = OLDEST;
    let needed = format!("it needs Redis {major}.{minor}.{patch} or newer, or Valkey");
    if version.is_some_and(|version| version < OLDEST) {
        return Err(needed);
    }
    if let Some(missing) = api::first_missing() {
        return Err(format!("{needed}; this server has no {missing}"));
    }
    if argc != 0 {
        return Err("it takes no arguments; set blocking.* in the configuration".into());
    }
    let first_to_embed_long = if is_valkey() { (8, 0, 0) } else { (8, 1, 0) };
    keyspace::load(version.is_none_or(|version| version >= first_to_embed_long));
    source::load(is_valkey() && version.is_some_and(|version| version >= (8, 1, 0)));
    registry::load();
    history::load();
    obituaries::load();
    first_seen::forget(-1);
    set_options(ctx);
    for (command, handler) in handlers::ALL {
        let name = command.name.to_lowercase();
        register(ctx, &name, command, handler).map_err(|what| format!("{name}: {what}"))?;
    }
    let done = |ok: bool, what: &str| ok.then_some(()).ok_or_else(|| what.to_owned());
    done(
        settings::load(ctx),
        "a setting was refused; see the lines above",
    )?;
    done(info::load(ctx), "the server refused the INFO section")?;
    detached::load(ctx);
    wakeup::load(runs::on_turn);
    blocked_client::load(Going {
        unblocked: linger::gone,
        disconnected: linger::disconnected,
    });
    schedule::load(ctx);
    writers::load();
    let births = events_of_births(version);
    let subscribed = new_keys::load(ctx, births) && dataset::load(ctx) && cron::load(ctx);
    if !subscribed {
        leave_nothing();
    }
    done(subscribed, "the server refused a subscription")
}

/// Called by the server before it unloads the module; refuses while a run is on, and while a user has
/// a rule that names one of our commands, for then most servers would abort.
///
/// # Safety
/// Only the server may call this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RedisModule_OnUnload(ctx: *mut RedisModuleCtx) -> i32 {
    api::guard(api::ERR, || {
        if let Some(why) = stays_loaded(ctx) {
            api::log(
                ctx,
                Level::Warning,
                &format!("blocking not unloaded: {why}"),
            );
            return api::ERR;
        }
        leave_nothing();
        registry::load();
        history::load();
        first_seen::forget(-1);
        api::OK
    })
}

/// Why the module must not be unloaded now.
fn stays_loaded(ctx: *mut RedisModuleCtx) -> Option<String> {
    if let Some(progress) = registry::progress() {
        let run = progress.run;
        return Some(format!(
            "run {run} is still running; BLOCKING.CANCEL ends it"
        ));
    }
    match acl::user_with_our_command(ctx) {
        Ok(None) => None,
        Ok(Some(name)) => Some(format!(
            "the ACL user '{name}' has a rule that names one of its commands; \
             ACL DELUSER or ACL SETUSER with reset removes it"
        )),
        Err(()) => Some("the server does not say which rules its ACL users have".into()),
    }
}

/// Give back what outlives a single call.
fn leave_nothing() {
    schedule::unload();
    settings::unload();
    detached::unload();
}

fn server_version() -> Option<(i32, i32, i32)> {
    // SAFETY: 2; older servers do not have the function, hence no `rm!`.
    let version = unsafe { raw::RedisModule_GetServerVersion.map(|get| get()) }?;
    Some((version >> 16, (version >> 8) & 0xff, version & 0xff))
}

/// From 8.1.1 on and before 9.1.1, Valkey leaves the client of a MOVE or COPY in the database that
/// an event about its key was for.
fn events_of_births(version: Option<(i32, i32, i32)>) -> Events {
    let affected = version.is_none_or(|v| ((8, 1, 1)..(9, 1, 1)).contains(&v));
    if is_valkey() && affected {
        Events::ValueWrites
    } else {
        Events::NewKeys
    }
}

/// Valkey offers every function under a name of its own, too.
fn is_valkey() -> bool {
    let mut function: *mut std::ffi::c_void = std::ptr::null_mut();
    // SAFETY: 2; the server writes the function's address to the place we name, if it has it.
    let found = unsafe {
        raw::RedisModule_GetApi
            .map(|get| get(c"ValkeyModule_Alloc".as_ptr(), (&raw mut function).cast()))
    };
    found == Some(api::OK) && !function.is_null()
}

/// One call with all bits, for each call replaces what was set before.
fn set_options(ctx: *mut RedisModuleCtx) {
    let options = raw::REDISMODULE_OPTIONS_HANDLE_IO_ERRORS
        | raw::REDISMODULE_OPTIONS_HANDLE_REPL_ASYNC_LOAD
        | OPTIONS_HANDLE_ATOMIC_SLOT_MIGRATION;
    // SAFETY: 1, 2, 3.
    unsafe { rm!(RedisModule_SetModuleOptions)(ctx, options as i32) };
}

fn register(
    ctx: *mut RedisModuleCtx,
    name: &str,
    command: &Command,
    handler: Handler,
) -> Result<(), &'static str> {
    let text = |text: &str| CString::new(text).map_err(|_| "a text holds a NUL");
    let (name, flags) = (text(name)?, text(command.flags)?);
    // SAFETY: 1, 2, 3; the server copies the texts, and the handler lives as long as the module.
    let created = unsafe {
        rm!(RedisModule_CreateCommand)(ctx, name.as_ptr(), Some(handler), flags.as_ptr(), 0, 0, 0)
    };
    if created != api::OK {
        return Err("the server refused the command; is the name taken");
    }
    // SAFETY: 1, 2, 3.
    let registered = unsafe { rm!(RedisModule_GetCommand)(ctx, name.as_ptr()) };
    if registered.is_null() {
        return Err("the server does not know the command it just created");
    }
    describe(registered, command)?;
    let categories = text(command.acl_categories)?;
    // SAFETY: 2, 3; Redis 7.0 does not have the function, hence no `rm!`.
    let accepted = unsafe {
        raw::RedisModule_SetCommandACLCategories
            .is_none_or(|set| set(registered, categories.as_ptr()) == api::OK)
    };
    accepted
        .then_some(())
        .ok_or("the server refused the ACL categories")
}

/// Sizes of the structures below, so that every server reads them as they are here.
static INFO_VERSION: raw::RedisModuleCommandInfoVersion = raw::RedisModuleCommandInfoVersion {
    version: 1,
    sizeof_historyentry: size_of::<raw::RedisModuleCommandHistoryEntry>(),
    sizeof_keyspec: size_of::<raw::RedisModuleCommandKeySpec>(),
    sizeof_arg: size_of::<raw::RedisModuleCommandArg>(),
};

/// Tell the server what COMMAND DOCS should say.
fn describe(
    registered: *mut raw::RedisModuleCommand,
    command: &Command,
) -> Result<(), &'static str> {
    let text = |text: &str| CString::new(text).map_err(|_| "a text holds a NUL");
    let names = command
        .arguments
        .iter()
        .map(|a| Ok((text(a.name)?, text(a.token)?)));
    let names: Vec<(CString, CString)> = names.collect::<Result<_, &'static str>>()?;
    let parts = command.arguments.iter().map(|argument| {
        let words = match argument.kind {
            Kind::OptionalInteger(_) => slice::from_ref(&argument.value),
            Kind::OneOf(keywords) => keywords,
            _ => &[],
        };
        // The server shows names in lower case and keywords as they are.
        let pair = |word: &&str| Ok((text(&word.to_lowercase())?, text(word)?));
        words.iter().map(pair).collect()
    });
    let parts: Vec<Vec<(CString, CString)>> = parts.collect::<Result<_, &'static str>>()?;
    let mut subarguments: Vec<Vec<raw::RedisModuleCommandArg>> = command
        .arguments
        .iter()
        .zip(&names)
        .zip(&parts)
        .map(
            |((argument, (name, token)), parts)| match (argument.kind, parts.first()) {
                (Kind::OptionalInteger(_), Some((integer, _))) => {
                    keyword_and_integer(name, token, integer)
                }
                (Kind::OneOf(_), _) => one_of(parts),
                _ => Vec::new(),
            },
        )
        .collect();
    let mut arguments: Vec<raw::RedisModuleCommandArg> = command
        .arguments
        .iter()
        .zip(&names)
        .zip(&mut subarguments)
        .map(|((argument, (name, token)), parts)| {
            let whole = raw::RedisModuleCommandArg {
                name: name.as_ptr(),
                type_: argument_type(argument.kind),
                flags: raw::REDISMODULE_CMD_ARG_OPTIONAL as i32,
                ..no_argument()
            };
            match argument.kind {
                Kind::OptionalInteger(_) | Kind::OneOf(_) => raw::RedisModuleCommandArg {
                    subargs: parts.as_mut_ptr(),
                    ..whole
                },
                Kind::Id => raw::RedisModuleCommandArg { flags: 0, ..whole },
                _ => raw::RedisModuleCommandArg {
                    token: token.as_ptr(),
                    ..whole
                },
            }
        })
        .collect();
    // The list ends with an argument without a name.
    arguments.push(no_argument());
    let (summary, complexity) = (text(command.summary)?, text(command.complexity)?);
    let since = text(command.since)?;
    let tips = text(&command.tips.join(" "))?;
    let info = raw::RedisModuleCommandInfo {
        version: &raw const INFO_VERSION,
        summary: summary.as_ptr(),
        complexity: complexity.as_ptr(),
        since: since.as_ptr(),
        history: std::ptr::null_mut(),
        tips: if command.tips.is_empty() {
            std::ptr::null()
        } else {
            tips.as_ptr()
        },
        arity: command.arity,
        key_specs: std::ptr::null_mut(),
        args: arguments.as_mut_ptr(),
    };
    // SAFETY: 1, 2, 3; the server copies everything.
    let status = unsafe { rm!(RedisModule_SetCommandInfo)(registered, &raw const info) };
    (status == api::OK)
        .then_some(())
        .ok_or("the server refused the documentation")
}

/// The parts of a block `KEYWORD [integer]`; the list ends with an argument without a name.
fn keyword_and_integer(
    name: &CStr,
    token: &CStr,
    integer: &CStr,
) -> Vec<raw::RedisModuleCommandArg> {
    let keyword = raw::RedisModuleCommandArg {
        name: name.as_ptr(),
        type_: argument_type(Kind::Keyword),
        token: token.as_ptr(),
        ..no_argument()
    };
    let integer = raw::RedisModuleCommandArg {
        name: integer.as_ptr(),
        type_: raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER,
        flags: raw::REDISMODULE_CMD_ARG_OPTIONAL as i32,
        ..no_argument()
    };
    vec![keyword, integer, no_argument()]
}

/// The keywords of which one may be given, each under its name.
fn one_of(keywords: &[(CString, CString)]) -> Vec<raw::RedisModuleCommandArg> {
    let keyword = |(name, token): &(CString, CString)| raw::RedisModuleCommandArg {
        name: name.as_ptr(),
        type_: argument_type(Kind::Keyword),
        token: token.as_ptr(),
        ..no_argument()
    };
    keywords
        .iter()
        .map(keyword)
        .chain([no_argument()])
        .collect()
}

fn argument_type(kind: Kind) -> raw::RedisModuleCommandArgType {
    match kind {
        Kind::Integer(_) => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER,
        Kind::OptionalInteger(_) => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_BLOCK,
        Kind::Pattern => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PATTERN,
        Kind::Keyword => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PURE_TOKEN,
        Kind::OneOf(_) => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_ONEOF,
        Kind::Id => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING,
    }
}

const fn no_argument() -> raw::RedisModuleCommandArg {
    const NONE: *const c_char = std::ptr::null();
    raw::RedisModuleCommandArg {
        name: NONE,
        type_: 0,
        key_spec_index: -1,
        token: NONE,
        summary: NONE,
        since: NONE,
        flags: 0,
        deprecated_since: NONE,
        subargs: std::ptr::null_mut(),
        display_text: NONE,
    }
}
