//! The backup of a phone, as a folder: blobs, the manifest that lists them, and three property lists.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use plist::{Dictionary, Value};
use russet_apple_format::database::Database;
use russet_apple_format::info::Info;
use russet_apple_format::manifest::{ManifestPlist, NewManifest};
use russet_apple_format::row::{file_id, file_id_text};
use russet_apple_format::status::Status;
use russet_apple_format::{MbFile, Row, RowKind, cipher, mbdb};
use sha1::{Digest, Sha1};

use crate::apps::{APPS, binary};
use crate::bag::Bag;
use crate::phone::{Body, Entry, Flaw, Phone};
use crate::{Layout, PlainHash, Specimen, Truth, TruthKind, Written, date};

/// The domains where the phone notes digests.
const DIGESTED: &[&str] = &[
    "HomeDomain",
    "RootDomain",
    "HealthDomain",
    "WirelessDomain",
    "SystemPreferencesDomain",
    "KeyboardDomain",
    "KeychainDomain",
];
const PLISTS: [&str; 3] = ["Info.plist", "Manifest.plist", "Status.plist"];

/// Brings the backup in `root` to the state of `phone`.
pub(crate) fn write(specimen: &Specimen, phone: &Phone<'_>, root: &Path, generation: u32) -> io::Result<Written> {
    let udid = specimen.udid();
    let target = Folder { path: root.join(&udid), is_flat: specimen.layout == Layout::Mbdb };
    fs::create_dir_all(&target.path)?;
    let bag = Bag::new(specimen)?;
    let (mut truth, mut records, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
    for ((domain, path), entry) in &phone.entries {
        let id = file_id(domain, path);
        let name = file_id_text(&id);
        let (record, blob) = store(specimen, &bag, domain, path, &name, entry)?;
        if let Some(blob) = blob {
            target.put(&target.blob(&name), &blob, date(entry.since))?;
            names.insert(name.clone());
        }
        truth.push(Truth {
            domain: domain.clone(),
            path: path.clone(),
            file_id: name,
            kind: match &entry.body {
                Body::File(plain) => TruthKind::File(PlainHash::of(plain)),
                Body::Directory => TruthKind::Directory,
                Body::Symlink(target) => TruthKind::Symlink(target.clone()),
            },
            modified: entry.modified,
            odd: entry.odd,
            intact: !matches!(entry.flaw, Flaw::Missing | Flaw::Truncated | Flaw::Trailing),
        });
        records.push((domain.as_str(), record, entry.flaw, id));
    }
    let mut orphans = Vec::new();
    if specimen.odd {
        let name = file_id_text(&file_id("AppDomain-org.example.removed", "Documents/orphan.bin"));
        target.put(&target.blob(&name), &specimen.noise("orphan").bytes(4_096), date(1))?;
        names.insert(name.clone());
        orphans.push(name);
    }
    target.remove_others(&names)?;

    let manifest_key = bag.manifest_key(generation)?;
    let (name, mut manifest) = manifest(specimen, &records)?;
    if let Some((key, _)) = &manifest_key {
        manifest = cipher::encrypt_all(key, &manifest);
    }
    let now = date(generation);
    target.put(&target.path.join(name), &manifest, now)?;
    let wrapped = manifest_key.as_ref().map(|(_, wrapped)| wrapped.as_slice());
    let plists = [info(specimen, generation), manifest_plist(specimen, &bag, wrapped, generation)?, status(specimen, generation)];
    for (name, bytes) in PLISTS.into_iter().zip(plists) {
        target.put(&target.path.join(name), &bytes, now)?;
    }
    Ok(Written { folder: target.path, udid, date: now, truth, orphans })
}

/// The record of an entry, and its blob if it has one.
fn store(
    specimen: &Specimen,
    bag: &Bag<'_>,
    domain: &str,
    path: &str,
    name: &str,
    entry: &Entry,
) -> io::Result<(MbFile, Option<Vec<u8>>)> {
    let mut noise = specimen.noise(&format!("inode {name}"));
    let mut record = MbFile {
        path: path.to_owned(),
        user_id: 501,
        group_id: 501,
        inode: noise.next() >> 36,
        modified: entry.modified,
        changed: entry.modified,
        born: entry.born,
        extended_attributes: entry.attributes.clone(),
        ..MbFile::default()
    };
    let plain = match &entry.body {
        Body::Directory => {
            record.mode = 0o040_755;
            return Ok((record, None));
        }
        Body::Symlink(target) => {
            record.mode = 0o120_755;
            record.target = Some(target.clone());
            return Ok((record, None));
        }
        Body::File(plain) => plain,
    };
    record.mode = 0o100_644;
    record.size = match entry.flaw {
        Flaw::Claims(size) => size,
        _ => plain.len() as u64,
    };
    record.protection_class = entry.class;
    let mut blob = match entry.flaw {
        Flaw::EmptyKey => {
            record.encryption_key = Some(Vec::new());
            plain.clone()
        }
        Flaw::NoKey => plain.clone(),
        _ if !specimen.is_encrypted() => plain.clone(),
        _ => {
            let (key, wrapped) = bag.file_key(entry.class, name, entry.since)?;
            record.encryption_key = Some(wrapped);
            cipher::encrypt_all(&key, plain)
        }
    };
    if DIGESTED.contains(&domain) {
        record.digest = Some(match entry.flaw {
            Flaw::WrongDigest => Sha1::digest(b"something else").to_vec(),
            _ => Sha1::digest(&blob).to_vec(),
        });
    }
    match entry.flaw {
        Flaw::Missing => return Ok((record, None)),
        Flaw::Truncated => blob.truncate(blob.len() / 2 + 5),
        Flaw::Trailing => blob.extend(noise.bytes(37)),
        _ => {}
    }
    Ok((record, Some(blob)))
}

/// The manifest of these records and its name, not encrypted.
fn manifest(specimen: &Specimen, records: &[(&str, MbFile, Flaw, [u8; 20])]) -> io::Result<(&'static str, Vec<u8>)> {
    if specimen.layout == Layout::Mbdb {
        let all = mbdb::encode(records.iter().map(|(domain, record, ..)| (*domain, record))).map_err(io::Error::other)?;
        return Ok(("Manifest.mbdb", all));
    }
    let mut database = Database::create().map_err(io::Error::other)?;
    for (domain, record, flaw, file_id) in records {
        let mut blob = record.encode();
        if *flaw == Flaw::UnknownKeys {
            blob = with_unknown_keys(&blob)?;
        }
        let flags = record.kind().unwrap_or(RowKind::File).flags();
        let row = Row { file_id: *file_id, domain: (*domain).to_owned(), path: record.path.clone(), flags, blob };
        database.insert(&row).map_err(io::Error::other)?;
    }
    Ok(("Manifest.db", database.serialize().map_err(io::Error::other)?))
}

/// A record as a later iOS might write it.
fn with_unknown_keys(blob: &[u8]) -> io::Result<Vec<u8>> {
    let lost = || io::Error::other("a record of the specimen has no root");
    let mut archive = dictionary(blob)?;
    let objects = archive.get_mut("$objects").and_then(Value::as_array_mut).ok_or_else(lost)?;
    let root = objects.get_mut(1).and_then(Value::as_dictionary_mut).ok_or_else(lost)?;
    root.insert("FromTheFuture".into(), 7.into());
    root.insert("AnotherKey".into(), Value::Array(vec!["$null".into(), Value::Data(vec![1, 2, 3])]));
    Ok(binary(archive))
}

fn dictionary(encoded: &[u8]) -> io::Result<Dictionary> {
    let value = Value::from_reader(Cursor::new(encoded)).map_err(io::Error::other)?;
    value.into_dictionary().ok_or_else(|| io::Error::other("a property list of the specimen is no dictionary"))
}

/// The version of the list of domains.
fn domains_version(specimen: &Specimen) -> &'static str {
    match specimen.layout {
        Layout::Database => "24.0",
        Layout::DatabaseClearManifest | Layout::Mbdb => "20.0",
    }
}

