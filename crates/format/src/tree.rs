//! Trees: names, attributes and contents of files (FORMAT.md, chapter 8).
//!
//! A name in a tree is data from a phone or a disk. It is checked here for what no folder can hold, and again when it is used.

use std::collections::{HashMap, HashSet};

use crate::id::{ChunkId, hex};
use crate::read::Reader;
use crate::write::Writer;
use crate::{FormatError, Result};

/// More entries than this go one level down.
pub const MOST_INLINE: usize = 16;
/// No list of chunks is deeper.
pub const DEEPEST_CONTENT: u8 = 8;
/// No directory is deeper.
pub const DEEPEST_DIRECTORY: usize = 512;
/// No name is longer, in bytes.
pub const LONGEST_NAME: usize = 4096;

/// Where the bytes of a file, or the nodes of a directory, are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// 0 if the entries are chunks of the content, else lists of entries of one less depth.
    pub depth: u8,
    /// In order.
    pub entries: Vec<Entry>,
}

/// Some of a content: a chunk, a part of one, or the list of those below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The chunk.
    pub id: ChunkId,
    /// How many bytes of content are in or below it.
    pub len: u64,
    /// Where in the chunk they begin, if they are only a part of it. Lists are never taken in parts.
    pub from: Option<u32>,
}

impl Entry {
    /// A whole chunk.
    pub fn whole(id: ChunkId, len: u64) -> Entry {
        Entry { id, len, from: None }
    }

    /// Where in a chunk of this length its bytes are, if the chunk has them.
    pub fn range_in(&self, chunk_len: usize) -> Option<std::ops::Range<usize>> {
        let len = usize::try_from(self.len).ok()?;
        match self.from {
            None => (len == chunk_len).then_some(0..len),
            Some(from) => {
                let from = from as usize;
                (len <= chunk_len.checked_sub(from)?).then_some(from..from + len)
            }
        }
    }
}

impl Content {
    /// Length of the content.
    pub fn size(&self) -> u64 {
        self.entries.iter().map(|entry| entry.len).fold(0, u64::saturating_add)
    }

    /// Puts the content.
    pub fn encode(&self, w: &mut Writer) {
        w.u8(self.depth);
        encode_entries(&self.entries, w);
    }

    /// Takes a content.
    pub fn decode(r: &mut Reader<'_>) -> Result<Content> {
        let depth = r.u8()?;
        if depth > DEEPEST_CONTENT {
            return Err(FormatError::invalid("list of chunks", "too deep"));
        }
        let entries = decode_entries(r)?;
        if depth > 0 && entries.iter().any(|entry| entry.from.is_some()) {
            return Err(FormatError::invalid("list of chunks", "a part of a list"));
        }
        Ok(Content { depth, entries })
    }
}

/// Of the number of entries: each is said as a chunk of a table, and where in it.
const IN_PARTS: u32 = 1 << 31;
/// For [`Entry::from`]: it is the whole chunk.
const WHOLE: u32 = u32::MAX;
/// No list is longer.
const MOST_ENTRIES: usize = 65_536;

/// Puts a list of entries.
pub fn encode_entries(entries: &[Entry], w: &mut Writer) {
    if entries.iter().all(|entry| entry.from.is_none()) {
        w.count(entries.len());
        for entry in entries {
            w.bytes(&entry.id.0).u64(entry.len);
        }
        return;
    }
    // Parts of one chunk follow each other closely, so each chunk is named once.
    let mut table: Vec<ChunkId> = Vec::new();
    let mut numbers = HashMap::new();
    let places: Vec<u16> = entries
        .iter()
        .map(|entry| {
            *numbers.entry(entry.id).or_insert_with(|| {
                table.push(entry.id);
                (table.len() - 1) as u16
            })
        })
        .collect();
    w.u32(entries.len() as u32 | IN_PARTS).count(table.len());
    for id in &table {
        w.bytes(&id.0);
    }
    // Column by column, which compresses better.
    for place in places {
        w.u16(place);
    }
    for entry in entries {
        w.u32(entry.from.unwrap_or(WHOLE));
    }
    for entry in entries {
        w.u32(u32::try_from(entry.len).expect("no chunk is longer than 4 MiB"));
    }
}

