//! The phone's asks, answered from the archive: what it sends goes to the spool or straight into the draft, what it asks for comes from
//! the last snapshot or from what it sent.

use std::io::{self, Cursor, Read};
use std::path::PathBuf;
use std::sync::Arc;

use russet_device::{BackupPath, Entry, EntryKind, Host, HostError};
use russet_repository::Draft;

use super::spool::{Broken, Op, Spool};
use super::storing::Storing;
use super::tree::{FileItem, Folder, Item, TreeError};
use crate::apple::place::Place;

/// Files that describe a backup are a few kilobytes, with every app's icon some megabytes.
const LARGEST_DESCRIPTION: u64 = 64 << 20;
/// They are kept in memory wherever in the phone's folder they lie.
const DESCRIPTIONS: [&str; 3] = ["Status.plist", "Manifest.plist", "Info.plist"];
/// The list of files, which can be too long for memory.
const MANIFESTS: [&str; 2] = ["Manifest.db", "Manifest.mbdb"];

/// What is done with a file that arrives.
#[derive(Debug)]
pub(crate) enum Arrivals {
    /// It is ciphertext: it waits in the spool until its key is known.
    Wait(Spool),
    /// It is plain: it goes into the draft at once. What cannot go there waits sealed.
    Store(Spool),
    /// Nothing but descriptions arrives.
    Refuse,
}

/// The host of one session with one phone.
pub(crate) struct ArchiveHost<'a> {
    pub(crate) tree: Folder,
    pub(crate) draft: &'a Draft,
    pub(crate) arrivals: Arrivals,
    /// The phone's folders have names that begin with this.
    pub(crate) udid: String,
    /// Where what arrives will take up space.
    pub(crate) volumes: Vec<PathBuf>,
    pub(crate) clock: &'a dyn Fn() -> i64,
    pub(crate) buffer: Vec<u8>,
    pub(crate) storing: Storing,
}

