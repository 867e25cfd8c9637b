//! The files of a backup become nodes: unlocked on the way, stored, and judged.
//!
//! Rows of the manifest go to the workers in the order of domain and path. Where a file's bytes are (on a disk, in the spool of a phone's
//! session, in the repository already) is its [`Place`]'s matter.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

use rayon::prelude::*;
use russet_apple_format::cipher::stored_len;
use russet_apple_format::{ClassKeys, FileKey, ManifestIndex, Row, RowKind};
use russet_repository::format::snapshot::{Problem, ProblemKind, Severity, Snapshot};
use russet_repository::format::tree::{Content, Layer, Node, NodeKind};
use russet_repository::{Draft, Hint, Known, Progress, RepositoryError};

use super::peel;
use super::place::{Place, Spooled};
use super::scan::{Scan, Scanned};
use crate::exclude::Sieve;
use crate::source::{AppleFolder, Layout};
use crate::{BackupError, Result};

/// The files in the root that a phone asks for when it is backed up again.
const AT_HAND: [&[u8]; 5] = [b"Manifest.db", b"Manifest.mbdb", b"Manifest.plist", b"Info.plist", b"Status.plist"];
/// Rows of the manifest that go to a worker together: neighbours, for the price of one hand-over.
const BATCH: usize = 32;
/// A batch with so many bytes to read is full, too.
const BATCH_BYTES: u64 = 1 << 20;
/// Batches that wait for a worker.
const BATCHES_AHEAD: usize = 16;
/// Shorter databases are not worth comparing with what they were.
const LEAST_TO_COMPARE: u64 = 128 << 10;

/// The files of the last snapshot, by folder and name, and what was wrong with each, by domain and path.
#[derive(Default)]
pub(crate) struct Before {
    folders: HashMap<Vec<u8>, HashMap<Vec<u8>, Node>>,
    /// The source knows itself what has not changed; files are there to be compared with.
    only_to_compare: bool,
    pub(crate) problems: Mutex<HashMap<String, Vec<Problem>>>,
}

impl Before {
    /// What was wrong, and the large files, for a phone: it knows itself what has not changed, and sends large databases again.
    pub(crate) fn of_phone(draft: &Draft, snapshot: &Snapshot) -> Result<Before> {
        let before = Before::load_those(draft, snapshot, &|node| node.size() >= LEAST_TO_COMPARE)?;
        Ok(Before { only_to_compare: true, ..before })
    }

    fn problems_of(snapshot: &Snapshot) -> Before {
        let mut problems: HashMap<String, Vec<Problem>> = HashMap::new();
        for problem in &snapshot.problems {
            problems.entry(problem.path.clone()).or_default().push(problem.clone());
        }
        Before { problems: Mutex::new(problems), ..Before::default() }
    }

    /// A file of a folder in the root, or of the root itself if `folder` is empty.
    pub(crate) fn file(&self, folder: &[u8], name: &[u8]) -> Option<&Node> {
        self.folders.get(folder)?.get(name)
    }

    /// The content of a file.
    pub(crate) fn content(&self, folder: &[u8], name: &[u8]) -> Option<&Content> {
        match &self.file(folder, name)?.kind {
            NodeKind::File(content) => Some(content),
            _ => None,
        }
    }

    /// How much there is besides folders.
    pub(crate) fn files(&self) -> usize {
        self.folders.values().map(HashMap::len).sum()
    }

    pub(crate) fn load(draft: &Draft, snapshot: &Snapshot) -> Result<Before> {
        Before::load_those(draft, snapshot, &|_| true)
    }

    fn load_those(draft: &Draft, snapshot: &Snapshot, wanted: &dyn Fn(&Node) -> bool) -> Result<Before> {
        let mut before = Before::problems_of(snapshot);
        // A last snapshot that is damaged costs reading everything, not the run.
        for node in draft.reader().nodes(&snapshot.root).unwrap_or_default() {
            match &node.kind {
                NodeKind::Directory(inner) => {
                    let inner = draft.reader().nodes(inner).unwrap_or_default();
                    let inner = inner.into_iter().filter(wanted).map(|n| (n.name.clone(), n)).collect();
                    before.folders.insert(node.name.clone(), inner);
                }
                _ if !wanted(&node) => {}
                _ => {
                    before.folders.entry(Vec::new()).or_default().insert(node.name.clone(), node);
                }
            }
        }
        Ok(before)
    }
}