fn decode_entries(r: &mut Reader<'_>) -> Result<Vec<Entry>> {
    let bad = |why: &str| FormatError::invalid("list of chunks", why);
    let (count, in_parts) = match r.u32()? {
        count if count & IN_PARTS != 0 => ((count ^ IN_PARTS) as usize, true),
        count => (count as usize, false),
    };
    if count > MOST_ENTRIES {
        return Err(bad("too long"));
    }
    if !in_parts {
        let entries = r.bytes(40 * count)?.as_chunks::<40>().0.iter().map(|entry| {
            let (id, len) = (entry.first_chunk::<32>(), entry.last_chunk::<8>());
            Entry::whole(ChunkId(*id.expect("40 bytes")), u64::from_le_bytes(*len.expect("40 bytes")))
        });
        return Ok(entries.collect());
    }
    let chunks = r.count(32)?;
    let table = r.bytes(32 * chunks)?.as_chunks::<32>().0;
    let places = r.bytes(2 * count)?.as_chunks::<2>().0;
    let froms = r.bytes(4 * count)?.as_chunks::<4>().0;
    let lens = r.bytes(4 * count)?.as_chunks::<4>().0;
    let mut used = 0;
    let mut entries = Vec::with_capacity(count);
    for ((place, from), len) in places.iter().zip(froms).zip(lens) {
        let place = usize::from(u16::from_le_bytes(*place));
        // There is one way to write a list: chunks are numbered as they are first used.
        if place > used || place >= chunks {
            return Err(bad("chunks out of order"));
        }
        used = used.max(place + 1);
        let from = Some(u32::from_le_bytes(*from)).filter(|&from| from != WHOLE);
        entries.push(Entry { id: ChunkId(table[place]), len: u32::from_le_bytes(*len).into(), from });
    }
    let distinct = table.iter().collect::<HashSet<_>>().len() == chunks;
    if used != chunks || !distinct || entries.iter().all(|entry| entry.from.is_none()) {
        return Err(bad("not written as it should be"));
    }
    Ok(entries)
}

/// Reads a chunk that is a list of entries.
pub fn decode_list(chunk: &[u8]) -> Result<Vec<Entry>> {
    let mut r = Reader::new("list of chunks", chunk);
    let entries = decode_entries(&mut r)?;
    r.finish()?;
    Ok(entries)
}

/// The type of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A file and its bytes.
    File(Content),
    /// A directory and its nodes.
    Directory(Content),
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// Something that is kept by name only.
    Other,
}

/// The layer that Apple put around a file's bytes.
#[derive(Clone, PartialEq, Eq)]
pub enum Layer {
    /// Taken off: the content is plaintext, and this is what puts the layer back bit for bit.
    Peeled {
        /// The file's AES-256 key.
        key: [u8; 32],
        /// BLAKE3 of the stored ciphertext.
        ciphertext: [u8; 32],
    },
    /// Left on, because it would not come back bit for bit; the key opens what can be opened.
    Locked {
        /// The file's AES-256 key.
        key: [u8; 32],
    },
}

impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Layer::Peeled { ciphertext, .. } => write!(f, "Peeled({}…)", &hex(ciphertext)[..8]),
            Layer::Locked { .. } => f.write_str("Locked(..)"),
        }
    }
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The name's bytes.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: NodeKind,
    /// `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modified: Unix seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Apple's layer, if there was one.
    pub layer: Option<Layer>,
    /// Fingerprint of the phone's record of this file.
    pub record: Option<[u8; 16]>,
    /// Files of one group are one file.
    pub hard_link: Option<u64>,
    /// Extended attributes, names ascending.
    pub xattrs: Vec<(String, Vec<u8>)>,
    /// Long runs of zeros are holes.
    pub sparse: bool,
    /// Files and bytes below a directory.
    pub totals: Option<(u64, u64)>,
    /// Length that a file had in the source, which was left out because somebody wanted that. Its type is [`NodeKind::Other`].
    pub left_out: Option<u64>,
}

impl Node {
    /// A node with a name, a type and nothing else.
    pub fn new(name: impl Into<Vec<u8>>, kind: NodeKind) -> Node {
        Node {
            name: name.into(),
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            layer: None,
            record: None,
            hard_link: None,
            xattrs: Vec::new(),
            sparse: false,
            totals: None,
            left_out: None,
        }
    }

    /// Length of a file's content (plaintext, where a layer was peeled), 0 for anything else.
    pub fn size(&self) -> u64 {
        match &self.kind {
            NodeKind::File(content) => content.size(),
            _ => 0,
        }
    }

    /// Puts the node. Its name must be one that [`check_name`] allows.
    pub fn encode(&self, w: &mut Writer) {
        w.u16(u16::try_from(self.name.len()).expect("names are checked to be at most 4,096 bytes")).bytes(&self.name);
        let (number, content) = match &self.kind {
            NodeKind::File(content) => (1, Some(content)),
            NodeKind::Directory(content) => (2, Some(content)),
            NodeKind::Symlink(_) => (3, None),
            NodeKind::Other => (4, None),
        };
        w.u8(number).u32(self.mode).u32(self.uid).u32(self.gid).i64(self.mtime.0).u32(self.mtime.1);
        match content {
            Some(content) => content.encode(w),
            None => Content::default().encode(w),
        }
        let extras = self.extras();
        w.u8(extras.len() as u8);
        for (tag, bytes) in extras {
            w.u8(tag).blob(&bytes);
        }
    }

