//! What is in a snapshot, as a person names it.
//!
//! Of an Apple backup the manifest in it says what each file is: `AppDomain-…/Documents/…`. Of any other folder, and where nobody knows the
//! phone's password, it is the tree as it was stored.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use rayon::prelude::*;
use russet_apple_format::cipher_stream::DecryptReader;
use russet_apple_format::database::Database;
use russet_apple_format::domain::Domain;
use russet_apple_format::mbdb::Mbdb;
use russet_apple_format::row::{file_id_text, parse_file_id};
use russet_apple_format::{FileKey, ManifestIndex, MbFile, Row, RowKind};
use russet_repository::format::snapshot::{Snapshot, Source};
use russet_repository::format::tree::{Layer, Node, NodeKind};
use russet_repository::{Found, Reader, find, walk_on};

use crate::content::ReadAhead;
use crate::{File, Result, VfsError, content};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Something that is kept by name only.
    Other,
}

/// One thing in a snapshot.
#[derive(Debug, Clone)]
pub struct Item {
    /// The domain of an Apple backup; empty in any other.
    pub domain: Arc<str>,
    /// The path in it, joined by `/`; bytes, because a folder's names need not be text.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Length of its plaintext.
    pub size: u64,
    /// Length that the phone claims.
    pub claimed: Option<u64>,
    /// `st_mode`.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Modified: Unix seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Target of a symbolic link.
    pub target: Vec<u8>,
    /// Extended attributes.
    pub xattrs: Vec<(String, Vec<u8>)>,
    /// The node that holds its content; none if the backup lacked it.
    pub node: Option<Box<Node>>,
}

impl Item {
    /// Domain and path, for people and for patterns.
    pub fn shown(&self) -> String {
        shown(&self.domain, &self.path)
    }
}

/// Domain and path, for people.
pub(crate) fn shown(domain: &str, path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    match (domain, &*path) {
        ("", path) => path.to_owned(),
        (domain, "") => domain.to_owned(),
        (domain, path) => format!("{domain}/{path}"),
    }
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What people call it, if they call it something else.
    pub label: Option<String>,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of the file, or of all files below the folder.
    pub size: u64,
    /// Files below the folder.
    pub files: u64,
    /// Modified, Unix seconds.
    pub modified: Option<i64>,
    /// `st_mode`; 0 if nobody knows it.
    pub mode: u32,
    /// The manifest names it, and the backup lacked it.
    pub missing: bool,
}

/// A file that was left out of a backup because somebody wanted that. It is not among the items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its domain.
    pub domain: Arc<str>,
    /// Its path in it.
    pub path: Vec<u8>,
    /// The length that the phone claims.
    pub bytes: u64,
}

/// How much one app or domain takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The domain.
    pub name: String,
    /// What people call it.
    pub label: String,
    /// Number of files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// What is in a snapshot.
#[derive(Debug)]
pub struct View {
    pub(crate) reader: Arc<Reader>,
    pub(crate) snapshot: Snapshot,
    items: Vec<Item>,
    left_out: Vec<LeftOut>,
    unlocked_apple: bool,
    unreadable: Vec<(String, String)>,
}

impl View {
    /// Opens a snapshot as a person names what is in it.
    pub fn open(reader: Arc<Reader>, snapshot: &Snapshot) -> Result<View> {
        let locked = snapshot.facts.get("apple.locked").is_some_and(|locked| locked == "yes");
        if snapshot.source == Source::AppleBackup && !locked {
            let mut unreadable = Vec::new();
            let (items, left_out) = apple_items(&reader, snapshot, &mut unreadable)?;
            return Ok(View { reader, snapshot: snapshot.clone(), items, left_out, unlocked_apple: true, unreadable });
        }
        View::open_raw(reader, snapshot)
    }

