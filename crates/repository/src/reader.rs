//! Contents come back: find the chunk, open the frames, unpack the segment, and check the chunk against its name.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use russet_format::Kind;
use russet_format::id::ChunkId;
use russet_format::key::Keys;
use russet_format::pack::{ChunkKind, check_chunk, unpack_segment};
use russet_format::seal::{Header, Opener, TAG};
use russet_format::tree::{Content, Node, decode_list, decode_nodes};
use russet_store::Store;

use crate::draft::leaf_kind;
use crate::index::{Index, SegmentInfo};
use crate::names;
use crate::repo::damaged;
use crate::{RepositoryError, Result};

/// Unpacked segments that are kept at hand.
const CACHE_BYTES: usize = 64 << 20;

struct PackHandle {
    opener: Opener,
    header_len: u64,
    frame_len: u64,
}

#[derive(Default)]
struct SegmentCache {
    segments: HashMap<u32, (Arc<Vec<u8>>, u64)>,
    bytes: usize,
    clock: u64,
}

impl SegmentCache {
    fn get(&mut self, number: u32) -> Option<Arc<Vec<u8>>> {
        self.clock += 1;
        let (segment, used) = self.segments.get_mut(&number)?;
        *used = self.clock;
        Some(segment.clone())
    }

    fn put(&mut self, number: u32, segment: &Arc<Vec<u8>>) {
        self.bytes += segment.len();
        if let Some((old, _)) = self.segments.insert(number, (segment.clone(), self.clock)) {
            self.bytes -= old.len();
        }
        while self.bytes > CACHE_BYTES && self.segments.len() > 1 {
            let oldest = self.segments.iter().min_by_key(|(_, (_, used))| *used).map(|(&number, _)| number);
            if let Some((old, _)) = oldest.and_then(|number| self.segments.remove(&number)) {
                self.bytes -= old.len();
            }
        }
    }
}

/// Reads contents. Shared by any number of threads.
pub struct Reader {
    store: Arc<dyn Store>,
    keys: Arc<Keys>,
    index: Arc<Index>,
    packs: Mutex<HashMap<u32, Arc<PackHandle>>>,
    cache: Mutex<SegmentCache>,
    /// Where a key that only adds has some of the chunks at hand.
    near: Option<Arc<Reader>>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({:?})", self.index)
    }
}

/// A chunk inside its segment.
pub(crate) struct Chunk {
    segment: Arc<Vec<u8>>,
    range: std::ops::Range<usize>,
}

impl Chunk {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.segment[self.range.clone()]
    }
}

impl Reader {
    pub(crate) fn new(store: Arc<dyn Store>, keys: Arc<Keys>, index: Arc<Index>) -> Reader {
        Reader { store, keys, index, packs: Mutex::default(), cache: Mutex::default(), near: None }
    }

    /// The same, but chunks are looked for in another place first.
    pub(crate) fn with_near(self, near: Option<Arc<Reader>>) -> Reader {
        Reader { near, ..self }
    }

    pub(crate) fn index(&self) -> &Arc<Index> {
        &self.index
    }

    pub(crate) fn chunk(&self, kind: ChunkKind, id: &ChunkId) -> Result<Chunk> {
        if let Some(near) = &self.near
            && near.index.find(id).is_some()
            && let Ok(chunk) = near.chunk(kind, id)
        {
            return Ok(chunk);
        }
        let at = self.index.find(id).ok_or_else(|| RepositoryError::MissingChunk { id: id.hex() })?;
        let segment = self.segment(at.segment)?;
        let range = at.offset as usize..at.offset as usize + at.len as usize;
        let plain = segment.get(range.clone()).ok_or_else(|| RepositoryError::MissingChunk { id: id.hex() })?;
        check_chunk(&self.keys.writing, kind, *id, plain).map_err(|source| {
            let pack = self.index.pack(self.index.segment(at.segment).pack as usize);
            damaged(&names::file(names::PACKS, pack.name), source)
        })?;
        Ok(Chunk { segment, range })
    }

    fn segment(&self, number: u32) -> Result<Arc<Vec<u8>>> {
        let cache = || self.cache.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(segment) = cache().get(number) {
            return Ok(segment);
        }
        let info = self.index.segment(number);
        let pack = self.index.pack(info.pack as usize);
        let name = names::file(names::PACKS, pack.name);
        let stored = self.stored_segment(&info)?;
        let raw = unpack_segment(info.codec(), &stored, info.raw_len).map_err(|source| damaged(&name, source))?;
        let segment = Arc::new(raw);
        cache().put(number, &segment);
        Ok(segment)
    }

