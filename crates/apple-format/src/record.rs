//! MBFile: what the manifest says of one file. In Manifest.db a keyed archive, in Manifest.mbdb plain fields.

use plist::{Dictionary, Uid, Value};

use crate::binary_plist::Object;
use crate::keyed_archive::Archive;
use crate::{Error, Result, RowKind, property_list};

const WHAT: &str = "record of a file";
/// The most bytes a record may have; extended attributes are the only long part.
const MAX_BYTES: usize = 16 << 20;
/// The bits of a mode that say what kind of thing it is.
const TYPE_BITS: u32 = 0o170_000;

/// What the manifest says of a file, folder or link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MbFile {
    /// The path inside the domain.
    pub path: String,
    /// Type and permission bits, as in `st_mode`.
    pub mode: u32,
    /// The owner; negative ones occur.
    pub user_id: i32,
    /// The group; negative ones occur.
    pub group_id: i32,
    /// The number of the file on the phone's disk.
    pub inode: u64,
    /// The last change of the contents, in Unix seconds.
    pub modified: i64,
    /// The last change of the file's own fields, in Unix seconds.
    pub changed: i64,
    /// When it was created, in Unix seconds.
    pub born: i64,
    /// The plain size that the phone claims. It may be wrong, on files that changed while they were stored.
    pub size: u64,
    /// The protection class; 0 if it has none.
    pub protection_class: u32,
    /// BSD `st_flags`.
    pub flags: u32,
    /// The wrapped key of the contents. A few files of encrypted backups have none, or an empty one.
    pub encryption_key: Option<Vec<u8>>,
    /// SHA-1 of the contents as stored, in the domains where the phone notes it.
    pub digest: Option<Vec<u8>>,
    /// Where a symbolic link leads.
    pub target: Option<String>,
    /// Extended attributes. Unreadable ones are left out.
    pub extended_attributes: Vec<(String, Vec<u8>)>,
}

impl MbFile {
    /// Parses the record of a row of Manifest.db. Unknown keys are passed over.
    pub fn parse(blob: &[u8]) -> Result<MbFile> {
        bounded(blob)?;
        let archive = Archive::parse(blob)?;
        let mut file = MbFile::default();
        let [mut path, mut target, mut key, mut digest, mut attributes] = [None; 5];
        let integer = |value| archive.integer(value);
        for entry in archive.root()? {
            let (name, value) = entry?;
            match name {
                b"Mode" => file.mode = clamped(integer(value)?),
                b"UserID" => file.user_id = id(integer(value)?),
                b"GroupID" => file.group_id = id(integer(value)?),
                b"InodeNumber" => file.inode = integer(value)? as u64,
                b"LastModified" => file.modified = clamped(integer(value)?),
                b"LastStatusChange" => file.changed = clamped(integer(value)?),
                b"Birth" => file.born = clamped(integer(value)?),
                b"Size" => file.size = clamped(integer(value)?.max(0)),
                b"ProtectionClass" => file.protection_class = clamped(integer(value)?),
                b"Flags" => file.flags = clamped(integer(value)?),
                // What allocates waits, so that a key that is there a thousand times costs once.
                b"RelativePath" => path = Some(value),
                b"Target" => target = Some(value),
                b"EncryptionKey" => key = Some(value),
                b"Digest" => digest = Some(value),
                b"ExtendedAttributes" => attributes = Some(value),
                _ => {}
            }
        }
        let text = |value: Option<Object<'_>>| value.map_or(Ok(None), |value| archive.text(value));
        file.path = text(path)?.unwrap_or_default();
        file.target = text(target)?;
        let data = |value: Option<Object<'_>>| match value {
            Some(value) => archive.data(value).map(|data| data.map(<[u8]>::to_vec)),
            None => Ok(None),
        };
        file.encryption_key = data(key)?;
        file.digest = data(digest)?;
        if let Some(attributes) = data(attributes)? {
            file.extended_attributes = parse_attributes(&attributes);
        }
        Ok(file)
    }

    /// The record as a keyed archive, as Manifest.db holds it.
    pub fn encode(&self) -> Vec<u8> {
        let mut objects = vec![Value::from("$null"), Value::from("root goes here")];
        let mut put = |value: Value| {
            objects.push(value);
            Value::Uid(Uid::new(objects.len() as u64 - 1))
        };
        let mut root = Dictionary::new();
        let mut set = |key: &str, value: Value| root.insert(key.to_owned(), value);
        set("RelativePath", put(self.path.as_str().into()));
        set("Mode", self.mode.into());
        set("UserID", self.user_id.into());
        set("GroupID", self.group_id.into());
        set("InodeNumber", self.inode.into());
        set("LastModified", self.modified.into());
        set("LastStatusChange", self.changed.into());
        set("Birth", self.born.into());
        set("Size", self.size.into());
        set("ProtectionClass", self.protection_class.into());
        set("Flags", self.flags.into());
        if let Some(key) = &self.encryption_key {
            let class = put(class("NSMutableData", &["NSMutableData", "NSData", "NSObject"]));
            set("EncryptionKey", put(dictionary([("NS.data", Value::Data(key.clone())), ("$class", class)])));
        }
        if let Some(digest) = &self.digest {
            set("Digest", put(Value::Data(digest.clone())));
        }
        if let Some(target) = &self.target {
            set("Target", put(target.as_str().into()));
        }
        if !self.extended_attributes.is_empty() {
            let attributes =
                self.extended_attributes.iter().map(|(name, value)| (name.clone(), Value::Data(value.clone()))).collect();
            set("ExtendedAttributes", put(Value::Data(property_list::write(attributes))));
        }
        set("$class", put(class("MBFile", &["MBFile", "NSObject"])));
        objects[1] = root.into();
        let top = dictionary([("root", Value::Uid(Uid::new(1)))]);
        property_list::write_value(&dictionary([
            ("$version", 100_000.into()),
            ("$archiver", "NSKeyedArchiver".into()),
            ("$top", top),
            ("$objects", Value::Array(objects)),
        ]))
    }

    /// The same record for an unencrypted backup: without EncryptionKey, and with `new_digest` if it had a digest
    /// (if none is given, the old one goes). Every other key and object stays as it is.
    pub fn rewrite_plain(blob: &[u8], new_digest: Option<[u8; 20]>) -> Result<Vec<u8>> {
        bounded(blob)?;
        let number = usize::try_from(Archive::parse(blob)?.root_number());
        let mut archive = property_list::read(WHAT, blob)?;
        let missing = Error::MissingKey { what: WHAT, key: "$objects" };
        let objects = archive.get_mut("$objects").and_then(Value::as_array_mut).ok_or(missing)?;
        let number = number.ok().filter(|&number| objects.get(number).is_some_and(|root| root.as_dictionary().is_some()));
        let number = number.ok_or_else(|| Error::malformed(WHAT, "its root is no object"))?;
        let root = objects[number].as_dictionary_mut().expect("it was found to be one");
        let key = root.remove("EncryptionKey");
        let digest = root.remove("Digest");

        if let Some(slot) = key.and_then(|key| unnamed(objects, &key)) {
            objects[slot] = "$null".into();
        }
        if let Some(old) = digest {
            let slot = unnamed(objects, &old);
            let new = new_digest.map(|digest| Value::Data(digest.to_vec()));
            let value = match (new, old, slot) {
                (Some(new), old @ Value::Uid(_), Some(slot)) => {
                    objects[slot] = new;
                    Some(old)
                }
                (Some(new), Value::Uid(_), None) => {
                    objects.push(new);
                    Some(Value::Uid(Uid::new(objects.len() as u64 - 1)))
                }
                (Some(new), ..) => Some(new),
                (None, _, Some(slot)) => {
                    objects[slot] = "$null".into();
                    None
                }
                (None, ..) => None,
            };
            if let (Some(value), Some(root)) = (value, objects[number].as_dictionary_mut()) {
                root.insert("Digest".into(), value);
            }
        }
        Ok(property_list::write(archive))
    }

    /// What the mode says it is; `None` if it is nothing a backup holds.
    pub fn kind(&self) -> Option<RowKind> {
        match self.mode & TYPE_BITS {
            0o100_000 => Some(RowKind::File),
            0o040_000 => Some(RowKind::Directory),
            0o120_000 => Some(RowKind::Symlink),
            _ => None,
        }
    }

    /// The wrapped key, if there is one that could open something.
    pub fn usable_key(&self) -> Option<&[u8]> {
        self.encryption_key.as_deref().filter(|key| !key.is_empty())
    }
}

