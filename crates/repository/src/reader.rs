//! Contents come back: find the chunk, open the frames, unpack the segment, and check the chunk against its name.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use russet_format::id::ChunkId;
use russet_format::key::Keys;
use russet_format::pack::{ChunkKind, Codec, check_chunk, unpack_segment};
use russet_format::seal::{Header, Opener, TAG};
use russet_format::tree::{Content, Entry, Node, decode_list, decode_nodes};
use russet_format::{FormatError, Kind};
use russet_store::{Name, Store, StoreError};

use crate::draft::leaf_kind;
use crate::index::{Index, Location, SegmentInfo};
use crate::names;
use crate::repo::damaged;
use crate::segments::{Key, Segment, Segments};
use crate::stages::{Stage, timed};
use crate::{RepositoryError, Result};

/// Segments that are unpacked ahead at one time.
const MOST_AHEAD: usize = 16;
/// Segments after one that is read that are unpacked ahead.
const FOLLOWING: u32 = 4;
/// Segments that count as read a moment ago.
const RECENT: usize = 8;

/// Where the bytes of a pack come from.
type Get<'a> = &'a dyn Fn(Range<u64>) -> Result<Vec<u8>>;

/// Whether a pack may be damaged, so that its parity may help. One that is gone is not.
fn is_damage(error: &RepositoryError) -> bool {
    match error {
        RepositoryError::Store(error) => !matches!(error, StoreError::NotFound { .. }),
        error => matches!(error, RepositoryError::Damaged { .. }),
    }
}

struct PackHandle {
    opener: Opener,
    header_len: u64,
    frame_len: u64,
}

/// Reads contents. Shared by any number of threads.
pub struct Reader {
    store: Arc<dyn Store>,
    keys: Arc<Keys>,
    index: Arc<Index>,
    packs: Mutex<HashMap<u32, Arc<PackHandle>>>,
    /// Where a key that only adds has some of the chunks at hand.
    near: Option<Arc<Reader>>,
    segments: Arc<Segments>,
    /// Segments that are being unpacked ahead.
    ahead: AtomicUsize,
    /// Segments that were read last.
    recent: Mutex<VecDeque<u32>>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({:?})", self.index)
    }
}

/// A chunk inside its segment.
pub(crate) struct Chunk {
    segment: Arc<Segment>,
    range: std::ops::Range<usize>,
}

impl Chunk {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.segment.bytes()[self.range.clone()]
    }
}

impl Reader {
    pub(crate) fn new(store: Arc<dyn Store>, keys: Arc<Keys>, index: Arc<Index>) -> Reader {
        Reader {
            store,
            keys,
            index,
            packs: Mutex::default(),
            segments: Arc::default(),
            ahead: AtomicUsize::new(0),
            recent: Mutex::default(),
            near: None,
        }
    }

    /// The same, but what is unpacked is shared with others.
    pub(crate) fn sharing(self, segments: Arc<Segments>) -> Reader {
        Reader { segments, ..self }
    }

    /// The same, but chunks are looked for in another place first.
    pub(crate) fn with_near(self, near: Option<Arc<Reader>>) -> Reader {
        Reader { near, ..self }
    }

    pub(crate) fn index(&self) -> &Arc<Index> {
        &self.index
    }

    fn locate(&self, id: &ChunkId) -> Result<Location> {
        self.index.find(id).ok_or_else(|| RepositoryError::MissingChunk { id: id.hex() })
    }

    pub(crate) fn chunk(&self, kind: ChunkKind, id: &ChunkId) -> Result<Chunk> {
        if let Some(near) = &self.near
            && near.index.find(id).is_some()
            && let Ok(chunk) = near.chunk(kind, id)
        {
            return Ok(chunk);
        }
        let at = self.locate(id)?;
        let segment = self.segment(at.segment)?;
        let range = at.offset as usize..at.offset as usize + at.len as usize;
        let plain = segment.bytes().get(range.clone()).ok_or_else(|| RepositoryError::MissingChunk { id: id.hex() })?;
        segment.check(at.offset, kind, *id, || {
            timed(Stage::Check, || check_chunk(&self.keys.writing, kind, *id, plain)).map_err(|source| {
                let pack = self.index.pack(self.index.segment(at.segment).pack as usize);
                damaged(&names::file(names::PACKS, pack.name), source)
            })
        })?;
        Ok(Chunk { segment, range })
    }

    fn segment_key(&self, info: &SegmentInfo) -> Key {
        Key { pack: self.index.pack(info.pack as usize).name, offset: info.offset }
    }

