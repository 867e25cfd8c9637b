//! A backup in Apple's layout becomes a snapshot.
//!
//! The manifest says which files there are; each is unlocked on the way in and stored under the name it has in the folder, so that the folder
//! can be made again. A file whose record, length and time are those of the last snapshot is not read again. Whatever is wrong with one
//! file is noted and stops nothing else.

mod peel;
mod scan;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

use rayon::prelude::*;
use russet_apple_format::cipher::stored_len;
use russet_apple_format::cipher_stream::DecryptReader;
use russet_apple_format::database::Database;
use russet_apple_format::mbdb::Mbdb;
use russet_apple_format::{ClassKeys, Error as AppleError, FileKey, Keybag, ManifestIndex, Row, RowKind};
use russet_repository::format::snapshot::{Problem, ProblemKind, Severity, Snapshot, Source};
use russet_repository::format::tree::{Content, Layer, Node, NodeKind};
use russet_repository::{Draft, Hint, Meta, Phase, Progress, Repository, RepositoryError, Saved, SnapshotEntry};

use crate::source::{AppleFolder, Layout};
use crate::unlock::{Unlock, class_keys};
use crate::{BackupError, Request, Result};
use scan::{Scan, Scanned};

/// No Manifest.mbdb is larger.
const LARGEST_MBDB: u64 = 1 << 30;
/// Rows of the manifest that wait for a worker.
const ROWS_AHEAD: usize = 256;

/// Brings a backup in. Must not be called by a worker of the thread pool.
pub fn import(
    repository: &Repository,
    folder: &AppleFolder,
    mut unlock: Unlock<'_>,
    request: &Request<'_>,
    progress: &dyn Progress,
) -> Result<Saved> {
    progress.phase(Phase::Scanning, 0, 0);
    let keys = match folder.encrypted {
        true => unlock_backup(repository, folder, &mut unlock, request)?,
        false => None,
    };
    let locked = folder.encrypted && keys.is_none();
    let scan = Scan::of(&folder.path)?;
    let manifest = if locked { None } else { open_manifest(folder, keys.as_ref())? };

    let parent = parent_of(repository, &folder.udid)?;
    let draft = repository.draft()?;
    let before = match &parent {
        // What is not listed cannot be said again of a file that is not read again.
        Some(parent) if parent.snapshot.more_problems == 0 => Before::load(&draft, &parent.snapshot)?,
        _ => Before::default(),
    };
    progress.phase(Phase::Storing, scan.files.len() as u64, scan.files.iter().map(|f| f.len).sum());
    let unreadable = |(path, error): &(std::path::PathBuf, io::Error)| Problem {
        kind: ProblemKind::Unreadable,
        severity: Severity::Loss,
        path: path.strip_prefix(&folder.path).unwrap_or(path).to_string_lossy().into_owned(),
        detail: error.to_string(),
    };
    let run = Run {
        draft: &draft,
        scan: &scan,
        before: &before,
        keys: keys.as_ref(),
        locked,
        progress,
        nodes: Mutex::new(Vec::with_capacity(scan.files.len())),
        problems: Mutex::new(scan.unreadable.iter().map(unreadable).collect()),
        bytes: AtomicU64::new(0),
    };
    run.listed_files(folder, manifest.as_ref())
        .and_then(|rest| run.other_files(rest, manifest_key(folder, keys.as_ref()).as_ref()))
        .map_err(|error| error.caused_in(&draft))?;
    run.watch(folder)?;

    progress.phase(Phase::Finishing, 0, 0);
    let (nodes, mut problems) = (into_inner(run.nodes), into_inner(run.problems));
    // Losses first: only the first thousands are listed in the snapshot.
    problems.sort_by(|a, b| (b.severity, a.kind, &a.path, &a.detail).cmp(&(a.severity, b.kind, &b.path, &b.detail)));
    problems.dedup();
    let (files, bytes) = (nodes.len() as u64, run.bytes.into_inner());
    let root = store_tree(&draft, &scan, nodes).map_err(|error| error.caused_in(&draft))?;
    let meta = Meta {
        started: request.started,
        finished: (request.clock)(),
        source: Source::AppleBackup,
        parent: parent.map(|parent| parent.name),
        files,
        bytes,
        facts: facts(folder, locked, request),
        problems,
    };
    Ok(draft.commit(root, meta)?)
}

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(|e| e.into_inner())
}

