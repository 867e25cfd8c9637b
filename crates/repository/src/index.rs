//! The index in memory: which chunk lies in which pack, and where.
//!
//! It is one flat table, 44 bytes a chunk, sorted by id and searched where it lies. [`build`] makes it, out of index files or out of an older
//! table and what came since, and [`cache`] keeps it in a local file, which is mapped, so that its size is the system's page cache and not ours.
//!
//! ```text
//! packs     in the order of their names: [32] name, u32 frames, u32 header length, u32 flags, u64 length of its file, all ones if it is not there
//! segments  in the order of their packs: u32 pack, u32 where in its stream, u32 stored length, u32 raw length; the top bit says zstd
//! chunks    in the order of their ids: [32] id, u32 segment, u32 where in it, u32 length; the top bit says that it is not to be counted on
//! sources   [32] each: index files, condemned lists, index files that others supersede
//! foot      u32 ×6 how many of each, "rusindx" 2
//! ```

use std::collections::{HashMap, HashSet};

use memmap2::Mmap;
use russet_format::id::{ChunkId, FileName};
use russet_format::index::IndexedPack;
use russet_format::pack::{ChunkKind, Codec};

mod build;
mod cache;

pub(crate) use build::Builder;
pub(crate) use cache::IndexCache;

const PACK: usize = 32 + 4 * 3 + 8;
const SEGMENT: usize = 4 * 4;
const ENTRY: usize = 32 + 4 * 3;
const NAME: usize = 32;
const FOOT: usize = 4 * 6 + MAGIC.len();
const MAGIC: &[u8; 8] = b"rusindx\x02";

/// Flags of a pack.
const IS_TREE: u32 = 1;
const IS_CONDEMNED: u32 = 2;
const IS_UNNAMED: u32 = 4;
/// So often a lookup guesses: three or four times do it among millions of random ids.
const MOST_GUESSES: u32 = 12;
/// The top bit of lengths, which never come near it.
const TOP_BIT: u32 = 1 << 31;

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

/// What a table was built from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    /// All index files, ascending.
    pub(crate) files: Vec<FileName>,
    /// All condemned lists, ascending.
    pub(crate) lists: Vec<FileName>,
    /// Index files that do not count, be they there or not.
    pub(crate) superseded: Vec<FileName>,
}

enum Bytes {
    Owned(Vec<u8>),
    Mapped(Mmap),
}

/// How many there are of each part of a table, in the order of the parts.
type Counts = [usize; 6];

/// Which chunk lies where.
pub struct Index {
    bytes: Bytes,
    counts: Counts,
    /// Where each part begins, and the foot.
    starts: [usize; 7],
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Index({} chunks in {} packs)", self.chunks(), self.packs())
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The first bytes of an id, as the number that they sort by.
fn lead(entry: &[u8]) -> u64 {
    u64::from_be_bytes(entry[..8].try_into().expect("eight bytes"))
}

impl Index {
    /// Builds the table out of what index files say of packs, in memory. Of two words for a pack the first counts.
    pub(crate) fn build<'a>(packs: impl Iterator<Item = &'a IndexedPack>, condemned: &HashSet<FileName>) -> Index {
        let mut builder = Builder::new(None, None);
        for pack in packs {
            builder.add(pack).condemned = condemned.contains(&pack.name);
        }
        builder.finish_in_memory(&Sources::default()).expect("no file is involved")
    }

    /// The table in these bytes; nothing if they are none.
    fn of(bytes: Bytes) -> Option<Index> {
        const WIDTHS: Counts = [PACK, SEGMENT, ENTRY, NAME, NAME, NAME];
        let mut index = Index { bytes, counts: Counts::default(), starts: Default::default() };
        let (foot, magic) = index.bytes().last_chunk::<FOOT>()?.split_at(FOOT - MAGIC.len());
        if magic != MAGIC {
            return None;
        }
        index.counts = std::array::from_fn(|part| u32_at(foot, 4 * part) as usize);
        for (part, width) in WIDTHS.into_iter().enumerate() {
            index.starts[part + 1] = index.starts[part] + index.counts[part] * width;
        }
        (index.starts[WIDTHS.len()] + FOOT == index.bytes().len()).then_some(index)
    }