    fn segment(&self, number: u32) -> Result<Arc<Segment>> {
        let info = self.index.segment(number);
        let key = self.segment_key(&info);
        self.segments.get(key, info.raw_len as usize, || {
            let (stream, range) = self.stored_segment(&info)?;
            match info.codec() {
                // What was not compressed is there already.
                Codec::Stored if range.len() == info.raw_len as usize => Ok(Segment::inside(stream, range)),
                codec => timed(Stage::Unpack, || unpack_segment(codec, &stream[range], info.raw_len))
                    .map(Segment::new)
                    .map_err(|source| damaged(&names::file(names::PACKS, key.pack), source)),
            }
        })
    }

    /// A segment as it is stored, once each of its chunks, which these must be in their order, was compared with its name.
    pub(crate) fn sound_segment(&self, number: u32, kind: ChunkKind, chunks: &[(ChunkId, u32)]) -> Result<Vec<u8>> {
        let info = self.index.segment(number);
        let (mut stream, range) = self.stored_segment(&info)?;
        let check = || -> russet_format::Result<()> {
            let raw = unpack_segment(info.codec(), &stream[range.clone()], info.raw_len)?;
            let mut rest = &raw[..];
            for &(id, len) in chunks {
                let (plain, after) = rest.split_at_checked(len as usize).ok_or(FormatError::WrongChunk { id: id.hex() })?;
                check_chunk(&self.keys.writing, kind, id, plain)?;
                rest = after;
            }
            Ok(())
        };
        check().map_err(|source| damaged(&names::file(names::PACKS, self.index.pack(info.pack as usize).name), source))?;
        stream.truncate(range.end);
        stream.drain(..range.start);
        Ok(stream)
    }

    /// Opens just the frames that a segment touches, and says where in them it lies. Where they are damaged, the pack is made whole again in memory, if its parity suffices.
    fn stored_segment(&self, info: &SegmentInfo) -> Result<(Vec<u8>, Range<usize>)> {
        let pack = self.index.pack(info.pack as usize).name;
        let name = names::file(names::PACKS, pack);
        let read = self.open_frames(info, &name, &|range| Ok(timed(Stage::Fetch, || self.store.get(&name, range))?));
        let Err(error) = read else { return read };
        if !is_damage(&error) {
            return Err(error);
        }
        let Some(whole) = self.segments.healed.get(&*self.store, pack) else { return Err(error) };
        self.open_frames(info, &name, &|range| {
            let part = whole.get(range.start as usize..range.end as usize);
            part.map(<[u8]>::to_vec).ok_or_else(|| RepositoryError::Rotten { file: name.to_string() })
        })
    }

    fn open_frames(&self, info: &SegmentInfo, name: &Name, get: Get<'_>) -> Result<(Vec<u8>, Range<usize>)> {
        let handle = self.pack(info.pack, name, get)?;
        let (start, end) = (u64::from(info.offset), u64::from(info.offset) + u64::from(info.stored_len));
        if start == end {
            return Ok((Vec::new(), 0..0));
        }
        let (first, last) = (start / handle.frame_len, (end - 1) / handle.frame_len);
        let step = handle.frame_len + TAG as u64;
        let stored = get(handle.header_len + first * step..handle.header_len + (last + 1) * step)?;
        let stream = timed(Stage::Open, || handle.opener.open(first as u32, &stored)).map_err(|source| damaged(name, source))?;
        let base = first * handle.frame_len;
        Ok((stream, (start - base) as usize..(end - base) as usize))
    }

    fn pack(&self, number: u32, name: &Name, get: Get<'_>) -> Result<Arc<PackHandle>> {
        let packs = || self.packs.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(handle) = packs().get(&number) {
            return Ok(handle.clone());
        }
        let info = self.index.pack(number as usize);
        let bytes = get(0..info.header_len.into())?;
        let open = || -> russet_format::Result<PackHandle> {
            let header = Header::decode(Kind::Pack, self.keys.repository, &bytes)?;
            let (header_len, frame_len) = (header.len() as u64, header.frame_len() as u64);
            Ok(PackHandle { opener: header.open(&self.keys)?, header_len, frame_len })
        };
        let handle = Arc::new(open().map_err(|source| damaged(name, source))?);
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
        self.keys.can_read() || (self.chunk_ids(content, false, &mut |_, entry| all &= near(&entry.id)).is_ok() && all)
    }

    /// Reads a list of chunks.
    pub(crate) fn list(&self, id: &ChunkId) -> Result<Vec<Entry>> {
        Ok(decode_list(self.chunk(ChunkKind::Tree, id)?.bytes())?)
    }

