//! The phone's media folder, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Status;
use super::Status::{Exists, InvalidArgument, IsDirectory, NoSpace, NotEmpty, NotFound, PermissionDenied, WouldBlock};
use crate::Config;

/// What the folder may hold in all, since it is kept in memory.
const CAPACITY: u64 = 256 << 20;
const MOST_ENTRIES: usize = 100_000;
const LONGEST_PATH: usize = 1_024;
const LONGEST_NAME: usize = 255;
const BLOCK: u64 = 4_096;
const TOTAL: u64 = 128_000_000_000;

/// The phone's media folder. Paths begin with `/` and end without.
#[derive(Debug)]
pub(crate) struct Media {
    tree: Mutex<BTreeMap<String, Node>>,
    used: AtomicU64,
    free: u64,
}

#[derive(Debug, Clone)]
enum Node {
    Folder { born: u64 },
    File(Arc<Mutex<File>>),
}

#[derive(Debug)]
struct File {
    bytes: Vec<u8>,
    born: u64,
    modified: u64,
    lock: Lock,
    handles: u64,
}

#[derive(Debug, Default)]
enum Lock {
    #[default]
    Free,
    Shared(BTreeSet<u64>),
    Exclusive(u64),
}

/// An open file. Dropping it gives up its lock.
#[derive(Debug)]
pub(super) struct Handle {
    file: Arc<Mutex<File>>,
    number: u64,
    position: u64,
    reads: bool,
    writes: bool,
    appends: bool,
}

impl Media {
    /// A folder with what a phone always has.
    pub(crate) fn new(config: &Config) -> Media {
        let media = Media { tree: Mutex::default(), used: AtomicU64::new(0), free: config.free_space };
        {
            let mut tree = media.tree();
            let born = now();
            for folder in [
                "/",
                "/Books",
                "/DCIM",
                "/DCIM/100APPLE",
                "/Downloads",
                "/iTunesRestore",
                "/iTunes_Control",
                "/iTunes_Control/iTunes",
            ] {
                tree.insert(folder.to_owned(), Node::Folder { born });
            }
            for (path, bytes) in [
                ("/com.apple.itunes.lock_sync", Vec::new()),
                ("/iTunes_Control/iTunes/iTunesPrefs", b"frpd\x01\0\0\0 nothing is synced with this phone".to_vec()),
            ] {
                let file = File { bytes, born, modified: born, lock: Lock::Free, handles: 0 };
                tree.insert(path.to_owned(), Node::File(Arc::new(Mutex::new(file))));
            }
        }
        media
    }

    /// What is in a file.
    pub(crate) fn contents(&self, path: &str) -> Option<Vec<u8>> {
        match self.tree().get(&normal(path).ok()?)? {
            Node::File(file) => Some(hold(file).bytes.clone()),
            Node::Folder { .. } => None,
        }
    }

