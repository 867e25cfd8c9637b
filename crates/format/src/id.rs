//! Names: one type per kind, so that a chunk's id can never stand where a file's name is wanted.

use std::fmt;

use crate::{FormatError, Result};

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The 64 lower-case hex digits.
            pub fn hex(&self) -> String {
                hex(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), &self.hex()[..8])
            }
        }
    };
}

name_type! {
    /// The name of a chunk: keyed BLAKE3 of its plaintext. Made by [`crate::key::WritingKeys::chunk_id`].
    ChunkId
}
name_type! {
    /// The name of a stored file: BLAKE3 of its bytes.
    FileName
}

impl FileName {
    /// Names stored bytes.
    pub fn of(bytes: &[u8]) -> FileName {
        FileName(*blake3::hash(bytes).as_bytes())
    }

    /// Reads 64 lower-case hex digits.
    pub fn parse(text: &str) -> Result<FileName> {
        unhex(text).map(FileName).ok_or_else(|| FormatError::invalid("file name", "not 64 lower-case hex digits"))
    }
}

/// The random id of a repository.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RepositoryId(pub [u8; 16]);

impl RepositoryId {
    /// A new one.
    pub fn random() -> Result<RepositoryId> {
        Ok(RepositoryId(crate::key::random()?))
    }
}

impl fmt::Display for RepositoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for RepositoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RepositoryId({self})")
    }
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from).collect()
}

/// Reads exactly `2 × N` lower-case hex digits.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_digits_round_trip_and_capitals_are_refused() {
        let name = FileName::of(b"russet");
        assert_eq!(FileName::parse(&name.hex()), Ok(name));
        assert!(FileName::parse(&name.hex().to_uppercase()).is_err());
        assert!(FileName::parse(&name.hex()[1..]).is_err());
    }
}
