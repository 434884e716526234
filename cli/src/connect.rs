//! Connections: where to, with which certificates, as which user.
//! Must never run anything as another user than the one that was asked for, nor send a command a second time.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    Client, ClientTlsConfig, Connection, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo, RedisConnectionInfo, RedisError, RedisResult, TlsCertificates, Value,
};

use crate::args::ConnectionOptions;
use crate::escape::escaped;
use crate::failure::{Failure, no_password, server_text};

const PASSWORD: &str = "REDISCLI_AUTH";
const HOST: &str = "127.0.0.1";
const PORT: u16 = 6379;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For the first answer of a server, which may be busy with a command of another client.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// A network that is gone shows within two minutes, however long a run takes.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);

/// From the environment: what stands on the command line every user of the machine can read.
pub fn password() -> Result<Option<String>, Failure> {
    let given = std::env::var_os(PASSWORD).map(OsString::into_string);
    // One that is left out would make this another user.
    let given = given.transpose();
    given.map_err(|_| Failure::login(format!("AUTH failed: {PASSWORD} is no text in UTF-8")))
}

/// A server, and a user of it.
#[derive(Clone)]
pub struct Target {
    client: Client,
    user: Option<String>,
    password: Option<String>,
    db: i64,
    /// For messages; no password is in it.
    name: String,
}

/// What the server says of itself when a client comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Greeting {
    /// The server's number of the connection, which only grows as long as the server runs.
    pub id: Option<i64>,
    pub server: String,
    pub version: String,
    pub role: String,
}

impl Greeting {
    /// Whether the server was started anew since it gave a connection this number.
    pub fn is_anew(&self, before: Option<i64>) -> bool {
        let both = before.zip(self.id);
        both.is_some_and(|(before, now)| now <= before)
    }
}

/// A connection that is logged in, in the database that was asked for.
pub struct Link {
    pub conn: Connection,
    pub greeting: Greeting,
}

impl Target {
    pub fn new(options: ConnectionOptions, password: Option<String>) -> Result<Self, Failure> {
        // Fails only if there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (addr, given) = address(&options)?;
        let is_tls = matches!(addr, ConnectionAddr::TcpTls { .. });
        let of_tls = [&options.cacert, &options.cert, &options.key];
        if !is_tls && (options.insecure || of_tls.iter().any(|file| file.is_some())) {
            let text = "certificates mean something with --tls or a rediss:// address only";
            return Err(Failure::error(text));
        }
        let name = escaped(&addr.to_string());
        let user = options.user.clone();
        let user = user.or_else(|| given.username().map(str::to_owned));
        // What stands in an address is meant for it.
        let password = given.password().map(str::to_owned).or(password);
        let db = options.db.map_or(given.db(), i64::from);
        let wrong = |error| Failure::error(server_text(&error));
        let info = settings(addr).map_err(wrong)?;
        let client = match is_tls {
            true => Client::build_with_tls(info, certificates(&options)?),
            false => Client::open(info),
        };
        Ok(Self {
            client: client.map_err(wrong)?,
            user,
            password,
            db,
            name,
        })
    }

    /// A connection of its own, without a limit to how long an answer may take.
    pub fn connect(&self) -> Result<Link, Failure> {
        let cannot = |error: RedisError| {
            let (name, why) = (&self.name, server_text(&error));
            Failure::error(format!("cannot connect to {name}: {why}"))
        };
        let client = &self.client;
        let mut conn = client
            .get_connection_with_timeout(CONNECT_TIMEOUT)
            .map_err(cannot)?;
        conn.set_read_timeout(Some(LOGIN_TIMEOUT)).map_err(cannot)?;
        let greeting =
            self.log_in(&mut conn)
                .map_err(|error| match (error.code(), error.kind()) {
                    (Some("NOAUTH"), _) => no_password(),
                    (Some("WRONGPASS"), _) | (_, ErrorKind::AuthenticationFailed) => {
                        Failure::login(format!("AUTH failed: {}", server_text(&error)))
                    }
                    (Some(_), _) => Failure::error(server_text(&error)),
                    _ => cannot(error),
                })?;
        conn.set_read_timeout(None).map_err(cannot)?;
        Ok(Link { conn, greeting })
    }

