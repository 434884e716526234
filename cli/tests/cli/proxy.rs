//! A TCP proxy on a free port that can drop what goes through it, as a network does.
//! Must end with the test.

use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::spawn;

use anyhow::Result;

#[derive(Clone)]
pub struct Proxy {
    pub port: u16,
    /// The ends of each connection: the client's and the server's.
    open: Arc<Mutex<Vec<(TcpStream, TcpStream)>>>,
    /// The server is not told that a client is gone.
    hides: Arc<AtomicBool>,
}

impl Proxy {
    pub fn start(to: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let proxy = Self {
            port: listener.local_addr()?.port(),
            open: Arc::default(),
            hides: Arc::default(),
        };
        let there = proxy.clone();
        spawn(move || {
            for near in listener.incoming().flatten() {
                if let Ok(far) = TcpStream::connect(("127.0.0.1", to)) {
                    let _ = there.join(near, far);
                }
            }
        });
        Ok(proxy)
    }

    fn join(&self, near: TcpStream, far: TcpStream) -> Result<()> {
        for (from, into) in [(&near, &far), (&far, &near)] {
            let (mut from, mut into) = (from.try_clone()?, into.try_clone()?);
            let hides = Arc::clone(&self.hides);
            spawn(move || {
                let _ = copy(&mut from, &mut into);
                if !hides.load(Ordering::Relaxed) {
                    let _ = into.shutdown(Shutdown::Both);
                }
            });
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push((near, far));
        Ok(())
    }

    /// Drops every connection; new ones are welcome.
    pub fn cut(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for (near, far) in open.drain(..) {
            let _ = near.shutdown(Shutdown::Both);
            let _ = far.shutdown(Shutdown::Both);
        }
    }

    /// Drops every connection so that only the client notices, until what is returned is dropped.
    pub fn cut_near(&self) -> Hidden {
        self.hides.store(true, Ordering::Relaxed);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = |(near, far): (TcpStream, TcpStream)| {
            let _ = near.shutdown(Shutdown::Both);
            far
        };
        Hidden(open.drain(..).map(keep).collect())
    }
}

/// Connections of which the server does not know that they are gone.
pub struct Hidden(Vec<TcpStream>);

impl Drop for Hidden {
    fn drop(&mut self) {
        for far in &self.0 {
            let _ = far.shutdown(Shutdown::Both);
        }
    }
}
