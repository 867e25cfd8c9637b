//! Where each kind of file lies in the store.

use russet_format::id::FileName;
use russet_store::Name;

pub(crate) const KEYS: &str = "keys";
pub(crate) const PACKS: &str = "packs";
pub(crate) const INDEX: &str = "index";
pub(crate) const SNAPSHOTS: &str = "snapshots";
pub(crate) const VAULT: &str = "vault";
pub(crate) const CONDEMNED: &str = "condemned";
/// Folders whose files have a second copy.
pub(crate) const MIRRORED: [&str; 2] = [KEYS, SNAPSHOTS];

fn name(text: String) -> Name {
    Name::new(text).expect("folders and hex digits are always a valid name")
}

pub(crate) fn config() -> Name {
    name("config".into())
}

pub(crate) fn file(folder: &str, file: FileName) -> Name {
    match folder {
        PACKS => name(format!("{PACKS}/{}/{file}", &file.hex()[..2])),
        _ => name(format!("{folder}/{file}")),
    }
}

pub(crate) fn mirror(of: &Name) -> Name {
    name(format!("mirror/{of}"))
}

/// The hash that a store name claims, if it is the name of one of our hashed files.
pub(crate) fn hash_of(name: &Name) -> Option<FileName> {
    let (_, last) = name.as_str().rsplit_once('/')?;
    FileName::parse(last).ok()
}
