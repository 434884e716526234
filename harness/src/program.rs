//! Where the client is that the tests of pages and files for operators run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The client's program: `BLOCKING_CLI`, or the one that tests build in the target folder.
pub fn client_program() -> Result<PathBuf> {
    let path = match std::env::var_os("BLOCKING_CLI") {
        Some(path) => PathBuf::from(path),
        None => {
            let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            let target =
                std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
            workspace.join(target).join("debug/blocking-cleanup")
        }
    };
    path.canonicalize().with_context(|| {
        format!(
            "no client at {}; `make cli-debug` builds it, BLOCKING_CLI names another",
            path.display()
        )
    })
}
