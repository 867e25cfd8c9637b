//! The contents of files: AES-256 in CBC mode, no IV, PKCS#7 padding, a stream in and a stream out.
//!
//! Every stored file is padded, so an empty one has 16 bytes. But files that changed while the phone
//! stored them may lack it, so padding is judged ([`padding_len`]) and never assumed.

use std::fmt;

use aes::cipher::array::Array;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use aes::{Aes256Dec, Aes256Enc, Block};

use crate::{Error, FileKey, Result};

/// The length of a block of the cipher.
pub const BLOCK: usize = 16;

/// The bytes it takes to store `plain_len` bytes: they are always padded.
///
/// A length too large to pad, which no file has, gives the largest whole block.
pub fn stored_len(plain_len: u64) -> u64 {
    (plain_len / BLOCK as u64).saturating_add(1).saturating_mul(BLOCK as u64) & !(BLOCK as u64 - 1)
}

/// How many bytes of the last block are padding; `None` if it has no valid PKCS#7 padding.
pub fn padding_len(last_block: &[u8; BLOCK]) -> Option<usize> {
    let length = usize::from(last_block[BLOCK - 1]);
    if !(1..=BLOCK).contains(&length) {
        return None;
    }
    last_block[BLOCK - length..].iter().all(|&byte| usize::from(byte) == length).then_some(length)
}

/// Decrypts the last block of a file alone, given the stored block before it (or zeros, if it is the only one),
/// so that a file's padding can be judged before all of it is read.
pub fn decrypt_last_block(key: &FileKey, previous: &[u8; BLOCK], last: &[u8; BLOCK]) -> [u8; BLOCK] {
    let mut block = *last;
    cbc::Decryptor::<Aes256Dec>::new(key.expose().into(), previous.into()).decrypt_blocks(blocks(&mut block).0);
    block
}

/// Decrypts a file from its start, piece by piece.
pub struct Decryptor(cbc::Decryptor<Aes256Dec>);

impl Decryptor {
    /// Starts a file.
    pub fn new(key: &FileKey) -> Decryptor {
        Decryptor(cbc::Decryptor::new(key.expose().into(), &Array::default()))
    }

    /// Goes on in a file, given the stored block before the piece that comes next.
    pub fn after(key: &FileKey, previous: &[u8; BLOCK]) -> Decryptor {
        Decryptor(cbc::Decryptor::new(key.expose().into(), previous.into()))
    }

    /// Decrypts the next piece where it lies. Its length must be a multiple of 16.
    pub fn decrypt(&mut self, piece: &mut [u8]) -> Result<()> {
        self.0.decrypt_blocks(whole_blocks(piece)?);
        Ok(())
    }
}

/// Encrypts a file from its start, piece by piece.
#[must_use = "a file without its last block is cut short"]
pub struct Encryptor(cbc::Encryptor<Aes256Enc>);

impl Encryptor {
    /// Starts a file.
    pub fn new(key: &FileKey) -> Encryptor {
        Encryptor(cbc::Encryptor::new(key.expose().into(), &Array::default()))
    }

    /// Goes on in a file, given the stored block before the piece that comes next.
    pub fn after(key: &FileKey, previous: &[u8; BLOCK]) -> Encryptor {
        Encryptor(cbc::Encryptor::new(key.expose().into(), previous.into()))
    }

    /// Encrypts the next piece where it lies. Its length must be a multiple of 16.
    pub fn encrypt(&mut self, piece: &mut [u8]) -> Result<()> {
        self.0.encrypt_blocks(whole_blocks(piece)?);
        Ok(())
    }

    /// Ends the file with its last bytes, fewer than 16 and perhaps none, and gives the block that stands for them and the padding.
    pub fn finish(mut self, tail: &[u8]) -> Result<[u8; BLOCK]> {
        if tail.len() >= BLOCK {
            return Err(Error::TooLarge { what: "tail of a file", size: tail.len() as u64, limit: BLOCK as u64 - 1 });
        }
        let mut block = [(BLOCK - tail.len()) as u8; BLOCK];
        block[..tail.len()].copy_from_slice(tail);
        self.encrypt(&mut block)?;
        Ok(block)
    }
}

/// Decrypts a small file at once, without its padding if that is valid. Bytes beyond the last whole block stay out.
pub fn decrypt_all(key: &FileKey, stored: &[u8]) -> Vec<u8> {
    let mut plain = stored[..stored.len() - stored.len() % BLOCK].to_vec();
    Decryptor::new(key).0.decrypt_blocks(blocks(&mut plain).0);
    if let Some(length) = plain.last_chunk().and_then(padding_len) {
        plain.truncate(plain.len() - length);
    }
    plain
}

/// Encrypts a small file at once.
pub fn encrypt_all(key: &FileKey, plain: &[u8]) -> Vec<u8> {
    let padding = BLOCK - plain.len() % BLOCK;
    let mut stored = Vec::with_capacity(plain.len() + padding);
    stored.extend_from_slice(plain);
    stored.resize(plain.len() + padding, padding as u8);
    Encryptor::new(key).0.encrypt_blocks(blocks(&mut stored).0);
    stored
}

