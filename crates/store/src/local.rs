//! A store in a folder of this machine's file system.
//!
//! A file is written under a hidden temporary name, synced, renamed, and then its folder is synced: what is visible is
//! whole. Nothing outside the root folder is touched, and no symbolic link below it is followed. That guards against
//! links that lie there, not against someone who swaps folders for links at the very moment of a write.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use crate::error::check_range;
use crate::name::{check_prefix, is_part};
use crate::{Name, Result, Store, StoreError};

/// Temporary files start with a dot, so that none can ever pass for a [`Name`].
const TEMPORARY_PREFIX: &str = ".russet-";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// A temporary file this old belongs to a run that was killed.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Keeps files below one folder.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
    /// The folders whose own entry this store has synced, so that each is synced once and not at every write.
    durable_folders: Mutex<BTreeSet<String>>,
}

impl LocalStore {
    /// Opens the store in a folder that is there, and [sweeps](Self::sweep) it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let opening = |error| StoreError::from_io(path.display(), "open", error);
        // The root itself may be a link: the person who named it meant where it leads.
        let root = fs::canonicalize(path).map_err(opening)?;
        if !fs::metadata(&root).map_err(opening)?.is_dir() {
            return Err(StoreError::NotAFolder { name: path.display().to_string() });
        }
        let store = Self { root, durable_folders: Mutex::default() };
        // Litter harms nobody, and a disk that only lets itself be read must still open.
        store.sweep().ok();
        Ok(store)
    }

    /// Opens the store in a folder, which is created, with those above it, where it is missing. Only its owner may
    /// enter the folders that are created.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let creating = |error| StoreError::from_io(path.display(), "create", error);
        let absolute = std::path::absolute(path).map_err(creating)?;
        let missing: Vec<_> = absolute.ancestors().take_while(|folder| !folder.exists()).collect();
        if let Some(parent) = absolute.ancestors().nth(missing.len() + 1) {
            // A run that was killed may have created the innermost folder and not synced it. Mostly it is far older
            // than that, and above it may be what we may not even read, so this is only tried.
            sync_folder(parent).ok();
        }
        for folder in missing.into_iter().rev() {
            create_folder(folder).map_err(creating)?;
            if let Some(parent) = folder.parent() {
                sync_folder(parent).map_err(creating)?;
            }
        }
        Self::open(path)
    }

    /// Removes the temporary files of runs that were killed more than a day ago, and says how many there were.
    pub fn sweep(&self) -> Result<u64> {
        let now = SystemTime::now();
        let mut swept = 0;
        self.walk("", &mut |folder, entry| {
            let file_name = entry.file_name();
            let is_temporary =
                file_name.to_str().is_some_and(|name| name.starts_with(TEMPORARY_PREFIX) && name.ends_with(TEMPORARY_SUFFIX));
            if !is_temporary {
                return Ok(());
            }
            let path = entry.path();
            let name = || join(folder, &file_name.to_string_lossy());
            let removed = entry.metadata().and_then(|metadata| {
                // A file from the future has a wrong clock behind it, which says nothing about its age.
                let is_abandoned = now.duration_since(metadata.modified()?).is_ok_and(|age| age > ABANDONED_AFTER);
                if is_abandoned { fs::remove_file(&path).map(|()| 1) } else { Ok(0) }
            });
            match removed {
                Ok(count) => swept += count,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::from_io(name(), "remove", error)),
            }
            Ok(())
        })?;
        Ok(swept)
    }

    /// The folder that everything lies in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn folder_of(&self, name: &Name) -> PathBuf {
        self.path(name.folders().last().unwrap_or(""))
    }

    /// The error for something that is not there, which is graver when the whole store is gone: a disk that was
    /// unplugged must not look like an empty one.
    fn missing(&self, name: impl ToString) -> StoreError {
        if self.root.is_dir() { StoreError::not_found(name) } else { StoreError::not_found(self.root.display()) }
    }

    /// Refuses to go on where one of these folders is a symbolic link. Says whether all of them are there.
    fn check_folders<'a>(&self, folders: impl Iterator<Item = &'a str>) -> Result<bool> {
        for folder in folders {
            match fs::symlink_metadata(self.path(folder)) {
                Ok(found) if found.is_symlink() => return Err(StoreError::is_a_link(folder)),
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Ok(false),
                Err(error) if is_missing(&error) => return Ok(false),
                Err(error) => return Err(StoreError::from_io(folder, "look at", error)),
            }
        }
        Ok(true)
    }

    /// Makes sure that the folders of `name` are there, are folders, and outlive a crash.
    fn make_folders(&self, name: &Name) -> Result<()> {
        for folder in name.folders() {
            let path = self.path(folder);
            let creating = |error| StoreError::from_io(folder, "create", error);
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_symlink() => return Err(StoreError::is_a_link(folder)),
                Ok(found) if !found.is_dir() => {
                    return Err(StoreError::NotAFolder { name: folder.to_owned() });
                }
                Ok(_) if self.is_durable(folder) => continue,
                Ok(_) => {}
                Err(error) if is_missing(&error) => match create_folder(&path) {
                    Err(error) if is_missing(&error) => return Err(self.missing(folder)),
                    outcome => outcome.map_err(creating)?,
                },
                Err(error) => return Err(creating(error)),
            }
            // Another thread, or a run that was killed, may have created it and not come to this line.
            sync_folder(path.parent().unwrap_or(&self.root)).map_err(creating)?;
            self.lock_durable_folders().insert(folder.to_owned());
        }
        Ok(())
    }

    fn is_durable(&self, folder: &str) -> bool {
        self.lock_durable_folders().contains(folder)
    }

    fn lock_durable_folders(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.durable_folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes and syncs a temporary file beside `name`. Unless it is persisted, dropping it removes it.
    fn write_beside(&self, name: &Name, bytes: &[u8]) -> Result<NamedTempFile> {
        self.make_folders(name)?;
        let write = || -> io::Result<NamedTempFile> {
            // `tempfile` creates the file anew, under no link, for its owner alone (0600 on Unix).
            let mut file =
                tempfile::Builder::new().prefix(TEMPORARY_PREFIX).suffix(TEMPORARY_SUFFIX).tempfile_in(self.folder_of(name))?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            Ok(file)
        };
        write().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => self.missing(name),
            _ => StoreError::from_io(name, "write", error),
        })
    }

    fn sync_folder_of(&self, name: &Name) -> Result<()> {
        sync_folder(&self.folder_of(name)).map_err(|error| StoreError::from_io(name, "sync the folder of", error))
    }

    fn already_exists(&self, name: &Name) -> StoreError {
        // Whoever wrote it may have been killed before syncing the folder, and the caller will rely on it.
        match self.sync_folder_of(name) {
            Ok(()) => StoreError::AlreadyExists { name: name.to_string() },
            Err(error) => error,
        }
    }

    /// Opens a plain file for reading and says how long it is.
    fn open_file(&self, name: &Name) -> Result<(File, u64)> {
        self.len(name)?;
        let opened = File::open(self.path(name.as_str())).and_then(|file| Ok((file.metadata()?, file)));
        match opened {
            // It may have been replaced a moment ago; from here on this file cannot change under our hands.
            Ok((metadata, file)) if metadata.is_file() => Ok((file, metadata.len())),
            Ok(_) => Err(StoreError::not_found(name)),
            Err(error) if is_missing(&error) => Err(self.missing(name)),
            Err(error) => Err(StoreError::from_io(name, "read", error)),
        }
    }

    /// Shows `visit` everything that is no folder below the folder `prefix`, together with the name of its folder.
    fn walk(&self, prefix: &str, visit: &mut dyn FnMut(&str, &fs::DirEntry) -> Result<()>) -> Result<()> {
        let mut folders = vec![prefix.to_owned()];
        while let Some(folder) = folders.pop() {
            let shown = || {
                if folder.is_empty() { self.describe() } else { folder.clone() }
            };
            let listing = |error| StoreError::from_io(shown(), "list", error);
            let entries = match fs::read_dir(self.path(&folder)) {
                Ok(entries) => entries,
                Err(error) if is_missing(&error) && self.root.is_dir() => continue,
                Err(error) if is_missing(&error) => return Err(self.missing(shown())),
                Err(error) => return Err(listing(error)),
            };
            for entry in entries {
                let entry = entry.map_err(listing)?;
                // This is the kind of the entry itself: a link is neither a folder nor a file.
                let kind = match entry.file_type() {
                    Err(error) if is_missing(&error) => continue,
                    kind => kind.map_err(listing)?,
                };
                if !kind.is_dir() {
                    visit(&folder, &entry)?;
                } else if let Some(inner) = entry.file_name().to_str().filter(|part| is_part(part)) {
                    let inner = join(&folder, inner);
                    // A folder too deep for any name is as foreign as `lost+found`.
                    if Name::new(inner.as_str()).is_ok() {
                        folders.push(inner);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Store for LocalStore {
    /// A symbolic link of this name is replaced, not followed.
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        let file = self.write_beside(name, bytes)?;
        file.persist(self.path(name.as_str())).map_err(|refused| StoreError::from_io(name, "write", refused.error))?;
        self.sync_folder_of(name)
    }

    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        let path = self.path(name.as_str());
        // Only spares the writing: what decides is the rename below.
        if self.check_folders(name.folders())? && fs::symlink_metadata(&path).is_ok() {
            return Err(self.already_exists(name));
        }
        let file = self.write_beside(name, bytes)?;
        match file.persist_noclobber(&path) {
            Ok(_) => self.sync_folder_of(name),
            Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => Err(self.already_exists(name)),
            Err(refused) => Err(StoreError::from_io(name, "write", refused.error)),
        }
    }

    /// A symbolic link, as the file or on the way to it, is [`Denied`](StoreError::Denied).
    fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>> {
        let (file, len) = self.open_file(name)?;
        let size = check_range(name.as_str(), &range, len)?;
        read_exactly(file, range.start, size).map_err(|error| StoreError::from_io(name, "read", error))
    }

    fn get_all(&self, name: &Name) -> Result<Vec<u8>> {
        let (file, len) = self.open_file(name)?;
        let size = check_range(name.as_str(), &(0..len), len)?;
        read_exactly(file, 0, size).map_err(|error| StoreError::from_io(name, "read", error))
    }

    fn get_all_into(&self, name: &Name, buffer: &mut Vec<u8>) -> Result<()> {
        let (mut file, len) = self.open_file(name)?;
        let size = check_range(name.as_str(), &(0..len), len)?;
        let mut read = || -> io::Result<()> {
            buffer
                .try_reserve_exact(size.saturating_sub(buffer.len()))
                .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
            buffer.resize(size, 0);
            file.read_exact(buffer)
        };
        read().map_err(|error| StoreError::from_io(name, "read", error))
    }

    fn len(&self, name: &Name) -> Result<u64> {
        if !self.check_folders(name.folders())? {
            return Err(self.missing(name));
        }
        match fs::symlink_metadata(self.path(name.as_str())) {
            Ok(found) if found.is_symlink() => Err(StoreError::is_a_link(name)),
            Ok(found) if found.is_file() => Ok(found.len()),
            Ok(_) => Err(StoreError::not_found(name)),
            Err(error) if is_missing(&error) => Err(self.missing(name)),
            Err(error) => Err(StoreError::from_io(name, "read", error)),
        }
    }

    /// A symbolic link below `prefix` is left out; if `prefix` leads through one, that is
    /// [`Denied`](StoreError::Denied), since an empty list would be a lie. If the root is gone, that is
    /// [`NotFound`](StoreError::NotFound).
    fn list(&self, prefix: &str) -> Result<Vec<(Name, u64)>> {
        check_prefix(prefix).map_err(|source| StoreError::BadPrefix { prefix: prefix.to_owned(), source })?;
        let ends = prefix.match_indices('/').map(|(at, _)| at).chain([prefix.len()]);
        self.check_folders(ends.filter(|end| *end > 0).map(|end| &prefix[..end]))?;

        let mut files = Vec::new();
        self.walk(prefix, &mut |folder, entry| {
            let Some(name) = entry.file_name().to_str().and_then(|part| Name::new(join(folder, part)).ok()) else {
                return Ok(());
            };
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => files.push((name, metadata.len())),
                Ok(_) => {}
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(StoreError::from_io(name, "list", error)),
            }
            Ok(())
        })?;
        Ok(files)
    }

    /// A symbolic link of this name is removed, not followed.
    fn remove(&self, name: &Name) -> Result<()> {
        let path = self.path(name.as_str());
        if !self.check_folders(name.folders())? {
            return if self.root.is_dir() { Ok(()) } else { Err(self.missing(name)) };
        }
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => return Ok(()),
            Err(error) if !is_missing(&error) => {
                return Err(StoreError::from_io(name, "remove", error));
            }
            _ => {}
        }
        match fs::remove_file(&path) {
            Err(error) if is_missing(&error) && !self.root.is_dir() => {
                return Err(self.missing(name));
            }
            // Whoever removed it may have been killed before syncing the folder.
            Err(error) if is_missing(&error) => {}
            outcome => outcome.map_err(|error| StoreError::from_io(name, "remove", error))?,
        }
        self.sync_folder_of(name)
    }

    fn describe(&self) -> String {
        self.root.display().to_string()
    }
}

fn read_exactly(mut file: File, start: u64, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    file.seek(SeekFrom::Start(start))?;
    file.take(size as u64).read_to_end(&mut bytes)?;
    if bytes.len() == size { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn join(folder: &str, part: &str) -> String {
    if folder.is_empty() { part.to_owned() } else { format!("{folder}/{part}") }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Creates one folder that only its owner may enter. If another thread was faster, so much the better.
fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_plain_folder(path) => Ok(()),
        outcome => outcome,
    }
}

fn is_plain_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some network and FUSE file systems cannot sync a folder, and have nothing better to offer.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        outcome => outcome,
    }
}

/// Elsewhere a folder cannot be opened and synced; the file system's own journal keeps the order.
#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}
