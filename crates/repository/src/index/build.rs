//! How the table is built: out of packs in any order, and out of an older table if there is one.
//!
//! Chunks are sorted some megabytes at a time and put aside, in a file if there is a place for one. At the end they are merged, and the
//! table is written from front to back. So building takes much the same memory however many chunks there are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use russet_format::id::FileName;
use russet_format::index::IndexedPack;
use russet_format::pack::{ChunkKind, Codec};

use super::{Bytes, ENTRY, IS_CONDEMNED, IS_TREE, IS_UNNAMED, Index, MAGIC, Sources, TOP_BIT, u32_at};

/// So many chunks are sorted together: 23 MB.
const MOST_TOGETHER: usize = 1 << 19;
/// A segment of a pack that is not in the table.
const GONE: u32 = u32::MAX;

/// A pack that the table is to have.
pub(crate) struct Pack {
    pub(crate) name: FileName,
    pub(crate) frames: u32,
    pub(crate) header_len: u32,
    kind: ChunkKind,
    /// On its way out, or lost: perhaps readable, but not to be counted on.
    pub(crate) condemned: bool,
    /// No index file names it.
    pub(crate) unnamed: bool,
    /// How long its file is; nothing if it is not there.
    pub(crate) listed_len: Option<u64>,
    /// It is not to be in the table after all.
    pub(crate) dropped: bool,
    /// Number of its segments.
    segments: u32,
}

/// A chunk. Until the end its segment is counted in the order in which packs were added. Of two copies the lesser counts: the top bit of
/// `segment` is that of a pack not to be counted on, and packs are in the order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Chunk {
    id: [u8; 32],
    segment: u32,
    offset: u32,
    len: u32,
}

type Chunks<'a> = Box<dyn Iterator<Item = io::Result<Chunk>> + 'a>;

/// Sorted chunks that were put aside.
enum Run {
    Memory(Vec<Chunk>),
    File(File),
}

/// A table being built.
pub(crate) struct Builder<'a> {
    base: Option<&'a Index>,
    scratch: Option<PathBuf>,
    packs: Vec<Pack>,
    /// Stored and raw length of each segment; the top bit of the second says zstd.
    segments: Vec<(u32, u32)>,
    chunks: Vec<Chunk>,
    most_together: usize,
    runs: Vec<Run>,
}

