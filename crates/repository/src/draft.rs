//! A draft: a snapshot being written. Nobody sees it until it is committed; whoever drops it leaves chunks that the next run uses.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use russet_format::id::{ChunkId, FileName};
use russet_format::key::Keys;
use russet_format::pack::ChunkKind;
use russet_format::parity::Share;
use russet_format::snapshot::{Problem, Severity, Snapshot, Source};
use russet_format::tree::{Content, Entry, Node, check_name, cuts_nodes};
use russet_format::write::Writer;
use russet_store::Store;

use crate::chunk::{DENSE, Known};
use crate::content::ContentBuilder;
use crate::file_writer::FileWriter;
use crate::page_names::PageNames;
use crate::pipeline::Pipeline;
use crate::reader::Reader;
use crate::repo::{put_snapshot, remove_snapshot};
use crate::settle::Settled;
use crate::shadow::Shadow;
use crate::stages::{Stage, timed};
use crate::{RepositoryError, Result};

/// Contents pushed in pieces of this many bytes need the least copying. A multiple of 16.
pub const BEST_PIECE: usize = DENSE;

/// What a snapshot says about itself, beside its tree.
#[derive(Debug, Clone)]
pub struct Meta {
    /// Started: Unix seconds and nanoseconds.
    pub started: (i64, u32),
    /// Finished, Unix seconds.
    pub finished: i64,
    /// Where it came from.
    pub source: Source,
    /// The snapshot it was compared with.
    pub parent: Option<FileName>,
    /// Number of files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// What is known of the source.
    pub facts: BTreeMap<String, String>,
    /// What was wrong with the source; beyond the first thousands only counted.
    pub problems: Vec<Problem>,
}

/// A snapshot that now exists.
#[derive(Debug, Clone)]
pub struct Saved {
    /// Its name.
    pub name: FileName,
    /// What it says.
    pub snapshot: Snapshot,
}

/// A snapshot being written.
#[must_use = "a draft that is not committed leaves no snapshot"]
pub struct Draft {
    store: Arc<dyn Store>,
    keys: Arc<Keys>,
    reader: Arc<Reader>,
    pipeline: Arc<Pipeline>,
    /// What a key that only adds keeps at hand, and how it gets there.
    shadow: Option<(Arc<Shadow>, Arc<Pipeline>)>,
    page_names: Option<Arc<PageNames>>,
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Draft(..)")
    }
}

impl Draft {
    pub(crate) fn start(
        store: Arc<dyn Store>,
        keys: Arc<Keys>,
        share: Share,
        reader: Arc<Reader>,
        shadow: Option<Arc<Shadow>>,
    ) -> Draft {
        let shadow = shadow.and_then(|shadow| shadow.pipeline().ok().map(|beside| (shadow, beside)));
        let beside = shadow.as_ref().map(|(_, beside)| beside.clone());
        let pipeline = Pipeline::beside(store.clone(), keys.clone(), share, reader.index().clone(), beside);
        Draft { store, keys, reader, pipeline, shadow, page_names: None }
    }

    /// The same, but what the pages of databases are called is remembered there.
    pub(crate) fn with_page_names(self, page_names: Option<PageNames>) -> Draft {
        Draft { page_names: page_names.map(Arc::new), ..self }
    }

    /// Reads what was in the repository when the draft began.
    pub fn reader(&self) -> &Arc<Reader> {
        &self.reader
    }

