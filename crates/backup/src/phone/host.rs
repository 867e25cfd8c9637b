//! The phone's asks, answered from the archive: what it sends goes to the spool or straight into the draft, what it asks for comes from
//! the last snapshot or from what it sent.

use std::io::{self, Cursor, Read};
use std::path::PathBuf;
use std::sync::Arc;

use russet_device::{BackupPath, Entry, EntryKind, Host, HostError};
use russet_repository::Draft;
use russet_repository::format::tree::NodeKind;

use super::spool::{Broken, BrokenOff, Op, Spool};
use super::storing::Storing;
use super::tree::{FileItem, Folder, Item, TreeError, is_below};
use crate::apple::place::Place;
use crate::apple::shelve::Before;

/// Files that describe a backup are a few kilobytes, with every app's icon some megabytes.
const LARGEST_DESCRIPTION: u64 = 64 << 20;
/// They are kept in memory where a phone puts them: in its folder and in the backup that is going on.
const DESCRIPTIONS: [&str; 3] = ["Status.plist", "Manifest.plist", "Info.plist"];
/// The list of files, which can be too long for memory.
const MANIFESTS: [&str; 2] = ["Manifest.db", "Manifest.mbdb"];

/// All that is kept in memory is not much larger; tests make do with less.
const MOST_IN_MEMORY: u64 = if cfg!(test) { 1 << 10 } else { 256 << 20 };
/// No phone makes more names; tests make do with less.
const MOST_NAMES: usize = if cfg!(test) { 40 } else { 4_000_000 };

/// What is done with a file that arrives.
#[derive(Debug)]
pub(crate) enum Arrivals {
    /// It is ciphertext: it waits in the spool until its key is known.
    Wait(Spool),
    /// It is plain: it goes into the draft at once. What cannot go there waits sealed.
    Store(Spool),
    /// It is plain, and only the manifest tells what is to be left out: all of it waits sealed.
    Seal(Spool),
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
    /// What the phone's files were in the last snapshot.
    pub(crate) before: Option<&'a Before>,
}

