//! A backup in Apple's layout becomes a snapshot.
//!
//! The manifest says which files there are; each is unlocked on the way in and stored under the name it has in the folder, so that the folder
//! can be made again. A file whose record, length and time are those of the last snapshot is not read again. Whatever is wrong with one
//! file is noted and stops nothing else.

mod peel;
pub(crate) mod place;
pub(crate) mod scan;
pub(crate) mod shelve;
mod still;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use russet_apple_format::cipher_stream::DecryptReader;
use russet_apple_format::database::Database;
use russet_apple_format::mbdb::Mbdb;
use russet_apple_format::{ClassKeys, Error as AppleError, FileKey, Keybag, ManifestIndex};
use russet_repository::format::id::FileName;
use russet_repository::format::snapshot::{Problem, ProblemKind, Severity, Snapshot, Source};
use russet_repository::format::tree::{Content, NodeKind};
use russet_repository::rewrite::RESTORE_UNFIT;
use russet_repository::{Draft, Meta, Phase, Progress, Repository, Saved, SnapshotEntry};
use russet_vfs::{EXCLUDED, EXCLUDED_BYTES, EXCLUDED_FILES};

use crate::exclude::Exclusions;
use crate::source::{AppleFolder, Layout};
use crate::unlock::{Unlock, class_keys};
use crate::{BackupError, Request, Result};
use scan::Scan;
use shelve::{Before, LeftOut, Run, store_tree};

/// No Manifest.mbdb is larger.
const LARGEST_MBDB: u64 = 1 << 30;
/// Brings a backup in. Must not be called by a worker of the thread pool.
pub fn import(
    repository: &Repository,
    folder: &AppleFolder,
    mut unlock: Unlock<'_>,
    request: &Request<'_>,
    progress: &dyn Progress,
) -> Result<Saved> {
    progress.phase(Phase::Scanning, 0, 0);
    let keys = unlock_backup(repository, folder, &mut unlock, request)?;
    let scan = Scan::of(&folder.path)?;
    let locked = folder.encrypted && keys.is_none();
    let parent = parent_of(repository, &folder.udid)?;
    let draft = repository.draft()?;
    let before = match &parent {
        // What is not listed cannot be said again of a file that is not read again.
        Some(parent) if parent.snapshot.more_problems == 0 => Before::load(&draft, &parent.snapshot)?,
        _ => Before::default(),
    };
    let exclusions = Exclusions::of(repository, &folder.udid)?;
    let from = BTreeMap::from([("source.path".to_owned(), folder.path.to_string_lossy().into_owned())]);
    if let Some(parent) = parent.as_ref().filter(|parent| exclusions.is_empty() && was_locked(&parent.snapshot) == locked)
        && let Some(root) = still::tree(&scan, &before, &parent.snapshot, &draft)?
    {
        let meta = unchanged(parent, facts(folder, locked, request).into_iter().chain(from).collect(), request);
        return Ok(draft.commit(root, meta)?);
    }
    let manifest = match locked {
        true => None,
        false => Some(open_manifest(folder, keys.as_ref())?),
    };
    let unreadable = |(path, error): &(std::path::PathBuf, io::Error)| Problem {
        kind: ProblemKind::Unreadable,
        severity: Severity::Loss,
        path: path.strip_prefix(&folder.path).unwrap_or(path).to_string_lossy().into_owned(),
        detail: error.to_string(),
    };
    let problems = scan.unreadable.iter().map(unreadable).collect();
    let parent = parent.map(|parent| parent.name);
    let ready = Ready { folder, scan, keys, manifest, exclusions, before, parent, problems };
    let (root, meta) = match keep(&draft, ready, from, request, progress) {
        Ok(kept) => kept,
        Err(error) => {
            // The first error is the one to tell; what was stored so far is found by the next run.
            let _ = draft.give_up();
            return Err(error);
        }
    };
    Ok(draft.commit(root, meta)?)
}

fn was_locked(snapshot: &Snapshot) -> bool {
    snapshot.facts.get("apple.locked").is_some_and(|locked| locked == "yes")
}

