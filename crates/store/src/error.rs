//! What can go wrong in a store, and whose fault it is.

use std::io;
use std::ops::Range;

use crate::BadName;

/// The result of asking a store for something.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a store could not do what it was asked.
///
/// `name` is the file's name in the store, or the path of a folder when the store itself is meant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No file has this name.
    #[error("{name} is not there")]
    NotFound {
        /// What was looked for.
        name: String,
    },

    /// [`put_new`](crate::Store::put_new) found the name taken.
    #[error("{name} is there already")]
    AlreadyExists {
        /// The name that is taken.
        name: String,
    },

    /// The file is shorter than what was asked of it, or the range runs backwards.
    #[error("{name} has {len} bytes, but bytes {} to {} were wanted", wanted.start, wanted.end)]
    OutOfRange {
        /// The file.
        name: String,
        /// The range that was asked for.
        wanted: Range<u64>,
        /// How long the file is.
        len: u64,
    },

    /// The disk, or this person's share of it, is full.
    #[error("the disk is full, {name} could not be written")]
    Full {
        /// What was being written.
        name: String,
    },

    /// The disk takes no writes at all.
    #[error("the disk is read-only, {name} could not be changed")]
    ReadOnly {
        /// What was being written or removed.
        name: String,
    },

    /// The way to the file is barred: by its permissions, or by a symbolic link, which a store never follows.
    #[error("access to {name} is denied: {why}")]
    Denied {
        /// What was to be read or written.
        name: String,
        /// What bars the way.
        why: &'static str,
    },

    /// Something other than a folder stands where a folder should be.
    #[error("{name} is not a folder")]
    NotAFolder {
        /// What stands there.
        name: String,
    },

    /// A listing was asked of a folder that no store could have.
    #[error("cannot list {prefix:?}")]
    BadPrefix {
        /// The folder as it was given.
        prefix: String,
        /// Which rule it breaks.
        source: BadName,
    },

    /// The disk failed.
    #[error("cannot {action} {name}")]
    Io {
        /// The file.
        name: String,
        /// What was being done to it, as a verb.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    /// Whether the disk is at fault, rather than what was asked of it or who asked.
    pub fn is_the_disks_fault(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::ReadOnly { .. } | Self::Io { .. })
    }

    pub(crate) fn not_found(name: impl ToString) -> Self {
        Self::NotFound { name: name.to_string() }
    }

    pub(crate) fn is_a_link(name: impl ToString) -> Self {
        Self::Denied { name: name.to_string(), why: "a symbolic link is in the way" }
    }

    /// Sorts what the system said into what a caller can act on.
    pub(crate) fn from_io(name: impl ToString, action: &'static str, source: io::Error) -> Self {
        use io::ErrorKind as Kind;
        let name = name.to_string();
        match source.kind() {
            Kind::NotFound => Self::NotFound { name },
            Kind::AlreadyExists => Self::AlreadyExists { name },
            Kind::StorageFull | Kind::QuotaExceeded => Self::Full { name },
            Kind::ReadOnlyFilesystem => Self::ReadOnly { name },
            Kind::PermissionDenied => Self::Denied { name, why: "permission is missing" },
            Kind::NotADirectory => Self::NotAFolder { name },
            _ => Self::Io { name, action, source },
        }
    }
}

/// The length of `range` as a count of bytes in memory, if it lies within `len` bytes.
pub(crate) fn check_range(name: &str, range: &Range<u64>, len: u64) -> Result<usize> {
    let out_of_range = || StoreError::OutOfRange { name: name.to_owned(), wanted: range.clone(), len };
    if range.end > len {
        return Err(out_of_range());
    }
    let size = range.end.checked_sub(range.start).ok_or_else(out_of_range)?;
    usize::try_from(size).map_err(|_| out_of_range())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_said_becomes_what_a_caller_can_act_on() {
        let check = |kind: io::ErrorKind, message: &str, is_the_disks_fault: bool| {
            let error = StoreError::from_io("packs/77", "write", kind.into());
            assert_eq!(error.to_string(), message);
            assert_eq!(error.is_the_disks_fault(), is_the_disks_fault, "{message}");
        };
        check(io::ErrorKind::StorageFull, "the disk is full, packs/77 could not be written", true);
        check(io::ErrorKind::QuotaExceeded, "the disk is full, packs/77 could not be written", true);
        check(io::ErrorKind::ReadOnlyFilesystem, "the disk is read-only, packs/77 could not be changed", true);
        check(io::ErrorKind::PermissionDenied, "access to packs/77 is denied: permission is missing", false);
        check(io::ErrorKind::NotFound, "packs/77 is not there", false);
        check(io::ErrorKind::Other, "cannot write packs/77", true);
    }
}
