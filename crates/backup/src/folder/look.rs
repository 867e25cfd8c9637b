//! Asks for the attributes of everything that was named, and finds out which files must be read.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSliceMut;
use russet_repository::Draft;
use russet_repository::format::snapshot::{Problem, ProblemKind, Severity};
use russet_repository::format::tree::{Content, Node, NodeKind};
use rustix::fs::{AtFlags, FileType, Stat, readlinkat, statat};

use super::scan::{Cursor, Entry, Identity, Scan, identity};
use super::{problem, unread};

/// Extended attributes beyond this are left out: a node must fit into one chunk of a tree.
const MOST_XATTR_BYTES: usize = 512 << 10;

/// Fills the node of every entry, or says what must be read for it.
pub(super) fn look(scan: &mut Scan, draft: &Draft, is_racy: &(dyn Fn(i64) -> bool + Sync)) {
    let mut entries = std::mem::take(&mut scan.entries);
    let cursor = || Cursor::new(scan.root.as_fd(), &scan.folder);
    let looked = entries.par_chunks_mut(64).map_init(cursor, |cursor, entries| {
        let mut problems = Vec::new();
        for entry in entries {
            let path = scan.path(entry);
            if let Err(error) = look_at(entry, scan, cursor, draft, is_racy, &path, &mut problems) {
                problems.push(unread(&path, error));
            }
        }
        problems
    });
    let problems: Vec<Vec<Problem>> = looked.collect();
    scan.problems.extend(problems.into_iter().flatten());
    scan.entries = entries;
}

fn look_at(
    entry: &mut Entry,
    scan: &Scan,
    cursor: &mut Cursor<'_>,
    draft: &Draft,
    is_racy: &dyn Fn(i64) -> bool,
    shown: &Path,
    problems: &mut Vec<Problem>,
) -> rustix::io::Result<()> {
    let (fd, folder) = cursor.enter(&scan.directories, entry.directory)?;
    let name = OsStr::from_bytes(&entry.name);
    let stat = statat(fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => NodeKind::File(Content::default()),
        FileType::Symlink => NodeKind::Symlink(readlinkat(fd, name, Vec::new())?.into_bytes()),
        FileType::Directory => {
            problems.push(problem(ProblemKind::Changed, Severity::Loss, shown, "it became a folder while the folder was read"));
            return Ok(());
        }
        _ => NodeKind::Other,
    };
    let mut node = node_of(&entry.name, kind, &stat);
    read_xattrs(&mut node, fd, folder, &mut |note| {
        problems.push(problem(ProblemKind::Unreadable, Severity::Note, shown, note));
    });
    let linked = stat.st_nlink > 1 && matches!(node.kind, NodeKind::File(_));
    let linked = linked.then(|| identity(&stat));
    node.hard_link = linked.map(|identity| group(identity, scan.device));
    if matches!(node.kind, NodeKind::File(_)) {
        node.record = Some(fingerprint(&stat));
        match entry.previous.take_if(|old| is_unchanged(old, &node, &stat, draft, is_racy)) {
            Some(old) => (node.kind, node.sparse) = (old.kind, old.sparse),
            None => entry.to_read = Some((stat.st_size as u64, linked)),
        }
    }
    entry.node = Some(node);
    Ok(())
}

fn is_unchanged(old: &Node, new: &Node, stat: &Stat, draft: &Draft, is_racy: &dyn Fn(i64) -> bool) -> bool {
    let NodeKind::File(content) = &old.kind else { return false };
    let same = content.size() == stat.st_size as u64 && old.mtime == new.mtime && old.record == new.record;
    same && !is_racy(new.mtime.0) && draft.holds(content)
}

/// What changes with every change of a file, even one that puts its old time back: which file it is and when the system last touched it.
pub(super) fn fingerprint(stat: &Stat) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&stat.st_ino.to_le_bytes());
    hasher.update(&stat.st_ctime.to_le_bytes()).update(&stat.st_ctime_nsec.to_le_bytes());
    *hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// The number of a group of hard links. On the folder's own device it is the inode, so that it stays the same from run to run.
fn group((device, inode): Identity, home: u64) -> u64 {
    match device == home {
        true => inode,
        // Inodes are far below 2⁶³, so groups of other devices never meet those of this one.
        false => {
            let hash = blake3::hash(&[device.to_le_bytes(), inode.to_le_bytes()].concat());
            let first = hash.as_bytes().first_chunk().expect("a hash has more than eight bytes");
            u64::from_le_bytes(*first) | 1 << 63
        }
    }
}

/// A node with what `stat` says.
#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between systems")]
pub(super) fn node_of(name: &[u8], kind: NodeKind, stat: &Stat) -> Node {
    Node { mode: stat.st_mode as u32, uid: stat.st_uid, gid: stat.st_gid, mtime: mtime(stat), ..Node::new(name, kind) }
}

#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between systems")]
pub(super) fn mtime(stat: &Stat) -> (i64, u32) {
    (stat.st_mtime as i64, stat.st_mtime_nsec as u32)
}

/// Reads a node's extended attributes. `note` is told what could not be read.
pub(super) fn read_xattrs(node: &mut Node, fd: BorrowedFd<'_>, folder: &Path, note: &mut dyn FnMut(String)) {
    let name = OsStr::from_bytes(&node.name);
    let mut path = folder.join(name);
    // Longer paths than the system takes go by way of the opened directory.
    if path.as_os_str().len() >= 4096 {
        path = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd())).join(name);
    }
    let names = match xattr::list(&path) {
        Ok(names) => names,
        // This file system has none, or the file vanished, which is found out elsewhere.
        Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::NotFound) => return,
        Err(error) => return note(format!("its extended attributes: {error}")),
    };
    let mut total = 0;
    for name in names {
        let Some(text) = name.to_str() else {
            note(format!("the extended attribute {name:?} has a name that is no text"));
            continue;
        };
        match xattr::get(&path, &name) {
            Ok(Some(value)) if total + value.len() + text.len() <= MOST_XATTR_BYTES => {
                total += value.len() + text.len();
                node.xattrs.push((text.to_owned(), value));
            }
            Ok(Some(value)) => note(format!("the extended attribute {text} is too long to keep ({} bytes)", value.len())),
            // It was removed meanwhile.
            Ok(None) => {}
            Err(error) => note(format!("the extended attribute {text}: {error}")),
        }
    }
    node.xattrs.sort();
}
