//! The first part of a backup: everything is sent to the snapshot folder, and the last backup stays as it is.

use std::io::{self, Read, Write};

use russet_apple_format::FileKey;
use russet_apple_format::cipher::stored_len;
use russet_apple_format::cipher_stream::EncryptReader;
use russet_apple_format::row::file_id_text;

use super::{percent, put_status};
use crate::backup::ahead::Ahead;
use crate::backup::bag::MANIFEST_CLASS;
use crate::backup::device_link::DeviceLink;
use crate::backup::files::Mishap;
use crate::backup::manifest::{self, shelf_path};
use crate::backup::scan::{Found, has_digest, scan};
use crate::backup::trouble::{Outcome, code, refused};
use crate::backup::unfinished::{Files, Kept, Unfinished};

/// What the host must have left besides the files.
const MARGIN: u64 = 128 << 20;
/// What the phone asks for beyond what it lacks.
const PURGE: u64 = 2 << 30;
/// Contents of larger files are made on a thread of their own.
const LARGE: u64 = 512 << 10;
/// By how much a file grows that changes while it is sent.
const GROWTH: usize = 1_000;

/// Everything until both manifests lie in the snapshot folder.
pub(super) fn upload(link: &mut DeviceLink<'_>, work: &mut Unfinished) -> Outcome<()> {
    let mut spoilt = Spoilt::default();
    let mut found = scan(link.phone, work.bag.is_encrypted);
    for pass in 0..link.manners.passes.max(1) {
        if pass > 0 {
            found = scan(link.phone, work.bag.is_encrypted);
        }
        let needed: Vec<Found> = found.iter().filter(|found| is_needed(work, found)).cloned().collect();
        if pass > 0 && needed.is_empty() {
            break;
        }
        let bytes = needed.iter().map(|found| stored_size(work, found)).sum();
        ensure_space(link, bytes)?;
        create_directories(link, work)?;
        if pass == 0 {
            put_status(link, work, "uploading")?;
            if link.faults.wrong_order {
                send_manifests_first(link, work, &found, &needed)?;
            }
            send_hostile_paths(link)?;
        }
        send_files(link, work, &needed, bytes, &mut spoilt)?;
    }
    work.files.clear();
    work.moves.clear();
    for Found { id, item, .. } in found.iter().filter(|found| found.item.content().is_some()) {
        // What could not be read keeps the contents of the last backup, if it was in it.
        if let Some(kept) = work.sent.get(id).filter(|kept| kept.modified == item.modified) {
            work.moves.push(shelf_path(id));
            work.files.insert(*id, kept.clone());
        } else if let Some(kept) = work.base.get(id) {
            work.files.insert(*id, kept.clone());
        }
    }
    work.manifests = vec!["Manifest.plist", "Manifest.db"];
    send_manifests(link, work, &found)
}

fn is_needed(work: &Unfinished, found: &Found) -> bool {
    let is_there = |files: &Files| files.get(&found.id).is_some_and(|kept| kept.modified == found.item.modified);
    found.item.content().is_some() && !is_there(&work.base) && !is_there(&work.sent)
}

fn stored_size(work: &Unfinished, found: &Found) -> u64 {
    let size = found.item.content().map_or(0, |content| content.size());
    if work.bag.is_encrypted { stored_len(size) } else { size }
}

/// Asks for the room that the files take; once more, if the host says that it made some.
fn ensure_space(link: &mut DeviceLink<'_>, bytes: u64) -> Outcome<()> {
    let full = || refused(code::HOST_FULL, "Insufficient free disk space on drive to back up");
    let need = bytes.saturating_add(MARGIN);
    for has_purged in [false, true] {
        match link.free_space()? {
            Some(free) if free <= need && has_purged => return Err(full()),
            Some(free) if free <= need => {
                if !link.purge((need - free).saturating_add(PURGE))? {
                    return Err(full());
                }
            }
            _ => return Ok(()),
        }
    }
    Ok(())
}

