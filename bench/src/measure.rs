//! What a run costs the server, read from outside: time of its main thread, memory. Linux only: it reads /proc.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{Server, info_field};

/// Pause between two reads of `used_memory`.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// CPU time that the main thread has used so far, in milliseconds.
pub fn main_thread_ms(conn: &mut Connection) -> Result<f64> {
    let info: String = redis::cmd("INFO").arg("cpu").query(conn)?;
    main_thread_of(&info).with_context(|| format!("no main thread in {info}"))
}

fn main_thread_of(info: &str) -> Option<f64> {
    let field = |name: &str| -> Option<f64> {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line?.strip_prefix(':')?.trim().parse().ok()
    };
    let s = field("used_cpu_sys_main_thread")? + field("used_cpu_user_main_thread")?;
    Some(s * 1_000.0)
}

/// Resident memory of a process: now, and the peak since `begin`.
pub struct Resident {
    pid: u32,
}

impl Resident {
    /// Resets the peak. Yields the size now, too.
    pub fn begin(server: &Server) -> Result<(Self, i64)> {
        let resident = Self { pid: server.pid() };
        // 5 sets the peak to the present size.
        fs::write(format!("/proc/{}/clear_refs", resident.pid), "5")
            .context("cannot reset the peak of resident memory")?;
        let now = resident.bytes("VmRSS")?;
        Ok((resident, now))
    }

    pub fn peak(&self) -> Result<i64> {
        self.bytes("VmHWM")
    }

    fn bytes(&self, field: &str) -> Result<i64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        status_bytes(&status, field).with_context(|| format!("no {field} in {status}"))
    }
}

fn status_bytes(status: &str, field: &str) -> Option<i64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

/// Reads `used_memory` all the time and keeps the highest. The server does not answer while a script runs, so its own
/// peak is read afterwards.
pub struct UsedPeak {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<i64>>,
}

impl UsedPeak {
    pub fn watch(server: &Server) -> Result<Self> {
        let mut conn = server.client()?;
        let noticed_before = bytes(&mut conn, "used_memory_peak")?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            while !told.load(Ordering::Relaxed) {
                peak = peak.max(bytes(&mut conn, "used_memory")?);
                std::thread::sleep(LOOK_EVERY);
            }
            // This is the peak since the server's start, so it counts only if it has risen.
            match bytes(&mut conn, "used_memory_peak")? {
                noticed if noticed > noticed_before => Ok(peak.max(noticed)),
                _ => Ok(peak),
            }
        });
        Ok(Self { stop, thread })
    }

    pub fn end(self) -> Result<i64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("the thread that reads used_memory panicked"))?
    }
}

fn bytes(conn: &mut Connection, field: &str) -> Result<i64> {
    Ok(info_field(conn, "memory", field)?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_threads_time_is_system_and_user() {
        let info = "# CPU\r\nused_cpu_sys:9.0\r\nused_cpu_sys_main_thread:0.250000\r\nused_cpu_user_main_thread:1.500000\r\n";
        assert_eq!(main_thread_of(info), Some(1_750.0));
        assert_eq!(main_thread_of("used_cpu_sys:9.0\r\n"), None);
    }

    #[test]
    fn sizes_are_in_kib() {
        let status = "VmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(status_bytes(status, "VmRSS"), Some(1_048_576));
        assert_eq!(status_bytes(status, "VmSwap"), None);
    }
}