    /// One command does all of it that every user may call, whatever its rights: the login, and the number of the
    /// connection. Asking for the number by CLIENT ID would be refused to many, and stand in the server's ACL LOG.
    fn log_in(&self, conn: &mut Connection) -> RedisResult<Greeting> {
        let mut hello = redis::cmd("HELLO");
        hello.arg(2);
        if self.user.is_some() || self.password.is_some() {
            // A user without a password is asked for, too: it may need none, but nobody else will do in its place.
            hello.arg("AUTH");
            hello.arg(self.user.as_deref().unwrap_or("default"));
            hello.arg(self.password.as_deref().unwrap_or_default());
        }
        let greeting = greeting(hello.query(conn)?);
        if self.db != 0 {
            redis::cmd("SELECT").arg(self.db).exec(conn)?;
        }
        Ok(greeting)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Sends one command whose answer is one string.
pub fn ask(conn: &mut Connection, name: &str, words: &[Vec<u8>]) -> RedisResult<Vec<u8>> {
    redis::cmd(name).arg(words).query(conn)
}

/// Where the server is, and what else an address says.
fn address(options: &ConnectionOptions) -> Result<(ConnectionAddr, RedisConnectionInfo), Failure> {
    if let Some(uri) = &options.uri {
        let info = uri.as_str().into_connection_info();
        // The text of the error could show the address, and with it a password.
        let info = info.map_err(|_| {
            Failure::error("not an address: -u takes redis://, rediss:// or unix://")
        })?;
        let mut addr = info.addr().clone();
        if let ConnectionAddr::TcpTls { insecure, .. } = &mut addr {
            *insecure |= options.insecure;
        }
        return Ok((addr, info.redis_settings().clone()));
    }
    let host = options.host.clone().unwrap_or_else(|| HOST.to_owned());
    let port = options.port.unwrap_or(PORT);
    let addr = match (&options.socket, options.tls) {
        (Some(socket), _) => ConnectionAddr::Unix(socket.clone()),
        (None, false) => ConnectionAddr::Tcp(host, port),
        (None, true) => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: options.insecure,
            tls_params: None,
        },
    };
    Ok((addr, RedisConnectionInfo::default()))
}

/// The login is sent by hand, so the library sends nothing of its own.
fn settings(addr: ConnectionAddr) -> RedisResult<ConnectionInfo> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_EVERY);
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive);
    let nothing = RedisConnectionInfo::default().set_skip_set_lib_name();
    let info = addr.into_connection_info()?;
    Ok(info.set_tcp_settings(tcp).set_redis_settings(nothing))
}

fn certificates(options: &ConnectionOptions) -> Result<TlsCertificates, Failure> {
    let client_tls = match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => Some(ClientTlsConfig {
            client_cert: read(cert)?,
            client_key: read(key)?,
        }),
        _ => None,
    };
    let root_cert = options.cacert.as_deref().map(read).transpose()?;
    Ok(TlsCertificates {
        client_tls,
        root_cert,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| {
        let path = escaped(&path.to_string_lossy());
        Failure::error(format!("cannot read {path}: {error}"))
    })
}

/// Names and values in turn.
pub fn greeting(value: Value) -> Greeting {
    let mut greeting = Greeting::default();
    let items = match value {
        Value::Array(items) => items,
        _ => return greeting,
    };
    let mut items = items.into_iter();
    while let (Some(name), Some(value)) = (items.next(), items.next()) {
        let text =
            |value: Value| escaped(&redis::from_redis_value::<String>(value).unwrap_or_default());
        match redis::from_redis_value::<String>(name).as_deref() {
            Ok("id") => greeting.id = redis::from_redis_value(value).ok(),
            Ok("server") => greeting.server = text(value),
            Ok("version") => greeting.version = text(value),
            Ok("role") => greeting.role = text(value),
            _ => {}
        }
    }
    greeting
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(change: impl FnOnce(&mut ConnectionOptions)) -> Result<Target, Failure> {
        let mut options = ConnectionOptions::default();
        change(&mut options);
        Target::new(options, Some("from-environment".to_owned()))
    }

    #[test]
    fn addresses_are_those_of_redis_cli() {
        let plain = target(|_| ()).expect("plain");
        assert_eq!(plain.to_string(), "127.0.0.1:6379");
        assert_eq!((plain.db, plain.user), (0, None));
        assert_eq!(plain.password.as_deref(), Some("from-environment"));
        let socket = target(|o| o.socket = Some("/run/redis.sock".into())).expect("socket");
        assert_eq!(socket.to_string(), "/run/redis.sock");
        let uri = |uri: &str| target(|o| o.uri = Some(uri.to_owned()));
        let all = uri("redis://janitor:se%20cret@redis.test:7000/3").expect("URI");
        assert_eq!(all.to_string(), "redis.test:7000");
        assert_eq!(all.user.as_deref(), Some("janitor"));
        assert_eq!(all.password.as_deref(), Some("se cret"));
        assert_eq!(all.db, 3);
        let tls = uri("rediss://redis.test").expect("TLS");
        let addr = tls.client.get_connection_info().addr().clone();
        assert!(matches!(
            addr,
            ConnectionAddr::TcpTls {
                insecure: false,
                ..
            }
        ));
        assert!(uri("unix:///run/redis.sock").is_ok());
        let wrong = uri("http://janitor:secret@a").err().expect("no address");
        assert!(!wrong.to_string().contains("secret"));
    }

    #[test]
    fn certificates_without_tls_are_a_mistake() {
        assert!(target(|o| o.insecure = true).is_err());
        assert!(target(|o| o.cacert = Some("/dev/null".into())).is_err());
        let gone = target(|o| (o.tls, o.cacert) = (true, Some("/no/such/file".into())));
        let text = gone.err().expect("no file").to_string();
        assert!(text.starts_with("cannot read /no/such/file: "), "{text}");
    }

    #[test]
    fn a_greeting_is_read_as_far_as_it_is_known() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let said = [
            [text("server"), text("valkey\x1b")],
            [text("proto"), Value::Int(2)],
            [text("id"), Value::Int(7)],
            [text("role"), text("master")],
            [text("modules"), Value::Array(Vec::new())],
        ];
        let found = greeting(Value::Array(said.concat()));
        assert_eq!(found.id, Some(7));
        assert_eq!(found.server, r"valkey\x1b");
        assert_eq!(
            (found.role.as_str(), found.version.as_str()),
            ("master", "")
        );
        assert_eq!(greeting(Value::Nil), Greeting::default());
        assert!(found.is_anew(Some(7)) && found.is_anew(Some(8)));
        assert!(!found.is_anew(Some(6)) && !found.is_anew(None));
    }
}