fn create_directories(link: &mut DeviceLink<'_>, work: &mut Unfinished) -> Outcome<()> {
    let id = link.phone.udid().to_owned();
    link.create_directory(&id)?;
    if !link.manners.folders_ahead {
        link.create_directory(&format!("{id}/Snapshot"))?;
        return Ok(());
    }
    for number in 0..=255 {
        let shelf = format!("{number:02x}");
        if link.create_directory(&format!("{id}/{shelf}"))? && work.is_full && !work.old_shelves.contains(&shelf) {
            work.old_shelves.push(shelf);
        }
    }
    link.create_directory(&format!("{id}/Snapshot"))?;
    for number in 0..=255 {
        link.create_directory(&format!("{id}/Snapshot/{number:02x}"))?;
    }
    Ok(())
}

/// Which files were chosen for faults.
#[derive(Debug, Default)]
struct Spoilt {
    unreadable: Option<[u8; 20]>,
    changing: Option<[u8; 20]>,
}

impl Spoilt {
    /// The first file of some length is the unreadable one, the next one changes.
    fn choose(&mut self, link: &DeviceLink<'_>, found: &Found) {
        if found.item.content().is_none_or(|content| content.size() < 2) {
            return;
        }
        if link.faults.unreadable_file && self.unreadable.is_none() {
            self.unreadable = Some(found.id);
        } else if link.faults.changing_file && self.changing.is_none() {
            self.changing = Some(found.id);
        }
    }
}

fn send_files(
    link: &mut DeviceLink<'_>,
    work: &mut Unfinished,
    needed: &[Found],
    total: u64,
    spoilt: &mut Spoilt,
) -> Outcome<()> {
    let id = link.phone.udid().to_owned();
    let mut done = 0;
    for batch in needed.chunks(link.manners.batch.max(1)) {
        let bytes = batch.iter().map(|found| stored_size(work, found)).sum();
        link.begin_upload(percent(done, total), bytes)?;
        for found in batch {
            if link.is_cancelled() {
                break;
            }
            spoilt.choose(link, found);
            send_file(link, work, found, spoilt)?;
        }
        done += bytes;
        link.end_upload(&format!("{id}/Snapshot"))?;
        link.check_cancelled()?;
    }
    Ok(())
}

fn send_file(link: &mut DeviceLink<'_>, work: &mut Unfinished, found: &Found, spoilt: &Spoilt) -> Outcome<()> {
    let (domain, path) = &found.place;
    let growth = if spoilt.changing == Some(found.id) { GROWTH } else { 0 };
    let Some(mut stored) = Stored::new(link, work, found, growth)? else { return Ok(()) };
    let mishap = Mishap {
        breaks_off_after: (spoilt.unreadable == Some(found.id)).then_some(stored_size(work, found) / 2),
        garbled: link.faults.garble_files,
    };
    let from = format!("/.b/6/{domain}/{path}");
    let to = format!("{}/Snapshot/{}", link.phone.udid(), shelf_path(&found.id));
    let sent = link.upload(&from, &to, &mut stored.reader, has_digest(domain), mishap)?;
    if sent.broke_off {
        return Ok(());
    }
    if growth > 0 {
        link.phone.inside().longer.insert((found.id, found.item.modified), sent.bytes);
    }
    let record = manifest::record(path, &found.item, stored.wrapped_key, sent.digest).encode();
    work.sent.insert(found.id, Kept { modified: found.item.modified, stored: sent.bytes, record: record.into() });
    Ok(())
}

/// A file as it is stored on the host.
struct Stored {
    reader: Box<dyn Read + Send>,
    wrapped_key: Option<Vec<u8>>,
}

