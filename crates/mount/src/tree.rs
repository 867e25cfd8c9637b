//! The file system without the kernel: what is where, and what is in it.
//!
//! ```text
//! DEVICE/latest                    a link to the newest date
//! DEVICE/2026-11-23T07:30/
//!     apps/NAME/…                  an app's own files, and a folder for each extension and shared container
//!     Camera Roll/…                photos and films
//!     domains/DOMAIN/…             everything, decrypted
//!     apple-backup/…               Apple's folder as it came; the only one if nobody knows the phone's password
//!     files/…                      the only one of a folder that is no phone's backup
//! ```
//!
//! A date is opened when somebody looks into one of these folders, not before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use russet_repository::Repository;
use russet_repository::format::id::FileName;
use russet_repository::format::snapshot::{Snapshot, Source};
use russet_vfs::{EntryKind, File, Item, VfsError, View};

use crate::branch::{Branch, Directory, Spot, tops};
use crate::branches::Branches;
use crate::ino::{BranchId, Place, Way};
use crate::known::{Known, LATEST};
use crate::{Result, TreeError};

/// The repository is asked for new dates no more often than this.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What a tree is told of the world around it.
pub struct Surroundings {
    /// A Unix second on this computer's clock, to the second: `2026-11-23T07:30:05`.
    pub local_time: Box<dyn Fn(i64) -> String + Send + Sync>,
    /// How much time has passed since some moment.
    pub elapsed: Box<dyn Fn() -> Duration + Send + Sync>,
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Surroundings(..)")
    }
}

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Directory,
    /// A file.
    File,
    /// A symbolic link.
    Symlink,
}

/// What is known of something without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Its inode number, the same for as long as the tree is there.
    pub ino: u64,
    /// What it is.
    pub kind: Kind,
    /// Length of a file or of a link's target.
    pub size: u64,
    /// Permissions. Nobody may write.
    pub permissions: u16,
    /// Modified: Unix seconds and nanoseconds.
    pub modified: (i64, u32),
    /// Whether it will be so for as long as the tree is there.
    pub lasting: bool,
}

/// A file that is open.
#[derive(Debug)]
pub struct OpenFile {
    ino: u64,
    file: Mutex<Arc<File>>,
}

struct Looked {
    known: Known,
    at: Duration,
    names: Vec<FileName>,
}

/// A repository as a tree of files.
pub struct Tree {
    repository: Repository,
    surroundings: Surroundings,
    looked: Mutex<Looked>,
    branches: Branches,
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tree({:?})", self.repository)
    }
}

impl Tree {
    /// Lists the dates of a repository. None of them is opened.
    pub fn new(repository: Repository, surroundings: Surroundings) -> Result<Tree> {
        let looked = Looked { known: Known::default(), at: (surroundings.elapsed)(), names: Vec::new() };
        let tree = Tree { repository, surroundings, looked: Mutex::new(looked), branches: Branches::default() };
        tree.look(&mut tree.looked_lock())?;
        Ok(tree)
    }

    /// Number of devices and of dates.
    pub fn counts(&self) -> (usize, usize) {
        let looked = self.looked_lock();
        (looked.known.devices.len(), looked.known.devices.iter().map(|device| device.dates.len()).sum())
    }

    /// Bytes and number of all files of all dates, as if none shared anything.
    pub fn totals(&self) -> (u64, u64) {
        let looked = self.looked_lock();
        let dates = looked.known.devices.iter().flat_map(|device| &device.dates);
        dates
            .map(|&date| &looked.known.dates[date as usize].snapshot)
            .fold((0, 0), |(bytes, files), snapshot| (snapshot.bytes.saturating_add(bytes), snapshot.files.saturating_add(files)))
    }

