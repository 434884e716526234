//! Ctrl-C and SIGTERM: removes the folder of the private server. The server itself ends with this process.

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

/// The folder to remove from now on.
pub fn removes(folder: &Path) {
    *FOLDER.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder.to_owned());
}
