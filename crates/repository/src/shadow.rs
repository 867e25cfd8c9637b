//! What a key that only adds keeps at hand on its own computer, because it cannot read it from the repository: the trees of its last
//! snapshots, the few contents that the next run asks for, and secrets.
//!
//! It is a small repository of its own, in a private folder, under a key out of the key file. Chunks have the same names there, so a reader
//! looks here first. It may be damaged or gone at any time: that costs reading everything again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use russet_format::config::Config;
use russet_format::id::{ChunkId, FileName};
use russet_format::index::IndexFile;
use russet_format::key::Secrets;
use russet_format::pack::ChunkKind;
use russet_format::parity::Share;
use russet_format::tree::{Content, Entry, NodeKind};
use russet_format::vault;
use russet_store::{LocalStore, Store};

use crate::draft::Saved;
use crate::index::Index;
use crate::pipeline::Pipeline;
use crate::reader::Reader;
use crate::repo::{Repository, SnapshotEntry, listed, put_hashed, put_snapshot, read_hashed, remove_kept};
use crate::walk::walk_on;
use crate::{RepositoryError, Result, names};

/// The fact that names the snapshot in the repository.
const OF: &str = "russet.snapshot";
/// More waste than this, beside as much again as is needed, is cleared away.
const MOST_WASTE: u64 = 8 << 20;
/// Files of a kind, beyond those that full packs would make.
const MOST_FILES: usize = 64;

/// What is kept at hand.
pub(crate) struct Shadow {
    repository: Repository,
    /// Shared by those who add, and held alone by whoever clears away.
    lock: File,
    forgot: AtomicBool,
}

impl std::fmt::Debug for Shadow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shadow({})", self.repository.place())
    }
}

impl Shadow {
    /// Opens what is kept in a folder, which is made if it is missing. Damaged files go at once.
    pub(crate) fn open(folder: &Path, config: Config, secrets: Secrets) -> Result<Shadow> {
        let store = LocalStore::create(folder)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"));
        let lock = lock.and_then(|lock| lock.lock_shared().map(|()| lock)).map_err(RepositoryError::Source)?;
        for kind in [names::PACKS, names::INDEX, names::SNAPSHOTS, names::VAULT, "mirror"] {
            for (name, _) in store.list(kind)? {
                if let Err(RepositoryError::Rotten { .. }) = read_hashed(&store, &name) {
                    store.remove(&name)?;
                }
            }
        }
        // No slot opens it. What it lacks is read anew, so it needs no parity.
        let config = Config { parity: Share::NONE, ..config };
        let repository = Repository::assemble(Arc::new(store), config, secrets, FileName([0; 32]), None);
        Ok(Shadow { repository, lock, forgot: AtomicBool::new(false) })
    }

    /// The snapshots at hand, under their names in the repository, oldest first.
    pub(crate) fn snapshots(&self) -> Result<Vec<SnapshotEntry>> {
        let named = |mut entry: SnapshotEntry| {
            let name = FileName::parse(&entry.snapshot.facts.remove(OF)?).ok()?;
            Some(SnapshotEntry { name, ..entry })
        };
        Ok(self.repository.snapshots()?.entries.into_iter().filter_map(named).collect())
    }

    pub(crate) fn reader(&self) -> Result<Arc<Reader>> {
        self.repository.reader()
    }

    /// Reads anew what is there when it is asked for next.
    pub(crate) fn forget_index(&self) {
        self.repository.forget_index();
    }

    /// The newest entry of every name that is wanted.
    pub(crate) fn newest(&self, scope: &str, wanted: &dyn Fn(&str) -> bool) -> Result<BTreeMap<String, vault::Entry>> {
        self.repository.newest(scope, wanted)
    }

    pub(crate) fn keep_secrets(&self, entries: &[vault::Entry]) -> Result<()> {
        put_hashed(&*self.repository.store, names::VAULT, &vault::seal(&self.repository.keys, entries)?).map(drop)
    }

    /// Takes in what the next run will ask for.
    pub(crate) fn pipeline(&self) -> Result<Arc<Pipeline>> {
        let Repository { store, keys, .. } = &self.repository;
        Ok(Pipeline::start(store.clone(), keys.clone(), Share::NONE, self.repository.index()?))
    }

    /// Whether something could not be kept.
    pub(crate) fn forgot(&self) -> bool {
        self.forgot.load(Ordering::Relaxed)
    }