fn apple_error(folder: &AppleFolder, file: &str) -> impl FnOnce(AppleError) -> BackupError {
    let path = folder.path.join(file);
    move |source| BackupError::Apple { path, source }
}

fn unlock_backup(
    repository: &Repository,
    folder: &AppleFolder,
    unlock: &mut Unlock<'_>,
    request: &Request<'_>,
) -> Result<Option<ClassKeys>> {
    if matches!(unlock, Unlock::Without) {
        return Ok(None);
    }
    let bag = folder.manifest.as_ref().and_then(|m| m.keybag());
    let missing = AppleError::MissingKey { what: "Manifest.plist", key: "BackupKeyBag" };
    let bag = bag.ok_or(missing).and_then(Keybag::parse).map_err(apple_error(folder, "Manifest.plist"))?;
    class_keys(repository, &folder.udid, folder.title(), &bag, unlock, (request.clock)())
}

/// The key of Manifest.db itself; iOS before 10.2 did not encrypt it.
fn manifest_key(folder: &AppleFolder, keys: Option<&ClassKeys>) -> Option<FileKey> {
    keys?.unwrap(folder.manifest.as_ref()?.manifest_key()?).ok()
}

fn open_manifest(folder: &AppleFolder, keys: Option<&ClassKeys>) -> Result<Option<ManifestIndex>> {
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
        return Mbdb::parse(&bytes).map(ManifestIndex::Mbdb).map(Some).map_err(apple_error(folder, name));
    }
    let key = manifest_key(folder, keys);
    // Synthetic backups have no padding, so bytes that are no whole page are let pass.
    match Database::read(DecryptReader::new(file, key.as_ref()), len - len % 16) {
        Ok(database) => Ok(Some(ManifestIndex::Database(database))),
        Err(error) => Err(apple_error(folder, name)(error)),
    }
}

/// The newest snapshot of the same device.
fn parent_of(repository: &Repository, udid: &str) -> Result<Option<SnapshotEntry>> {
    let of_this_device = |entry: &SnapshotEntry| {
        entry.snapshot.source == Source::AppleBackup && entry.snapshot.facts.get("device.udid").is_some_and(|u| u == udid)
    };
    Ok(repository.snapshots()?.entries.into_iter().rfind(of_this_device))
}

/// The files of the last snapshot, by folder and name, and what was wrong with each, by domain and path.
#[derive(Default)]
struct Before {
    folders: HashMap<Vec<u8>, HashMap<Vec<u8>, Node>>,
    problems: Mutex<HashMap<String, Vec<Problem>>>,
}

impl Before {
    fn load(draft: &Draft, snapshot: &Snapshot) -> Result<Before> {
        let mut before = Before::default();
        let mut problems: HashMap<String, Vec<Problem>> = HashMap::new();
        for problem in &snapshot.problems {
            problems.entry(problem.path.clone()).or_default().push(problem.clone());
        }
        before.problems = Mutex::new(problems);
        // A last snapshot that is damaged costs reading everything, not the run.
        for node in draft.reader().nodes(&snapshot.root).unwrap_or_default() {
            match &node.kind {
                NodeKind::Directory(inner) => {
                    let inner = draft.reader().nodes(inner).unwrap_or_default();
                    before.folders.insert(node.name.clone(), inner.into_iter().map(|n| (n.name.clone(), n)).collect());
                }
                _ => {
                    before.folders.entry(Vec::new()).or_default().insert(node.name.clone(), node);
                }
            }
        }
        Ok(before)
    }
}

/// What the workers share.
struct Run<'a> {
    draft: &'a Draft,
    scan: &'a Scan,
    before: &'a Before,
    keys: Option<&'a ClassKeys>,
    locked: bool,
    progress: &'a dyn Progress,
    /// Each with the number of its folder.
    nodes: Mutex<Vec<(u32, Node)>>,
    problems: Mutex<Vec<Problem>>,
    bytes: AtomicU64,
}

/// A row of the manifest and the file that holds its contents.
struct Job {
    row: Row,
    file: usize,
}

