//! What the server tells others about the commands.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use blocking_harness::redis::Value;
use blocking_harness::{Reply, Server, reply_map};

use super::say;

const SUBCOMMANDS: [&str; 7] = [
    "cleanup", "list", "explain", "doctor", "status", "cancel", "help",
];

/// Name, type and keyword of an option in COMMAND DOCS.
type Documented = (&'static str, &'static str, &'static str);

fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

fn array(value: &Value) -> Result<&[Value]> {
    match value {
        Value::Array(items) | Value::Set(items) => Ok(items),
        other => anyhow::bail!("not an array: {other:?}"),
    }
}

#[test]
fn command_info_shows_arity_and_flags() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let names = SUBCOMMANDS.map(|name| format!("blocking.{name}"));
    let reply = say(&mut conn, &format!("COMMAND INFO {}", names.join(" ")))?;
    let found: BTreeMap<String, (Value, BTreeSet<String>)> = array(&reply)?
        .iter()
        .map(|entry| {
            let fields = array(entry)?;
            let flags = array(&fields[2])?.iter().map(text).collect();
            // None of them names a key.
            assert_eq!(fields[3..6], [Value::Int(0), Value::Int(0), Value::Int(0)]);
            Ok((text(&fields[0]), (fields[1].clone(), flags)))
        })
        .collect::<Result<_>>()?;
    let quick: &[&str] = &["module", "loading", "stale", "fast"];
    let query: &[&str] = &["readonly", "module", "noscript", "blocking"];
    let expected: [(&str, i64, &[&str]); 7] = [
        ("cleanup", -1, &["write", "module", "noscript", "blocking"]),
        ("list", -1, query),
        ("explain", -2, query),
        ("doctor", -1, query),
        ("status", -1, quick),
        ("cancel", 1, quick),
        ("help", -1, quick),
    ];
    assert_eq!(found.len(), expected.len());
    for (name, arity, flags) in expected {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let name = format!("blocking.{name}");
        assert_eq!(found[&name], (Value::Int(arity), flags), "{name}");
    }
    Ok(())
}

/// Clients for clusters send a command without keys where its tips say: to every primary.
#[test]
fn command_info_shows_tips() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    for name in SUBCOMMANDS {
        let reply = say(&mut conn, &format!("COMMAND INFO blocking.{name}"))?;
        let fields = array(&array(&reply)?[0])?;
        let tips: BTreeSet<String> = array(&fields[7])?.iter().map(text).collect();
        let expected: &[&str] = match name {
            "help" => &[],
            "cancel" => &["request_policy:all_shards"],
            _ => &["nondeterministic_output", "request_policy:all_shards"],
        };
        let expected: BTreeSet<String> = expected.iter().map(|tip| (*tip).to_owned()).collect();
        assert_eq!(tips, expected, "{name}");
    }
    Ok(())
}

/// A block of a keyword and an integer that may be left out.
fn block(parts: &[Value]) -> Result<String> {
    let parts: Vec<Reply> = parts
        .iter()
        .cloned()
        .map(reply_map)
        .collect::<Result<_>>()?;
    let [keyword, integer] = &parts[..] else {
        anyhow::bail!("not two parts: {parts:?}");
    };
    assert_eq!(keyword.text("type")?, "pure-token");
    assert_eq!(keyword.get("flags"), None);
    assert_eq!(integer.text("type")?, "integer");
    assert_eq!(integer.get("token"), None);
    let flags = integer.get("flags").context("no flags")?;
    assert_eq!(
        array(flags)?.iter().map(text).collect::<Vec<_>>(),
        ["optional"]
    );
    Ok(format!(
        "{} [{}]",
        keyword.text("token")?,
        integer.text("name")?
    ))
}

/// Keywords of which one may be given.
fn one_of(parts: &[Value]) -> Result<String> {
    let keyword = |part: &Value| {
        let part = reply_map(part.clone())?;
        assert_eq!(part.text("type")?, "pure-token");
        part.text("token")
    };
    let keywords: Vec<String> = parts.iter().map(keyword).collect::<Result<_>>()?;
    Ok(keywords.join("|"))
}

