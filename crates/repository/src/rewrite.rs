//! Rewriting: a snapshot is made again with nodes left out or replaced, and the new one takes the place of the old.
//!
//! Stored files never change, so what was rewritten is another snapshot. It says which one it was made from and why, and exists before
//! the old one is removed (FORMAT.md, chapter 11).

use std::collections::BTreeMap;

use russet_format::id::FileName;
use russet_format::snapshot::{MOST_PROBLEMS, Problem, Severity, Snapshot};
use russet_format::tree::{Content, DEEPEST_DIRECTORY, Node, NodeKind};

use crate::draft::{Draft, Saved};
use crate::reader::Reader;
use crate::repo::{Repository, SnapshotEntry, put_snapshot};
use crate::walk::walk;
use crate::{RepositoryError, Result};

/// The fact that names the snapshot from which this one was made, in hex.
pub const REWRITTEN_FROM: &str = "rewritten.from";
/// The fact that says why a snapshot was rewritten.
pub const REWRITTEN_WHY: &str = "rewritten.why";
/// The fact that says, as a sentence, why a snapshot is not for a full restore.
pub const RESTORE_UNFIT: &str = "restore.unfit";

/// What becomes of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It stays, with all that is below it.
    Keep,
    /// What is in this directory is asked about, node by node. Anything but a directory stays.
    Enter,
    /// It is left out, with all that is below it.
    Drop,
    /// Another takes its place.
    Replace(Box<Node>),
}

/// Decides what becomes of each node. Closures are visitors.
pub trait Visitor {
    /// Decides about the node at `path`: names joined by `/`, relative to the root. What is to replace contents is stored in `draft`.
    fn visit(&mut self, draft: &Draft, path: &[u8], node: &Node) -> Result<Verdict>;

    /// Some nodes of the directory at `path` cannot be read. By default that ends the rewriting; after `Ok` they are left out.
    fn unreadable(&mut self, path: &[u8], error: RepositoryError) -> Result<()> {
        let _ = path;
        Err(error)
    }
}

impl<F: FnMut(&Draft, &[u8], &Node) -> Result<Verdict>> Visitor for F {
    fn visit(&mut self, draft: &Draft, path: &[u8], node: &Node) -> Result<Verdict> {
        self(draft, path, node)
    }
}

/// A tree that differs from the one it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Its root directory.
    pub root: Content,
    /// Its files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a rewritten snapshot says beside what the old one said.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Why it was rewritten: a few words.
    pub why: String,
    /// Why it is not for a full restore, if it is not: a sentence.
    pub unfit: Option<String>,
    /// What is to be known besides.
    pub facts: BTreeMap<String, String>,
    /// What is wrong with it, now.
    pub problems: Vec<Problem>,
}

/// A snapshot that is gone, and the one in its place.
#[derive(Debug, Clone)]
pub struct Replaced {
    /// The name of the old one.
    pub old: FileName,
    /// The new one.
    pub new: Saved,
}

/// Rewrites snapshots. Nobody sees anything of it until it is committed; whoever drops it leaves the old ones as they are.
#[must_use = "nothing is rewritten until it is committed"]
#[derive(Debug)]
pub struct Rewriter<'a> {
    repository: &'a Repository,
    draft: Draft,
    planned: Vec<(FileName, Snapshot)>,
}