    fn looked_lock(&self) -> MutexGuard<'_, Looked> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is, looked at again if the last time is a while ago. A repository that is away for a while still has what it had.
    fn looked(&self) -> MutexGuard<'_, Looked> {
        let mut looked = self.looked_lock();
        let now = (self.surroundings.elapsed)();
        if now.saturating_sub(looked.at) >= LOOK_AGAIN {
            looked.at = now;
            self.look(&mut looked).unwrap_or_default();
        }
        looked
    }

    fn look(&self, looked: &mut Looked) -> Result<()> {
        let names = self.repository.snapshot_names()?;
        if names != looked.names {
            let entries = self.repository.snapshots()?.entries;
            self.repository.forget_index();
            looked.known.update(entries, &self.surroundings.local_time);
            looked.names = names;
        }
        Ok(())
    }

    fn snapshot(&self, date: u32) -> Result<Arc<Snapshot>> {
        self.looked_lock().known.dates.get(date as usize).map(|date| date.snapshot.clone()).ok_or(TreeError::Stale)
    }

    /// Finds a name in a folder.
    pub fn lookup(&self, parent: u64, name: &[u8]) -> Result<Attributes> {
        let place = match place_of(parent)? {
            Place::Root => {
                let found = self.looked().known.devices.iter().position(|device| device.name == name && !device.dates.is_empty());
                found.map(|number| Place::Device(number as u32))
            }
            Place::Device(number) => {
                let looked = self.looked();
                let device = looked.known.devices.get(number as usize).ok_or(TreeError::Stale)?;
                let date = || device.dates.iter().find(|&&date| looked.known.dates[date as usize].name == name);
                match name == LATEST && !device.dates.is_empty() {
                    true => Some(Place::Latest(number)),
                    false => date().map(|&date| Place::Date(date)),
                }
            }
            Place::Date(date) => self.folders(date)?.into_iter().find(|(top, _)| *top == name).map(|(_, place)| place),
            Place::Directory(id, number) => {
                let branch = self.branch(id)?;
                directory(&branch, number)?.find(name).map(|spot| in_branch(id, spot))
            }
            Place::Latest(_) | Place::Item(..) => return Err(TreeError::NotADirectory),
        };
        self.attributes_of(place.ok_or(TreeError::NoEntry)?)
    }

    /// What is known of something.
    pub fn attributes(&self, ino: u64) -> Result<Attributes> {
        self.attributes_of(place_of(ino)?)
    }

    fn attributes_of(&self, place: Place) -> Result<Attributes> {
        let folder = |modified, lasting| Attributes {
            ino: place.ino(),
            kind: Kind::Directory,
            size: 0,
            permissions: 0o555,
            modified,
            lasting,
        };
        match place {
            Place::Root => {
                let looked = self.looked_lock();
                let newest = looked.known.dates.iter().map(|date| date.snapshot.started).max();
                Ok(folder(newest.unwrap_or_default(), false))
            }
            Place::Device(_) | Place::Latest(_) => {
                let (target, modified) = self.latest(place)?;
                Ok(match place {
                    Place::Latest(_) => Attributes {
                        kind: Kind::Symlink,
                        size: target.len() as u64,
                        permissions: 0o777,
                        ..folder(modified, false)
                    },
                    _ => folder(modified, false),
                })
            }
            Place::Date(date) => Ok(folder(self.snapshot(date)?.started, true)),
            // What is at the top of a date is known without opening it.
            Place::Directory(id, number) if (number as usize) < tops(id.way).len() => {
                Ok(folder(self.snapshot(id.date)?.started, self.branches.current(id.date, id.way) == id))
            }
            Place::Directory(id, number) => {
                let branch = self.branch(id)?;
                let item = branch.item_of(directory(&branch, number)?);
                let started = branch.view().snapshot().started;
                let attributes = folder(item.map_or(started, |item| item.mtime), true);
                let permissions = item.map_or(0o555, |item| permissions(item, 0o500));
                Ok(Attributes { permissions, ..attributes })
            }
            Place::Item(id, number) => {
                let branch = self.branch(id)?;
                let item = branch.item(number).ok_or(TreeError::Stale)?;
                let (kind, size) = match item.kind {
                    EntryKind::Symlink => (Kind::Symlink, item.target.len() as u64),
                    _ => (Kind::File, branch.size(item)),
                };
                let permissions = if kind == Kind::Symlink { 0o777 } else { permissions(item, 0o400) };
                Ok(Attributes { kind, size, permissions, ..folder(item.mtime, true) })
            }
        }
    }

    /// The name of a device's newest date, and when that was.
    fn latest(&self, place: Place) -> Result<(Vec<u8>, (i64, u32))> {
        let (Place::Device(number) | Place::Latest(number)) = place else { return Err(TreeError::NoEntry) };
        let looked = self.looked();
        let device = looked.known.devices.get(number as usize).ok_or(TreeError::Stale)?;
        let newest = device.dates.last().map(|&date| &looked.known.dates[date as usize]).ok_or(TreeError::NoEntry)?;
        Ok((newest.name.clone(), newest.snapshot.started))
    }

    /// Where a symbolic link leads.
    pub fn link(&self, ino: u64) -> Result<Vec<u8>> {
        match place_of(ino)? {
            place @ Place::Latest(_) => Ok(self.latest(place)?.0),
            Place::Item(id, number) => {
                let branch = self.branch(id)?;
                let item = branch.item(number).filter(|item| item.kind == EntryKind::Symlink).ok_or(TreeError::NotALink)?;
                Ok(item.target.clone())
            }
            _ => Err(TreeError::NotALink),
        }
    }

    /// The folder that a folder is in.
    pub fn parent(&self, ino: u64) -> Result<u64> {
        Ok(match place_of(ino)? {
            Place::Root | Place::Device(_) => Place::Root,
            Place::Latest(device) => Place::Device(device),
            Place::Date(date) => {
                let looked = self.looked_lock();
                Place::Device(looked.known.dates.get(date as usize).ok_or(TreeError::Stale)?.device)
            }
            Place::Directory(id, number) if (number as usize) < tops(id.way).len() => Place::Date(id.date),
            Place::Directory(id, number) => {
                let branch = self.branch(id)?;
                Place::Directory(id, directory(&branch, number)?.parent)
            }
            Place::Item(..) => return Err(TreeError::NotADirectory),
        }
        .ino())
    }

    /// Shows what is in a folder, from an entry on, until `visit` has enough. The order lasts; what comes new comes last.
    pub fn list(&self, ino: u64, from: usize, visit: &mut dyn FnMut(&[u8], Attributes) -> bool) -> Result<()> {
        let entries: Vec<(Vec<u8>, Place)> = match place_of(ino)? {
            Place::Root => {
                let looked = self.looked();
                let present = (0..).zip(&looked.known.devices).filter(|(_, device)| !device.dates.is_empty());
                present.map(|(number, device)| (device.name.clone(), Place::Device(number))).collect()
            }
            Place::Device(number) => {
                let looked = self.looked();
                let device = looked.known.devices.get(number as usize).ok_or(TreeError::Stale)?;
                let latest = device.dates.last().map(|_| (LATEST.to_vec(), Place::Latest(number)));
                let dates = device.dates.iter().map(|&date| (looked.known.dates[date as usize].name.clone(), Place::Date(date)));
                latest.into_iter().chain(dates).collect()
            }
            Place::Date(date) => self.folders(date)?.into_iter().map(|(name, place)| (name.to_vec(), place)).collect(),
            Place::Directory(id, number) => {
                let branch = self.branch(id)?;
                for (name, spot) in directory(&branch, number)?.entries().iter().skip(from) {
                    if !visit(name, self.attributes_of(in_branch(id, *spot))?) {
                        break;
                    }
                }
                return Ok(());
            }
            Place::Latest(_) | Place::Item(..) => return Err(TreeError::NotADirectory),
        };
        for (name, place) in entries.into_iter().skip(from) {
            if !visit(&name, self.attributes_of(place)?) {
                break;
            }
        }
        Ok(())
    }

    /// The folders of a date.
    fn folders(&self, date: u32) -> Result<Vec<(&'static [u8], Place)>> {
        let snapshot = self.snapshot(date)?;
        let top = |way, number| Place::Directory(self.branches.current(date, way), number);
        let stored = top(Way::Stored, 0);
        Ok(match snapshot.source {
            Source::Folder => vec![(b"files", stored)],
            Source::AppleBackup if is_locked(&snapshot) => vec![(b"apple-backup", stored)],
            Source::AppleBackup => {
                let named = (0..).zip(tops(Way::Named)).map(|(number, name)| (*name, top(Way::Named, number)));
                named.chain([(&b"apple-backup"[..], stored)]).collect()
            }
        })
    }

    fn branch(&self, id: BranchId) -> Result<Arc<Branch>> {
        let snapshot = self.snapshot(id.date)?;
        self.branches.get(id, || {
            let open = || -> Result<View> {
                let reader = self.repository.reader()?;
                Ok(match id.way {
                    Way::Named => View::open(reader, &snapshot)?,
                    Way::Stored => View::open_raw(reader, &snapshot)?,
                })
            };
            let view = match open() {
                Err(error) if may_have_moved(&error) => {
                    self.repository.forget_index();
                    open()?
                }
                outcome => outcome?,
            };
            // Damage takes folders away for good. A repository that is not there just now does not.
            if !view.unreadable().is_empty() {
                self.repository.snapshot_names()?;
            }
            Ok(Branch::new(view, id.way))
        })
    }

    /// Opens a file.
    pub fn open(&self, ino: u64) -> Result<OpenFile> {
        Ok(OpenFile { ino, file: Mutex::new(Arc::new(self.file(ino)?)) })
    }

    fn file(&self, ino: u64) -> Result<File> {
        match place_of(ino)? {
            Place::Item(id, number) => {
                let branch = self.branch(id)?;
                let item = branch.item(number).ok_or(TreeError::Stale)?;
                Ok(branch.open(item)?)
            }
            _ => Err(TreeError::IsADirectory),
        }
    }

    /// Fills `out` from an offset on. Less is filled only where the file ends.
    pub fn read(&self, open: &OpenFile, offset: u64, out: &mut [u8]) -> Result<usize> {
        let file = open.file.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match file.read_at(offset, out).map_err(TreeError::from) {
            Err(error) if may_have_moved(&error) => {
                // The packs of a repository are packed anew now and then, while a mount may last for months.
                self.repository.forget_index();
                if let Place::Item(id, _) = place_of(open.ino)? {
                    self.branches.close(id);
                }
                let fresh = Arc::new(self.file(open.ino)?);
                let outcome = fresh.read_at(offset, out)?;
                *open.file.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
                Ok(outcome)
            }
            outcome => outcome,
        }
    }
}

fn place_of(ino: u64) -> Result<Place> {
    Place::of(ino).ok_or(TreeError::Stale)
}

fn in_branch(id: BranchId, spot: Spot) -> Place {
    match spot {
        Spot::Directory(number) => Place::Directory(id, number),
        Spot::Item(number) => Place::Item(id, number),
    }
}

fn directory(branch: &Branch, number: u32) -> Result<&Directory> {
    branch.directory(number).ok_or(TreeError::Stale)
}

fn is_locked(snapshot: &Snapshot) -> bool {
    snapshot.facts.get("apple.locked").is_some_and(|locked| locked == "yes")
}

/// What something had, without the right to write, and with what its owner needs to read it. Nobody knows the mode of 0.
fn permissions(item: &Item, least: u16) -> u16 {
    match item.mode as u16 & 0o777 {
        0 => least | least >> 3 | least >> 6,
        mode => mode & 0o555 | least,
    }
}

/// Whether a newer index may know better.
fn may_have_moved(error: &TreeError) -> bool {
    matches!(error, TreeError::Repository(error) | TreeError::Vfs(VfsError::Repository(error)) if error.is_missing())
}
