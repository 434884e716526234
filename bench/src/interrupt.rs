//! Ctrl-C and SIGTERM: the server ends with this process, as the system sees to, and its folder goes too.
//! Must not remove any other folder than the last one it was told of.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

static FOLDER: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Once per process.
pub fn install() -> Result<()> {
    ctrlc::set_handler(|| {
        if let Some(folder) = &*FOLDER.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = fs::remove_dir_all(folder);
        }
        std::process::exit(130);
    })?;
    Ok(())
}

/// From now on this is the folder.
pub fn removes(folder: &Path) {
    *FOLDER.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder.to_owned());
}