fn bounded(blob: &[u8]) -> Result<()> {
    if blob.len() > MAX_BYTES {
        return Err(Error::TooLarge { what: WHAT, size: blob.len() as u64, limit: MAX_BYTES as u64 });
    }
    Ok(())
}

/// A number in the range of its type, whatever was claimed.
fn clamped<T: TryFrom<i128> + Limits>(number: i128) -> T {
    T::try_from(number).unwrap_or(if number < 0 { T::LEAST } else { T::MOST })
}

trait Limits {
    const LEAST: Self;
    const MOST: Self;
}

macro_rules! limits {
    ($($type:ty),*) => { $(impl Limits for $type { const LEAST: Self = Self::MIN; const MOST: Self = Self::MAX; })* };
}

limits!(u32, u64, i64);

/// A user or group: -2 may have been stored as such or in 32 bits without a sign.
fn id(number: i128) -> i32 {
    number as u32 as i32
}

/// The place of the object that a removed value named, if nothing names it any more.
fn unnamed(objects: &[Value], value: &Value) -> Option<usize> {
    let number = value.as_uid()?.get();
    let place = usize::try_from(number).ok().filter(|&place| place != 0 && place < objects.len())?;
    (!objects.iter().any(|object| names(object, number))).then_some(place)
}

/// Whether an object names another by its number.
fn names(object: &Value, number: u64) -> bool {
    match object {
        Value::Uid(uid) => uid.get() == number,
        Value::Array(items) => items.iter().any(|item| names(item, number)),
        Value::Dictionary(fields) => fields.values().any(|value| names(value, number)),
        _ => false,
    }
}

fn parse_attributes(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let Ok(attributes) = property_list::read("extended attributes", bytes) else {
        return Vec::new();
    };
    attributes.into_iter().filter_map(|(name, value)| Some((name, value.into_data()?))).collect()
}

fn dictionary<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Dictionary(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn class(name: &str, ancestry: &[&str]) -> Value {
    let ancestry = ancestry.iter().map(|&class| class.into()).collect();
    dictionary([("$classname", name.into()), ("$classes", Value::Array(ancestry))])
}

#[cfg(test)]
mod tests;
