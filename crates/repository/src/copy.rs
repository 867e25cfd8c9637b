//! Copying snapshots into another repository: each chunk is read once, in the order of the packs, checked, and stored under the other
//! repository's keys. Contents keep the bounds of their chunks, so nothing is cut again.
//!
//! Two repositories name the same chunk differently. What each is called there is kept in a table, about 100 bytes for each chunk of the
//! chosen snapshots; most of it is learnt from snapshots that were copied before, without reading their contents.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use rayon::prelude::*;
use russet_format::id::{ChunkId, FileName};
use russet_format::pack::ChunkKind;
use russet_format::snapshot::{MOST_PROBLEMS, Problem, ProblemKind, Severity, Snapshot};
use russet_format::tree::{Content, DEEPEST_DIRECTORY, Entry, Node, NodeKind};
use russet_format::write::Writer;

use crate::check::Touched;
use crate::draft::{Draft, Saved};
use crate::index::Index;
use crate::progress::{Phase, Progress};
use crate::reader::Reader;
use crate::repo::{Repository, SnapshotEntry, put_snapshot};
use crate::rewrite::REWRITTEN_FROM;
use crate::{RepositoryError, Result};

/// The fact that names the repository and the snapshot that a copy was made of first: `id/name`, both in hex.
pub const COPIED_FROM: &str = "copied.from";
/// The fact that a copy lacks files because they could not be read; its value is how many. Such a copy is tried again.
pub const COPIED_LOST: &str = "copied.lost";

/// After so many new bytes the snapshots so far are made durable.
const BATCH: u64 = 1 << 30;

/// What was copied.
#[derive(Debug, Default)]
pub struct Copied {
    /// Snapshots that were made: the name of the one, and its copy.
    pub made: Vec<(FileName, Saved)>,
    /// How many had been copied before.
    pub there: u64,
    /// Bytes of chunks that were read.
    pub read_bytes: u64,
    /// Files that could not be read, and are not in the copies.
    pub lost: Vec<Touched>,
}

/// Copies these snapshots, with the secrets of their devices and the marks of those to keep. What was copied before costs nothing. `now` is in
/// Unix seconds. Needs full keys of both. Must not be called by a worker of the thread pool.
pub fn copy(
    from: &Repository,
    to: &Repository,
    snapshots: &[SnapshotEntry],
    now: i64,
    progress: &dyn Progress,
) -> Result<Copied> {
    if from.id() == to.id() {
        return Err(RepositoryError::SameRepository { place: to.place() });
    }
    from.needs_full_key("repository that is to be copied")?;
    to.needs_full_key("repository that is to be copied to")?;
    progress.phase(Phase::CheckingStructure, 0, 0);
    let mut wanted: Vec<&SnapshotEntry> = snapshots.iter().collect();
    wanted.sort_by_key(|entry| (entry.snapshot.started, entry.name));
    wanted.dedup_by_key(|entry| entry.name);
    let there = There::look(from, to)?;
    // A snapshot never waits for the secrets that open what is in it.
    let scopes: HashSet<&str> = wanted.iter().filter_map(|e| e.snapshot.facts.get("device.udid").map(|udid| &**udid)).collect();
    for scope in scopes {
        from.copy_secrets(to, scope)?;
    }
    let mut copying = Copying::start(from, to, there, now, progress)?;
    copying.learn(&wanted);
    let outcome = wanted.iter().try_for_each(|entry| copying.snapshot(entry)).and_then(|()| copying.settle());
    let names = match outcome {
        Ok(()) => std::mem::take(&mut copying.there.copies),
        Err(error) => {
            let error = copying.draft.cause(error);
            // The first error is the one to tell; what was stored so far is found by the next run.
            let _ = copying.draft.give_up();
            return Err(error);
        }
    };
    let (pins, pinned) = (from.pins()?, to.pins()?);
    for entry in wanted {
        let (Some(why), Some(copy)) = (pins.get(&entry.name.hex()), names.get(&entry.name)) else { continue };
        if !pinned.contains_key(&copy.hex()) {
            to.pin(*copy, why, now)?;
        }
    }
    Ok(copying.copied)
}

/// Which repository and snapshot this one was first.
fn origin(repository: &Repository, entry: &SnapshotEntry) -> String {
    let own = || format!("{}/{}", repository.id(), entry.name.hex());
    entry.snapshot.facts.get(COPIED_FROM).cloned().unwrap_or_else(own)
}

