//! The one error of this crate: what is wrong with some bytes, without saying in which file (the caller knows).

use thiserror::Error;

/// What is wrong with some bytes.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes end before the value does.
    #[error("{what} is cut short by {missing} bytes")]
    Truncated {
        /// The value being read.
        what: &'static str,
        /// How many bytes are missing at least.
        missing: u64,
    },
    /// Bytes are left over after the value.
    #[error("{what} has {extra} bytes too many")]
    TrailingBytes {
        /// The value being read.
        what: &'static str,
        /// How many bytes are left over.
        extra: u64,
    },
    /// The first bytes are not those of the kind that was asked for.
    #[error("this is not a russet {what}")]
    Magic {
        /// The kind that was asked for.
        what: &'static str,
    },
    /// A newer version of russet wrote this.
    #[error("this {what} has format version {found}, and this russet reads version 1")]
    Version {
        /// The kind of file.
        what: &'static str,
        /// The version found.
        found: u8,
    },
    /// A field holds something that the format does not allow.
    #[error("{what} is not allowed: {why}")]
    Invalid {
        /// The field.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The file belongs to another repository.
    #[error("this {what} belongs to another repository")]
    Foreign {
        /// The kind of file.
        what: &'static str,
    },
    /// The bytes do not open under this key: they were changed, or the key is another.
    #[error("{what} does not open: its bytes were changed or belong elsewhere")]
    Sealed {
        /// What does not open.
        what: &'static str,
    },
    /// The password does not fit this key slot.
    #[error("the password does not open this key slot")]
    WrongPassword,
    /// The key at hand may not open this.
    #[error("this key only adds: it opens no {what}")]
    WriteOnly {
        /// What was to be opened.
        what: &'static str,
    },
    /// The file is sealed under keys that this key does not have.
    #[error("it is sealed under generation {found} of the keys, and this key is of generation {held}")]
    Generation {
        /// The generation of the file.
        found: u16,
        /// The newest one at hand.
        held: u16,
    },
    /// Key derivation failed for want of memory.
    #[error("the key derivation could not get {mib} MiB of memory")]
    KdfMemory {
        /// What it asked for.
        mib: u32,
    },
    /// The system gave no random numbers.
    #[error("the system gave no random numbers")]
    Random,
    /// A chunk's plaintext does not hash to its id.
    #[error("chunk {id} holds other bytes than its name says")]
    WrongChunk {
        /// The id asked for.
        id: String,
    },
    /// Check after encode failed: memory or a codec is faulty.
    #[error("what was just written does not read back as it was ({what}): this computer's memory may be faulty")]
    CheckAfterEncode {
        /// Which step.
        what: &'static str,
    },
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, FormatError>;

impl FormatError {
    pub(crate) fn invalid(what: &'static str, why: impl Into<String>) -> FormatError {
        FormatError::Invalid { what, why: why.into() }
    }
}
