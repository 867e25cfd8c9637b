//! The kernel's questions, answered out of a [`Tree`].
//!
//! Nothing that is in a date ever changes, so the kernel may keep for long what it was told: names, attributes and contents.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEntry, ReplyOpen,
    ReplyStatfs, Request, Session, SessionUnmounter,
};

use crate::point::{detach, is_dead};
use crate::tree::{Attributes, Kind, OpenFile, Tree};
use crate::{MountError, TreeError};

/// Requests that are answered at one time, so that one that waits for a disk delays no other.
const THREADS: usize = 8;
/// Reads that the kernel may have asked for ahead of the programs that want them.
const MOST_IN_FLIGHT: u16 = 64;

/// Files that count as open.
const MOST_OPEN: usize = 64;

/// How long the kernel may believe what never changes, and what may.
const LASTING: Duration = Duration::from_secs(24 * 60 * 60);
const FLEETING: Duration = Duration::from_secs(1);

/// A tree that is mounted.
#[derive(Debug)]
pub struct Mounted {
    session: Session<Answers>,
    path: PathBuf,
}

/// Ends a mount from another thread.
#[derive(Debug)]
pub struct Unmounter {
    inner: SessionUnmounter,
    path: PathBuf,
}

/// How a mount ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It is gone.
    Cleanly,
    /// It is gone from its folder, but somebody still has files in it open.
    InUse,
}

/// Mounts a tree on an empty folder. Nobody is answered before [`Mounted::serve`].
pub fn mount(tree: Tree, path: &Path) -> Result<Mounted, MountError> {
    let mut config = Config::default();
    config.mount_options = vec![MountOption::RO, MountOption::FSName("russet".into()), MountOption::NoAtime];
    // Elsewhere the library knows one thread only.
    config.n_threads = Some(if cfg!(target_os = "linux") { THREADS } else { 1 });
    config.clone_fd = cfg!(target_os = "linux");
    let answers = Answers {
        tree,
        owner: (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()),
        files: Mutex::default(),
        spares_open: false,
    };
    let session = Session::new(answers, path, &config).map_err(|source| MountError::Refused { path: path.to_owned(), source })?;
    Ok(Mounted { session, path: path.to_owned() })
}

impl Mounted {
    /// What ends it.
    pub fn unmounter(&mut self) -> Unmounter {
        Unmounter { inner: self.session.unmount_callable(), path: self.path.clone() }
    }

    /// Answers the kernel until it is unmounted, by us or by anybody.
    pub fn serve(self) -> Result<(), MountError> {
        self.session.run().map_err(|source| MountError::Connection { source })
    }
}

impl Unmounter {
    /// Ends the mount. If somebody is still in it, it is taken out of its folder all the same.
    pub fn unmount(&mut self) -> Result<Ended, MountError> {
        match self.inner.unmount() {
            Ok(()) => Ok(Ended::Cleanly),
            Err(_) if is_dead(&self.path) => Ok(Ended::Cleanly),
            Err(_) => detach(&self.path).map(|()| Ended::InUse),
        }
    }
}

#[derive(Debug)]
struct Answers {
    tree: Tree,
    /// Everything belongs to whoever mounts: nobody else is let in.
    owner: (u32, u32),
    files: Mutex<Files>,
    spares_open: bool,
}

/// Files that are being read. The kernel is spared telling when it opens and closes one, which is most of what it would say of small
/// files; so those that were read last count as open.
#[derive(Debug, Default)]
struct Files {
    open: HashMap<u64, (Arc<OpenFile>, u64)>,
    clock: u64,
}

impl Files {
    fn find(&mut self, ino: u64) -> Option<Arc<OpenFile>> {
        self.clock += 1;
        let (file, used) = self.open.get_mut(&ino)?;
        *used = self.clock;
        Some(file.clone())
    }

    /// Keeps a file, unless another thread was faster.
    fn keep(&mut self, ino: u64, file: OpenFile) -> Arc<OpenFile> {
        while self.open.len() >= MOST_OPEN && !self.open.contains_key(&ino) {
            let oldest = self.open.iter().min_by_key(|(_, (_, used))| *used).map(|(&ino, _)| ino);
            oldest.map(|oldest| self.open.remove(&oldest));
        }
        self.open.entry(ino).or_insert_with(|| (Arc::new(file), self.clock)).0.clone()
    }
}

impl From<&TreeError> for Errno {
    fn from(error: &TreeError) -> Errno {
        match error {
            TreeError::NoEntry => Errno::ENOENT,
            TreeError::NotADirectory => Errno::ENOTDIR,
            TreeError::IsADirectory => Errno::EISDIR,
            TreeError::NotALink => Errno::EINVAL,
            TreeError::Stale => Errno::ESTALE,
            TreeError::Repository(_) | TreeError::Vfs(_) => Errno::EIO,
        }
    }
}

