//! `make profile`.

use std::path::Path;
use std::process::ExitCode;

use blocking_bench::{profile, workloads};

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = Path::new("docs/profile.md");
    let done = std::env::set_current_dir(root).map_err(Into::into);
    match done.and_then(|()| profile::run(page, &profile::classic()?, &workloads::walk())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("profile: {error:#}");
            ExitCode::FAILURE
        }
    }
}
