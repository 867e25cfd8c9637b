//! A restore: what a backup holds takes the place of what is on the phone.
//!
//! Nothing changes on the phone until everything has arrived and was found to be right.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use plist::{Dictionary, Value};
use russet_apple_format::info::Info;
use russet_apple_format::manifest::ManifestPlist;
use russet_apple_format::status::Status;
use russet_apple_format::{FileKey, MbFile, RowKind};

use super::arrival::Arrival;
use super::bag::Bag;
use super::calendar::stamp;
use super::device_link::DeviceLink;
use super::existing::{self, MAX_PLIST, Manifests};
use super::files::done;
use super::manifest::{now, shelf_path};
use super::owner;
use super::trouble::{Outcome, code, refused, refused_at, unreadable};
use crate::contents::{Body, Content, Contents, Item, Place};

/// What belongs to the system, apart from containers: a restore without system files leaves it alone.
const SYSTEM: &[&str] = &[
    "DatabaseDomain",
    "InstallDomain",
    "ManagedPreferencesDomain",
    "MobileDeviceDomain",
    "NetworkDomain",
    "ProtectedDomain",
    "RootDomain",
    "SystemPreferencesDomain",
    "WirelessDomain",
];

/// What the host asked for.
struct Wishes {
    source: String,
    password: Option<String>,
    copies: bool,
    with_system: bool,
    removes_others: bool,
}

impl Wishes {
    fn read(request: &Dictionary) -> io::Result<Wishes> {
        let source = request.get("SourceIdentifier").and_then(Value::as_string);
        let source = source.filter(|source| (1..=255).contains(&source.len()) && !source.contains('/'));
        Ok(Wishes {
            source: source.ok_or_else(|| super::malformed("a restore has no source"))?.to_owned(),
            password: options(request).and_then(|options| options.get("Password")?.as_string().map(str::to_owned)),
            copies: !option(request, "RestoreDontCopyBackup", false),
            with_system: option(request, "RestoreSystemFiles", true),
            removes_others: option(request, "RemoveItemsNotRestored", true),
        })
    }
}

fn options(request: &Dictionary) -> Option<&Dictionary> {
    request.get("Options")?.as_dictionary()
}

fn option(request: &Dictionary, name: &str, default: bool) -> bool {
    match options(request).and_then(|options| options.get(name)) {
        Some(Value::Boolean(wish)) => *wish,
        Some(Value::Integer(number)) => number.as_signed() != Some(0),
        _ => default,
    }
}

/// Whether the phone starts anew after this restore.
pub(super) fn reboots(request: &Dictionary) -> bool {
    option(request, "RestoreShouldReboot", true)
}

/// A file, folder or link to be restored.
pub(super) struct Planned {
    pub(super) place: Place,
    pub(super) record: MbFile,
    pub(super) key: Option<FileKey>,
}

/// Restores a backup.
pub(super) fn restore(link: &mut DeviceLink<'_>, request: &Dictionary) -> Outcome<()> {
    let wishes = Wishes::read(request)?;
    if link.faults.unknown_message {
        link.send_unknown_message()?;
    }
    owner::ask_for_passcode(link)?;
    if link.phone.0.config.find_my {
        return Err(refused(code::FIND_MY, "Find My iPhone must be turned off before restoring"));
    }
    let (manifests, bag) = open_backup(link, &wishes)?;
    let info = check_version(link, &wishes, &manifests)?;
    let is_encrypted = manifests.plist.is_encrypted();
    let (files, mut contents) = plan(manifests, &bag, &wishes)?;
    let bytes = files.values().map(|planned| planned.record.size).fold(0, u64::saturating_add);
    if bytes > link.phone.0.config.free_space {
        return Err(refused(code::PHONE_FULL, "Insufficient free space on the device to restore the backup"));
    }
    if wishes.copies {
        copy_backup(link, info)?;
    }
    fetch(link, &wishes, files, &mut contents)?;

    let mut state = link.phone.state();
    state.backup_password = wishes.password.clone().filter(|_| is_encrypted);
    drop(state);
    move_in(link, contents, &wishes, is_encrypted);
    link.phone.remember();
    owner::relay(link.phone, "com.apple.mobile.backup.domain_changed");
    Ok(())
}

