//! Names everything below a folder, level by level, beside what the snapshot before had there.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use russet_repository::Reader;
use russet_repository::format::snapshot::{Problem, ProblemKind, Severity};
use russet_repository::format::tree::{Content, Node, NodeKind, check_name};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use super::{look, problem, unread};
use crate::{BackupError, Result};

/// No deeper folder is entered.
const DEEPEST: usize = 500;

/// A device's number and a file's on it.
pub(super) type Identity = (u64, u64);

#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between systems")]
pub(super) fn identity(stat: &Stat) -> Identity {
    (stat.st_dev as u64, stat.st_ino)
}

/// A directory that was found.
pub(super) struct Directory {
    /// The directory it is in; none for the root.
    pub parent: Option<usize>,
    pub name: Vec<u8>,
    /// Its attributes; none if it vanished.
    pub node: Option<Node>,
}

/// A name in a directory that is no directory.
pub(super) struct Entry {
    pub directory: usize,
    pub name: Vec<u8>,
    /// What the snapshot before had under this name, unless nothing has changed.
    pub previous: Option<Box<Node>>,
    /// What is stored; none if it could not be read.
    pub node: Option<Node>,
    /// A file whose content must be read: its length and identity.
    pub to_read: Option<(u64, Option<Identity>)>,
}

impl Entry {
    /// The length of a file.
    pub(super) fn size(&self) -> Option<u64> {
        match (&self.to_read, &self.node) {
            (Some((size, _)), _) => Some(*size),
            (None, Some(node)) if matches!(node.kind, NodeKind::File(_)) => Some(node.size()),
            _ => None,
        }
    }

    /// What the file was in the snapshot before, if it has changed since.
    pub(super) fn former(&self) -> Option<&Content> {
        match &self.previous.as_ref()?.kind {
            NodeKind::File(content) => Some(content),
            _ => None,
        }
    }

    pub(super) fn pending(&self) -> bool {
        self.to_read.is_some()
    }
}

/// All that was found.
pub(super) struct Scan {
    pub root: OwnedFd,
    pub folder: PathBuf,
    /// The device that the folder is on.
    pub device: u64,
    /// Each after the one it is in.
    pub directories: Vec<Directory>,
    /// Those of one directory lie together, names ascending.
    pub entries: Vec<Entry>,
    /// The directories of each depth.
    pub levels: Vec<Range<usize>>,
    pub problems: Vec<Problem>,
}

impl Scan {
    /// Where an entry is, relative to the folder, for people.
    pub(super) fn path(&self, entry: &Entry) -> PathBuf {
        path_of(&self.directories, Some(entry.directory), &entry.name)
    }
}

/// Names from the root to `name`, joined.
fn path_of(directories: &[Directory], mut at: Option<usize>, name: &[u8]) -> PathBuf {
    let mut names = vec![name];
    while let Some(number) = at {
        names.push(&directories[number].name);
        at = directories[number].parent;
    }
    names.into_iter().rev().filter(|name| !name.is_empty()).map(OsStr::from_bytes).collect()
}

/// A way to directories: keeps the last one open, since neighbours are wanted one after the other.
pub(super) struct Cursor<'a> {
    root: BorrowedFd<'a>,
    folder: &'a Path,
    number: usize,
    /// None at the root.
    fd: Option<OwnedFd>,
    path: PathBuf,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(root: BorrowedFd<'a>, folder: &'a Path) -> Cursor<'a> {
        Cursor { root, folder, number: 0, fd: None, path: folder.to_owned() }
    }

    /// Opens a directory name by name, so that no link is followed, and gives its full path beside it.
    pub(super) fn enter(&mut self, directories: &[Directory], number: usize) -> rustix::io::Result<(BorrowedFd<'_>, &Path)> {
        let (mut way, mut at) = (Vec::new(), number);
        while let (true, Some(parent)) = (at != self.number, directories[at].parent) {
            way.push(at);
            at = parent;
        }
        if at != self.number {
            *self = Cursor::new(self.root, self.folder);
        }
        for at in way.into_iter().rev() {
            self.fd = Some(open_directory(self.here(), &directories[at].name)?);
            self.path.push(OsStr::from_bytes(&directories[at].name));
            self.number = at;
        }
        Ok((self.here(), &self.path))
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().map_or(self.root, AsFd::as_fd)
    }
}

fn open_directory(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, OsStr::from_bytes(name), flags, Mode::empty())
}

/// What one directory holds.
#[derive(Default)]
struct Listing {
    node: Option<Node>,
    files: Vec<(Vec<u8>, Option<Box<Node>>)>,
    directories: Vec<(Vec<u8>, Option<Content>)>,
    problems: Vec<Problem>,
}