    /// Opens a snapshot as it was stored.
    pub fn open_raw(reader: Arc<Reader>, snapshot: &Snapshot) -> Result<View> {
        let mut items = Vec::new();
        let no_domain: Arc<str> = "".into();
        let mut unreadable = Vec::new();
        let mut visit = |found: Found<'_>| {
            items.push(raw_item(no_domain.clone(), found.path, found.node));
            Ok(true)
        };
        walk_on(&reader, &snapshot.root, &mut visit, &mut |path, error| {
            unreadable.push((String::from_utf8_lossy(path).into_owned(), error.to_string()));
        })?;
        let left_out = Vec::new();
        Ok(View { reader, snapshot: snapshot.clone(), items, left_out, unlocked_apple: false, unreadable })
    }

    /// What the files of a snapshot's tree are called by the manifest in it: domain and path, by the path in the tree.
    pub fn names(reader: &Arc<Reader>, snapshot: &Snapshot) -> Result<HashMap<Vec<u8>, (String, String)>> {
        let manifest = manifest(reader, snapshot)?;
        let rows = manifest.rows().map_err(|source| VfsError::Apple { file: "Manifest.db", source })?;
        let mut names = HashMap::new();
        for row in rows.flatten() {
            let id = file_id_text(&row.file_id).into_bytes();
            names.insert([&id[..2], b"/", &id[..]].concat(), (row.domain.clone(), row.path.clone()));
            names.insert(id, (row.domain, row.path));
        }
        Ok(names)
    }

    /// Everything, in the order of domain and path.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// What was left out on purpose.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Whether the items are those of an Apple backup, by domain.
    pub fn has_domains(&self) -> bool {
        self.unlocked_apple
    }

    /// Folders of the stored tree that are damaged, and why; what was in them is not among the items, or without content.
    pub fn unreadable(&self) -> &[(String, String)] {
        &self.unreadable
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// A file's plaintext.
    pub fn read(&self, item: &Item) -> Result<Box<dyn Read + '_>> {
        match &item.node {
            Some(node) => Ok(content::plain(&self.reader, node, item.claimed)?.0),
            None => Err(VfsError::NoPath { path: item.shown() }),
        }
    }

    /// Gives a file's plaintext out, piece by piece.
    pub(crate) fn give(&self, item: &Item, put: &mut content::Put<'_>) -> io::Result<()> {
        match &item.node {
            Some(node) => content::give_plain(&self.reader, node, item.claimed, put),
            None => Err(io::Error::other(VfsError::NoPath { path: item.shown() })),
        }
    }

    /// Opens a file for whoever reads here and there in it.
    pub fn open_file(&self, item: &Item) -> Result<File> {
        match &item.node {
            Some(node) => File::plain(self.reader.clone(), node, item.claimed),
            None => Err(VfsError::NoPath { path: item.shown() }),
        }
    }

    /// Opens a file as the phone stored it, of a view of the snapshot as it was stored.
    pub fn open_stored(&self, item: &Item) -> Result<File> {
        match &item.node {
            Some(node) => Ok(File::stored(self.reader.clone(), node)),
            None => Err(VfsError::NoPath { path: item.shown() }),
        }
    }

    /// Finds one file.
    pub fn item(&self, domain: &str, path: &str) -> Option<&Item> {
        let is_it = |item: &&Item| &*item.domain == domain && item.path == path.as_bytes();
        if !self.unlocked_apple {
            return self.items.iter().find(is_it);
        }
        let at = self.items.partition_point(|item| (&*item.domain, &*item.path) < (domain, path.as_bytes()));
        self.items.get(at).filter(is_it)
    }

    /// Finds what is at a path as `ls` shows it: domain and path, or the path of a folder's file.
    pub fn at(&self, path: &str) -> Option<&Item> {
        let wanted = path.trim_matches('/');
        self.items.iter().find(|item| match (&*item.domain, wanted.strip_prefix(&*item.domain)) {
            (_, None) => false,
            ("", Some(whole)) => whole.as_bytes() == item.path,
            (_, Some("")) => item.path.is_empty(),
            (_, Some(rest)) => rest.strip_prefix('/').is_some_and(|path| path.as_bytes() == item.path),
        })
    }

    /// Lists one folder; an empty path is the top.
    pub fn list(&self, path: &str) -> Result<Vec<Entry>> {
        let wanted = path.trim_matches('/').as_bytes();
        let mut entries: BTreeMap<Vec<u8>, Entry> = BTreeMap::new();
        let mut found = wanted.is_empty();
        for item in &self.items {
            let mut whole = item.domain.as_bytes().to_vec();
            if !whole.is_empty() && !item.path.is_empty() {
                whole.push(b'/');
            }
            whole.extend_from_slice(&item.path);
            let rest = match whole.strip_prefix(wanted) {
                Some(rest) if wanted.is_empty() => rest,
                Some([b'/', rest @ ..]) => rest,
                Some([]) if item.kind != EntryKind::Directory => {
                    return Ok(vec![item.entry(whole.rsplit(|&b| b == b'/').next().unwrap_or_default())]);
                }
                Some([]) => {
                    found = true;
                    continue;
                }
                _ => continue,
            };
            found = true;
            let (name, below) = match rest.iter().position(|&b| b == b'/') {
                Some(at) => (&rest[..at], true),
                None => (rest, false),
            };
            let own = !below;
            let entry = entries.entry(name.to_vec()).or_insert_with(|| match own {
                true => Entry { size: 0, files: 0, ..item.entry(name) },
                false => Entry::folder(name),
            });
            if own && item.kind == EntryKind::Directory {
                (entry.modified, entry.mode) = (Some(item.mtime.0), item.mode);
            }
            if item.kind == EntryKind::File {
                entry.size += item.size;
                entry.files += 1;
            }
            if wanted.is_empty() && self.unlocked_apple && entry.label.is_none() {
                let label = Domain::parse(&item.domain).label().to_owned();
                entry.label = Some(label).filter(|label| *label != entry.name);
            }
        }
        match found {
            true => Ok(entries.into_values().collect()),
            false => Err(VfsError::NoPath { path: path.into() }),
        }
    }

    /// Lists everything at and below a path, each by its whole path; an empty path is the top. Folders have no sums.
    pub fn below(&self, path: &str) -> Result<Vec<Entry>> {
        let wanted = path.trim_matches('/');
        let is_below = |whole: &str| {
            wanted.is_empty() || whole.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let whole = self.items.iter().map(|item| (item, item.shown()));
        let entries: Vec<Entry> =
            whole.filter(|(_, whole)| is_below(whole)).map(|(item, whole)| item.whole_entry(whole)).collect();
        match entries.is_empty() && !wanted.is_empty() {
            true => Err(VfsError::NoPath { path: path.into() }),
            false => Ok(entries),
        }
    }

    /// Apps and domains (or the folders at the top) from most to least.
    pub fn usage(&self) -> Vec<Usage> {
        let mut sums: HashMap<String, (u64, u64)> = HashMap::new();
        for item in self.items.iter().filter(|item| item.kind == EntryKind::File) {
            let name = match self.unlocked_apple {
                true => item.domain.to_string(),
                false => String::from_utf8_lossy(item.path.split(|&b| b == b'/').next().unwrap_or_default()).into_owned(),
            };
            let sum = sums.entry(name).or_default();
            *sum = (sum.0 + 1, sum.1 + item.size);
        }
        let label = |name: &str| if self.unlocked_apple { Domain::parse(name).label().to_owned() } else { name.to_owned() };
        let mut usage: Vec<Usage> =
            sums.into_iter().map(|(name, (files, bytes))| Usage { label: label(&name), name, files, bytes }).collect();
        usage.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        usage
    }
}