impl<'a> ArchiveHost<'a> {
    /// A host whose root is empty, on a computer that was not told where it has room.
    pub(crate) fn new(draft: &'a Draft, udid: &str, arrivals: Arrivals, clock: &'a dyn Fn() -> i64) -> ArchiveHost<'a> {
        ArchiveHost {
            tree: Folder::default(),
            draft,
            arrivals,
            udid: udid.to_owned(),
            volumes: Vec::new(),
            clock,
            buffer: Vec::new(),
            storing: Storing::default(),
            before: None,
        }
    }

    /// Does again what a broken run did.
    pub(crate) fn replay(&mut self, mut broken_off: BrokenOff) {
        let Arrivals::Wait(spool) = &mut self.arrivals else { return };
        while let Some(op) = broken_off.next() {
            // A part of it is no state to go on from: the session will fail, and the next one reads it again.
            let Ok(op) = op else { return spool.lose() };
            // What failed then fails again and changes nothing.
            let _ = match op {
                Op::Put(path, number, len, time) => {
                    let place = Place::Spool(spool.file(number, len));
                    let put = self.tree.put(&path, Item::File(FileItem { len, modified: (time, 0), place })).map(drop);
                    // Its folders are there, but not itself; what took its place is yet to come.
                    if put.is_ok() && broken_off.is_gone(number) {
                        self.tree.take(&path);
                    }
                    put
                }
                Op::Small(path, bytes, time) => self.tree.put(&path, Item::File(described(bytes, time))).map(drop),
                Op::Folder(path) => self.tree.create_folder(&path),
                Op::Rename(from, to) => self.tree.rename(&from, &to).map(drop),
                Op::Remove(path) => {
                    self.tree.take(&path);
                    Ok(())
                }
                Op::Again(from, to) => {
                    let file = self.tree.file(&from).cloned();
                    file.and_then(|file| self.tree.put(&to, Item::File(file)).map(drop))
                }
                Op::Gone(_) | Op::Rest => Ok(()),
            };
        }
    }

    /// Puts a file that the host itself makes.
    pub(crate) fn put_own(&mut self, path: &BackupPath, bytes: Vec<u8>) -> Result<(), HostError> {
        let file = described(bytes.into(), (self.clock)());
        self.tree.put(path, Item::File(file)).map(drop).map_err(refusal)
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
            Place::Memory(bytes) | Place::Shown(bytes) => Box::new(Cursor::new(bytes.clone())),
            Place::Spool(spooled) => spooled.open().map_err(HostError::Io)?,
            Place::Kept(node) => {
                // A key that only adds has few contents at hand. For the phone the others are not here.
                let NodeKind::File(kept) = &node.kind else { return Err(HostError::NotFound) };
                if !self.draft.reader().can_read(kept) {
                    return Err(HostError::NotFound);
                }
                russet_vfs::stored_and_checked(self.draft.reader(), node)
            }
            Place::LeftOut => return Err(HostError::NotFound),
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

    /// Whether a file at this path is one of the few that are kept in memory.
    fn is_description(&self, path: &BackupPath) -> bool {
        let parts: Vec<&str> = path.parts().collect();
        match parts[..] {
            [_, name] => DESCRIPTIONS.contains(&name),
            [first, "Snapshot", name] => first == self.udid && DESCRIPTIONS.contains(&name),
            _ => false,
        }
    }

    /// Refuses a new name if there are too many.
    fn may_name(&self, path: &BackupPath) -> Result<(), HostError> {
        match self.tree.load().names >= MOST_NAMES && self.tree.get(path).is_none() {
            true => Err(HostError::Refused(format!("{MOST_NAMES} files and folders are more than any honest phone has"))),
            false => Ok(()),
        }
    }

    /// Refuses to keep more in memory if that is too much already.
    fn may_remember(&self) -> Result<(), HostError> {
        match self.tree.load().in_memory > MOST_IN_MEMORY {
            true => Err(HostError::Refused("there are more descriptions than any honest phone makes".into())),
            false => Ok(()),
        }
    }

    /// Only a spool of ciphertext is gone on from, so only that keeps a journal.
    fn note(&mut self, op: &Op) -> Result<(), HostError> {
        match &mut self.arrivals {
            Arrivals::Wait(spool) => spool.note(op).map_err(disk),
            _ => Ok(()),
        }
    }

    /// Lets go of the spool files of what is no longer in the tree. What took it out must have been noted.
    fn let_go(&mut self, item: Option<Item>) {
        match item {
            Some(Item::File(FileItem { place: Place::Spool(spooled), .. })) => match &mut self.arrivals {
                // A file that stays is removed with the spool.
                Arrivals::Wait(spool) => drop(spool.let_go(&spooled)),
                Arrivals::Store(spool) | Arrivals::Seal(spool) => spool.drop_file(&spooled),
                Arrivals::Refuse => {}
            },
            Some(Item::Folder(folder)) => folder.into_items().for_each(|item| self.let_go(Some(item))),
            _ => {}
        }
    }

    /// Puts a file that arrived or was copied; `op` says so in the journal.
    fn put(&mut self, to: &BackupPath, file: FileItem, op: Option<Op>) -> Result<(), HostError> {
        let waits = match &file.place {
            Place::Spool(spooled) => Some(spooled.clone()),
            _ => None,
        };
        match self.tree.put(to, Item::File(file)) {
            Ok(replaced) => {
                op.map_or(Ok(()), |op| self.note(&op))?;
                self.let_go(replaced);
                Ok(())
            }
            Err(error) => {
                if let (Some(spooled), Arrivals::Wait(spool) | Arrivals::Store(spool) | Arrivals::Seal(spool)) =
                    (waits, &mut self.arrivals)
                {
                    spool.drop_file(&spooled);
                }
                Err(refusal(error))
            }
        }
    }

    /// Takes in a file: where it is now, its length, and its number if it waits.
    fn take_in(
        &mut self,
        name: &str,
        content: &mut dyn Read,
        buffer: &mut Vec<u8>,
    ) -> Result<(Place, u64, Option<u64>), HostError> {
        match &mut self.arrivals {
            Arrivals::Wait(spool) => {
                let (number, spooled) = spool.take(content, buffer).map_err(broken)?;
                let len = spooled.len;
                Ok((Place::Spool(spooled), len, Some(number)))
            }
            Arrivals::Store(_) if !MANIFESTS.contains(&name) => {
                // A file's name ends in the id that it has in the backup, whatever folder it comes to first.
                let former = name.get(..2).and_then(|folder| self.before?.content(folder.as_bytes(), name.as_bytes()));
                self.storing.store(self.draft, content, former, buffer).map(|(place, len)| (place, len, None))
            }
            Arrivals::Store(spool) | Arrivals::Seal(spool) => {
                let spooled = spool.take_sealed(content, buffer).map_err(broken)?;
                let len = spooled.len;
                Ok((Place::Spool(spooled), len, None))
            }
            Arrivals::Refuse => Err(HostError::Refused("nothing is to be stored now".into())),
        }
    }

    /// A second of everything.
    fn duplicate(&mut self, path: &BackupPath, to: &BackupPath) -> Result<(), HostError> {
        if to == path || is_below(to, path) {
            return Err(HostError::Refused("a folder cannot be copied into itself".into()));
        }
        let files: Vec<(BackupPath, FileItem)> = match self.tree.get(path) {
            None => return Err(HostError::NotFound),
            Some(Item::File(file)) => vec![(path.clone(), file.clone())],
            Some(Item::Other(_)) => return Err(HostError::Refused("it is no file".into())),
            Some(Item::Folder(folder)) => {
                let mut files = Vec::new();
                folder.files_below(path, &mut files);
                files
            }
        };
        for (from, file) in files {
            // Names that would lie too deep are left out.
            let Ok(to) = BackupPath::parse(&format!("{to}{}", &from.as_str()[path.as_str().len()..])) else { continue };
            self.duplicate_file(&from, file, &to)?;
        }
        Ok(())
    }

    fn duplicate_file(&mut self, from: &BackupPath, mut file: FileItem, to: &BackupPath) -> Result<(), HostError> {
        self.may_name(to)?;
        if let Place::Memory(_) = file.place {
            self.may_remember()?;
        }
        let mut op = Op::Again(from.clone(), to.clone());
        if let (Place::Spool(spooled), Arrivals::Wait(spool) | Arrivals::Store(spool) | Arrivals::Seal(spool)) =
            (&file.place, &mut self.arrivals)
        {
            let (number, linked) = spool.link(spooled).map_err(disk)?;
            op = Op::Put(to.clone(), number, file.len, file.modified.0);
            file.place = Place::Spool(linked);
        }
        self.put(to, file, Some(op))
    }
}