/// What the workers share.
pub(crate) struct Run<'a> {
    pub(crate) draft: &'a Draft,
    pub(crate) scan: &'a Scan,
    pub(crate) before: &'a Before,
    pub(crate) keys: Option<&'a ClassKeys>,
    /// What is left out.
    pub(crate) sieve: &'a Sieve,
    pub(crate) left_out: LeftOut,
    pub(crate) locked: bool,
    pub(crate) progress: &'a dyn Progress,
    /// Each with the number of its folder.
    pub(crate) nodes: Mutex<Vec<(u32, Node)>>,
    pub(crate) problems: Mutex<Vec<Problem>>,
    pub(crate) bytes: AtomicU64,
}

/// What was left out so far.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    pub(crate) files: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// A row of the manifest and the file that holds its contents.
struct Job {
    row: Row,
    file: usize,
}

/// Reads the record of a row.
type Parse<'a> = dyn Fn(&Row) -> russet_apple_format::Result<russet_apple_format::MbFile> + Sync + 'a;

/// What the manifest says of a file.
#[derive(Default)]
struct Claims {
    key: Option<FileKey>,
    digest: Option<[u8; 20]>,
    claimed: Option<u64>,
}

impl Run<'_> {
    /// Stores the files that the manifest names, in the order of domain and path, so that neighbours stay together.
    /// Gives the numbers of the files that it does not name.
    pub(crate) fn listed_files(&self, layout: Layout, manifest: Option<&ManifestIndex>) -> Result<Vec<usize>> {
        let Some(manifest) = manifest else { return Ok((0..self.scan.files.len()).collect()) };
        let contents = self.scan.contents();
        let mut named = vec![false; self.scan.files.len()];
        let (sender, receiver) = sync_channel::<Vec<Job>>(BATCHES_AHEAD);
        let rows = manifest.rows().map_err(|source| BackupError::Apple { path: "Manifest.db".into(), source })?;
        let parse = |row: &Row| match layout {
            Layout::Database => russet_apple_format::MbFile::parse(&row.blob),
            Layout::Mbdb => russet_apple_format::mbdb::parse_record(&row.blob).map(|(_, file)| file),
        };
        std::thread::scope(|scope| {
            let workers = scope.spawn(|| {
                receiver.into_iter().par_bridge().try_for_each_init(Vec::new, |buffer, batch| {
                    batch.iter().try_for_each(|job| self.listed_file(job, &parse, buffer))
                })
            });
            let (mut batch, mut bytes) = (Vec::new(), 0);
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
                if self.sieve.holds_back(&row.domain, &row.path) {
                    if !std::mem::replace(&mut named[file], true) {
                        self.leave_out(&self.scan.files[file], parse(&row).map_or(0, |record| record.size));
                    }
                    continue;
                }
                // Of two rows of one id the first has it. The workers are gone only if one of them failed, and `join` says how.
                if std::mem::replace(&mut named[file], true) {
                    continue;
                }
                bytes += self.scan.files[file].len;
                batch.push(Job { row, file });
                // A large file must not wait behind another while a worker has nothing to do.
                if batch.len() == BATCH || bytes >= BATCH_BYTES {
                    bytes = 0;
                    if sender.send(std::mem::take(&mut batch)).is_err() {
                        break;
                    }
                }
            }
            // If they are gone, `join` says why.
            let _ = sender.send(batch);
            drop(sender);
            workers.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        for &file in contents.values().filter(|&&file| !named[file]) {
            let path = self.scan.shown(&self.scan.files[file]);
            self.problem(ProblemKind::Unlisted, Severity::Note, path, String::new());
        }
        Ok((0..self.scan.files.len()).filter(|&file| !named[file]).collect())
    }

    /// Keeps of a file that it was there, so that the phone can be shown what it sent.
    fn leave_out(&self, file: &Scanned, bytes: u64) {
        if let Place::Spool(spooled) = &file.place {
            spooled.remove();
        }
        self.left_out.files.fetch_add(1, Ordering::Relaxed);
        self.left_out.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.done(file, Node { left_out: Some(file.len), ..file.node(NodeKind::Other) }, file.len);
    }

    /// Stores one file that the manifest names.
    fn listed_file(&self, job: &Job, parse: &Parse<'_>, buffer: &mut Vec<u8>) -> Result<()> {
        let (row, file) = (&job.row, &self.scan.files[job.file]);
        let record = fingerprint(row);
        let path = shown(row);
        if let Place::LeftOut = file.place {
            let detail = "it was left out so far, and the phone did not send it again".to_owned();
            self.problem(ProblemKind::Missing, Severity::Loss, path, detail);
            return Ok(());
        }
        if let Some(node) = self.unchanged(file, Some(record)) {
            // What was wrong with it still is.
            let old = self.before.problems.lock().unwrap_or_else(|e| e.into_inner()).remove(&path);
            self.problems.lock().unwrap_or_else(|e| e.into_inner()).extend(old.into_iter().flatten());
            if let Place::Kept(kept) = &file.place
                && kept.record != Some(record)
            {
                self.judge_kept(&node, file, row, parse, &path);
            }
            self.done(file, node, file.len);
            return Ok(());
        }
        let Claims { key, digest, claimed } = self.claims(row, parse, &path);
        let Some(mut node) = self.read(file, key.as_ref(), digest, &path, buffer)? else { return Ok(()) };
        node.record = Some(record);
        self.judge(&node, file, key.is_some(), claimed, &path);
        self.done(file, node, 0);
        Ok(())
    }

    /// What the manifest says of a file.
    fn claims(&self, row: &Row, parse: &Parse<'_>, path: &str) -> Claims {
        let mut claims = Claims::default();
        match parse(row) {
            Ok(record) => {
                claims.claimed = Some(record.size);
                claims.digest = record.digest.as_deref().and_then(|d| <[u8; 20]>::try_from(d).ok());
                if let (Some(keys), Some(wrapped)) = (self.keys, record.usable_key()) {
                    match keys.unwrap(wrapped) {
                        Ok(unwrapped) => claims.key = Some(unwrapped),
                        Err(error) => self.problem(ProblemKind::NoKey, Severity::Loss, path.into(), error.to_string()),
                    }
                }
            }
            Err(error) => self.problem(ProblemKind::BadRecord, Severity::Loss, path.into(), error.to_string()),
        }
        claims
    }

    /// A phone may say something new of a file that it did not send again; it must still be the key that opens what is here.
    fn judge_kept(&self, node: &Node, file: &Scanned, row: &Row, parse: &Parse<'_>, path: &str) {
        let Claims { key, claimed, .. } = self.claims(row, parse, path);
        let had = match &node.layer {
            Some(Layer::Peeled { key, .. } | Layer::Locked { key }) => Some(key),
            None => None,
        };
        if self.keys.is_some() && key.as_ref().map(FileKey::expose) != had {
            let detail = "the phone gave it another key and did not send it again".to_owned();
            self.problem(ProblemKind::NoKey, Severity::Loss, path.into(), detail);
        }
        self.judge(node, file, key.is_some(), claimed, path);
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
    pub(crate) fn other_files(&self, files: Vec<usize>, manifest_key: Option<&FileKey>) -> Result<()> {
        files.into_par_iter().try_for_each_init(Vec::new, |buffer, number| {
            let file = &self.scan.files[number];
            if let Place::LeftOut = file.place {
                return Ok(());
            }
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
        if let Place::Kept(old) = &file.place {
            // The phone counts on the bytes that it sent last time, whatever else its record says by now.
            let mut node = file.node(old.kind.clone());
            (node.layer, node.record) = (old.layer.clone(), record.or(old.record));
            return Some(node);
        }
        let old = self.before.file(self.scan.short_name(file)?, &file.name)?;
        let NodeKind::File(content) = &old.kind else { return None };
        if self.before.only_to_compare {
            return None;
        }
        let len = russet_vfs::stored_len(old);
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

    /// What the file was in the last snapshot. It is probably what this one comes from.
    fn former(&self, file: &Scanned) -> Option<&Content> {
        self.before.content(self.scan.short_name(file)?, &file.name)
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
        let hint = match file.folder {
            0 if AT_HAND.contains(&&file.name[..]) => Hint::AtHand,
            _ if self.locked && file.name.len() == 40 => Hint::Ciphertext,
            _ => Hint::Look,
        };
        let known = Known { hint, former: self.former(file) };
        let mut seen = |bytes| self.progress.advance(0, bytes);
        let outcome = match &file.place {
            Place::Disk => self.read_from_disk(file, known, key, digest.is_some(), buffer, &mut seen),
            Place::Spool(Spooled { path, len, seal: None }) => match (key, File::open(path)) {
                (_, Err(error)) => Err(RepositoryError::Source(error)),
                (Some(key), Ok(mut open)) => {
                    peel::unlocked(self.draft, &mut open, *len, known, key, digest.is_some(), buffer, &mut seen)
                }
                (None, Ok(mut open)) => peel::as_it_is(self.draft, &mut open, known, digest.is_some(), buffer, &mut seen),
            }
            .map(|stored| (stored, None)),
            Place::Spool(sealed) => sealed
                .open()
                .map_err(RepositoryError::Source)
                .and_then(|mut open| peel::as_it_is(self.draft, &mut open, known, digest.is_some(), buffer, &mut seen))
                .map(|stored| (stored, None)),
            Place::Memory(bytes) | Place::Shown(bytes) => {
                peel::as_it_is(self.draft, &mut &bytes[..], known, digest.is_some(), buffer, &mut seen)
                    .map(|stored| (stored, None))
            }
            Place::Stored(stored) => stored.content().map(|(content, sha1)| {
                seen(file.len);
                (peel::Stored { content, layer: None, digest: Some(sha1), read: file.len }, None)
            }),
            Place::Kept(_) | Place::LeftOut => unreachable!("what is not here is not read"),
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
        if let Place::Spool(spooled) = &file.place {
            spooled.remove();
        }
        if digest.is_some() && stored.digest != digest {
            self.problem(ProblemKind::DigestDiffers, Severity::Note, shown.into(), String::new());
        }
        node.layer = stored.layer;
        Ok(Some(node))
    }

    /// Reads a file of a folder, a second time if it changed meanwhile; then gives what it is after that.
    fn read_from_disk(
        &self,
        file: &Scanned,
        known: Known<'_>,
        key: Option<&FileKey>,
        digest: bool,
        buffer: &mut Vec<u8>,
        seen: &mut dyn FnMut(u64),
    ) -> std::result::Result<(peel::Stored, Option<fs::Metadata>), RepositoryError> {
        let path = self.scan.path(file);
        let mut attempt = || -> std::result::Result<(peel::Stored, fs::Metadata), RepositoryError> {
            let mut open = File::open(&path).map_err(RepositoryError::Source)?;
            let len = open.metadata().map_err(RepositoryError::Source)?.len();
            let stored = match key {
                Some(key) => peel::unlocked(self.draft, &mut open, len, known, key, digest, buffer, seen)?,
                None => peel::as_it_is(self.draft, &mut open, known, digest, buffer, seen)?,
            };
            Ok((stored, fs::metadata(&path).map_err(RepositoryError::Source)?))
        };
        match attempt() {
            // It is not what it was when the folder was scanned: perhaps it is at rest now.
            Ok((_, after)) if !file.unchanged(&after) => attempt().map(|(stored, after)| (stored, Some(after))),
            other => other.map(|(stored, _)| (stored, None)),
        }
    }

    fn done(&self, file: &Scanned, node: Node, unread: u64) {
        self.progress.advance(1, unread);
        self.bytes.fetch_add(node.size(), Ordering::Relaxed);
        self.nodes.lock().unwrap_or_else(|e| e.into_inner()).push((file.folder, node));
    }

    pub(crate) fn problem(&self, kind: ProblemKind, severity: Severity, path: String, detail: String) {
        self.problems.lock().unwrap_or_else(|e| e.into_inner()).push(Problem { kind, severity, path, detail });
    }

    /// Says so if the backup itself was replaced, or grew, while it was read; or was never finished.
    pub(crate) fn watch(&self, folder: &AppleFolder) -> Result<()> {
        for file in self.scan.files.iter().filter(|file| file.folder == 0 && matches!(file.place, Place::Disk)) {
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
pub(crate) fn store_tree(draft: &Draft, scan: &Scan, nodes: Vec<(u32, Node)>) -> Result<Content> {
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
