//! The seam: a phone leads, the computer answers, and these are all the things that it asks for.

use std::io::{self, Read};

use crate::BackupPath;

/// Whoever answers a phone. Content arrives as a reader, so a slow host slows the phone down, and half a file cannot pass for a whole one:
/// a wire that ends early is an error of the reader.
pub trait Host {
    /// Takes a file, in place of whatever file is there. Whoever returns before the end of `content` lets the rest go unread.
    fn receive(&mut self, to: &BackupPath, content: &mut dyn Read) -> Result<(), HostError>;
    /// Gives a file and its length.
    fn open(&mut self, path: &BackupPath) -> Result<(Box<dyn Read + '_>, u64), HostError>;
    /// Lists a folder, not what is below. A folder that is not there is empty.
    fn list(&mut self, path: &BackupPath) -> Result<Vec<Entry>, HostError>;
    /// Makes a folder, and those that it lies in.
    fn create_dir(&mut self, path: &BackupPath) -> Result<(), HostError>;
    /// Moves a file or folder, in place of whatever is there.
    fn rename(&mut self, from: &BackupPath, to: &BackupPath) -> Result<(), HostError>;
    /// Copies a file, or a folder with all that is in it.
    fn copy(&mut self, from: &BackupPath, to: &BackupPath) -> Result<(), HostError>;
    /// Removes a file, or a folder with all that is in it. What is not there is removed already.
    fn remove(&mut self, path: &BackupPath) -> Result<(), HostError>;
    /// Bytes that may still be stored.
    fn free_space(&mut self) -> Result<u64, HostError>;
    /// A batch of files has arrived.
    fn batch_done(&mut self) -> Result<(), HostError> {
        Ok(())
    }
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// What it stands for.
    pub kind: EntryKind,
    /// Length in bytes; 0 for a folder.
    pub len: u64,
    /// Modified: Unix seconds and nanoseconds.
    pub modified: (i64, u32),
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder.
    Directory,
}

/// Why a host could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// There is no such file or folder.
    #[error("no such file or directory")]
    NotFound,
    /// It is there already.
    #[error("it exists already")]
    Exists,
    /// A file is where a folder should be.
    #[error("not a directory")]
    NotADirectory,
    /// A folder is where a file should be.
    #[error("it is a directory")]
    IsADirectory,
    /// The disk is full.
    #[error("no space left on this computer")]
    NoSpace,
    /// The host does not do such a thing.
    #[error("{0}")]
    Refused(String),
    /// Reading or writing failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The host cannot go on. The conversation ends, and whoever began it gets this error back.
    #[error("{0}")]
    Fatal(Box<dyn std::error::Error + Send + Sync>),
}

impl HostError {
    /// The error of a file system.
    pub(crate) fn of(error: io::Error) -> HostError {
        match error.kind() {
            io::ErrorKind::NotFound => HostError::NotFound,
            io::ErrorKind::AlreadyExists => HostError::Exists,
            io::ErrorKind::NotADirectory => HostError::NotADirectory,
            io::ErrorKind::IsADirectory => HostError::IsADirectory,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => HostError::NoSpace,
            _ => HostError::Io(error),
        }
    }

    /// What the phone is told: DeviceLink's number for it.
    pub(crate) fn code(&self) -> i64 {
        match self {
            HostError::NotFound => -6,
            HostError::Exists => -7,
            HostError::NotADirectory => -8,
            HostError::IsADirectory => -9,
            HostError::NoSpace => -15,
            HostError::Io(_) => -11,
            HostError::Refused(_) | HostError::Fatal(_) => -1,
        }
    }
}
