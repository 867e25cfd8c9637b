//! Any folder of files becomes a snapshot.
//!
//! Three passes: `scan` names everything, level by level; `look` asks for each name's attributes and compares it with the
//! snapshot before; `read` stores what is new. Each pass uses all cores and works inside opened directories, so that no symbolic
//! link is ever followed and no path is too long. What cannot be read becomes a problem of the snapshot, and the rest goes on.
//!
//! Sources are read plainly and never memory-mapped: a file that is cut short under a map would kill the process.

mod scan;

mod look;
mod read;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use russet_repository::format::snapshot::{Problem, ProblemKind, Severity, Source};
use russet_repository::format::tree::{Content, Node, NodeKind};
use russet_repository::{Draft, Meta, Phase, Progress, Repository, Saved, SnapshotEntry};

use crate::{BackupError, Request, Result};
use scan::{Directory, Scan};

/// Stores a folder as a snapshot. Must not be called by a worker of the thread pool.
///
/// Its parent is the newest snapshot of the same folder on the same host. The repository itself is left out, and so is whatever
/// `request.exclude` names. What could not be read, or changed meanwhile, is a problem of the snapshot and no error.
pub fn import(repository: &Repository, folder: &Path, request: &Request<'_>, progress: &dyn Progress) -> Result<Saved> {
    progress.phase(Phase::Scanning, 0, 0);
    let folder = folder.canonicalize().map_err(|source| BackupError::Io { path: folder.to_owned(), source })?;
    if !folder.is_dir() {
        return Err(BackupError::NotAFolder { path: folder });
    }
    let mut facts = request.facts.clone();
    facts.insert("source.path".into(), folder.to_string_lossy().into_owned());
    facts.insert("host.name".into(), request.host.clone());

    let parent = newest_like(repository, &facts)?;
    let draft = repository.draft()?;
    let excluded = request.exclude.iter().cloned().chain(repository_folder(repository));
    let previous = parent.as_ref().map(|entry| &entry.snapshot.root);
    let mut scan = scan::scan(&folder, draft.reader(), previous, excluded)?;

    // A file that was written while the parent was made may have been written again within the same tick of the clock.
    let window =
        parent.as_ref().map(|entry| entry.snapshot.started.0.saturating_sub(2)..=entry.snapshot.finished.saturating_add(2));
    let is_racy = |mtime: i64| window.as_ref().is_none_or(|window| window.contains(&mtime));
    look::look(&mut scan, &draft, &is_racy);

    let sizes = || scan.entries.iter().filter_map(|entry| Some((entry.size()?, entry.pending())));
    progress.phase(Phase::Storing, sizes().count() as u64, sizes().map(|(size, _)| size).sum());
    let kept = || sizes().filter(|(_, pending)| !pending);
    progress.advance(kept().count() as u64, kept().map(|(size, _)| size).sum());
    read::read(&mut scan, &draft, &is_racy, progress).map_err(|error| error.caused_in(&draft))?;

    progress.phase(Phase::Finishing, 0, 0);
    let mut problems = std::mem::take(&mut scan.problems);
    problems.sort_by(|a, b| a.path.cmp(&b.path));
    let (root, files, bytes) = build(scan, &draft).map_err(|error| error.caused_in(&draft))?;
    let meta = Meta {
        started: request.started,
        finished: (request.clock)(),
        source: Source::Folder,
        parent: parent.map(|entry| entry.name),
        files,
        bytes,
        facts,
        problems,
    };
    Ok(draft.commit(root, meta)?)
}

/// The newest snapshot of the same folder on the same host.
fn newest_like(repository: &Repository, facts: &BTreeMap<String, String>) -> Result<Option<SnapshotEntry>> {
    let same = |entry: &SnapshotEntry| {
        let fact = |name| entry.snapshot.facts.get(name) == facts.get(name);
        entry.snapshot.source == Source::Folder && fact("source.path") && fact("host.name")
    };
    Ok(repository.parents()?.into_iter().rfind(same))
}

/// Where the repository lies, if that is a folder of this machine.
fn repository_folder(repository: &Repository) -> Option<PathBuf> {
    let folder = PathBuf::from(repository.place());
    folder.join("config").is_file().then_some(folder)
}

/// Stores the trees, deepest first, and gives the root, the number of files and their bytes.
fn build(scan: Scan, draft: &Draft) -> Result<(Content, u64, u64)> {
    let Scan { directories, entries, levels, .. } = scan;
    let mut nodes: Vec<Vec<Node>> = directories.iter().map(|_| Vec::new()).collect();
    for entry in entries {
        nodes[entry.directory].extend(entry.node);
    }
    let mut root = (Content::default(), 0, 0);
    for level in levels.into_iter().rev() {
        let below: Vec<(usize, Vec<Node>)> = level.map(|at| (at, std::mem::take(&mut nodes[at]))).collect();
        let built = below.into_par_iter().map(|(at, nodes)| {
            let (files, bytes) = totals(&nodes);
            Ok((at, draft.directory(nodes)?, files, bytes))
        });
        for (at, content, files, bytes) in built.collect::<Result<Vec<_>>>()? {
            let Directory { parent, node, .. } = &directories[at];
            match parent {
                None => root = (content, files, bytes),
                Some(parent) => {
                    // A folder that vanished has no attributes, and is not kept.
                    let Some(node) = node else { continue };
                    let kind = NodeKind::Directory(content);
                    nodes[*parent].push(Node { kind, totals: Some((files, bytes)), ..node.clone() });
                }
            }
        }
    }
    Ok(root)
}

fn totals(nodes: &[Node]) -> (u64, u64) {
    nodes.iter().fold((0, 0), |(files, bytes), node| match (&node.kind, node.totals) {
        (NodeKind::File(_), _) => (files + 1, bytes + node.size()),
        (_, Some((more_files, more_bytes))) => (files + more_files, bytes + more_bytes),
        _ => (files, bytes),
    })
}

fn problem(kind: ProblemKind, severity: Severity, path: &Path, detail: impl ToString) -> Problem {
    Problem { kind, severity, path: path.to_string_lossy().into_owned(), detail: detail.to_string() }
}

/// The problem that something could not be read. What is gone was removed by someone, and that is no loss.
fn unread(path: &Path, error: impl Into<std::io::Error>) -> Problem {
    let error = error.into();
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            problem(ProblemKind::Missing, Severity::Note, path, "it vanished while the folder was read")
        }
        _ => problem(ProblemKind::Unreadable, Severity::Loss, path, error),
    }
}
