//! What is on the host already: the last backup, and what lies in its folders.

use std::collections::BTreeMap;
use std::io::Cursor;

use russet_apple_format::cipher::stored_len;
use russet_apple_format::cipher_stream::DecryptReader;
use russet_apple_format::database::Database;
use russet_apple_format::manifest::ManifestPlist;
use russet_apple_format::row::parse_file_id;
use russet_apple_format::{MbFile, RowKind};

use super::bag::Bag;
use super::device_link::DeviceLink;
use super::files::MAX_WHOLE;
use super::message::malformed;
use super::trouble::{Outcome, Trouble, code, refused_at, unreadable};
use super::unfinished::{Files, Kept};

/// The most bytes of the small property lists of a backup.
pub(super) const MAX_PLIST: u64 = 64 << 20;
/// The most files that are believed to lie in a backup.
const MAX_BLOBS: usize = 10_000_000;

/// What lies in the folders of a backup.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Contents of files, by id, and their lengths.
    pub(super) blobs: BTreeMap<[u8; 20], u64>,
    /// Everything else at the top.
    pub(super) names: Vec<String>,
}

/// Lists a backup, or its snapshot folder: the top and every folder of two hex digits.
pub(super) fn list(link: &mut DeviceLink<'_>, folder: &str) -> Outcome<Listing> {
    let mut listing = Listing::default();
    for (name, length) in link.contents_of(folder)? {
        if length.is_none() && is_shelf(&name) {
            listing.blobs.extend(list_shelf(link, folder, &name)?);
            if listing.blobs.len() > MAX_BLOBS {
                return Err(malformed("a folder holds too many files").into());
            }
        } else {
            listing.names.push(name);
        }
    }
    Ok(listing)
}

/// What is in one folder of two hex digits.
pub(super) fn list_shelf(link: &mut DeviceLink<'_>, folder: &str, shelf: &str) -> Outcome<Vec<([u8; 20], u64)>> {
    let entries = link.contents_of(&format!("{folder}/{shelf}"))?;
    Ok(entries
        .into_iter()
        .filter(|(name, _)| name.starts_with(shelf))
        .filter_map(|(name, length)| Some((parse_file_id(name.as_bytes())?, length?)))
        .collect())
}

fn is_shelf(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether every file is there in the length that it should have.
pub(super) fn is_intact(files: &Files, listing: &Listing) -> bool {
    files.iter().all(|(id, kept)| listing.blobs.get(id) == Some(&kept.stored))
}

/// The manifests of a finished backup, as they are stored.
pub(super) struct Manifests {
    pub(super) plist: ManifestPlist,
    /// The oldest system that may restore the backup, if it says so.
    pub(super) required_version: Option<String>,
    pub(super) database: Vec<u8>,
}

/// Fetches Manifest.plist and Manifest.db.
pub(super) fn fetch_manifests(link: &mut DeviceLink<'_>, id: &str) -> Outcome<Manifests> {
    let path = format!("{id}/Manifest.plist");
    let bytes = link.download_whole(&path, MAX_PLIST)?.map_err(|status| unreadable(status, &path))?;
    let plist = ManifestPlist::parse(&bytes).map_err(|_| bad_properties(&path))?;
    let required_version = plist::Value::from_reader(Cursor::new(bytes)).ok().and_then(|root| {
        let version = root.as_dictionary()?.get("RequiredProductVersion")?;
        version.as_string().map(str::to_owned)
    });
    let path = format!("{id}/Manifest.db");
    let database = link.download_whole(&path, MAX_WHOLE)?.map_err(|status| unreadable(status, &path))?;
    if database.is_empty() {
        return Err(corrupt(&path));
    }
    Ok(Manifests { plist, required_version, database })
}

/// Reads Manifest.db; an encrypted one with the keys of its bag.
pub(super) fn open_database(manifests: Manifests, bag: &Bag, id: &str) -> Outcome<Database> {
    let path = format!("{id}/Manifest.db");
    let key = match manifests.plist.manifest_key() {
        Some(wrapped) => Some(bag.unwrap(wrapped).ok_or_else(|| bad_properties(&format!("{id}/Manifest.plist")))?),
        None => None,
    };
    let length = manifests.database.len() as u64;
    Database::read(DecryptReader::new(&manifests.database[..], key.as_ref()), length).map_err(|_| corrupt(&path))
}

/// The regular files of a manifest. `longer` knows the stored lengths that records do not tell.
pub(super) fn files(database: &Database, longer: &BTreeMap<([u8; 20], i64), u64>, id: &str) -> Outcome<Files> {
    let bad = || corrupt(&format!("{id}/Manifest.db"));
    let mut files = Files::new();
    for row in database.rows().map_err(|_| bad())? {
        let row = row.map_err(|_| bad())?;
        if row.kind() != RowKind::File {
            continue;
        }
        let record = MbFile::parse(&row.blob).map_err(|_| bad())?;
        let stored = match longer.get(&(row.file_id, record.modified)) {
            Some(length) => *length,
            None if record.usable_key().is_some() => stored_len(record.size),
            None => record.size,
        };
        files.insert(row.file_id, Kept { modified: record.modified, stored, record: row.blob.into() });
    }
    Ok(files)
}

fn corrupt(path: &str) -> Trouble {
    refused_at(code::CORRUPT, "Error opening manifest database", path)
}

fn bad_properties(path: &str) -> Trouble {
    let text = format!("Error deserializing properties at path \"{path}\" (MBErrorDomain/11)");
    Trouble::Refused { code: code::CORRUPT, text: format!("{text} (MBErrorDomain/{})", code::CORRUPT) }
}