    /// Keeps a snapshot whose chunks went through `pipeline`, in place of the one that it was compared with.
    pub(crate) fn remember(&self, pipeline: &Arc<Pipeline>, saved: &Saved) {
        self.forgot.fetch_or(self.try_to_remember(pipeline, saved).is_err(), Ordering::Relaxed);
    }

    fn try_to_remember(&self, pipeline: &Arc<Pipeline>, saved: &Saved) -> Result<()> {
        pipeline.finish()?;
        let Repository { store, keys, .. } = &self.repository;
        let mut snapshot = saved.snapshot.clone();
        snapshot.facts.insert(OF.to_owned(), saved.name.hex());
        put_snapshot(&**store, &snapshot.seal(keys)?)?;
        self.forget_index();
        // What is not cleared away now is later.
        if self.lock.unlock().and_then(|()| self.lock.try_lock().map_err(Into::into)).is_ok() {
            self.clear_away(saved).unwrap_or_default();
        }
        self.lock.unlock().and_then(|()| self.lock.lock_shared()).map_err(RepositoryError::Source)
    }

    fn clear_away(&self, saved: &Saved) -> Result<()> {
        let entries = self.repository.snapshots()?.entries;
        let replaced = saved.snapshot.parent.map(|parent| parent.hex());
        let (old, kept): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| replaced.is_some() && entry.snapshot.facts.get(OF).cloned() == replaced);
        for entry in old {
            self.repository.remove_snapshot(entry.name)?;
        }
        let (reader, index) = (self.reader()?, self.repository.index()?);
        let live = live(&reader, &index, &kept);
        let len = |id: &ChunkId| index.find(id).map_or(0, |at| u64::from(at.len));
        let needed: u64 = live.keys().map(len).sum();
        let waste = index.entries().map(|(id, _)| len(&id)).sum::<u64>() - needed;
        let most_packs = MOST_FILES + (needed >> 23) as usize;
        if waste > needed + MOST_WASTE || index.packs() > most_packs {
            self.pack_anew(&reader, &index, live)?;
        }
        self.repository.merge_secrets(MOST_FILES).map(drop)
    }

    /// New packs and their index; then the old index does not count; then the old files go.
    fn pack_anew(&self, reader: &Reader, index: &Index, live: HashMap<ChunkId, ChunkKind>) -> Result<()> {
        let Repository { store, keys, .. } = &self.repository;
        let (packs, indexes) = (store.list(names::PACKS)?, listed(&**store, names::INDEX)?);
        let mut live: Vec<_> = live.into_iter().collect();
        live.sort_by_key(|(id, _)| index.find(id).map(|at| (at.segment, at.offset)));
        let nothing = Arc::new(Index::build(std::iter::empty(), &HashSet::new()));
        let pipeline = Pipeline::start(store.clone(), keys.clone(), Share::NONE, nothing);
        for (id, kind) in live {
            // What does not read any more is not needed either: the next run finds it missing and reads it again.
            if let Ok(plain) = reader.plain(kind, &id) {
                pipeline.keep_again(kind, true, &plain)?;
            }
        }
        pipeline.finish()?;
        let supersedes = indexes.iter().filter_map(names::hash_of).collect();
        let superseding = put_hashed(&**store, names::INDEX, &IndexFile { packs: Vec::new(), supersedes }.seal(keys)?)?;
        packs.iter().try_for_each(|(name, _)| store.remove(name))?;
        indexes.iter().try_for_each(|name| remove_kept(&**store, name))?;
        self.forget_index();
        remove_kept(&**store, &names::file(names::INDEX, superseding))
    }
}

/// The chunks that are here and that these snapshots need.
fn live(reader: &Reader, index: &Index, snapshots: &[SnapshotEntry]) -> HashMap<ChunkId, ChunkKind> {
    let mut live = HashMap::new();
    let mut take = |content: &Content, directory: bool| {
        let mut visit = |kind: ChunkKind, entry: Entry| {
            if index.find(&entry.id).is_some() {
                live.insert(entry.id, kind);
            }
        };
        // A list that is missing ends this content: the next run reads it again.
        reader.chunk_ids(content, directory, &mut visit).unwrap_or_default();
    };
    for entry in snapshots {
        take(&entry.snapshot.root, true);
        let mut visit = |found: crate::Found<'_>| {
            match &found.node.kind {
                NodeKind::Directory(content) => take(content, true),
                NodeKind::File(content) => take(content, false),
                NodeKind::Symlink(_) | NodeKind::Other => {}
            }
            Ok(true)
        };
        walk_on(reader, &entry.snapshot.root, &mut visit, &mut |_, _| {}).unwrap_or_default();
    }
    live
}