    /// Opens just the frames that a segment touches.
    fn stored_segment(&self, info: &SegmentInfo) -> Result<Vec<u8>> {
        let handle = self.pack(info.pack)?;
        let name = names::file(names::PACKS, self.index.pack(info.pack as usize).name);
        let (start, end) = (u64::from(info.offset), u64::from(info.offset) + u64::from(info.stored_len));
        if start == end {
            return Ok(Vec::new());
        }
        let (first, last) = (start / handle.frame_len, (end - 1) / handle.frame_len);
        let step = handle.frame_len + TAG as u64;
        let stored = self.store.get(&name, handle.header_len + first * step..handle.header_len + (last + 1) * step)?;
        let mut stream = handle.opener.open(first as u32, &stored).map_err(|source| damaged(&name, source))?;
        let skip = (start - first * handle.frame_len) as usize;
        stream.drain(..skip);
        stream.truncate((end - start) as usize);
        Ok(stream)
    }

    fn pack(&self, number: u32) -> Result<Arc<PackHandle>> {
        let packs = || self.packs.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(handle) = packs().get(&number) {
            return Ok(handle.clone());
        }
        let info = self.index.pack(number as usize);
        let name = names::file(names::PACKS, info.name);
        let bytes = self.store.get(&name, 0..info.header_len.into())?;
        let open = || -> russet_format::Result<PackHandle> {
            let header = Header::decode(Kind::Pack, self.keys.repository, &bytes)?;
            let (header_len, frame_len) = (header.len() as u64, header.frame_len() as u64);
            Ok(PackHandle { opener: header.open(&self.keys)?, header_len, frame_len })
        };
        let handle = Arc::new(open().map_err(|source| damaged(&name, source))?);
        packs().insert(number, handle.clone());
        Ok(handle)
    }

    /// The bytes of a chunk.
    pub(crate) fn plain(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        Ok(self.chunk(kind, id)?.bytes().to_vec())
    }

    /// Whether a file's content can be read at all: a key that only adds has few of them at hand.
    pub fn can_read(&self, content: &Content) -> bool {
        let mut all = true;
        let near = |id: &ChunkId| self.near.as_ref().is_some_and(|near| near.index.find(id).is_some());
        self.keys.can_read() || (self.chunk_ids(content, false, &mut |_, id, _| all &= near(&id)).is_ok() && all)
    }

    /// Reads a list of chunks.
    pub(crate) fn list(&self, id: &ChunkId) -> Result<Vec<(ChunkId, u64)>> {
        Ok(decode_list(self.chunk(ChunkKind::Tree, id)?.bytes())?)
    }

    /// Reads the nodes of a directory.
    pub fn nodes(&self, content: &Content) -> Result<Vec<Node>> {
        self.nodes_after(content, None)
    }

    fn nodes_after(&self, content: &Content, mut after: Option<Vec<u8>>) -> Result<Vec<Node>> {
        let mut nodes: Vec<Node> = Vec::new();
        let mut chunks = ContentReader::new(self, content, true);
        while let Some(chunk) = chunks.next_chunk()? {
            nodes.extend(decode_nodes(chunk.bytes(), after.take())?);
            after = nodes.last().map(|node| node.name.clone());
        }
        Ok(nodes)
    }

    /// Reads those nodes of a directory that can be read. Each part that cannot is told to `unreadable`, which may end it.
    pub(crate) fn remaining_nodes(
        &self,
        content: &Content,
        unreadable: &mut dyn FnMut(RepositoryError) -> Result<()>,
    ) -> Result<Vec<Node>> {
        let mut nodes = Vec::new();
        self.add_remaining(&content.entries, content.depth, &mut nodes, unreadable)?;
        Ok(nodes)
    }

    fn add_remaining(
        &self,
        entries: &[(ChunkId, u64)],
        depth: u8,
        nodes: &mut Vec<Node>,
        unreadable: &mut dyn FnMut(RepositoryError) -> Result<()>,
    ) -> Result<()> {
        for (id, len) in entries {
            let part = Content { depth, entries: vec![(*id, *len)] };
            if depth > 0 {
                match self.list(id) {
                    Ok(list) => self.add_remaining(&list, depth - 1, nodes, unreadable)?,
                    Err(error) => unreadable(error)?,
                }
                continue;
            }
            match self.nodes_after(&part, nodes.last().map(|node: &Node| node.name.clone())) {
                Ok(more) => nodes.extend(more),
                Err(error) => unreadable(error)?,
            }
        }
        Ok(())
    }