#[test]
fn command_docs_show_every_option() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let names = SUBCOMMANDS.map(|name| format!("blocking.{name}"));
    let docs = reply_map(say(
        &mut conn,
        &format!("COMMAND DOCS {}", names.join(" ")),
    )?)?;
    let json = ("json", "pure-token", "JSON");
    let cleanup = [
        ("seconds", "integer", "THRESHOLD"),
        ("dryrun", "pure-token", "DRYRUN"),
        // A block: the keyword, and perhaps a number.
        ("orphans", "block", "ORPHANS [grace-seconds]"),
        ("id-pattern", "pattern", "MATCH"),
        ("coordinators", "integer", "LIMIT"),
        ("percent", "integer", "BREAKER"),
        ("count", "integer", "IDS"),
        ("nowarmup", "pure-token", "NOWARMUP"),
        ("async", "pure-token", "ASYNC"),
        json,
    ];
    let seconds = ("seconds", "integer", "THRESHOLD");
    let list = [
        ("state", "oneof", "STALE|LIVE|UNREADABLE"),
        seconds,
        ("id-pattern", "pattern", "MATCH"),
        ("count", "integer", "COUNT"),
        json,
    ];
    let expected: [(&str, &[Documented]); 7] = [
        ("cleanup", &cleanup),
        ("list", &list),
        ("explain", &[("id", "string", ""), seconds, json]),
        ("doctor", &[json]),
        ("status", &[json]),
        ("cancel", &[]),
        (
            "help",
            &[(
                "command",
                "oneof",
                "CLEANUP|LIST|EXPLAIN|DOCTOR|STATUS|CANCEL|HELP",
            )],
        ),
    ];
    for (name, arguments) in expected {
        let name = format!("blocking.{name}");
        let command = docs.map(&name)?;
        for field in ["summary", "complexity"] {
            assert!(!command.text(field)?.is_empty(), "{name} {field}");
        }
        let is_query = ["list", "explain", "doctor"]
            .iter()
            .any(|query| name.ends_with(query));
        let since = if is_query { "0.2.0" } else { "0.1.0" };
        assert_eq!(command.text("since")?, since, "{name}");
        assert_eq!(command.text("module")?, "blocking", "{name}");
        let found = match command.get("arguments") {
            Some(list) => array(list)?.to_vec(),
            None => Vec::new(),
        };
        let found: Vec<(String, String, String)> = found
            .into_iter()
            .map(|argument| {
                let argument = reply_map(argument)?;
                let field = |field: &str| argument.text(field);
                if field("type")? == "string" {
                    // The id, which must be there.
                    assert_eq!((argument.get("flags"), argument.get("token")), (None, None));
                    return Ok((field("name")?, field("type")?, String::new()));
                }
                let flags = argument.get("flags").context("no flags")?;
                let flags: Vec<String> = array(flags)?.iter().map(text).collect();
                assert_eq!(flags, ["optional"], "{name}");
                let token = match argument.get("arguments") {
                    Some(parts) if field("type")? == "oneof" => one_of(array(parts)?)?,
                    Some(parts) => block(array(parts)?)?,
                    None => field("token")?,
                };
                Ok((field("name")?, field("type")?, token))
            })
            .collect::<Result<_>>()?;
        let arguments: Vec<(String, String, String)> = arguments
            .iter()
            .map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned()))
            .collect();
        assert_eq!(found, arguments, "{name}");
    }
    Ok(())
}

#[test]
fn help_prints_every_command_and_option() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let expected = "\
BLOCKING.<command> [<option> [value] ...]. Commands are:
CLEANUP [THRESHOLD seconds] [DRYRUN] [ORPHANS [grace-seconds]] [MATCH id-pattern] [LIMIT coordinators] [BREAKER percent] [IDS count] [NOWARMUP] [ASYNC] [JSON]
    Remove coordinators whose heartbeat is older than the threshold, with all their keys.
    THRESHOLD: age in seconds above which a coordinator is stale (blocking.threshold-seconds).
    DRYRUN: remove nothing, report what would go.
    ORPHANS: also remove keys whose possible owners have no heartbeat, if nothing about them is younger than this (threshold).
    MATCH: remove only coordinators whose id fits this glob pattern.
    LIMIT: remove at most this many coordinators, the oldest first.
    BREAKER: remove nothing if more than this share of at least 20 coordinators is stale.
    IDS: list at most this many stale ids (100).
    NOWARMUP: remove even if clients could not write a moment ago.
    ASYNC: reply at once with the run's number.
    JSON: reply with one JSON object.
LIST [STALE | LIVE | UNREADABLE] [THRESHOLD seconds] [MATCH id-pattern] [COUNT n] [JSON]
    List coordinators with the state and age of their heartbeat, the oldest first.
    STALE, LIVE, UNREADABLE: list only these; all are counted.
    COUNT: list at most this many (100).
EXPLAIN id [THRESHOLD seconds] [JSON]
    Show what CLEANUP would do with one coordinator and its keys, and why.
DOCTOR [JSON]
    Say in plain sentences what is wrong, the most serious first, and what to do.
STATUS [JSON]
    Show the cleanup under way, the last result, the totals since load and the schedule.
CANCEL
    End the cleanup under way before its next slice.
HELP [command]
    Print this help, or that of one command.";
    let reply = say(&mut conn, "BLOCKING.HELP")?;
    let lines: Vec<String> = array(&reply)?.iter().map(text).collect();
    assert_eq!(lines.join("\n"), expected);
    assert!(
        array(&reply)?
            .iter()
            .all(|line| matches!(line, Value::SimpleString(_)))
    );
    for asked in ["BLOCKING.HELP LIST", "BLOCKING.HELP blocking.list"] {
        let reply = say(&mut conn, asked)?;
        let lines: Vec<String> = array(&reply)?.iter().map(text).collect();
        let (_, of_list) = expected
            .split_once("JSON: reply with one JSON object.\n")
            .context("no LIST")?;
        let (of_list, _) = of_list.split_once("\nEXPLAIN").context("no EXPLAIN")?;
        assert_eq!(lines.join("\n"), of_list, "{asked}");
    }
    Ok(())
}

#[test]
fn module_list_shows_the_version_of_the_package() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let modules: Vec<Value> = blocking_harness::redis::cmd("MODULE")
        .arg("LIST")
        .query(&mut conn)?;
    let modules = modules.into_iter().map(reply_map);
    let modules = modules.collect::<Result<Vec<Reply>>>()?;
    let ours = modules
        .iter()
        .find(|module| module.text("name").is_ok_and(|name| name == "blocking"));
    let parts = env!("CARGO_PKG_VERSION")
        .split('.')
        .map(str::parse::<i64>)
        .collect::<Result<Vec<_>, _>>()?;
    let expected = parts.iter().fold(0, |version, part| version * 100 + part);
    assert_eq!(ours.context("not loaded")?.int("ver")?, expected);
    Ok(())
}