impl Stored {
    /// None if it is no file. `growth` bytes follow that were not there when the file was looked at.
    fn new(link: &DeviceLink<'_>, work: &Unfinished, found: &Found, growth: usize) -> Outcome<Option<Stored>> {
        let Some(content) = found.item.content() else { return Ok(None) };
        let plain = content.read().chain(io::Cursor::new(vec![b'+'; growth]));
        let is_large = content.size() > LARGE;
        let (reader, wrapped_key): (Box<dyn Read + Send>, _) = if work.bag.is_encrypted {
            let purpose = format!("{} {}", file_id_text(&found.id), found.item.modified);
            let (key, wrapped) = work.bag.new_key(link.phone, found.item.class, &purpose)?;
            (Box::new(EncryptReader::new(plain, &key)), Some(wrapped))
        } else {
            (Box::new(plain), None)
        };
        let reader = if is_large { Box::new(Ahead::new(reader)?) } else { reader };
        Ok(Some(Stored { reader, wrapped_key }))
    }
}

/// Builds both manifests and sends them to the snapshot folder.
fn send_manifests(link: &mut DeviceLink<'_>, work: &mut Unfinished, found: &[Found]) -> Outcome<()> {
    let folder = format!("{}/Snapshot", link.phone.udid());
    let key = if work.bag.is_encrypted {
        Some(work.bag.new_key(link.phone, MANIFEST_CLASS, &format!("manifest {}", work.uuid))?)
    } else {
        None
    };
    let wrapped = key.as_ref().map(|(_, wrapped)| wrapped.as_slice());
    let plist = manifest::properties(link.phone, &work.bag, wrapped);
    link.upload_whole(&format!("{folder}/Manifest.plist"), &plist)?;
    work.proofs.insert("Manifest.plist", *blake3::hash(&plist).as_bytes());

    let database = manifest::database(found, &work.files, link.faults.more_rows)?;
    let mut reader = proving(&database, key.as_ref().map(|(key, _)| key));
    let path = format!("{folder}/Manifest.db");
    link.begin_upload(99.0, database.len() as u64)?;
    link.upload("/var/.ba/Manifest.db", &path, &mut reader, false, Mishap::default())?;
    link.end_upload(&path)?;
    work.proofs.insert("Manifest.db", *reader.hasher.finalize().as_bytes());
    Ok(())
}

/// Hashes what it reads.
struct Proving<R> {
    inner: R,
    hasher: blake3::Hasher,
}

fn proving<'a>(bytes: &'a [u8], key: Option<&FileKey>) -> Proving<Box<dyn Read + 'a>> {
    let inner: Box<dyn Read + 'a> = match key {
        Some(key) => Box::new(EncryptReader::new(bytes, key)),
        None => Box::new(bytes),
    };
    Proving { inner, hasher: blake3::Hasher::new() }
}

impl<R: Read> Read for Proving<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(out)?;
        self.hasher.update(&out[..length]);
        Ok(length)
    }
}

/// A fault: the manifests come before the files they list.
fn send_manifests_first(link: &mut DeviceLink<'_>, work: &mut Unfinished, found: &[Found], needed: &[Found]) -> Outcome<()> {
    let mut files = work.base.clone();
    files.extend(work.sent.clone());
    for found in needed {
        let Some(mut stored) = Stored::new(link, work, found, 0)? else { continue };
        let mut sink = Hashing { hasher: sha1::Sha1::default(), bytes: 0 };
        io::copy(&mut stored.reader, &mut sink)?;
        let digest = has_digest(&found.place.0).then(|| sha1::Digest::finalize(sink.hasher).into());
        let record = manifest::record(&found.place.1, &found.item, stored.wrapped_key, digest).encode();
        files.insert(found.id, Kept { modified: found.item.modified, stored: sink.bytes, record: record.into() });
    }
    work.files = files;
    send_manifests(link, work, found)
}

struct Hashing {
    hasher: sha1::Sha1,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        sha1::Digest::update(&mut self.hasher, bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A fault: an upload to places where no phone has anything to write.
fn send_hostile_paths(link: &mut DeviceLink<'_>) -> Outcome<()> {
    let paths = link.faults.hostile_paths.clone();
    let Some(first) = paths.first() else { return Ok(()) };
    let bytes = b"a file that should not be here\n";
    link.begin_upload(0.0, (bytes.len() * paths.len()) as u64)?;
    for path in &paths {
        link.upload("/.b/6/hostile", path, &mut &bytes[..], false, Mishap::default())?;
    }
    link.end_upload(first)
}