fn time((seconds, nanoseconds): (i64, u32)) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let second = if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    second.and_then(|second| second.checked_add(Duration::from_nanos(nanoseconds.into()))).unwrap_or(UNIX_EPOCH)
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::File => FileType::RegularFile,
        Kind::Symlink => FileType::Symlink,
    }
}

fn validity(attributes: &Attributes) -> &'static Duration {
    if attributes.lasting { &LASTING } else { &FLEETING }
}

impl Answers {
    fn attr(&self, attributes: &Attributes) -> FileAttr {
        let modified = time(attributes.modified);
        FileAttr {
            ino: INodeNo(attributes.ino),
            size: attributes.size,
            blocks: attributes.size.div_ceil(512),
            atime: modified,
            mtime: modified,
            ctime: modified,
            crtime: modified,
            kind: file_type(attributes.kind),
            perm: attributes.permissions,
            nlink: 1,
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: 128 << 10,
            flags: 0,
        }
    }

    fn file(&self, ino: INodeNo) -> Result<Arc<OpenFile>, TreeError> {
        let files = || self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files().find(ino.0) {
            return Ok(file);
        }
        let file = self.tree.open(ino.0)?;
        Ok(files().keep(ino.0, file))
    }

    fn is_lasting(&self, ino: INodeNo) -> bool {
        self.tree.attributes(ino.0).is_ok_and(|attributes| attributes.lasting)
    }

    /// Shows a folder with `.` and `..` before its entries, each with the offset of the one after it.
    fn list(&self, ino: u64, offset: u64, add: &mut dyn FnMut(u64, &[u8], &Attributes) -> bool) -> Result<(), TreeError> {
        let itself = self.tree.attributes(ino)?;
        if offset == 0 && add(1, b".", &itself) {
            return Ok(());
        }
        if offset <= 1 {
            let parent = self.tree.attributes(self.tree.parent(ino)?)?;
            if add(2, b"..", &parent) {
                return Ok(());
            }
        }
        let mut next = offset.max(2);
        self.tree.list(ino, (next - 2) as usize, &mut |name, attributes| {
            next += 1;
            !add(next, name, &attributes)
        })
    }
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Filesystem for Answers {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let wanted = InitFlags::FUSE_PARALLEL_DIROPS | InitFlags::FUSE_DO_READDIRPLUS | InitFlags::FUSE_READDIRPLUS_AUTO;
        for capability in wanted.iter() {
            // An older kernel does without.
            config.add_capabilities(capability).unwrap_or_default();
        }
        self.spares_open = config.add_capabilities(InitFlags::FUSE_NO_OPEN_SUPPORT).is_ok();
        config.set_max_background(MOST_IN_FLIGHT).unwrap_or_default();
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.tree.lookup(parent.0, name.as_bytes()) {
            Ok(attributes) => reply.entry(validity(&attributes), &self.attr(&attributes), Generation(0)),
            Err(error) => reply.error((&error).into()),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.tree.attributes(ino.0) {
            Ok(attributes) => reply.attr(validity(&attributes), &self.attr(&attributes)),
            Err(error) => reply.error((&error).into()),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.tree.link(ino.0) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error((&error).into()),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // The kernel takes this for "there is no need to ask", asks no more, and keeps contents.
        match self.spares_open {
            true => reply.error(Errno::ENOSYS),
            false => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(buffer.len().max(size as usize), 0);
            let out = &mut buffer[..size as usize];
            match self.file(ino).and_then(|file| self.tree.read(&file, offset, out)) {
                Ok(filled) => reply.data(&out[..filled]),
                Err(error) => reply.error((&error).into()),
            }
        });
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let flags = match self.is_lasting(ino) {
            true => FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR,
            false => FopenFlags::empty(),
        };
        reply.opened(FileHandle(0), flags);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let outcome = self.list(ino.0, offset, &mut |next, name, attributes| {
            reply.add(INodeNo(attributes.ino), next, file_type(attributes.kind), OsStr::from_bytes(name))
        });
        match outcome {
            Ok(()) => reply.ok(),
            Err(error) => reply.error((&error).into()),
        }
    }

    fn readdirplus(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let outcome = self.list(ino.0, offset, &mut |next, name, attributes| {
            let attr = self.attr(attributes);
            reply.add(attr.ino, next, OsStr::from_bytes(name), validity(attributes), &attr, Generation(0))
        });
        match outcome {
            Ok(()) => reply.ok(),
            Err(error) => reply.error((&error).into()),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        const BLOCK: u32 = 4096;
        let (bytes, files) = self.tree.totals();
        reply.statfs(bytes.div_ceil(BLOCK.into()), 0, 0, files, 0, BLOCK, 255, BLOCK);
    }
}
