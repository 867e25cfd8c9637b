//! The index in memory: which chunk lies in which pack, and where.
//!
//! It is one flat table, 44 bytes a chunk, sorted by id and searched where it lies. It is built from the index files and kept in a
//! local cache file, which is mapped, so that its size is the system's page cache and not ours. The cache is sealed with a keyed hash
//! and may be deleted at any time.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use russet_format::id::{ChunkId, FileName};
use russet_format::index::IndexedPack;
use russet_format::key::Keys;
use russet_format::pack::{ChunkKind, Codec};

const HEAD: usize = 8 + 8 + 4 * 4;
const PACK: usize = 32 + 4 + 4 + 4;
const SEGMENT: usize = 4 * 5;
const ENTRY: usize = 32 + 4 * 3;
const MAC: usize = 32;
const MAGIC: &[u8; 8] = b"rusindx\x01";

/// A pack as the index knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackInfo {
    /// Its name.
    pub name: FileName,
    /// Number of frames.
    pub frames: u32,
    /// Bytes before the first frame.
    pub header_len: u32,
    /// Kind of its chunks.
    pub kind: ChunkKind,
    /// On its way out, or lost: perhaps readable, but not to be counted on.
    pub condemned: bool,
}

/// A segment and the pack that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SegmentInfo {
    /// Number of the pack in the index.
    pub pack: u32,
    /// Where in the pack's stream it begins.
    pub offset: u32,
    /// Its length there.
    pub stored_len: u32,
    /// Its length unpacked.
    pub raw_len: u32,
    /// Whether it is zstd.
    pub zstd: bool,
}

impl SegmentInfo {
    pub(crate) fn codec(&self) -> Codec {
        if self.zstd { Codec::Zstd } else { Codec::Stored }
    }
}

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// Number of the segment in the index.
    pub segment: u32,
    /// Where in the unpacked segment it begins.
    pub offset: u32,
    /// Its length.
    pub len: u32,
}

enum Bytes {
    Owned(Vec<u8>),
    Mapped(Mmap),
}