impl ArchiveHost<'_> {
    /// Does again what a broken run did.
    pub(crate) fn replay(&mut self, ops: Vec<Op>) {
        let Arrivals::Wait(spool) = &self.arrivals else { return };
        let file = |number, len| spool.file(number, len);
        for op in ops {
            // What failed then fails again and changes nothing.
            let _ = match op {
                Op::Put(path, number, len, time) => {
                    let place = Place::Spool(file(number, len));
                    self.tree.put(&path, Item::File(FileItem { len, modified: (time, 0), place })).map(drop)
                }
                Op::Small(path, bytes, time) => self.tree.put(&path, described(bytes, time)).map(drop),
                Op::Folder(path) => self.tree.create_folder(&path),
                Op::Rename(from, to) => self.tree.rename(&from, &to).map(drop),
                Op::Remove(path) => {
                    self.tree.take(&path);
                    Ok(())
                }
                Op::Rest => Ok(()),
            };
        }
    }

    /// Puts a file that the host itself makes.
    pub(crate) fn put_own(&mut self, path: &BackupPath, bytes: Vec<u8>) -> Result<(), HostError> {
        self.tree.put(path, described(bytes.into(), (self.clock)())).map(drop).map_err(refusal)
    }

    /// The bytes of a file that describes the backup.
    pub(crate) fn description(&self, path: &BackupPath) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let (content, len) = self.content(path).ok()?;
        content.take(len.min(LARGEST_DESCRIPTION)).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    fn content(&self, path: &BackupPath) -> Result<(Box<dyn Read + '_>, u64), HostError> {
        let file = self.tree.file(path).map_err(refusal)?;
        let content: Box<dyn Read + '_> = match &file.place {
            Place::Memory(bytes) => Box::new(Cursor::new(bytes.clone())),
            Place::Spool(spooled) => spooled.open().map_err(HostError::Io)?,
            Place::Kept(node) => russet_vfs::stored_and_checked(self.draft.reader(), node),
            Place::Stored(..) | Place::Disk => return Err(HostError::Refused("it is on its way into the archive".into())),
        };
        Ok((content, file.len))
    }

    /// A path that a phone may change: in its own folder, or in one that it named after it.
    fn own(&self, path: &BackupPath) -> Result<(), HostError> {
        let first = path.parts().next().unwrap_or_default();
        match first.strip_prefix(self.udid.as_str()) {
            Some("") => Ok(()),
            Some(rest) if rest.starts_with('-') => Ok(()),
            _ => Err(HostError::Refused(format!("{first} is not this phone's folder"))),
        }
    }

    fn spool(&mut self) -> Option<&mut Spool> {
        match &mut self.arrivals {
            Arrivals::Wait(spool) | Arrivals::Store(spool) => Some(spool),
            Arrivals::Refuse => None,
        }
    }

    /// Only a spool of ciphertext is gone on from, so only that keeps a journal.
    fn note(&mut self, op: &Op) -> Result<(), HostError> {
        match &mut self.arrivals {
            Arrivals::Wait(spool) => spool.note(op).map_err(disk),
            _ => Ok(()),
        }
    }

    /// Lets go of the spool files of what is no longer in the tree.
    fn let_go(&mut self, item: Option<Item>) {
        match item {
            Some(Item::File(FileItem { place: Place::Spool(spooled), .. })) => {
                if let Some(spool) = self.spool() {
                    spool.drop_file(&spooled);
                }
            }
            Some(Item::Folder(folder)) => folder.into_items().for_each(|item| self.let_go(Some(item))),
            _ => {}
        }
    }

    /// A second of everything.
    fn duplicate(&mut self, path: &BackupPath, to: &BackupPath) -> Result<(), HostError> {
        let files: Vec<(BackupPath, FileItem)> = match self.tree.get(path) {
            None => return Err(HostError::NotFound),
            Some(Item::File(file)) => vec![(to.clone(), file.clone())],
            Some(Item::Other(_)) => return Err(HostError::Refused("it is no file".into())),
            Some(Item::Folder(folder)) => {
                let mut files = Vec::new();
                folder.files_below(to, &mut files);
                files
            }
        };
        for (path, mut file) in files {
            if let (Place::Spool(spooled), Some(spool)) = (&file.place, self.spool()) {
                let (number, linked) = spool.link(spooled).map_err(disk)?;
                let op = Op::Put(path.clone(), number, file.len, file.modified.0);
                file.place = Place::Spool(linked);
                self.note(&op)?;
            }
            let replaced = self.tree.put(&path, Item::File(file)).map_err(refusal)?;
            self.let_go(replaced);
        }
        Ok(())
    }
}

fn described(bytes: Arc<[u8]>, time: i64) -> Item {
    Item::File(FileItem { len: bytes.len() as u64, modified: (time, 0), place: Place::Memory(bytes) })
}

fn refusal(error: TreeError) -> HostError {
    match error {
        TreeError::NotFound => HostError::NotFound,
        TreeError::NotAFolder => HostError::NotADirectory,
        TreeError::IsAFolder => HostError::IsADirectory,
        TreeError::Exists => HostError::Exists,
    }
}

/// An error of this computer's disk.
fn disk(error: io::Error) -> HostError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => HostError::NoSpace,
        _ => HostError::Io(error),
    }
}

fn broken(broken: Broken) -> HostError {
    match broken {
        // The wire knows best what happened to it.
        Broken::Wire(error) => HostError::Io(error),
        Broken::Disk(error) => disk(error),
    }
}

