//! `make bench` and `make plots`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use blocking_bench::options::Options;
use blocking_bench::{plots, suite};
use clap::Parser;

fn main() -> ExitCode {
    let options = Options::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match std::env::set_current_dir(root)
        .map_err(Into::into)
        .and_then(|()| run(&options))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let Some(file) = &options.redraw else {
        return suite::run(options);
    };
    for picture in plots::redraw(file)? {
        println!("{}", file.with_file_name(picture.file).display());
    }
    Ok(())
}
