//! Index files: the directories of many packs in one place (FORMAT.md, chapter 7).

use crate::id::FileName;
use crate::key::Keys;
use crate::pack::{Directory, PACK_FRAMES};
use crate::read::Reader;
use crate::write::Writer;
use crate::{Kind, Result, seal};

/// A pack as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedPack {
    /// The pack's name.
    pub name: FileName,
    /// Its number of frames.
    pub frames: u32,
    /// Bytes before its first frame.
    pub header_len: u32,
    /// What it holds.
    pub directory: Directory,
}

/// One index file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexFile {
    /// The packs it describes.
    pub packs: Vec<IndexedPack>,
    /// Index files that this one replaces.
    pub supersedes: Vec<FileName>,
}

impl IndexFile {
    /// Seals the file.
    pub fn seal(&self, keys: &Keys) -> Result<Vec<u8>> {
        seal::seal_file(Kind::Index, keys, &self.encode())
    }

    /// Opens the file.
    pub fn open(keys: &Keys, file: &[u8]) -> Result<IndexFile> {
        IndexFile::decode(&seal::open_file(Kind::Index, keys, file)?)
    }

    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.count(self.packs.len());
        for pack in &self.packs {
            w.bytes(&pack.name.0).u32(pack.frames).u32(pack.header_len);
            pack.directory.encode(&mut w);
        }
        w.count(self.supersedes.len());
        for name in &self.supersedes {
            w.bytes(&name.0);
        }
        w.finish()
    }

    /// Reads an opened payload.
    pub fn decode(payload: &[u8]) -> Result<IndexFile> {
        let mut r = Reader::new("index file", payload);
        let packs = (0..r.count(45)?)
            .map(|_| {
                let (name, frames, header_len) = (FileName(r.array()?), r.u32()?, r.u32()?);
                let directory = Directory::decode(&mut r, u64::from(frames) << PACK_FRAMES)?;
                Ok(IndexedPack { name, frames, header_len, directory })
            })
            .collect::<Result<_>>()?;
        let supersedes = (0..r.count(32)?).map(|_| Ok(FileName(r.array()?))).collect::<Result<_>>()?;
        r.finish()?;
        Ok(IndexFile { packs, supersedes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ChunkId, RepositoryId};
    use crate::key::{Key, Secrets};
    use crate::pack::{ChunkKind, Codec, Segment};

    #[test]
    fn an_index_file_round_trips() {
        let keys = Secrets::full(Key::new([1; 32]), Key::new([2; 32])).keys(RepositoryId([0; 16]));
        let segment = Segment { stored_len: 9, raw_len: 9, codec: Codec::Stored, chunks: vec![(ChunkId([4; 32]), 9)] };
        let directory = Directory { kind: ChunkKind::Tree, segments: vec![segment] };
        let pack = IndexedPack { name: FileName([5; 32]), frames: 1, header_len: 112, directory };
        let index = IndexFile { packs: vec![pack], supersedes: vec![FileName([6; 32])] };
        assert_eq!(IndexFile::open(&keys, &index.seal(&keys).unwrap()), Ok(index));
    }
}
