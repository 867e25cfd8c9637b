//! What the phone writes about a backup: Status.plist, Manifest.plist, Manifest.db and the record of every file.

use std::io;

use russet_apple_format::database::Database;
use russet_apple_format::manifest::{ManifestPlist, NewManifest};
use russet_apple_format::row::{file_id, file_id_text};
use russet_apple_format::status::Status;
use russet_apple_format::{MbFile, Row};

use super::bag::Bag;
use super::scan::Found;
use super::unfinished::Files;
use crate::contents::{Body, Item};
use crate::{Passcode, Phone};

/// Longer extended attributes do not get into a backup.
const MAX_ATTRIBUTE: usize = 2048;
/// Where the rows are that a fault adds.
const ROWS_DOMAIN: &str = "AppDomain-org.example.rows";

/// The time of the phone: that of its day, and a minute later with every backup.
pub(super) fn now(phone: &Phone) -> i64 {
    let backups = phone.inside().backups;
    russet_specimen::date(phone.day()) + 60 * i64::from(backups)
}

/// A Status.plist.
pub(super) fn status(phone: &Phone, uuid: &str, backup_state: &str, snapshot_state: &str, is_full: bool) -> Vec<u8> {
    Status {
        version: Some("3.3".to_owned()),
        uuid: Some(uuid.to_owned()),
        date: Some(now(phone)),
        backup_state: Some(backup_state.to_owned()),
        snapshot_state: Some(snapshot_state.to_owned()),
        is_full,
        backup_success: None,
    }
    .encode()
}

/// A Manifest.plist; with a key it is that of an encrypted backup.
pub(super) fn properties(phone: &Phone, bag: &Bag, manifest_key: Option<&[u8]>) -> Vec<u8> {
    let config = &phone.0.config;
    let identity = &phone.0.identity;
    let apps = phone.inside().plan.specimen().apps();
    let applications: Vec<(&str, &str)> = apps.iter().map(|app| (app.id, app.version)).collect();
    ManifestPlist::create(&NewManifest {
        version: "10.0",
        system_domains_version: "24.0",
        date: now(phone),
        was_passcode_set: phone.state().passcode != Passcode::None,
        keybag: &bag.encoded,
        manifest_key,
        lockdown: &[
            ("BuildVersion", identity.build),
            ("DeviceName", &config.name),
            ("ProductType", identity.product_type),
            ("ProductVersion", &config.ios),
            ("SerialNumber", &identity.serial_number),
            ("UniqueDeviceID", phone.udid()),
        ],
        applications: &applications,
    })
    .encode()
}

/// What the manifest says of an item.
pub(super) fn record(path: &str, item: &Item, key: Option<Vec<u8>>, digest: Option<[u8; 20]>) -> MbFile {
    let id = blake3::hash(path.as_bytes());
    let attributes = item.attributes.iter().filter(|(_, value)| value.len() <= MAX_ATTRIBUTE);
    MbFile {
        path: path.to_owned(),
        mode: item.mode,
        user_id: 501,
        group_id: 501,
        inode: id.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes) >> 36),
        modified: item.modified,
        changed: item.modified,
        born: item.born,
        size: item.content().map_or(0, |content| content.size()),
        protection_class: item.class,
        flags: 0,
        encryption_key: key,
        digest: digest.map(|digest| digest.to_vec()),
        target: match &item.body {
            Body::Symlink(target) => Some(target.clone()),
            _ => None,
        },
        extended_attributes: attributes.cloned().collect(),
    }
}

/// A Manifest.db, not encrypted: everything that was found, files only if they are among `files`, and `more_rows` folders.
pub(super) fn database(found: &[Found], files: &Files, more_rows: u64) -> io::Result<Vec<u8>> {
    let mut database = Database::create().map_err(io::Error::other)?;
    let mut insert = |row: &Row| database.insert(row).map_err(io::Error::other);
    for Found { place: (domain, path), id, item } in found {
        let (flags, blob) = match &item.body {
            Body::File(_) => match files.get(id) {
                Some(kept) => (1, kept.record.to_vec()),
                None => continue,
            },
            Body::Directory => (2, record(path, item, None, None).encode()),
            Body::Symlink(_) => (4, record(path, item, None, None).encode()),
        };
        insert(&Row { file_id: *id, domain: domain.clone(), path: path.clone(), flags, blob })?;
    }
    if more_rows > 0 {
        insert_more_rows(more_rows, &mut insert)?;
    }
    database.serialize().map_err(io::Error::other)
}

/// Folders of one app. Their records differ in the path only, which has the same length in all of them.
fn insert_more_rows(count: u64, insert: &mut dyn FnMut(&Row) -> io::Result<()>) -> io::Result<()> {
    let folder = Item::directory(russet_specimen::FIRST_DAY);
    let mut put = |path: String, blob: Vec<u8>| {
        insert(&Row { file_id: file_id(ROWS_DOMAIN, &path), domain: ROWS_DOMAIN.to_owned(), path, flags: 2, blob })
    };
    for path in ["", "r"].into_iter().take(usize::try_from(count).unwrap_or(2)) {
        put(path.to_owned(), record(path, &folder, None, None).encode())?;
    }
    let path = |number: u64| format!("r/{number:010}");
    let pattern = record(&path(0), &folder, None, None).encode();
    let place = pattern.windows(path(0).len()).position(|window| window == path(0).as_bytes());
    let place = place.ok_or_else(|| io::Error::other("a record does not hold its path"))?;
    for number in 0..count.saturating_sub(2) {
        let path = path(number);
        let mut blob = pattern.clone();
        blob[place..place + path.len()].copy_from_slice(path.as_bytes());
        put(path, blob)?;
    }
    Ok(())
}

/// Where a file lies inside of a backup.
pub(super) fn shelf_path(id: &[u8; 20]) -> String {
    let name = file_id_text(id);
    format!("{}/{name}", &name[..2])
}
