//! One file of a snapshot, read at any offset by any number of threads: as its owner knows it, or as the phone stored it.
//!
//! Who reads on where the last read ended finds the next bytes unpacked already, by other cores.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use russet_apple_format::FileKey;
use russet_apple_format::cipher::{BLOCK, Decryptor, Encryptor};
use russet_repository::Reader;
use russet_repository::format::tree::{Content, Layer, Node};

use crate::content::{content_of, locked_len, stored_len};
use crate::{Result, VfsError};

/// No more than this is unpacked ahead of a reader.
const FARTHEST_AHEAD: u64 = 16 << 20;
/// Requests of one reader may overtake each other by this much.
const ASTRAY: u64 = 2 << 20;

/// A file that is open.
#[derive(Debug)]
pub struct File {
    reader: Arc<Reader>,
    content: Content,
    len: u64,
    form: Form,
    pace: Mutex<Pace>,
}

#[derive(Debug)]
enum Form {
    /// What is kept is what is wanted.
    AsKept,
    /// Kept with Apple's layer, and wanted without it.
    Opened(FileKey),
    /// Kept without Apple's layer, and wanted with it.
    Sealed(Box<Mutex<Chain>>),
}

/// Where a reader is who reads on and on.
#[derive(Debug, Default)]
struct Pace {
    /// Where the next read would begin.
    next: u64,
    /// How much was read without a leap.
    run: u64,
    /// Up to where other cores were set to work.
    ahead: u64,
}

impl File {
    /// A file as its owner knows it. `claimed` is the length that the manifest says; it counts only where the padding does not tell.
    pub(crate) fn plain(reader: Arc<Reader>, node: &Node, claimed: Option<u64>) -> Result<File> {
        let content = content_of(node);
        let (len, form) = match &node.layer {
            Some(Layer::Locked { key }) => {
                let key = FileKey::from_bytes(*key);
                (locked_len(&reader, &content, &key, claimed)?, Form::Opened(key))
            }
            _ => (content.size(), Form::AsKept),
        };
        Ok(File { reader, content, len, form, pace: Mutex::default() })
    }

    /// A file as the phone stored it.
    pub(crate) fn stored(reader: Arc<Reader>, node: &Node) -> File {
        let form = match &node.layer {
            Some(Layer::Peeled { key, ciphertext }) => {
                Form::Sealed(Box::new(Mutex::new(Chain::new(FileKey::from_bytes(*key), *ciphertext))))
            }
            _ => Form::AsKept,
        };
        File { reader, content: content_of(node), len: stored_len(node), form, pace: Mutex::default() }
    }

    /// Its length.
    pub fn size(&self) -> u64 {
        self.len
    }

    /// Fills `out` from an offset on. Less is filled only where the file ends.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        let wanted = (out.len() as u64).min(self.len.saturating_sub(offset)) as usize;
        let out = &mut out[..wanted];
        if out.is_empty() {
            return Ok(0);
        }
        self.look_ahead(offset, out.len() as u64);
        match &self.form {
            Form::AsKept => self.kept(offset, out)?,
            Form::Opened(key) => self.opened(key, offset, out)?,
            Form::Sealed(chain) => chain.lock().unwrap_or_else(PoisonError::into_inner).read_at(self, offset, out)?,
        }
        Ok(wanted)
    }

    /// Bytes as they are kept. A content that is shorter than its own list of chunks is refused by the reader.
    fn kept(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.reader.read_at(&self.content, offset, out)?;
        Ok(())
    }

    /// Any block of CBC can be opened that has the one before it.
    fn opened(&self, key: &FileKey, offset: u64, out: &mut [u8]) -> Result<()> {
        let block = BLOCK as u64;
        let (start, end) = (offset / block * block, (offset + out.len() as u64).next_multiple_of(block));
        let before = start.saturating_sub(block);
        let mut bytes = vec![0; (end - before) as usize];
        self.kept(before, &mut bytes)?;
        let (previous, bytes) = bytes.split_at_mut((start - before) as usize);
        let previous = previous.first_chunk().copied().unwrap_or_default();
        Decryptor::after(key, &previous).decrypt(bytes).expect("these are whole blocks");
        out.copy_from_slice(&bytes[(offset - start) as usize..][..out.len()]);
        Ok(())
    }

    fn look_ahead(&self, offset: u64, len: u64) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let end = offset + len;
        if offset.abs_diff(pace.next) > ASTRAY {
            *pace = Pace { next: end, run: 0, ahead: 0 };
            return;
        }
        pace.run += len;
        pace.next = pace.next.max(end);
        // The farther somebody has come, the farther they are likely to go.
        let window = (2 * pace.run).min(FARTHEST_AHEAD);
        let (from, to) = (pace.ahead.max(end), end.saturating_add(window).min(self.content.size()));
        if from < to && to - from >= window / 4 {
            pace.ahead = self.reader.read_ahead(&self.content, from..to);
        }
    }
}