pub(crate) fn serial_number(specimen: &Specimen) -> String {
    let mut noise = specimen.noise("serial number");
    (0..10).map(|_| char::from(*noise.pick(b"0123456789CDFGHJKLMNPQRTVWXY"))).collect()
}

fn info(specimen: &Specimen, generation: u32) -> Vec<u8> {
    let phone = specimen.identity();
    let udid = specimen.udid();
    Info {
        device_name: Some(phone.name.to_owned()),
        display_name: Some(phone.name.to_owned()),
        product_name: Some("iPhone".to_owned()),
        product_type: Some(phone.product_type.to_owned()),
        product_version: Some(phone.product_version.to_owned()),
        build_version: Some(phone.build.to_owned()),
        serial_number: Some(phone.serial_number),
        unique_identifier: Some(udid.to_uppercase()),
        target_identifier: Some(udid),
        phone_number: Some(phone.phone_number),
        imei: Some(phone.imei),
        iccid: Some(phone.iccid),
        guid: Some(specimen.noise(&format!("guid {generation}")).uuid().replace('-', "")),
        last_backup_date: Some(date(generation)),
        itunes_version: Some("12.12".to_owned()),
        installed_applications: APPS.iter().map(|(id, ..)| (*id).to_owned()).collect(),
        app_names: APPS.iter().map(|(id, name, _)| ((*id).to_owned(), (*name).to_owned())).collect(),
    }
    .encode()
}