/// What the other repository has already.
struct There {
    /// What the snapshots of the source are called there.
    copies: HashMap<FileName, FileName>,
    entries: HashMap<FileName, Snapshot>,
    pairs: Vec<(SnapshotEntry, Content)>,
}

impl There {
    fn look(from: &Repository, to: &Repository) -> Result<There> {
        // Whoever may only add snapshots could write one that claims to be a copy; what a full key sealed is believed.
        let ours = to.snapshots()?.entries.into_iter().filter(|entry| to.is_by_full_key(entry.name));
        let mut by_origin: BTreeMap<String, SnapshotEntry> = BTreeMap::new();
        for entry in ours {
            let known = by_origin.entry(origin(to, &entry)).or_insert_with(|| entry.clone());
            // Of two copies the one that lacks nothing counts.
            if known.snapshot.facts.contains_key(COPIED_LOST) {
                *known = entry;
            }
        }
        let mut there = There { copies: HashMap::new(), entries: HashMap::new(), pairs: Vec::new() };
        for entry in from.snapshots()?.entries {
            if let Some(copy) = by_origin.get(&origin(from, &entry)) {
                there.copies.insert(entry.name, copy.name);
                there.entries.insert(copy.name, copy.snapshot.clone());
                // What was rewritten since is another tree: what has the same name and length there may be another content.
                let rewritten = |snapshot: &Snapshot| snapshot.facts.get(REWRITTEN_FROM).cloned();
                if rewritten(&entry.snapshot) == rewritten(&copy.snapshot) {
                    there.pairs.push((entry, copy.snapshot.root.clone()));
                }
            }
        }
        Ok(there)
    }
}

/// Whose snapshot it is, as far as likeness of contents goes.
fn subject(snapshot: &Snapshot) -> Option<&String> {
    snapshot.facts.get("device.udid").or_else(|| snapshot.facts.get("source.path"))
}

/// A copying that goes on.
struct Copying<'a> {
    from: &'a Repository,
    to: &'a Repository,
    now: i64,
    progress: &'a dyn Progress,
    reader: Arc<Reader>,
    index: Arc<Index>,
    draft: Draft,
    there: There,
    /// What each chunk of contents is called there, or why it cannot be read.
    chunks: HashMap<ChunkId, std::result::Result<ChunkId, String>>,
    /// What each whole directory has become.
    directories: HashMap<[u8; 32], Content>,
    /// Snapshots that wait for their chunks to be durable, and the incomplete ones that they replace.
    waiting: Vec<(FileName, Snapshot, Option<FileName>)>,
    /// New bytes of this draft that waiting snapshots have been credited with.
    credited: (u64, u64),
    copied: Copied,
}