/// Names everything below `folder`. `previous` is the root of the snapshot before.
pub(super) fn scan(
    folder: &Path,
    reader: &Reader,
    previous: Option<&Content>,
    excluded: impl Iterator<Item = PathBuf>,
) -> Result<Scan> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fail = |error: Errno| BackupError::Io { path: folder.to_owned(), source: error.into() };
    let root = openat(CWD, folder, flags, Mode::empty()).map_err(fail)?;
    // By identity, since a folder may be reached by many names.
    let excluded: HashSet<Identity> =
        excluded.filter_map(|path| statat(CWD, &path, AtFlags::empty()).ok()).map(|stat| identity(&stat)).collect();
    let home = identity(&fstat(&root).map_err(fail)?);
    if excluded.contains(&home) {
        return Err(BackupError::Excluded { path: folder.to_owned() });
    }

    let mut directories = vec![Directory { parent: None, name: Vec::new(), node: None }];
    let (mut entries, mut levels, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    let mut level = vec![previous.cloned()];
    while !level.is_empty() {
        let range = directories.len() - level.len()..directories.len();
        let wanted: Vec<_> = range.clone().zip(level).collect();
        // At the deepest level directories are kept by name, and not entered.
        let deep = levels.len() > DEEPEST;
        let cursor = || Cursor::new(root.as_fd(), folder);
        let listings = wanted.into_par_iter().map_init(cursor, |cursor, (number, previous)| {
            let listing = list(cursor, &directories, number, previous.as_ref(), reader, &excluded, deep);
            (number, listing)
        });
        let listings: Vec<(usize, Listing)> = listings.collect();
        level = Vec::new();
        for (number, listing) in listings {
            directories[number].node = listing.node;
            problems.extend(listing.problems);
            entries.extend((listing.files.into_iter()).map(|(name, previous)| Entry {
                directory: number,
                name,
                previous,
                node: None,
                to_read: None,
            }));
            for (name, previous) in listing.directories {
                directories.push(Directory { parent: Some(number), name, node: None });
                level.push(previous);
            }
        }
        levels.push(range);
    }
    Ok(Scan { root, folder: folder.to_owned(), device: home.0, directories, entries, levels, problems })
}

fn list(
    cursor: &mut Cursor<'_>,
    directories: &[Directory],
    number: usize,
    previous: Option<&Content>,
    reader: &Reader,
    excluded: &HashSet<Identity>,
    deep: bool,
) -> Listing {
    let mut listing = Listing::default();
    let Directory { parent, name, .. } = &directories[number];
    let shown = path_of(directories, Some(number), b"");
    let found = match *parent {
        None => cursor.enter(directories, number).and_then(|(fd, _)| names(fd)),
        Some(parent) => cursor.enter(directories, parent).and_then(|(fd, path)| {
            // Its attributes come first: it is kept even if it cannot be entered.
            let stat = statat(fd, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW)?;
            if excluded.contains(&identity(&stat)) {
                return Ok(Vec::new());
            }
            let mut node = look::node_of(name, NodeKind::Directory(Content::default()), &stat);
            look::read_xattrs(&mut node, fd, path, &mut |note| {
                listing.problems.push(problem(ProblemKind::Unreadable, Severity::Note, &shown, note));
            });
            listing.node = Some(node);
            if deep {
                let detail = format!("it lies more than {DEEPEST} folders deep");
                listing.problems.push(problem(ProblemKind::HostileName, Severity::Loss, &shown, detail));
                return Ok(Vec::new());
            }
            names(open_directory(fd, name)?.as_fd())
        }),
    };
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            listing.problems.push(unread(&shown, error));
            return listing;
        }
    };
    // A damaged snapshot before is like none: everything is read again.
    let mut old = previous.and_then(|content| reader.nodes(content).ok()).unwrap_or_default();
    let mut take_old = |name: &[u8]| {
        let at = old.binary_search_by(|node| (*node.name).cmp(name)).ok()?;
        Some(std::mem::replace(&mut old[at], Node::new(name, NodeKind::Other)))
    };
    for (name, kind) in found {
        let old = take_old(&name);
        if check_name(&name).is_err() {
            let path = path_of(directories, Some(number), &name);
            listing.problems.push(problem(ProblemKind::HostileName, Severity::Loss, &path, "it cannot be kept"));
        } else if kind == FileType::Directory {
            let previous = old.and_then(|node| match node.kind {
                NodeKind::Directory(content) => Some(content),
                _ => None,
            });
            listing.directories.push((name, previous));
        } else {
            listing.files.push((name, old.map(Box::new)));
        }
    }
    listing
}

/// The names in a directory and their types, ascending.
fn names(fd: BorrowedFd<'_>) -> rustix::io::Result<Vec<(Vec<u8>, FileType)>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(fd)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems do not say. What vanished meanwhile is found missing later.
            FileType::Unknown => statat(fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
            known => known,
        };
        names.push((name.to_vec(), kind));
    }
    // A directory that changes while it is listed may name something twice.
    names.sort_by(|a, b| a.0.cmp(&b.0));
    names.dedup_by(|a, b| a.0 == b.0);
    Ok(names)
}
