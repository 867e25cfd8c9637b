//! What can keep records from being read or written.

use russet_vfs::VfsError;
use russet_vfs::target::TargetError;
use thiserror::Error;

/// What can keep records from being read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The snapshot cannot be read.
    #[error(transparent)]
    Vfs(#[from] VfsError),
    /// The folder that is written to failed.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A file of the phone is damaged, or of a form that is not known.
    #[error(transparent)]
    Apple(#[from] russet_apple_format::Error),
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
