//! The only place that writes a snapshot's files to a person's disk.
//!
//! Names and links in a snapshot come from a phone, or from whoever could write to it: they are hostile until they are placed.
//! Three rules contain them. Every folder is opened name by name below the target, never through a link, and files are made inside
//! opened folders only. A name is one component: what could lead elsewhere is written with `%`. And symbolic links come last.
//!
//! Which names clash is for the disk to say, since only it knows how it folds case and accents: each file is made under a temporary
//! name and renamed to its own, never onto something that this run has made.

pub mod name;

mod error;
mod place;
mod write;

use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use russet_repository::format::tree::Node;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawMode, Stat};
use rustix::fs::{
    chownat, fchmod, fchown, fstat, fstatvfs, ftruncate, futimens, linkat, openat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use name::Names;
use place::{Existing, Folders, Identity, Made, identity};
use write::{attributes_of, fill, owner, times, wanted_mode, write_piece};

pub use error::TargetError;

const BUFFER: usize = 256 << 10;
const THERE_ALREADY: &str = "there already";

/// Gives a content out, piece by piece, to what it is called with, and ends at the first error of that.
pub type Pieces<'a> = dyn FnMut(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> + 'a;

/// The result of writing.
pub type Result<T, E = TargetError> = std::result::Result<T, E>;

/// How files are written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Replace files that are there already.
    pub overwrite: bool,
    /// Restore owners, the bits that lend them, and the attributes that belong to the system. Only root can.
    pub owners: bool,
    /// Use only names that every system can hold, even where this disk could hold others.
    pub portable: bool,
}

/// What a file has beside its name and content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `st_mode`; 0 if nobody knows, for a mode that only the owner can use.
    pub mode: u32,
    /// Modified: Unix seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// User and group.
    pub owner: (u32, u32),
    /// Extended attributes.
    pub xattrs: Vec<(String, Vec<u8>)>,
    /// Long runs of zeros become holes.
    pub sparse: bool,
}

impl From<&Node> for Attributes {
    fn from(node: &Node) -> Attributes {
        let Node { mode, uid, gid, mtime, xattrs, sparse, .. } = node;
        Attributes { mode: *mode, mtime: *mtime, owner: (*uid, *gid), xattrs: xattrs.clone(), sparse: *sparse }
    }
}

/// Where a file was placed.
#[derive(Debug, Clone)]
pub struct Placed {
    folder: usize,
    name: Vec<u8>,
    identity: Option<Identity>,
}

impl Placed {
    /// False if something was there already, so that nothing was written.
    pub fn is_written(&self) -> bool {
        self.identity.is_some()
    }

    /// The name that it has in its folder, or that what was there already has.
    pub fn name(&self) -> &[u8] {
        &self.name
    }
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Files.
    pub files: u64,
    /// Bytes of their contents.
    pub bytes: u64,
    /// Folders that were made.
    pub directories: u64,
    /// Symbolic and hard links.
    pub links: u64,
    /// Names that this disk could not hold or that clashed: what was wanted, and what it became.
    pub renamed: Vec<(String, String)>,
    /// What was not written, and why.
    pub skipped: Vec<(String, String)>,
}

struct Link {
    folder: usize,
    wanted: Vec<u8>,
    target: Vec<u8>,
    attributes: Attributes,
    shown: String,
}

