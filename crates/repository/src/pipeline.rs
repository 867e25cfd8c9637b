//! From bytes to packs: cut, name, known? (the bytes stop here), group, compress, seal, put.
//!
//! Any number of threads write files at once, each through its own [`FileWriter`](crate::FileWriter). Chunks that are new gather in segments, a few per
//! kind of content, shared by whoever needs one. A full segment is compressed as a task of its own; when too many wait, whoever
//! filled it does the work, so memory has a bound: a handful of segments, two packs being sealed, two on their way to the store.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use russet_format::FormatError;
use russet_format::id::{ChunkId, FileName};
use russet_format::key::Keys;
use russet_format::pack::{ChunkKind, Codec, LONGEST_CHUNK, SEGMENT_TARGET, Segment};
use russet_format::parity::Share;
use russet_format::tree::Entry;
use russet_store::Store;
use zstd::zstd_safe::{CParameter, Strategy};

use crate::chunk::Gear;
use crate::index::Index;
use crate::marks::Marks;
use crate::packer::{Buffers, FullPack, PackBuilder, Packed, Uploader};
use crate::stages::{Stage, timed};
use crate::{RepositoryError, Result};

/// How everything is compressed: zstd's fast search, with a table so large and matches so short that it packs what level 3 packs in two
/// thirds of its time.
const ZSTD: [CParameter; 4] =
    [CParameter::WindowLog(21), CParameter::Strategy(Strategy::ZSTD_fast), CParameter::HashLog(18), CParameter::MinMatch(4)];

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked while it held a lock left whole values behind: every critical section here is a push or a take.
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// Chunks that gather until they are worth compressing together.
#[derive(Default)]
pub(crate) struct OpenSegment {
    raw: Vec<u8>,
    /// Of `raw`, as its chunks came: a bit that turns while they gather is seen.
    sum: crc32fast::Hasher,
    chunks: Vec<(ChunkId, u32)>,
}

/// The kinds of content that are kept apart, because like compresses best with like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Database,
    Mixed,
    Dense,
    Tree,
}

impl Class {
    fn kind(self) -> ChunkKind {
        match self {
            Class::Tree => ChunkKind::Tree,
            Class::Database | Class::Mixed | Class::Dense => ChunkKind::Data,
        }
    }

    /// The raw length at which a segment is closed.
    fn segment_target(self) -> usize {
        match self {
            Class::Dense => LONGEST_CHUNK,
            Class::Database | Class::Mixed | Class::Tree => SEGMENT_TARGET,
        }
    }
}

/// What a run has written so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) new_bytes: AtomicU64,
    pub(crate) stored_bytes: AtomicU64,
}

/// The shared part of a run.
pub(crate) struct Pipeline {
    keys: Arc<Keys>,
    /// How much parity packs get.
    pub(crate) share: Share,
    index: Arc<Index>,
    /// Chunks of the index that this run counts on.
    counted_on: Marks,
    /// Packs that this run put, once all of them are durable.
    written: Mutex<Vec<FileName>>,
    gear: Gear,
    claimed: [Mutex<HashSet<ChunkId>>; 16],
    open: [Mutex<Vec<OpenSegment>>; 4],
    packs: [Mutex<Option<PackBuilder>>; 2],
    uploader: Mutex<Option<Arc<Uploader>>>,
    buffers: Arc<Buffers>,
    tasks: AtomicUsize,
    most_tasks: usize,
    idle: (Mutex<()>, Condvar),
    claimed_chunks: AtomicU64,
    packed_chunks: AtomicU64,
    broken: AtomicBool,
    first_error: Mutex<Option<RepositoryError>>,
    pub(crate) counters: Counters,
    /// Takes a second copy of what a key that only adds must have at hand.
    beside: Option<Arc<Pipeline>>,
}

impl Pipeline {
    pub(crate) fn start(store: Arc<dyn Store>, keys: Arc<Keys>, share: Share, index: Arc<Index>) -> Arc<Pipeline> {
        Pipeline::beside(store, keys, share, index, None)
    }