impl Entry {
    fn folder(name: &[u8]) -> Entry {
        let name = String::from_utf8_lossy(name).into_owned();
        Entry { name, label: None, kind: EntryKind::Directory, size: 0, files: 0, modified: None, mode: 0, missing: false }
    }
}

impl Item {
    fn whole_entry(&self, name: String) -> Entry {
        let size = if self.kind == EntryKind::File { self.size } else { 0 };
        Entry { name, size, ..self.entry(b"") }
    }

    fn entry(&self, name: &[u8]) -> Entry {
        Entry {
            name: String::from_utf8_lossy(name).into_owned(),
            label: None,
            kind: self.kind,
            size: self.size,
            files: u64::from(self.kind == EntryKind::File),
            modified: Some(self.mtime.0),
            mode: self.mode,
            missing: self.kind == EntryKind::File && self.node.is_none(),
        }
    }
}

fn raw_item(domain: Arc<str>, path: &[u8], node: &Node) -> Item {
    let (kind, target) = match &node.kind {
        NodeKind::File(_) => (EntryKind::File, Vec::new()),
        NodeKind::Directory(_) => (EntryKind::Directory, Vec::new()),
        NodeKind::Symlink(target) => (EntryKind::Symlink, target.clone()),
        NodeKind::Other => (EntryKind::Other, Vec::new()),
    };
    Item {
        domain,
        path: path.to_vec(),
        kind,
        size: node.size(),
        claimed: None,
        mode: node.mode,
        owner: (node.uid, node.gid),
        mtime: node.mtime,
        target,
        xattrs: node.xattrs.clone(),
        node: Some(Box::new(node.clone())),
    }
}

