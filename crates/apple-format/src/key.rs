//! Secrets: the key of a file, and the key that a password turns into.
//! Both wipe themselves, cannot be copied or cloned, and never print their bytes.

use std::fmt;

use aes_kw::{KeyInit, KwAes256};
use zeroize::Zeroizing;

/// The length of a key after RFC 3394 has wrapped it.
pub const WRAPPED_LEN: usize = 40;

/// A 256-bit key that opens one file, the manifest database, or all keys of one protection class.
pub struct FileKey(Zeroizing<[u8; 32]>);

impl FileKey {
    /// Takes a key as it is.
    pub fn from_bytes(bytes: [u8; 32]) -> FileKey {
        FileKey(Zeroizing::new(bytes))
    }

    /// The key itself. Whoever asks must not keep it lying about.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Wraps `inner` under this key (RFC 3394).
    pub fn wrap(&self, inner: &FileKey) -> [u8; WRAPPED_LEN] {
        wrap(&self.0, inner)
    }

    /// Opens a key wrapped under this one; `None` if the check built into RFC 3394 fails.
    pub fn unwrap(&self, wrapped: &[u8]) -> Option<FileKey> {
        unwrap(&self.0, wrapped)
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKey(..)")
    }
}

/// The key-encryption key: what a backup password becomes after millions of rounds.
///
/// It may be kept, sealed, instead of the password; [`crate::Keybag::kdf_fingerprint`] says which bag it fits.
pub struct Kek(Zeroizing<[u8; 32]>);

impl Kek {
    /// Takes a key that was derived earlier.
    pub fn from_bytes(bytes: [u8; 32]) -> Kek {
        Kek(Zeroizing::new(bytes))
    }

    /// The key itself. Whoever asks must not keep it lying about.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Wraps a class key under this key (RFC 3394).
    pub fn wrap(&self, inner: &FileKey) -> [u8; WRAPPED_LEN] {
        wrap(&self.0, inner)
    }

    /// Opens a wrapped class key; `None` if the check built into RFC 3394 fails.
    pub fn unwrap(&self, wrapped: &[u8]) -> Option<FileKey> {
        unwrap(&self.0, wrapped)
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kek(..)")
    }
}

fn wrap(outer: &[u8; 32], inner: &FileKey) -> [u8; WRAPPED_LEN] {
    let mut wrapped = [0; WRAPPED_LEN];
    KwAes256::new(outer.into()).wrap_key(inner.expose(), &mut wrapped).expect("32 bytes are whole blocks and 40 are room enough");
    wrapped
}

fn unwrap(outer: &[u8; 32], wrapped: &[u8]) -> Option<FileKey> {
    if wrapped.len() != WRAPPED_LEN {
        return None;
    }
    let mut inner = Zeroizing::new([0; 32]);
    KwAes256::new(outer.into()).unwrap_key(wrapped, inner.as_mut_slice()).ok()?;
    Some(FileKey(inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::hex;

    #[test]
    fn secrets_do_not_print_themselves() {
        assert_eq!(format!("{:?}", FileKey::from_bytes([7; 32])), "FileKey(..)");
        assert_eq!(format!("{:?}", Kek::from_bytes([7; 32])), "Kek(..)");
    }

    #[test]
    fn a_key_wraps_as_published() {
        let kek = Kek::from_bytes(hex("20f3cfe705be82b929bfcaa850f9be5e1790235bf78241c1499b7e8bae73b0ff"));
        let inner = FileKey::from_bytes(std::array::from_fn(|i| i as u8));
        let expected: [u8; 40] = hex("8acd1d078d4c1ffca73abec0b7472ec4b2599bf9d32db5307647bc8189cf939defc31d2d15d5191c");
        assert_eq!(kek.wrap(&inner), expected);
        assert_eq!(kek.unwrap(&expected).unwrap().expose(), inner.expose());
    }

    #[test]
    fn a_wrapped_key_with_any_bit_flipped_does_not_open() {
        let outer = FileKey::from_bytes([1; 32]);
        let wrapped = outer.wrap(&FileKey::from_bytes([2; 32]));
        for bit in 0..wrapped.len() * 8 {
            let mut bad = wrapped;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(outer.unwrap(&bad).is_none());
        }
        for length in 0..wrapped.len() {
            assert!(outer.unwrap(&wrapped[..length]).is_none());
        }
    }
}
