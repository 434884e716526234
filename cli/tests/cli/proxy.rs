//! A TCP proxy on a free port that can drop what goes through it, as a network does.
//! Must end with the test.

use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::spawn;

use anyhow::Result;

#[derive(Clone)]
pub struct Proxy {
    pub port: u16,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    pub fn start(to: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let proxy = Self {
            port: listener.local_addr()?.port(),
            open: Arc::default(),
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
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for (from, into) in [(&near, &far), (&far, &near)] {
            let (mut from, mut into) = (from.try_clone()?, into.try_clone()?);
            open.push(from.try_clone()?);
            spawn(move || {
                let _ = copy(&mut from, &mut into);
                let _ = into.shutdown(Shutdown::Both);
            });
        }
        Ok(())
    }

    /// Drops every connection; new ones are welcome.
    pub fn cut(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