/// Bytes that are encrypted at once.
const PIECE: usize = 256 << 10;
/// Pieces that are kept, for reads that overtake each other.
const PIECES: usize = 4;

/// A file's cipher as far as it has come. Encryption in CBC goes forward only, each block needs the one before it; so the last block of
/// every piece is remembered, and what was passed once can be made again from there.
struct Chain {
    key: FileKey,
    /// The stored block before each piece that can be made.
    links: Vec<[u8; BLOCK]>,
    pieces: VecDeque<(usize, Vec<u8>)>,
    /// Of all pieces that were made, to compare with what came.
    hasher: blake3::Hasher,
    ciphertext: [u8; 32],
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Chain({} pieces)", self.links.len() - 1)
    }
}

impl Chain {
    fn new(key: FileKey, ciphertext: [u8; 32]) -> Chain {
        Chain { key, links: vec![[0; BLOCK]], pieces: VecDeque::new(), hasher: blake3::Hasher::new(), ciphertext }
    }

    fn read_at(&mut self, file: &File, offset: u64, out: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while filled < out.len() {
            let at = offset + filled as u64;
            let (number, inside) = ((at / PIECE as u64) as usize, (at % PIECE as u64) as usize);
            // What is skipped has to be passed all the same.
            while self.links.len() <= number {
                self.make(file, self.links.len() - 1)?;
            }
            if !self.pieces.iter().any(|(n, _)| *n == number) {
                self.make(file, number)?;
            }
            let piece = self.pieces.iter().find(|(n, _)| *n == number).map(|(_, bytes)| &bytes[inside..]).unwrap_or_default();
            let n = piece.len().min(out.len() - filled);
            out[filled..filled + n].copy_from_slice(&piece[..n]);
            filled += n;
        }
        Ok(())
    }

    /// Makes a piece whose link is known.
    fn make(&mut self, file: &File, number: usize) -> Result<()> {
        let start = number as u64 * PIECE as u64;
        let stored = (file.len - start).min(PIECE as u64) as usize;
        let is_last = start + stored as u64 == file.len;
        let mut piece = match self.pieces.len() {
            PIECES => self.pieces.pop_front().map_or_else(Vec::new, |(_, old)| old),
            _ => Vec::new(),
        };
        piece.resize(stored, 0);
        let plain = (file.content.size() - start).min(PIECE as u64) as usize;
        file.kept(start, &mut piece[..plain])?;
        let whole = if is_last { plain - plain % BLOCK } else { plain };
        let mut encryptor = Encryptor::after(&self.key, &self.links[number]);
        encryptor.encrypt(&mut piece[..whole]).expect("these are whole blocks");
        if is_last {
            let last = encryptor.finish(&piece[whole..plain]).expect("less than a block is left");
            piece[whole..].copy_from_slice(&last);
        }
        if number + 1 == self.links.len() {
            self.hasher.update(&piece);
            if is_last && *self.hasher.finalize().as_bytes() != self.ciphertext {
                // So that this is found again by whoever reads on.
                self.hasher = blake3::Hasher::new();
                return Err(VfsError::NotAsItCame);
            }
            self.links.push(piece.last_chunk().copied().unwrap_or_default());
        }
        self.pieces.push_back((number, piece));
        Ok(())
    }
}
