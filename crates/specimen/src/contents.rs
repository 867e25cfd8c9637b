//! What is on the phone, for whoever wants to back it up himself.

use std::io;

use crate::phone::{self, Body};
use crate::{Specimen, bag, system};

/// Something on the phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The part of the phone it belongs to.
    pub domain: String,
    /// Its path inside the domain; empty for the domain's root.
    pub path: String,
    /// What it is, and what is in it.
    pub body: ItemBody,
    /// When its contents last changed, in Unix seconds.
    pub modified: i64,
    /// When it was created, in Unix seconds.
    pub born: i64,
    /// Its protection class; 0 for folders.
    pub class: u32,
    /// Extended attributes.
    pub attributes: Vec<(String, Vec<u8>)>,
    /// Whether Apple puts it in encrypted backups only.
    pub encrypted_only: bool,
}

/// What an item is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemBody {
    /// A regular file with these contents.
    File(Vec<u8>),
    /// A folder.
    Directory,
    /// A symbolic link, and where it leads.
    Symlink(String),
}

impl Specimen {
    /// Everything that is on the phone in one generation (1 is the first day), in the order of domain and path. The layout does not
    /// matter to it, and what is damaged in a backup is whole here.
    pub fn contents(&self, generation: u32) -> io::Result<Vec<Item>> {
        let entries = phone::phone(self, generation)?.entries;
        let items = entries.into_iter().map(|((domain, path), entry)| Item {
            encrypted_only: system::is_encrypted_only(&domain, &path),
            body: match entry.body {
                Body::File(plain) => ItemBody::File(plain),
                Body::Directory => ItemBody::Directory,
                Body::Symlink(target) => ItemBody::Symlink(target),
            },
            modified: entry.modified,
            born: entry.born,
            class: entry.class,
            attributes: entry.attributes,
            domain,
            path,
        });
        Ok(items.collect())
    }

    /// The id of the keybag, which the keychain's backup repeats.
    pub fn keybag_id(&self) -> [u8; 16] {
        bag::bag_uuid(self)
    }
}