fn manifest_plist(specimen: &Specimen, bag: &Bag<'_>, manifest_key: Option<&[u8]>, generation: u32) -> io::Result<Vec<u8>> {
    let (phone, udid) = (specimen.identity(), specimen.udid());
    let applications: Vec<(&str, &str)> = APPS.iter().map(|&(id, _, version)| (id, version)).collect();
    let encoded = ManifestPlist::create(&NewManifest {
        version: if specimen.layout == Layout::Mbdb { "9.1" } else { "10.0" },
        system_domains_version: domains_version(specimen),
        date: date(generation),
        was_passcode_set: true,
        keybag: &bag.encoded,
        manifest_key,
        lockdown: &[
            ("BuildVersion", phone.build),
            ("DeviceName", phone.name),
            ("ProductType", phone.product_type),
            ("ProductVersion", phone.product_version),
            ("SerialNumber", &phone.serial_number),
            ("UniqueDeviceID", &udid),
        ],
        applications: &applications,
    })
    .encode();
    if manifest_key.is_some() || !specimen.is_encrypted() {
        return Ok(encoded);
    }
    // Before iOS 10.2 a backup was encrypted without its manifest being so.
    let mut root = dictionary(&encoded)?;
    root.insert("IsEncrypted".into(), true.into());
    Ok(binary(root))
}

fn status(specimen: &Specimen, generation: u32) -> Vec<u8> {
    Status {
        version: Some(if specimen.layout == Layout::Mbdb { "2.4" } else { "3.3" }.to_owned()),
        uuid: Some(specimen.noise(&format!("status {generation}")).uuid()),
        date: Some(date(generation)),
        backup_state: Some("new".to_owned()),
        snapshot_state: Some("finished".to_owned()),
        is_full: false,
        backup_success: None,
    }
    .encode()
}

/// Where the backup is written.
struct Folder {
    path: PathBuf,
    /// Whether blobs lie in the folder itself.
    is_flat: bool,
}

impl Folder {
    fn blob(&self, name: &str) -> PathBuf {
        if self.is_flat { self.path.join(name) } else { self.path.join(&name[..2]).join(name) }
    }

    /// Writes a file unless it is there already, byte for byte.
    fn put(&self, path: &Path, bytes: &[u8], time: i64) -> io::Result<()> {
        match fs::read(path) {
            Ok(there) if there == bytes => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.set_modified(UNIX_EPOCH + Duration::from_secs(time.unsigned_abs()))
    }

    /// Removes every blob that is not of this generation, and folders that held no other. Files of other names are left alone.
    fn remove_others(&self, keep: &BTreeSet<String>) -> io::Result<()> {
        if self.is_flat {
            return remove_from(&self.path, keep).map(drop);
        }
        for folder in fs::read_dir(&self.path)? {
            let folder = folder?;
            let is_shelf = folder.file_name().len() == 2 && folder.file_type()?.is_dir();
            if is_shelf && remove_from(&folder.path(), keep)? == 0 {
                fs::remove_dir(folder.path())?;
            }
        }
        Ok(())
    }
}

/// Gives how many files are left.
fn remove_from(folder: &Path, keep: &BTreeSet<String>) -> io::Result<usize> {
    let mut left = 0;
    for file in fs::read_dir(folder)? {
        let file = file?;
        let name = file.file_name().into_string().unwrap_or_default();
        let is_blob = name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_blob && !keep.contains(&name) {
            fs::remove_file(file.path())?;
        } else {
            left += 1;
        }
    }
    Ok(left)
}
