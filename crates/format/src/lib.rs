//! What a russet repository looks like, byte by byte.
//!
//! `FORMAT.md` beside this crate is the text that the code follows, chapter by chapter. The crate turns values into bytes and
//! back, names them, seals and opens them. It knows no files, no threads and no clock.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod read;
pub mod write;

pub mod config;
pub mod id;
pub mod key;
pub mod key_file;
pub mod recovery;
pub mod slot;

mod frame;
pub mod padme;
pub mod parity;
pub mod seal;

pub mod condemned;
pub mod index;
pub mod pack;
pub mod snapshot;
pub mod tree;
pub mod vault;

mod error;
pub use error::{FormatError, Result};

/// The version that this crate writes and reads.
pub const VERSION: u8 = 1;

/// What a stored file is, as its first eight bytes say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `config`.
    Config,
    /// A key slot.
    Slot,
    /// Chunks.
    Pack,
    /// What the packs hold.
    Index,
    /// One date.
    Snapshot,
    /// Secrets of phones.
    Vault,
    /// Packs on their way out.
    Condemned,
}

impl Kind {
    /// The eight bytes that every file of this kind begins with.
    pub fn magic(self) -> [u8; 8] {
        let letter = match self {
            Kind::Config => b'C',
            Kind::Slot => b'K',
            Kind::Pack => b'P',
            Kind::Index => b'I',
            Kind::Snapshot => b'S',
            Kind::Vault => b'V',
            Kind::Condemned => b'X',
        };
        [b'r', b'u', b's', b's', b'e', b't', letter, VERSION]
    }

    /// The word for messages.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Config => "config",
            Kind::Slot => "key slot",
            Kind::Pack => "pack",
            Kind::Index => "index file",
            Kind::Snapshot => "snapshot",
            Kind::Vault => "vault file",
            Kind::Condemned => "condemned list",
        }
    }

    /// Checks the first eight bytes of a file.
    pub(crate) fn expect(self, reader: &mut read::Reader<'_>) -> Result<()> {
        let found: [u8; 8] = reader.array()?;
        let wanted = self.magic();
        if found == wanted {
            Ok(())
        } else if found[..7] == wanted[..7] {
            Err(FormatError::Version { what: self.word(), found: found[7] })
        } else {
            Err(FormatError::Magic { what: self.word() })
        }
    }
}
