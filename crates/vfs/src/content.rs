//! A file's bytes as its owner knows them, or as the phone stored them.

use std::io::{self, Read};
use std::sync::Arc;

use russet_apple_format::FileKey;
use russet_apple_format::cipher::{self, BLOCK, decrypt_last_block, padding_len};
use russet_apple_format::cipher_stream::{DecryptReader, EncryptPieces, EncryptReader};
use russet_repository::format::tree::{Content, Layer, Node, NodeKind};
use russet_repository::{ContentReader, Reader, RepositoryError};

use crate::Result;

/// Bytes worked on at once.
const PIECE: usize = 256 << 10;

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

/// Other cores unpack so many bytes ahead of whoever reads.
const AHEAD: u64 = 4 << 20;

/// Reads one content from beginning to end, while other cores unpack what comes next.
pub(crate) struct ReadAhead<'a> {
    reader: &'a Arc<Reader>,
    content: &'a Content,
    inner: ContentReader<'a>,
    at: u64,
    reached: u64,
}

impl<'a> ReadAhead<'a> {
    pub(crate) fn new(reader: &'a Arc<Reader>, content: &'a Content) -> ReadAhead<'a> {
        ReadAhead { reader, content, inner: reader.open(content), at: 0, reached: 0 }
    }
}

impl Read for ReadAhead<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.reached {
            self.reached = self.reader.read_ahead(self.content, self.at..self.at + AHEAD).max(self.at + 1);
        }
        let n = self.inner.read(out)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// What takes a content, piece by piece.
pub(crate) type Put<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

/// Gives the plaintext out, where it can from where it lies.
pub(crate) fn give_plain(reader: &Reader, node: &Node, claimed: Option<u64>, put: &mut Put<'_>) -> io::Result<()> {
    if !matches!(node.layer, Some(Layer::Locked { .. })) {
        return give(reader, node, put);
    }
    let (mut plain, _) = plain(reader, node, claimed).map_err(io::Error::other)?;
    let mut piece = vec![0; PIECE];
    loop {
        match plain.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(n) => put(&piece[..n])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gives out the bytes that the phone stored, and says whether they are the same bit for bit.
pub(crate) fn give_stored(reader: &Reader, node: &Node, put: &mut Put<'_>) -> io::Result<bool> {
    let Some(Layer::Peeled { key, ciphertext }) = &node.layer else {
        // What was never peeled is held by the names of its chunks.
        return give(reader, node, put).map(|()| true);
    };
    let mut hasher = blake3::Hasher::new();
    let mut put = |piece: &[u8]| {
        hasher.update(piece);
        put(piece)
    };
    let mut sealing = EncryptPieces::new(&FileKey::from_bytes(*key), node.size());
    give(reader, node, &mut |piece| sealing.push(piece, &mut put))?;
    sealing.finish(&mut put)?;
    Ok(*hasher.finalize().as_bytes() == *ciphertext)
}

fn give(reader: &Reader, node: &Node, put: &mut Put<'_>) -> io::Result<()> {
    reader.open(&content_of(node)).for_each(put).map_err(|error| match error {
        RepositoryError::Source(error) => error,
        other => io::Error::other(other),
    })
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
    open.read_exact(&mut blocks[2 * BLOCK - have..]).map_err(RepositoryError::Source)?;
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
    let open = reader.open(&content_of(node));
    match &node.layer {
        Some(Layer::Peeled { key, ciphertext }) => Box::new(Checked {
            inner: EncryptReader::new(open, &FileKey::from_bytes(*key)),
            hasher: blake3::Hasher::new(),
            wanted: *ciphertext,
        }),
        // What was never peeled is held by the names of its chunks.
        _ => Box::new(open),
    }
}

struct Checked<R> {
    inner: R,
    hasher: blake3::Hasher,
    wanted: [u8; 32],
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        self.hasher.update(&out[..n]);
        if n == 0 && !out.is_empty() && *self.hasher.finalize().as_bytes() != self.wanted {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not bit for bit what the phone stored"));
        }
        Ok(n)
    }
}
