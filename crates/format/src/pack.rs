//! Packs: many segments in one sealed file, and the directory that names their chunks (FORMAT.md, chapter 6).

use std::cell::RefCell;

use crate::id::ChunkId;
use crate::key::WritingKeys;
use crate::read::Reader;
use crate::write::Writer;
use crate::{FormatError, Result};

/// Frame size of packs: 64 KiB.
pub const PACK_FRAMES: u8 = 16;
/// Near this length a pack is closed.
pub const PACK_TARGET: usize = 16 << 20;
/// The raw length at which a segment of compressible chunks is closed; dense chunks are a segment each.
pub const SEGMENT_TARGET: usize = 2 << 20;
/// No segment is longer.
pub const LONGEST_SEGMENT: usize = 4 << 20;
/// No chunk is longer.
pub const LONGEST_CHUNK: usize = 1 << 20;

/// What a chunk is a piece of. The two kinds never share a pack or an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChunkKind {
    /// Contents of files.
    Data,
    /// Nodes of directories, and lists of chunks.
    Tree,
}

/// How a segment is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As it is.
    Stored,
    /// zstd.
    Zstd,
}

/// A run of chunks that was compressed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Length in the pack's stream.
    pub stored_len: u32,
    /// Length of all its chunks together.
    pub raw_len: u32,
    /// How it is stored.
    pub codec: Codec,
    /// Its chunks in order, and their lengths.
    pub chunks: Vec<(ChunkId, u32)>,
}

/// What a pack holds. Segments lie one after the other from the start of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// The kind of all its chunks.
    pub kind: ChunkKind,
    /// In the order of the stream.
    pub segments: Vec<Segment>,
}

impl Directory {
    /// Puts the directory.
    pub fn encode(&self, w: &mut Writer) {
        w.u8(match self.kind {
            ChunkKind::Data => 1,
            ChunkKind::Tree => 2,
        });
        w.count(self.segments.len());
        for segment in &self.segments {
            w.u32(segment.stored_len).u32(segment.raw_len);
            w.u8(match segment.codec {
                Codec::Stored => 0,
                Codec::Zstd => 1,
            });
            w.count(segment.chunks.len());
            for (id, _) in &segment.chunks {
                w.bytes(&id.0);
            }
            for (_, len) in &segment.chunks {
                w.u32(*len);
            }
        }
    }

    /// Takes a directory whose segments must lie within `stream_len` bytes.
    pub fn decode(r: &mut Reader<'_>, stream_len: u64) -> Result<Directory> {
        let bad = |why: &str| FormatError::invalid("directory of a pack", why);
        let kind = match r.u8()? {
            1 => ChunkKind::Data,
            2 => ChunkKind::Tree,
            other => return Err(bad(&format!("kind of chunks {other}"))),
        };
        let count = r.count(13)?;
        let mut segments = Vec::with_capacity(count);
        let mut end = 0u64;
        for _ in 0..count {
            let (stored_len, raw_len) = (r.u32()?, r.u32()?);
            let codec = match r.u8()? {
                0 => Codec::Stored,
                1 => Codec::Zstd,
                other => return Err(bad(&format!("codec {other}"))),
            };
            let count = r.count(36)?;
            let ids = r.bytes(32 * count)?.as_chunks::<32>().0;
            let lens = r.bytes(4 * count)?.as_chunks::<4>().0;
            let chunks: Vec<_> = ids.iter().zip(lens).map(|(id, len)| (ChunkId(*id), u32::from_le_bytes(*len))).collect();
            end += u64::from(stored_len);
            let sum: u64 = chunks.iter().map(|&(_, len)| u64::from(len)).sum();
            if raw_len as usize > LONGEST_SEGMENT || sum != raw_len.into() || end > stream_len.min(u32::MAX.into()) {
                return Err(bad("lengths do not add up"));
            }
            if codec == Codec::Stored && stored_len != raw_len {
                return Err(bad("a stored segment changes its length"));
            }
            segments.push(Segment { stored_len, raw_len, codec, chunks });
        }
        Ok(Directory { kind, segments })
    }