impl fmt::Debug for Decryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decryptor(..)")
    }
}

impl fmt::Debug for Encryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encryptor(..)")
    }
}

fn blocks(bytes: &mut [u8]) -> (&mut [Block], &mut [u8]) {
    Block::slice_as_chunks_mut(bytes)
}

fn whole_blocks(bytes: &mut [u8]) -> Result<&mut [Block]> {
    let length = bytes.len();
    match blocks(bytes) {
        (blocks, []) => Ok(blocks),
        _ => Err(Error::NotWholeBlocks { length }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha1::{Digest, Sha1};

    use super::*;
    use crate::fixtures::{hex, hex_vec};

    fn key() -> FileKey {
        FileKey::from_bytes(std::array::from_fn(|i| i as u8))
    }

    #[test]
    fn files_are_stored_as_published() {
        let check = |plain: &[u8], stored: &str, digest: Option<&str>| {
            let stored = hex_vec(stored);
            assert_eq!(encrypt_all(&key(), plain), stored);
            assert_eq!(decrypt_all(&key(), &stored), plain);
            assert_eq!(stored_len(plain.len() as u64), stored.len() as u64);
            if let Some(digest) = digest {
                assert_eq!(Sha1::digest(&stored).as_slice(), hex_vec(digest));
            }
        };
        check(b"", "9f3b7504926f8bd36e3118e903a4cd4a", Some("801d273b2c384d2c83432c3268299cc61dff1c52"));
        check(b"hello world\n", "0b2c878e3b34b315443e0f44b3091802", Some("33f667a8055cd14752625f4123fba0b0b4928426"));
        check(&[b'A'; 16], "72ada3664473c418c917a496fcc37066ab5fa98b9d6a251e66dd7a7f9f21714a", None);
        let stored = hex_vec("78b51ca5374c3ad575174288688cda49");
        assert_eq!(decrypt_all(&FileKey::from_bytes([0; 32]), &stored), b"Test data");
    }

    #[test]
    fn only_valid_padding_counts() {
        let check = |block: &str, length| assert_eq!(padding_len(&hex(block)), length);
        check("10101010101010101010101010101010", Some(16));
        check("00000000000000000000000000000001", Some(1));
        check("00000000000000000000000000030303", Some(3));
        check("00000000000000000000000000020303", None);
        check("00000000000000000000000000000000", None);
        check("11111111111111111111111111111111", None);
        check("0f101010101010101010101010101010", None);
    }

    #[test]
    fn a_ragged_piece_is_refused() {
        assert!(matches!(Decryptor::new(&key()).decrypt(&mut [0; 17]), Err(Error::NotWholeBlocks { length: 17 })));
        assert!(matches!(Encryptor::new(&key()).encrypt(&mut [0; 1]), Err(Error::NotWholeBlocks { length: 1 })));
        assert!(Encryptor::new(&key()).finish(&[0; 16]).is_err());
    }

    #[test]
    fn no_length_overflows() {
        assert_eq!(stored_len(0), 16);
        assert_eq!(stored_len(15), 16);
        assert_eq!(stored_len(16), 32);
        assert_eq!(stored_len(u64::MAX), u64::MAX - 15);
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_make_the_same_file(plain: Vec<u8>, cut in 0_usize..8) {
            let whole = plain.len() - plain.len() % BLOCK;
            let (body, tail) = plain.split_at(whole);
            let mut stored = body.to_vec();
            let at = (cut * BLOCK).min(whole);
            let mut encryptor = Encryptor::new(&key());
            encryptor.encrypt(&mut stored[..at]).unwrap();
            encryptor.encrypt(&mut stored[at..]).unwrap();
            stored.extend(encryptor.finish(tail).unwrap());
            prop_assert_eq!(&stored, &encrypt_all(&key(), &plain));

            if let Some(previous) = stored[..at].last_chunk() {
                let mut rest = body[at..].to_vec();
                let mut encryptor = Encryptor::after(&key(), previous);
                encryptor.encrypt(&mut rest).unwrap();
                prop_assert_eq!(&rest, &stored[at..whole]);
                Decryptor::after(&key(), previous).decrypt(&mut rest).unwrap();
                prop_assert_eq!(&rest, &body[at..]);
            }

            let last = *stored.last_chunk::<BLOCK>().unwrap();
            let previous = stored[..stored.len() - BLOCK].last_chunk().copied().unwrap_or_default();
            let last = decrypt_last_block(&key(), &previous, &last);
            prop_assert_eq!(padding_len(&last), Some(BLOCK - tail.len()));

            let mut again = stored.clone();
            let mut decryptor = Decryptor::new(&key());
            decryptor.decrypt(&mut again[..at]).unwrap();
            decryptor.decrypt(&mut again[at..]).unwrap();
            prop_assert_eq!(&again[..plain.len()], &plain[..]);
            prop_assert_eq!(decrypt_all(&key(), &stored), plain);
        }
    }
}
