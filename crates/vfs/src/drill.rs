//! A drill: a random part of a restore is rehearsed, for as long as there is time.
//!
//! Of a phone's backup it is shown that the password in the vault opens the keybag, that the keybag opens the manifest and each file that
//! is tried, that the file comes back bit for bit, and that databases are whole. Nothing is written anywhere.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use russet_apple_format::row::parse_file_id;
use russet_apple_format::{ClassKeys, FileKey, Keybag, ManifestIndex, RowKind, well_known};
use russet_repository::format::id::{FileName, hex};
use russet_repository::format::snapshot::Source;
use russet_repository::format::tree::{Layer, Node, NodeKind};
use russet_repository::{Found, Phase, Progress, Reader, Repository, SnapshotEntry, find, walk_on};

use crate::apple_backup::{class_keys, manifest_plist};
use crate::rehearse::{Database, check_database, database_len, remake};
use crate::view::manifest;
use crate::{Result, VfsError};

/// How far the phone's own keys were tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlocking {
    /// The password in the vault opened the keybag, and the keybag the manifest.
    Opened,
    /// There is nothing to unlock.
    NotEncrypted,
    /// The phone's password was never given, so only its ciphertext can be proved.
    Locked,
}

/// What a drill came to.
#[derive(Debug, Clone)]
pub struct Drilled {
    /// Of which snapshot.
    pub snapshot: FileName,
    /// How far the phone's own keys were tried.
    pub unlocking: Unlocking,
    /// Files that were tried, and of how many.
    pub files: (u64, u64),
    /// Their bytes, and of how many.
    pub bytes: (u64, u64),
    /// Databases that were checked.
    pub databases: u64,
    /// Databases that were too large to be checked.
    pub too_large: u64,
    /// What would not come back: which and why.
    pub failed: Vec<(String, String)>,
    /// Databases that were damaged already when they came: which, and SQLite's complaint.
    pub came_damaged: Vec<(String, String)>,
}

/// A file that may be tried.
struct Job {
    path: String,
    node: Node,
    /// The key that the phone would open it with.
    key: Option<FileKey>,
}

/// Rehearses the restore of a snapshot, file by file in an order that `seed` draws, until `go_on` says no or all is done.
/// The databases that people look for come first.
pub fn drill(
    repository: &Repository,
    entry: &SnapshotEntry,
    seed: u64,
    go_on: &(dyn Fn() -> bool + Sync),
    progress: &dyn Progress,
) -> Result<Drilled> {
    let reader = repository.reader()?;
    let snapshot = &entry.snapshot;
    let said = |fact: &str| snapshot.facts.get(fact).is_some_and(|yes| yes == "yes");
    let unlocking = match snapshot.source == Source::AppleBackup && said("apple.encrypted") {
        false => Unlocking::NotEncrypted,
        true if said("apple.locked") => Unlocking::Locked,
        true => Unlocking::Opened,
    };
    let mut failed = Vec::new();
    let mut jobs = Vec::new();
    let mut visit = |found: Found<'_>| {
        if let NodeKind::File(_) = &found.node.kind {
            let path = String::from_utf8_lossy(found.path).into_owned();
            jobs.push(Job { path, node: found.node.clone(), key: None });
        }
        Ok(true)
    };
    walk_on(&reader, &snapshot.root, &mut visit, &mut |path, error| {
        failed.push((String::from_utf8_lossy(path).into_owned(), error.to_string()));
    })?;
    if snapshot.source == Source::AppleBackup && unlocking != Unlocking::Locked {
        let keys = match unlocking {
            Unlocking::Opened => Some(open_keybag(repository, entry, &reader, progress)?),
            _ => None,
        };
        let manifest = manifest(&reader, snapshot)?;
        call_by_name(&mut jobs, &manifest, keys.as_ref(), &mut failed)?;
    }
    let first = |job: &Job| well_known::ALL.iter().any(|known| job.path == format!("{}/{}", known.domain, known.path));
    jobs.sort_by_cached_key(|job| {
        let drawn = blake3::Hasher::new().update(&seed.to_le_bytes()).update(job.path.as_bytes()).finalize();
        (!first(job), *drawn.as_bytes())
    });
    let sum = |jobs: &[Job]| jobs.iter().map(|job| job.node.size()).sum::<u64>();
    let (all_files, all_bytes) = (jobs.len() as u64, sum(&jobs));
    progress.phase(Phase::Rehearsing, all_files, all_bytes);
    let drilled = Mutex::new(Drilled {
        snapshot: entry.name,
        unlocking,
        files: (0, all_files),
        bytes: (0, all_bytes),
        databases: 0,
        too_large: 0,
        failed,
        came_damaged: Vec::new(),
    });
    let one_database_at_a_time = Mutex::new(());
    let is_over = AtomicBool::new(false);
    jobs.par_iter().with_max_len(1).for_each(|job| {
        // Whoever comes late does nothing; something is always tried.
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let outcome = try_one(&reader, job);
        let database = match outcome.is_ok().then(|| database_len(&reader, &job.node)).flatten() {
            Some(len) => {
                let _guard = one_database_at_a_time.lock().unwrap_or_else(|e| e.into_inner());
                check_database(&reader, &job.node, len)
            }
            None => Database::None,
        };
        progress.advance(1, job.node.size());
        drilled.lock().unwrap_or_else(|e| e.into_inner()).take(job, outcome, database);
        if !go_on() {
            is_over.store(true, Ordering::Relaxed);
        }
    });
    let mut drilled = drilled.into_inner().unwrap_or_else(|e| e.into_inner());
    drilled.failed.sort();
    drilled.came_damaged.sort();
    Ok(drilled)
}

