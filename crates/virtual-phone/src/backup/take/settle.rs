//! The second part of a backup: what was sent takes its place, what is not needed any more goes, and all of it is looked at again.

use std::io;

use russet_apple_format::status::Status;

use super::percent;
use crate::backup::device_link::DeviceLink;
use crate::backup::existing::{self, MAX_PLIST};
use crate::backup::files::{Receiver, done};
use crate::backup::manifest::shelf_path;
use crate::backup::trouble::{Outcome, code, refused, refused_at, unreadable};
use crate::backup::unfinished::Unfinished;

pub(super) fn move_all(link: &mut DeviceLink<'_>, work: &mut Unfinished) -> Outcome<()> {
    let id = link.phone.udid().to_owned();
    let moved = |name: &str| (format!("{id}/Snapshot/{name}"), format!("{id}/{name}"));
    if link.faults.wrong_order {
        link.move_items(&[moved("00/0000000000000000000000000000000000000000")], 0.0)?;
    }
    let total = work.moves.len() as u64;
    let mut count = 0;
    for batch in work.moves.chunks(link.manners.batch.max(1)) {
        let moves: Vec<_> = batch.iter().map(|name| moved(name)).collect();
        link.move_items(&moves, percent(count, total))?;
        count += batch.len() as u64;
    }
    for name in &work.manifests {
        link.move_items(&[moved(name)], 100.0)?;
    }
    Ok(())
}

/// Removes what is not in the backup any more, and what was only there to make it.
pub(super) fn remove_old(link: &mut DeviceLink<'_>, work: &Unfinished) -> Outcome<()> {
    let id = link.phone.udid().to_owned();
    let mut old: Vec<[u8; 20]> = work.base.keys().filter(|file| !work.files.contains_key(*file)).copied().collect();
    for shelf in &work.old_shelves {
        let there = existing::list_shelf(link, &id, shelf)?;
        old.extend(there.into_iter().map(|(file, _)| file).filter(|file| !work.files.contains_key(file)));
    }
    let total = old.len() as u64;
    let mut count = 0;
    for batch in old.chunks(link.manners.batch.max(1)) {
        let paths: Vec<String> = batch.iter().map(|file| format!("{id}/{}", shelf_path(file))).collect();
        let status = link.remove_items(&paths, percent(count, total))?;
        done(&status, &paths[0])?;
        count += batch.len() as u64;
    }
    remove_snapshot(link)?;
    link.remove_items(&[format!("{id}/Manifest.mbdx")], 100.0)?;
    if let Some(aside) = &work.put_aside {
        let status = link.remove_items(std::slice::from_ref(aside), 100.0)?;
        done(&status, aside)?;
    }
    Ok(())
}

pub(super) fn remove_snapshot(link: &mut DeviceLink<'_>) -> Outcome<()> {
    let path = format!("{}/Snapshot", link.phone.udid());
    match link.remove_items(std::slice::from_ref(&path), 100.0)?.code {
        0 | -6 => Ok(()),
        _ => Err(refused(code::DRIVE_WRITE, &format!("Error removing snapshot directory at path \"{path}\""))),
    }
}

/// Looks whether everything is on the host as it was sent.
pub(super) fn verify(link: &mut DeviceLink<'_>, work: &Unfinished) -> Outcome<()> {
    let id = link.phone.udid().to_owned();
    let path = format!("{id}/Status.plist");
    let bytes = link.download_whole(&path, MAX_PLIST)?.map_err(|status| unreadable(status, &path))?;
    let bad = |path: &str| Err(refused_at(code::CORRUPT, "Verification of the backup failed", path));
    match Status::parse(&bytes) {
        Ok(status) if status.is_finished() && status.uuid.as_deref() == Some(work.uuid.as_str()) => {}
        _ => return bad(&path),
    }
    for (name, proof) in &work.proofs {
        let path = format!("{id}/{name}");
        let mut hashed = Hashed { hasher: blake3::Hasher::new() };
        if let Some(status) = link.download(std::slice::from_ref(&path), 0.0, &mut hashed)?.get(&path) {
            return Err(unreadable(*status, &path));
        }
        if hashed.hasher.finalize().as_bytes() != proof {
            return bad(&path);
        }
    }
    if !existing::is_intact(&work.files, &existing::list(link, &id)?) {
        return Err(refused(code::CORRUPT, "Manifest references files not in backup"));
    }
    Ok(())
}

/// Keeps nothing of a file but its hash.
struct Hashed {
    hasher: blake3::Hasher,
}

impl Receiver for Hashed {
    fn begin(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        Ok(())
    }

    fn end(&mut self, _: bool) -> io::Result<()> {
        Ok(())
    }
}
