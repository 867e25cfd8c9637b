//! The phone's backup as the phone sees it: the last snapshot, under what arrived since. Names only, and where the bytes are.

use std::collections::BTreeMap;

use russet_device::BackupPath;
use russet_repository::format::tree::{Content, Node, NodeKind};
use russet_repository::{Reader, RepositoryError};

use crate::apple::place::Place;
use crate::apple::scan::{Scan, Scanned, ScannedFolder};

/// A name in the tree. Names of a snapshot are bytes, the phone's are text.
type Name = Box<[u8]>;

/// A folder.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    items: BTreeMap<Name, Item>,
    load: Load,
}

/// What a folder holds, at any depth.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) names: usize,
    /// Bytes of files that are kept in memory.
    pub(crate) in_memory: u64,
}

impl Load {
    fn add(&mut self, more: Load) {
        self.names += more.names;
        self.in_memory += more.in_memory;
    }

    fn subtract(&mut self, less: Load) {
        self.names -= less.names;
        self.in_memory -= less.in_memory;
    }
}

/// What a name stands for.
#[derive(Debug)]
pub(crate) enum Item {
    Folder(Folder),
    File(FileItem),
    /// Something that a phone neither makes nor asks for.
    Other(Box<Node>),
}

/// A file.
#[derive(Debug, Clone)]
pub(crate) struct FileItem {
    pub(crate) len: u64,
    pub(crate) modified: (i64, u32),
    pub(crate) place: Place,
}

/// Why something could not be done to the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TreeError {
    NotFound,
    NotAFolder,
    IsAFolder,
    Exists,
}

impl Item {
    /// What the item adds to the load of the folder that it lies in.
    fn load(&self) -> Load {
        match self {
            Item::Folder(folder) => Load { names: 1 + folder.load.names, ..folder.load },
            Item::File(FileItem { place: Place::Memory(bytes), .. }) => Load { names: 1, in_memory: bytes.len() as u64 },
            Item::File(_) | Item::Other(_) => Load { names: 1, in_memory: 0 },
        }
    }
}

impl Folder {
    /// What is in the folder, at any depth.
    pub(crate) fn load(&self) -> Load {
        self.load
    }

    fn insert(&mut self, name: Name, item: Item) -> Option<Item> {
        self.load.add(item.load());
        let replaced = self.items.insert(name, item);
        if let Some(replaced) = &replaced {
            self.load.subtract(replaced.load());
        }
        replaced
    }

    fn remove(&mut self, name: &[u8]) -> Option<Item> {
        let removed = self.items.remove(name)?;
        self.load.subtract(removed.load());
        Some(removed)
    }

    /// What is at a path.
    pub(crate) fn get(&self, path: &BackupPath) -> Option<&Item> {
        let mut folder = self;
        let mut parts = path.parts().peekable();
        while let Some(part) = parts.next() {
            let item = folder.items.get(part.as_bytes())?;
            match (item, parts.peek()) {
                (item, None) => return Some(item),
                (Item::Folder(inner), Some(_)) => folder = inner,
                _ => return None,
            }
        }
        None
    }

    pub(crate) fn file(&self, path: &BackupPath) -> Result<&FileItem, TreeError> {
        match self.get(path) {
            Some(Item::File(file)) => Ok(file),
            Some(Item::Folder(_)) => Err(TreeError::IsAFolder),
            _ => Err(TreeError::NotFound),
        }
    }

    /// The names in the folder itself.
    pub(crate) fn items(&self) -> impl Iterator<Item = (&[u8], &Item)> {
        self.items.iter().map(|(name, item)| (&**name, item))
    }

    /// Everything in the folder itself.
    pub(crate) fn into_items(self) -> impl Iterator<Item = Item> {
        self.items.into_values()
    }