impl Run<'_> {
    /// Stores the files that the manifest names, in the order of domain and path, so that neighbours stay together.
    /// Gives the numbers of the files that it does not name.
    fn listed_files(&self, folder: &AppleFolder, manifest: Option<&ManifestIndex>) -> Result<Vec<usize>> {
        let Some(manifest) = manifest else { return Ok((0..self.scan.files.len()).collect()) };
        let contents = self.scan.contents();
        let mut named = vec![false; self.scan.files.len()];
        let (sender, receiver) = sync_channel::<Job>(ROWS_AHEAD);
        let rows = manifest.rows().map_err(apple_error(folder, "Manifest.db"))?;
        let parse = |row: &Row| match folder.layout {
            Layout::Database => russet_apple_format::MbFile::parse(&row.blob),
            Layout::Mbdb => russet_apple_format::mbdb::parse_record(&row.blob).map(|(_, file)| file),
        };
        std::thread::scope(|scope| {
            let workers = scope.spawn(|| {
                receiver
                    .into_iter()
                    .par_bridge()
                    .try_for_each_init(Vec::new, |buffer, job| self.listed_file(&job, &parse, buffer))
            });
            for row in rows {
                let row = match row {
                    Ok(row) => row,
                    Err(bad) => {
                        self.problem(ProblemKind::BadRecord, Severity::Loss, bad.file_id.clone(), bad.reason);
                        continue;
                    }
                };
                match row.kind() {
                    RowKind::Directory | RowKind::Symlink => continue,
                    RowKind::Other(flags) => {
                        let detail = format!("flags {flags}: the phone had not finished with it");
                        self.problem(ProblemKind::BadRecord, Severity::Note, shown(&row), detail);
                    }
                    RowKind::File => {}
                }
                let Some(&file) = contents.get(&row.file_id) else {
                    if row.kind() == RowKind::File {
                        self.problem(ProblemKind::Missing, Severity::Loss, shown(&row), String::new());
                    }
                    continue;
                };
                // Of two rows of one id the first has it. The workers are gone only if one of them failed, and `join` says how.
                if !std::mem::replace(&mut named[file], true) && sender.send(Job { row, file }).is_err() {
                    break;
                }
            }
            drop(sender);
            workers.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        for &file in contents.values().filter(|&&file| !named[file]) {
            let path = self.scan.shown(&self.scan.files[file]);
            self.problem(ProblemKind::Unlisted, Severity::Note, path, String::new());
        }
        Ok((0..self.scan.files.len()).filter(|&file| !named[file]).collect())
    }

    /// Stores one file that the manifest names.
    fn listed_file(
        &self,
        job: &Job,
        parse: &(dyn Fn(&Row) -> russet_apple_format::Result<russet_apple_format::MbFile> + Sync),
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        let (row, file) = (&job.row, &self.scan.files[job.file]);
        let record = fingerprint(row);
        let path = shown(row);
        if let Some(node) = self.unchanged(file, Some(record)) {
            // What was wrong with it still is.
            let old = self.before.problems.lock().unwrap_or_else(|e| e.into_inner()).remove(&path);
            self.problems.lock().unwrap_or_else(|e| e.into_inner()).extend(old.into_iter().flatten());
            self.done(file, node, file.len);
            return Ok(());
        }
        let (mut key, mut digest, mut claimed) = (None, None, None);
        match parse(row) {
            Ok(record) => {
                claimed = Some(record.size);
                digest = record.digest.as_deref().and_then(|d| <[u8; 20]>::try_from(d).ok());
                if let (Some(keys), Some(wrapped)) = (self.keys, record.usable_key()) {
                    match keys.unwrap(wrapped) {
                        Ok(unwrapped) => key = Some(unwrapped),
                        Err(error) => self.problem(ProblemKind::NoKey, Severity::Loss, path.clone(), error.to_string()),
                    }
                }
            }
            Err(error) => self.problem(ProblemKind::BadRecord, Severity::Loss, path.clone(), error.to_string()),
        }
        let Some(mut node) = self.read(file, key.as_ref(), digest, &path, buffer)? else { return Ok(()) };
        node.record = Some(record);
        self.judge(&node, file, key.is_some(), claimed, &path);
        self.done(file, node, 0);
        Ok(())
    }

    /// Says what is odd about a stored file.
    fn judge(&self, node: &Node, file: &Scanned, has_key: bool, claimed: Option<u64>, path: &str) {
        let plain = match (&node.layer, has_key) {
            (Some(Layer::Locked { .. }), _) => {
                let cut = claimed.is_some_and(|claimed| {
                    file.len < stored_len(claimed) && claimed < 1 << 39 && (file.len == 0 || !file.len.is_multiple_of(16))
                });
                let (kind, severity) = match cut {
                    true => (ProblemKind::Cut, Severity::Loss),
                    false => (ProblemKind::KeptAsItCame, Severity::Note),
                };
                self.problem(kind, severity, path.into(), format!("{} bytes stored", file.len));
                return;
            }
            _ => node.size(),
        };
        if let Some(claimed) = claimed.filter(|&claimed| claimed != plain) {
            let detail = format!("{plain} bytes, and the manifest says {claimed}");
            let severity = if plain == 0 { Severity::Loss } else { Severity::Note };
            self.problem(ProblemKind::SizeDiffers, severity, path.into(), detail);
        }
    }

    /// Stores the files that the manifest does not name, and the manifest itself.
    fn other_files(&self, files: Vec<usize>, manifest_key: Option<&FileKey>) -> Result<()> {
        files.into_par_iter().try_for_each_init(Vec::new, |buffer, number| {
            let file = &self.scan.files[number];
            if let Some(node) = self.unchanged(file, None) {
                self.done(file, node, file.len);
                return Ok(());
            }
            let key = manifest_key.filter(|_| file.folder == 0 && file.name == b"Manifest.db");
            if let Some(node) = self.read(file, key, None, &self.scan.shown(file), buffer)? {
                self.done(file, node, 0);
            }
            Ok(())
        })
    }

    /// The node of the last snapshot, if nothing about the file has changed since and its chunks are all there.
    fn unchanged(&self, file: &Scanned, record: Option<[u8; 16]>) -> Option<Node> {
        let old = self.before.folders.get(self.scan.short_name(file)?)?.get(&file.name)?;
        let NodeKind::File(content) = &old.kind else { return None };
        let len = match old.layer {
            Some(Layer::Peeled { .. }) => stored_len(content.size()),
            _ => content.size(),
        };
        // What could not be unlocked last time may be unlocked now.
        let was_locked = old.layer.is_none() && old.record.is_none() && record.is_some();
        let same = old.mtime == file.mtime && len == file.len && (record.is_none() || old.record == record) && !was_locked;
        if !same || (file.folder == 0 && file.name.starts_with(b"Manifest.")) || !self.draft.holds(content) {
            return None;
        }
        let mut node = file.node(old.kind.clone());
        (node.layer, node.record) = (old.layer.clone(), old.record);
        Some(node)
    }

    /// Reads and stores a file, a second time if it changed meanwhile. Gives nothing if it cannot be read.
    fn read(
        &self,
        file: &Scanned,
        key: Option<&FileKey>,
        digest: Option<[u8; 20]>,
        shown: &str,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<Node>> {
        let path = self.scan.path(file);
        let hint = if self.locked && file.name.len() == 40 { Hint::Ciphertext } else { Hint::Look };
        let mut attempt = || -> std::result::Result<(peel::Stored, fs::Metadata), RepositoryError> {
            let mut open = File::open(&path).map_err(RepositoryError::Source)?;
            let len = open.metadata().map_err(RepositoryError::Source)?.len();
            let mut seen = |bytes| self.progress.advance(0, bytes);
            let stored = match key {
                Some(key) => peel::unlocked(self.draft, &mut open, len, key, digest.is_some(), buffer, &mut seen)?,
                None => peel::as_it_is(self.draft, &mut open, hint, digest.is_some(), buffer, &mut seen)?,
            };
            Ok((stored, fs::metadata(&path).map_err(RepositoryError::Source)?))
        };
        let outcome = match attempt() {
            // It is not what it was when the folder was scanned: perhaps it is at rest now.
            Ok((_, after)) if !file.unchanged(&after) => attempt().map(|(stored, after)| (stored, Some(after))),
            other => other.map(|(stored, _)| (stored, None)),
        };
        let (stored, changed) = match outcome {
            Ok(outcome) => outcome,
            Err(RepositoryError::Source(error)) => {
                let kind = match error.kind() {
                    io::ErrorKind::NotFound => ProblemKind::Changed,
                    _ => ProblemKind::Unreadable,
                };
                self.problem(kind, Severity::Loss, shown.into(), error.to_string());
                self.progress.advance(1, 0);
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let mut node = file.node(NodeKind::File(stored.content));
        if let Some(after) = changed {
            let severity = if after.len() == stored.read { Severity::Note } else { Severity::Loss };
            self.problem(ProblemKind::Changed, severity, shown.into(), String::new());
            // A time that no file has makes the next run read it again.
            node.mtime = (file.mtime.0, file.mtime.1 ^ 1);
        }
        if digest.is_some() && stored.digest != digest {
            self.problem(ProblemKind::DigestDiffers, Severity::Note, shown.into(), String::new());
        }
        node.layer = stored.layer;
        Ok(Some(node))
    }

    fn done(&self, file: &Scanned, node: Node, unread: u64) {
        self.progress.advance(1, unread);
        self.bytes.fetch_add(node.size(), Ordering::Relaxed);
        self.nodes.lock().unwrap_or_else(|e| e.into_inner()).push((file.folder, node));
    }

    fn problem(&self, kind: ProblemKind, severity: Severity, path: String, detail: String) {
        self.problems.lock().unwrap_or_else(|e| e.into_inner()).push(Problem { kind, severity, path, detail });
    }

    /// Says so if the backup itself was replaced, or grew, while it was read; or was never finished.
    fn watch(&self, folder: &AppleFolder) -> Result<()> {
        for file in self.scan.files.iter().filter(|file| file.folder == 0) {
            if !fs::metadata(self.scan.path(file)).is_ok_and(|now| file.unchanged(&now)) {
                let detail = "another program was writing to the folder; back it up again".into();
                self.problem(ProblemKind::Changed, Severity::Loss, self.scan.shown(file), detail);
            }
        }
        if folder.finished == Some(false) {
            let detail = "the phone had not finished this backup".into();
            self.problem(ProblemKind::Cut, Severity::Loss, "Status.plist".into(), detail);
        }
        Ok(())
    }
}

/// What a row is called in a message.
fn shown(row: &Row) -> String {
    format!("{}/{}", row.domain, row.path)
}

/// Equal for two rows that say the same of a file.
fn fingerprint(row: &Row) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&row.flags.to_le_bytes()).update(row.domain.as_bytes()).update(&[0]).update(row.path.as_bytes()).update(&[0]);
    hasher.update(&row.blob);
    hasher.finalize().as_bytes()[..16].try_into().expect("a hash has 32 bytes")
}

/// Puts nodes in their folders and stores the folders from the innermost out.
fn store_tree(draft: &Draft, scan: &Scan, nodes: Vec<(u32, Node)>) -> Result<Content> {
    let mut contents: Vec<Vec<Node>> = scan.folders.iter().map(|folder| folder.others.clone()).collect();
    for (folder, node) in nodes {
        contents[folder as usize].push(node);
    }
    // Folders are numbered from the root out, so backwards every folder comes after those in it.
    for number in (1..scan.folders.len()).rev() {
        let inner = std::mem::take(&mut contents[number]);
        let totals = inner.iter().fold((0, 0), |(files, bytes), node| match (&node.kind, node.totals) {
            (NodeKind::File(_), _) => (files + 1, bytes + node.size()),
            (_, Some((f, b))) => (files + f, bytes + b),
            _ => (files, bytes),
        });
        let mut node = scan.folders[number].node.clone();
        node.kind = NodeKind::Directory(draft.directory(inner)?);
        node.totals = Some(totals);
        contents[scan.folders[number].parent as usize].push(node);
    }
    Ok(draft.directory(std::mem::take(&mut contents[0]))?)
}

fn facts(folder: &AppleFolder, locked: bool, request: &Request<'_>) -> BTreeMap<String, String> {
    let mut facts = request.facts.clone();
    let info = folder.info.as_ref();
    let said = |field: fn(&russet_apple_format::info::Info) -> &Option<String>| info.and_then(|i| field(i).clone());
    let yes_no = |yes: bool| Some(if yes { "yes" } else { "no" }.to_owned());
    let known = [
        ("source.path", Some(folder.path.to_string_lossy().into_owned())),
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