/// Which chunk lies where.
pub struct Index {
    bytes: Bytes,
    packs: usize,
    segments: usize,
    entries: usize,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Index({} chunks in {} packs)", self.entries, self.packs)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

impl Index {
    /// Builds the table out of what index files say of packs.
    pub(crate) fn build<'a>(packs: impl Iterator<Item = &'a IndexedPack>, condemned: &HashSet<FileName>) -> Index {
        let mut packs: Vec<&IndexedPack> = packs.collect();
        packs.sort_by_key(|p| p.name);
        packs.dedup_by_key(|p| p.name);

        let mut body = Vec::new();
        let mut segments = Vec::new();
        let mut entries: Vec<([u8; 32], u32, u32, u32)> = Vec::new();
        for (number, pack) in packs.iter().enumerate() {
            body.extend_from_slice(&pack.name.0);
            let doomed = condemned.contains(&pack.name);
            let flags = u32::from(pack.directory.kind == ChunkKind::Tree) | u32::from(doomed) << 1;
            for value in [pack.frames, pack.header_len, flags] {
                body.extend_from_slice(&value.to_le_bytes());
            }
            let mut offset = 0;
            for segment in &pack.directory.segments {
                let segment_number = (segments.len() / SEGMENT) as u32;
                let zstd = u32::from(segment.codec == Codec::Zstd);
                for value in [number as u32, offset, segment.stored_len, segment.raw_len, zstd] {
                    segments.extend_from_slice(&value.to_le_bytes());
                }
                offset += segment.stored_len;
                let mut inside = 0;
                for (id, len) in &segment.chunks {
                    entries.push((id.0, segment_number, inside, *len));
                    inside += len;
                }
            }
        }
        // Of two copies of a chunk the one in a pack that stays comes first, and lookups take the first.
        let stays = |segment: u32| {
            let pack = u32_at(&segments, segment as usize * SEGMENT) as usize;
            u32_at(&body, pack * PACK + 40) & 2
        };
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| stays(a.1).cmp(&stays(b.1))).then(a.1.cmp(&b.1)));
        entries.dedup_by_key(|e| e.0);

        let mut bytes = Vec::with_capacity(HEAD + body.len() + segments.len() + entries.len() * ENTRY + MAC);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[0; 8]);
        for count in [packs.len(), segments.len() / SEGMENT, entries.len(), 0] {
            bytes.extend_from_slice(&(count as u32).to_le_bytes());
        }
        let (pack_count, segment_count, entry_count) = (packs.len(), segments.len() / SEGMENT, entries.len());
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&segments);
        for (id, segment, offset, len) in entries {
            bytes.extend_from_slice(&id);
            for value in [segment, offset, len] {
                bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
        Index { bytes: Bytes::Owned(bytes), packs: pack_count, segments: segment_count, entries: entry_count }
    }

    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Owned(bytes) => bytes,
            Bytes::Mapped(map) => map,
        }
    }

    /// Number of chunks.
    pub fn chunks(&self) -> usize {
        self.entries
    }

    /// Number of packs.
    pub fn packs(&self) -> usize {
        self.packs
    }

    /// Number of segments.
    pub(crate) fn segments(&self) -> u32 {
        self.segments as u32
    }

    /// Bytes of memory or page cache that the table takes.
    pub fn memory(&self) -> usize {
        self.bytes().len()
    }

    /// The pack of this number.
    pub fn pack(&self, number: usize) -> PackInfo {
        let at = &self.bytes()[HEAD + number * PACK..][..PACK];
        let flags = u32_at(at, 40);
        PackInfo {
            name: FileName(at[..32].try_into().expect("32 bytes")),
            frames: u32_at(at, 32),
            header_len: u32_at(at, 36),
            kind: if flags & 1 == 1 { ChunkKind::Tree } else { ChunkKind::Data },
            condemned: flags & 2 == 2,
        }
    }

    /// The segment of this number.
    pub fn segment(&self, number: u32) -> SegmentInfo {
        let at = &self.bytes()[HEAD + self.packs * PACK + number as usize * SEGMENT..][..SEGMENT];
        SegmentInfo {
            pack: u32_at(at, 0),
            offset: u32_at(at, 4),
            stored_len: u32_at(at, 8),
            raw_len: u32_at(at, 12),
            zstd: u32_at(at, 16) == 1,
        }
    }

    fn entry(&self, number: usize) -> &[u8] {
        &self.bytes()[HEAD + self.packs * PACK + self.segments * SEGMENT + number * ENTRY..][..ENTRY]
    }

    /// Finds the number of a chunk.
    pub(crate) fn position(&self, id: &ChunkId) -> Option<usize> {
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(middle)[..32].cmp(&id.0) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(middle),
            }
        }
        None
    }

    /// The id of the chunk of this number.
    pub(crate) fn id(&self, number: usize) -> ChunkId {
        ChunkId(self.entry(number)[..32].try_into().expect("32 bytes"))
    }

    /// Where the chunk of this number lies.
    pub(crate) fn location(&self, number: usize) -> Location {
        let entry = self.entry(number);
        Location { segment: u32_at(entry, 32), offset: u32_at(entry, 36), len: u32_at(entry, 40) }
    }

    /// The pack in which the chunk of this number lies.
    pub(crate) fn pack_of(&self, number: usize) -> PackInfo {
        self.pack(self.segment(self.location(number).segment).pack as usize)
    }

    /// Finds a chunk.
    pub fn find(&self, id: &ChunkId) -> Option<Location> {
        self.position(id).map(|number| self.location(number))
    }

    /// Whether a writer may count on this chunk.
    pub fn knows(&self, id: &ChunkId) -> bool {
        self.position(id).is_some_and(|number| !self.pack_of(number).condemned)
    }

    /// All chunks, with the number of their pack.
    pub fn entries(&self) -> impl Iterator<Item = (ChunkId, u32)> + '_ {
        (0..self.entries).map(|n| (self.id(n), self.segment(self.location(n).segment).pack))
    }

    /// Number of each pack, by name.
    pub fn pack_numbers(&self) -> HashMap<FileName, usize> {
        (0..self.packs).map(|n| (self.pack(n).name, n)).collect()
    }
}

/// Where the table of one repository is cached: one file, named by what it was built from.
#[derive(Debug, Clone)]
pub(crate) struct IndexCache {
    folder: PathBuf,
}

impl IndexCache {
    pub(crate) fn new(folder: &Path, keys: &Keys) -> IndexCache {
        IndexCache { folder: folder.join(keys.repository.to_string()) }
    }

