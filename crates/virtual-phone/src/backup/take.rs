//! A backup: what is on the phone goes to the host, in the order that lets it be broken off at any point.
//!
//! What kind of backup it is follows from what is on the host; what was broken off is ended.

mod settle;
mod upload;

use std::collections::BTreeMap;
use std::sync::Arc;

use russet_apple_format::status::Status;

use super::bag::Bag;
use super::calendar::stamp;
use super::device_link::DeviceLink;
use super::existing::{self, Listing, MAX_PLIST};
use super::manifest::{self, shelf_path};
use super::scan::{Found, scan};
use super::trouble::{Outcome, Trouble, unreadable};
use super::unfinished::{Files, Kept, PasswordHash, Stage, Unfinished};
use settle::{move_all, remove_old, remove_snapshot, verify};
use upload::upload;

/// Makes a backup, full or not, or ends one that was broken off.
pub(super) fn back_up(link: &mut DeviceLink<'_>) -> Outcome<()> {
    if link.faults.unknown_message {
        link.send_unknown_message()?;
    }
    loop {
        let mut cached = link.phone.inside().unfinished.take();
        let mut work = match begin(link, &mut cached) {
            Ok(work) => work,
            Err(trouble) => {
                link.phone.inside().unfinished = cached;
                return Err(trouble);
            }
        };
        if let Err(trouble) = carry_out(link, &mut work) {
            link.phone.inside().unfinished = Some(work);
            return Err(trouble);
        }
        if !work.is_resumed || is_up_to_date(link, &work) {
            return Ok(());
        }
    }
}

/// Finds out what is on the host, and so what kind of backup it will be.
fn begin(link: &mut DeviceLink<'_>, cached: &mut Option<Unfinished>) -> Outcome<Unfinished> {
    let id = link.phone.udid().to_owned();
    link.phone.inside().backups += 1;
    let path = format!("{id}/Status.plist");
    let status = match link.download_whole(&path, MAX_PLIST)? {
        Ok(bytes) => Status::parse(&bytes).ok(),
        Err(-6) => None,
        Err(status) => return Err(unreadable(status, &path)),
    };
    let Some(status) = status else { return full(link, "empty") };
    let backup_state = status.backup_state.clone().unwrap_or_else(|| "empty".to_owned());
    if !is_recent(status.version.as_deref()) {
        let aside = format!("{id}-{}", stamp(manifest::now(link.phone)));
        link.move_items(&[(id, aside.clone())], 0.0)?;
        return Ok(Unfinished { put_aside: Some(aside), ..full(link, "empty")? });
    }
    match status.snapshot_state.as_deref() {
        Some("finished") => incremental(link, &backup_state),
        Some(state @ ("uploading" | "moving" | "removing")) => {
            let is_known = |work: &Unfinished| {
                status.uuid.as_deref() == Some(work.uuid.as_str())
                    && work.password == PasswordHash::of(link.phone.state().backup_password.as_deref())
            };
            if cached.as_ref().is_some_and(is_known)
                && let Some(work) = cached.take()
                && let Some(work) = resume(link, work, state)?
            {
                return Ok(work);
            }
            remove_snapshot(link)?;
            full(link, &backup_state)
        }
        _ => full(link, &backup_state),
    }
}

/// Whether a Status.plist is of a form that can be continued.
fn is_recent(version: Option<&str>) -> bool {
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    let version = version.unwrap_or_default();
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    let version = (number(major), number(minor));
    ((3, 3)..(4, 0)).contains(&version)
}

/// A backup of everything.
fn full(link: &DeviceLink<'_>, backup_state: &str) -> Outcome<Unfinished> {
    let password = link.phone.state().backup_password.clone();
    let bag = Bag::create(link.phone, password.as_deref())?;
    Ok(fresh(link, Arc::new(bag), true, backup_state, Files::new()))
}

fn fresh(link: &DeviceLink<'_>, bag: Arc<Bag>, is_full: bool, backup_state: &str, base: Files) -> Unfinished {
    let password = link.phone.state().backup_password.clone();
    let inside = link.phone.inside();
    let uuid = uuid::Builder::from_random_bytes(inside.secret(&format!("backup {}", inside.backups))).into_uuid();
    Unfinished {
        uuid: uuid.hyphenated().to_string().to_uppercase(),
        password: PasswordHash::of(password.as_deref()),
        bag,
        is_full,
        backup_state: backup_state.to_owned(),
        stage: Stage::Uploading,
        is_resumed: false,
        base,
        sent: Files::new(),
        files: Files::new(),
        moves: Vec::new(),
        manifests: Vec::new(),
        old_shelves: Vec::new(),
        put_aside: None,
        proofs: BTreeMap::new(),
    }
}