/// Fetches what tells of the backup as a whole, and judges it.
fn open_backup(link: &mut DeviceLink<'_>, wishes: &Wishes) -> Outcome<(Manifests, Bag)> {
    let source = &wishes.source;
    let path = format!("{source}/Manifest.plist");
    let first = link.download_whole(&path, MAX_PLIST)?;
    if let Ok(bytes) = &first {
        let bad = |_| refused_at(code::CORRUPT, "Error deserializing properties", &path);
        unlock(&ManifestPlist::parse(bytes).map_err(bad)?, wishes)?;
    }
    let path = format!("{source}/Status.plist");
    let no_backup = || refused(code::NO_BACKUP, "No backup to restore from");
    let status = match link.download_whole(&path, MAX_PLIST)? {
        Ok(bytes) => Status::parse(&bytes).map_err(|_| refused_at(code::CORRUPT, "Error reading status", &path))?,
        Err(-6 | -1) => return Err(no_backup()),
        Err(status) => return Err(unreadable(status, &path)),
    };
    match status.backup_state.as_deref() {
        Some("empty") => return Err(no_backup()),
        Some("old") => return Err(refused(code::UNSUPPORTED, "Unsupported backup state")),
        _ => {}
    }
    if version(status.version.as_deref().unwrap_or("0")) < vec![2, 4] {
        return Err(refused(code::UNSUPPORTED, "Unsupported backup version"));
    }
    if first.is_err() && status.snapshot_state.as_deref() == Some("uploading") {
        return Err(no_backup());
    }
    let manifests = existing::fetch_manifests(link, source)?;
    let bag = unlock(&manifests.plist, wishes)?;
    Ok((manifests, bag))
}

fn unlock(manifest: &ManifestPlist, wishes: &Wishes) -> Outcome<Bag> {
    let password = wishes.password.as_deref().filter(|_| manifest.is_encrypted());
    if manifest.is_encrypted() && password.is_none() {
        return Err(refused(code::PASSWORD, "Missing password when restoring encrypted backup"));
    }
    let bag = manifest.keybag().and_then(|bag| Bag::open(bag, password));
    bag.ok_or_else(|| refused(code::PASSWORD, "Invalid password when restoring encrypted backup"))
}

/// Refuses backups of a newer system. Gives Info.plist, if there is one.
fn check_version(link: &mut DeviceLink<'_>, wishes: &Wishes, manifests: &Manifests) -> Outcome<Option<Vec<u8>>> {
    let incompatible = || refused(code::UNSUPPORTED, "Incompatible OS: the backup is of a newer system than the device");
    let ours = version(&link.phone.0.config.ios);
    if manifests.required_version.as_ref().is_some_and(|theirs| version(theirs) > ours) {
        return Err(incompatible());
    }
    let Ok(bytes) = link.download_whole(&format!("{}/Info.plist", wishes.source), MAX_PLIST)? else { return Ok(None) };
    let Ok(info) = Info::parse(&bytes) else { return Ok(None) };
    if info.product_version.is_some_and(|theirs| version(&theirs) > ours) {
        return Err(incompatible());
    }
    Ok(Some(bytes))
}