    pub(crate) fn beside(
        store: Arc<dyn Store>,
        keys: Arc<Keys>,
        share: Share,
        index: Arc<Index>,
        beside: Option<Arc<Pipeline>>,
    ) -> Arc<Pipeline> {
        let buffers = Arc::<Buffers>::default();
        let builder = |kind| Mutex::new(Some(PackBuilder::new(kind)));
        Arc::new(Pipeline {
            gear: Gear::new(keys.writing.chunker_table()),
            claimed: Default::default(),
            open: Default::default(),
            packs: [builder(ChunkKind::Data), builder(ChunkKind::Tree)],
            uploader: Mutex::new(Some(Arc::new(Uploader::start(store, keys.clone(), buffers.clone())))),
            buffers,
            tasks: AtomicUsize::new(0),
            most_tasks: 2 * rayon::current_num_threads(),
            idle: Default::default(),
            claimed_chunks: AtomicU64::new(0),
            packed_chunks: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            first_error: Mutex::new(None),
            counters: Counters::default(),
            keys,
            share,
            counted_on: Marks::new(index.chunks()),
            written: Mutex::default(),
            index,
            beside,
        })
    }

    /// Whether this chunk is in the repository and may be counted on; then this run does so from now on.
    pub(crate) fn counts_on(&self, id: &ChunkId) -> bool {
        let known = self.index.position(id).filter(|&number| !self.index.is_condemned(number));
        let Some(number) = known else { return false };
        self.counted_on.set(number);
        true
    }

    /// Whether this chunk may be counted on, or is being written by this run.
    pub(crate) fn holds(&self, id: &ChunkId) -> bool {
        self.counts_on(id) || lock(self.claims(id)).contains(id)
    }

    /// Counts on a part of a chunk, and gives the whole chunk if that is what it is.
    pub(crate) fn count_on_part(&self, entry: Entry) -> Result<Entry> {
        if !self.counts_on(&entry.id) {
            return Err(RepositoryError::MissingChunk { id: entry.id.hex() });
        }
        let is_whole = entry.from == Some(0) && self.index.find(&entry.id).is_some_and(|at| u64::from(at.len) == entry.len);
        Ok(if is_whole { Entry::whole(entry.id, entry.len) } else { entry })
    }

    /// The beginning of the name of a database's page, which is never zero.
    pub(crate) fn page_name(&self, plain: &[u8]) -> u128 {
        let name = timed(Stage::Name, || self.keys.writing.chunk_id(ChunkKind::Data, plain));
        u128::from_le_bytes(*name.0.first_chunk().expect("a name has 32 bytes")).max(1)
    }

    /// Whether contents can be compared with what they were, because this key reads them.
    pub(crate) fn can_compare(&self) -> bool {
        self.keys.can_read()
    }

    /// The length of the first content-defined chunk of `bytes`, or nothing if more bytes are needed to tell.
    pub(crate) fn cut(&self, bytes: &[u8], first: bool, end: bool) -> Option<usize> {
        timed(Stage::Cut, || self.gear.cut(bytes, first, end))
    }

    /// The packs that this run put, once it is finished.
    pub(crate) fn packs_written(&self) -> Vec<FileName> {
        lock(&self.written).clone()
    }

    /// Whether this run counts on a chunk of such a pack, or wrote such a pack.
    pub(crate) fn counts_on_any(&self, such: &dyn Fn(&FileName) -> bool) -> bool {
        let such_packs: Vec<bool> = (0..self.index.packs()).map(|number| such(&self.index.pack(number).name)).collect();
        let pack = |chunk: usize| self.index.segment(self.index.location(chunk).segment).pack as usize;
        lock(&self.written).iter().any(such)
            || (such_packs.contains(&true) && self.counted_on.iter().any(|chunk| such_packs[pack(chunk)]))
    }

    /// Every chunk that this run counts on or wrote.
    pub(crate) fn needs(&self) -> Vec<ChunkId> {
        let mut ids: Vec<ChunkId> = self.counted_on.iter().map(|number| self.index.id(number)).collect();
        self.claimed.iter().for_each(|claimed| ids.extend(lock(claimed).iter()));
        ids
    }

    fn claims(&self, id: &ChunkId) -> &Mutex<HashSet<ChunkId>> {
        &self.claimed[usize::from(id.0[0] & 15)]
    }

