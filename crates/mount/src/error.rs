//! What can keep a repository from being a file system.

use std::io;
use std::path::PathBuf;

use russet_repository::RepositoryError;
use russet_vfs::VfsError;
use thiserror::Error;

/// What can keep something in the tree from being found or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TreeError {
    /// There is nothing of this name.
    #[error("there is nothing of this name")]
    NoEntry,
    /// It is no folder.
    #[error("it is not a folder")]
    NotADirectory,
    /// It is a folder.
    #[error("it is a folder")]
    IsADirectory,
    /// It is no symbolic link.
    #[error("it is not a symbolic link")]
    NotALink,
    /// The number is of something that was there once.
    #[error("it is not there any more")]
    Stale,
    /// The repository failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The snapshot cannot be looked into.
    #[error(transparent)]
    Vfs(#[from] VfsError),
}

/// What can keep a tree from being mounted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MountError {
    /// There is no folder to mount on.
    #[error("there is no folder {}", path.display())]
    NoFolder {
        /// Where.
        path: PathBuf,
    },
    /// What is in the folder would be hidden.
    #[error("{} is not empty", path.display())]
    NotEmpty {
        /// Where.
        path: PathBuf,
    },
    /// What should be a folder is none.
    #[error("{} is not a folder", path.display())]
    NotAFolder {
        /// Where.
        path: PathBuf,
    },
    /// This system has no FUSE, or does not let this user have it.
    #[error("this system does not let {} be mounted: {source}", path.display())]
    Refused {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder cannot be looked at, or what is mounted there cannot be taken away.
    #[error("{} cannot be used: {source}", path.display())]
    Point {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection to the kernel broke.
    #[error("the connection to the kernel broke: {source}")]
    Connection {
        /// What the system said.
        source: io::Error,
    },
}

/// The result of this crate's functions.
pub type Result<T, E = TreeError> = std::result::Result<T, E>;
