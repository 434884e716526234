//! Connections to a private server and the module's commands sent through them.
//! Must not interpret a reply beyond its shape: what a field should be is for the test to say.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use redis::io::tcp::TcpSettings;
use redis::{
    Connection, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    RedisError, RedisResult,
};

use crate::reply::Reply;
use crate::wait::stretched;

/// How long a client waits for one reply. A Lua script that stalls the server for half a minute must still be heard.
const REPLY_TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens a connection that sends nothing of its own accord but what the protocol and the database ask for.
pub(crate) fn connect(port: u16, db: i64, protocol: ProtocolVersion) -> RedisResult<Connection> {
    // CLIENT SETINFO is left out: Redis 7.0 does not know it, and the error would show in INFO errorstats.
    let settings = RedisConnectionInfo::default()
        .set_db(db)
        .set_protocol(protocol)
        .set_skip_set_lib_name();
    let info = ConnectionAddr::Tcp("127.0.0.1".to_owned(), port)
        .into_connection_info()?
        .set_tcp_settings(TcpSettings::default().set_nodelay(true))
        .set_redis_settings(settings);
    let conn =
        redis::Client::open(info)?.get_connection_with_timeout(stretched(CONNECT_TIMEOUT))?;
    conn.set_read_timeout(Some(stretched(REPLY_TIMEOUT)))?;
    Ok(conn)
}

/// Sends one command whose reply is a map.
pub fn command(conn: &mut Connection, name: &str, args: &[&str]) -> RedisResult<Reply> {
    redis::cmd(name).arg(args).query(conn)
}

/// `BLOCKING.CLEANUP` with these arguments, waiting for the end of the run.
pub fn cleanup(conn: &mut Connection, args: &[&str]) -> RedisResult<Reply> {
    command(conn, "BLOCKING.CLEANUP", args)
}

/// `BLOCKING.CLEANUP ... ASYNC`; yields the number of the run.
pub fn cleanup_async(conn: &mut Connection, args: &[&str]) -> RedisResult<i64> {
    redis::cmd("BLOCKING.CLEANUP")
        .arg(args)
        .arg("ASYNC")
        .query(conn)
}

/// An error reply as it went over the wire, code word first, without the client library's own words around it.
pub fn error_text(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        _ => error.to_string(),
    }
}

/// One field of `INFO section`, as text.
pub fn info_field(conn: &mut Connection, section: &str, field: &str) -> Result<String> {
    let info: String = redis::cmd("INFO").arg(section).query(conn)?;
    info.lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .map(|value| value.trim().to_owned())
        .with_context(|| format!("INFO {section} has no field {field}:\n{info}"))
}

/// Whether a run's walk removes keys whose TTL has passed, as it does where it is the server's own SCAN: on Valkey from
/// 8.1 on. A dry run never does.
pub fn walk_removes_expired(conn: &mut Connection) -> bool {
    valkey_version(conn) >= Some([8, 1, 0])
}

/// Whether a module hears of writes of strings and hashes only, on Valkey from 8.1.1 to 9.1.0:
/// docs/guarantees.md#what-it-costs-while-it-is-loaded.
pub fn hears_few_writes(conn: &mut Connection) -> bool {
    valkey_version(conn).is_some_and(|version| ([8, 1, 1]..[9, 1, 1]).contains(&version))
}

/// `None` for Redis.
fn valkey_version(conn: &mut Connection) -> Option<[u32; 3]> {
    let version = info_field(conn, "server", "valkey_version").ok()?;
    let numbers = version.split('.').map_while(|number| number.parse().ok());
    numbers.collect::<Vec<_>>().try_into().ok()
}

/// The server's wall clock, the only clock that heartbeats are judged by.
pub fn server_now_ms(conn: &mut Connection) -> RedisResult<i64> {
    let (seconds, micros): (i64, i64) = redis::cmd("TIME").query(conn)?;
    Ok(seconds * 1_000 + micros / 1_000)
}

/// Where the module lies that the server has loaded. Servers list modules of their own beside it: Redis 8 its vector
/// sets, Valkey 9 its Lua.
pub fn module_path(conn: &mut Connection) -> Result<String> {
    let modules: Vec<Reply> = redis::cmd("MODULE").arg("LIST").query(conn)?;
    for module in &modules {
        if module.text("name")? == "blocking" {
            return module.text("path");
        }
    }
    bail!("the module is not among {modules:?}")
}
