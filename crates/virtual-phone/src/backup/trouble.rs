//! Why a request ends early, and what the host is told.

use std::io;

/// How a step of a request ends.
pub(super) type Outcome<T> = Result<T, Trouble>;

/// Why a request ends early.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The link is gone, or the host does not keep to the protocol: nobody is told.
    Link(io::Error),
    /// The host is told this code of MBErrorDomain, and this text.
    Refused { code: i64, text: String },
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Link(error)
    }
}

/// The codes of MBErrorDomain.
pub(super) mod code {
    pub(in crate::backup) const INTERNAL: i64 = 1;
    pub(in crate::backup) const DRIVE_READ: i64 = 103;
    pub(in crate::backup) const DRIVE_WRITE: i64 = 104;
    pub(in crate::backup) const HOST_FULL: i64 = 105;
    pub(in crate::backup) const PHONE_FULL: i64 = 106;
    pub(in crate::backup) const CANCELLED: i64 = 202;
    pub(in crate::backup) const UNSUPPORTED: i64 = 203;
    pub(in crate::backup) const NO_BACKUP: i64 = 204;
    pub(in crate::backup) const CORRUPT: i64 = 205;
    pub(in crate::backup) const PASSWORD: i64 = 207;
    pub(in crate::backup) const LOCKED: i64 = 208;
    pub(in crate::backup) const FIND_MY: i64 = 211;
}

/// Ends the request with this code; the text gets the code behind it.
pub(super) fn refused(code: i64, text: &str) -> Trouble {
    Trouble::Refused { code, text: format!("{text} (MBErrorDomain/{code})") }
}

/// As [`refused`], about a file on the host.
pub(super) fn refused_at(code: i64, text: &str, path: &str) -> Trouble {
    refused(code, &format!("{text} at path \"{path}\""))
}

/// What a negative status of a host means in MBErrorDomain.
fn meaning(status: i64) -> i64 {
    match status {
        -6 => 4,
        -7 => 3,
        -8 => 5,
        -9 => 6,
        -10 => 7,
        -13 => 2,
        -15 => code::HOST_FULL,
        _ => 100,
    }
}

/// The host could not read a file.
pub(super) fn unreadable(status: i64, path: &str) -> Trouble {
    let code = match meaning(status) {
        2 | 100 => code::DRIVE_READ,
        4 | 11 | 12 => code::CORRUPT,
        other => other,
    };
    refused_at(code, "Error reading file on the drive", path)
}

/// The host could not write, move or remove something.
pub(super) fn unwritable(status: i64, path: &str) -> Trouble {
    match meaning(status) {
        code::HOST_FULL => refused_at(code::HOST_FULL, "Insufficient free disk space on drive", path),
        3 | 4 => refused_at(code::CORRUPT, "Error writing file on the drive", path),
        _ => refused_at(code::DRIVE_WRITE, "Error writing file on the drive", path),
    }
}