impl<'a> Builder<'a> {
    /// Begins with all that a table has. What it cannot hold it puts into a folder.
    pub(crate) fn new(base: Option<&'a Index>, scratch: Option<&Path>) -> Builder<'a> {
        let mut builder = Builder {
            base,
            scratch: scratch.map(Path::to_owned),
            packs: Vec::new(),
            segments: Vec::new(),
            chunks: Vec::new(),
            most_together: MOST_TOGETHER,
            runs: Vec::new(),
        };
        let Some(base) = base else { return builder };
        builder.packs.extend((0..base.packs()).map(|number| {
            let pack = base.pack(number);
            Pack {
                name: pack.name,
                frames: pack.frames,
                header_len: pack.header_len,
                kind: pack.kind,
                condemned: pack.condemned,
                unnamed: base.is_unnamed(number),
                listed_len: base.listed_len(number),
                dropped: false,
                segments: 0,
            }
        }));
        for segment in (0..base.segments()).map(|number| base.segment(number)) {
            builder.segments.push((segment.stored_len, segment.raw_len | top_bit(segment.zstd)));
            builder.packs[segment.pack as usize].segments += 1;
        }
        builder
    }

    /// The packs in the order in which they were added, those of the base first.
    pub(crate) fn packs(&mut self) -> &mut [Pack] {
        &mut self.packs
    }

    /// Adds a pack. Of several of one name the first counts that is not dropped.
    pub(crate) fn add(&mut self, pack: &IndexedPack) -> &mut Pack {
        for segment in &pack.directory.segments {
            let number = self.segments.len() as u32;
            self.segments.push((segment.stored_len, segment.raw_len | top_bit(segment.codec == Codec::Zstd)));
            let mut offset = 0;
            for &(id, len) in &segment.chunks {
                if self.chunks.len() >= self.most_together {
                    self.put_aside();
                }
                self.chunks.push(Chunk { id: id.0, segment: number, offset, len });
                offset += len;
            }
        }
        self.packs.push(Pack {
            name: pack.name,
            frames: pack.frames,
            header_len: pack.header_len,
            kind: pack.directory.kind,
            condemned: false,
            unnamed: false,
            listed_len: None,
            dropped: false,
            segments: pack.directory.segments.len() as u32,
        });
        self.packs.last_mut().expect("one was pushed just now")
    }

    /// Sorts what has gathered and puts it aside, in memory if there is no better place.
    fn put_aside(&mut self) {
        self.chunks.sort_unstable();
        let in_file = self.scratch.as_ref().and_then(|folder| write_run(folder, &self.chunks).ok());
        match in_file {
            Some(file) => {
                self.runs.push(Run::File(file));
                self.chunks.clear();
            }
            None => self.runs.push(Run::Memory(std::mem::take(&mut self.chunks))),
        }
    }

    /// The table in memory.
    pub(crate) fn finish_in_memory(self, sources: &Sources) -> io::Result<Index> {
        let mut bytes = Vec::new();
        self.finish(sources, &mut bytes)?;
        Index::of(Bytes::Owned(bytes)).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Writes the table. Only local files can fail.
    pub(crate) fn finish(mut self, sources: &Sources, out: &mut dyn Write) -> io::Result<()> {
        let order = self.order();
        for &number in &order {
            self.packs[number].write(out)?;
        }
        let (places, segments) = self.write_segments(&order, out)?;
        let place = |chunk: io::Result<Chunk>| match chunk {
            Ok(chunk) if places[chunk.segment as usize] == GONE => None,
            Ok(chunk) => Some(Ok(Chunk { segment: places[chunk.segment as usize], ..chunk })),
            Err(error) => Some(Err(error)),
        };

        self.chunks.sort_unstable();
        let base =
            self.base.into_iter().flat_map(|base| (0..base.chunks()).map(move |number| Ok(Chunk::read(base.entry(number)))));
        let mut sorted: Vec<Chunks<'_>> = vec![Box::new(base), Box::new(std::mem::take(&mut self.chunks).into_iter().map(Ok))];
        for run in std::mem::take(&mut self.runs) {
            sorted.push(match run {
                Run::Memory(chunks) => Box::new(chunks.into_iter().map(Ok)),
                Run::File(file) => Box::new(read_run(file)?),
            });
        }
        let mut merge = Merge::of(sorted.into_iter().map(|chunks| -> Chunks<'_> { Box::new(chunks.filter_map(place)) }))?;
        let mut count = 0u32;
        while let Some(chunk) = merge.next()? {
            let (segment, len) = (chunk.segment & !TOP_BIT, chunk.len | chunk.segment & TOP_BIT);
            out.write_all(&Chunk { segment, len, ..chunk }.bytes())?;
            count += 1;
        }

        let names = [&sources.files, &sources.lists, &sources.superseded];
        for name in names.into_iter().flatten() {
            out.write_all(&name.0)?;
        }
        let [files, lists, superseded] = names.map(|names| names.len() as u32);
        write_words(out, [order.len() as u32, segments, count, files, lists, superseded])?;
        out.write_all(MAGIC)
    }

    /// The packs that the table will have, in the order of their names.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.packs.len()).filter(|&number| !self.packs[number].dropped).collect();
        order.sort_by_key(|&number| self.packs[number].name);
        order.dedup_by_key(|number| self.packs[*number].name);
        order
    }

    /// Writes the segments of these packs. Gives where each went, with the top bit if it is not to be counted on, and how many there are.
    fn write_segments(&self, order: &[usize], out: &mut dyn Write) -> io::Result<(Vec<u32>, u32)> {
        let mut firsts = Vec::with_capacity(self.packs.len());
        let mut before = 0;
        for pack in &self.packs {
            firsts.push(before);
            before += pack.segments as usize;
        }
        let mut places = vec![GONE; self.segments.len()];
        let mut count = 0;
        for (number, &pack) in (0..).zip(order) {
            let range = firsts[pack]..firsts[pack] + self.packs[pack].segments as usize;
            let mut offset = 0;
            for (&(stored_len, raw_len), place) in self.segments[range.clone()].iter().zip(&mut places[range]) {
                write_words(out, [number, offset, stored_len, raw_len])?;
                *place = count | top_bit(self.packs[pack].condemned);
                offset += stored_len;
                count += 1;
            }
        }
        Ok((places, count))
    }
}

fn top_bit(set: bool) -> u32 {
    if set { TOP_BIT } else { 0 }
}

fn write_words<const N: usize>(out: &mut dyn Write, words: [u32; N]) -> io::Result<()> {
    words.iter().try_for_each(|word| out.write_all(&word.to_le_bytes()))
}

impl Pack {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let flag = |set, flag| if set { flag } else { 0 };
        let flags =
            flag(self.kind == ChunkKind::Tree, IS_TREE) | flag(self.condemned, IS_CONDEMNED) | flag(self.unnamed, IS_UNNAMED);
        out.write_all(&self.name.0)?;
        write_words(out, [self.frames, self.header_len, flags])?;
        out.write_all(&self.listed_len.unwrap_or(u64::MAX).to_le_bytes())
    }
}

impl Chunk {
    fn read(entry: &[u8]) -> Chunk {
        let id = entry[..32].try_into().expect("32 bytes");
        Chunk { id, segment: u32_at(entry, 32), offset: u32_at(entry, 36), len: u32_at(entry, 40) & !TOP_BIT }
    }

    fn bytes(&self) -> [u8; ENTRY] {
        let mut entry = [0; ENTRY];
        entry[..32].copy_from_slice(&self.id);
        for (field, word) in entry[32..].as_chunks_mut().0.iter_mut().zip([self.segment, self.offset, self.len]) {
            *field = word.to_le_bytes();
        }
        entry
    }
}

/// Puts sorted chunks into a file that nobody else sees and that goes when it is closed.
fn write_run(folder: &Path, chunks: &[Chunk]) -> io::Result<File> {
    let mut out = BufWriter::new(tempfile::tempfile_in(folder)?);
    chunks.iter().try_for_each(|chunk| out.write_all(&chunk.bytes()))?;
    let mut file = out.into_inner()?;
    file.rewind()?;
    Ok(file)
}

fn read_run(file: File) -> io::Result<impl Iterator<Item = io::Result<Chunk>>> {
    let count = file.metadata()?.len() / ENTRY as u64;
    let mut file = BufReader::with_capacity(64 << 10, file);
    Ok((0..count).map(move |_| {
        let mut entry = [0; ENTRY];
        file.read_exact(&mut entry).map(|()| Chunk::read(&entry))
    }))
}

/// Several sorted runs as one, each id once.
struct Merge<'a> {
    runs: Vec<Chunks<'a>>,
    /// The next of each run.
    heads: BinaryHeap<Reverse<(Chunk, usize)>>,
}

impl<'a> Merge<'a> {
    fn of(runs: impl Iterator<Item = Chunks<'a>>) -> io::Result<Merge<'a>> {
        let mut merge = Merge { runs: runs.collect(), heads: BinaryHeap::new() };
        for (number, run) in merge.runs.iter_mut().enumerate() {
            if let Some(head) = run.next() {
                merge.heads.push(Reverse((head?, number)));
            }
        }
        Ok(merge)
    }

    /// Takes the least head, if it is a copy of this chunk or any will do.
    fn pop(&mut self, copy_of: Option<&Chunk>) -> io::Result<Option<Chunk>> {
        let Some(mut head) = self.heads.peek_mut() else { return Ok(None) };
        let Reverse((chunk, run)) = *head;
        if copy_of.is_some_and(|other| other.id != chunk.id) {
            return Ok(None);
        }
        match self.runs[run].next() {
            Some(next) => *head = Reverse((next?, run)),
            None => drop(PeekMut::pop(head)),
        }
        Ok(Some(chunk))
    }

    /// The next id, in the copy that counts. Runs are in the order of ids, but copies within one come as they were added.
    fn next(&mut self) -> io::Result<Option<Chunk>> {
        let Some(mut chunk) = self.pop(None)? else { return Ok(None) };
        while let Some(copy) = self.pop(Some(&chunk))? {
            chunk = copy.min(chunk);
        }
        Ok(Some(chunk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use russet_format::id::ChunkId;
    use russet_format::pack::{Directory, Segment};

    /// A pack whose chunks are some of a few hundred.
    fn pack(name: u8) -> IndexedPack {
        let chunks = |segment: u8| (0..20).map(|n| (ChunkId([name.wrapping_mul(7).wrapping_add(n * segment); 32]), 5)).collect();
        let segments = (1..4).map(|n| Segment { stored_len: 90, raw_len: 100, codec: Codec::Zstd, chunks: chunks(n) }).collect();
        let kind = if name.is_multiple_of(3) { ChunkKind::Tree } else { ChunkKind::Data };
        IndexedPack { name: FileName([name; 32]), frames: 1, header_len: 112, directory: Directory { kind, segments } }
    }

    fn add(builder: &mut Builder<'_>, names: impl Iterator<Item = u8>) {
        for name in names {
            builder.add(&pack(name)).condemned = name.is_multiple_of(5);
        }
    }

    #[test]
    fn however_little_is_held_at_a_time_the_table_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let table = |scratch: Option<&Path>, most_together, names: &mut dyn Iterator<Item = u8>| {
            let mut builder = Builder { most_together, ..Builder::new(None, scratch) };
            add(&mut builder, names);
            let mut bytes = Vec::new();
            builder.finish(&Sources::default(), &mut bytes).unwrap();
            bytes
        };
        let expected = table(None, usize::MAX, &mut (0..40));
        for most_together in [1, 7, 1_000] {
            assert!(table(None, most_together, &mut (0..40).rev()) == expected, "{most_together}");
            assert!(table(Some(folder.path()), most_together, &mut (0..40)) == expected, "{most_together}");
            // Where nothing can be put aside it is held after all.
            assert!(table(Some(Path::new("nowhere")), most_together, &mut (0..40)) == expected, "{most_together}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_table_that_is_added_to_is_the_one_built_anew() {
        let mut all = Builder::new(None, None);
        add(&mut all, 0..40);
        let expected = all.finish_in_memory(&Sources::default()).unwrap();
        for first in [0, 1, 20, 39] {
            let mut old = Builder::new(None, None);
            add(&mut old, (0..40).step_by(2).take(first));
            let old = old.finish_in_memory(&Sources::default()).unwrap();
            let mut new = Builder::new(Some(&old), None);
            add(&mut new, (0..40).step_by(2).skip(first).chain((0..40).skip(1).step_by(2)));
            assert!(new.finish_in_memory(&Sources::default()).unwrap().bytes() == expected.bytes(), "{first}");
        }
    }
}
