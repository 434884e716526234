//! `make run`: a private server with the module in the foreground, to try commands on.
//! Must listen on loopback only and leave nothing behind when it is interrupted.

use std::fs::File;
use std::io;
use std::time::Duration;

use anyhow::{Result, bail};
use blocking_harness::Server;
use clap::Parser;

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs a private server with the module until Ctrl-C.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let mut builder = Server::builder();
    if options.port != 0 {
        builder = builder.port(options.port);
    }
    let server = builder.start()?;
    server.stop_on_interrupt()?;

    let mut log = File::open(server.log_path())?;
    let mut show = || io::copy(&mut log, &mut io::stdout().lock());
    show()?;
    println!("\ntry: redis-cli -p {} BLOCKING.HELP", server.port());
    println!("Ctrl-C ends the server and removes its data.\n");
    while server.is_alive() {
        show()?;
        std::thread::sleep(LOOK_EVERY);
    }
    show()?;
    bail!("the server has ended by itself")
}