    /// Names a chunk and keeps it if it is new. `segment` is the caller's open segment.
    pub(crate) fn keep(self: &Arc<Self>, class: Class, plain: &[u8], segment: &mut Option<OpenSegment>) -> Result<ChunkId> {
        let id = timed(Stage::Name, || self.keys.writing.chunk_id(class.kind(), plain));
        if self.counts_on(&id) || !lock(self.claims(&id)).insert(id) {
            return Ok(id);
        }
        self.claimed_chunks.fetch_add(1, Ordering::Relaxed);
        self.counters.new_bytes.fetch_add(plain.len() as u64, Ordering::Relaxed);
        let mut open = segment.take().or_else(|| lock(&self.open[class as usize]).pop()).unwrap_or_default();
        if !open.raw.is_empty() && open.raw.len() + plain.len() > class.segment_target() {
            self.close(class, std::mem::take(&mut open))?;
        }
        if open.raw.capacity() == 0 {
            open.raw = self.buffers.segment(class.segment_target());
        }
        open.raw.extend_from_slice(plain);
        open.sum.update(plain);
        open.chunks.push((id, plain.len() as u32));
        *segment = Some(open);
        Ok(id)
    }

    pub(crate) fn put_back(&self, class: Class, segment: OpenSegment) {
        lock(&self.open[class as usize]).push(segment);
    }

    /// Keeps a chunk of a tree.
    pub(crate) fn keep_tree(self: &Arc<Self>, plain: &[u8]) -> Result<ChunkId> {
        self.keep_beside(ChunkKind::Tree, plain);
        self.keep_one(Class::Tree, plain)
    }

    /// Keeps a second copy, if one is wanted. If that fails, it says so when it is finished, and this run goes on.
    pub(crate) fn keep_beside(&self, kind: ChunkKind, plain: &[u8]) {
        if let Some(beside) = &self.beside {
            beside.keep_again(kind, true, plain).map_or_else(|error| beside.fail(error), drop);
        }
    }

    /// Keeps a chunk as another pack held it, in the company of its like: `zstd` says whether it was compressed there.
    pub(crate) fn keep_again(self: &Arc<Self>, kind: ChunkKind, zstd: bool, plain: &[u8]) -> Result<ChunkId> {
        let class = match (kind, zstd) {
            (ChunkKind::Tree, _) => Class::Tree,
            (ChunkKind::Data, true) => Class::Mixed,
            (ChunkKind::Data, false) => Class::Dense,
        };
        self.keep_one(class, plain)
    }

    /// Keeps a segment as another pack held it. Its chunks must be new to this run.
    pub(crate) fn keep_segment(&self, kind: ChunkKind, segment: Segment, stored: Vec<u8>) -> Result<()> {
        self.check_broken()?;
        for (id, _) in &segment.chunks {
            lock(self.claims(id)).insert(*id);
        }
        self.claimed_chunks.fetch_add(segment.chunks.len() as u64, Ordering::Relaxed);
        self.counters.new_bytes.fetch_add(segment.raw_len.into(), Ordering::Relaxed);
        self.add(kind, Packed::new(segment, stored))
    }

    fn keep_one(self: &Arc<Self>, class: Class, plain: &[u8]) -> Result<ChunkId> {
        let mut segment = None;
        let id = self.keep(class, plain, &mut segment)?;
        if let Some(segment) = segment {
            self.put_back(class, segment);
        }
        Ok(id)
    }

    /// Compresses a segment and packs it, as a task if there is room for one.
    fn close(self: &Arc<Self>, class: Class, open: OpenSegment) -> Result<()> {
        self.check_broken()?;
        if self.tasks.fetch_add(1, Ordering::AcqRel) >= self.most_tasks {
            let outcome = self.pack(class, open);
            self.end_task();
            return outcome.map_err(|error| {
                self.fail(error);
                RepositoryError::Broken
            });
        }
        let this = self.clone();
        rayon::spawn(move || {
            if let Err(error) = this.pack(class, open) {
                this.fail(error);
            }
            this.end_task();
        });
        Ok(())
    }