    /// Every file at any depth, with the path that it would have below `at`. Names that a phone cannot say are left out.
    pub(crate) fn files_below(&self, at: &BackupPath, files: &mut Vec<(BackupPath, FileItem)>) {
        for (name, item) in self.items() {
            let Some(path) = std::str::from_utf8(name).ok().and_then(|name| at.join(name).ok()) else { continue };
            match item {
                Item::File(file) => files.push((path, file.clone())),
                Item::Folder(folder) => folder.files_below(&path, files),
                Item::Other(_) => {}
            }
        }
    }

    /// Does something in the folder that a path lies in. Folders on the way that are not there are made, or the path is not found.
    fn within<T>(
        &mut self,
        parts: &[&str],
        make: bool,
        act: impl FnOnce(&mut Folder, &str) -> Result<T, TreeError>,
    ) -> Result<T, TreeError> {
        let (first, rest) = match parts {
            [] => return Err(TreeError::NotFound),
            [name] => return act(self, name),
            [first, rest @ ..] => (first.as_bytes(), rest),
        };
        if make && !self.items.contains_key(first) {
            self.insert(first.into(), Item::Folder(Folder::default()));
        }
        let inner = match self.items.get_mut(first) {
            Some(Item::Folder(inner)) => inner,
            Some(_) => return Err(TreeError::NotAFolder),
            None => return Err(TreeError::NotFound),
        };
        self.load.subtract(inner.load);
        let done = inner.within(rest, make, act);
        self.load.add(inner.load);
        done
    }

    /// Puts an item where nothing or a file is. Gives what was there.
    pub(crate) fn put(&mut self, path: &BackupPath, item: Item) -> Result<Option<Item>, TreeError> {
        self.within(&parts(path), true, |folder, name| match folder.items.get(name.as_bytes()) {
            Some(Item::Folder(_)) if matches!(item, Item::File(_)) => Err(TreeError::IsAFolder),
            _ => Ok(folder.insert(name.as_bytes().into(), item)),
        })
    }

    pub(crate) fn create_folder(&mut self, path: &BackupPath) -> Result<(), TreeError> {
        self.within(&parts(path), true, |folder, name| match folder.items.get(name.as_bytes()) {
            None => {
                folder.insert(name.as_bytes().into(), Item::Folder(Folder::default()));
                Ok(())
            }
            Some(_) => Err(TreeError::Exists),
        })
    }

    /// Takes an item out, whatever it is.
    pub(crate) fn take(&mut self, path: &BackupPath) -> Option<Item> {
        self.within(&parts(path), false, |folder, name| Ok(folder.remove(name.as_bytes()))).ok().flatten()
    }

    /// Moves an item over whatever is at the other place; gives what was there. A folder moves to no greater depth, so that no tree gets
    /// deeper than the paths of those who fill it.
    pub(crate) fn rename(&mut self, from: &BackupPath, to: &BackupPath) -> Result<Option<Item>, TreeError> {
        let is_folder = matches!(self.get(from).ok_or(TreeError::NotFound)?, Item::Folder(_));
        if from.as_str() == to.as_str() {
            return Ok(None);
        }
        if is_below(to, from) || is_folder && to.parts().count() > from.parts().count() {
            return Err(TreeError::NotAFolder);
        }
        // What it would replace is what it lies in.
        if is_below(from, to) {
            return Err(TreeError::IsAFolder);
        }
        // The place is looked at first, so that nothing is lost if it cannot take the item.
        let replaced = self.within(&parts(to), true, |folder, name| Ok(folder.remove(name.as_bytes())))?;
        let item = self.take(from).ok_or(TreeError::NotFound)?;
        self.within(&parts(to), true, |folder, name| Ok(folder.insert(name.as_bytes().into(), item)))?;
        Ok(replaced)
    }