impl<'a> Copying<'a> {
    fn start(
        from: &'a Repository,
        to: &'a Repository,
        there: There,
        now: i64,
        progress: &'a dyn Progress,
    ) -> Result<Copying<'a>> {
        Ok(Copying {
            reader: from.reader()?,
            index: from.index()?,
            draft: to.draft()?,
            there,
            chunks: HashMap::new(),
            directories: HashMap::new(),
            waiting: Vec::new(),
            credited: (0, 0),
            copied: Copied::default(),
            from,
            to,
            now,
            progress,
        })
    }

    /// Learns what chunks are called there from the newest pair of each device or folder.
    fn learn(&mut self, wanted: &[&SnapshotEntry]) {
        let is_new = |entry: &&&SnapshotEntry| !self.there.copies.contains_key(&entry.name);
        let subjects: HashSet<Option<&String>> = wanted.iter().filter(is_new).map(|entry| subject(&entry.snapshot)).collect();
        let mut newest: HashMap<Option<&String>, &(SnapshotEntry, Content)> = HashMap::new();
        for pair in &self.there.pairs {
            newest.insert(subject(&pair.0.snapshot), pair);
        }
        let mut pairs = Pairs { from: &self.reader, to: self.draft.reader(), seen: HashSet::new(), learnt: HashMap::new() };
        for (_, (entry, copy)) in newest.into_iter().filter(|(subject, _)| subjects.contains(subject)) {
            pairs.directory(&entry.snapshot.root, copy, 0);
        }
        self.chunks.extend(pairs.learnt.into_iter().map(|(old, new)| (old, Ok(new))));
    }

    fn snapshot(&mut self, entry: &SnapshotEntry) -> Result<()> {
        let before = self.there.copies.get(&entry.name).copied();
        let lacks = |name: &FileName| self.there.entries.get(name).is_some_and(|s| s.facts.contains_key(COPIED_LOST));
        let incomplete = before.filter(lacks);
        if before.is_some() && incomplete.is_none() {
            self.copied.there += 1;
            return Ok(());
        }
        self.store_chunks(&entry.snapshot.root)?;
        let mut lost = Vec::new();
        let tree = self.directory(entry.name, &entry.snapshot.root, &mut Vec::new(), 0, &mut lost)?;
        let mut snapshot = self.described(entry, tree, &lost);
        self.copied.lost.extend(lost);
        if let Some((name, old)) = incomplete.and_then(|name| Some((name, self.there.entries.get(&name)?))) {
            (snapshot.new_bytes, snapshot.stored_bytes) = (old.new_bytes, old.stored_bytes);
            if snapshot == *old {
                self.there.copies.insert(entry.name, name);
                self.copied.there += 1;
                return Ok(());
            }
        }
        let sums = (self.draft.new_bytes(), self.draft.stored_bytes());
        (snapshot.new_bytes, snapshot.stored_bytes) = (sums.0 - self.credited.0, sums.1 - self.credited.1);
        self.credited = sums;
        self.waiting.push((entry.name, snapshot, incomplete));
        if self.draft.new_bytes() >= BATCH {
            self.settle()?;
            // The next one knows what was stored.
            self.draft = self.to.draft()?;
        }
        Ok(())
    }

    /// What a copy says of itself.
    fn described(&self, entry: &SnapshotEntry, tree: Tree, lost: &[Touched]) -> Snapshot {
        let mut snapshot = Snapshot { root: tree.content, files: tree.files, bytes: tree.bytes, ..entry.snapshot.clone() };
        snapshot.parent = snapshot.parent.and_then(|parent| self.there.copies.get(&parent).copied());
        snapshot.facts.insert(COPIED_FROM.into(), origin(self.from, entry));
        if !lost.is_empty() {
            snapshot.facts.insert(COPIED_LOST.into(), lost.len().to_string());
            snapshot.whole = false;
            let problem = |file: &Touched| Problem {
                kind: ProblemKind::Lost,
                severity: Severity::Loss,
                path: String::from_utf8_lossy(&file.path).into_owned(),
                detail: file.why.clone(),
            };
            snapshot.problems.splice(0..0, lost.iter().map(problem));
            let more = snapshot.problems.len().saturating_sub(MOST_PROBLEMS);
            snapshot.problems.truncate(MOST_PROBLEMS);
            snapshot.more_problems = snapshot.more_problems.saturating_add(more as u64);
        }
        snapshot
    }

    /// Makes what waits durable: chunks and their index, then the snapshots, and at last the incomplete ones go.
    fn settle(&mut self) -> Result<()> {
        let draft = std::mem::replace(&mut self.draft, self.to.draft()?);
        let mut settled = draft.finish(self.now)?;
        let rest = settled.stored_bytes().saturating_sub(self.credited.1);
        self.credited = (0, 0);
        if let Some((_, snapshot, _)) = self.waiting.last_mut() {
            snapshot.stored_bytes += rest;
        }
        let mut made = Vec::new();
        for (old, snapshot, incomplete) in std::mem::take(&mut self.waiting) {
            let name = put_snapshot(&**self.to.store(), &snapshot.seal(self.to.keys())?)?;
            made.push((old, Saved { name, snapshot }, incomplete));
        }
        if let Err(error) = settled.hold(self.now) {
            // Somebody pruned what they need; the next run makes them again.
            made.iter().try_for_each(|(_, saved, _)| self.to.remove_snapshot(saved.name))?;
            return Err(error);
        }
        settled.release()?;
        for (old, saved, incomplete) in made {
            if let Some(incomplete) = incomplete {
                if let Some(why) = self.to.pins()?.get(&incomplete.hex()) {
                    self.to.pin(saved.name, why, self.now)?;
                }
                self.to.forget(&[incomplete], self.now)?;
            }
            self.there.copies.insert(old, saved.name);
            self.copied.made.push((old, saved));
        }
        Ok(())
    }

    /// Stores every chunk of contents below this directory that is not known to be there.
    fn store_chunks(&mut self, root: &Content) -> Result<()> {
        let mut needed = Vec::new();
        let mut seen = HashSet::new();
        self.list_chunks(root, 0, &mut seen, &mut needed);
        needed.sort_unstable_by_key(|&(segment, offset, _)| (segment, offset));
        needed.dedup_by_key(|(_, _, id)| *id);
        let bytes = needed.iter().filter_map(|(_, _, id)| self.index.find(id)).map(|at| u64::from(at.len)).sum();
        self.progress.phase(Phase::Storing, 0, bytes);
        let pack_of = |segment: u32| self.index.segment(segment).pack;
        let packs: Vec<&[(u32, u32, ChunkId)]> = needed.chunk_by(|a, b| pack_of(a.0) == pack_of(b.0)).collect();
        let stored = Mutex::new(Vec::with_capacity(needed.len()));
        packs.into_par_iter().try_for_each(|pack| -> Result<()> {
            let mut names = Vec::with_capacity(pack.len());
            for (segment, _, id) in pack {
                let chunk = match self.reader.chunk(ChunkKind::Data, id) {
                    Ok(chunk) => chunk,
                    Err(error) => {
                        names.push((*id, Err(self.is_damage(error)?)));
                        continue;
                    }
                };
                let zstd = self.index.segment(*segment).zstd;
                names.push((*id, Ok(self.draft.keep_again(ChunkKind::Data, zstd, chunk.bytes())?)));
                self.progress.advance(0, chunk.bytes().len() as u64);
            }
            stored.lock().unwrap_or_else(|e| e.into_inner()).append(&mut names);
            Ok(())
        })?;
        self.copied.read_bytes += bytes;
        self.chunks.extend(stored.into_inner().unwrap_or_else(|e| e.into_inner()));
        Ok(())
    }

    /// What is wrong with a chunk, if it is the chunk's fault: a disk that was pulled is an error.
    fn is_damage(&self, error: RepositoryError) -> Result<String> {
        match Repository::exists(&**self.from.store()) {
            Ok(true) => Ok(error.to_string()),
            _ => Err(error),
        }
    }

    /// Lists chunks by where they lie. What cannot be read is told when the tree is made.
    fn list_chunks(&self, content: &Content, depth: usize, seen: &mut HashSet<[u8; 32]>, needed: &mut Vec<(u32, u32, ChunkId)>) {
        let key = key_of(content);
        if depth > DEEPEST_DIRECTORY || self.directories.contains_key(&key) || !seen.insert(key) {
            return;
        }
        for node in self.reader.remaining_nodes(content, &mut |_| Ok(())).unwrap_or_default() {
            match &node.kind {
                NodeKind::Directory(inner) => self.list_chunks(inner, depth + 1, seen, needed),
                NodeKind::File(content) => {
                    let mut add = |kind: ChunkKind, Entry { id, .. }| {
                        if let (ChunkKind::Data, None, Some(at)) = (kind, self.chunks.get(&id), self.index.find(&id)) {
                            needed.push((at.segment, at.offset, id));
                        }
                    };
                    // A list that cannot be read costs this file.
                    self.reader.chunk_ids(content, false, &mut add).unwrap_or_default();
                }
                NodeKind::Symlink(_) | NodeKind::Other => {}
            }
        }
    }

    /// Makes a directory again out of what was stored.
    fn directory(
        &mut self,
        snapshot: FileName,
        content: &Content,
        path: &mut Vec<u8>,
        depth: usize,
        lost: &mut Vec<Touched>,
    ) -> Result<Tree> {
        if depth > DEEPEST_DIRECTORY {
            return Err(RepositoryError::Tree { why: format!("it is more than {DEEPEST_DIRECTORY} directories deep") });
        }
        let mut unreadable = None;
        let nodes = self.reader.clone().remaining_nodes(content, &mut |error| {
            unreadable = Some(self.is_damage(error)?);
            Ok(())
        })?;
        lost.extend(unreadable.map(|why| Touched { snapshot, path: path.clone(), why }));
        let mut kept = Vec::with_capacity(nodes.len());
        let (mut files, mut bytes) = (0, 0);
        for node in nodes {
            let above = path.len();
            if above > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(&node.name);
            let made = match &node.kind {
                NodeKind::Directory(inner) => {
                    let key = key_of(inner);
                    let (inner, totals) = match (self.directories.get(&key).cloned(), node.totals) {
                        (Some(known), Some(totals)) => (known, totals),
                        _ => {
                            let whole = lost.len();
                            let tree = self.directory(snapshot, inner, path, depth + 1, lost)?;
                            if lost.len() == whole {
                                self.directories.insert(key, tree.content.clone());
                            }
                            (tree.content, (tree.files, tree.bytes))
                        }
                    };
                    (files, bytes) = (files + totals.0, bytes + totals.1);
                    // What was not lost keeps what is said of it.
                    let totals = node.totals.map(|_| totals);
                    Some(Node { kind: NodeKind::Directory(inner), totals, ..node })
                }
                NodeKind::File(content) => match self.content(content)? {
                    Ok(content) => {
                        (files, bytes) = (files + 1, bytes + content.size());
                        Some(Node { kind: NodeKind::File(content), ..node })
                    }
                    Err(why) => {
                        lost.push(Touched { snapshot, path: path.clone(), why });
                        None
                    }
                },
                NodeKind::Symlink(_) | NodeKind::Other => Some(node),
            };
            path.truncate(above);
            kept.extend(made);
        }
        Ok(Tree { content: self.draft.directory(kept)?, files, bytes })
    }

    /// A file's content as it is called there, or why it cannot be read.
    fn content(&self, content: &Content) -> Result<std::result::Result<Content, String>> {
        let (mut chunks, mut why) = (Vec::new(), None);
        let listed = self.reader.chunk_ids(content, false, &mut |kind, entry| match (kind, self.chunks.get(&entry.id)) {
            (ChunkKind::Tree, _) => {}
            (ChunkKind::Data, Some(Ok(new))) => chunks.push(Entry { id: *new, ..entry }),
            (ChunkKind::Data, Some(Err(reason))) => why = why.take().or_else(|| Some(reason.clone())),
            (ChunkKind::Data, None) => {
                why = why.take().or_else(|| Some(format!("chunk {} is in no pack (of {} bytes)", entry.id, entry.len)));
            }
        });
        match (listed, why) {
            (Err(error), _) => Ok(Err(self.is_damage(error)?)),
            (Ok(()), Some(why)) => Ok(Err(why)),
            (Ok(()), None) => Ok(Ok(self.draft.content_of(&chunks)?)),
        }
    }
}