/// No Manifest.mbdb is larger.
const LARGEST_MBDB: u64 = 1 << 30;

/// Opens the manifest that lies in a snapshot.
pub(crate) fn manifest(reader: &Arc<Reader>, snapshot: &Snapshot) -> Result<ManifestIndex> {
    let apple = |file| move |source| VfsError::Apple { file, source };
    if let Some(node) = find(reader, &snapshot.root, b"Manifest.db")? {
        let NodeKind::File(inner) = &node.kind else { return Err(VfsError::NotApple) };
        let key = match &node.layer {
            Some(Layer::Locked { key }) => Some(FileKey::from_bytes(*key)),
            _ => None,
        };
        let bytes = DecryptReader::new(ReadAhead::new(reader, inner), key.as_ref());
        let len = inner.size() - inner.size() % 16;
        return Database::read(bytes, len).map(ManifestIndex::Database).map_err(apple("Manifest.db"));
    }
    let node = find(reader, &snapshot.root, b"Manifest.mbdb")?.ok_or(VfsError::NotApple)?;
    let mut bytes = Vec::new();
    content::plain(reader, &node, None)?
        .0
        .take(LARGEST_MBDB + 1)
        .read_to_end(&mut bytes)
        .map_err(russet_repository::RepositoryError::Source)?;
    Mbdb::parse(&bytes).map(ManifestIndex::Mbdb).map_err(apple("Manifest.mbdb"))
}

/// Whether a node stands for the contents of a file, be it that they were left out.
fn is_content(node: &Node) -> bool {
    matches!(node.kind, NodeKind::File(_)) || node.left_out.is_some()
}

/// The nodes of files' contents, by the id that the manifest calls them by, and the path each has in the snapshot.
fn contents(reader: &Reader, snapshot: &Snapshot, unreadable: &mut Vec<(String, String)>) -> Result<HashMap<[u8; 20], Node>> {
    let mut contents = HashMap::new();
    let mut flat = Vec::new();
    for node in reader.nodes(&snapshot.root)? {
        match &node.kind {
            NodeKind::Directory(inner) => {
                let inner = match reader.nodes(inner) {
                    Ok(inner) => inner,
                    Err(error) => {
                        unreadable.push((String::from_utf8_lossy(&node.name).into_owned(), error.to_string()));
                        continue;
                    }
                };
                for inner_node in inner {
                    if let (Some(id), true) = (parse_file_id(&inner_node.name), is_content(&inner_node))
                        && node.name == inner_node.name[..2]
                    {
                        contents.insert(id, inner_node);
                    }
                }
            }
            _ if is_content(&node) => flat.extend(parse_file_id(&node.name).map(|id| (id, node))),
            _ => {}
        }
    }
    for (id, node) in flat {
        contents.entry(id).or_insert(node);
    }
    Ok(contents)
}

/// Rows of a manifest that are looked at together.
const ROWS_AT_ONCE: usize = 4_096;
/// Batches of rows that wait to be looked at.
const BATCHES_AHEAD: usize = 2;

