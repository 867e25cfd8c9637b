//! A backup that is under way: what the phone has to remember of it, also when the link breaks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::bag::Bag;

/// A file in a manifest, or on its way into one.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) modified: i64,
    /// The length of what is stored on the host.
    pub(super) stored: u64,
    /// Its record.
    pub(super) record: Arc<[u8]>,
}

/// Files by id.
pub(super) type Files = BTreeMap<[u8; 20], Kept>;

/// How far a backup has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Uploading,
    Moving,
    Removing,
}

/// A backup that is under way.
#[derive(Debug)]
pub(crate) struct Unfinished {
    /// What Status.plist calls it.
    pub(super) uuid: String,
    /// The password it was begun with, hashed.
    pub(super) password: Option<PasswordHash>,
    pub(super) bag: Arc<Bag>,
    pub(super) is_full: bool,
    /// BackupState until the moves begin.
    pub(super) backup_state: String,
    pub(super) stage: Stage,
    /// Whether it goes on with what was broken off.
    pub(super) is_resumed: bool,
    /// The files of the backup that it builds on.
    pub(super) base: Files,
    /// The files that were uploaded.
    pub(super) sent: Files,
    /// The files of the new manifest.
    pub(super) files: Files,
    /// What is still to be moved out of the snapshot folder.
    pub(super) moves: Vec<String>,
    pub(super) manifests: Vec<&'static str>,
    /// The folders that were there before a full backup, so that leftovers may be in them.
    pub(super) old_shelves: Vec<String>,
    /// A backup of an old form that was put aside.
    pub(super) put_aside: Option<String>,
    /// BLAKE3 of Manifest.plist and Manifest.db as they were uploaded.
    pub(super) proofs: BTreeMap<&'static str, [u8; 32]>,
}

/// What tells passwords apart without keeping them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PasswordHash([u8; 32]);

impl PasswordHash {
    pub(super) fn of(password: Option<&str>) -> Option<PasswordHash> {
        password.map(|password| PasswordHash(*blake3::hash(password.as_bytes()).as_bytes()))
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}
