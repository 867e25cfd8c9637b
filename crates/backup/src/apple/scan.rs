//! What lies in an Apple backup folder: every entry, whether the manifest knows it or not, so that the folder can be made again whole.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rayon::prelude::*;
use russet_apple_format::row::parse_file_id;
use russet_repository::format::tree::{Node, NodeKind};

use super::place::Place;
use crate::{BackupError, Result};

/// A folder of folders no deeper than this is taken; Apple's own is two deep.
const DEEPEST: usize = 64;

/// A regular file as it lay there when the folder was scanned.
#[derive(Debug, Clone)]
pub(crate) struct Scanned {
    /// Number of its folder in [`Scan::folders`].
    pub(crate) folder: u32,
    pub(crate) name: Vec<u8>,
    pub(crate) len: u64,
    pub(crate) mtime: (i64, u32),
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) place: Place,
}

/// A folder and what is in it besides regular files.
#[derive(Debug)]
pub(crate) struct ScannedFolder {
    pub(crate) path: PathBuf,
    pub(crate) node: Node,
    /// Number of the folder it is in; the root's is its own.
    pub(crate) parent: u32,
    /// Symbolic links and things kept by name only.
    pub(crate) others: Vec<Node>,
}

/// A whole backup folder; folder 0 is the root.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) folders: Vec<ScannedFolder>,
    pub(crate) files: Vec<Scanned>,
    /// What could not even be looked at, and why.
    pub(crate) unreadable: Vec<(PathBuf, io::Error)>,
}

impl Scan {
    pub(crate) fn of(root: &Path) -> Result<Scan> {
        let mut scan = Scan::default();
        let metadata = fs::symlink_metadata(root).map_err(|source| BackupError::Io { path: root.into(), source })?;
        scan.folders.push(folder(root.into(), &metadata));
        let mut level = 0..1;
        for depth in 0.. {
            if level.is_empty() {
                break;
            }
            if depth > DEEPEST {
                let path = scan.folders[level.start].path.clone();
                return Err(BackupError::Io { path, source: std::io::Error::other("folders are nested too deep for a backup") });
            }
            let listings: Vec<Listing> = scan.folders[level.clone()].par_iter().map(|f| Listing::of(&f.path)).collect();
            if depth == 0 && listings[0].failed_at(root) {
                let source = listings.into_iter().flat_map(|l| l.unreadable).map(|(_, error)| error).next();
                return Err(BackupError::Io { path: root.into(), source: source.unwrap_or(io::ErrorKind::Other.into()) });
            }
            let next = scan.folders.len();
            for (number, listing) in level.clone().zip(listings) {
                scan.folders[number].others = listing.others;
                scan.unreadable.extend(listing.unreadable);
                scan.folders.extend(listing.folders.into_iter().map(|inner| ScannedFolder { parent: number as u32, ..inner }));
                scan.files.extend(listing.files.into_iter().map(|mut file| {
                    file.folder = number as u32;
                    file
                }));
            }
            level = next..scan.folders.len();
        }
        Ok(scan)
    }

    pub(crate) fn path(&self, file: &Scanned) -> PathBuf {
        self.folders[file.folder as usize].path.join(os_name(&file.name))
    }