fn described(bytes: Arc<[u8]>, time: i64) -> FileItem {
    FileItem { len: bytes.len() as u64, modified: (time, 0), place: Place::Memory(bytes) }
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
        Broken::Full => HostError::NoSpace,
    }
}

impl Host for ArchiveHost<'_> {
    fn receive(&mut self, to: &BackupPath, content: &mut dyn Read) -> Result<(), HostError> {
        self.own(to)?;
        self.may_name(to)?;
        let name = to.parts().next_back().unwrap_or_default();
        let time = (self.clock)();
        if self.is_description(to) {
            self.may_remember()?;
            if let Arrivals::Wait(spool) = &self.arrivals {
                spool.room().map_err(broken)?;
            }
            let mut bytes = Vec::new();
            content.take(LARGEST_DESCRIPTION + 1).read_to_end(&mut bytes).map_err(HostError::Io)?;
            if bytes.len() as u64 > LARGEST_DESCRIPTION {
                return Err(HostError::Refused(format!("{name} is larger than any honest one")));
            }
            let bytes: Arc<[u8]> = bytes.into();
            self.put(to, described(bytes.clone(), time), Some(Op::Small(to.clone(), bytes, time)))?;
            // What the phone says of its own state must not be forgotten before what it rests on.
            return self.batch_done();
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let taken = self.take_in(name, content, &mut buffer);
        self.buffer = buffer;
        let (place, len, number) = taken?;
        let op = number.map(|number| Op::Put(to.clone(), number, len, time));
        self.put(to, FileItem { len, modified: (time, 0), place }, op)
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
        self.may_name(path)?;
        self.tree.create_folder(path).map_err(refusal)?;
        self.note(&Op::Folder(path.clone()))
    }

    fn rename(&mut self, from: &BackupPath, to: &BackupPath) -> Result<(), HostError> {
        self.own(from)?;
        self.own(to)?;
        // Folders on the way may be new.
        self.may_name(to)?;
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use russet_repository::{KdfChoice, Repository};
    use russet_store::MemoryStore;
    use zeroize::Zeroizing;

    use super::super::spool::Footing;
    use super::*;

    fn path(text: &str) -> BackupPath {
        BackupPath::parse(text).unwrap()
    }

    fn draft() -> Draft {
        let quick = KdfChoice::Argon2id { memory_kib: 19 * 1024, passes: 1, lanes: 1 };
        Repository::create(Arc::new(MemoryStore::default()), b"pw", quick, 1, None).unwrap().draft().unwrap()
    }

    fn opened(folder: &Path) -> (Spool, BrokenOff) {
        let footing = Footing { udid: "u".into(), parent: Vec::new() };
        Spool::open(folder, Zeroizing::new([7; 32]), &footing, false).unwrap()
    }

    fn host_with(draft: &Draft, arrivals: Arrivals) -> ArchiveHost<'_> {
        ArchiveHost::new(draft, "u", arrivals, &|| 5)
    }

    /// A host of a phone whose backup is encrypted, as a broken run left it.
    fn host<'a>(draft: &'a Draft, folder: &Path) -> ArchiveHost<'a> {
        let (spool, broken_off) = opened(folder);
        let mut host = host_with(draft, Arrivals::Wait(spool));
        host.replay(broken_off);
        host
    }

    fn send(host: &mut ArchiveHost<'_>, to: &str, bytes: &[u8]) -> Result<(), HostError> {
        host.receive(&path(to), &mut &bytes[..])
    }

    /// Every file that the phone sees and what is in it.
    fn seen(host: &mut ArchiveHost<'_>) -> Vec<(String, String)> {
        let mut files = Vec::new();
        for (name, item) in host.tree.items() {
            let Item::Folder(folder) = item else { panic!("a file beside the phone's folder") };
            folder.files_below(&path(std::str::from_utf8(name).unwrap()), &mut files);
        }
        let read = |host: &mut ArchiveHost<'_>, path: &BackupPath| {
            let mut text = String::new();
            host.open(path).unwrap().0.read_to_string(&mut text).unwrap();
            (path.to_string(), text)
        };
        files.iter().map(|(path, _)| read(host, path)).collect()
    }

    #[test]
    fn the_next_run_sees_what_the_phone_saw_last() {
        let (draft, folder) = (draft(), tempfile::tempdir().unwrap());
        let mut first = host(&draft, folder.path());
        for (to, text) in [("u/a", "old"), ("u/Snapshot/b", "b"), ("u/Snapshot/c", "c"), ("u/Status.plist", "moving")] {
            send(&mut first, to, text.as_bytes()).unwrap();
        }
        send(&mut first, "u/a", b"new").unwrap();
        first.rename(&path("u/Snapshot/b"), &path("u/b")).unwrap();
        first.copy(&path("u"), &path("u-1")).unwrap();
        first.remove(&path("u-1/Snapshot/c")).unwrap();
        send(&mut first, "u-1/x/y", b"y").unwrap();
        first.remove(&path("u-1/x/y")).unwrap();
        first.batch_done().unwrap();
        let (before, load) = (seen(&mut first), first.tree.load());
        assert_eq!(before.len(), 7);
        drop(first);
        let mut second = host(&draft, folder.path());
        assert_eq!((seen(&mut second), second.tree.load()), (before, load));
        // Nothing is left of what was replaced or removed.
        assert_eq!(std::fs::read_dir(folder.path().join("files")).unwrap().count(), 5);
    }

    #[test]
    fn only_descriptions_in_their_places_are_kept_in_memory() {
        let (draft, folder) = (draft(), tempfile::tempdir().unwrap());
        let mut host = host(&draft, folder.path());
        for (to, in_memory) in [
            ("u/Status.plist", true),
            ("u/Snapshot/Manifest.plist", true),
            ("u-20260101/Info.plist", true),
            ("u/00/Status.plist", false),
            ("u/Snapshot/00/Status.plist", false),
            ("u-20260101/Snapshot/Status.plist", false),
            ("u/Manifest.db", false),
        ] {
            send(&mut host, to, b"1").unwrap();
            let place = &host.tree.file(&path(to)).unwrap().place;
            assert_eq!(matches!(place, Place::Memory(_)), in_memory, "{to}");
        }
    }

    #[test]
    fn what_is_kept_in_memory_has_a_bound() {
        let (draft, folder) = (draft(), tempfile::tempdir().unwrap());
        let mut host = host(&draft, folder.path());
        send(&mut host, "u/Status.plist", &[0; MOST_IN_MEMORY as usize]).unwrap();
        send(&mut host, "u/Manifest.plist", &[0; 1]).unwrap();
        host.rename(&path("u/Status.plist"), &path("u/x")).unwrap();
        assert!(matches!(send(&mut host, "u/Status.plist", &[0; 1]), Err(HostError::Refused(_))));
        assert!(matches!(host.copy(&path("u/x"), &path("u/y")), Err(HostError::Refused(_))));
        host.remove(&path("u/x")).unwrap();
        send(&mut host, "u/Status.plist", &[0; 1]).unwrap();
    }

    #[test]
    fn a_phone_makes_only_so_many_names() {
        let (draft, folder) = (draft(), tempfile::tempdir().unwrap());
        let mut host = host(&draft, folder.path());
        for number in 0..MOST_NAMES - 1 {
            send(&mut host, &format!("u/{number}"), b"1").unwrap();
        }
        assert_eq!(host.tree.load().names, MOST_NAMES);
        assert!(matches!(send(&mut host, "u/x", b"1"), Err(HostError::Refused(_))));
        assert!(matches!(host.create_dir(&path("u/x")), Err(HostError::Refused(_))));
        assert!(matches!(host.copy(&path("u/0"), &path("u/x")), Err(HostError::Refused(_))));
        assert!(matches!(host.rename(&path("u/0"), &path("u/x/y")), Err(HostError::Refused(_))));
        send(&mut host, "u/0", b"2").unwrap();
        host.remove(&path("u/1")).unwrap();
        host.create_dir(&path("u/x")).unwrap();
    }

    #[test]
    fn nothing_is_copied_into_itself() {
        let (draft, folder) = (draft(), tempfile::tempdir().unwrap());
        let mut host = host(&draft, folder.path());
        send(&mut host, "u/a", b"1").unwrap();
        assert!(matches!(host.copy(&path("u"), &path("u/b/c")), Err(HostError::Refused(_))));
        assert!(matches!(host.copy(&path("u"), &path("u")), Err(HostError::Refused(_))));
        host.copy(&path("u"), &path("u-1")).unwrap();
        assert_eq!(host.tree.load().names, 4);
    }

    #[test]
    fn a_file_that_has_no_place_does_not_stay_in_the_spool() {
        let (draft, folder) = (draft(), tempfile::tempdir().unwrap());
        let mut host = host(&draft, folder.path());
        host.create_dir(&path("u/a")).unwrap();
        assert!(matches!(send(&mut host, "u/a", b"1"), Err(HostError::IsADirectory)));
        assert_eq!(std::fs::read_dir(folder.path().join("files")).unwrap().count(), 0);
    }

    #[test]
    fn a_phone_hears_of_a_full_disk_before_it_is() {
        let (draft, folder) = (draft(), tempfile::tempdir().unwrap());
        let (mut spool, _) = opened(folder.path());
        spool.spare = u64::MAX;
        let mut host = host_with(&draft, Arrivals::Wait(spool));
        for to in ["u/a", "u/Status.plist"] {
            assert!(matches!(send(&mut host, to, b"1"), Err(HostError::NoSpace)));
        }
        assert_eq!(host.tree.load().names, 0);
    }

    #[test]
    fn a_session_on_half_a_journal_changes_nothing() {
        let (draft, folder) = (draft(), tempfile::tempdir().unwrap());
        let mut first = host(&draft, folder.path());
        send(&mut first, "u/a", b"1").unwrap();
        send(&mut first, "u/b", b"2").unwrap();
        first.batch_done().unwrap();
        drop(first);
        let (spool, broken_off) = opened(folder.path());
        let journal = std::fs::OpenOptions::new().write(true).open(folder.path().join("journal")).unwrap();
        journal.set_len(journal.metadata().unwrap().len() - 1).unwrap();
        let mut second = host_with(&draft, Arrivals::Wait(spool));
        second.replay(broken_off);
        assert!(matches!(send(&mut second, "u/c", b"3"), Err(HostError::Io(_))));
        drop(second);
        assert_eq!(seen(&mut host(&draft, folder.path())), [("u/a".to_owned(), "1".to_owned())]);
    }
}