    /// Reads a file's content from its beginning.
    pub fn open(&self, content: &Content) -> ContentReader<'_> {
        ContentReader::new(self, content, false)
    }

    /// Names every chunk of a content without reading the chunks themselves; `lists` are named too.
    pub fn chunk_ids(&self, content: &Content, directory: bool, visit: &mut dyn FnMut(ChunkKind, ChunkId, u64)) -> Result<()> {
        self.visit_ids(&content.entries, content.depth, leaf_kind(directory), visit)
    }

    fn visit_ids(
        &self,
        entries: &[(ChunkId, u64)],
        depth: u8,
        leaf: ChunkKind,
        visit: &mut dyn FnMut(ChunkKind, ChunkId, u64),
    ) -> Result<()> {
        for (id, len) in entries {
            visit(if depth == 0 { leaf } else { ChunkKind::Tree }, *id, *len);
            if depth > 0 {
                self.visit_ids(&self.list(id)?, depth - 1, leaf, visit)?;
            }
        }
        Ok(())
    }
}

/// Reads one content, forward or from any offset.
pub struct ContentReader<'a> {
    reader: &'a Reader,
    root: Content,
    directory: bool,
    /// Lists from the root down, each with the number of its next entry.
    stack: Vec<(Vec<(ChunkId, u64)>, usize)>,
    current: Option<Chunk>,
    used: usize,
}

impl std::fmt::Debug for ContentReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ContentReader({} bytes)", self.root.size())
    }
}

impl<'a> ContentReader<'a> {
    fn new(reader: &'a Reader, content: &Content, directory: bool) -> ContentReader<'a> {
        let stack = vec![(content.entries.clone(), 0)];
        ContentReader { reader, root: content.clone(), directory, stack, current: None, used: 0 }
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        loop {
            let level = self.stack.len();
            let Some((list, next)) = self.stack.last_mut() else { return Ok(None) };
            let Some(&(id, len)) = list.get(*next) else {
                self.stack.pop();
                continue;
            };
            *next += 1;
            if level <= usize::from(self.root.depth) {
                let entries = self.reader.list(&id)?;
                if entries.iter().map(|&(_, len)| len).fold(0, u64::saturating_add) != len {
                    return Err(RepositoryError::Tree { why: format!("list {id} covers another length than it should") });
                }
                self.stack.push((entries, 0));
                continue;
            }
            let chunk = self.reader.chunk(leaf_kind(self.directory), &id)?;
            if chunk.bytes().len() as u64 != len {
                return Err(RepositoryError::Tree { why: format!("chunk {id} has another length than its list says") });
            }
            return Ok(Some(chunk));
        }
    }

    /// Length of the content.
    pub fn size(&self) -> u64 {
        self.root.size()
    }

    /// Goes to an offset; past the end there is nothing to read.
    pub fn seek(&mut self, offset: u64) -> Result<()> {
        self.stack = vec![(self.root.entries.clone(), 0)];
        (self.current, self.used) = (None, 0);
        let mut left = offset;
        loop {
            let level = self.stack.len();
            let Some((list, next)) = self.stack.last_mut() else { return Ok(()) };
            while list.get(*next).is_some_and(|&(_, len)| len <= left) {
                left -= list[*next].1;
                *next += 1;
            }
            let Some(&(id, _)) = list.get(*next) else { return Ok(()) };
            if level <= usize::from(self.root.depth) {
                *next += 1;
                let entries = self.reader.list(&id)?;
                self.stack.push((entries, 0));
                continue;
            }
            if left > 0 {
                self.current = self.next_chunk()?;
                self.used = left as usize;
            }
            return Ok(());
        }
    }

    /// Gives every piece in turn, without copying.
    pub fn for_each(mut self, visit: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<()> {
        while let Some(chunk) = self.next_chunk()? {
            visit(chunk.bytes()).map_err(RepositoryError::Source)?;
        }
        Ok(())
    }
}

impl io::Read for ContentReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(chunk) = &self.current {
                let rest = &chunk.bytes()[self.used.min(chunk.range.len())..];
                if !rest.is_empty() {
                    let n = rest.len().min(buffer.len());
                    buffer[..n].copy_from_slice(&rest[..n]);
                    self.used += n;
                    return Ok(n);
                }
            }
            match self.next_chunk().map_err(io::Error::other)? {
                Some(chunk) => (self.current, self.used) = (Some(chunk), 0),
                None => return Ok(0),
            }
        }
    }
}
