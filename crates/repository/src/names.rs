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
pub(crate) const MIRRORED: [&str; 5] = [KEYS, SNAPSHOTS, INDEX, VAULT, CONDEMNED];

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

/// Where the other copy of a file lies, if it is one that is kept twice.
pub(crate) fn other_copy(name: &Name) -> Option<Name> {
    let first = name.as_str().strip_prefix("mirror/").unwrap_or(name.as_str());
    let folder = first.split_once('/').map_or(first, |(folder, _)| folder);
    let is_twice = first == "config" || MIRRORED.contains(&folder);
    is_twice.then(|| if first == name.as_str() { mirror(name) } else { self::name(first.to_owned()) })
}

/// The pack that a file is, if it lies where readers look for it.
pub(crate) fn pack_of(file: &Name) -> Option<FileName> {
    hash_of(file).filter(|hash| self::file(PACKS, *hash) == *file)
}

/// The hash that a store name claims, if it is the name of one of our hashed files.
pub(crate) fn hash_of(name: &Name) -> Option<FileName> {
    let (_, last) = name.as_str().rsplit_once('/')?;
    FileName::parse(last).ok()
}
