//! Which chunks the snapshots need: every tree is read once, and every chunk that it names is marked.
//!
//! Memory is three bits for each chunk of the index and 8 bytes for each piece of a tree that waits to be read. Pieces are read in the order
//! in which they lie in the packs.

use std::collections::HashSet;
use std::sync::Arc;

use russet_format::id::FileName;
use russet_format::pack::ChunkKind;
use russet_format::snapshot::Snapshot;
use russet_format::tree::{Content, Entry, NodeKind, decode_list, decode_nodes};

use crate::index::Index;
use crate::look::is_gone;
use crate::marks::Marks;
use crate::names;
use crate::progress::{Phase, Progress};
use crate::reader::Reader;
use crate::repo::Repository;
use crate::{RepositoryError, Result};

/// So often snapshots may come and go while they are looked at.
const MOST_LOOKS: usize = 50;

/// A piece of a tree that is to be read: nodes of a directory, or (`depth` > 0) a list of chunks.
#[derive(Clone, Copy)]
struct Piece {
    chunk: u32,
    depth: u8,
    directory: bool,
}

/// Marks what is needed.
pub(crate) struct Used<'a> {
    repository: &'a Repository,
    reader: Reader,
    index: Arc<Index>,
    /// Packs that are not there, or cut.
    lost: HashSet<FileName>,
    chunks: Marks,
    read_nodes: Marks,
    read_lists: Marks,
    snapshots: HashSet<FileName>,
}

impl<'a> Used<'a> {
    /// Marks what all snapshots need that are there. One that cannot be read is an error: its damage must not turn into removal.
    pub(crate) fn mark(
        repository: &'a Repository,
        index: Arc<Index>,
        lost: HashSet<FileName>,
        progress: &dyn Progress,
    ) -> Result<Used<'a>> {
        let reader = Reader::new(repository.store().clone(), repository.keys().clone(), index.clone());
        let marks = || Marks::new(index.chunks());
        let (chunks, read_nodes, read_lists) = (marks(), marks(), marks());
        let mut used = Used { repository, reader, index, lost, chunks, read_nodes, read_lists, snapshots: HashSet::new() };
        // A snapshot may be written, or take the place of another, while the others are read. Two equal listings are a moment.
        let mut before = None;
        for _ in 0..MOST_LOOKS {
            let listed = repository.snapshot_names()?;
            if before.as_ref() == Some(&listed) {
                return Ok(used);
            }
            progress.phase(Phase::Marking, listed.len() as u64, 0);
            for &name in &listed {
                if used.snapshots.contains(&name) {
                    continue;
                }
                let refused = |error| refused(name, error);
                if let Some(snapshot) = repository.snapshot(name).map_err(refused)? {
                    used.snapshot(&snapshot).map_err(refused)?;
                    used.snapshots.insert(name);
                }
                progress.advance(1, 0);
            }
            before = Some(listed);
        }
        Err(RepositoryError::Outrun)
    }

    /// Whether no snapshot has come since.
    pub(crate) fn is_current(&self) -> Result<bool> {
        let listed = self.repository.snapshot_names()?;
        Ok(listed.iter().all(|name| self.snapshots.contains(name)))
    }

    /// Number of snapshots.
    pub(crate) fn snapshots(&self) -> u64 {
        self.snapshots.len() as u64
    }

    /// Numbers of the chunks that are needed, in order.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = usize> + '_ {
        self.chunks.iter()
    }

    /// What the trees were read with.
    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    fn snapshot(&self, snapshot: &Snapshot) -> Result<()> {
        let mut waiting = Vec::new();
        self.content(&snapshot.root, true, &mut waiting)?;
        while !waiting.is_empty() {
            let mut level = std::mem::take(&mut waiting);
            level.sort_by_key(|piece: &Piece| {
                let at = self.index.location(piece.chunk as usize);
                (at.segment, at.offset)
            });
            for piece in level {
                self.piece(piece, &mut waiting)?;
            }
        }
        Ok(())
    }

    fn content(&self, content: &Content, directory: bool, waiting: &mut Vec<Piece>) -> Result<()> {
        self.entries(&content.entries, content.depth, directory, waiting)
    }

    fn entries(&self, entries: &[Entry], depth: u8, directory: bool, waiting: &mut Vec<Piece>) -> Result<()> {
        for Entry { id, .. } in entries {
            let number = self.index.position(id).ok_or_else(|| RepositoryError::MissingChunk { id: id.hex() })?;
            let is_new = self.chunks.set(number);
            if is_new && !self.lost.is_empty() {
                let pack = self.index.pack_of(number).name;
                if self.lost.contains(&pack) {
                    return Err(RepositoryError::LostPack { file: names::file(names::PACKS, pack).to_string() });
                }
            }
            let read = if depth > 0 { &self.read_lists } else { &self.read_nodes };
            if (depth > 0 || directory) && read.set(number) {
                waiting.push(Piece { chunk: number as u32, depth, directory });
            }
        }
        Ok(())
    }

    fn piece(&self, piece: Piece, waiting: &mut Vec<Piece>) -> Result<()> {
        let chunk = self.reader.chunk(ChunkKind::Tree, &self.index.id(piece.chunk as usize))?;
        if piece.depth > 0 {
            return self.entries(&decode_list(chunk.bytes())?, piece.depth - 1, piece.directory, waiting);
        }
        for node in decode_nodes(chunk.bytes(), None)? {
            match &node.kind {
                NodeKind::File(content) => self.content(content, false, waiting)?,
                NodeKind::Directory(content) => self.content(content, true, waiting)?,
                NodeKind::Symlink(_) | NodeKind::Other => {}
            }
        }
        Ok(())
    }
}

/// Damage is told with the snapshot that it is in; a store that fails speaks for itself.
fn refused(snapshot: FileName, error: RepositoryError) -> RepositoryError {
    match error {
        RepositoryError::Store(_) if !is_gone(&error) => error,
        other => {
            RepositoryError::Unreadable { file: names::file(names::SNAPSHOTS, snapshot).to_string(), why: other.to_string() }
        }
    }
}
