//! A row of the manifest: what both forms of it say of every file before its record is opened.

use std::borrow::Cow;
use std::fmt;

use sha1::{Digest, Sha1};

/// The id of a file: the name its contents have in the backup folder.
pub fn file_id(domain: &str, path: &str) -> [u8; 20] {
    Sha1::new().chain_update(domain).chain_update("-").chain_update(path).finalize().into()
}

/// A file id as the folder spells it.
pub fn file_id_text(id: &[u8; 20]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    id.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Reads 40 hex digits; `None` for anything else.
pub fn parse_file_id(text: &[u8]) -> Option<[u8; 20]> {
    let digits: &[u8; 40] = text.try_into().ok()?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut id = [0; 20];
    for (byte, [high, low]) in id.iter_mut().zip(digits.as_chunks().0) {
        *byte = (digit(*high)? << 4 | digit(*low)?) as u8;
    }
    Some(id)
}

/// One file, folder or link of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The name of its contents in the backup folder.
    pub file_id: [u8; 20],
    /// The part of the phone it belongs to.
    pub domain: String,
    /// Its path inside the domain; empty for the domain's root. From the phone, so not to be trusted as a path.
    pub path: String,
    /// What it is, as the phone put it.
    pub flags: u32,
    /// Its record, undecoded: see [`crate::ManifestIndex::record`].
    pub blob: Vec<u8>,
}

impl Row {
    /// What it is.
    pub fn kind(&self) -> RowKind {
        match self.flags {
            1 => RowKind::File,
            2 => RowKind::Directory,
            4 => RowKind::Symlink,
            flags => RowKind::Other(flags),
        }
    }

    /// Whether its id is the one that its domain and path give.
    pub fn has_expected_id(&self) -> bool {
        self.file_id == file_id(&self.domain, &self.path)
    }
}

/// Which file a row speaks of, without its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowName<'a> {
    /// The name of its contents in the backup folder, if that is one.
    pub file_id: Option<[u8; 20]>,
    /// The part of the phone it belongs to, as far as it is text.
    pub domain: Cow<'a, str>,
    /// Its path inside the domain, as far as it is text.
    pub path: Cow<'a, str>,
}

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// A regular file, with contents in the backup folder.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Something met only while a backup runs; readers skip it and say so.
    Other(u32),
}

impl RowKind {
    /// The flags a row of this kind has.
    pub fn flags(self) -> u32 {
        match self {
            RowKind::File => 1,
            RowKind::Directory => 2,
            RowKind::Symlink => 4,
            RowKind::Other(flags) => flags,
        }
    }
}

/// A row that says nothing usable. It does not stop the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// What stands where its id should, cut to a bearable length.
    pub file_id: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row `{}` of the manifest is unusable: {}", self.file_id.escape_debug(), self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_folder() {
        let check = |domain, path, expected: &str| {
            let id = file_id(domain, path);
            assert_eq!(file_id_text(&id), expected);
            assert_eq!(parse_file_id(expected.as_bytes()), Some(id));
            assert_eq!(parse_file_id(expected.to_uppercase().as_bytes()), Some(id));
        };
        check("HomeDomain", "Library/SMS/sms.db", "3d0d7e5fb2ce288813306e4d4636395e047a3d28");
        check("HomeDomain", "", "70765829101933f25994c71bbee6dfd685535bff");
    }

    #[test]
    fn nothing_but_forty_digits_is_an_id() {
        for bad in ["", "3d", &"g".repeat(40), &"0".repeat(39), &"0".repeat(41), &"é".repeat(20)] {
            assert_eq!(parse_file_id(bad.as_bytes()), None);
        }
    }
}