    /// The file's path in the snapshot, for people.
    pub(crate) fn shown(&self, file: &Scanned) -> String {
        let root = &self.folders[0].path;
        self.path(file).strip_prefix(root).map(|p| p.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The name of the file's folder if that is in the root, an empty one for the root itself, and none for deeper ones.
    pub(crate) fn short_name(&self, file: &Scanned) -> Option<&[u8]> {
        let folder = &self.folders[file.folder as usize];
        match (file.folder, folder.parent) {
            (0, _) => Some(b""),
            (_, 0) => Some(&folder.node.name),
            _ => None,
        }
    }

    /// Which file holds the contents that a manifest calls by an id: `xx/<id>`, else `<id>` in the root.
    pub(crate) fn contents(&self) -> HashMap<[u8; 20], usize> {
        let mut contents = HashMap::with_capacity(self.files.len());
        for (number, file) in self.files.iter().enumerate() {
            let Some(id) = parse_file_id(&file.name).filter(|_| !file.name.iter().any(u8::is_ascii_uppercase)) else { continue };
            match self.short_name(file) {
                Some(folder) if *folder == file.name[..2] => {
                    contents.insert(id, number);
                }
                Some(b"") => {
                    contents.entry(id).or_insert(number);
                }
                _ => {}
            }
        }
        contents
    }
}

impl Scanned {
    /// A node with everything but the content.
    pub(crate) fn node(&self, kind: NodeKind) -> Node {
        let mut node = Node::new(self.name.clone(), kind);
        (node.mode, node.uid, node.gid, node.mtime) = (self.mode, self.owner.0, self.owner.1, self.mtime);
        node
    }

    /// Whether the file is still as it was when the folder was scanned.
    pub(crate) fn unchanged(&self, now: &Metadata) -> bool {
        now.len() == self.len && mtime(now) == self.mtime
    }
}

#[derive(Default)]
struct Listing {
    folders: Vec<ScannedFolder>,
    files: Vec<Scanned>,
    others: Vec<Node>,
    unreadable: Vec<(PathBuf, io::Error)>,
}

impl Listing {
    fn of(path: &Path) -> Listing {
        let mut listing = Listing::default();
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => {
                listing.unreadable.push((path.into(), error));
                return listing;
            }
        };
        for entry in entries {
            let looked = entry.map_err(|error| (path.to_path_buf(), error));
            let looked = looked.and_then(|entry| match entry.metadata() {
                Ok(metadata) => Ok((entry, metadata)),
                Err(error) => Err((entry.path(), error)),
            });
            let (entry, metadata) = match looked {
                Ok(looked) => looked,
                // It may go while we look; then it was not there.
                Err((_, error)) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(failed) => {
                    listing.unreadable.push(failed);
                    continue;
                }
            };
            let name = name_bytes(&entry.file_name());
            if metadata.is_dir() {
                listing.folders.push(folder(entry.path(), &metadata));
            } else if metadata.is_file() {
                let (mode, owner) = mode_and_owner(&metadata);
                listing.files.push(Scanned {
                    folder: 0,
                    name,
                    len: metadata.len(),
                    mtime: mtime(&metadata),
                    mode,
                    owner,
                    place: Place::Disk,
                });
            } else {
                let kind = match fs::read_link(entry.path()) {
                    Ok(target) => NodeKind::Symlink(name_bytes(target.as_os_str())),
                    Err(_) => NodeKind::Other,
                };
                listing.others.push(attributes(Node::new(name, kind), &metadata));
            }
        }
        listing.folders.sort_by(|a, b| a.node.name.cmp(&b.node.name));
        listing.files.sort_by(|a, b| a.name.cmp(&b.name));
        listing
    }

    /// Whether the folder itself could not be listed.
    fn failed_at(&self, path: &Path) -> bool {
        self.unreadable.iter().any(|(failed, _)| failed == path)
    }
}

fn folder(path: PathBuf, metadata: &Metadata) -> ScannedFolder {
    let name = path.file_name().map(name_bytes).unwrap_or_default();
    let node = attributes(Node::new(name, NodeKind::Directory(Default::default())), metadata);
    ScannedFolder { path, node, parent: 0, others: Vec::new() }
}

fn attributes(mut node: Node, metadata: &Metadata) -> Node {
    let (mode, owner) = mode_and_owner(metadata);
    (node.mode, node.uid, node.gid, node.mtime) = (mode, owner.0, owner.1, mtime(metadata));
    node
}

fn mtime(metadata: &Metadata) -> (i64, u32) {
    let Ok(time) = metadata.modified() else { return (0, 0) };
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (after.as_secs() as i64, after.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            match before.subsec_nanos() {
                0 => (-(before.as_secs() as i64), 0),
                nanos => (-(before.as_secs() as i64) - 1, 1_000_000_000 - nanos),
            }
        }
    }
}

#[cfg(unix)]
fn mode_and_owner(metadata: &Metadata) -> (u32, (u32, u32)) {
    use std::os::unix::fs::MetadataExt;
    (metadata.mode(), (metadata.uid(), metadata.gid()))
}

#[cfg(not(unix))]
fn mode_and_owner(metadata: &Metadata) -> (u32, (u32, u32)) {
    (if metadata.is_dir() { 0o040_755 } else { 0o100_644 }, (0, 0))
}

#[cfg(unix)]
fn name_bytes(name: &std::ffi::OsStr) -> Vec<u8> {
    std::os::unix::ffi::OsStrExt::as_bytes(name).to_vec()
}

#[cfg(not(unix))]
fn name_bytes(name: &std::ffi::OsStr) -> Vec<u8> {
    name.to_string_lossy().into_owned().into_bytes()
}

#[cfg(unix)]
fn os_name(name: &[u8]) -> &Path {
    Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name))
}

#[cfg(not(unix))]
fn os_name(name: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(name).into_owned())
}
