//! Everything that exists on the wire is on its page: options, settings, fields, errors.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use blocking_harness::redis::{self, Connection, ConnectionLike, Value};
use blocking_harness::{Reply, Server, cleanup, command, reply_map};

use super::{COMMANDS, MONITORING, Page, README, SETTINGS};

/// Fails with all that a page does not mention.
fn mentions(page: &Page, what: &str, names: impl IntoIterator<Item = String>) -> Result<()> {
    let missing: Vec<String> = names
        .into_iter()
        .filter(|name| !page.text.contains(&format!("`{name}`")))
        .collect();
    let path = page.path;
    ensure!(
        missing.is_empty(),
        "{path} does not mention {what}: {missing:?}"
    );
    Ok(())
}

fn names(reply: &Reply) -> Vec<String> {
    reply.names().into_iter().map(str::to_owned).collect()
}

/// Names of a JSON object, those of objects inside it included.
fn json_names(json: &serde_json::Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if let serde_json::Value::Object(fields) = json {
        for (name, value) in fields {
            found.insert(name.clone());
            found.extend(json_names(value));
        }
    }
    found
}

fn json(conn: &mut Connection, name: &str) -> Result<serde_json::Value> {
    let text: Vec<u8> = redis::cmd(name).arg("JSON").query(conn)?;
    Ok(serde_json::from_slice(&text)?)
}

#[test]
fn every_reply_field_is_explained() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client3()?;
    // A user without keys, so that the optional field is there as well.
    redis::cmd("ACL")
        .arg(&["SETUSER", "keyless", "on", "nopass", "resetkeys", "+@all"])
        .query::<()>(&mut conn)?;
    redis::cmd("SET")
        .arg("blocking:heartbeat:a")
        .arg("1700000000000")
        .query::<()>(&mut conn)?;
    let mut keyless = server.client3()?;
    redis::cmd("AUTH")
        .arg(&["keyless", ""])
        .query::<()>(&mut keyless)?;
    let reply = cleanup(&mut keyless, &["ORPHANS"])?;
    assert_eq!(reply.int("keys_denied")?, 1);
    // The page says so: the ACL does not hide ids.
    assert_eq!(reply.texts("stale_ids")?, ["a"]);
    mentions(&COMMANDS, "fields of CLEANUP", names(&reply))?;
    mentions(&COMMANDS, "families", names(&reply.map("keys_by_family")?))?;
    mentions(&COMMANDS, "JSON names of CLEANUP", {
        let all = json_names(&json(&mut keyless, "BLOCKING.CLEANUP")?);
        all.into_iter().collect::<Vec<_>>()
    })?;

    for (name, args) in [("BLOCKING.LIST", &[][..]), ("BLOCKING.EXPLAIN", &["a"][..])] {
        let mut blind = server.client3()?;
        redis::cmd("AUTH")
            .arg(&["keyless", ""])
            .query::<()>(&mut blind)?;
        // What is left out for one is there for the other.
        for conn in [&mut conn, &mut blind] {
            let reply = command(conn, name, args)?;
            mentions(&COMMANDS, name, names(&reply))?;
            for list in ["coordinators", "heartbeats"] {
                if let Some(Value::Array(items)) = reply.get(list) {
                    for item in items {
                        mentions(&COMMANDS, list, names(&reply_map(item.clone())?))?;
                    }
                }
            }
            if let Ok(families) = reply.map("families") {
                mentions(&COMMANDS, "fates", names(&families.map("heartbeat")?))?;
            }
        }
    }

    // What findings have of their own is held against the page by a unit test.
    mentions(&COMMANDS, "fields of DOCTOR", {
        let all = json_names(&json(&mut conn, "BLOCKING.DOCTOR")?);
        all.into_iter().collect::<Vec<_>>()
    })?;

    // One transaction, so that nothing of the run comes between starting it and asking.
    let (_, status, _): (i64, Value, String) = redis::pipe()
        .atomic()
        .cmd("BLOCKING.CLEANUP")
        .arg("ASYNC")
        .cmd("BLOCKING.STATUS")
        .cmd("BLOCKING.CANCEL")
        .query(&mut conn)?;
    let status = reply_map(status)?;
    mentions(&COMMANDS, "fields of STATUS", names(&status))?;
    mentions(
        &COMMANDS,
        "fields of current",
        names(&status.map("current")?),
    )?;
    mentions(&COMMANDS, "fields of totals", names(&status.map("totals")?))?;
    mentions(
        &COMMANDS,
        "fields of schedule",
        names(&status.map("schedule")?),
    )?;
    let ended = blocking_harness::wait_for_value(
        "the end of the run",
        std::time::Duration::from_secs(10),
        || Ok(command(&mut conn, "BLOCKING.STATUS", &[])?),
        |status| status.text("state").is_ok_and(|state| state == "idle"),
    )?;
    let last = ended.map("last")?;
    mentions(&COMMANDS, "fields of a cancelled run", names(&last))?;
    mentions(&COMMANDS, "the reason", [last.text("reason")?])?;
    Ok(())
}