/// A directory as it is there.
struct Tree {
    content: Content,
    files: u64,
    bytes: u64,
}

/// A name for a content.
fn key_of(content: &Content) -> [u8; 32] {
    let mut w = Writer::new();
    content.encode(&mut w);
    *blake3::hash(&w.finish()).as_bytes()
}

/// Two trees that are the same but for the names of their chunks, walked side by side.
struct Pairs<'a> {
    from: &'a Reader,
    to: &'a Reader,
    seen: HashSet<[u8; 32]>,
    learnt: HashMap<ChunkId, ChunkId>,
}

impl Pairs<'_> {
    /// What cannot be read teaches nothing, and is read from the source again.
    fn directory(&mut self, from: &Content, to: &Content, depth: usize) {
        if depth > DEEPEST_DIRECTORY || !self.seen.insert(key_of(from)) {
            return;
        }
        let read = |reader: &Reader, content: &Content| reader.remaining_nodes(content, &mut |_| Ok(())).unwrap_or_default();
        let mut there: HashMap<Vec<u8>, Node> = read(self.to, to).into_iter().map(|node| (node.name.clone(), node)).collect();
        for node in read(self.from, from) {
            match (&node.kind, there.remove(&node.name).map(|node| node.kind)) {
                (NodeKind::Directory(from), Some(NodeKind::Directory(to))) => self.directory(from, &to, depth + 1),
                (NodeKind::File(from), Some(NodeKind::File(to))) if from.size() == to.size() => self.file(from, &to),
                _ => {}
            }
        }
    }

    fn file(&mut self, from: &Content, to: &Content) {
        let list = |reader: &Reader, content: &Content| {
            let mut chunks = Vec::new();
            let listed = reader.chunk_ids(content, false, &mut |kind, entry| {
                if kind == ChunkKind::Data {
                    chunks.push(entry);
                }
            });
            listed.is_ok().then_some(chunks)
        };
        let (Some(old), Some(new)) = (list(self.from, from), list(self.to, to)) else { return };
        if !old.iter().map(|entry| (entry.from, entry.len)).eq(new.iter().map(|entry| (entry.from, entry.len))) {
            return;
        }
        let known = old.into_iter().zip(new).filter(|(_, new)| self.to.index().knows(&new.id));
        self.learnt.extend(known.map(|(old, new)| (old.id, new.id)));
    }
}