    fn extras(&self) -> Vec<(u8, Vec<u8>)> {
        let mut extras = Vec::new();
        match &self.layer {
            Some(Layer::Peeled { key, ciphertext }) => extras.push((1, [*key, *ciphertext].concat())),
            Some(Layer::Locked { key }) => extras.push((2, key.to_vec())),
            None => {}
        }
        if let Some(record) = self.record {
            extras.push((3, record.to_vec()));
        }
        if let NodeKind::Symlink(target) = &self.kind {
            extras.push((4, target.clone()));
        }
        if let Some(group) = self.hard_link {
            extras.push((5, group.to_le_bytes().to_vec()));
        }
        if !self.xattrs.is_empty() {
            let mut w = Writer::new();
            w.u16(self.xattrs.len() as u16);
            for (name, value) in &self.xattrs {
                w.text(name).blob(value);
            }
            extras.push((6, w.finish()));
        }
        if self.sparse {
            extras.push((7, Vec::new()));
        }
        if let Some((files, bytes)) = self.totals {
            extras.push((8, Writer::new().u64(files).u64(bytes).finish()));
        }
        if let Some(len) = self.left_out {
            extras.push((128, len.to_le_bytes().to_vec()));
        }
        extras
    }

    /// Takes a node.
    pub fn decode(r: &mut Reader<'_>) -> Result<Node> {
        let name_len = r.u16()?;
        let name = r.bytes(name_len.into())?.to_vec();
        check_name(&name)?;
        let number = r.u8()?;
        let (mode, uid, gid, mtime) = (r.u32()?, r.u32()?, r.u32()?, (r.i64()?, r.u32()?));
        let content = Content::decode(r)?;
        let kind = match number {
            1 => NodeKind::File(content),
            2 => NodeKind::Directory(content),
            3 => NodeKind::Symlink(Vec::new()),
            4 => NodeKind::Other,
            other => return Err(FormatError::invalid("type of a node", other.to_string())),
        };
        let mut node = Node { mode, uid, gid, mtime, ..Node::new(name, kind) };
        let mut last = 0;
        for _ in 0..r.u8()? {
            let tag = r.u8()?;
            if tag <= last {
                return Err(FormatError::invalid("extra of a node", "repeated or out of order"));
            }
            last = tag;
            node.decode_extra(tag, r.blob()?)?;
        }
        Ok(node)
    }

    fn decode_extra(&mut self, tag: u8, bytes: &[u8]) -> Result<()> {
        let mut r = Reader::new("extra of a node", bytes);
        match tag {
            1 => self.layer = Some(Layer::Peeled { key: r.array()?, ciphertext: r.array()? }),
            2 => self.layer = Some(Layer::Locked { key: r.array()? }),
            3 => self.record = Some(r.array()?),
            4 => match &mut self.kind {
                NodeKind::Symlink(target) => *target = r.bytes(r.left())?.to_vec(),
                _ => return Err(FormatError::invalid("extra of a node", "a target on something that is no link")),
            },
            5 => self.hard_link = Some(r.u64()?),
            6 => {
                for _ in 0..r.u16()? {
                    self.xattrs.push((r.text()?.to_owned(), r.blob()?.to_vec()));
                }
            }
            7 => self.sparse = true,
            8 => self.totals = Some((r.u64()?, r.u64()?)),
            128 => self.left_out = Some(r.u64()?),
            129.. => return Ok(()),
            other => return Err(FormatError::invalid("extra of a node", format!("tag {other} is not known to this russet"))),
        }
        r.finish()
    }
}

/// Refuses names that no directory can hold.
pub fn check_name(name: &[u8]) -> Result<()> {
    let bad = name.is_empty()
        || name.len() > LONGEST_NAME
        || name == b"."
        || name == b".."
        || name.iter().any(|&b| b == b'/' || b == 0);
    match bad {
        true => {
            Err(FormatError::invalid("name of a node", format!("{:?}", String::from_utf8_lossy(&name[..name.len().min(80)]))))
        }
        false => Ok(()),
    }
}

/// Reads a chunk of whole nodes; `after` is the last name before it. Names must ascend.
pub fn decode_nodes(chunk: &[u8], mut after: Option<Vec<u8>>) -> Result<Vec<Node>> {
    let mut r = Reader::new("directory", chunk);
    let mut nodes = Vec::new();
    while r.left() > 0 {
        let node = Node::decode(&mut r)?;
        if after.as_ref().is_some_and(|after| *after >= node.name) {
            return Err(FormatError::invalid("directory", "its names are repeated or out of order"));
        }
        after = Some(node.name.clone());
        nodes.push(node);
    }
    Ok(nodes)
}

