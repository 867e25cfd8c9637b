//! Where the bytes of a file are when its turn comes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use russet_apple_format::FileKey;
use russet_apple_format::cipher_stream::DecryptReader;
use russet_repository::RepositoryError;
use russet_repository::format::tree::{Content, Node};

/// Where the bytes of a file are when its turn comes.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// In the folder that is being brought in, under its own name.
    Disk,
    /// In the spool of a phone's session.
    Spool(Spooled),
    /// In memory: the few small files that describe a backup.
    Memory(Arc<[u8]>),
    /// In the repository already, because it was stored while it arrived.
    Stored(Stored),
    /// In the last snapshot: the phone did not send it again.
    Kept(Box<Node>),
    /// Nowhere: the last backup left it out, and the phone did not send it again.
    LeftOut,
    /// Shown to the phone in place of what it sent last time. It always sends this one anew.
    Shown(Arc<[u8]>),
}

/// A content and its SHA-1, or why there is none.
pub(crate) type StoredContent = Result<(Content, [u8; 20]), RepositoryError>;

/// A file that was stored while it arrived, once that is done.
#[derive(Debug, Clone)]
pub(crate) struct Stored(pub(crate) Arc<OnceLock<StoredContent>>);

impl Stored {
    /// What it was stored as. Everything on its way must have arrived.
    pub(crate) fn content(&self) -> StoredContent {
        match self.0.get() {
            Some(Ok((content, sha1))) => Ok((content.clone(), *sha1)),
            // The draft knows the cause.
            Some(Err(_)) | None => Err(RepositoryError::Broken),
        }
    }
}

/// A file in the spool. It goes as soon as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Spooled {
    pub(crate) path: PathBuf,
    /// Length of what the phone sent.
    pub(crate) len: u64,
    /// What it is sealed with here, where the phone sent it plain.
    pub(crate) seal: Option<Arc<FileKey>>,
}

impl Spooled {
    /// Opens it for one reading from the beginning.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Read>> {
        let file = File::open(&self.path)?;
        Ok(match &self.seal {
            None => Box::new(file),
            Some(key) => Box::new(DecryptReader::new(file, Some(key)).take(self.len)),
        })
    }

    pub(crate) fn remove(&self) {
        // A spool file that stays is removed with the spool.
        let _ = fs::remove_file(&self.path);
    }
}
