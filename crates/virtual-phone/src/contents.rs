//! The phone's file system: what is at every place, in memory or as a recipe that makes it whenever it is asked for.

mod plan;
mod recipe;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::Arc;

pub(crate) use plan::Plan;
pub(crate) use recipe::Recipe;

/// A place on the phone: domain, and path inside of it.
pub(crate) type Place = (String, String);

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// These bytes.
    Bytes(Arc<Vec<u8>>),
    /// What this makes.
    Recipe(Recipe),
}

impl Content {
    pub(crate) fn bytes(bytes: impl Into<Vec<u8>>) -> Content {
        Content::Bytes(Arc::new(bytes.into()))
    }

    /// The length in bytes.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Recipe(recipe) => recipe.size(),
        }
    }

    /// The bytes, one after the other.
    pub(crate) fn read(&self) -> ContentReader {
        match self {
            Content::Bytes(bytes) => ContentReader::Bytes(io::Cursor::new(Arc::clone(bytes))),
            Content::Recipe(recipe) => ContentReader::Recipe(recipe.read()),
        }
    }

    /// BLAKE3 of the bytes.
    pub(crate) fn blake3(&self) -> io::Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        let mut reader = self.read();
        let mut piece = vec![0; 1 << 16];
        loop {
            match reader.read(&mut piece)? {
                0 => return Ok(*hasher.finalize().as_bytes()),
                n => hasher.update(&piece[..n]),
            };
        }
    }
}

/// Reads what is in a file.
#[derive(Debug)]
pub(crate) enum ContentReader {
    Bytes(io::Cursor<Arc<Vec<u8>>>),
    Recipe(recipe::RecipeReader),
}

impl Read for ContentReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            // A cursor over a shared vector cannot read by itself.
            ContentReader::Bytes(cursor) => {
                let bytes = cursor.get_ref();
                let at = (cursor.position() as usize).min(bytes.len());
                let length = out.len().min(bytes.len() - at);
                out[..length].copy_from_slice(&bytes[at..at + length]);
                cursor.set_position((at + length) as u64);
                Ok(length)
            }
            ContentReader::Recipe(reader) => reader.read(out),
        }
    }
}

/// What is at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    File(Content),
    Directory,
    Symlink(String),
}

/// Something on the phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) body: Body,
    /// Unix seconds.
    pub(crate) modified: i64,
    /// Unix seconds.
    pub(crate) born: i64,
    /// Type and permission bits.
    pub(crate) mode: u32,
    /// The protection class.
    pub(crate) class: u32,
    pub(crate) attributes: Vec<(String, Vec<u8>)>,
    /// Whether only encrypted backups have it.
    pub(crate) encrypted_only: bool,
}

impl Item {
    /// A file of the usual kind.
    pub(crate) fn file(content: Content, modified: i64, class: u32) -> Item {
        Item {
            body: Body::File(content),
            modified,
            born: modified,
            mode: 0o100_644,
            class,
            attributes: Vec::new(),
            encrypted_only: false,
        }
    }

    /// A folder of the usual kind.
    pub(crate) fn directory(modified: i64) -> Item {
        Item { body: Body::Directory, mode: 0o040_755, ..Item::file(Content::bytes([]), modified, 0) }
    }

    /// The content, if it is a file.
    pub(crate) fn content(&self) -> Option<&Content> {
        match &self.body {
            Body::File(content) => Some(content),
            _ => None,
        }
    }
}

/// Everything that is on the phone.
pub(crate) type Contents = BTreeMap<Place, Item>;

/// Adds every folder that something is in, down to the root of its domain.
pub(crate) fn add_directories(contents: &mut Contents, modified: i64) {
    let mut missing = BTreeSet::new();
    for (domain, path) in contents.keys() {
        let ancestors = path.match_indices('/').map(|(at, _)| path[..at].to_owned());
        for ancestor in ancestors.chain([String::new()]) {
            let place = (domain.clone(), ancestor);
            if !contents.contains_key(&place) {
                missing.insert(place);
            }
        }
    }
    contents.extend(missing.into_iter().map(|place| (place, Item::directory(modified))));
}

/// Does to `contents` what turned `before` into `after`.
pub(crate) fn change(contents: &mut Contents, before: &Contents, after: Contents) {
    for place in before.keys().filter(|&place| !after.contains_key(place)) {
        contents.remove(place);
    }
    for (place, item) in after {
        if before.get(&place) != Some(&item) {
            contents.insert(place, item);
        }
    }
}
