//! Keys: the bag that a password opens, and a key for every file, all made out of the seed.

use std::io;

use russet_apple_format::keybag::NewKeybag;
use russet_apple_format::{FileKey, Keybag};

use crate::{Layout, Specimen};

/// What every bag asks for in its inner derivation.
const ITERATIONS: u32 = 10_000;
/// The class under which Manifest.db is.
const MANIFEST_CLASS: u32 = 3;
/// Keys of these classes leave no phone, and some more do not if there is no password.
const DEVICE_BOUND: &[u32] = &[5, 9, 10, 11];
const DEVICE_BOUND_IF_PLAIN: &[u32] = &[6, 7, 8];

/// The bag of a phone, and the keys in it.
pub(crate) struct Bag<'a> {
    specimen: &'a Specimen,
    /// As Manifest.plist holds it.
    pub(crate) encoded: Vec<u8>,
    classes: Vec<(u32, u32, FileKey)>,
}

/// The id of the bag.
pub(crate) fn bag_uuid(specimen: &Specimen) -> [u8; 16] {
    specimen.noise("keybag id").array()
}

impl<'a> Bag<'a> {
    /// Makes the bag; as slow as the specimen's rounds.
    pub(crate) fn new(specimen: &'a Specimen) -> io::Result<Bag<'a>> {
        let mut noise = specimen.noise("keybag");
        let is_bound =
            |class: &u32| DEVICE_BOUND.contains(class) || !specimen.is_encrypted() && DEVICE_BOUND_IF_PLAIN.contains(class);
        let classes: Vec<(u32, u32, FileKey)> = (1..=11)
            .rev()
            .map(|class| (class, if is_bound(&class) { 3 } else { 2 }, FileKey::from_bytes(noise.array())))
            .collect();
        let is_slow = specimen.is_encrypted() && specimen.layout == Layout::Database;
        let new = NewKeybag {
            uuid: bag_uuid(specimen),
            salt: noise.array(),
            iterations: ITERATIONS,
            double_protection: is_slow.then(|| (noise.array(), specimen.rounds)),
            classes: &classes,
        };
        let bag = Keybag::create(&new, specimen.password.as_deref().unwrap_or_default()).map_err(io::Error::other)?;
        Ok(Bag { specimen, encoded: bag.encode(), classes })
    }

    /// The key of a file since a generation, and how its record holds it.
    pub(crate) fn file_key(&self, class: u32, file_id: &str, since: u32) -> io::Result<(FileKey, Vec<u8>)> {
        self.key(class, &format!("key {file_id} {since}"))
    }

    /// The key of Manifest.db in a generation, and how Manifest.plist holds it; `None` if it is not encrypted.
    pub(crate) fn manifest_key(&self, generation: u32) -> io::Result<Option<(FileKey, Vec<u8>)>> {
        match self.specimen.layout {
            Layout::Database if self.specimen.is_encrypted() => {
                self.key(MANIFEST_CLASS, &format!("manifest key {generation}")).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn key(&self, class: u32, purpose: &str) -> io::Result<(FileKey, Vec<u8>)> {
        let key = FileKey::from_bytes(self.specimen.noise(purpose).array());
        let class_key = self.classes.iter().find(|(number, ..)| *number == class);
        let (_, _, class_key) = class_key.ok_or_else(|| io::Error::other(format!("the specimen has no class {class}")))?;
        let wrapped = [&class.to_le_bytes()[..], &class_key.wrap(&key)].concat();
        Ok((key, wrapped))
    }
}