/// Whether a list of entries is cut after this one.
pub fn cuts_list(id: &ChunkId, entries: usize) -> bool {
    entries >= 512 || (entries >= 16 && id.0[31] < 2)
}

/// Whether a stream of nodes is cut after this name.
pub fn cuts_nodes(name: &[u8], nodes: usize) -> bool {
    nodes >= 256 || (nodes >= 4 && blake3::hash(name).as_bytes()[0] < 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Node {
        let content = Content { depth: 0, entries: vec![Entry::whole(ChunkId([8; 32]), 77)] };
        Node {
            mode: 0o100644,
            uid: 501,
            gid: u32::MAX - 1,
            mtime: (-5, 999),
            layer: Some(Layer::Peeled { key: [1; 32], ciphertext: [2; 32] }),
            record: Some([3; 16]),
            hard_link: Some(4),
            xattrs: vec![("com.apple.quarantine".into(), vec![5; 9])],
            sparse: true,
            totals: None,
            ..Node::new(name, NodeKind::File(content))
        }
    }

    fn encoded(nodes: &[Node]) -> Vec<u8> {
        let mut w = Writer::new();
        nodes.iter().for_each(|node| node.encode(&mut w));
        w.finish()
    }

    #[test]
    fn nodes_round_trip() {
        let mut dir = Node::new("b", NodeKind::Directory(Content::default()));
        dir.totals = Some((3, 9));
        let left_out = Node { left_out: Some(77), ..Node::new("e", NodeKind::Other) };
        let link = Node::new("c", NodeKind::Symlink(b"../x".to_vec()));
        let nodes = vec![node("a"), dir, link, Node::new("d", NodeKind::Other), left_out];
        assert_eq!(decode_nodes(&encoded(&nodes), None), Ok(nodes));
    }

    #[test]
    fn lists_round_trip_in_whole_chunks_and_in_parts() {
        let (a, b) = (ChunkId([1; 32]), ChunkId([2; 32]));
        let part = |id, from, len| Entry { id, len, from: Some(from) };
        let lists = [
            vec![],
            vec![Entry::whole(a, 1 << 40), Entry::whole(b, 7)],
            vec![part(b, 4096, 4096), Entry::whole(a, 65_536), part(b, 0, 4096), part(b, 8192, 0)],
        ];
        for list in lists {
            let mut w = Writer::new();
            encode_entries(&list, &mut w);
            let bytes = w.finish();
            assert_eq!(decode_list(&bytes), Ok(list));
            for at in 0..bytes.len() {
                assert!(decode_list(&bytes[..at]).is_err(), "cut at {at}");
            }
        }
        let deep = Content { depth: 1, entries: vec![part(a, 0, 1)] };
        let mut w = Writer::new();
        deep.encode(&mut w);
        assert!(Content::decode(&mut Reader::new("content", &w.finish())).is_err());
    }

    #[test]
    fn a_part_lies_within_its_chunk_or_nowhere() {
        let entry = |from, len| Entry { id: ChunkId([1; 32]), len, from };
        assert_eq!(entry(None, 10).range_in(10), Some(0..10));
        assert_eq!(entry(None, 9).range_in(10), None);
        assert_eq!(entry(Some(4), 6).range_in(10), Some(4..10));
        for (from, len) in [(4, 7), (11, 0), (u32::MAX - 1, u64::MAX)] {
            assert_eq!(entry(Some(from), len).range_in(10), None);
        }
    }

    #[test]
    fn names_that_repeat_or_descend_are_refused() {
        assert!(decode_nodes(&encoded(&[node("b"), node("a")]), None).is_err());
        assert!(decode_nodes(&encoded(&[node("a"), node("a")]), None).is_err());
        assert!(decode_nodes(&encoded(&[node("b")]), Some(b"b".to_vec())).is_err());
    }

    #[test]
    fn names_that_would_leave_a_folder_are_refused() {
        for name in ["", ".", "..", "a/b", "/", "a\0b"] {
            assert!(decode_nodes(&encoded(&[node(name)]), None).is_err(), "{name:?}");
        }
    }

    #[test]
    fn an_unknown_extra_is_skipped_if_it_may_be_and_refused_if_not() {
        let with_tag = |tag| {
            let mut bytes = encoded(&[Node::new("a", NodeKind::Other)]);
            *bytes.last_mut().unwrap() = 1;
            bytes.extend_from_slice(Writer::new().u8(tag).blob(b"new").finish().as_slice());
            decode_nodes(&bytes, None)
        };
        assert!(with_tag(200).is_ok());
        assert!(with_tag(100).is_err());
    }

    #[test]
    fn debug_does_not_print_a_files_key() {
        let text = format!("{:?}", node("a"));
        assert!(!text.contains("1, 1, 1"), "{text}");
    }
}