    fn end_task(&self) {
        if self.tasks.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _guard = lock(&self.idle.0);
            self.idle.1.notify_all();
        }
    }

    fn check_broken(&self) -> Result<()> {
        match self.broken.load(Ordering::Acquire) {
            true => Err(RepositoryError::Broken),
            false => Ok(()),
        }
    }

    /// The error that a task or another thread ran into first, if `error` only says that there was one.
    pub(crate) fn cause(&self, error: RepositoryError) -> RepositoryError {
        match error {
            RepositoryError::Broken => lock(&self.first_error).take().unwrap_or(error),
            other => other,
        }
    }

    fn fail(&self, error: RepositoryError) {
        self.broken.store(true, Ordering::Release);
        let mut first = lock(&self.first_error);
        if first.is_none() && !matches!(error, RepositoryError::Broken) {
            *first = Some(error);
        }
    }

    fn pack(&self, class: Class, open: OpenSegment) -> Result<()> {
        self.add(class.kind(), compress(open, &self.buffers)?)
    }

    fn add(&self, kind: ChunkKind, packed: Packed) -> Result<()> {
        let full = {
            let mut builder = lock(&self.packs[(kind == ChunkKind::Tree) as usize]);
            builder.as_mut().and_then(|builder| builder.add(packed))
        };
        match full {
            Some(full) => self.seal_and_send(full),
            None => Ok(()),
        }
    }

    /// Holds no lock while it seals: the worker may take up another task of this run meanwhile.
    fn seal_and_send(&self, full: FullPack) -> Result<()> {
        let chunks = full.chunks();
        let sealed = full.seal(&self.keys, self.share, &self.buffers)?;
        self.counters.stored_bytes.fetch_add(sealed.stored_len(), Ordering::Relaxed);
        let uploader = lock(&self.uploader).clone();
        match uploader {
            Some(uploader) => uploader.send(sealed)?,
            None => return Err(RepositoryError::Broken),
        }
        self.packed_chunks.fetch_add(chunks, Ordering::Release);
        Ok(())
    }

    /// Packs what is open and waits until packs and index are durable. Must not be called by a worker of the thread pool.
    pub(crate) fn finish(self: &Arc<Self>) -> Result<()> {
        for class in [Class::Database, Class::Mixed, Class::Dense, Class::Tree] {
            let open = std::mem::take(&mut *lock(&self.open[class as usize]));
            // Many threads leave many half-full segments; together they compress better and pack tighter.
            for segment in merge(open) {
                self.close(class, segment)?;
            }
        }
        self.wait();
        self.check_broken().map_err(|error| self.cause(error))?;
        for builder in &self.packs {
            let rest = lock(builder).take().map(PackBuilder::finish).unwrap_or_default();
            for full in rest {
                self.seal_and_send(full)?;
            }
        }
        // Every chunk that was claimed is in a pack, or no snapshot may name it.
        if self.claimed_chunks.load(Ordering::Acquire) != self.packed_chunks.load(Ordering::Acquire) {
            return Err(RepositoryError::Broken);
        }
        let uploader = lock(&self.uploader).take();
        match uploader.map(Arc::try_unwrap) {
            Some(Ok(uploader)) => {
                let uploaded = uploader.finish()?;
                *lock(&self.written) = uploaded.packs;
                self.counters.stored_bytes.fetch_add(uploaded.index_bytes, Ordering::Relaxed);
                Ok(())
            }
            _ => Err(RepositoryError::Broken),
        }
    }

    fn wait(&self) {
        let mut guard = lock(&self.idle.0);
        while self.tasks.load(Ordering::Acquire) > 0 {
            guard = self.idle.1.wait(guard).unwrap_or_else(|e| e.into_inner());
        }
    }
}

fn merge(open: Vec<OpenSegment>) -> Vec<OpenSegment> {
    let mut merged: Vec<OpenSegment> = Vec::new();
    for segment in open {
        match merged.last_mut() {
            Some(last) if last.raw.len() + segment.raw.len() <= SEGMENT_TARGET => {
                last.raw.extend_from_slice(&segment.raw);
                last.sum.combine(&segment.sum);
                last.chunks.extend_from_slice(&segment.chunks);
            }
            _ => merged.push(segment),
        }
    }
    merged
}

