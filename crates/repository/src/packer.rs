//! Segments become packs, and packs become files: laid out, sealed on all cores, opened again, named and handed to the store.

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use rayon::prelude::*;
use russet_format::id::FileName;
use russet_format::index::{IndexFile, IndexedPack};
use russet_format::key::Keys;
use russet_format::pack::{ChunkKind, Codec, Directory, LONGEST_CHUNK, PACK_FRAMES, PACK_TARGET, Segment};
use russet_format::parity::{COLUMNS, Share};
use russet_format::seal::{Sealer, TAG, digest, end_of_stream, frames_for};
use russet_format::{FormatError, Kind, seal};
use russet_store::Store;

use crate::names;
use crate::repo::put_hashed;
use crate::stages::{Stage, timed};
use crate::{RepositoryError, Result};

/// So many segments wait, to choose from.
const MOST_WAITING: usize = 8;
/// A large pack with no more padding than this is closed at once.
const LITTLE_PADDING: usize = 24 << 10;
/// After so many packs an index file makes them count, so that a killed run is not repeated from the start.
pub(crate) const PACKS_PER_INDEX: usize = 32;

/// Buffers that go round: the system would clear fresh ones page by page, which costs as much as sealing them.
#[derive(Default)]
pub(crate) struct Buffers {
    packs: Mutex<Vec<Vec<u8>>>,
    segments: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    /// No more are kept than can be in use: two being sealed, one on its way.
    const PACKS: usize = 3;
    /// Two megabytes each.
    const SEGMENTS: usize = 8;

    fn take(&self) -> Vec<u8> {
        lock(&self.packs).pop().unwrap_or_else(|| Vec::with_capacity(PACK_TARGET + (1 << 20)))
    }

    fn give_back(&self, buffer: Vec<u8>) {
        let mut kept = lock(&self.packs);
        if kept.len() < Self::PACKS && buffer.capacity() >= PACK_TARGET {
            kept.push(buffer);
        }
    }

    /// An empty buffer with room for a segment of this length.
    pub(crate) fn segment(&self, capacity: usize) -> Vec<u8> {
        let mut kept = lock(&self.segments);
        let at = kept.iter().position(|buffer| buffer.capacity() >= capacity);
        let mut buffer = at.map(|at| kept.swap_remove(at)).unwrap_or_default();
        drop(kept);
        buffer.clear();
        buffer.reserve_exact(capacity);
        buffer
    }