    /// Reads a pack's tail, already taken out of its stream.
    pub fn from_tail(tail: &[u8], stream_len: u64) -> Result<Directory> {
        let raw = crate::seal::decode_tail(tail)?;
        let mut r = Reader::new("directory of a pack", &raw);
        let directory = Directory::decode(&mut r, stream_len)?;
        r.finish()?;
        Ok(directory)
    }

    /// Makes a pack's tail.
    pub fn to_tail(&self) -> Result<Vec<u8>> {
        let mut w = Writer::new();
        self.encode(&mut w);
        crate::seal::encode_tail(&w.finish())
    }
}

/// Gives back the raw bytes of a segment.
pub fn unpack_segment(codec: Codec, stored: &[u8], raw_len: u32) -> Result<Vec<u8>> {
    let mut raw = Vec::new();
    unpack_segment_into(codec, stored, raw_len, &mut raw)?;
    Ok(raw)
}

thread_local! {
    /// A context is large, so each thread keeps its own.
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// As [`unpack_segment`], in place of what a buffer holds. After an error it holds anything.
pub fn unpack_segment_into(codec: Codec, stored: &[u8], raw_len: u32, raw: &mut Vec<u8>) -> Result<()> {
    raw.clear();
    match codec {
        Codec::Stored => raw.extend_from_slice(stored),
        Codec::Zstd => {
            raw.reserve_exact((raw_len as usize).min(LONGEST_SEGMENT));
            DECOMPRESSOR
                .with_borrow_mut(|kept| match kept {
                    Some(decompressor) => decompressor.decompress_to_buffer(stored, raw),
                    None => kept.insert(zstd::bulk::Decompressor::new()?).decompress_to_buffer(stored, raw),
                })
                .map_err(|e| FormatError::invalid("segment", format!("zstd: {e}")))?;
        }
    }
    match raw.len() == raw_len as usize {
        true => Ok(()),
        false => Err(FormatError::invalid("segment", "its length is not the one in the directory")),
    }
}

/// Checks that a chunk is what its name says.
pub fn check_chunk(keys: &WritingKeys, kind: ChunkKind, id: ChunkId, plain: &[u8]) -> Result<()> {
    match keys.chunk_id(kind, plain) == id {
        true => Ok(()),
        false => Err(FormatError::WrongChunk { id: id.hex() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> Directory {
        let chunks = vec![(ChunkId([1; 32]), 10), (ChunkId([2; 32]), 20)];
        let zstd = Segment { stored_len: 17, raw_len: 30, codec: Codec::Zstd, chunks };
        let stored = Segment { stored_len: 5, raw_len: 5, codec: Codec::Stored, chunks: vec![(ChunkId([3; 32]), 5)] };
        Directory { kind: ChunkKind::Data, segments: vec![zstd, stored] }
    }

    #[test]
    fn a_directory_round_trips() {
        let tail = directory().to_tail().unwrap();
        assert_eq!(Directory::from_tail(&tail, 22), Ok(directory()));
    }

    #[test]
    fn a_directory_that_points_past_its_pack_is_refused() {
        assert!(Directory::from_tail(&directory().to_tail().unwrap(), 21).is_err());
    }

    #[test]
    fn a_directory_whose_lengths_lie_is_refused() {
        for spoil in [|d: &mut Directory| d.segments[0].raw_len = 31, |d: &mut Directory| d.segments[1].stored_len = 4] {
            let mut bad = directory();
            spoil(&mut bad);
            assert!(Directory::from_tail(&bad.to_tail().unwrap(), 1000).is_err());
        }
    }

    #[test]
    fn a_segment_cannot_unpack_to_more_than_its_directory_says() {
        let bomb = zstd::bulk::compress(&vec![0; 3 << 20], 3).unwrap();
        assert!(unpack_segment(Codec::Zstd, &bomb, 100).is_err());
        assert_eq!(unpack_segment(Codec::Zstd, &bomb, 3 << 20).unwrap().len(), 3 << 20);
    }
}
