//! Whether a backup is still what it was in the last snapshot. Lengths and times of its files say so, and then nothing needs to be opened.

use std::collections::HashMap;

use russet_repository::format::snapshot::Snapshot;
use russet_repository::format::tree::{Content, Node, NodeKind};
use russet_repository::{Draft, Result};
use russet_vfs::stored_len;

use super::scan::{Scan, Scanned, ScannedFolder};
use super::shelve::Before;

/// The tree of the last snapshot, if the folder is still that and all of it may be counted on.
///
/// A file that was written while the last snapshot was made, or within the tick of a clock of it, may have been written again since; then
/// this is not the way to find out.
pub(crate) fn tree(scan: &Scan, before: &Before, last: &Snapshot, draft: &Draft) -> Result<Option<Content>> {
    let busy = last.started.0.saturating_sub(2)..=last.finished.saturating_add(2);
    let is_still = |file: &Scanned| {
        let old = scan.short_name(file).and_then(|folder| before.file(folder, &file.name));
        old.is_some_and(|old| is_same_file(file, old) && !busy.contains(&file.mtime.0) && holds(draft, old))
    };
    let odd = scan.folders.iter().any(|folder| !folder.others.is_empty()) || !scan.unreadable.is_empty() || !last.whole;
    if odd || before.files() != scan.files.len() || !draft.holds(&last.root) || !scan.files.iter().all(is_still) {
        return Ok(None);
    }
    let nodes = draft.reader().nodes(&last.root)?;
    let folders: HashMap<&[u8], &Node> =
        nodes.iter().filter(|node| matches!(node.kind, NodeKind::Directory(_))).map(|node| (&node.name[..], node)).collect();
    let is_still = |folder: &ScannedFolder| {
        folders.get(&folder.node.name[..]).is_some_and(|old| is_same(&folder.node, old) && holds(draft, old))
    };
    let same = folders.len() + 1 == scan.folders.len() && scan.folders[1..].iter().all(is_still);
    Ok(same.then(|| last.root.clone()))
}

fn is_same_file(file: &Scanned, old: &Node) -> bool {
    stored_len(old) == file.len && is_same(&file.node(old.kind.clone()), old)
}

fn is_same(new: &Node, old: &Node) -> bool {
    (new.mtime, new.mode, new.uid, new.gid) == (old.mtime, old.mode, old.uid, old.gid)
}

fn holds(draft: &Draft, node: &Node) -> bool {
    match &node.kind {
        NodeKind::File(content) | NodeKind::Directory(content) => draft.holds(content),
        NodeKind::Symlink(_) | NodeKind::Other => false,
    }
}
