//! The table of one repository in a local file, named by what it was built from.
//!
//! It is sealed with a keyed hash, over hashes of its pieces so that several cores can look at it, and may be deleted at any time.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::SystemTime;

use memmap2::{Mmap, MmapOptions};
use russet_format::id::FileName;
use russet_format::key::Keys;
use russet_format::pack::ChunkKind;

use super::{Bytes, Index};
use crate::page_names::PageNames;

const MAC: usize = 32;
/// So much is hashed in one go.
const PIECE: usize = 4 << 20;
/// So much is written in one go.
const BUFFER: usize = 256 << 10;
/// More cores do not help: memory is the limit.
const MOST_THREADS: usize = 8;

/// Where the table is.
#[derive(Debug, Clone)]
pub(crate) struct IndexCache {
    folder: PathBuf,
    mac_key: [u8; 32],
}

impl IndexCache {
    pub(crate) fn new(folder: &Path, keys: &Keys) -> IndexCache {
        // Ids of chunks are what the cache holds, so a key that only ids are made with guards it.
        let mac_key = keys.writing.chunk_id(ChunkKind::Tree, b"russet index cache").0;
        IndexCache { folder: folder.join(keys.repository.to_string()), mac_key }
    }

    fn path(&self, key: &[u8; 32]) -> PathBuf {
        self.folder.join(format!("index-{}", &FileName(*key).hex()[..32]))
    }

    /// Where the same repository's names of pages are.
    pub(crate) fn page_names(&self, keys: &Keys) -> PageNames {
        PageNames::new(&self.folder, keys)
    }