    /// The table itself.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Owned(bytes) => bytes,
            Bytes::Mapped(map) => map,
        }
    }

    /// Number of chunks.
    pub fn chunks(&self) -> usize {
        self.counts[2]
    }

    /// Number of packs.
    pub fn packs(&self) -> usize {
        self.counts[0]
    }

    /// Number of segments.
    pub(crate) fn segments(&self) -> u32 {
        self.counts[1] as u32
    }

    /// Bytes of memory or page cache that the table takes.
    pub fn memory(&self) -> usize {
        self.bytes().len()
    }

    fn pack_bytes(&self, number: usize) -> &[u8] {
        &self.bytes()[number * PACK..][..PACK]
    }

    /// The pack of this number.
    pub fn pack(&self, number: usize) -> PackInfo {
        let at = self.pack_bytes(number);
        let flags = u32_at(at, 40);
        PackInfo {
            name: FileName(at[..32].try_into().expect("32 bytes")),
            frames: u32_at(at, 32),
            header_len: u32_at(at, 36),
            kind: if flags & IS_TREE != 0 { ChunkKind::Tree } else { ChunkKind::Data },
            condemned: flags & IS_CONDEMNED != 0,
        }
    }

    /// Whether a pack was named by no index file when the table was built, but by itself.
    pub(crate) fn is_unnamed(&self, number: usize) -> bool {
        u32_at(self.pack_bytes(number), 40) & IS_UNNAMED != 0
    }

    /// How long the file of a pack was when the table was built; nothing if it was not there.
    pub(crate) fn listed_len(&self, number: usize) -> Option<u64> {
        let len = self.pack_bytes(number)[44..].try_into().map(u64::from_le_bytes).expect("eight bytes");
        (len != u64::MAX).then_some(len)
    }

    /// What the table was built from.
    pub(crate) fn sources(&self) -> Sources {
        let names = |part| {
            let bytes = &self.bytes()[self.starts[part]..][..self.counts[part] * NAME];
            bytes.as_chunks().0.iter().map(|name| FileName(*name)).collect()
        };
        Sources { files: names(3), lists: names(4), superseded: names(5) }
    }

    /// The segment of this number.
    pub fn segment(&self, number: u32) -> SegmentInfo {
        let at = &self.bytes()[self.starts[1] + number as usize * SEGMENT..][..SEGMENT];
        let raw_len = u32_at(at, 12);
        SegmentInfo {
            pack: u32_at(at, 0),
            offset: u32_at(at, 4),
            stored_len: u32_at(at, 8),
            raw_len: raw_len & !TOP_BIT,
            zstd: raw_len & TOP_BIT != 0,
        }
    }

    fn entry(&self, number: usize) -> &[u8] {
        &self.bytes()[self.starts[2] + number * ENTRY..][..ENTRY]
    }

    /// Finds the number of a chunk.
    ///
    /// Ids are as good as random, so where one lies can be told from its first bytes, ever better the smaller the range. Somebody may have
    /// filled the index with others, so after a few such guesses the range is halved.
    pub(crate) fn position(&self, id: &ChunkId) -> Option<usize> {
        let wanted = lead(&id.0);
        let (mut low, mut high) = (0, self.chunks());
        let (mut least, mut most) = (0, u64::MAX);
        for guesses in 0.. {
            if low >= high {
                break;
            }
            let middle = match guesses < MOST_GUESSES {
                true => {
                    let share = u128::from(wanted.clamp(least, most) - least) * (high - low) as u128;
                    low + ((share / (u128::from(most - least) + 1)) as usize).min(high - low - 1)
                }
                false => low + (high - low) / 2,
            };
            let entry = self.entry(middle);
            match entry[..32].cmp(&id.0) {
                std::cmp::Ordering::Less => (low, least) = (middle + 1, lead(entry)),
                std::cmp::Ordering::Greater => (high, most) = (middle, lead(entry)),
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
        Location { segment: u32_at(entry, 32), offset: u32_at(entry, 36), len: u32_at(entry, 40) & !TOP_BIT }
    }

    /// Whether the pack of this chunk is on its way out, or lost. It is told by the chunk's own bytes: a backup asks for each of its chunks.
    pub(crate) fn is_condemned(&self, number: usize) -> bool {
        u32_at(self.entry(number), 40) & TOP_BIT != 0
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
        self.position(id).is_some_and(|number| !self.is_condemned(number))
    }

    /// All chunks, with the number of their pack.
    pub fn entries(&self) -> impl Iterator<Item = (ChunkId, u32)> + '_ {
        (0..self.chunks()).map(|n| (self.id(n), self.segment(self.location(n).segment).pack))
    }

    /// Number of each pack, by name.
    pub fn pack_numbers(&self) -> HashMap<FileName, usize> {
        (0..self.packs()).map(|n| (self.pack(n).name, n)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use russet_format::pack::{Directory, Segment};

    fn pack(name: u8, chunks: Vec<(ChunkId, u32)>) -> IndexedPack {
        let raw_len = chunks.iter().map(|(_, len)| len).sum();
        let segment = Segment { stored_len: 7, raw_len, codec: Codec::Zstd, chunks };
        let directory = Directory { kind: ChunkKind::Data, segments: vec![segment] };
        IndexedPack { name: FileName([name; 32]), frames: 1, header_len: 112, directory }
    }

    #[test]
    fn a_chunk_of_a_condemned_pack_is_readable_but_not_counted_on() {
        let doomed = HashSet::from([FileName([1; 32])]);
        let chunks = |ids: [u8; 2]| ids.map(|id| (ChunkId([id; 32]), 10)).to_vec();
        let packs = [pack(1, chunks([3, 4])), pack(2, chunks([4, 5]))];
        let index = Index::build(packs.iter(), &doomed);
        assert!(index.find(&ChunkId([3; 32])).is_some() && !index.knows(&ChunkId([3; 32])));
        assert!(index.knows(&ChunkId([4; 32])), "the copy in the pack that stays is taken");
        assert!(index.find(&ChunkId([9; 32])).is_none());
    }

    #[test]
    fn every_chunk_is_found_and_nothing_else_even_where_ids_are_not_random() {
        let spread = |n: u32| ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes());
        // Ids that somebody chose: many begin alike, or with nothing but ones.
        let chosen =
            |n: u32| ChunkId(std::array::from_fn(|i| if i < 24 { [0xff, 7][n as usize % 2] } else { (n >> (i % 4 * 8)) as u8 }));
        for ids in [Vec::from_iter((0..2_000).map(spread)), Vec::from_iter((0..2_000).map(chosen)), vec![], vec![spread(1)]] {
            let (known, unknown): (Vec<_>, Vec<_>) = ids.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
            let chunks = known.iter().map(|(_, id)| (*id, 1)).collect();
            let index = Index::build([pack(1, chunks)].iter(), &HashSet::new());
            assert!((1..index.chunks()).all(|n| index.id(n - 1).0 < index.id(n).0));
            assert!(known.iter().all(|(_, id)| index.position(id).is_some_and(|at| index.id(at) == *id)));
            assert!(unknown.iter().all(|(_, id)| index.position(id).is_none()));
        }
    }
}
