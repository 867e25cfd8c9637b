//! One date, looked into one way: its folders, made of the paths of what is in it.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use russet_vfs::{EntryKind, File, Item, View, app_folders, stored_len};

use crate::ino::Way;
use crate::known::NAMES;

/// The folders that each way has, by their numbers.
pub(crate) fn tops(way: Way) -> &'static [&'static [u8]] {
    match way {
        Way::Named => &[b"domains", b"apps", b"Camera Roll"],
        Way::Stored => &[b""],
    }
}

const DOMAINS: u32 = 0;
const APPS: u32 = 1;
const CAMERA_ROLL: u32 = 2;

/// What a name in a folder leads to, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Spot {
    Directory(u32),
    Item(u32),
}

#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) parent: u32,
    /// The item that says how the folder was; none if it is only in paths.
    item: Option<u32>,
    /// By name, ascending.
    entries: Vec<(Box<[u8]>, Spot)>,
}

#[derive(Debug)]
pub(crate) struct Branch {
    view: View,
    way: Way,
    directories: Vec<Directory>,
}

impl Branch {
    pub(crate) fn new(view: View, way: Way) -> Branch {
        let mut planter = Planter::new(way);
        match way {
            Way::Named => planter.plant_named(&view),
            Way::Stored => {
                for (number, item) in shown(&view) {
                    planter.plant(0, parts(&item.path), number, item);
                }
            }
        }
        let mut directories = planter.directories;
        directories.iter_mut().for_each(Directory::settle);
        Branch { view, way, directories }
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    pub(crate) fn directory(&self, number: u32) -> Option<&Directory> {
        self.directories.get(number as usize)
    }

    pub(crate) fn item(&self, number: u32) -> Option<&Item> {
        self.view.items().get(number as usize)
    }

    /// The item that says how a folder was.
    pub(crate) fn item_of(&self, directory: &Directory) -> Option<&Item> {
        self.item(directory.item?)
    }

    /// The length of a file, to the byte.
    pub(crate) fn size(&self, item: &Item) -> u64 {
        match (self.way, &item.node) {
            (Way::Stored, Some(node)) => stored_len(node),
            _ => item.size,
        }
    }

    pub(crate) fn open(&self, item: &Item) -> russet_vfs::Result<File> {
        match self.way {
            Way::Named => self.view.open_file(item),
            Way::Stored => self.view.open_stored(item),
        }
    }

    /// How much is kept in memory for this branch, in things that have a name.
    pub(crate) fn weight(&self) -> usize {
        self.view.items().len() + self.directories.len()
    }

    /// What numbers depend on: if it is the same, so are they.
    pub(crate) fn shape(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (number, item) in shown(&self.view) {
            (number, &*item.domain, &item.path, item.kind == EntryKind::Directory).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// What has a content, or needs none. What the backup lacked, and what is kept by name only, would look like an empty file and is none.
fn shown(view: &View) -> impl Iterator<Item = (u32, &Item)> {
    let is_shown = |item: &Item| match item.kind {
        EntryKind::File => item.node.is_some(),
        EntryKind::Directory | EntryKind::Symlink => true,
        EntryKind::Other => false,
    };
    (0..).zip(view.items()).filter(move |(_, item)| is_shown(item))
}

impl Directory {
    fn new(parent: u32) -> Directory {
        Directory { parent, item: None, entries: Vec::new() }
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<Spot> {
        let at = self.entries.binary_search_by(|(entry, _)| (**entry).cmp(name)).ok()?;
        Some(self.entries[at].1)
    }

    pub(crate) fn entries(&self) -> &[(Box<[u8]>, Spot)] {
        &self.entries
    }

    /// Gives names that a folder can hold, each once, and sorts them. Folders come first where two want one name.
    fn settle(&mut self) {
        self.entries.sort();
        let is_one = |name: &[u8]| NAMES.candidates(name).next().is_some_and(|candidate| candidate == name);
        let distinct = self.entries.windows(2).all(|pair| pair[0].0 != pair[1].0);
        if distinct && self.entries.iter().all(|(name, _)| is_one(name)) {
            return;
        }
        let mut taken: HashSet<Box<[u8]>> = HashSet::new();
        for (name, _) in &mut self.entries {
            if let Some(free) = NAMES.candidates(name).find(|candidate| !taken.contains(&**candidate)) {
                *name = free.into();
            }
            taken.insert(name.clone());
        }
        self.entries.sort();
    }
}

/// Makes folders out of paths.
struct Planter {
    directories: Vec<Directory>,
    /// Number of a folder by the number of the one it is in, and its name.
    by_name: HashMap<Vec<u8>, u32>,
    key: Vec<u8>,
}

impl Planter {
    fn new(way: Way) -> Planter {
        let directories = (0..).zip(tops(way)).map(|(number, _)| Directory::new(number)).collect();
        Planter { directories, by_name: HashMap::new(), key: Vec::new() }
    }

    fn plant_named(&mut self, view: &View) {
        let app_folders = app_folders(view);
        let mut folders: HashMap<&str, [Option<u32>; 2]> = HashMap::new();
        for (number, item) in shown(view) {
            let places = *folders.entry(&item.domain).or_insert_with(|| {
                let app = app_folders.get(&*item.domain).map(|folder| {
                    let app = self.directory(APPS, folder.app.as_bytes());
                    folder.part.as_ref().map_or(app, |part| self.directory(app, part.as_bytes()))
                });
                [Some(self.directory(DOMAINS, item.domain.as_bytes())), app]
            });
            for place in places.into_iter().flatten() {
                self.plant(place, parts(&item.path), number, item);
            }
            if &*item.domain == "CameraRollDomain"
                && let Some(path) = item.path.strip_prefix(b"Media/DCIM/")
            {
                self.plant(CAMERA_ROLL, parts(path), number, item);
            }
        }
    }

    /// Puts an item where its path leads. An empty path is the folder itself.
    fn plant<'a>(&mut self, top: u32, path: impl Iterator<Item = &'a [u8]>, number: u32, item: &Item) {
        let mut at = top;
        let mut path = path.peekable();
        while let Some(name) = path.next() {
            if path.peek().is_none() && item.kind != EntryKind::Directory {
                self.directories[at as usize].entries.push((name.into(), Spot::Item(number)));
                return;
            }
            at = self.directory(at, name);
        }
        self.directories[at as usize].item.get_or_insert(number);
    }

    /// The folder of this name, made if it is not there.
    fn directory(&mut self, parent: u32, name: &[u8]) -> u32 {
        self.key.clear();
        self.key.extend_from_slice(&parent.to_le_bytes());
        self.key.extend_from_slice(name);
        if let Some(&number) = self.by_name.get(&self.key) {
            return number;
        }
        let number = self.directories.len() as u32;
        self.directories.push(Directory::new(parent));
        self.directories[parent as usize].entries.push((name.into(), Spot::Directory(number)));
        self.by_name.insert(self.key.clone(), number);
        number
    }
}

/// The names of a path; an empty one has none.
fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(move |_| !path.is_empty())
}