    fn path(&self, key: &[u8; 32]) -> PathBuf {
        self.folder.join(format!("index-{}", &FileName(*key).hex()[..32]))
    }

    /// Maps the table that was built from the files that `key` names, if it is there and unspoilt.
    pub(crate) fn load(&self, key: &[u8; 32], mac_key: &[u8; 32]) -> Option<Index> {
        let map = map(&self.path(key))?;
        let (body, mac) = map.split_last_chunk::<MAC>()?;
        if body.len() < HEAD || &body[..8] != MAGIC || blake3::keyed_hash(mac_key, body) != *mac {
            return None;
        }
        let [packs, segments, entries] = [16, 20, 24].map(|at| u32_at(body, at) as usize);
        let whole = body.len() == HEAD + packs * PACK + segments * SEGMENT + entries * ENTRY;
        whole.then(|| Index { bytes: Bytes::Mapped(map), packs, segments, entries })
    }

    /// Keeps the table; older ones go. A cache that cannot be written costs time later and nothing else, so errors end here.
    pub(crate) fn save(&self, key: &[u8; 32], mac_key: &[u8; 32], index: &Index) {
        let Bytes::Owned(bytes) = &index.bytes else { return };
        let attempt = || -> std::io::Result<()> {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(&self.folder)?;
            let target = self.path(key);
            let partial = self.folder.join(format!(".partial-{}", std::process::id()));
            let mut file = fs::File::create(&partial)?;
            file.write_all(bytes)?;
            file.write_all(blake3::keyed_hash(mac_key, bytes).as_bytes())?;
            fs::rename(&partial, &target)?;
            for old in fs::read_dir(&self.folder)?.flatten() {
                if old.path() != target {
                    fs::remove_file(old.path())?;
                }
            }
            Ok(())
        };
        attempt().unwrap_or_default();
    }
}

/// Maps a local cache file. An error of the disk under a map kills the process, so nothing but this cache is ever mapped.
#[allow(unsafe_code)]
fn map(path: &Path) -> Option<Mmap> {
    let file = fs::File::open(path).ok()?;
    // SAFETY: the file is private to russet, is replaced by rename and never changed in place, so no one truncates it under the map.
    unsafe { Mmap::map(&file) }.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use russet_format::index::IndexFile;
    use russet_format::pack::{Directory, Segment};

    fn file(name: u8, ids: &[u8]) -> IndexFile {
        let chunks: Vec<_> = ids.iter().map(|&id| (ChunkId([id; 32]), 10)).collect();
        let raw_len = 10 * ids.len() as u32;
        let segment = Segment { stored_len: 7, raw_len, codec: Codec::Zstd, chunks };
        let directory = Directory { kind: ChunkKind::Data, segments: vec![segment] };
        IndexFile {
            packs: vec![IndexedPack { name: FileName([name; 32]), frames: 1, header_len: 112, directory }],
            supersedes: vec![],
        }
    }

    #[test]
    fn a_chunk_of_a_condemned_pack_is_readable_but_not_counted_on() {
        let doomed = HashSet::from([FileName([1; 32])]);
        let files = [file(1, &[3, 4]), file(2, &[4, 5])];
        let index = Index::build(files.iter().flat_map(|file| &file.packs), &doomed);
        assert!(index.find(&ChunkId([3; 32])).is_some() && !index.knows(&ChunkId([3; 32])));
        assert!(index.knows(&ChunkId([4; 32])), "the copy in the pack that stays is taken");
        assert!(index.find(&ChunkId([9; 32])).is_none());
    }

    #[test]
    fn the_cache_gives_back_the_same_table_and_nothing_once_it_is_spoilt() {
        let folder = tempfile::tempdir().unwrap();
        let cache = IndexCache { folder: folder.path().join("deep") };
        let index = Index::build(file(1, &[3, 4]).packs.iter(), &HashSet::new());
        cache.save(&[1; 32], &[2; 32], &index);
        let mapped = cache.load(&[1; 32], &[2; 32]).unwrap();
        assert_eq!(mapped.find(&ChunkId([4; 32])), index.find(&ChunkId([4; 32])));
        assert!(cache.load(&[1; 32], &[3; 32]).is_none());
        let path = cache.path(&[1; 32]);
        let mut bytes = fs::read(&path).unwrap();
        bytes[70] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(cache.load(&[1; 32], &[2; 32]).is_none());
    }
}