/// What a worker compresses with. Contexts are large, and so is the room for the worst case.
struct Zstd {
    compressor: zstd::bulk::Compressor<'static>,
    /// For samples.
    quick: zstd::bulk::Compressor<'static>,
    decompressor: zstd::bulk::Decompressor<'static>,
    packed: Vec<u8>,
    unpacked: Vec<u8>,
}

impl Zstd {
    fn new() -> std::io::Result<Zstd> {
        let mut compressor = zstd::bulk::Compressor::new(1)?;
        ZSTD.into_iter().try_for_each(|parameter| compressor.set_parameter(parameter))?;
        let quick = zstd::bulk::Compressor::new(1)?;
        Ok(Zstd { compressor, quick, decompressor: zstd::bulk::Decompressor::new()?, packed: Vec::new(), unpacked: Vec::new() })
    }
}

thread_local! {
    static ZSTDS: RefCell<Option<Zstd>> = const { RefCell::new(None) };
}

/// Runs something with this worker's contexts.
fn with_zstd<T>(run: impl FnOnce(&mut Zstd) -> std::io::Result<T>) -> std::io::Result<T> {
    ZSTDS.with_borrow_mut(|kept| {
        let zstd = match kept {
            Some(zstd) => zstd,
            None => kept.insert(Zstd::new()?),
        };
        run(zstd)
    })
}

/// Compresses a segment if it is worth it, unpacks it again and compares with what its chunks were when they were named.
fn compress(open: OpenSegment, buffers: &Buffers) -> Result<Packed> {
    let OpenSegment { raw, sum, chunks } = open;
    let sum = sum.finalize();
    let raw_len = raw.len() as u32;
    let failed = || FormatError::CheckAfterEncode { what: "compressing a segment" };
    let compressed = match looks_compressible(&raw) {
        false => None,
        true => with_zstd(|zstd| {
            zstd.packed.clear();
            zstd.packed.reserve(zstd::zstd_safe::compress_bound(raw.len()));
            timed(Stage::Compress, || zstd.compressor.compress_to_buffer(&raw, &mut zstd.packed))?;
            if zstd.packed.len() >= raw.len() - raw.len() / 64 {
                return Ok(None);
            }
            #[cfg(test)]
            tests::turn_a_bit(&mut zstd.packed);
            zstd.unpacked.clear();
            zstd.unpacked.reserve(raw.len());
            let is_same = timed(Stage::Compare, || {
                let unpacked = zstd.decompressor.decompress_to_buffer(&zstd.packed, &mut zstd.unpacked);
                unpacked.map(|_| zstd.unpacked == raw && crc32fast::hash(&zstd.unpacked) == sum)
            })?;
            match is_same {
                true => Ok(Some(zstd.packed.to_vec())),
                false => Err(std::io::ErrorKind::InvalidData.into()),
            }
        })
        .map_err(|_| failed())?,
    };
    let (codec, stored) = match compressed {
        Some(stored) => {
            buffers.give_segment_back(raw);
            (Codec::Zstd, stored)
        }
        None if crc32fast::hash(&raw) == sum => (Codec::Stored, raw),
        None => return Err(FormatError::CheckAfterEncode { what: "gathering a segment" }.into()),
    };
    Ok(Packed::new(Segment { stored_len: stored.len() as u32, raw_len, codec, chunks }, stored))
}

/// Samples four places: zstd on noise costs as much as all the rest of the pipeline.
fn looks_compressible(raw: &[u8]) -> bool {
    const SAMPLE: usize = 4096;
    if raw.len() <= 8 * SAMPLE {
        return true;
    }
    let sample: Vec<u8> = (0..4).map(|n| &raw[(raw.len() - SAMPLE) / 3 * n..][..SAMPLE]).collect::<Vec<_>>().concat();
    let packed = with_zstd(|zstd| {
        zstd.packed.clear();
        zstd.packed.reserve(zstd::zstd_safe::compress_bound(sample.len()));
        zstd.quick.compress_to_buffer(&sample, &mut zstd.packed)
    });
    packed.is_ok_and(|packed| packed < sample.len() - sample.len() / 32)
}

#[cfg(test)]
mod tests;