    /// Starts a file's content, to be pushed piece by piece. Any number may be open, each on its own thread.
    pub fn file<'a>(&self, known: impl Into<Known<'a>>) -> FileWriter {
        let Known { hint, former } = known.into();
        let former = former.map(|content| (self.reader.clone(), content.clone()));
        FileWriter::new(self.pipeline.clone(), hint, former, self.page_names.clone())
    }

    /// Stores everything that `source` gives. `buffer` is scratch space; `seen` is told each piece before it is stored.
    pub fn store<'a>(
        &self,
        source: &mut dyn Read,
        known: impl Into<Known<'a>>,
        buffer: &mut Vec<u8>,
        seen: &mut dyn FnMut(&[u8]),
    ) -> Result<Content> {
        buffer.resize(BEST_PIECE, 0);
        let mut file = self.file(known);
        loop {
            // Whole buffers, so that chunks of a fixed length need no copy.
            let filled = timed(Stage::ReadSource, || fill(source, buffer))?;
            seen(&buffer[..filled]);
            file.push(&buffer[..filled])?;
            if filled < buffer.len() {
                return file.finish();
            }
        }
    }

    /// Keeps a chunk as another pack held it.
    pub(crate) fn keep_again(&self, kind: ChunkKind, zstd: bool, plain: &[u8]) -> Result<ChunkId> {
        self.pipeline.keep_again(kind, zstd, plain)
    }

    /// A content made of chunks that are there, or that this draft keeps.
    pub(crate) fn content_of(&self, entries: &[Entry]) -> Result<Content> {
        let mut keep = |bytes: &[u8]| self.pipeline.keep_tree(bytes);
        let mut content = ContentBuilder::default();
        for entry in entries {
            if !self.pipeline.holds(&entry.id) {
                return Err(RepositoryError::MissingChunk { id: entry.id.hex() });
            }
            content.push(*entry, &mut keep)?;
        }
        content.finish(&mut keep)
    }

    /// Whether every chunk of a content is there and may be counted on, so that it need not be stored again. Whoever takes a content over
    /// from another snapshot must ask: what was asked for is looked after until this snapshot is there.
    pub fn holds(&self, content: &Content) -> bool {
        self.holds_entries(&content.entries, content.depth)
    }

    fn holds_entries(&self, entries: &[Entry], depth: u8) -> bool {
        entries.iter().all(|Entry { id, .. }| {
            self.pipeline.holds(id)
                && (depth == 0 || self.reader.list(id).is_ok_and(|entries| self.holds_entries(&entries, depth - 1)))
        })
    }

    /// Stores a directory. Its nodes may come in any order; two of one name, or a name that no directory can hold, are an error.
    pub fn directory(&self, mut nodes: Vec<Node>) -> Result<Content> {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = nodes.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(RepositoryError::Tree {
                why: format!("two nodes are called {:?}", String::from_utf8_lossy(&pair[0].name)),
            });
        }
        let pipeline = &self.pipeline;
        let mut keep = |bytes: &[u8]| pipeline.keep_tree(bytes);
        let mut content = ContentBuilder::default();
        let (mut w, mut count) = (Writer::new(), 0);
        for (at, node) in nodes.iter().enumerate() {
            check_name(&node.name)?;
            node.encode(&mut w);
            count += 1;
            // Extended attributes can make a node long, so length cuts as well.
            if at + 1 == nodes.len() || cuts_nodes(&node.name, count) || w.len() > 256 << 10 {
                let chunk = w.finish();
                content.push(Entry::whole(keep(&chunk)?, chunk.len() as u64), &mut keep)?;
                count = 0;
            }
        }
        content.finish(&mut keep)
    }

    /// Of several threads that a failure ended, one has the cause and the others only that there was one. This finds the cause.
    pub fn cause(&self, error: RepositoryError) -> RepositoryError {
        self.pipeline.cause(error)
    }

    /// Bytes that were new so far.
    pub fn new_bytes(&self) -> u64 {
        self.pipeline.counters.new_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that went to the store so far.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.pipeline.counters.stored_bytes.load(Ordering::Relaxed)
    }

    /// Makes what was stored so far durable, and no snapshot: the next run finds it and does not store it again. Must not be called by a
    /// worker of the thread pool.
    pub fn give_up(self) -> Result<()> {
        self.pipeline.finish()
    }

    /// Makes what was stored durable, for snapshots that somebody else writes. `now` is in Unix seconds. Must not be called by a worker
    /// of the thread pool.
    pub fn finish(self, now: i64) -> Result<Settled> {
        self.pipeline.finish()?;
        let mut settled = Settled::new(self.store, self.keys, self.pipeline);
        settled.hold(now)?;
        Ok(settled)
    }

    /// Makes everything durable, and then the snapshot. Must not be called by a worker of the thread pool.
    pub fn commit(self, root: Content, meta: Meta) -> Result<Saved> {
        let (store, keys, new_bytes) = (self.store.clone(), self.keys.clone(), self.new_bytes());
        let (shadow, page_names) = (self.shadow.clone(), self.page_names.clone());
        let mut settled = self.finish(meta.finished)?;
        let snapshot = Snapshot {
            started: meta.started,
            finished: meta.finished,
            source: meta.source,
            whole: !meta.problems.iter().any(|p| p.severity == Severity::Loss),
            parent: meta.parent,
            root,
            files: meta.files,
            bytes: meta.bytes,
            new_bytes,
            stored_bytes: settled.stored_bytes(),
            facts: meta.facts,
            problems: meta.problems,
            more_problems: 0,
        };
        let name = put_snapshot(&*store, &snapshot.seal(&keys)?)?;
        // Whoever slept for a day just before this line finds that what the snapshot needs was pruned.
        if let Err(error) = settled.hold(snapshot.finished) {
            remove_snapshot(&*store, name)?;
            return Err(error);
        }
        settled.release()?;
        let saved = Saved { name, snapshot };
        if let Some((shadow, beside)) = shadow {
            shadow.remember(&beside, &saved);
        }
        if let Some(page_names) = page_names {
            page_names.tidy();
        }
        Ok(saved)
    }
}

/// Reads until a buffer is full, or nothing more comes; says how much came.
fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(RepositoryError::Source(error)),
        }
    }
    Ok(filled)
}

/// The kind of chunks that a content of this node is cut into.
pub(crate) fn leaf_kind(directory: bool) -> ChunkKind {
    if directory { ChunkKind::Tree } else { ChunkKind::Data }
}
