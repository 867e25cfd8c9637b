//! What can go wrong with Apple's bytes, and who is at fault.

use std::borrow::Cow;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why bytes could not be turned into a value, or could not be unlocked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes end before the value does.
    #[error("{what} is cut short: {missing} bytes are missing")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// How many bytes more it would take.
        missing: usize,
    },

    /// Something is larger than any honest one.
    #[error("{what} is too large: {size} where {limit} is the most")]
    TooLarge {
        /// What was being read.
        what: &'static str,
        /// The size or count that was claimed or found.
        size: u64,
        /// The most that is accepted.
        limit: u64,
    },

    /// The bytes are not what they should be.
    #[error("{what} is damaged: {reason}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// What is wrong with it.
        reason: Cow<'static, str>,
    },

    /// A key that must be there is not, or has another type.
    #[error("{what} has no usable `{key}`")]
    MissingKey {
        /// What was being read.
        what: &'static str,
        /// The name of the key.
        key: &'static str,
    },

    /// The backup password does not open the keybag.
    #[error("the backup password is wrong")]
    WrongPassword,

    /// The keybag has no key for this protection class.
    #[error("the keybag has no key for protection class {class}")]
    NoClassKey {
        /// The class, as the wrapped key names it.
        class: u32,
    },

    /// The key of this class can be used on the phone only.
    #[error("protection class {class} can be unlocked on the phone only")]
    DeviceBound {
        /// The class, as the wrapped key names it.
        class: u32,
    },

    /// A wrapped key fails its own check.
    #[error("a key wrapped for protection class {class} is damaged")]
    KeyDamaged {
        /// The class, as the wrapped key names it.
        class: u32,
    },

    /// A length that is no multiple of the cipher's block.
    #[error("{length} bytes are not whole blocks of 16")]
    NotWholeBlocks {
        /// The length that was given.
        length: usize,
    },

    /// The bytes are no SQLite database (or were decrypted with a wrong key).
    #[error("{what} is not an SQLite database")]
    NotADatabase {
        /// What was being read.
        what: &'static str,
    },

    /// SQLite refuses.
    #[error("{what} cannot be used: {reason}")]
    Database {
        /// What was being read or written.
        what: &'static str,
        /// SQLite's own words.
        reason: String,
    },

    /// A database lacks what it is read by.
    #[error("{what} is of a form that is not known: it has no {lacks}")]
    UnknownSchema {
        /// What was being read.
        what: &'static str,
        /// The table, or the table and column.
        lacks: String,
    },

    /// The reader that was handed in failed.
    #[error("{what} cannot be read")]
    Read {
        /// What was being read.
        what: &'static str,
        /// What the reader said.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn malformed(what: &'static str, reason: impl Into<Cow<'static, str>>) -> Error {
        Error::Malformed { what, reason: reason.into() }
    }

    pub(crate) fn database(what: &'static str, source: rusqlite::Error) -> Error {
        Error::Database { what, reason: source.to_string() }
    }
}
