//! `make bench`: the same work done with everything a user would use instead, on private servers, and what it costs.
//! Must do nothing but start it.

use std::path::Path;
use std::process::ExitCode;

use blocking_bench::options::Options;
use blocking_bench::suite;
use clap::Parser;

fn main() -> ExitCode {
    let options = Options::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match std::env::set_current_dir(root)
        .map_err(Into::into)
        .and_then(|()| suite::run(&options))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
