//! What can keep a reader from seeing something.

use russet_repository::RepositoryError;
use thiserror::Error;

use crate::target::TargetError;

/// What can keep a reader from seeing something.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VfsError {
    /// The repository failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The folder that is written to failed.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A file that describes the backup cannot be used.
    #[error("{file} of this snapshot cannot be used: {source}")]
    Apple {
        /// Which file.
        file: &'static str,
        /// What is wrong with it.
        source: russet_apple_format::Error,
    },
    /// The snapshot holds a backup that was never unlocked.
    #[error("this snapshot was kept encrypted as it came, without the phone's backup password, so nobody can look inside")]
    Locked,
    /// The snapshot is of another kind than was asked for.
    #[error("this snapshot is not an Apple backup")]
    NotApple,
    /// A file that was encrypted again is not the one that the phone stored.
    #[error("it is not bit for bit what the phone stored")]
    NotAsItCame,
    /// The phone's password is not in the vault.
    #[error("the keys of the phone's backup are not in this repository")]
    NoClassKeys,
    /// There is nothing at this path.
    #[error("there is no {path} in this snapshot")]
    NoPath {
        /// What was asked for.
        path: String,
    },
    /// The pattern makes no sense.
    #[error("{pattern} is not a pattern: {why}")]
    BadPattern {
        /// What was given.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// No snapshot fits.
    #[error("no snapshot fits {wanted}")]
    NoSnapshot {
        /// What was asked for.
        wanted: String,
    },
    /// Several snapshots fit.
    #[error("{count} snapshots begin with {wanted}")]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// How many.
        count: usize,
    },
}

/// The result of this crate's functions.
pub type Result<T, E = VfsError> = std::result::Result<T, E>;