#[test]
fn every_option_setting_and_info_field_is_explained() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client3()?;
    for name in [
        "CLEANUP", "LIST", "EXPLAIN", "DOCTOR", "STATUS", "CANCEL", "HELP",
    ] {
        let name = format!("BLOCKING.{name}");
        ensure!(
            COMMANDS.text.contains(&format!("\n## {name}\n")),
            "no section {name}"
        );
        for page in [&README, &COMMANDS] {
            let row = format!("\n| [`{name}`](");
            ensure!(page.text.contains(&row), "{}: no {name}", page.path);
        }
        let docs: Value = redis::cmd("COMMAND")
            .arg(&["DOCS", &name])
            .query(&mut conn)?;
        let docs = reply_map(docs)?.map(&name.to_lowercase())?;
        let Some(Value::Array(arguments)) = docs.get("arguments") else {
            continue;
        };
        for argument in arguments {
            let mut argument = reply_map(argument.clone())?;
            // In a block the first part has the keyword; where one of several is given, the page lists all.
            if let Some(Value::Array(parts)) = argument.get("arguments") {
                argument = reply_map(parts[0].clone())?;
            }
            // The id of EXPLAIN.
            if argument.text("type")? == "string" {
                continue;
            }
            let token = argument.text("token")?;
            let is_there = [format!("`{token}`"), format!("`{token} ")]
                .iter()
                .any(|word| COMMANDS.text.contains(word));
            ensure!(is_there, "{name}: no {token}");
        }
    }
    cleanup(&mut conn, &[])?;
    let info: String = redis::cmd("INFO").arg("blocking").query(&mut conn)?;
    let fields: Vec<String> = info
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0.to_owned()))
        .collect();
    assert!(fields.len() > 30, "{info}");
    mentions(&MONITORING, "INFO fields", fields)?;

    let settings: BTreeMap<String, String> = redis::cmd("CONFIG")
        .arg(&["GET", "blocking.*"])
        .query(&mut conn)?;
    assert_eq!(settings.len(), 22);
    let mut numbers = 0;
    for (name, default) in settings {
        let row = SETTINGS
            .text
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.with_context(|| format!("no row for {name}"))?;
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let in_row = if cells[2] == "none" {
            ""
        } else {
            cells[2].trim_matches('`')
        };
        redis::cmd("CONFIG")
            .arg(&["SET", &name, in_row])
            .query::<()>(&mut conn)?;
        let shown: BTreeMap<String, String> =
            redis::cmd("CONFIG").arg(&["GET", &name]).query(&mut conn)?;
        assert_eq!(shown[&name], default, "{row}");
        let Some((min, max)) = cells[3].split_once(" to ").filter(|(min, _)| {
            min.trim_start_matches('-')
                .bytes()
                .all(|b| b.is_ascii_digit())
        }) else {
            continue;
        };
        numbers += 1;
        let below = min.parse::<i64>()? - 1;
        let error = error_text(&mut conn, &format!("CONFIG SET {name} {below}"))?;
        let range = format!("between {min} and {max} inclusive");
        ensure!(error.contains(&range), "{row}: {error}");
    }
    assert_eq!(numbers, 13, "rows with a range of numbers");
    Ok(())
}