/// What a snapshot says of itself that has the tree of the last one.
fn unchanged(last: &SnapshotEntry, facts: BTreeMap<String, String>, request: &Request<'_>) -> Meta {
    let SnapshotEntry { name, snapshot } = last;
    Meta {
        started: request.started,
        finished: (request.clock)(),
        source: Source::AppleBackup,
        parent: Some(*name),
        files: snapshot.files,
        bytes: snapshot.bytes,
        facts,
        problems: snapshot.problems.clone(),
    }
}

/// A backup that was looked at and unlocked, and whose list of files is open.
pub(crate) struct Ready<'a> {
    pub(crate) folder: &'a AppleFolder,
    pub(crate) scan: Scan,
    pub(crate) keys: Option<ClassKeys>,
    /// Nothing if the backup is locked.
    pub(crate) manifest: Option<ManifestIndex>,
    /// What is left out; of a locked backup nothing is, because nobody knows what its files are.
    pub(crate) exclusions: Exclusions,
    pub(crate) before: Before,
    pub(crate) parent: Option<FileName>,
    /// What is wrong so far.
    pub(crate) problems: Vec<Problem>,
}

/// Stores every file of a backup; with what this gives the draft is committed.
pub(crate) fn keep(
    draft: &Draft,
    ready: Ready<'_>,
    from: BTreeMap<String, String>,
    request: &Request<'_>,
    progress: &dyn Progress,
) -> Result<(Content, Meta)> {
    let Ready { folder, scan, keys, manifest, exclusions, before, parent, problems } = ready;
    let locked = folder.encrypted && keys.is_none();
    let sieve = manifest.as_ref().map(|manifest| exclusions.in_backup(folder, manifest)).transpose()?.unwrap_or_default();
    progress.phase(Phase::Storing, scan.files.len() as u64, scan.files.iter().map(|f| f.len).sum());
    let run = Run {
        draft,
        scan: &scan,
        before: &before,
        keys: keys.as_ref(),
        sieve: &sieve,
        left_out: LeftOut::default(),
        locked,
        progress,
        nodes: Mutex::new(Vec::with_capacity(scan.files.len())),
        problems: Mutex::new(problems),
        bytes: AtomicU64::new(0),
    };
    run.listed_files(folder.layout, manifest.as_ref())
        .and_then(|rest| run.other_files(rest, manifest_key(folder, keys.as_ref()).as_ref()))
        .map_err(|error| error.caused_in(draft))?;
    run.watch(folder)?;
    drop(manifest);

    progress.phase(Phase::Finishing, 0, 0);
    let (nodes, mut problems) = (into_inner(run.nodes), into_inner(run.problems));
    // Losses first: only the first thousands are listed in the snapshot.
    problems.sort_by(|a, b| (b.severity, a.kind, &a.path, &a.detail).cmp(&(a.severity, b.kind, &b.path, &b.detail)));
    problems.dedup();
    let files = nodes.iter().filter(|(_, node)| matches!(node.kind, NodeKind::File(_))).count() as u64;
    let (bytes, left_out) = (run.bytes.into_inner(), run.left_out);
    let root = store_tree(draft, &scan, nodes).map_err(|error| error.caused_in(draft))?;
    let mut facts = facts(folder, locked, request);
    facts.extend(from);
    facts.extend(exclusions_as_facts(&exclusions, left_out));
    let meta = Meta {
        started: request.started,
        finished: (request.clock)(),
        source: Source::AppleBackup,
        parent,
        files,
        bytes,
        facts,
        problems,
    };
    Ok((root, meta))
}