    /// What a snapshot holds, as far as it is to be shown.
    pub(crate) fn of_snapshot(reader: &Reader, root: &Content, shown: &dyn Fn(&Node) -> bool) -> Result<Folder, RepositoryError> {
        let mut folder = Folder::default();
        for node in reader.nodes(root)?.into_iter().filter(|node| shown(node)) {
            let name = node.name.clone().into_boxed_slice();
            let item = match &node.kind {
                NodeKind::Directory(inner) => Item::Folder(Folder::of_snapshot(reader, inner, shown)?),
                NodeKind::File(_) => Item::File(FileItem::kept(node)),
                NodeKind::Other if node.left_out.is_some() => Item::File(FileItem::left_out(&node)),
                _ => Item::Other(Box::new(node)),
            };
            folder.insert(name, item);
        }
        Ok(folder)
    }

    /// The tree as something that can be stored; places go with it.
    pub(crate) fn into_scan(self) -> Scan {
        let mut scan = Scan::default();
        scan.folders.push(scanned_folder(Vec::new(), "".into(), 0));
        let mut level = vec![(0u32, self)];
        // Level by level, so that folders are numbered from the root out.
        while !level.is_empty() {
            let mut next = Vec::new();
            for (number, folder) in level {
                for (name, item) in folder.items {
                    match item {
                        Item::Folder(inner) => {
                            let path = scan.folders[number as usize].path.join(String::from_utf8_lossy(&name).as_ref());
                            scan.folders.push(scanned_folder(name.into_vec(), path, number));
                            next.push((scan.folders.len() as u32 - 1, inner));
                        }
                        Item::File(FileItem { len, modified, place }) => {
                            let (name, owner) = (name.into_vec(), (0, 0));
                            scan.files.push(Scanned {
                                folder: number,
                                name,
                                len,
                                mtime: modified,
                                mode: 0o100_644,
                                owner,
                                place,
                            });
                        }
                        Item::Other(node) => scan.folders[number as usize].others.push(*node),
                    }
                }
            }
            level = next;
        }
        scan
    }
}

/// Whether a path lies below another.
pub(crate) fn is_below(path: &BackupPath, folder: &BackupPath) -> bool {
    path.as_str().strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'))
}

fn parts(path: &BackupPath) -> Vec<&str> {
    path.parts().collect()
}

fn scanned_folder(name: Vec<u8>, path: std::path::PathBuf, parent: u32) -> ScannedFolder {
    let mut node = Node::new(name, NodeKind::Directory(Default::default()));
    node.mode = 0o040_755;
    ScannedFolder { path, node, parent, others: Vec::new() }
}

impl FileItem {
    /// A file of the last snapshot, with the length that it had in the phone's folder.
    fn kept(node: Node) -> FileItem {
        FileItem { len: russet_vfs::stored_len(&node), modified: node.mtime, place: Place::Kept(Box::new(node)) }
    }