/// A folder that files are written into, from any number of threads.
#[must_use = "symbolic links and the dates of folders are written by `finish`"]
pub struct Target {
    path: PathBuf,
    options: Options,
    names: Names,
    folders: Folders,
    made: Made,
    buffers: Mutex<Vec<Vec<u8>>>,
    process: u32,
    temporary: AtomicU64,
    report: Mutex<Written>,
    links: Mutex<Vec<Link>>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({})", self.path.display())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Components as people read them.
fn shown(components: &[&[u8]]) -> String {
    components.iter().map(|c| String::from_utf8_lossy(c)).collect::<Vec<_>>().join("/")
}

impl Target {
    /// Opens a folder to write into, and makes it if it is not there. The folder itself may be reached through links.
    pub fn open(dir: &Path, options: Options) -> Result<Target> {
        let fail = |error: io::Error| match error.kind() {
            io::ErrorKind::NotADirectory => TargetError::NotAFolder { path: dir.to_owned() },
            // Making a folder where a file is.
            io::ErrorKind::AlreadyExists => TargetError::NotAFolder { path: dir.to_owned() },
            _ => TargetError::new(dir.to_owned(), error),
        };
        let fresh = !dir.exists();
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fail)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, dir, flags, Mode::empty()).map_err(|error| fail(error.into()))?;
        let longest = fstatvfs(&root).map_or(255, |fs| usize::try_from(fs.f_namemax).unwrap_or(255).clamp(64, 255));
        let root_identity = fstat(&root).map_err(|error| fail(error.into()))?;
        let made = Made::default();
        made.insert(identity(&root_identity));
        Ok(Target {
            path: dir.to_owned(),
            options: Options { owners: options.owners && rustix::process::geteuid().is_root(), ..options },
            names: Names { portable: options.portable || cfg!(windows), longest },
            folders: Folders::new(root, fresh),
            made,
            buffers: Mutex::default(),
            process: std::process::id(),
            temporary: AtomicU64::new(0),
            report: Mutex::default(),
            links: Mutex::default(),
        })
    }

    /// Makes a directory and those it is in. Its attributes are set at the end. No components mean the target itself.
    pub fn directory(&self, components: &[&[u8]], attributes: &Attributes) -> Result<()> {
        let folder = self.folder(components)?;
        self.folders.keep_attributes(folder, attributes.clone());
        Ok(())
    }

    /// Writes a file. Until it is whole it has a temporary name.
    pub fn file(&self, components: &[&[u8]], attributes: &Attributes, content: &mut dyn Read) -> Result<Placed> {
        self.file_of_pieces(components, attributes, &mut |put| {
            let mut buffer = lock(&self.buffers).pop().unwrap_or_else(|| vec![0; BUFFER]);
            loop {
                let (filled, end) = fill(content, &mut buffer)?;
                put(&buffer[..filled])?;
                if end {
                    break;
                }
            }
            lock(&self.buffers).push(buffer);
            Ok(())
        })
    }

    /// Writes a file whose content comes piece by piece, each of which goes to the disk from where it lies.
    pub fn file_of_pieces(&self, components: &[&[u8]], attributes: &Attributes, content: &mut Pieces<'_>) -> Result<Placed> {
        let (folder, wanted) = self.parent(components)?;
        let fail = |error: Errno| self.error(components, error);
        let fd = self.folders.fd(folder).map_err(fail)?;
        // What is there already is found out before a long content is read for nothing. In a folder that this run made nothing is.
        if !self.folders.is_fresh(folder)
            && let Some(name) = self.occupied(fd.as_fd(), wanted).map_err(fail)?
        {
            return Ok(self.skip_existing(folder, name, components));
        }
        let (file, temporary) = self.temporary_file(fd.as_fd(), attributes).map_err(fail)?;
        let stat = fstat(&file).map_err(fail)?;
        let identity = identity(&stat);
        // Before the file gets its name, so that nobody who finds it there can take it for a stranger's.
        self.made.insert(identity);
        let outcome = self
            .write(&file, &stat, components, attributes, content)
            .and_then(|bytes| Ok((bytes, self.settle(fd.as_fd(), &temporary, wanted).map_err(fail)?)));
        if !matches!(outcome, Ok((_, Settled::As(_)))) {
            self.made.remove(identity);
            // The error that matters is the first one; what could not be removed has a name that says what it is.
            unlinkat(&fd, &*temporary, AtFlags::empty()).ok();
        }
        match outcome? {
            (_, Settled::Occupied(name)) => Ok(self.skip_existing(folder, name, components)),
            (bytes, Settled::As(name)) => {
                self.note_name(components, wanted, &name);
                let mut report = lock(&self.report);
                report.files += 1;
                report.bytes += bytes;
                Ok(Placed { folder, name, identity: Some(identity) })
            }
        }
    }

    /// Gives a file that was placed another name. Where the disk has no hard links the file is copied. What links to a file that
    /// was skipped is skipped too; a caller who wants it nonetheless asks [`Placed::is_written`] and writes it as a file.
    pub fn hard_link(&self, components: &[&[u8]], to: &Placed) -> Result<()> {
        let fail = |error: Errno| self.error(components, error);
        let Some(identity) = to.identity else {
            self.skip(&shown(components), "another name of the same file was there already");
            return Ok(());
        };
        let (folder, wanted) = self.parent(components)?;
        let from = self.folders.fd(to.folder).map_err(fail)?;
        let fd = self.folders.fd(folder).map_err(fail)?;
        if let Some(name) = self.occupied(fd.as_fd(), wanted).map_err(fail)? {
            self.skip_existing(folder, name, components);
            return Ok(());
        }
        let temporary = self.temporary_name();
        // Links are of the file itself: no flag says that a symbolic link is to be followed.
        let mut linked = linkat(&from, &*to.name, &fd, &*temporary, AtFlags::empty());
        if linked.is_ok()
            && statat(&fd, &*temporary, AtFlags::SYMLINK_NOFOLLOW).map(|stat| place::identity(&stat)) != Ok(identity)
        {
            // Someone has put another file in its place meanwhile.
            unlinkat(&fd, &*temporary, AtFlags::empty()).map_err(fail)?;
            linked = Err(Errno::STALE);
        }
        if linked.is_err() {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let mut source = File::from(openat(&from, &*to.name, flags, Mode::empty()).map_err(fail)?);
            let attributes = attributes_of(&source).map_err(|error| self.error(components, error))?;
            return self.file(components, &attributes, &mut source).map(drop);
        }
        let outcome = self.settle(fd.as_fd(), &temporary, wanted);
        if !matches!(outcome, Ok(Settled::As(_))) {
            unlinkat(&fd, &*temporary, AtFlags::empty()).ok();
        }
        match outcome.map_err(fail)? {
            Settled::Occupied(name) => drop(self.skip_existing(folder, name, components)),
            Settled::As(name) => {
                self.note_name(components, wanted, &name);
                lock(&self.report).links += 1;
            }
        }
        Ok(())
    }

    /// Remembers a symbolic link. It is made at the end, so that nothing is ever written through it.
    pub fn symlink(&self, components: &[&[u8]], attributes: &Attributes, target: &[u8]) -> Result<()> {
        let (folder, wanted) = self.parent(components)?;
        let link = Link {
            folder,
            wanted: wanted.to_vec(),
            target: target.to_vec(),
            attributes: attributes.clone(),
            shown: shown(components),
        };
        lock(&self.links).push(link);
        Ok(())
    }

    /// How many links there are so far; what the disk had to have a copy of is none.
    pub fn links(&self) -> u64 {
        lock(&self.report).links
    }

    /// Remembers for the report that something is not written, and why.
    pub fn skip(&self, wanted: &str, why: &str) {
        lock(&self.report).skipped.push((wanted.to_owned(), why.to_owned()));
    }

    /// Makes the symbolic links, then sets the attributes of directories, deepest first.
    pub fn finish(self) -> Result<Written> {
        let mut links = std::mem::take(&mut *lock(&self.links));
        // The order of threads must not decide which of two clashing links keeps its name.
        links.sort_by(|a, b| a.shown.cmp(&b.shown));
        for link in links {
            self.make_link(&link)?;
        }
        for (folder, kept, shown) in self.folders.deepest_first(self.options.overwrite) {
            let set = self.folders.fd(folder).map_err(io::Error::from).and_then(|fd| {
                let file = File::from(fd.try_clone()?);
                self.set_attributes(&file, None, &kept, 0o700, &|| shown.clone())
            });
            if let Err(error) = set {
                self.skip(&shown, &format!("its attributes: {error}"));
            }
        }
        let mut report = std::mem::take(&mut *lock(&self.report));
        report.directories = self.folders.made();
        report.renamed.sort();
        report.skipped.sort();
        Ok(report)
    }

    fn make_link(&self, link: &Link) -> Result<()> {
        let Link { folder, wanted, target, attributes, shown } = link;
        let fail = |error: Errno| TargetError::new(self.path.join(shown), error);
        if target.is_empty() || target.contains(&0) {
            self.skip(shown, "no symbolic link can have its target");
            return Ok(());
        }
        let fd = self.folders.fd(*folder).map_err(fail)?;
        if self.occupied(fd.as_fd(), wanted).map_err(fail)?.is_some() {
            self.skip(shown, THERE_ALREADY);
            return Ok(());
        }
        let temporary = self.temporary_name();
        match symlinkat(&**target, &fd, &*temporary) {
            Ok(()) => {}
            Err(error @ (Errno::PERM | Errno::OPNOTSUPP | Errno::NAMETOOLONG | Errno::INVAL)) => {
                self.skip(shown, &format!("this disk cannot hold the link: {error}"));
                return Ok(());
            }
            Err(error) => return Err(fail(error)),
        }
        let identity = identity(&statat(&fd, &*temporary, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?);
        self.made.insert(identity);
        let outcome = self.settle(fd.as_fd(), &temporary, wanted);
        let name = match outcome {
            Ok(Settled::As(name)) => name,
            other => {
                self.made.remove(identity);
                unlinkat(&fd, &*temporary, AtFlags::empty()).ok();
                other.map_err(fail)?;
                self.skip(shown, THERE_ALREADY);
                return Ok(());
            }
        };
        if name != *wanted {
            self.note_renamed(shown, &name);
        }
        let mut outcome = utimensat(&fd, &*name, &times(attributes.mtime), AtFlags::SYMLINK_NOFOLLOW);
        if self.options.owners {
            let (uid, gid) = owner(attributes.owner);
            outcome = chownat(&fd, &*name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).and(outcome);
        }
        if let Err(error) = outcome {
            self.skip(shown, &format!("its attributes: {error}"));
        }
        lock(&self.report).links += 1;
        Ok(())
    }

    /// The folder for these components, made if it is not there.
    fn folder(&self, components: &[&[u8]]) -> Result<usize> {
        self.folders
            .find_or_make(components, &self.names, &self.made, &mut |depth, name| {
                let wanted = shown(&components[..depth]);
                self.note_renamed(&wanted, name);
            })
            .map_err(|error| self.error(components, error))
    }

    fn parent<'a>(&self, components: &[&'a [u8]]) -> Result<(usize, &'a [u8])> {
        match components {
            [] => Ok((self.folder(&[])?, b"")),
            [folders @ .., name] => Ok((self.folder(folders)?, name)),
        }
    }

    fn error(&self, components: &[&[u8]], error: impl Into<io::Error>) -> TargetError {
        TargetError::new(self.path.join(shown(components).trim_start_matches('/')), error)
    }

    fn note_name(&self, components: &[&[u8]], wanted: &[u8], name: &[u8]) {
        if wanted != name {
            self.note_renamed(&shown(components), name);
        }
    }

    /// Only the last component differs in the report: those before have entries of their own.
    fn note_renamed(&self, wanted: &str, name: &[u8]) {
        let name = String::from_utf8_lossy(name);
        let actual = match wanted.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{name}"),
            None => name.into_owned(),
        };
        lock(&self.report).renamed.push((wanted.to_owned(), actual));
    }

    fn skip_existing(&self, folder: usize, name: Vec<u8>, components: &[&[u8]]) -> Placed {
        self.skip(&shown(components), THERE_ALREADY);
        Placed { folder, name, identity: None }
    }

    /// The name under which something that must not be overwritten is there already.
    fn occupied(&self, fd: BorrowedFd<'_>, wanted: &[u8]) -> rustix::io::Result<Option<Vec<u8>>> {
        if self.options.overwrite {
            return Ok(None);
        }
        for candidate in self.names.candidates(wanted) {
            match self.made.look(fd, &candidate)? {
                Existing::Nothing => return Ok(None),
                Existing::File => return Ok(Some(candidate)),
                Existing::Ours | Existing::Directory => {}
            }
        }
        Ok(None)
    }

    fn temporary_name(&self) -> Vec<u8> {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        format!(".russet-{:x}-{number:x}.part", self.process).into_bytes()
    }

    /// The bits of the mode beyond those of an owner are asked for at once; what the system withholds of them is set later.
    #[allow(clippy::unnecessary_cast, reason = "modes are of another type on other systems")]
    fn temporary_file(&self, fd: BorrowedFd<'_>, attributes: &Attributes) -> rustix::io::Result<(File, Vec<u8>)> {
        let mode = if self.options.owners { 0o600 } else { wanted_mode(attributes, 0o777, 0o600) };
        loop {
            let name = self.temporary_name();
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(fd, &*name, flags, Mode::from_raw_mode(mode as RawMode)) {
                Ok(file) => return Ok((File::from(file), name)),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes content and attributes, and says how many bytes there were.
    fn write(
        &self,
        file: &File,
        stat: &Stat,
        components: &[&[u8]],
        attributes: &Attributes,
        content: &mut Pieces<'_>,
    ) -> Result<u64> {
        let fail = |error: io::Error| self.error(components, error);
        let (mut at, mut refused) = (0, None);
        let given = content(&mut |piece| {
            write_piece(file, piece, at, attributes.sparse).map_err(|error| {
                let kind = error.kind();
                refused = Some(error);
                io::Error::from(kind)
            })?;
            at += piece.len() as u64;
            Ok(())
        });
        if let Some(error) = refused {
            return Err(fail(error));
        }
        given.map_err(|source| TargetError::Content { path: self.path.join(shown(components)), source })?;
        if attributes.sparse {
            // A hole at the end is nothing that was written.
            ftruncate(file, at).map_err(|error| fail(error.into()))?;
        }
        // Some disks hold contents only. A file without its date is better than none.
        let shown = || shown(components);
        if let Err(error) = self.set_attributes(file, Some(stat), attributes, 0o600, &shown) {
            self.skip(&shown(), &format!("its attributes: {error}"));
        }
        Ok(at)
    }

    /// Sets everything that a file or directory has beside its content; the date last. `made` is what a file was made with.
    #[allow(clippy::unnecessary_cast, reason = "modes are of another type on other systems")]
    fn set_attributes(
        &self,
        file: &File,
        made: Option<&Stat>,
        attributes: &Attributes,
        unknown_mode: u32,
        shown: &dyn Fn() -> String,
    ) -> io::Result<()> {
        self.set_xattrs(file, attributes, shown);
        let mut owned = Ok(());
        if self.options.owners {
            let (uid, gid) = owner(attributes.owner);
            owned = fchown(file, uid, gid);
        }
        // Without its owner, the bits that lend the owner's rights would lend those of whoever restores.
        let mask = if self.options.owners && owned.is_ok() { 0o7777 } else { 0o777 };
        let mode = wanted_mode(attributes, mask, unknown_mode);
        let moded = match made {
            Some(stat) if !self.options.owners && stat.st_mode as u32 & 0o7777 == mode => Ok(()),
            _ => fchmod(file, Mode::from_raw_mode(mode as RawMode)),
        };
        futimens(file, &times(attributes.mtime))?;
        Ok(owned.and(moded)?)
    }

    fn set_xattrs(&self, file: &File, attributes: &Attributes, shown: &dyn Fn() -> String) {
        for (name, value) in &attributes.xattrs {
            // Capabilities and access lists name rights of another system.
            if ["security.", "system.", "trusted."].iter().any(|space| name.starts_with(space)) && !self.options.owners {
                continue;
            }
            let set = match name.is_empty() || name.contains('\0') {
                true => Err(io::ErrorKind::InvalidInput.into()),
                false => xattr::FileExt::set_xattr(file, name, value),
            };
            if let Err(error) = set {
                self.skip(&shown(), &format!("its extended attribute {name:?}: {error}"));
            }
        }
    }

    /// Renames a whole file from its temporary name to the first that it can have.
    fn settle(&self, fd: BorrowedFd<'_>, temporary: &[u8], wanted: &[u8]) -> rustix::io::Result<Settled> {
        let mut refused = Errno::EXIST;
        for candidate in self.names.candidates(wanted) {
            match place::rename_to_new(fd, temporary, &candidate, &self.made) {
                Ok(()) => return Ok(Settled::As(candidate)),
                Err(Errno::EXIST) => {}
                // A name that this disk cannot hold; the portable form comes later.
                Err(error @ (Errno::INVAL | Errno::ILSEQ | Errno::NAMETOOLONG)) => {
                    refused = error;
                    continue;
                }
                Err(error) => return Err(error),
            }
            match self.made.look(fd, &candidate)? {
                // It vanished meanwhile; another name serves as well.
                Existing::Nothing | Existing::Ours | Existing::Directory => {}
                Existing::File if !self.options.overwrite => return Ok(Settled::Occupied(candidate)),
                Existing::File => {
                    if place::replace(fd, temporary, &candidate, &self.made)? {
                        return Ok(Settled::As(candidate));
                    }
                }
            }
        }
        Err(refused)
    }
}

/// How a file got a name, or did not.
enum Settled {
    As(Vec<u8>),
    Occupied(Vec<u8>),
}
