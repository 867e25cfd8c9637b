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
pub(crate) struct Folder(BTreeMap<Name, Item>);

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

impl Folder {
    /// What is at a path.
    pub(crate) fn get(&self, path: &BackupPath) -> Option<&Item> {
        let mut folder = self;
        let mut parts = path.parts().peekable();
        while let Some(part) = parts.next() {
            let item = folder.0.get(part.as_bytes())?;
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
        self.0.iter().map(|(name, item)| (&**name, item))
    }

    /// Everything in the folder itself.
    pub(crate) fn into_items(self) -> impl Iterator<Item = Item> {
        self.0.into_values()
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

    /// The folder that a path lies in, made if it is not there.
    fn parent(&mut self, path: &BackupPath) -> Result<(&mut Folder, Name), TreeError> {
        let mut folder = self;
        let mut parts = path.parts().peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return Ok((folder, part.as_bytes().into()));
            }
            match folder.0.entry(part.as_bytes().into()).or_insert_with(|| Item::Folder(Folder::default())) {
                Item::Folder(inner) => folder = inner,
                _ => return Err(TreeError::NotAFolder),
            }
        }
        Err(TreeError::NotFound)
    }

    /// Puts an item where nothing or a file is. Gives what was there.
    pub(crate) fn put(&mut self, path: &BackupPath, item: Item) -> Result<Option<Item>, TreeError> {
        let (folder, name) = self.parent(path)?;
        match folder.0.get(&name) {
            Some(Item::Folder(_)) if matches!(item, Item::File(_)) => Err(TreeError::IsAFolder),
            _ => Ok(folder.0.insert(name, item)),
        }
    }

    pub(crate) fn create_folder(&mut self, path: &BackupPath) -> Result<(), TreeError> {
        let (folder, name) = self.parent(path)?;
        match folder.0.get(&name) {
            None => folder.0.insert(name, Item::Folder(Folder::default())),
            Some(_) => return Err(TreeError::Exists),
        };
        Ok(())
    }

    /// Takes an item out, whatever it is.
    pub(crate) fn take(&mut self, path: &BackupPath) -> Option<Item> {
        let (folder, name) = self.parent(path).ok()?;
        folder.0.remove(&name)
    }

    /// Moves an item over whatever is at the other place; gives what was there.
    pub(crate) fn rename(&mut self, from: &BackupPath, to: &BackupPath) -> Result<Option<Item>, TreeError> {
        if to.as_str().strip_prefix(from.as_str()).is_some_and(|rest| rest.starts_with('/')) {
            return Err(TreeError::NotAFolder);
        }
        if self.get(from).is_none() {
            return Err(TreeError::NotFound);
        }
        if from.as_str() == to.as_str() {
            return Ok(None);
        }
        // The place is looked at first, so that nothing is lost if it cannot take the item.
        let (folder, name) = self.parent(to)?;
        let replaced = folder.0.remove(&name);
        let Some(item) = self.take(from) else { return Err(TreeError::NotFound) };
        let (folder, name) = self.parent(to)?;
        folder.0.insert(name, item);
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
                _ => Item::Other(Box::new(node)),
            };
            folder.0.insert(name, item);
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
                for (name, item) in folder.0 {
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
}
