//! Folders inside the target, opened without ever following a link, and what this run has made in them.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, mkdirat, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::{Errno, Result};

use super::name::Names;
use super::{Attributes, lock, shown};

/// Opened folders that are kept at hand.
const MOST_OPEN: usize = 64;

/// A device's number and a file's on it.
pub(super) type Identity = (u64, u64);

#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between systems")]
pub(super) fn identity(stat: &Stat) -> Identity {
    (stat.st_dev as u64, stat.st_ino)
}

/// What is there under a name.
pub(super) enum Existing {
    Nothing,
    /// Made by this run.
    Ours,
    /// A directory that was there before.
    Directory,
    /// Anything else that was there before.
    File,
}

/// Everything that this run has made.
#[derive(Default)]
pub(super) struct Made {
    identities: Mutex<HashSet<Identity>>,
    /// Held while something is looked at and then replaced.
    replacing: Mutex<()>,
}

impl Made {
    pub(super) fn insert(&self, identity: Identity) {
        lock(&self.identities).insert(identity);
    }

    pub(super) fn remove(&self, identity: Identity) {
        lock(&self.identities).remove(&identity);
    }

    pub(super) fn look(&self, fd: BorrowedFd<'_>, name: &[u8]) -> Result<Existing> {
        let stat = match statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // What a disk cannot hold is not there either.
            Err(Errno::NOENT | Errno::INVAL | Errno::ILSEQ | Errno::NAMETOOLONG) => return Ok(Existing::Nothing),
            Err(error) => return Err(error),
        };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            _ if lock(&self.identities).contains(&identity(&stat)) => Existing::Ours,
            FileType::Directory => Existing::Directory,
            _ => Existing::File,
        })
    }
}

/// Renames a file to a name that nothing has.
pub(super) fn rename_to_new(fd: BorrowedFd<'_>, from: &[u8], to: &[u8], made: &Made) -> Result<()> {
    match renameat_with(fd, from, fd, to, RenameFlags::NOREPLACE) {
        Err(error @ (Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)) => {
            // A file system that cannot promise this, or a name that it cannot hold: then nobody else of this run may come between.
            let _guard = lock(&made.replacing);
            match made.look(fd, to)? {
                Existing::Nothing => renameat(fd, from, fd, to).map_err(|_| error),
                _ => Err(Errno::EXIST),
            }
        }
        other => other,
    }
}

/// Renames a file over one that was there before this run. False if another thread was first.
pub(super) fn replace(fd: BorrowedFd<'_>, from: &[u8], to: &[u8], made: &Made) -> Result<bool> {
    let _guard = lock(&made.replacing);
    match made.look(fd, to)? {
        Existing::Ours | Existing::Directory => Ok(false),
        Existing::Nothing => renameat(fd, from, fd, to).map(|()| true),
        // Swapped and then removed, since ext4 writes a file to the disk before it lets it replace another by a plain rename.
        Existing::File => match renameat_with(fd, from, fd, to, RenameFlags::EXCHANGE) {
            Ok(()) => unlinkat(fd, from, AtFlags::empty()).map(|()| true),
            Err(_) => renameat(fd, from, fd, to).map(|()| true),
        },
    }
}

struct Folder {
    parent: usize,
    depth: usize,
    wanted: Vec<u8>,
    /// What it is called on the disk.
    name: Vec<u8>,
    /// By the names that were wanted.
    children: HashMap<Vec<u8>, usize>,
    attributes: Option<Attributes>,
    fresh: bool,
}

/// The folders that were wanted so far. The first is the target itself.
pub(super) struct Folders {
    root: Arc<OwnedFd>,
    folders: RwLock<Vec<Folder>>,
    open: Mutex<HashMap<usize, (Arc<OwnedFd>, u64)>>,
    clock: AtomicU64,
    made: AtomicU64,
}

impl Folders {
    pub(super) fn new(root: OwnedFd, fresh: bool) -> Folders {
        let folder = Folder {
            parent: 0,
            depth: 0,
            wanted: Vec::new(),
            name: Vec::new(),
            children: HashMap::new(),
            attributes: None,
            fresh,
        };
        Folders {
            root: Arc::new(root),
            folders: RwLock::new(vec![folder]),
            open: Mutex::default(),
            clock: AtomicU64::new(0),
            made: AtomicU64::new(0),
        }
    }