    pub(crate) fn give_segment_back(&self, buffer: Vec<u8>) {
        let mut kept = lock(&self.segments);
        if kept.len() < Self::SEGMENTS && buffer.capacity() >= LONGEST_CHUNK {
            kept.push(buffer);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// A compressed segment on its way into a pack.
pub(crate) struct Packed {
    segment: Segment,
    stored: Vec<u8>,
    /// Of `stored`, so that a bit that turns while it waits is seen.
    sum: u32,
}

impl Packed {
    pub(crate) fn new(segment: Segment, stored: Vec<u8>) -> Packed {
        Packed { sum: crc32fast::hash(&stored), segment, stored }
    }
}

/// A pack that is being filled.
pub(crate) struct PackBuilder {
    /// Each with its sum.
    segments: Vec<(Vec<u8>, u32)>,
    /// Bytes of the segments.
    body: usize,
    directory: Directory,
    chunks: usize,
    waiting: Vec<Packed>,
}

impl PackBuilder {
    pub(crate) fn new(kind: ChunkKind) -> PackBuilder {
        let directory = Directory { kind, segments: Vec::new() };
        PackBuilder { segments: Vec::new(), body: 0, directory, chunks: 0, waiting: Vec::new() }
    }

    /// Adds a segment. Gives the pack that became full by it, if one did.
    ///
    /// Stored lengths are Padmé lengths, a quarter of a MiB apart near the target. So a few segments wait, and once the pack is large the one
    /// is taken that lets it end closest below such a length.
    pub(crate) fn add(&mut self, packed: Packed) -> Option<FullPack> {
        self.waiting.push(packed);
        if self.waiting.len() < MOST_WAITING {
            return None;
        }
        let large = self.len() >= PACK_TARGET / 2;
        let fitting = (0..self.waiting.len()).filter(|&at| self.fits(&self.waiting[at]));
        let chosen = if large { fitting.min_by_key(|&at| self.padding(self.len_with(&self.waiting[at]))) } else { Some(0) };
        let Some(chosen) = chosen else { return Some(self.close()) };
        let packed = self.waiting.remove(chosen);
        self.take(packed);
        (large && self.padding(self.len()) <= LITTLE_PADDING).then(|| self.close())
    }

    /// Gives what is left, as few packs as it takes.
    pub(crate) fn finish(mut self) -> Vec<FullPack> {
        let mut packs = Vec::new();
        for packed in std::mem::take(&mut self.waiting) {
            if !self.fits(&packed) {
                packs.push(self.close());
            }
            self.take(packed);
        }
        if !self.directory.segments.is_empty() {
            packs.push(self.close());
        }
        packs
    }

    /// How long body and directory will be, never too short: a byte beyond a Padmé length costs a quarter of a MiB.
    fn len(&self) -> usize {
        self.body + 128 + 36 * self.chunks + 16 * self.directory.segments.len()
    }

    fn len_with(&self, packed: &Packed) -> usize {
        self.len() + packed.stored.len() + 36 * packed.segment.chunks.len() + 16
    }

    fn padding(&self, len: usize) -> usize {
        (frames_for(len, 0, PACK_FRAMES) << PACK_FRAMES) - len
    }

    fn fits(&self, packed: &Packed) -> bool {
        self.body == 0 || self.len_with(packed) <= PACK_TARGET
    }

    fn take(&mut self, packed: Packed) {
        self.body += packed.stored.len();
        self.segments.push((packed.stored, packed.sum));
        self.chunks += packed.segment.chunks.len();
        self.directory.segments.push(packed.segment);
    }

    fn close(&mut self) -> FullPack {
        let mut next = PackBuilder::new(self.directory.kind);
        next.waiting = std::mem::take(&mut self.waiting);
        let full = std::mem::replace(self, next);
        FullPack { segments: full.segments, directory: full.directory }
    }
}

/// A pack with all its segments, not sealed yet.
pub(crate) struct FullPack {
    segments: Vec<(Vec<u8>, u32)>,
    directory: Directory,
}

impl FullPack {
    /// Number of its chunks.
    pub(crate) fn chunks(&self) -> u64 {
        self.directory.segments.iter().map(|segment| segment.chunks.len() as u64).sum()
    }

    #[cfg(test)]
    pub(crate) fn turn_a_bit(&mut self, at: usize) {
        let (stored, _) = &mut self.segments[0];
        let at = at % stored.len();
        stored[at] ^= 1;
    }

    /// Seals the pack on all cores, and adds its parity. What comes out was opened again and compared.
    pub(crate) fn seal(self, keys: &Keys, share: Share, buffers: &Buffers) -> Result<SealedPack> {
        let FullPack { segments, directory } = self;
        let tail = directory.to_tail()?;
        let end = end_of_stream(segments.iter().map(|(stored, _)| stored.len()).sum(), &tail, PACK_FRAMES);
        let compressed = segments.iter().zip(&directory.segments).filter(|(_, segment)| segment.codec == Codec::Zstd);
        let digest = digest(compressed.map(|((stored, _), _)| &stored[..]), &tail);
        let stream = Stream::new(segments.iter().map(|(stored, _)| &stored[..]).chain([&end[..]]).collect());
        let frames = stream.len() >> PACK_FRAMES;
        let sealer = Sealer::new(Kind::Pack, keys, PACK_FRAMES, frames as u32, &digest, share)?;
        let header = sealer.header_bytes();
        let step = (1 << PACK_FRAMES) + TAG;
        let mut bytes = buffers.take();
        // What an earlier pack left in it is overwritten to the last byte.
        bytes.resize(sealer.header().stored_len() as usize, 0);
        let (covered, parity) = bytes.split_at_mut(header.len() + frames * step);
        covered[..header.len()].copy_from_slice(&header);
        covered[header.len()..].par_chunks_mut(step).enumerate().with_min_len(32).try_for_each_init(
            Vec::new,
            |scratch, (number, stored)| {
                let start = number << PACK_FRAMES;
                timed(Stage::Seal, || {
                    sealer.seal(number as u32, &stream.pieces(start..start + (1 << PACK_FRAMES)), stored, scratch)
                })
            },
        )?;
        // What was sealed is what is in memory now; it must be what was unpacked and compared before.
        let is_intact = |(stored, sum): &(Vec<u8>, u32)| crc32fast::hash(stored) == *sum;
        if !segments.par_iter().all(is_intact) {
            return Err(FormatError::CheckAfterEncode { what: "keeping a segment in memory" }.into());
        }
        segments.into_iter().for_each(|(stored, _)| buffers.give_segment_back(stored));
        if let Some(shape) = sealer.header().parity() {
            let column =
                |at| timed(Stage::Parity, || if at < COLUMNS { shape.column(covered, at) } else { shape.folded(covered) });
            let mut columns: Vec<Vec<u8>> = (0..=COLUMNS).into_par_iter().map(column).collect();
            let folded = columns.pop().unwrap_or_default();
            timed(Stage::Parity, || shape.assemble(covered, &columns, parity));
            if !shape.is_encoded(&folded, parity) {
                return Err(FormatError::CheckAfterEncode { what: "encoding parity" }.into());
            }
        }
        let name = timed(Stage::NamePack, || FileName::of(&bytes));
        let (frames, header_len) = (frames as u32, header.len() as u32);
        Ok(SealedPack { bytes, entry: IndexedPack { name, frames, header_len, directory } })
    }
}

/// A stream that lies in pieces.
struct Stream<'a> {
    pieces: Vec<&'a [u8]>,
    /// Where each piece ends.
    ends: Vec<usize>,
}

impl<'a> Stream<'a> {
    fn new(pieces: Vec<&'a [u8]>) -> Stream<'a> {
        let mut end = 0;
        let ends = pieces.iter().map(|piece| {
            end += piece.len();
            end
        });
        Stream { ends: ends.collect(), pieces }
    }

    fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The pieces of this range.
    fn pieces(&self, range: Range<usize>) -> Vec<&'a [u8]> {
        let first = self.ends.partition_point(|&end| end <= range.start);
        let touched = self.pieces[first..].iter().zip(&self.ends[first..]);
        let inside = touched.map(|(piece, &end)| {
            let start = end - piece.len();
            &piece[range.start.saturating_sub(start)..piece.len().min(range.end.saturating_sub(start))]
        });
        inside.take_while(|piece| !piece.is_empty()).collect()
    }
}

/// A pack as it goes to the store.
pub(crate) struct SealedPack {
    bytes: Vec<u8>,
    entry: IndexedPack,
}

impl SealedPack {
    pub(crate) fn stored_len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Puts the pack, and gives what an index file says of it.
    pub(crate) fn put(self, store: &dyn Store, buffers: &Buffers) -> Result<IndexedPack> {
        timed(Stage::Put, || store.put(&names::file(names::PACKS, self.entry.name), &self.bytes))?;
        buffers.give_back(self.bytes);
        Ok(self.entry)
    }
}

/// Seals what is in a whole pack again, under the newest secrets. Its segments stay as they are.
pub(crate) fn seal_pack_again(keys: &Keys, share: Share, bytes: &[u8], buffers: &Buffers) -> Result<SealedPack> {
    let (header, opener, directory) = open_directory(keys, bytes)?;
    let mut body = opener.open(0, &bytes[header.len()..header.frames_end() as usize])?;
    let segments = directory.segments.iter().map(|segment| {
        let rest = body.split_off((segment.stored_len as usize).min(body.len()));
        let stored = std::mem::replace(&mut body, rest);
        (crc32fast::hash(&stored), stored)
    });
    let segments = segments.map(|(sum, stored)| (stored, sum));
    FullPack { segments: segments.collect(), directory: directory.clone() }.seal(keys, share, buffers)
}

/// Puts packs, and index files after them, in the order that FORMAT.md chapter 11 asks for, on a thread of its own.
pub(crate) struct Uploader {
    sender: SyncSender<SealedPack>,
    thread: JoinHandle<Option<Uploaded>>,
    failed: Arc<Mutex<Option<RepositoryError>>>,
}

/// What an uploader did.
pub(crate) struct Uploaded {
    /// Bytes of index files.
    pub(crate) index_bytes: u64,
    /// The packs it put.
    pub(crate) packs: Vec<FileName>,
}

impl Uploader {
    pub(crate) fn start(store: Arc<dyn Store>, keys: Arc<Keys>, buffers: Arc<Buffers>) -> Uploader {
        let (sender, receiver) = sync_channel(1);
        let failed = Arc::new(Mutex::new(None));
        let first_error = failed.clone();
        let thread = std::thread::spawn(move || {
            let outcome = upload(&receiver, &*store, &keys, &buffers);
            // The error is there before the channel closes, so whoever learns of the end finds it.
            outcome.map_err(|error| *first_error.lock().unwrap_or_else(|e| e.into_inner()) = Some(error)).ok()
        });
        Uploader { sender, thread, failed }
    }

    /// Hands over a pack; waits while an earlier one is still being put.
    pub(crate) fn send(&self, pack: SealedPack) -> Result<()> {
        self.sender.send(pack).map_err(|_| self.why())
    }

    /// Waits until all packs and their index are durable.
    pub(crate) fn finish(self) -> Result<Uploaded> {
        let Uploader { sender, thread, failed } = self;
        drop(sender);
        thread.join().ok().flatten().ok_or_else(|| take_error(&failed))
    }

    fn why(&self) -> RepositoryError {
        take_error(&self.failed)
    }
}

/// The first to ask gets the error itself, the others that there was one.
fn take_error(failed: &Mutex<Option<RepositoryError>>) -> RepositoryError {
    let first = failed.lock().unwrap_or_else(|e| e.into_inner()).take();
    first.unwrap_or(RepositoryError::Broken)
}

fn upload(packs: &Receiver<SealedPack>, store: &dyn Store, keys: &Keys, buffers: &Buffers) -> Result<Uploaded> {
    let mut pending = IndexFile::default();
    let mut uploaded = Uploaded { index_bytes: 0, packs: Vec::new() };
    let put_index = |pending: &mut IndexFile, uploaded: &mut Uploaded| -> Result<()> {
        if !pending.packs.is_empty() {
            let bytes = std::mem::take(pending).seal(keys)?;
            put_hashed(store, names::INDEX, &bytes)?;
            // It lies there twice.
            uploaded.index_bytes += 2 * bytes.len() as u64;
        }
        Ok(())
    };
    for pack in packs {
        let entry = pack.put(store, buffers)?;
        uploaded.packs.push(entry.name);
        pending.packs.push(entry);
        if pending.packs.len() >= PACKS_PER_INDEX {
            put_index(&mut pending, &mut uploaded)?;
        }
    }
    put_index(&mut pending, &mut uploaded)?;
    Ok(uploaded)
}

/// Opens a pack's bytes as far as its directory. The parity behind the frames may be cut short or missing.
pub(crate) fn open_directory(keys: &Keys, bytes: &[u8]) -> russet_format::Result<(seal::Header, seal::Opener, Directory)> {
    let header = seal::Header::decode(Kind::Pack, keys.repository, bytes)?;
    if header.frames_end() > bytes.len() as u64 {
        return Err(FormatError::Invalid { what: "length of a pack", why: "less than its header says".into() });
    }
    let opener = header.open(keys)?;
    let step = header.frame_len() + TAG;
    let frame = |number: u64| -> russet_format::Result<Vec<u8>> {
        opener.open(number as u32, &bytes[header.len() + number as usize * step..][..step])
    };
    let last = frame(u64::from(header.frames()) - 1)?;
    let tail = seal::tail_range(&last, header.stream_len())?;
    let first = tail.start >> header.frame_len().ilog2();
    let mut stream = Vec::new();
    for number in first..u64::from(header.frames()) {
        stream.extend_from_slice(&frame(number)?);
    }
    let base = first * header.frame_len() as u64;
    let directory = Directory::from_tail(&stream[(tail.start - base) as usize..(tail.end - base) as usize], header.stream_len())?;
    Ok((header, opener, directory))
}