    /// A folder for what is not needed for long; nothing if there can be none.
    pub(crate) fn folder(&self) -> Option<&Path> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.folder).ok().map(|()| &*self.folder)
    }

    /// Maps the table that was built from what `key` names, if it is there and unspoilt.
    pub(crate) fn load(&self, key: &[u8; 32]) -> Option<Index> {
        self.open(&self.path(key))
    }

    /// Maps the table that was kept last, whatever it was built from.
    pub(crate) fn load_last(&self) -> Option<Index> {
        let files = fs::read_dir(&self.folder).ok()?.flatten();
        let tables = files.filter(|file| file.file_name().to_string_lossy().starts_with("index-"));
        let kept = |file: &fs::DirEntry| file.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        self.open(&tables.max_by_key(kept)?.path())
    }

    fn open(&self, path: &Path) -> Option<Index> {
        let file = File::open(path).ok()?;
        let len = usize::try_from(file.metadata().ok()?.len()).ok()?.checked_sub(MAC)?;
        let mac = self.mac(&self.hash_pieces(&file, len)?);
        // The pieces are unmapped again, so only what is looked up counts as our memory.
        match map(&file, len, MAC).ok()?[..] == mac[..] {
            true => Index::of(Bytes::Mapped(map(&file, 0, len).ok()?)),
            false => None,
        }
    }

    fn mac(&self, pieces: &[[u8; 32]]) -> [u8; MAC] {
        *blake3::keyed_hash(&self.mac_key, pieces.as_flattened()).as_bytes()
    }

    /// Hashes the first `len` bytes of a file, piece by piece, on a few cores.
    fn hash_pieces(&self, file: &File, len: usize) -> Option<Vec<[u8; 32]>> {
        let mut pieces = vec![[0; 32]; len.div_ceil(PIECE)];
        let hash_some = |first: usize, pieces: &mut [[u8; 32]]| -> io::Result<()> {
            for (number, piece) in (first..).zip(pieces) {
                let start = number * PIECE;
                let bytes = map(file, start, PIECE.min(len - start))?;
                *piece = *blake3::keyed_hash(&self.mac_key, &bytes).as_bytes();
            }
            Ok(())
        };
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        let share = pieces.len().div_ceil(threads).max(1);
        let all_hashed = thread::scope(|scope| {
            let shares = pieces.chunks_mut(share).enumerate();
            let threads: Vec<_> = shares.map(|(number, pieces)| scope.spawn(move || hash_some(number * share, pieces))).collect();
            threads.into_iter().all(|thread| matches!(thread.join(), Ok(Ok(()))))
        });
        all_hashed.then_some(pieces)
    }

    /// Keeps the table that `write` writes, and maps it. Older ones go.
    pub(crate) fn keep(&self, key: &[u8; 32], write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<Index> {
        let target = self.path(key);
        let partial = self.folder.join(format!(".partial-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&partial)?;
        let hasher = blake3::Hasher::new_keyed(&self.mac_key);
        let mut out = BufWriter::with_capacity(BUFFER, Hashing { file, hasher, len: 0, pieces: Vec::new() });
        write(&mut out)?;
        let mut out = out.into_inner()?;
        if out.len % PIECE > 0 {
            out.end_piece();
        }
        out.file.write_all(&self.mac(&out.pieces))?;
        fs::rename(&partial, &target)?;
        for old in fs::read_dir(&self.folder)?.flatten() {
            if old.path() != target && !old.file_type()?.is_dir() {
                fs::remove_file(old.path())?;
            }
        }
        Index::of(Bytes::Mapped(map(&out.file, 0, out.len)?)).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// A file that is hashed piece by piece while it is written.
struct Hashing {
    file: File,
    hasher: blake3::Hasher,
    len: usize,
    pieces: Vec<[u8; 32]>,
}

impl Hashing {
    fn end_piece(&mut self) {
        self.pieces.push(*self.hasher.finalize().as_bytes());
        self.hasher.reset();
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE - self.len % PIECE;
        let written = self.file.write(&bytes[..bytes.len().min(room)])?;
        self.hasher.update(&bytes[..written]);
        self.len += written;
        if written == room {
            self.end_piece();
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Maps a part of a local cache file. An error of the disk under a map kills the process, so nothing but this cache is ever mapped.
#[allow(unsafe_code)]
fn map(file: &File, start: usize, len: usize) -> io::Result<Mmap> {
    // SAFETY: the file is private to russet, is replaced by rename and never changed in place, so no one truncates it under the map.
    unsafe { MmapOptions::new().offset(start as u64).len(len).map(file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_gives_back_what_was_written_and_nothing_once_it_is_spoilt() {
        let folder = tempfile::tempdir().unwrap();
        let cache = IndexCache { folder: folder.path().join("deep"), mac_key: [2; 32] };
        assert!(cache.load_last().is_none());
        cache.folder().unwrap();
        let table = Index::build(std::iter::empty(), &Default::default());
        // Longer than a piece, and nothing of it is looked at but its foot.
        for len in [0, PIECE - table.bytes().len(), 2 * PIECE + 5] {
            let bytes = [&vec![7; len], table.bytes()].concat();
            let written = cache.keep(&[1; 32], |out| out.write_all(&bytes));
            assert_eq!(written.is_ok(), len == 0);
            let path = cache.path(&[1; 32]);
            let file = File::open(&path).unwrap();
            let stored = fs::read(&path).unwrap();
            assert_eq!(stored[..bytes.len()], bytes);
            assert_eq!(stored[bytes.len()..], cache.mac(&cache.hash_pieces(&file, bytes.len()).unwrap()));
        }
        cache.keep(&[1; 32], |out| out.write_all(table.bytes())).unwrap();
        assert_eq!(cache.load(&[1; 32]).unwrap().bytes(), table.bytes());
        assert_eq!(cache.load_last().unwrap().bytes(), table.bytes());
        assert!(cache.load(&[3; 32]).is_none());
        assert!(IndexCache { mac_key: [3; 32], ..cache.clone() }.load_last().is_none());
        let mut bytes = fs::read(cache.path(&[1; 32])).unwrap();
        bytes[5] ^= 1;
        fs::write(cache.path(&[1; 32]), bytes).unwrap();
        assert!(cache.load(&[1; 32]).is_none() && cache.load_last().is_none());
    }
}
