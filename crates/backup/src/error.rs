//! What can keep a backup from being brought in, and who is at fault.

use std::io;
use std::path::PathBuf;

use russet_device::DeviceError;
use russet_repository::{Draft, RepositoryError};
use russet_vfs::VfsError;
use thiserror::Error;

use crate::phone::Obstacle;

/// What can keep a backup from being brought in.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The repository failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A snapshot cannot be looked into.
    #[error(transparent)]
    Snapshot(#[from] VfsError),
    /// What is to be left out cannot be meant.
    #[error("{wish:?} is neither an app nor a domain nor a pattern that could be left out")]
    BadWish {
        /// What was asked for.
        wish: String,
    },
    /// The source cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What should be a folder is none.
    #[error("{} is not a folder", path.display())]
    NotAFolder {
        /// Which.
        path: PathBuf,
    },
    /// The folder is one that is to be left out.
    #[error("{} is the repository itself, or another folder that is to be left out", path.display())]
    Excluded {
        /// Which.
        path: PathBuf,
    },
    /// A file that describes the backup cannot be used.
    #[error("{} cannot be used: {source}", path.display())]
    Apple {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: russet_apple_format::Error,
    },
    /// A file that describes the backup is far too large.
    #[error("{} has {len} bytes, more than any backup's", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Its length.
        len: u64,
    },
    /// The backup is encrypted, and nobody gave its password.
    #[error("the backup of {device} is encrypted, and its password is not known")]
    NoPhonePassword {
        /// Whose backup.
        device: String,
    },
    /// The phone, or the way to it, failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// This computer could not do what the phone asked.
    #[error("this computer could not do what the phone asked")]
    Host {
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another session with this phone is going on.
    #[error("{device} is being backed up already by another russet on this computer")]
    PhoneBusy {
        /// Which phone.
        device: String,
    },
    /// The phone said that it succeeded, and its own status says that it did not.
    #[error("{device} said that its backup succeeded, but its Status.plist does not say that it finished")]
    PhoneUnfinished {
        /// Which phone.
        device: String,
    },
    /// The phone's iOS is older than what this program backs up from a phone.
    #[error("{device} has iOS {ios}, and russet backs up phones with iOS 10.2 or newer")]
    TooOld {
        /// Which phone.
        device: String,
        /// Its version.
        ios: String,
    },
    /// The phone became another one in the middle.
    #[error("the backup of {device} cannot be used: {what}")]
    PhoneChanged {
        /// Which phone.
        device: String,
        /// What it did.
        what: String,
    },
    /// Something stands in the way of a restore.
    #[error("this date cannot be given back to this phone")]
    CannotRestore {
        /// What.
        obstacle: Obstacle,
    },
    /// The password that was given is wrong.
    #[error("this is not the backup password of {device}")]
    WrongPhonePassword {
        /// Whose backup.
        device: String,
    },
}

/// The result of this crate's functions.
pub type Result<T, E = BackupError> = std::result::Result<T, E>;

impl BackupError {
    /// What really ended the work of several threads, where this only says that another failed.
    pub(crate) fn caused_in(self, draft: &Draft) -> BackupError {
        match self {
            BackupError::Repository(error) => BackupError::Repository(draft.cause(error)),
            other => other,
        }
    }
}