/// Rows of a manifest, and whether it is a Manifest.mbdb.
type Batch = (Vec<Row>, bool);

/// Gives the rows of a snapshot's manifest out, a batch at a time: the records of a million rows would take as much memory as the manifest
/// itself. Ends early if nobody takes them.
fn give_rows(reader: &Arc<Reader>, snapshot: &Snapshot, batches: &SyncSender<Batch>) -> Result<()> {
    let manifest = manifest(reader, snapshot)?;
    let is_mbdb = matches!(manifest, ManifestIndex::Mbdb(_));
    let rows = manifest.rows().map_err(|source| VfsError::Apple { file: "Manifest.db", source })?;
    // Bad rows were named when the backup was brought in.
    let mut rows = rows.flatten();
    loop {
        let batch: Vec<Row> = rows.by_ref().take(ROWS_AT_ONCE).collect();
        if batch.is_empty() || batches.send((batch, is_mbdb)).is_err() {
            return Ok(());
        }
    }
}

fn apple_items(
    reader: &Arc<Reader>,
    snapshot: &Snapshot,
    unreadable: &mut Vec<(String, String)>,
) -> Result<(Vec<Item>, Vec<LeftOut>)> {
    std::thread::scope(|scope| {
        let (sender, batches) = sync_channel(BATCHES_AHEAD);
        let giving = scope.spawn(move || give_rows(reader, snapshot, &sender));
        let mut contents = contents(reader, snapshot, unreadable)?;
        let mut domain: Arc<str> = "".into();
        let mut left_out = Vec::new();
        let mut items = Vec::with_capacity(contents.len());
        for (batch, is_mbdb) in batches {
            let records: Vec<MbFile> = batch
                .par_iter()
                .map(|row| match is_mbdb {
                    true => russet_apple_format::mbdb::parse_record(&row.blob).map(|(_, file)| file).unwrap_or_default(),
                    false => MbFile::parse(&row.blob).unwrap_or_default(),
                })
                .collect();
            for (row, record) in batch.into_iter().zip(records) {
                if *domain != *row.domain {
                    domain = row.domain.as_str().into();
                }
                if contents.get(&row.file_id).is_some_and(|node| node.left_out.is_some()) {
                    left_out.push(LeftOut { domain: domain.clone(), path: row.path.into_bytes(), bytes: record.size });
                    continue;
                }
                items.extend(apple_item(reader, &mut contents, domain.clone(), row, record));
            }
        }
        giving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((items, left_out))
    })
}

/// What a row stands for; nothing if it is one that a phone had not finished with, and there is no content for it.
fn apple_item(
    reader: &Reader,
    contents: &mut HashMap<[u8; 20], Node>,
    domain: Arc<str>,
    row: Row,
    record: MbFile,
) -> Option<Item> {
    let kind = match row.kind() {
        RowKind::File => EntryKind::File,
        RowKind::Directory => EntryKind::Directory,
        RowKind::Symlink => EntryKind::Symlink,
        // A row that another tool wrote: a file if there is a content.
        RowKind::Other(_) if contents.contains_key(&row.file_id) => EntryKind::File,
        RowKind::Other(_) => return None,
    };
    let node = if kind == EntryKind::File { contents.remove(&row.file_id) } else { None };
    let size = match &node {
        // What cannot be read now is found out when it is wanted.
        Some(node @ Node { layer: Some(Layer::Locked { .. }), .. }) => {
            content::plain(reader, node, Some(record.size)).map_or(node.size(), |(_, len)| len)
        }
        Some(node) => node.size(),
        None => 0,
    };
    Some(Item {
        domain,
        path: row.path.into_bytes(),
        kind,
        size,
        claimed: (kind == EntryKind::File).then_some(record.size),
        mode: record.mode,
        owner: (record.user_id as u32, record.group_id as u32),
        mtime: (record.modified, 0),
        target: record.target.unwrap_or_default().into_bytes(),
        xattrs: record.extended_attributes,
        node: node.map(Box::new),
    })
}
