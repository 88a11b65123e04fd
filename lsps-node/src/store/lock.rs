//! The lock that keeps a second process off the data of a node.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use fs4::fs_std::FileExt;

/// The lock of a data directory, held until it is dropped; the operating system releases it when the process dies.
///
/// Two nodes that write to the same data would each publish commitments that the other has revoked.
#[derive(Debug)]
pub struct DirectoryLock {
    held: File,
}

/// Reason for which a data directory could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum InUse {
    /// Another process, or another node of this one, has the lock.
    #[error("another process ({holder}) uses the data in {}: stop it first, or choose another directory", directory.display())]
    ByAnother {
        /// The directory.
        directory: PathBuf,
        /// The other process, as its lock file names it.
        holder: String,
    },
    /// The lock file could not be made.
    #[error("the directory {} cannot be locked: {error}", directory.display())]
    Failed {
        /// The directory.
        directory: PathBuf,
        /// Error of the file system.
        error: io::Error,
    },
}

impl DirectoryLock {
    /// Creates the directory if there is none, readable by its owner only, and locks it.
    ///
    /// # Errors
    ///
    /// Another process has the lock, or the file system refuses.
    pub fn take(directory: &Path) -> Result<Self, InUse> {
        let failed = |error| InUse::Failed { directory: directory.into(), error };
        create_private(directory).map_err(failed)?;
        let path = directory.join(LOCK_FILE);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        if !file.try_lock_exclusive().map_err(failed)? {
            return Err(InUse::ByAnother { directory: directory.into(), holder: holder(&mut file) });
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "process {}", std::process::id()));
        written.map_err(failed)?;
        Ok(Self { held: file })
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // A child that this process starts at this moment has a copy of the file, and would keep the lock until it runs.
        let _ = FileExt::unlock(&self.held);
    }
}

fn create_private(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(directory)?;
    #[cfg(unix)]
    fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(())
}

/// Name of the holder, for the error text only: it may have been written by a process that died since.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.take(64).read_to_string(&mut text);
    if text.trim().is_empty() { "unknown".into() } else { text.trim().into() }
}

const LOCK_FILE: &str = "lock";