    /// Reads the list of chunks that an entry stands for, which must cover its length.
    fn list_of(&self, entry: &Entry) -> Result<Vec<Entry>> {
        let entries = self.list(&entry.id)?;
        let len = entries.iter().map(|entry| entry.len).fold(0, u64::saturating_add);
        match len == entry.len && entry.from.is_none() {
            true => Ok(entries),
            false => Err(RepositoryError::Tree { why: format!("list {} covers another length than it should", entry.id) }),
        }
    }

    /// Reads the chunk of an entry, and no more of it than the entry takes.
    pub(crate) fn piece(&self, kind: ChunkKind, entry: &Entry) -> Result<Chunk> {
        let Chunk { segment, range } = self.chunk(kind, &entry.id)?;
        match entry.range_in(range.len()) {
            Some(inner) => Ok(Chunk { segment, range: range.start + inner.start..range.start + inner.end }),
            None => Err(RepositoryError::Tree { why: format!("chunk {} has another length than its list says", entry.id) }),
        }
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
        entries: &[Entry],
        depth: u8,
        nodes: &mut Vec<Node>,
        unreadable: &mut dyn FnMut(RepositoryError) -> Result<()>,
    ) -> Result<()> {
        for entry in entries {
            let part = Content { depth, entries: vec![*entry] };
            if depth > 0 {
                match self.list(&entry.id) {
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

    /// What a content begins with. What cannot be found is told to whoever reads it.
    pub fn first_entry(&self, content: &Content) -> Option<Entry> {
        let mut first = None;
        self.visit(content, &(0..1), &mut |_, entry| first = Some(*entry)).ok()?;
        first
    }

    /// A number that sorts contents as their first bytes lie in the packs. What has none, or is nowhere to be found, comes first.
    pub fn place(&self, content: &Content) -> u64 {
        let entry = self.first_entry(content);
        let at = entry.and_then(|entry| Some((self.index.find(&entry.id)?, entry.from.unwrap_or_default())));
        at.map_or(0, |(at, from)| u64::from(at.segment) << 32 | (u64::from(at.offset) + u64::from(from)))
    }

    /// Fills `out` with a file's content from an offset on. Less is filled only where the content ends.
    pub fn read_at(self: &Arc<Self>, content: &Content, offset: u64, out: &mut [u8]) -> Result<usize> {
        let range = offset..offset.saturating_add(out.len() as u64).min(content.size());
        let mut filled = 0;
        let mut last = None;
        self.visit_range(&content.entries, content.depth, 0, &range, &mut |start, entry| {
            let chunk = self.piece(ChunkKind::Data, entry)?;
            let bytes = &chunk.bytes()[range.start.saturating_sub(start) as usize..(range.end - start).min(entry.len) as usize];
            out[filled..filled + bytes.len()].copy_from_slice(bytes);
            filled += bytes.len();
            last = Some(entry.id);
            Ok(())
        })?;
        if let Some(last) = last {
            self.follow(self.locate(&last)?.segment);
        }
        Ok(filled)
    }

    /// Small files that are read one after the other were mostly stored one after the other, though segments of several kinds of content
    /// take turns in a pack: whoever comes a few segments further has those that come next unpacked.
    fn follow(self: &Arc<Self>, number: u32) {
        let mut recent = self.recent.lock().unwrap_or_else(|e| e.into_inner());
        if recent.contains(&number) {
            return;
        }
        let comes_along = recent.iter().any(|&before| before < number && number - before <= FOLLOWING);
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back(number);
        drop(recent);
        let following = (number + 1..=number + FOLLOWING).take_while(|&next| comes_along && next < self.index.segments());
        let pack = self.index.segment(number).pack;
        for next in following.filter(|&next| self.index.segment(next).pack == pack) {
            self.unpack_ahead(next, Vec::new());
        }
    }

    /// Has other cores unpack what [`Reader::read_at`] will want of this range, and says how far they will come: they may have
    /// enough to do already. What cannot be read is found out when it is wanted.
    pub fn read_ahead(self: &Arc<Self>, content: &Content, range: Range<u64>) -> u64 {
        let mut wanted: Vec<(u32, u64, Vec<ChunkId>)> = Vec::new();
        let looked = self.visit_range(&content.entries, content.depth, 0, &range, &mut |start, entry| {
            let (segment, end) = (self.locate(&entry.id)?.segment, start + entry.len);
            match wanted.last_mut() {
                Some(last) if last.0 == segment => (last.1, _) = (end, last.2.push(entry.id)),
                _ => wanted.push((segment, end, vec![entry.id])),
            }
            Ok(())
        });
        if looked.is_err() {
            return range.end;
        }
        let mut reached = range.start;
        for (segment, end, chunks) in wanted {
            if !self.unpack_ahead(segment, chunks) {
                break;
            }
            reached = end.max(reached);
        }
        reached
    }

    /// Has the thread pool unpack a segment, unless it is here, and check the chunks of it that will be wanted. False if the pool has
    /// enough to do.
    fn unpack_ahead(self: &Arc<Self>, segment: u32, chunks: Vec<ChunkId>) -> bool {
        if self.segments.has(self.segment_key(&self.index.segment(segment))) {
            return true;
        }
        if self.ahead.fetch_add(1, Ordering::Relaxed) >= MOST_AHEAD {
            self.ahead.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let reader = self.clone();
        rayon::spawn(move || {
            // An error here is one that whoever comes here gets himself.
            let segment = reader.segment(segment);
            segment
                .and_then(|_| chunks.iter().try_for_each(|id| reader.chunk(ChunkKind::Data, id).map(drop)))
                .unwrap_or_default();
            reader.ahead.fetch_sub(1, Ordering::Relaxed);
        });
        true
    }

    /// Visits the chunks of a file's content that touch a range, each with where in the content it begins. None of them is read.
    pub(crate) fn visit(&self, content: &Content, range: &Range<u64>, visit: &mut dyn FnMut(u64, &Entry)) -> Result<()> {
        self.visit_range(&content.entries, content.depth, 0, range, &mut |start, entry| {
            visit(start, entry);
            Ok(())
        })
    }

    /// As [`Reader::visit`], with a visitor that may fail.
    fn visit_range(
        &self,
        entries: &[Entry],
        depth: u8,
        mut start: u64,
        range: &Range<u64>,
        visit: &mut dyn FnMut(u64, &Entry) -> Result<()>,
    ) -> Result<()> {
        for entry in entries {
            let end = start.saturating_add(entry.len);
            if start >= range.end {
                break;
            }
            if end > range.start {
                match depth {
                    0 => visit(start, entry)?,
                    _ => self.visit_range(&self.list_of(entry)?, depth - 1, start, range, visit)?,
                }
            }
            start = end;
        }
        Ok(())
    }

    /// Names every chunk of a content without reading the chunks themselves; lists are named too.
    pub fn chunk_ids(&self, content: &Content, directory: bool, visit: &mut dyn FnMut(ChunkKind, Entry)) -> Result<()> {
        self.visit_ids(&content.entries, content.depth, leaf_kind(directory), visit)
    }

    fn visit_ids(&self, entries: &[Entry], depth: u8, leaf: ChunkKind, visit: &mut dyn FnMut(ChunkKind, Entry)) -> Result<()> {
        for entry in entries {
            visit(if depth == 0 { leaf } else { ChunkKind::Tree }, *entry);
            if depth > 0 {
                self.visit_ids(&self.list(&entry.id)?, depth - 1, leaf, visit)?;
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
    stack: Vec<(Vec<Entry>, usize)>,
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
            let Some(&entry) = list.get(*next) else {
                self.stack.pop();
                continue;
            };
            *next += 1;
            if level <= usize::from(self.root.depth) {
                self.stack.push((self.reader.list_of(&entry)?, 0));
                continue;
            }
            return Ok(Some(self.reader.piece(leaf_kind(self.directory), &entry)?));
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
            while list.get(*next).is_some_and(|entry| entry.len <= left) {
                left -= list[*next].len;
                *next += 1;
            }
            let Some(&entry) = list.get(*next) else { return Ok(()) };
            if level <= usize::from(self.root.depth) {
                *next += 1;
                self.stack.push((self.reader.list_of(&entry)?, 0));
                continue;
            }
            if left > 0 {
                self.current = self.next_chunk()?;
                self.used = left as usize;
            }
            return Ok(());
        }
    }

    /// Gives every piece in turn, without copying. What lies side by side in a segment is one piece.
    pub fn for_each(mut self, visit: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<()> {
        let mut piece: Option<Chunk> = None;
        while let Some(chunk) = self.next_chunk()? {
            match &mut piece {
                Some(piece) if Arc::ptr_eq(&piece.segment, &chunk.segment) && piece.range.end == chunk.range.start => {
                    piece.range.end = chunk.range.end;
                }
                _ => {
                    if let Some(whole) = piece.replace(chunk) {
                        visit(whole.bytes()).map_err(RepositoryError::Source)?;
                    }
                }
            }
        }
        piece.map_or(Ok(()), |piece| visit(piece.bytes()).map_err(RepositoryError::Source))
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
