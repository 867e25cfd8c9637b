//! Apple's layer taken off on the way in.
//!
//! A stored file is AES-256-CBC with a zero IV over the plaintext and PKCS#7 padding. CBC is a permutation of whole blocks, so a file comes
//! back bit for bit if, and only if, its length is whole blocks and its last block ends in valid padding. That is judged from the last two
//! blocks before the rest is read. A file that fails is stored as it came. The hash of the ciphertext goes with the content and is compared
//! whenever the file is made again. Plaintext exists in memory only.
//!
//! Sources are read plainly: a file that is cut short under a memory map would kill the process.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use russet_apple_format::FileKey;
use russet_apple_format::cipher::{BLOCK, Decryptor, decrypt_last_block, padding_len};
use russet_repository::format::tree::{Content, Layer};
use russet_repository::stages::{Stage, timed};
use russet_repository::{BEST_PIECE, Draft, Hint, Known, RepositoryError};
use sha1::{Digest, Sha1};

/// A file's content as it was stored.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) content: Content,
    pub(crate) layer: Option<Layer>,
    /// SHA-1 of the bytes as they lay there, if it was asked for.
    pub(crate) digest: Option<[u8; 20]>,
    /// Bytes read.
    pub(crate) read: u64,
}

/// Stores a file that has no layer, or none that can be opened.
pub(crate) fn as_it_is(
    draft: &Draft,
    file: &mut dyn Read,
    known: Known<'_>,
    digest: bool,
    buffer: &mut Vec<u8>,
    seen: &mut dyn FnMut(u64),
) -> Result<Stored, RepositoryError> {
    let mut sha = digest.then(Sha1::new);
    let mut read = 0;
    let content = draft.store(file, known, buffer, &mut |piece| {
        if let Some(sha) = &mut sha {
            sha.update(piece);
        }
        read += piece.len() as u64;
        seen(piece.len() as u64);
    })?;
    Ok(Stored { content, layer: None, digest: sha.map(|sha| sha.finalize().into()), read })
}

/// Stores a file of `len` bytes, encrypted under `key`, without its layer if it can be put back exactly.
#[allow(clippy::too_many_arguments)]
pub(crate) fn unlocked(
    draft: &Draft,
    file: &mut File,
    len: u64,
    known: Known<'_>,
    key: &FileKey,
    digest: bool,
    buffer: &mut Vec<u8>,
    seen: &mut dyn FnMut(u64),
) -> Result<Stored, RepositoryError> {
    let stored = match padding(file, len, key).map_err(RepositoryError::Source)? {
        Some(padding) => peel(draft, file, len, padding, known, key, digest, buffer, seen)?,
        None => None,
    };
    match stored {
        Some(stored) => Ok(stored),
        None => {
            file.seek(SeekFrom::Start(0)).map_err(RepositoryError::Source)?;
            let stored = as_it_is(draft, file, Hint::Ciphertext.into(), digest, buffer, seen)?;
            Ok(Stored { layer: Some(Layer::Locked { key: *key.expose() }), ..stored })
        }
    }
}

/// How many bytes of padding the file ends in; nothing if it would not come back exactly.
fn padding(file: &mut File, len: u64, key: &FileKey) -> io::Result<Option<usize>> {
    if len == 0 || !len.is_multiple_of(BLOCK as u64) {
        return Ok(None);
    }
    let (mut previous, mut last) = ([0; BLOCK], [0; BLOCK]);
    if len > BLOCK as u64 {
        file.seek(SeekFrom::Start(len - 2 * BLOCK as u64))?;
        file.read_exact(&mut previous)?;
    }
    file.read_exact(&mut last)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(padding_len(&decrypt_last_block(key, &previous, &last)))
}

/// Gives nothing if the file turned out to be another than its end promised.
#[allow(clippy::too_many_arguments)]
fn peel(
    draft: &Draft,
    file: &mut File,
    len: u64,
    padding: usize,
    known: Known<'_>,
    key: &FileKey,
    digest: bool,
    buffer: &mut Vec<u8>,
    seen: &mut dyn FnMut(u64),
) -> Result<Option<Stored>, RepositoryError> {
    let mut decryptor = Decryptor::new(key);
    let mut writer = draft.file(known);
    let mut ciphertext = blake3::Hasher::new();
    let mut sha = digest.then(Sha1::new);
    let mut left = len;
    while left > 0 {
        let want = left.min(BEST_PIECE as u64) as usize;
        buffer.resize(want, 0);
        if let Err(error) = timed(Stage::ReadSource, || file.read_exact(buffer)) {
            // It became shorter while it was read: whoever called reads it again.
            return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(RepositoryError::Source(error)) };
        }
        timed(Stage::Unlock, || ciphertext.update(buffer));
        if let Some(sha) = &mut sha {
            sha.update(&buffer);
        }
        if timed(Stage::Unlock, || decryptor.decrypt(buffer)).is_err() {
            return Ok(None);
        }
        left -= want as u64;
        let plain = match left {
            0 if buffer.last_chunk().and_then(padding_len) != Some(padding) => return Ok(None),
            0 => &buffer[..want - padding],
            _ => &buffer[..],
        };
        writer.push(plain)?;
        seen(want as u64);
    }
    let layer = Layer::Peeled { key: *key.expose(), ciphertext: *ciphertext.finalize().as_bytes() };
    let digest = sha.map(|sha| sha.finalize().into());
    Ok(Some(Stored { content: writer.finish()?, layer: Some(layer), digest, read: len }))
}