    fn tree(&self) -> MutexGuard<'_, BTreeMap<String, Node>> {
        self.tree.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Notes that a file has another length; refused if there is no room for it.
    fn account(&self, before: usize, after: usize) -> Result<(), Status> {
        let room = CAPACITY.min(self.free);
        let change = |used: u64| {
            let used = (used + after as u64).saturating_sub(before as u64);
            (used <= room || after <= before).then_some(used)
        };
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).map(drop).map_err(|_| NoSpace)
    }

    pub(super) fn device(&self) -> [(&'static str, String); 4] {
        let free = self.free.saturating_sub(self.used.load(Ordering::Relaxed));
        [
            ("Model", "iPhone15,4".to_owned()),
            ("FSTotalBytes", TOTAL.max(self.free).to_string()),
            ("FSFreeBytes", free.to_string()),
            ("FSBlockSize", BLOCK.to_string()),
        ]
    }

    pub(super) fn list(&self, path: &str) -> Result<Vec<String>, Status> {
        let path = normal(path)?;
        let tree = self.tree();
        match tree.get(&path).ok_or(NotFound)? {
            Node::File(_) => return Err(InvalidArgument),
            Node::Folder { .. } => {}
        }
        let inside = below(&path);
        let names = tree.range(inside.clone()..).map(|(path, _)| path).take_while(|path| path.starts_with(&inside));
        Ok(names
            .map(|path| &path[inside.len()..])
            .filter(|name| !name.is_empty() && !name.contains('/'))
            .map(str::to_owned)
            .collect())
    }

    pub(super) fn facts(&self, path: &str) -> Result<Vec<(&'static str, String)>, Status> {
        let path = normal(path)?;
        let (kind, size, links, born, modified) = match self.tree().get(&path).ok_or(NotFound)? {
            Node::Folder { born } => ("S_IFDIR", 64, 2, *born, *born),
            Node::File(file) => {
                let file = hold(file);
                ("S_IFREG", file.bytes.len() as u64, 1, file.born, file.modified)
            }
        };
        Ok(vec![
            ("st_size", size.to_string()),
            ("st_blocks", (size.div_ceil(BLOCK) * BLOCK / 512).to_string()),
            ("st_nlink", links.to_string()),
            ("st_ifmt", kind.to_owned()),
            ("st_mtime", modified.to_string()),
            ("st_birthtime", born.to_string()),
        ])
    }

    pub(super) fn make_folder(&self, path: &str) -> Result<(), Status> {
        let path = normal(path)?;
        let mut tree = self.tree();
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
        for end in ends {
            match tree.get(&path[..end]) {
                Some(Node::Folder { .. }) => {}
                Some(Node::File(_)) => return Err(Exists),
                None if tree.len() >= MOST_ENTRIES => return Err(NoSpace),
                None => drop(tree.insert(path[..end].to_owned(), Node::Folder { born: now() })),
            }
        }
        Ok(())
    }

    pub(super) fn remove(&self, path: &str, contents: bool) -> Result<(), Status> {
        let path = normal(path)?;
        if path == "/" {
            return Err(PermissionDenied);
        }
        let mut tree = self.tree();
        let inside = below(&path);
        if let Node::Folder { .. } = tree.get(&path).ok_or(NotFound)? {
            let all: Vec<String> = tree
                .range(inside.clone()..)
                .map(|(path, _)| path)
                .take_while(|path| path.starts_with(&inside))
                .cloned()
                .collect();
            if !contents && !all.is_empty() {
                return Err(NotEmpty);
            }
            for path in all {
                self.forget(tree.remove(&path));
            }
        }
        self.forget(tree.remove(&path));
        Ok(())
    }

    /// Gives back the room of what was removed.
    fn forget(&self, node: Option<Node>) {
        if let Some(Node::File(file)) = node {
            let length = hold(&file).bytes.len() as u64;
            self.used.fetch_sub(length.min(self.used.load(Ordering::Relaxed)), Ordering::Relaxed);
        }
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), Status> {
        let (from, to) = (normal(from)?, normal(to)?);
        if from == "/" || to == "/" {
            return Err(PermissionDenied);
        }
        let mut tree = self.tree();
        let is_folder = matches!(tree.get(&from).ok_or(NotFound)?, Node::Folder { .. });
        if from == to {
            return Ok(());
        }
        if is_folder && to.starts_with(&below(&from)) {
            return Err(InvalidArgument);
        }
        is_folder_in(&tree, parent(&to))?;
        match tree.get(&to) {
            Some(Node::Folder { .. }) => return Err(Exists),
            Some(Node::File(_)) if is_folder => return Err(Exists),
            _ => self.forget(tree.remove(&to)),
        }
        let inside = below(&from);
        let mut moved: Vec<String> =
            tree.range(inside.clone()..).map(|(path, _)| path).take_while(|path| path.starts_with(&inside)).cloned().collect();
        moved.push(from.clone());
        for old in moved {
            if let Some(node) = tree.remove(&old) {
                tree.insert(format!("{to}{}", &old[from.len()..]), node);
            }
        }
        Ok(())
    }

    pub(super) fn set_modified(&self, path: &str, time: u64) -> Result<(), Status> {
        let path = normal(path)?;
        match self.tree().get_mut(&path).ok_or(NotFound)? {
            Node::Folder { born } => *born = time,
            Node::File(file) => hold(file).modified = time,
        }
        Ok(())
    }

    pub(super) fn resize(&self, path: &str, size: u64) -> Result<(), Status> {
        let path = normal(path)?;
        let file = match self.tree().get(&path).ok_or(NotFound)? {
            Node::Folder { .. } => return Err(IsDirectory),
            Node::File(file) => file.clone(),
        };
        hold(&file).resize(self, size)
    }

    pub(super) fn open(&self, path: &str, mode: u64) -> Result<Handle, Status> {
        let path = normal(path)?;
        let (reads, writes, creates, truncates, appends) = match mode {
            1 => (true, false, false, false, false),
            2 => (true, true, false, false, false),
            3 => (false, true, true, true, false),
            4 => (true, true, true, true, false),
            5 => (false, true, true, false, true),
            6 => (true, true, true, false, true),
            _ => return Err(InvalidArgument),
        };
        let mut tree = self.tree();
        let file = match tree.get(&path) {
            Some(Node::Folder { .. }) => return Err(IsDirectory),
            Some(Node::File(file)) => file.clone(),
            None if !creates => return Err(NotFound),
            None => {
                is_folder_in(&tree, parent(&path))?;
                if tree.len() >= MOST_ENTRIES {
                    return Err(NoSpace);
                }
                let born = now();
                let file = File { bytes: Vec::new(), born, modified: born, lock: Lock::Free, handles: 0 };
                let file = Arc::new(Mutex::new(file));
                tree.insert(path, Node::File(file.clone()));
                file
            }
        };
        let number = {
            let mut file = hold(&file);
            if truncates {
                file.resize(self, 0)?;
            }
            file.handles += 1;
            file.handles
        };
        Ok(Handle { file, number, position: 0, reads, writes, appends })
    }
}

