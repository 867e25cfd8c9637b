//! The opened keys of the protection classes, which open and wrap the keys of files.

use std::fmt;

use crate::key::WRAPPED_LEN;
use crate::{Error, FileKey, Result};

const WHAT: &str = "wrapped file key";
const CLASSES: usize = 16;

/// The keys of all classes that the password opened.
///
/// They wipe themselves when dropped, cannot be cloned, and never print their bytes.
#[derive(Default)]
pub struct ClassKeys {
    usable: [Option<FileKey>; CLASSES],
    /// Still encrypted with a key inside the phone, so they open nothing; kept to be wrapped again.
    device_bound: [Option<FileKey>; CLASSES],
}

impl ClassKeys {
    /// Opens a file's key, or the manifest's: the class in four little-endian bytes, then the wrapped key.
    pub fn unwrap(&self, wrapped: &[u8]) -> Result<FileKey> {
        let Some((class, key)) = wrapped.split_first_chunk() else {
            return Err(Error::Truncated { what: WHAT, missing: 4 + WRAPPED_LEN - wrapped.len() });
        };
        if key.len() != WRAPPED_LEN {
            return Err(Error::malformed(WHAT, format!("it has {} bytes, not 44", wrapped.len())));
        }
        let class = u32::from_le_bytes(*class);
        self.class(class)?.unwrap(key).ok_or(Error::KeyDamaged { class })
    }

    /// Wraps a file's key for a class, in the form that [`ClassKeys::unwrap`] opens.
    pub fn wrap(&self, class: u32, key: &FileKey) -> Result<[u8; 4 + WRAPPED_LEN]> {
        let mut wrapped = [0; 4 + WRAPPED_LEN];
        wrapped[..4].copy_from_slice(&class.to_le_bytes());
        wrapped[4..].copy_from_slice(&self.class(class)?.wrap(key));
        Ok(wrapped)
    }

    /// The key of one class, for the keychain, whose items are wrapped without the class in front.
    pub fn class(&self, class: u32) -> Result<&FileKey> {
        match (self.get(slot(class), false), self.get(slot(class), true)) {
            (Some(key), _) => Ok(key),
            (None, Some(_)) => Err(Error::DeviceBound { class }),
            (None, None) => Err(Error::NoClassKey { class }),
        }
    }

    /// Of two keys of one class the first counts.
    pub(super) fn insert(&mut self, slot: usize, key: FileKey, device_bound: bool) {
        let table = if device_bound { &mut self.device_bound } else { &mut self.usable };
        table[slot].get_or_insert(key);
    }

    pub(super) fn get(&self, slot: usize, device_bound: bool) -> Option<&FileKey> {
        let table = if device_bound { &self.device_bound } else { &self.usable };
        table[slot].as_ref()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.usable.iter().all(Option::is_none)
    }
}

impl fmt::Debug for ClassKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |table: &[Option<FileKey>]| -> Vec<usize> {
            table.iter().enumerate().filter(|(_, key)| key.is_some()).map(|(class, _)| class).collect()
        };
        f.debug_struct("ClassKeys").field("usable", &of(&self.usable)).field("device_bound", &of(&self.device_bound)).finish()
    }
}

/// Where a class stands in a table: its upper bits are a generation.
pub(super) fn slot(class: u32) -> usize {
    (class & 0x0f) as usize
}
