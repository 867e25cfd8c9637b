//! Reading a pack from beginning to end, and finding which chunks survive if some of it is damaged.
//!
//! A frame is hashed and opened while it is in the processor's cache, and so is a segment unpacked and compared with the names of its chunks.

use std::ops::Range;

use russet_format::id::{ChunkId, FileName};
use russet_format::pack::{check_chunk, unpack_segment_into};
use russet_format::seal::{Header, Opener, TAG};
use russet_store::Name;

use crate::index::Index;
use crate::names;
use crate::packer::open_directory;
use crate::repo::Repository;
use crate::stages::{Stage, timed};
use crate::{RepositoryError, Result};

/// How every SQLite file begins.
const SQLITE: &[u8; 16] = b"SQLite format 3\0";

/// A pack as the index knows it.
#[derive(Clone, Copy)]
pub(super) struct Indexed<'a> {
    pub(super) name: &'a Name,
    pub(super) index: &'a Index,
    /// Its number in the index.
    pub(super) number: u32,
    /// How many chunks the index places in it.
    pub(super) places: u64,
}

/// What a pack is found to be.
#[derive(Default)]
pub(super) struct Found {
    /// Bytes read.
    pub(super) bytes: u64,
    /// What is wrong with it, if anything is.
    pub(super) why: Option<String>,
    /// Chunks that are lost with it: readers find them here, and they cannot be read.
    pub(super) bad: Vec<ChunkId>,
    /// Chunks that begin as an SQLite file does.
    pub(super) heads: Vec<ChunkId>,
}

/// Reads packs, one after the other, with the same buffers: the system would clear fresh ones page by page.
#[derive(Default)]
pub(super) struct PackChecker {
    bytes: Vec<u8>,
    window: Vec<u8>,
    raw: Vec<u8>,
}

/// A pack's stream from its beginning to its end. Frames are hashed and opened on the way, and let go of when they are passed.
struct Frames<'a> {
    header: &'a Header,
    opener: &'a Opener,
    bytes: &'a [u8],
    hasher: blake3::Hasher,
    /// What is at hand of the stream: whole frames, from number `first` to number `next`.
    window: &'a mut Vec<u8>,
    first: usize,
    next: usize,
    /// Frames that cannot be opened.
    broken: Vec<usize>,
}

impl Frames<'_> {
    /// A part of the stream that begins no earlier than the last one, if it can be opened.
    fn get(&mut self, range: Range<usize>) -> Option<&[u8]> {
        let len = self.header.frame_len();
        let passed = (range.start / len).min(self.next) - self.first;
        self.window.drain(..passed * len);
        self.first += passed;
        while self.next * len < range.end {
            let step = len + TAG;
            let frame = self.bytes.get(self.header.len() + self.next * step..)?.get(..step)?;
            timed(Stage::NamePack, || self.hasher.update(frame));
            if timed(Stage::Open, || self.opener.open_onto(self.next as u32, frame, self.window)).is_err() {
                self.broken.push(self.next);
            }
            self.next += 1;
            self.window.resize((self.next - self.first) * len, 0);
        }
        let is_broken = self.broken.iter().any(|&number| number * len < range.end && range.start < (number + 1) * len);
        let start = self.first * len;
        if is_broken { None } else { self.window.get(range.start - start..range.end - start) }
    }
}

impl PackChecker {
    /// Reads a pack.
    pub(super) fn read(&mut self, repository: &Repository, pack: Indexed<'_>) -> Result<Found> {
        let mut bytes = std::mem::take(&mut self.bytes);
        timed(Stage::Fetch, || repository.store().get_all_into(pack.name, &mut bytes))?;
        self.examine(repository, pack, bytes)
    }

    /// The same with a pack's bytes, wherever they come from.
    pub(super) fn examine(&mut self, repository: &Repository, pack: Indexed<'_>, stored: Vec<u8>) -> Result<Found> {
        let Indexed { name, index, number, places } = pack;
        self.bytes = stored;
        let PackChecker { bytes, window, raw } = self;
        let keys = repository.keys();
        let (header, opener, directory) =
            open_directory(keys, bytes).map_err(|source| RepositoryError::Damaged { file: name.to_string(), source })?;
        window.clear();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes[..header.len()]);
        let (first, next, broken) = (0, 0, Vec::new());
        let mut frames = Frames { header: &header, opener: &opener, bytes, hasher, window, first, next, broken };
        let mut found = Found { bytes: bytes.len() as u64, ..Found::default() };
        // Chunks that the index places here, found where it says.
        let mut in_place = 0;
        let mut at = 0usize;
        for segment in &directory.segments {
            let end = at + segment.stored_len as usize;
            let stored = frames.get(at..end);
            let unpacked = stored.and_then(|stored| {
                timed(Stage::Unpack, || unpack_segment_into(segment.codec, stored, segment.raw_len, raw)).ok()
            });
            let raw = unpacked.is_some().then_some(&raw[..]);
            let mut inside = 0;
            for (id, len) in &segment.chunks {
                let plain = raw.and_then(|raw| raw.get(inside..inside + *len as usize));
                let sound = plain
                    .is_some_and(|plain| timed(Stage::Check, || check_chunk(&keys.writing, directory.kind, *id, plain)).is_ok());
                let location = index.find(id).map(|location| (location, index.segment(location.segment)));
                if let Some((location, place)) = location
                    && place.pack == number
                {
                    let same = (place.offset as usize, place.stored_len, location.offset as usize, location.len)
                        == (at, segment.stored_len, inside, *len);
                    in_place += u64::from(same);
                }
                if !sound {
                    found.why.get_or_insert_with(|| format!("chunk {id} cannot be read back"));
                    // Where another pack has it, too, readers take that one.
                    if location.is_none_or(|(_, place)| place.pack == number) {
                        found.bad.push(*id);
                    }
                } else if plain.is_some_and(|plain| plain.starts_with(SQLITE)) {
                    found.heads.push(*id);
                }
                inside += *len as usize;
            }
            at = end;
        }
        if in_place != places {
            found.why.get_or_insert_with(|| "the index places chunks in it that are not there".to_owned());
        }
        // Directory and padding, and whatever is behind the frames.
        frames.get(at..header.stream_len() as usize);
        frames.hasher.update(&bytes[header.len() + header.frames() as usize * (header.frame_len() + TAG)..]);
        if names::hash_of(name) != Some(FileName(*frames.hasher.finalize().as_bytes())) {
            found.why.get_or_insert_with(|| "its bytes do not hash to its name".to_owned());
        }
        Ok(found)
    }
}