#[test]
fn every_field_of_an_obituary_is_explained() -> Result<()> {
    let server = Server::builder()
        .arg("blocking.obituary-stream", "obituaries")
        .start()?;
    let mut conn = server.client()?;
    redis::cmd("SET")
        .arg("blocking:heartbeat:a")
        .arg("1700000000000")
        .exec(&mut conn)?;
    cleanup(&mut conn, &[])?;
    let entries: Vec<(String, Vec<(String, String)>)> = redis::cmd("XRANGE")
        .arg(&["obituaries", "-", "+"])
        .query(&mut conn)?;
    let (_, fields) = entries.into_iter().next().context("no entry")?;
    let (_, section) = MONITORING
        .text
        .split_once("\n## Obituaries\n")
        .context("no section")?;
    for (name, _) in fields {
        ensure!(section.contains(&format!("`{name}`")), "no {name}");
    }
    Ok(())
}

/// The error that a command answers with.
fn error_text(conn: &mut Connection, line: &str) -> Result<String> {
    let mut command = redis::Cmd::new();
    for word in line.split(' ') {
        command.arg(word);
    }
    match conn.req_command(&command)? {
        Value::ServerError(error) => Ok(format!(
            "{} {}",
            error.code(),
            error.details().unwrap_or_default()
        )),
        other => bail!("{line} gave {other:?}"),
    }
}

#[test]
fn every_error_stands_there_word_for_word() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let mut errors = Vec::new();
    for line in [
        "BLOCKING.CLEANUP FOO",
        "BLOCKING.STATUS FOO",
        "BLOCKING.LIST FOO",
        "BLOCKING.EXPLAIN a FOO",
        "BLOCKING.EXPLAIN ",
        "BLOCKING.DOCTOR FOO",
        "BLOCKING.LIST STALE LIVE",
        "BLOCKING.LIST COUNT",
        "BLOCKING.LIST COUNT 0",
        "BLOCKING.CLEANUP DRYRUN DRYRUN",
        "BLOCKING.CLEANUP THRESHOLD",
        "BLOCKING.CLEANUP THRESHOLD abc",
        "BLOCKING.CLEANUP ORPHANS 0",
        "BLOCKING.CLEANUP LIMIT",
        "BLOCKING.CLEANUP LIMIT 0",
        "BLOCKING.CLEANUP BREAKER",
        "BLOCKING.CLEANUP BREAKER 0",
        "BLOCKING.CLEANUP IDS",
        "BLOCKING.CLEANUP IDS 10001",
        "BLOCKING.CLEANUP MATCH",
        "BLOCKING.CLEANUP MATCH ",
        "BLOCKING.CANCEL",
    ] {
        errors.push(error_text(&mut conn, line)?);
    }
    for line in [
        "MULTI",
        "BLOCKING.CLEANUP",
        "BLOCKING.LIST",
        "BLOCKING.EXPLAIN a",
        "BLOCKING.DOCTOR",
        "BLOCKING.CLEANUP ASYNC",
        "BLOCKING.CLEANUP ASYNC",
    ] {
        let mut command = redis::Cmd::new();
        command.arg(line.split(' ').collect::<Vec<_>>());
        conn.req_command(&command)?;
    }
    let Value::Array(replies) = conn.req_command(&redis::cmd("EXEC"))? else {
        bail!("EXEC gave no array");
    };
    for reply in replies {
        if let Value::ServerError(error) = reply {
            let text = format!("{} {}", error.code(), error.details().unwrap_or_default());
            // The page has other numbers than this run.
            errors.push(match text.starts_with("INPROGRESS") {
                true => text
                    .replace("run 1,", "run 7,")
                    .replace(" 0%", " 42%")
                    .replace(" 0 s", " 3 s"),
                false => text,
            });
        }
    }
    let primary = Server::start()?;
    let replica = Server::builder().replica_of(&primary).start()?;
    replica.wait_in_sync_with(&primary)?;
    let mut conn = replica.client()?;
    errors.push(error_text(&mut conn, "BLOCKING.CLEANUP")?);
    redis::cmd("CONFIG")
        .arg(&["SET", "replica-read-only", "no"])
        .query::<()>(&mut conn)?;
    errors.push(error_text(&mut conn, "BLOCKING.CLEANUP")?);
    assert_eq!(
        errors.iter().collect::<BTreeSet<_>>().len(),
        29,
        "{errors:#?}"
    );
    mentions(&COMMANDS, "errors", errors)
}