    /// A file that the last snapshot left out: the phone sees the length that it sent.
    fn left_out(node: &Node) -> FileItem {
        FileItem { len: node.left_out.unwrap_or(0), modified: node.mtime, place: Place::LeftOut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> BackupPath {
        BackupPath::parse(text).unwrap()
    }

    fn file(len: u64) -> Item {
        Item::File(FileItem { len, modified: (0, 0), place: Place::Memory(Vec::new().into()) })
    }

    #[test]
    fn files_move_over_files_and_folders_move_whole() {
        let mut root = Folder::default();
        assert!(root.put(&path("u/Snapshot/00/a"), file(1)).unwrap().is_none());
        assert!(root.put(&path("u/00/a"), file(2)).unwrap().is_none());
        assert!(matches!(root.rename(&path("u/Snapshot/00/a"), &path("u/00/a")), Ok(Some(Item::File(FileItem { len: 2, .. })))));
        assert_eq!(root.file(&path("u/00/a")).unwrap().len, 1);
        assert_eq!(root.file(&path("u/Snapshot/00/a")).unwrap_err(), TreeError::NotFound);
        root.rename(&path("u"), &path("u-20260101")).unwrap();
        assert!(root.get(&path("u")).is_none());
        assert_eq!(root.file(&path("u-20260101/00/a")).unwrap().len, 1);
        assert_eq!(root.rename(&path("u-20260101"), &path("u-20260101/x")).unwrap_err(), TreeError::NotAFolder);
        assert_eq!(root.rename(&path("nothing"), &path("x")).unwrap_err(), TreeError::NotFound);
    }

    #[test]
    fn a_folder_is_neither_read_nor_replaced_as_a_file() {
        let mut root = Folder::default();
        root.create_folder(&path("u/00")).unwrap();
        assert_eq!(root.create_folder(&path("u/00")).unwrap_err(), TreeError::Exists);
        assert_eq!(root.put(&path("u/00"), file(1)).unwrap_err(), TreeError::IsAFolder);
        assert_eq!(root.file(&path("u/00")).unwrap_err(), TreeError::IsAFolder);
        root.put(&path("u/f"), file(1)).unwrap();
        assert_eq!(root.put(&path("u/f/g"), file(1)).unwrap_err(), TreeError::NotAFolder);
        assert!(root.take(&path("u/00")).is_some() && root.take(&path("u/00")).is_none());
    }

    #[test]
    fn no_folder_moves_to_a_greater_depth() {
        let mut root = Folder::default();
        root.create_folder(&path("u/a/b")).unwrap();
        root.create_folder(&path("u/c")).unwrap();
        assert_eq!(root.rename(&path("u/c"), &path("u/a/b/c")).unwrap_err(), TreeError::NotAFolder);
        assert_eq!(root.rename(&path("u/c"), &path("v/x/c")).unwrap_err(), TreeError::NotAFolder);
        assert!(root.get(&path("v")).is_none() && root.get(&path("u/c")).is_some());
        root.rename(&path("u/a/b"), &path("u/b")).unwrap();
        root.put(&path("u/f"), file(1)).unwrap();
        root.rename(&path("u/f"), &path("u/a/x/f")).unwrap();
        assert!(root.file(&path("u/a/x/f")).is_ok());
    }

    #[test]
    fn what_is_looked_for_or_removed_in_vain_leaves_no_folders() {
        let mut root = Folder::default();
        root.put(&path("u/f"), file(1)).unwrap();
        assert!(root.take(&path("u/a/b")).is_none());
        assert!(root.take(&path("u/f/g")).is_none());
        assert!(root.get(&path("u/c/d")).is_none());
        assert_eq!(root.rename(&path("u/e/f"), &path("u/g/h")).unwrap_err(), TreeError::NotFound);
        assert_eq!(root.load().names, 2);
    }

    #[test]
    fn nothing_moves_onto_the_folder_that_it_lies_in() {
        let mut root = Folder::default();
        root.put(&path("u/a/f"), file(1)).unwrap();
        root.create_folder(&path("u/a/b")).unwrap();
        for (from, to) in [("u/a/f", "u/a"), ("u/a/f", "u"), ("u/a/b", "u")] {
            assert_eq!(root.rename(&path(from), &path(to)).unwrap_err(), TreeError::IsAFolder);
        }
        assert!(root.file(&path("u/a/f")).is_ok());
    }

    #[test]
    fn every_folder_knows_its_load() {
        let memory =
            |len: usize| Item::File(FileItem { len: len as u64, modified: (0, 0), place: Place::Memory(vec![0; len].into()) });
        let mut root = Folder::default();
        let check = |root: &Folder, names, in_memory| assert_eq!(root.load(), Load { names, in_memory });
        root.put(&path("u/a/f"), memory(5)).unwrap();
        check(&root, 3, 5);
        root.put(&path("u/a/f"), memory(7)).unwrap();
        root.put(&path("u/a/g"), memory(1)).unwrap();
        check(&root, 4, 8);
        root.rename(&path("u/a/g"), &path("u/a/f")).unwrap();
        check(&root, 3, 1);
        root.rename(&path("u/a"), &path("v")).unwrap();
        check(&root, 3, 1);
        root.create_folder(&path("u/b")).unwrap();
        assert!(root.put(&path("u/b"), memory(1)).is_err());
        check(&root, 4, 1);
        root.take(&path("v")).unwrap();
        check(&root, 2, 0);
    }
}
