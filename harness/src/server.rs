//! One private server for one test: loopback only, a free port, a folder of its own, gone when dropped.
//! Must never connect to, signal or clean up after a server that it did not start itself.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use redis::{Connection, ProtocolVersion, RedisResult};
use tempfile::TempDir;

use crate::builder::ServerBuilder;
use crate::client::{connect, info_field};
use crate::process::spawn_bound;
use crate::wait::{stretched, wait_until};

/// Until a server must answer; loading ten million keys counts too.
const START_DEADLINE: Duration = Duration::from_secs(300);
const STOP_DEADLINE: Duration = Duration::from_secs(30);
const SYNC_DEADLINE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(5);
const LOG_TAIL_LINES: usize = 30;
pub(crate) const CONFIG_NAME: &str = "redis.conf";
pub(crate) const PORT_TAKEN: &str = "the port was taken";
const LOG_NAME: &str = "server.log";

/// `term`: servers that are dropped are asked to end, and killed only if they do not.
const STOP: &str = "BLOCKING_SERVER_STOP";

/// What a server finds in its environment beside what this process has.
pub(crate) type Environment = Vec<(&'static str, PathBuf)>;

/// A running server; dropping it kills it and removes its folder.
pub struct Server {
    program: PathBuf,
    environment: Environment,
    child: Mutex<Child>,
    port: u16,
    dir: TempDir,
}

impl Server {
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// A server with the module and nothing special.
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// Starts a server from the configuration in `dir` and waits until it answers.
    pub(crate) fn launch(
        program: PathBuf,
        environment: Environment,
        dir: TempDir,
        port: u16,
    ) -> Result<Self> {
        let child = Mutex::new(launch(&program, &environment, dir.path())?);
        let server = Self {
            program,
            environment,
            child,
            port,
            dir,
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// A RESP2 connection.
    pub fn client(&self) -> Result<Connection> {
        self.connect(0, ProtocolVersion::RESP2)
    }

    /// A RESP3 connection.
    pub fn client3(&self) -> Result<Connection> {
        self.connect(0, ProtocolVersion::RESP3)
    }

    /// A RESP2 connection to another database.
    pub fn client_db(&self, db: i64) -> Result<Connection> {
        self.connect(db, ProtocolVersion::RESP2)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// The server's own folder: configuration, log, append-only file.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The file that everything the server says goes to.
    pub fn log_path(&self) -> PathBuf {
        self.dir().join(LOG_NAME)
    }

    /// Everything the server has logged, over all its restarts.
    pub fn log(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    pub fn is_alive(&self) -> bool {
        matches!(self.child().try_wait(), Ok(None))
    }

    /// Ends the server as a power cut would: nothing is flushed, nothing is said.
    pub fn kill9(&self) -> Result<()> {
        let mut child = self.child();
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.pid().try_into()?), signal)?)
    }

    /// Asks the server to end (SIGTERM) and waits until it has; a server that does not is killed, and that is an error.
    pub fn shutdown(&self) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        self.signal(Signal::SIGTERM)?;
        let ended = wait_until("the server's end", STOP_DEADLINE, || {
            (!self.is_alive()).then_some(())
        });
        if ended.is_err() {
            self.kill9()?;
        }
        ended.with_context(|| self.log_tail())
    }

    /// Starts the server again, killing it first if it still runs: same folder, same port, same configuration.
    pub fn restart(&self) -> Result<()> {
        if self.is_alive() {
            self.kill9()?;
        }
        *self.child() = launch(&self.program, &self.environment, self.dir())?;
        self.wait_until_ready()
    }

    /// Waits until this replica has everything that `primary` has written so far, and `primary` counts it as online:
    /// after a full resync that comes with the replica's first acknowledgement, up to a second later.
    pub fn wait_in_sync_with(&self, primary: &Server) -> Result<()> {
        let mut above = primary.client()?;
        let goal = offset(&mut above)?;
        let mut conn = self.client()?;
        wait_until("the replica to catch up", SYNC_DEADLINE, || {
            let up = info_field(&mut conn, "replication", "master_link_status");
            let reached = offset(&mut conn).is_ok_and(|offset| offset >= goal);
            (up.is_ok_and(|up| up == "up") && reached && is_online(&mut above, self.port))
                .then_some(())
        })
        .with_context(|| self.log_tail())
    }

    /// From now on Ctrl-C and SIGTERM end the server and this process, and leave no folder behind. Once per process.
    pub fn stop_on_interrupt(&self) -> Result<()> {
        let (pid, dir) = (self.pid(), self.dir().to_owned());
        ctrlc::set_handler(move || {
            if let Ok(pid) = pid.try_into().map(Pid::from_raw) {
                let _ = kill(pid, Signal::SIGKILL);
                let _ = waitpid(pid, None);
            }
            let _ = fs::remove_dir_all(&dir);
            std::process::exit(130);
        })?;
        Ok(())
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self, db: i64, protocol: ProtocolVersion) -> Result<Connection> {
        connect(self.port, db, protocol)
            .with_context(|| format!("cannot connect to the server on port {}", self.port))
    }

    fn wait_until_ready(&self) -> Result<()> {
        let started = Instant::now();
        while !self.is_ready()? {
            ensure!(
                self.is_alive(),
                "the server ended while starting; {}",
                self.log_tail()
            );
            ensure!(
                started.elapsed() < stretched(START_DEADLINE),
                "the server gave no answer within {START_DEADLINE:?}; {}",
                self.log_tail()
            );
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Whether PING is answered, by this very server and not by one that took the port first.
    fn is_ready(&self) -> Result<bool> {
        let Ok(mut conn) = connect(self.port, 0, ProtocolVersion::RESP2) else {
            return Ok(false);
        };
        match redis::cmd("PING").query::<String>(&mut conn) {
            // A server that asks for a password is up; whose it is cannot be asked without one.
            Err(error) => Ok(error.code().is_some_and(|code| code != "LOADING")),
            Ok(_) => match info_field(&mut conn, "server", "process_id") {
                Ok(pid) if pid != self.pid().to_string() => {
                    let _ = self.kill9();
                    bail!("{PORT_TAKEN} by process {pid}")
                }
                answer => Ok(answer.is_ok()),
            },
        }
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
        format!("the end of its log:\n{}", tail.join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Something that watches the server may have its say only when the server ends by itself.
        let _ = match std::env::var(STOP) {
            Ok(how) if how == "term" => self.shutdown(),
            _ => self.kill9(),
        };
    }
}

fn launch(program: &Path, environment: &Environment, dir: &Path) -> Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.join(LOG_NAME))?;
    let mut command = Command::new(program);
    command
        .arg(dir.join(CONFIG_NAME))
        .current_dir(dir)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    spawn_bound(command).with_context(|| {
        format!("cannot start {}; `make setup` installs redis-server, BLOCKING_SERVER_BIN names another", program.display())
    })
}

fn offset(conn: &mut Connection) -> Result<u64> {
    Ok(info_field(conn, "replication", "master_repl_offset")?.parse()?)
}

/// Whether a primary counts the replica that listens on `port` as online.
fn is_online(primary: &mut Connection, port: u16) -> bool {
    let info: RedisResult<String> = redis::cmd("INFO").arg("replication").query(primary);
    let ours = format!(",port={port},state=online,");
    info.is_ok_and(|info| {
        info.lines()
            .any(|line| line.starts_with("slave") && line.contains(&ours))
    })
}