/// What a snapshot says of what was left out; nothing if nothing was.
fn exclusions_as_facts(exclusions: &Exclusions, left_out: LeftOut) -> BTreeMap<String, String> {
    let LeftOut { files, bytes } = left_out;
    let (files, bytes) = (files.into_inner(), bytes.into_inner());
    if files == 0 {
        return BTreeMap::new();
    }
    let unfit = format!("left out as wanted: {}", exclusions.wishes().collect::<Vec<_>>().join(", "));
    [
        (EXCLUDED, exclusions.text()),
        (EXCLUDED_FILES, files.to_string()),
        (EXCLUDED_BYTES, bytes.to_string()),
        (RESTORE_UNFIT, unfit),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(|e| e.into_inner())
}

fn apple_error(folder: &AppleFolder, file: &str) -> impl FnOnce(AppleError) -> BackupError {
    let path = folder.path.join(file);
    move |source| BackupError::Apple { path, source }
}

/// The keys of an encrypted backup; nothing if it is not encrypted, or to be kept as it is.
pub(crate) fn unlock_backup(
    repository: &Repository,
    folder: &AppleFolder,
    unlock: &mut Unlock<'_>,
    request: &Request<'_>,
) -> Result<Option<ClassKeys>> {
    if !folder.encrypted || matches!(unlock, Unlock::Without) {
        return Ok(None);
    }
    let bag = folder.manifest.as_ref().and_then(|m| m.keybag());
    let missing = AppleError::MissingKey { what: "Manifest.plist", key: "BackupKeyBag" };
    let bag = bag.ok_or(missing).and_then(Keybag::parse).map_err(apple_error(folder, "Manifest.plist"))?;
    class_keys(repository, &folder.udid, folder.title(), &bag, unlock, (request.clock)())
}

/// The key of Manifest.db itself; iOS before 10.2 did not encrypt it.
pub(crate) fn manifest_key(folder: &AppleFolder, keys: Option<&ClassKeys>) -> Option<FileKey> {
    keys?.unwrap(folder.manifest.as_ref()?.manifest_key()?).ok()
}

fn open_manifest(folder: &AppleFolder, keys: Option<&ClassKeys>) -> Result<ManifestIndex> {
    let name = match folder.layout {
        Layout::Database => "Manifest.db",
        Layout::Mbdb => "Manifest.mbdb",
    };
    let path = folder.path.join(name);
    let io_error = |source| BackupError::Io { path: path.clone(), source };
    let file = File::open(&path).map_err(io_error)?;
    let len = file.metadata().map_err(io_error)?.len();
    if folder.layout == Layout::Mbdb {
        if len > LARGEST_MBDB {
            return Err(BackupError::TooLarge { path, len });
        }
        let bytes = fs::read(&path).map_err(io_error)?;
        return Mbdb::parse(&bytes).map(ManifestIndex::Mbdb).map_err(apple_error(folder, name));
    }
    read_database(folder, keys, file, len)
}

/// Reads Manifest.db, `len` bytes of it, and unlocks it on the way if it is encrypted.
pub(crate) fn read_database(folder: &AppleFolder, keys: Option<&ClassKeys>, bytes: impl Read, len: u64) -> Result<ManifestIndex> {
    let key = manifest_key(folder, keys);
    // Synthetic backups have no padding, so bytes that are no whole page are let pass.
    let database = Database::read(DecryptReader::new(bytes, key.as_ref()), len - len % 16);
    database.map(ManifestIndex::Database).map_err(apple_error(folder, "Manifest.db"))
}

/// The newest snapshot of the same device.
pub(crate) fn parent_of(repository: &Repository, udid: &str) -> Result<Option<SnapshotEntry>> {
    let of_this_device = |entry: &SnapshotEntry| {
        entry.snapshot.source == Source::AppleBackup && entry.snapshot.facts.get("device.udid").is_some_and(|u| u == udid)
    };
    Ok(repository.parents()?.into_iter().rfind(of_this_device))
}

fn facts(folder: &AppleFolder, locked: bool, request: &Request<'_>) -> BTreeMap<String, String> {
    let mut facts = request.facts.clone();
    let info = folder.info.as_ref();
    let said = |field: fn(&russet_apple_format::info::Info) -> &Option<String>| info.and_then(|i| field(i).clone());
    let yes_no = |yes: bool| Some(if yes { "yes" } else { "no" }.to_owned());
    let known = [
        ("host.name", Some(request.host.clone())),
        ("device.udid", Some(folder.udid.clone())),
        ("device.name", folder.device_name.clone()),
        ("device.model", folder.model.clone()),
        ("device.ios", folder.ios.clone()),
        ("device.product", said(|i| &i.product_name)),
        ("device.build", said(|i| &i.build_version)),
        ("device.serial", said(|i| &i.serial_number)),
        ("apple.encrypted", yes_no(folder.encrypted)),
        ("apple.locked", yes_no(locked)),
        ("apple.date", folder.last_backup.map(|date| date.to_string())),
        ("apple.layout", Some(if folder.layout == Layout::Database { "Manifest.db" } else { "Manifest.mbdb" }.to_owned())),
    ];
    facts.extend(known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    facts
}
