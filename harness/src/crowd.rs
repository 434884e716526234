//! Many busy clients, which keep a server as busy as it can be: how much they still get done while something runs.
//! Must spend as little as possible on its own side, so that the server is what is busy.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::server::Server;

/// What the crowd asks for.
pub const CROWD_KEY: &str = "crowd:asked";
const ANSWER: &[u8] = b"$7\r\nvalue:1\r\n";

/// Many clients in one thread, each with a few questions on their way at any time. Bytes are counted rather than
/// parsed, so that the server is what is busy.
pub struct Crowd {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Crowd {
    /// They ask for a key of their own, which is there from now until they finish.
    pub fn start(server: &Server, clients: usize) -> Result<Self> {
        const AT_ONCE: usize = 16;
        let mut conn = server.client()?;
        let () = redis::cmd("SET")
            .arg(CROWD_KEY)
            .arg("value:1")
            .query(&mut conn)?;
        let questions = format!("GET {CROWD_KEY}\r\n").repeat(AT_ONCE).into_bytes();
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
                stream.write_all(&questions)?;
            }
            while !told.load(Ordering::Relaxed) {
                for stream in &mut streams {
                    stream.read_exact(&mut answer)?;
                    count.fetch_add(AT_ONCE as u64, Ordering::Relaxed);
                    stream.write_all(&questions)?;
                }
            }
            ensure!(answer.starts_with(ANSWER), "another answer");
            drop(streams);
            Ok(redis::cmd("DEL").arg(CROWD_KEY).query(&mut conn)?)
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
            .map_err(|_| anyhow!("the crowd's thread panicked"))?
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
