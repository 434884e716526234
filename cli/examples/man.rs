//! Writes the manual page of the client to standard output; `make package` packs it.

// The page needs the definition of the options, not what is done with them.
#[allow(dead_code)]
#[path = "../src/args.rs"]
mod args;

use clap::CommandFactory;

fn main() -> std::io::Result<()> {
    clap_mangen::Man::new(args::Arguments::command()).render(&mut std::io::stdout())
}
