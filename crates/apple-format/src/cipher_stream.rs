//! A file's cipher as a reader: plaintext out of ciphertext and back, a piece at a time.

use std::io::{self, Read};

use crate::FileKey;
use crate::cipher::{BLOCK, Decryptor, Encryptor};

/// Bytes worked on at once.
const PIECE: u64 = 256 << 10;

/// Gives the plaintext of what it reads, padding and all; bytes beyond the last whole block cannot be opened and are left out.
#[derive(Debug)]
pub struct DecryptReader<R> {
    inner: R,
    decryptor: Option<Decryptor>,
    ready: Vec<u8>,
    used: usize,
}

impl<R: Read> DecryptReader<R> {
    /// Without a key the bytes come as they are.
    pub fn new(inner: R, key: Option<&FileKey>) -> DecryptReader<R> {
        DecryptReader { inner, decryptor: key.map(Decryptor::new), ready: Vec::new(), used: 0 }
    }
}

impl<R: Read> Read for DecryptReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(decryptor) = &mut self.decryptor else { return self.inner.read(out) };
        if self.used == self.ready.len() {
            self.ready.clear();
            self.used = 0;
            (&mut self.inner).take(PIECE).read_to_end(&mut self.ready)?;
            self.ready.truncate(self.ready.len() - self.ready.len() % BLOCK);
            decryptor.decrypt(&mut self.ready).map_err(io::Error::other)?;
        }
        Ok(hand_over(&self.ready, &mut self.used, out))
    }
}

/// Gives the ciphertext of what it reads, with its padding.
#[derive(Debug)]
pub struct EncryptReader<R> {
    inner: R,
    encryptor: Option<Encryptor>,
    ready: Vec<u8>,
    used: usize,
}

impl<R: Read> EncryptReader<R> {
    /// Encrypts all of `inner` as one file.
    pub fn new(inner: R, key: &FileKey) -> EncryptReader<R> {
        EncryptReader { inner, encryptor: Some(Encryptor::new(key)), ready: Vec::new(), used: 0 }
    }
}

impl<R: Read> Read for EncryptReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.used == self.ready.len() {
            let Some(mut encryptor) = self.encryptor.take() else { return Ok(0) };
            self.ready.clear();
            self.used = 0;
            (&mut self.inner).take(PIECE).read_to_end(&mut self.ready)?;
            let whole = self.ready.len() - self.ready.len() % BLOCK;
            encryptor.encrypt(&mut self.ready[..whole]).map_err(io::Error::other)?;
            if self.ready.len() as u64 == PIECE {
                self.encryptor = Some(encryptor);
            } else {
                let last = encryptor.finish(&self.ready[whole..]).map_err(io::Error::other)?;
                self.ready.truncate(whole);
                self.ready.extend_from_slice(&last);
            }
        }
        Ok(hand_over(&self.ready, &mut self.used, out))
    }
}

/// Encrypts what is pushed into it as one file, and hands the ciphertext on, piece by piece.
#[must_use = "a file without its last block is cut short"]
#[derive(Debug)]
pub struct EncryptPieces {
    encryptor: Encryptor,
    ready: Vec<u8>,
}

impl EncryptPieces {
    /// Starts a file of about this length.
    pub fn new(key: &FileKey, len: u64) -> EncryptPieces {
        let ready = Vec::with_capacity(len.saturating_add(BLOCK as u64).min(PIECE) as usize);
        EncryptPieces { encryptor: Encryptor::new(key), ready }
    }

    /// Takes the next bytes of the plaintext.
    pub fn push(&mut self, mut plain: &[u8], put: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        while !plain.is_empty() {
            let (now, later) = plain.split_at((PIECE as usize - self.ready.len()).min(plain.len()));
            self.ready.extend_from_slice(now);
            plain = later;
            if self.ready.len() as u64 == PIECE {
                self.encryptor.encrypt(&mut self.ready).map_err(io::Error::other)?;
                put(&self.ready)?;
                self.ready.clear();
            }
        }
        Ok(())
    }

    /// Ends the file.
    pub fn finish(self, put: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let EncryptPieces { mut encryptor, mut ready } = self;
        let whole = ready.len() - ready.len() % BLOCK;
        encryptor.encrypt(&mut ready[..whole]).map_err(io::Error::other)?;
        let last = encryptor.finish(&ready[whole..]).map_err(io::Error::other)?;
        ready.truncate(whole);
        ready.extend_from_slice(&last);
        put(&ready)
    }
}

fn hand_over(ready: &[u8], used: &mut usize, out: &mut [u8]) -> usize {
    let n = out.len().min(ready.len() - *used);
    out[..n].copy_from_slice(&ready[*used..*used + n]);
    *used += n;
    n
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::{decrypt_all, encrypt_all};

    #[test]
    fn a_stream_is_the_same_as_the_whole_at_every_length() {
        let key = FileKey::from_bytes([7; 32]);
        for len in [0, 1, 15, 16, 17, 4096, PIECE as usize - 1, PIECE as usize, PIECE as usize + 16, 3 * PIECE as usize + 5] {
            let plain: Vec<u8> = (0..len).map(|n| (n * 7 % 251) as u8).collect();
            let mut stored = Vec::new();
            EncryptReader::new(&plain[..], &key).read_to_end(&mut stored).unwrap();
            assert!(stored == encrypt_all(&key, &plain), "{len}");
            let mut back = Vec::new();
            DecryptReader::new(&stored[..], Some(&key)).read_to_end(&mut back).unwrap();
            assert!(back.starts_with(&plain) && back.len() == stored.len(), "{len}");
            assert!(decrypt_all(&key, &stored) == plain);
            let (mut pieces, mut put) = (EncryptPieces::new(&key, 9), Vec::new());
            let mut take = |piece: &[u8]| {
                put.extend_from_slice(piece);
                Ok(())
            };
            plain.chunks(100_003).for_each(|piece| pieces.push(piece, &mut take).unwrap());
            pieces.finish(&mut take).unwrap();
            assert!(put == stored, "{len}");
        }
    }
}