impl Host for ArchiveHost<'_> {
    fn receive(&mut self, to: &BackupPath, content: &mut dyn Read) -> Result<(), HostError> {
        self.own(to)?;
        let name = to.parts().last().unwrap_or_default();
        let time = (self.clock)();
        if DESCRIPTIONS.contains(&name) {
            let mut bytes = Vec::new();
            content.take(LARGEST_DESCRIPTION + 1).read_to_end(&mut bytes).map_err(HostError::Io)?;
            if bytes.len() as u64 > LARGEST_DESCRIPTION {
                return Err(HostError::Refused(format!("{name} is larger than any honest one")));
            }
            let bytes: Arc<[u8]> = bytes.into();
            self.note(&Op::Small(to.clone(), bytes.clone(), time))?;
            let replaced = self.tree.put(to, described(bytes, time)).map_err(refusal)?;
            self.let_go(replaced);
            // What the phone says of its own state must not be forgotten before what it rests on.
            return self.batch_done();
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let (place, len, number) = match &mut self.arrivals {
            Arrivals::Wait(spool) => {
                let (number, spooled) = spool.take(content, &mut buffer).map_err(broken)?;
                let len = spooled.len;
                (Place::Spool(spooled), len, Some(number))
            }
            Arrivals::Store(spool) if MANIFESTS.contains(&name) => {
                let spooled = spool.take_sealed(content, &mut buffer).map_err(broken)?;
                let len = spooled.len;
                (Place::Spool(spooled), len, None)
            }
            Arrivals::Store(_) => {
                let (place, len) = self.storing.store(self.draft, content, &mut buffer)?;
                (place, len, None)
            }
            Arrivals::Refuse => return Err(HostError::Refused("nothing is to be stored now".into())),
        };
        self.buffer = buffer;
        let item = Item::File(FileItem { len, modified: (time, 0), place });
        let replaced = self.tree.put(to, item).map_err(refusal)?;
        self.let_go(replaced);
        match number {
            Some(number) => self.note(&Op::Put(to.clone(), number, len, time)),
            None => Ok(()),
        }
    }

    fn open(&mut self, path: &BackupPath) -> Result<(Box<dyn Read + '_>, u64), HostError> {
        self.content(path)
    }

    fn list(&mut self, path: &BackupPath) -> Result<Vec<Entry>, HostError> {
        let folder = match self.tree.get(path) {
            Some(Item::Folder(folder)) => folder,
            Some(_) => return Err(HostError::NotADirectory),
            None => return Ok(Vec::new()),
        };
        let entry = |(name, item): (&[u8], &Item)| {
            let name = std::str::from_utf8(name).ok()?.to_owned();
            Some(match item {
                Item::Folder(_) => Entry { name, kind: EntryKind::Directory, len: 0, modified: (0, 0) },
                Item::File(file) => Entry { name, kind: EntryKind::File, len: file.len, modified: file.modified },
                Item::Other(_) => return None,
            })
        };
        Ok(folder.items().filter_map(entry).collect())
    }

    fn create_dir(&mut self, path: &BackupPath) -> Result<(), HostError> {
        self.own(path)?;
        self.tree.create_folder(path).map_err(refusal)?;
        self.note(&Op::Folder(path.clone()))
    }

    fn rename(&mut self, from: &BackupPath, to: &BackupPath) -> Result<(), HostError> {
        self.own(from)?;
        self.own(to)?;
        let replaced = self.tree.rename(from, to).map_err(refusal)?;
        self.note(&Op::Rename(from.clone(), to.clone()))?;
        self.let_go(replaced);
        Ok(())
    }

    fn copy(&mut self, from: &BackupPath, to: &BackupPath) -> Result<(), HostError> {
        self.own(to)?;
        self.duplicate(from, to)
    }

    fn remove(&mut self, path: &BackupPath) -> Result<(), HostError> {
        self.own(path)?;
        let removed = self.tree.take(path);
        if removed.is_some() {
            self.note(&Op::Remove(path.clone()))?;
        }
        self.let_go(removed);
        Ok(())
    }

    fn free_space(&mut self) -> Result<u64, HostError> {
        let free = |volume: &PathBuf| -> io::Result<u64> {
            let stat = rustix::fs::statvfs(volume)?;
            Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
        };
        self.volumes.iter().map(free).try_fold(u64::MAX, |least, free| free.map(|free| least.min(free))).map_err(HostError::Io)
    }

    fn batch_done(&mut self) -> Result<(), HostError> {
        match &mut self.arrivals {
            Arrivals::Wait(spool) => spool.flush().map_err(disk),
            _ => Ok(()),
        }
    }
}
