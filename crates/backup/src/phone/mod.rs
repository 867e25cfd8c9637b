//! The host that a phone talks to: it backs a phone up into a repository, and gives a date back to it.
//!
//! A phone leads and the computer answers, so most of this is `host`: the phone's asks, answered from the last snapshot and from what
//! arrived since. Ciphertext waits in the `spool` until Manifest.db has come with the keys; then [`crate::apple`] stores it like any other
//! Apple backup. There is a snapshot only if the phone said that it succeeded *and* its Status.plist says that it finished.

mod back_up;
mod encryption;
mod restore;
pub use back_up::back_up;
pub use encryption::{Encryption, new_password, set_encryption};
pub use restore::{Restored, restore};

mod preflight;
pub use preflight::{Obstacle, Remark, before_backup, before_restore};

mod host;
mod info;
mod spool;
mod storing;
mod tree;

use std::path::PathBuf;

use russet_device::{Ask as PhoneAsk, BackupPath, Session, WireStats};
use russet_repository::{Progress, Repository, RepositoryError, Saved, SnapshotEntry};

use crate::{BackupError, Result, apple};
use host::ArchiveHost;

/// Is told how far a session with a phone is, and may end it.
pub trait Watch: Progress + russet_device::Watch {}

impl<T: Progress + russet_device::Watch> Watch for T {}

/// How a phone is backed up.
#[derive(Debug, Clone)]
pub struct Options {
    /// A folder for this phone alone, where ciphertext waits. It is made private; a broken session is gone on from there.
    pub spool: PathBuf,
    /// Folders on every volume that the backup will take up space on: the phone is told how much they have free.
    pub volumes: Vec<PathBuf>,
    /// Everything is to be sent again.
    pub full: bool,
}

/// A phone that was backed up.
#[derive(Debug)]
pub struct Taken {
    /// The snapshot.
    pub saved: Saved,
    /// How the conversation went.
    pub wire: WireStats,
    /// Most bytes that waited in the spool at once.
    pub most_spooled: u64,
    /// What whoever reads the report should know.
    pub remarks: Vec<Remark>,
}

/// Holds the conversation, with the sync lock in hand, so that no other program talks to the phone meanwhile.
fn talk(session: &Session, ask: &PhoneAsk, host: &mut ArchiveHost<'_>, watch: &dyn Watch) -> Result<russet_device::Outcome> {
    let lock = session.sync_lock()?;
    // Only a phone on the network needs it; one on the cable does not mind.
    let heartbeat = session.heartbeat();
    let outcome = session.backup(ask, host, watch);
    drop((heartbeat, lock));
    outcome.map_err(|error| match error {
        russet_device::DeviceError::Host(source) => match source.downcast::<RepositoryError>() {
            Ok(error) => BackupError::Repository(*error),
            Err(source) => BackupError::Host { source },
        },
        other => other.into(),
    })
}

fn path(text: &str) -> Result<BackupPath> {
    BackupPath::parse(text)
        .map_err(|_| BackupError::PhoneChanged { device: text.into(), what: "its id is no name for a folder".into() })
}

/// The newest snapshot of a phone, if there is one.
pub fn newest_of(repository: &Repository, udid: &str) -> Result<Option<SnapshotEntry>> {
    apple::parent_of(repository, udid)
}