fn version(text: &str) -> Vec<u32> {
    text.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// What is to be fetched, by its name in the backup, and everything that needs no fetching.
fn plan(manifests: Manifests, bag: &Bag, wishes: &Wishes) -> Outcome<(BTreeMap<String, Planned>, Contents)> {
    let bad = |what: &str| refused_at(code::CORRUPT, what, &format!("{}/Manifest.db", wishes.source));
    let is_encrypted = manifests.plist.is_encrypted();
    let database = existing::open_database(manifests, bag, &wishes.source)?;
    let (mut files, mut contents) = (BTreeMap::new(), Contents::new());
    for row in database.rows().map_err(|_| bad("Error reading manifest"))? {
        let row = row.map_err(|_| bad("Error reading manifest"))?;
        if !wishes.with_system && is_system(&row.domain) {
            continue;
        }
        let record = MbFile::parse(&row.blob).map_err(|_| bad("Error reading a record of the manifest"))?;
        let body = match row.kind() {
            RowKind::Directory => Body::Directory,
            RowKind::Symlink => Body::Symlink(record.target.clone().unwrap_or_default()),
            RowKind::Other(_) => continue,
            RowKind::File => {
                let key = match record.usable_key() {
                    Some(wrapped) => Some(bag.unwrap(wrapped).ok_or_else(|| bad("A file has a damaged key"))?),
                    None if is_encrypted && record.encryption_key.is_none() => {
                        return Err(bad("An encrypted file has no key"));
                    }
                    None => None,
                };
                let planned = Planned { place: (row.domain, row.path), record, key };
                files.insert(format!("{}/{}", wishes.source, shelf_path(&row.file_id)), planned);
                continue;
            }
        };
        contents.insert((row.domain, row.path), item(&record, body));
    }
    Ok((files, contents))
}

/// An item as its record describes it.
pub(super) fn item(record: &MbFile, body: Body) -> Item {
    Item {
        body,
        modified: record.modified,
        born: record.born,
        mode: record.mode,
        class: record.protection_class,
        attributes: record.extended_attributes.clone(),
        encrypted_only: false,
    }
}

fn is_system(domain: &str) -> bool {
    SYSTEM.contains(&domain) || domain.starts_with("SysContainerDomain-") || domain.starts_with("SysSharedContainerDomain-")
}

/// Lets the host keep the backup that the phone had until now beside the one that it will make next.
fn copy_backup(link: &mut DeviceLink<'_>, info: Option<Vec<u8>>) -> Outcome<()> {
    let target = link.phone.udid().to_owned();
    let bytes = existing::list(link, &target)?.blobs.values().fold(0, |sum: u64, length| sum.saturating_add(*length));
    if link.free_space()?.is_some_and(|free| free <= bytes) {
        return Ok(());
    }
    let stamp = stamp(now(link.phone));
    let copy = format!("{target}-{stamp}");
    done(&link.copy_item(&target, &copy)?, &copy)?;
    let Some(info) = info else { return Ok(()) };
    let mut info = Value::from_reader(io::Cursor::new(info)).map_err(io::Error::other)?;
    if let Some(info) = info.as_dictionary_mut() {
        let name = info.get("Display Name").and_then(Value::as_string).unwrap_or_default();
        let name = format!("{name} - {stamp}");
        info.insert("Display Name".to_owned(), name.into());
    }
    let mut bytes = Vec::new();
    info.to_writer_xml(&mut bytes).map_err(io::Error::other)?;
    link.upload_whole(&format!("{copy}/Info.plist"), &bytes)
}

/// Fetches all files, in batches, and puts them into `contents`.
fn fetch(link: &mut DeviceLink<'_>, wishes: &Wishes, files: BTreeMap<String, Planned>, contents: &mut Contents) -> Outcome<()> {
    let names: Vec<String> = files.keys().cloned().collect();
    let mut arrival = Arrival::new(files, link.phone.inside().recipes.clone());
    for (number, batch) in names.chunks(link.manners.batch.max(1)).enumerate() {
        let progress = 100.0 * (number * batch.len()) as f64 / names.len() as f64;
        let missing = link.download(batch, progress, &mut arrival)?;
        if let Some((path, status)) = missing.into_iter().next() {
            return Err(unreadable(if status == -1 { -6 } else { status }, &path));
        }
    }
    if !arrival.left().is_empty() {
        return Err(refused_at(code::CORRUPT, "Manifest references files not in backup", &wishes.source));
    }
    if arrival.has_wrong_digests {
        return Err(refused(code::CORRUPT, "Digest didn't match for some files"));
    }
    if arrival.has_cut_files {
        return Err(refused(code::CORRUPT, "Some files are cut short"));
    }
    contents.extend(arrival.into_items());
    Ok(())
}

/// Puts what arrived in the place of what was there.
fn move_in(link: &DeviceLink<'_>, mut contents: Contents, wishes: &Wishes, is_encrypted: bool) {
    let mut inside = link.phone.inside();
    let marked: BTreeSet<Place> =
        inside.contents.iter().filter(|(_, item)| item.encrypted_only).map(|(place, _)| place.clone()).collect();
    for (place, item) in &mut contents {
        item.encrypted_only =
            marked.contains(place) || matches!(place.0.as_str(), "HealthDomain" | "HomeKitDomain" | "KeychainDomain");
    }
    // What this backup could not have does not count as removed.
    let stays = |(place, item): &(Place, Item)| {
        !wishes.removes_others || !wishes.with_system && is_system(&place.0) || item.encrypted_only && !is_encrypted
    };
    let before = std::mem::take(&mut inside.contents);
    for (place, item) in before.into_iter().filter(stays) {
        contents.entry(place).or_insert(item);
    }
    inside.contents = contents;
    inside.unfinished = None;
}

/// The item of a file that arrived.
pub(super) fn file(record: &MbFile, content: Content) -> Item {
    item(record, Body::File(content))
}
