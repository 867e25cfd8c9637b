//! What can keep a file from being written.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// What can keep a file from being written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The system refused.
    #[error("{} cannot be written: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is full.
    #[error("{} cannot be written: the disk is full", path.display())]
    Full {
        /// Which file or folder.
        path: PathBuf,
    },
    /// The disk or the folder is read-only, or belongs to someone else.
    #[error("{} cannot be written: the disk or the folder is read-only", path.display())]
    ReadOnly {
        /// Which file or folder.
        path: PathBuf,
    },
    /// What should be a folder is none.
    #[error("{} is not a folder", path.display())]
    NotAFolder {
        /// Which.
        path: PathBuf,
    },
    /// The content could not be read. The target is sound, and other files can be written.
    #[error("the content of {} cannot be read: {source}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What its reader said.
        source: io::Error,
    },
}

impl TargetError {
    pub(super) fn new(path: PathBuf, error: impl Into<io::Error>) -> TargetError {
        let source = error.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => TargetError::Full { path },
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => TargetError::ReadOnly { path },
            _ => TargetError::Io { path, source },
        }
    }

    /// Whether the content's reader failed, so that other files can still be written.
    pub fn is_content(&self) -> bool {
        matches!(self, TargetError::Content { .. })
    }
}