    /// The folder for these components. `renamed` is told the depth and the name of each that got another name.
    pub(super) fn find_or_make(
        &self,
        components: &[&[u8]],
        names: &Names,
        made: &Made,
        renamed: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<usize> {
        let descend = |folders: &[Folder]| {
            let mut at = 0;
            for (depth, component) in components.iter().enumerate() {
                match folders[at].children.get(*component) {
                    Some(&child) => at = child,
                    None => return (at, depth),
                }
            }
            (at, components.len())
        };
        let (at, depth) = descend(&self.folders.read().unwrap_or_else(PoisonError::into_inner));
        if depth == components.len() {
            return Ok(at);
        }
        // Folders are few, so whoever makes one keeps the others waiting, and nobody finds one that is not there yet.
        let mut folders = self.folders.write().unwrap_or_else(PoisonError::into_inner);
        let (mut at, from) = descend(&folders);
        for (depth, &component) in components.iter().enumerate().skip(from) {
            let parent = self.fd_in(&folders, at)?;
            let (fd, name, fresh) = make(parent.as_fd(), component, names, made)?;
            if name != component {
                renamed(depth + 1, &name);
            }
            self.made.fetch_add(u64::from(fresh), Ordering::Relaxed);
            let child = folders.len();
            let wanted = component.to_vec();
            folders[at].children.insert(wanted.clone(), child);
            let folder = Folder { parent: at, depth: depth + 1, wanted, name, children: HashMap::new(), attributes: None, fresh };
            folders.push(folder);
            self.keep_open(child, &Arc::new(fd));
            at = child;
        }
        Ok(at)
    }

    /// An opened folder.
    pub(super) fn fd(&self, folder: usize) -> Result<Arc<OwnedFd>> {
        self.fd_in(&self.folders.read().unwrap_or_else(PoisonError::into_inner), folder)
    }

    fn fd_in(&self, folders: &[Folder], folder: usize) -> Result<Arc<OwnedFd>> {
        let (mut way, mut at) = (Vec::new(), folder);
        let mut fd = loop {
            if at == 0 {
                break self.root.clone();
            }
            if let Some((fd, used)) = lock(&self.open).get_mut(&at) {
                *used = self.clock.fetch_add(1, Ordering::Relaxed);
                break fd.clone();
            }
            way.push(at);
            at = folders[at].parent;
        };
        for at in way.into_iter().rev() {
            fd = Arc::new(open(fd.as_fd(), &folders[at].name)?);
            self.keep_open(at, &fd);
        }
        Ok(fd)
    }

    fn keep_open(&self, folder: usize, fd: &Arc<OwnedFd>) {
        let mut open = lock(&self.open);
        open.insert(folder, (fd.clone(), self.clock.fetch_add(1, Ordering::Relaxed)));
        if open.len() > MOST_OPEN {
            let oldest = open.iter().min_by_key(|(_, (_, used))| *used).map(|(&folder, _)| folder);
            oldest.and_then(|oldest| open.remove(&oldest));
        }
    }

    /// Whether this run made it.
    pub(super) fn is_fresh(&self, folder: usize) -> bool {
        self.folders.read().unwrap_or_else(PoisonError::into_inner)[folder].fresh
    }

    pub(super) fn keep_attributes(&self, folder: usize, attributes: Attributes) {
        self.folders.write().unwrap_or_else(PoisonError::into_inner)[folder].attributes = Some(attributes);
    }

    /// Folders whose attributes are to be set, with what they are called for people. Those that were there before keep
    /// theirs unless `all`.
    pub(super) fn deepest_first(&self, all: bool) -> Vec<(usize, Attributes, String)> {
        let mut folders = self.folders.write().unwrap_or_else(PoisonError::into_inner);
        let mut wanted: Vec<_> = (0..folders.len())
            .filter_map(|at| {
                let folder = &mut folders[at];
                let attributes = folder.attributes.take()?;
                (all || folder.fresh).then_some((folder.depth, at, attributes))
            })
            .collect();
        wanted.sort_by_key(|&(depth, at, _)| std::cmp::Reverse((depth, at)));
        let path = |mut at: usize| {
            let mut names = Vec::new();
            while at != 0 {
                names.push(&*folders[at].wanted);
                at = folders[at].parent;
            }
            names.reverse();
            shown(&names)
        };
        wanted.into_iter().map(|(_, at, kept)| (at, kept, path(at))).collect()
    }

    /// How many folders were made.
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }
}

fn open(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Makes a folder, or takes one that was there before, under the first name that it can have.
fn make(parent: BorrowedFd<'_>, wanted: &[u8], names: &Names, made: &Made) -> Result<(OwnedFd, Vec<u8>, bool)> {
    let mut refused = Errno::EXIST;
    for candidate in names.candidates(wanted) {
        let fresh = match mkdirat(parent, &*candidate, Mode::from_raw_mode(0o700)) {
            Ok(()) => true,
            Err(Errno::EXIST) => match made.look(parent, &candidate)? {
                Existing::Directory => false,
                // A file or a link has the name: nothing is made inside it.
                Existing::Nothing | Existing::Ours | Existing::File => continue,
            },
            Err(error @ (Errno::INVAL | Errno::ILSEQ | Errno::NAMETOOLONG)) => {
                refused = error;
                continue;
            }
            Err(error) => return Err(error),
        };
        let fd = open(parent, &candidate)?;
        made.insert(identity(&rustix::fs::fstat(&fd)?));
        return Ok((fd, candidate, fresh));
    }
    Err(refused)
}