/// A backup of what changed, if the last one is whole and has the same password; else of everything.
fn incremental(link: &mut DeviceLink<'_>, backup_state: &str) -> Outcome<Unfinished> {
    let id = link.phone.udid().to_owned();
    let manifests = existing::fetch_manifests(link, &id)?;
    let password = link.phone.state().backup_password.clone();
    let bag = match manifests.plist.keybag() {
        Some(bag) if manifests.plist.is_encrypted() == password.is_some() => Bag::open(bag, password.as_deref()),
        _ => None,
    };
    let Some(bag) = bag else { return full(link, backup_state) };
    let longer = link.phone.inside().longer.clone();
    let base = existing::files(&existing::open_database(manifests, &bag, &id)?, &longer, &id)?;
    let path = format!("{id}/Status.plist");
    link.download_whole(&path, MAX_PLIST)?.map_err(|status| unreadable(status, &path))?;
    if !existing::is_intact(&base, &existing::list(link, &id)?) {
        return full(link, backup_state);
    }
    Ok(fresh(link, Arc::new(bag), false, backup_state, base))
}

/// Goes on with what was broken off; none if what should be on the host is not there.
fn resume(link: &mut DeviceLink<'_>, mut work: Unfinished, state: &str) -> Outcome<Option<Unfinished>> {
    let id = link.phone.udid().to_owned();
    let snapshot = existing::list(link, &format!("{id}/Snapshot"))?;
    let main = existing::list(link, &id)?;
    work.is_resumed = true;
    if state == "uploading" || work.stage == Stage::Uploading {
        if !existing::is_intact(&work.base, &main) {
            return Ok(None);
        }
        work.stage = Stage::Uploading;
        work.sent.retain(|id, kept| snapshot.blobs.get(id) == Some(&kept.stored));
        return Ok(Some(work));
    }
    let is_somewhere =
        |(id, kept): (&[u8; 20], &Kept)| [&snapshot, &main].iter().any(|listing| listing.blobs.get(id) == Some(&kept.stored));
    let has = |listing: &Listing, name: &str| listing.names.iter().any(|there| there == name);
    let has_manifests = ["Manifest.plist", "Manifest.db"].iter().all(|name| has(&snapshot, name) || has(&main, name));
    if !has_manifests || !work.files.iter().all(is_somewhere) {
        return Ok(None);
    }
    work.stage = if state == "moving" { Stage::Moving } else { Stage::Removing };
    let waiting: Vec<&[u8; 20]> = work.sent.keys().filter(|id| snapshot.blobs.contains_key(*id)).collect();
    work.moves = waiting.into_iter().filter(|id| work.files.contains_key(*id)).map(shelf_path).collect();
    work.manifests = ["Manifest.plist", "Manifest.db"].into_iter().filter(|name| has(&snapshot, name)).collect();
    Ok(Some(work))
}

fn carry_out(link: &mut DeviceLink<'_>, work: &mut Unfinished) -> Outcome<()> {
    if work.stage == Stage::Uploading {
        upload(link, work)?;
        if let Some((code, text)) = link.faults.fail_late_with.clone() {
            return Err(Trouble::Refused { code, text });
        }
        work.stage = Stage::Moving;
    }
    if work.stage == Stage::Moving {
        put_status(link, work, "moving")?;
        move_all(link, work)?;
        work.stage = Stage::Removing;
    }
    put_status(link, work, "removing")?;
    remove_old(link, work)?;
    if link.faults.lie_about_finish {
        return Ok(());
    }
    put_status(link, work, "finished")?;
    verify(link, work)
}

fn put_status(link: &mut DeviceLink<'_>, work: &Unfinished, state: &str) -> Outcome<()> {
    let backup_state = if state == "uploading" { work.backup_state.as_str() } else { "new" };
    let is_full = work.is_full && state != "finished";
    let bytes = manifest::status(link.phone, &work.uuid, backup_state, state, is_full);
    link.upload_whole(&format!("{}/Status.plist", link.phone.udid()), &bytes)
}

/// Whether nothing changed since the backup that was broken off was begun.
fn is_up_to_date(link: &DeviceLink<'_>, work: &Unfinished) -> bool {
    let found = scan(link.phone, work.bag.is_encrypted);
    let files: Vec<&Found> = found.iter().filter(|found| found.item.content().is_some()).collect();
    let is_kept = |found: &&Found| work.files.get(&found.id).is_some_and(|kept| kept.modified == found.item.modified);
    files.len() == work.files.len() && files.iter().all(is_kept)
}

fn percent(done: u64, total: u64) -> f64 {
    100.0 * done as f64 / total.max(1) as f64
}
