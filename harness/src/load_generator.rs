//! Many clients that keep a server as busy as it can be, to measure how much they still get done while something runs.
//! Must spend as little as possible on its own side, so that the server is what is busy.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::server::Server;

/// The key that the clients read.
const KEY: &str = "load:asked";
const ANSWER: &[u8] = b"$7\r\nvalue:1\r\n";

/// Many clients in one thread, each with a few requests under way at any time. Bytes are counted rather than
/// parsed, so that the server is what is busy.
pub struct LoadGenerator {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl LoadGenerator {
    /// The clients read one key of their own, which exists from now until they finish.
    pub fn start(server: &Server, clients: usize) -> Result<Self> {
        const AT_ONCE: usize = 16;
        let mut conn = server.client()?;
        let () = redis::cmd("SET").arg(KEY).arg("value:1").query(&mut conn)?;
        let requests = format!("GET {KEY}\r\n").repeat(AT_ONCE).into_bytes();
        let mut answer = ANSWER.repeat(AT_ONCE);
        let mut streams = Vec::new();
        for _ in 0..clients {
            let stream = TcpStream::connect(("127.0.0.1", server.port()))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            streams.push(stream);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(AtomicU64::new(0));
        let (told, count) = (Arc::clone(&stop), Arc::clone(&answers));
        let thread = std::thread::spawn(move || -> Result<()> {
            for stream in &mut streams {
                stream.write_all(&requests)?;
            }
            while !told.load(Ordering::Relaxed) {
                for stream in &mut streams {
                    stream.read_exact(&mut answer)?;
                    count.fetch_add(AT_ONCE as u64, Ordering::Relaxed);
                    stream.write_all(&requests)?;
                }
            }
            ensure!(answer.starts_with(ANSWER), "another answer");
            drop(streams);
            Ok(redis::cmd("DEL").arg(KEY).query(&mut conn)?)
        });
        Ok(Self {
            stop,
            answers,
            thread: Some(thread),
        })
    }

    /// Answers per second while `work` goes on.
    pub fn rate<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
        let (before, started) = (self.answers.load(Ordering::Relaxed), Instant::now());
        let done = work()?;
        let answers = self.answers.load(Ordering::Relaxed) - before;
        Ok((done, answers as f64 / started.elapsed().as_secs_f64()))
    }

    pub fn finish(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("finished once")?;
        thread
            .join()
            .map_err(|_| anyhow!("the load generator's thread panicked"))?
    }
}

impl Drop for LoadGenerator {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