impl Drilled {
    fn take(&mut self, job: &Job, outcome: std::result::Result<(), String>, database: Database) {
        self.files.0 += 1;
        self.bytes.0 += job.node.size();
        if let Err(why) = outcome {
            self.failed.push((job.path.clone(), why));
        }
        match database {
            Database::None => {}
            Database::TooLarge => self.too_large += 1,
            Database::Sound => self.databases += 1,
            Database::Damaged(why) => {
                self.databases += 1;
                self.came_damaged.push((job.path.clone(), why));
            }
        }
    }
}

/// Makes the file again as the phone stored it, under the key that the phone would use.
fn try_one(reader: &Reader, job: &Job) -> std::result::Result<(), String> {
    let kept = match &job.node.layer {
        Some(Layer::Peeled { key, .. } | Layer::Locked { key }) => Some(key),
        None => None,
    };
    if let (Some(wanted), Some(kept)) = (&job.key, kept)
        && wanted.expose() != kept
    {
        return Err("the keybag gives another key for it than the one it was unlocked with".into());
    }
    remake(reader, &job.node)
}

/// Opens the keybag as a restore would: with the password, through all its rounds.
fn open_keybag(repository: &Repository, entry: &SnapshotEntry, reader: &Reader, progress: &dyn Progress) -> Result<ClassKeys> {
    let apple = |source| VfsError::Apple { file: "Manifest.plist", source };
    let plist = manifest_plist(reader, &entry.snapshot)?;
    let bag = Keybag::parse(plist.keybag().unwrap_or_default()).map_err(apple)?;
    let udid = entry.snapshot.facts.get("device.udid").map(String::as_str).unwrap_or_default();
    progress.phase(Phase::DerivingKey, 0, 0);
    let kept = repository.secret(udid, &format!("password/{}", hex(&bag.kdf_fingerprint())))?;
    let keys = match kept.as_ref().and_then(|password| std::str::from_utf8(password).ok()) {
        Some(password) => bag.unlock(&bag.derive(password).map_err(apple)?).map_err(|_| VfsError::NoClassKeys)?,
        // Before passwords were kept by keybag, the key that they become was.
        None => class_keys(repository, &entry.snapshot, &plist)?,
    };
    let node = find(reader, &entry.snapshot.root, b"Manifest.db")?;
    if let (Some(Layer::Peeled { key, .. }), Some(wrapped)) = (node.and_then(|node| node.layer), plist.manifest_key())
        && keys.unwrap(wrapped).map_err(apple)?.expose() != &key
    {
        return Err(VfsError::NoClassKeys);
    }
    Ok(keys)
}

/// Gives files the names that people know them by, and the keys that the manifest's rows hold.
fn call_by_name(
    jobs: &mut [Job],
    manifest: &ManifestIndex,
    keys: Option<&ClassKeys>,
    failed: &mut Vec<(String, String)>,
) -> Result<()> {
    let by_id = jobs.iter_mut().filter_map(|job| Some((parse_file_id(&job.node.name)?, job)));
    let mut by_id: std::collections::HashMap<[u8; 20], &mut Job> = by_id.collect();
    let rows = manifest.rows().map_err(|source| VfsError::Apple { file: "Manifest.db", source })?;
    for row in rows.flatten().filter(|row| row.kind() == RowKind::File) {
        let Some(job) = by_id.get_mut(&row.file_id) else { continue };
        job.path = crate::view::shown(&row.domain, row.path.as_bytes());
        let Some(keys) = keys else { continue };
        let record = manifest.record(&row).ok();
        if let Some(wrapped) = record.as_ref().and_then(|record| record.usable_key())
            && job.node.layer.is_some()
        {
            match keys.unwrap(wrapped) {
                Ok(key) => job.key = Some(key),
                Err(error) => failed.push((job.path.clone(), error.to_string())),
            }
        }
    }
    Ok(())
}
