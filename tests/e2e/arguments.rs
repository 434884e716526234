//! What the commands take and what they answer, byte by byte over the wire.
//! Must not test what a cleanup decides beyond what an option changes: that is for the other modules.

/// COMMAND DOCS, COMMAND INFO, HELP.
mod declared;
/// JSON replies: names, order, ids that are not plain text.
mod json;
/// What is refused, and in which words.
mod refused;
/// Fields of CLEANUP and STATUS in both protocols; what LIMIT, IDS and MATCH change.
mod replies;
/// ASYNC, STATUS during a run, CANCEL, MULTI, scripts.
mod waiting;

use anyhow::Result;
use blocking_harness::Server;
use blocking_harness::redis::{self, Connection, ConnectionLike, Value};

/// A beat of November 2023: stale for ever.
const OLD_MS: i64 = 1_700_000_000_000;

/// A server that has been there for long, so that replies do not speak of its warm-up.
fn start_warm() -> Result<Server> {
    Server::builder().arg("blocking.warm-up-seconds", 0).start()
}

/// Sends a command of any bytes and yields the reply as it came; errors inside an array stay where they are.
fn send(conn: &mut Connection, words: &[&[u8]]) -> Result<Value> {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    Ok(conn.req_command(&command)?)
}

/// The same for a command without spaces inside its words.
fn say(conn: &mut Connection, line: &str) -> Result<Value> {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    send(conn, &words)
}

/// The text of an error reply; any other reply is shown instead, so that a comparison fails readably.
fn error_of(reply: &Value) -> String {
    match reply {
        Value::ServerError(error) => match error.details() {
            Some(details) => format!("{} {details}", error.code()),
            None => error.code().to_owned(),
        },
        other => format!("no error but {other:?}"),
    }
}

/// A heartbeat and a signal, the heartbeat as old as `beat_ms` says.
fn write_pair(conn: &mut Connection, id: &[u8], beat_ms: i64) -> Result<()> {
    let heartbeat = [b"blocking:heartbeat:", id].concat();
    let signal = [b"blocking:signal:", id].concat();
    let beat = format!(r#"{{"timestamp":{beat_ms}}}"#);
    send(conn, &[b"SET", &heartbeat, beat.as_bytes()])?;
    send(conn, &[b"SET", &signal, b"x"])?;
    Ok(())
}