impl<'a> Rewriter<'a> {
    /// Begins. Needs a full key.
    pub fn start(repository: &'a Repository) -> Result<Rewriter<'a>> {
        Ok(Rewriter::on(repository, repository.draft()?))
    }

    /// Begins on a draft that knows what is to be counted on.
    pub(crate) fn on(repository: &'a Repository, draft: Draft) -> Rewriter<'a> {
        Rewriter { repository, draft, planned: Vec::new() }
    }

    /// Where new trees and contents are stored.
    pub fn draft(&self) -> &Draft {
        &self.draft
    }

    /// Makes a tree again as the visitor says; nothing if that changes nothing. Directories without a change keep their chunks.
    pub fn tree(&self, root: &Content, visitor: &mut dyn Visitor) -> Result<Option<Tree>> {
        self.directory(root, &mut Vec::new(), 0, visitor)
    }

    /// Plans that a snapshot with this tree takes the place of `old`: of the same date, with its facts and its problems.
    pub fn replace(&mut self, old: &SnapshotEntry, tree: Tree, change: Change) {
        let mut snapshot = Snapshot { root: tree.root, files: tree.files, bytes: tree.bytes, ..old.snapshot.clone() };
        snapshot.whole &= !change.problems.iter().any(|problem| problem.severity == Severity::Loss);
        snapshot.problems.splice(0..0, change.problems);
        // As it will be read, so that it can be compared with what is there.
        let more = snapshot.problems.len().saturating_sub(MOST_PROBLEMS);
        snapshot.problems.truncate(MOST_PROBLEMS);
        snapshot.more_problems = snapshot.more_problems.saturating_add(more as u64);
        snapshot.facts.extend(change.facts);
        snapshot.facts.insert(REWRITTEN_FROM.into(), old.name.hex());
        add_to(&mut snapshot.facts, REWRITTEN_WHY, &change.why);
        if let Some(unfit) = &change.unfit {
            add_to(&mut snapshot.facts, RESTORE_UNFIT, unfit);
        }
        self.planned.push((old.name, snapshot));
    }

    /// Makes the new snapshots durable and removes the old ones, one after the other; marks of those to keep move along.
    /// `now` is in Unix seconds. Must not be called by a worker of the thread pool.
    pub fn commit(self, now: i64) -> Result<Vec<Replaced>> {
        let Rewriter { repository, draft, planned } = self;
        // The packs and their index come before the snapshots that name them.
        let mut settled = draft.finish(now)?;
        let (known, pins) = (repository.snapshots()?.entries, repository.pins()?);
        let mut replaced = Vec::new();
        for (old, snapshot) in planned {
            // A run that died before it removed the old one has left the new one.
            let name = match known.iter().find(|entry| entry.snapshot == snapshot) {
                Some(entry) => entry.name,
                None => put_snapshot(&**repository.store(), &snapshot.seal(repository.keys())?)?,
            };
            if let Some(why) = pins.get(&old.hex()) {
                repository.pin(name, why, now)?;
            }
            // The old one goes only when what the new one needs is sure to stay.
            if let Err(error) = settled.hold(now) {
                repository.remove_snapshot(name)?;
                return Err(error);
            }
            repository.forget(&[old], now)?;
            replaced.push(Replaced { old, new: Saved { name, snapshot } });
        }
        settled.release()?;
        Ok(replaced)
    }

    fn directory(&self, content: &Content, path: &mut Vec<u8>, depth: usize, visitor: &mut dyn Visitor) -> Result<Option<Tree>> {
        if depth > DEEPEST_DIRECTORY {
            return Err(RepositoryError::Tree { why: format!("it is more than {DEEPEST_DIRECTORY} directories deep") });
        }
        let mut changed = false;
        let nodes = self.draft.reader().remaining_nodes(content, &mut |error| {
            changed = true;
            visitor.unreadable(path, error)
        })?;
        let mut kept = Vec::with_capacity(nodes.len());
        for node in nodes {
            let before = path.len();
            if before > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(&node.name);
            let inner = match visitor.visit(&self.draft, path, &node)? {
                Verdict::Keep => None,
                Verdict::Enter => match &node.kind {
                    NodeKind::Directory(inner) => self.directory(inner, path, depth + 1, visitor)?.map(|tree| {
                        let totals = Some((tree.files, tree.bytes));
                        Some(Node { kind: NodeKind::Directory(tree.root), totals, ..node.clone() })
                    }),
                    _ => None,
                },
                Verdict::Drop => Some(None),
                Verdict::Replace(new) => (*new != node).then_some(Some(*new)),
            };
            path.truncate(before);
            changed |= inner.is_some();
            kept.extend(inner.unwrap_or(Some(node)));
        }
        if !changed {
            return Ok(None);
        }
        let (files, bytes) = totals(self.draft.reader(), &kept)?;
        Ok(Some(Tree { root: self.draft.directory(kept)?, files, bytes }))
    }
}

/// Adds a reason to those that an earlier rewriting left.
fn add_to(facts: &mut BTreeMap<String, String>, name: &str, reason: &str) {
    let reasons = facts.entry(name.into()).or_default();
    if reasons.is_empty() {
        reason.clone_into(reasons);
    } else if !reasons.split("; ").any(|known| known == reason) {
        reasons.push_str("; ");
        reasons.push_str(reason);
    }
}

/// Files and bytes in and below these nodes.
fn totals(reader: &Reader, nodes: &[Node]) -> Result<(u64, u64)> {
    let mut sum = (0u64, 0u64);
    let mut add = |files: u64, bytes: u64| sum = (sum.0.saturating_add(files), sum.1.saturating_add(bytes));
    for node in nodes {
        match (&node.kind, node.totals) {
            (NodeKind::File(_), _) => add(1, node.size()),
            (NodeKind::Directory(_), Some((files, bytes))) => add(files, bytes),
            (NodeKind::Directory(inner), None) => walk(reader, inner, &mut |found| {
                if let NodeKind::File(_) = found.node.kind {
                    add(1, found.node.size());
                }
                Ok(true)
            })?,
            (NodeKind::Symlink(_) | NodeKind::Other, _) => {}
        }
    }
    Ok(sum)
}
