//! How a private server is to be started: its port, its configuration, the module it loads.
//! Must end in a configuration that listens on loopback only and keeps everything in the server's own folder.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

#[cfg(target_os = "linux")]
use crate::clock::Clock;
use crate::server::{CONFIG_NAME, Environment, PORT_TAKEN, Server};

/// Another process may take a port between our choosing it and the server's binding it.
const PORT_TRIES: usize = 5;
/// A cluster node listens on its port plus 10,000 as well.
const HIGHEST_PORT: u16 = 55_000;

/// How to start a server; every setting has a default.
#[derive(Clone, Debug, Default)]
pub struct ServerBuilder {
    program: Option<PathBuf>,
    without_module: bool,
    aof: bool,
    port: Option<u16>,
    primary_port: Option<u16>,
    config_file: Option<PathBuf>,
    args: Vec<(String, String)>,
    environment: Environment,
}

impl ServerBuilder {
    /// A given server program in place of the system's or the one that `BLOCKING_SERVER_BIN` names.
    pub fn program(self, program: impl Into<PathBuf>) -> Self {
        let program = Some(program.into());
        Self { program, ..self }
    }

    /// Whether to load the module; it is loaded by default.
    pub fn module(self, load: bool) -> Self {
        let without_module = !load;
        Self {
            without_module,
            ..self
        }
    }

    /// One more line of configuration, written as in a `redis.conf`: `.arg("user", "alice on nopass ~* +@all")`.
    pub fn arg(mut self, name: &str, value: impl ToString) -> Self {
        self.args.push((name.to_owned(), value.to_string()));
        self
    }

    /// Whether to keep an append-only file; off by default.
    pub fn aof(self, aof: bool) -> Self {
        Self { aof, ..self }
    }

    /// A given port in place of a free one.
    pub fn port(self, port: u16) -> Self {
        let port = Some(port);
        Self { port, ..self }
    }

    /// Makes the server a replica of `primary`.
    pub fn replica_of(self, primary: &Server) -> Self {
        let primary_port = Some(primary.port());
        Self {
            primary_port,
            ..self
        }
    }

    /// Starts from this configuration. The server gets a copy with the lines of this builder after it, so that they
    /// win, and CONFIG REWRITE changes the copy.
    pub fn config_file(self, path: impl Into<PathBuf>) -> Self {
        let config_file = Some(path.into());
        Self {
            config_file,
            ..self
        }
    }

    /// Gives the server a wall clock that the test can set.
    #[cfg(target_os = "linux")]
    pub fn clock(mut self, clock: &Clock) -> Self {
        self.environment.extend(clock.environment());
        self
    }

    /// Starts the server and waits until it answers; the error of a server that does not ends with its log.
    pub fn start(self) -> Result<Server> {
        for _ in 1..PORT_TRIES {
            match self.start_once() {
                Err(error) if self.port.is_none() && is_port_taken(&error) => {}
                outcome => return outcome,
            }
        }
        self.start_once()
    }

    fn start_once(&self) -> Result<Server> {
        let dir = tempfile::Builder::new()
            .prefix("blocking-server-")
            .tempdir()?;
        let port = self.port.map_or_else(free_port, Ok)?;
        fs::write(dir.path().join(CONFIG_NAME), self.config(dir.path(), port)?)?;
        Server::launch(
            self.program.clone().unwrap_or_else(system_server),
            self.environment.clone(),
            dir,
            port,
        )
    }

    fn config(&self, dir: &Path, port: u16) -> Result<String> {
        let mut lines = Vec::new();
        if let Some(path) = &self.config_file {
            let given = fs::read_to_string(path);
            lines.push(given.with_context(|| format!("cannot read {}", path.display()))?);
        }
        lines.push(format!("port {port}"));
        lines.push(format!("dir {}", quoted(dir)?));
        lines.extend(
            [
                "bind 127.0.0.1",
                "daemonize no",
                "logfile \"\"",
                "save \"\"",
                "enable-module-command yes",
                "enable-debug-command yes",
                "repl-diskless-sync-delay 0",
            ]
            .map(str::to_owned),
        );
        if self.aof {
            lines.push("appendonly yes".to_owned());
        }
        if let Some(primary_port) = self.primary_port {
            lines.push(format!("replicaof 127.0.0.1 {primary_port}"));
        }
        if !self.without_module {
            lines.push(format!("loadmodule {}", quoted(&module_path()?)?));
        }
        lines.extend(
            self.args
                .iter()
                .map(|(name, value)| format!("{name} {value}")),
        );
        lines.push(String::new());
        Ok(lines.join("\n"))
    }
}

fn system_server() -> PathBuf {
    let given = std::env::var_os("BLOCKING_SERVER_BIN");
    given.map_or("redis-server".into(), PathBuf::from)
}

fn is_port_taken(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    [PORT_TAKEN, "Address already in use"]
        .iter()
        .any(|sign| text.contains(sign))
}

fn free_port() -> io::Result<u16> {
    // Refused ports are kept bound until a good one is found, or the system might offer the same one again.
    let mut refused = Vec::new();
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        if port <= HIGHEST_PORT {
            return Ok(port);
        }
        refused.push(listener);
    }
}

/// The module to load: `BLOCKING_MODULE`, or what `make build` leaves in the target folder.
fn module_path() -> Result<PathBuf> {
    let path = match std::env::var_os("BLOCKING_MODULE") {
        Some(path) => PathBuf::from(path),
        None => {
            let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            let target =
                std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
            let name = format!("libblocking_cleanup.{}", std::env::consts::DLL_EXTENSION);
            workspace.join(target).join("release").join(name)
        }
    };
    path.canonicalize().with_context(|| {
        format!(
            "no module at {}; `make build` builds it, BLOCKING_MODULE names another",
            path.display()
        )
    })
}

/// A path as a quoted word of a configuration line.
fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().context("a path that is not UTF-8")?;
    Ok(format!(
        "\"{}\"",
        text.replace('\\', "\\\\").replace('"', "\\\"")
    ))
}