impl File {
    fn resize(&mut self, media: &Media, size: u64) -> Result<(), Status> {
        let size = usize::try_from(size).ok().filter(|&size| size as u64 <= CAPACITY).ok_or(NoSpace)?;
        media.account(self.bytes.len(), size)?;
        self.bytes.resize(size, 0);
        self.modified = now();
        Ok(())
    }
}

impl Handle {
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn read(&mut self, count: u64) -> Result<Vec<u8>, Status> {
        if !self.reads {
            return Err(PermissionDenied);
        }
        let file = hold(&self.file);
        let length = file.bytes.len() as u64;
        let (start, end) = (self.position.min(length), self.position.saturating_add(count).min(length));
        self.position = self.position.max(end);
        Ok(file.bytes[start as usize..end as usize].to_vec())
    }

    pub(super) fn write(&mut self, media: &Media, bytes: &[u8]) -> Result<(), Status> {
        if !self.writes {
            return Err(PermissionDenied);
        }
        let mut file = hold(&self.file);
        if self.appends {
            self.position = file.bytes.len() as u64;
        }
        let end = self.position.checked_add(bytes.len() as u64).ok_or(NoSpace)?;
        if end > file.bytes.len() as u64 {
            file.resize(media, end)?;
        }
        file.bytes[self.position as usize..end as usize].copy_from_slice(bytes);
        file.modified = now();
        self.position = end;
        Ok(())
    }

    pub(super) fn seek(&mut self, whence: u64, offset: i64) -> Result<(), Status> {
        let from = match whence {
            0 => 0,
            1 => self.position,
            2 => hold(&self.file).bytes.len() as u64,
            _ => return Err(InvalidArgument),
        };
        self.position = from.checked_add_signed(offset).ok_or(InvalidArgument)?;
        Ok(())
    }

    pub(super) fn resize(&mut self, media: &Media, size: u64) -> Result<(), Status> {
        if !self.writes {
            return Err(PermissionDenied);
        }
        hold(&self.file).resize(media, size)
    }

    /// Takes or gives up a lock; never waits for one.
    pub(super) fn lock(&mut self, operation: u64) -> Result<(), Status> {
        let mut file = hold(&self.file);
        let me = self.number;
        match operation {
            5 => match &mut file.lock {
                Lock::Exclusive(other) if *other != me => return Err(WouldBlock),
                Lock::Shared(holders) => drop(holders.insert(me)),
                lock => *lock = Lock::Shared(BTreeSet::from([me])),
            },
            6 => match &file.lock {
                Lock::Exclusive(other) if *other != me => return Err(WouldBlock),
                Lock::Shared(holders) if holders.iter().any(|&other| other != me) => return Err(WouldBlock),
                _ => file.lock = Lock::Exclusive(me),
            },
            12 => file.unlock(me),
            _ => return Err(InvalidArgument),
        }
        Ok(())
    }
}

impl File {
    fn unlock(&mut self, me: u64) {
        match &mut self.lock {
            Lock::Exclusive(holder) if *holder == me => self.lock = Lock::Free,
            Lock::Shared(holders) => {
                holders.remove(&me);
                if holders.is_empty() {
                    self.lock = Lock::Free;
                }
            }
            _ => {}
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        hold(&self.file).unlock(self.number);
    }
}

fn hold(file: &Mutex<File>) -> MutexGuard<'_, File> {
    file.lock().unwrap_or_else(|e| e.into_inner())
}

/// The path without `.`, `..` and doubled slashes. Nothing lies above the root.
fn normal(path: &str) -> Result<String, Status> {
    if path.len() > LONGEST_PATH {
        return Err(InvalidArgument);
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().ok_or(PermissionDenied)?),
            name if name.len() > LONGEST_NAME => return Err(InvalidArgument),
            name => parts.push(name),
        }
    }
    Ok(format!("/{}", parts.join("/")))
}

/// What paths inside this folder begin with.
fn below(folder: &str) -> String {
    if folder == "/" { folder.to_owned() } else { format!("{folder}/") }
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(at) if at > 0 => &path[..at],
        _ => "/",
    }
}

fn is_folder_in(tree: &BTreeMap<String, Node>, path: &str) -> Result<(), Status> {
    match tree.get(path) {
        Some(Node::Folder { .. }) => Ok(()),
        _ => Err(NotFound),
    }
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or_default()
}
