//! Keybags: made, opened and wrapped anew, and the keys of single files.

use std::collections::BTreeMap;
use std::io;

use russet_apple_format::keybag::NewKeybag;
use russet_apple_format::{FileKey, Keybag};

use crate::Phone;

/// What every bag asks for in its inner derivation.
const ITERATIONS: u32 = 10_000;
const CLASSES: std::ops::RangeInclusive<u32> = 1..=11;
/// Keys of these classes leave no phone, and some more do not if there is no password.
const DEVICE_BOUND: &[u32] = &[5, 9, 10, 11];
const DEVICE_BOUND_IF_PLAIN: &[u32] = &[6, 7, 8];
/// The class under which Manifest.db is.
pub(super) const MANIFEST_CLASS: u32 = 3;

/// A keybag that is open.
#[derive(Debug)]
pub(super) struct Bag {
    /// As Manifest.plist holds it.
    pub(super) encoded: Vec<u8>,
    /// Whether files are encrypted under it.
    pub(super) is_encrypted: bool,
    salt: Vec<u8>,
    classes: BTreeMap<u32, FileKey>,
}

impl Bag {
    /// Makes a new bag for the phone.
    pub(super) fn create(phone: &Phone, password: Option<&str>) -> io::Result<Bag> {
        let keys = |phone: &Phone| CLASSES.map(|class| (class, phone.inside().class_key(class))).collect::<BTreeMap<_, _>>();
        let is_bound = |class: &u32| DEVICE_BOUND.contains(class) || password.is_none() && DEVICE_BOUND_IF_PLAIN.contains(class);
        let wrapped: Vec<(u32, u32, FileKey)> =
            keys(phone).into_iter().map(|(class, key)| (class, if is_bound(&class) { 3 } else { 2 }, key)).collect();
        let bag = Keybag::create(&new_keybag(phone, password.is_some(), &wrapped), password.unwrap_or_default());
        let bag = bag.map_err(io::Error::other)?;
        Ok(Bag { encoded: bag.encode(), is_encrypted: password.is_some(), salt: bag.salt().to_vec(), classes: keys(phone) })
    }

    /// Opens a bag; none if it does not open with this password.
    pub(super) fn open(encoded: &[u8], password: Option<&str>) -> Option<Bag> {
        let bag = Keybag::parse(encoded).ok()?;
        let keys = bag.unlock(&bag.derive(password.unwrap_or_default()).ok()?).ok()?;
        let classes = CLASSES.filter_map(|class| Some((class, FileKey::from_bytes(*keys.class(class).ok()?.expose()))));
        Some(Bag {
            encoded: encoded.to_vec(),
            is_encrypted: password.is_some(),
            salt: bag.salt().to_vec(),
            classes: classes.collect(),
        })
    }

    /// The same keys under another password, as bytes of a bag.
    pub(super) fn rewrapped(encoded: &[u8], old: &str, new: &str, phone: &Phone) -> Option<Vec<u8>> {
        let bag = Keybag::parse(encoded).ok()?;
        let open = bag.derive(old).ok()?;
        bag.unlock(&open).ok()?;
        let classes: Option<Vec<_>> =
            bag.classes().iter().map(|entry| Some((entry.class(), entry.wrap(), open.unwrap(entry.wrapped_key()?)?))).collect();
        let classes = classes?;
        let fresh = NewKeybag { uuid: bag.uuid(), ..new_keybag(phone, true, &classes) };
        Some(Keybag::create(&fresh, new).ok()?.encode())
    }

    /// A new key for a file, and how its record holds it. The same file of the same time has the same key in one bag.
    pub(super) fn new_key(&self, phone: &Phone, class: u32, purpose: &str) -> io::Result<(FileKey, Vec<u8>)> {
        let salt: String = self.salt.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = FileKey::from_bytes(phone.inside().secret(&format!("key {salt} {purpose}")));
        let outer = self.classes.get(&class).ok_or_else(|| io::Error::other(format!("the keybag has no class {class}")))?;
        let wrapped = [&class.to_le_bytes()[..], &outer.wrap(&key)].concat();
        Ok((key, wrapped))
    }

    /// Opens the key of a file as its record holds it.
    pub(super) fn unwrap(&self, wrapped: &[u8]) -> Option<FileKey> {
        let (class, wrapped) = wrapped.split_first_chunk()?;
        self.classes.get(&u32::from_le_bytes(*class))?.unwrap(wrapped)
    }
}

fn new_keybag<'a>(phone: &Phone, has_password: bool, classes: &'a [(u32, u32, FileKey)]) -> NewKeybag<'a> {
    let rounds = phone.0.config.rounds.max(1);
    let mut inside = phone.inside();
    inside.bags += 1;
    let number = inside.bags;
    NewKeybag {
        uuid: inside.plan.specimen().keybag_id(),
        salt: inside.secret(&format!("salt {number}")),
        iterations: ITERATIONS,
        double_protection: has_password.then(|| (inside.secret(&format!("slow salt {number}")), rounds)),
        classes,
    }
}
