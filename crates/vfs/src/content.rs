//! A file's bytes as its owner knows them, or as the phone stored them.

use std::io::{self, Read};

use russet_apple_format::FileKey;
use russet_apple_format::cipher::{self, BLOCK, decrypt_last_block, padding_len};
use russet_apple_format::cipher_stream::{DecryptReader, EncryptReader};
use russet_repository::Reader;
use russet_repository::format::tree::{Content, Layer, Node, NodeKind};

use crate::Result;

pub(crate) fn content_of(node: &Node) -> Content {
    match &node.kind {
        NodeKind::File(content) => content.clone(),
        _ => Content::default(),
    }
}

/// The plaintext and its length. `claimed` is the length that the manifest says; it counts only where the padding does not tell.
pub(crate) fn plain<'a>(reader: &'a Reader, node: &Node, claimed: Option<u64>) -> Result<(Box<dyn Read + 'a>, u64)> {
    let content = content_of(node);
    let size = content.size();
    let open = reader.open(&content);
    let Some(Layer::Locked { key }) = &node.layer else { return Ok((Box::new(open), size)) };
    let key = FileKey::from_bytes(*key);
    let len = locked_len(reader, &content, &key, claimed)?;
    Ok((Box::new(DecryptReader::new(open, Some(&key)).take(len)), len))
}

/// How much of a file that would not come back bit-exact is its plaintext.
pub(crate) fn locked_len(reader: &Reader, content: &Content, key: &FileKey, claimed: Option<u64>) -> Result<u64> {
    let size = content.size();
    let whole = size - size % BLOCK as u64;
    if whole == 0 {
        return Ok(0);
    }
    let mut blocks = [0; 2 * BLOCK];
    let start = whole.saturating_sub(2 * BLOCK as u64);
    let have = (whole - start) as usize;
    let mut open = reader.open(content);
    open.seek(start)?;
    open.read_exact(&mut blocks[2 * BLOCK - have..]).map_err(russet_repository::RepositoryError::Source)?;
    let ([previous, last], []) = blocks.as_chunks::<BLOCK>() else { unreachable!("32 bytes are two blocks") };
    Ok(match padding_len(&decrypt_last_block(key, previous, last)) {
        Some(padding) => whole - padding as u64,
        None => claimed.filter(|&claimed| claimed > 0 && claimed <= whole).unwrap_or(whole),
    })
}

/// The length that the file had in the phone's folder.
pub fn stored_len(node: &Node) -> u64 {
    match node.layer {
        Some(Layer::Peeled { .. }) => cipher::stored_len(node.size()),
        _ => node.size(),
    }
}

/// The bytes as the phone stored them, proved to be so at their end: with a layer that was peeled they are encrypted again on the way,
/// and a reader that comes to another hash than the one kept with the file fails instead of ending.
pub fn stored_and_checked<'a>(reader: &'a Reader, node: &Node) -> Box<dyn Read + 'a> {
    match &node.layer {
        Some(Layer::Peeled { ciphertext, .. }) => {
            Box::new(Checked { inner: Hashing::new(stored(reader, node), blake3::Hasher::new()), wanted: *ciphertext })
        }
        // What was never peeled is held by the names of its chunks.
        _ => stored(reader, node),
    }
}

struct Checked<R> {
    inner: Hashing<R, blake3::Hasher>,
    wanted: [u8; 32],
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        if n == 0 && !out.is_empty() && *self.inner.hasher.finalize().as_bytes() != self.wanted {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not bit for bit what the phone stored"));
        }
        Ok(n)
    }
}

/// The bytes as the phone stored them. With a layer that was peeled they are encrypted again on the way.
pub(crate) fn stored<'a>(reader: &'a Reader, node: &Node) -> Box<dyn Read + 'a> {
    let open = reader.open(&content_of(node));
    match &node.layer {
        Some(Layer::Peeled { key, .. }) => Box::new(EncryptReader::new(open, &FileKey::from_bytes(*key))),
        _ => Box::new(open),
    }
}

/// Passes bytes on and hashes them.
pub(crate) struct Hashing<R, H> {
    inner: R,
    pub(crate) hasher: H,
}

/// A hash that bytes can be added to.
pub(crate) trait Absorb {
    fn absorb(&mut self, bytes: &[u8]);
}

impl Absorb for blake3::Hasher {
    fn absorb(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
}

impl Absorb for sha1::Sha1 {
    fn absorb(&mut self, bytes: &[u8]) {
        sha1::Digest::update(self, bytes);
    }
}

impl<R: Read, H: Absorb> Hashing<R, H> {
    pub(crate) fn new(inner: R, hasher: H) -> Hashing<R, H> {
        Hashing { inner, hasher }
    }
}

impl<R: Read, H: Absorb> Read for Hashing<R, H> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        self.hasher.absorb(&out[..n]);
        Ok(n)
    }
}
