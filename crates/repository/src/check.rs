//! Checking: is everything there, is it what it claims to be, and which files of which snapshots does any damage touch?
//!
//! Packs are read plainly, not mapped, and one bad file never stops the rest.

mod pack;

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use russet_format::config::Config;
use russet_format::id::{ChunkId, FileName};
use russet_format::pack::ChunkKind;
use russet_format::parity::Shape;
use russet_format::tree::{Content, DEEPEST_DIRECTORY, Entry, NodeKind};
use russet_store::{Name, Store, StoreError};

use self::pack::{Indexed, PackChecker};
use crate::cores::share_out;
use crate::heal;
use crate::index::Index;
use crate::look::stored_len;
use crate::names;
use crate::progress::{Phase, Progress};
use crate::reader::Reader;
use crate::repo::{DamagedFile, Repository, SnapshotEntry, read_hashed};
use crate::{RepositoryError, Result};

/// A file of a snapshot that cannot be given back whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The snapshot.
    pub snapshot: FileName,
    /// Its path in the snapshot's tree; a directory stands for those names in it that cannot be read.
    pub path: Vec<u8>,
    /// What is wrong.
    pub why: String,
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Stored files that cannot be used, or only by their second copy.
    pub damaged: Vec<DamagedFile>,
    /// Files of snapshots that the damage reaches.
    pub touched: Vec<Touched>,
    /// Files of snapshots that lie where a pack is damaged, and that its parity gives back whole.
    pub held: Vec<Touched>,
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Files looked at, each once, though many snapshots share it.
    pub files: u64,
    /// Packs in the store.
    pub packs: u64,
    /// Packs that were read from beginning to end.
    pub packs_read: u64,
    /// Bytes read for it.
    pub bytes_read: u64,
    /// Chunks that were read and begin as an SQLite file does.
    pub database_heads: HashSet<ChunkId>,
    /// Copies of index files, vault files and condemned lists that are missing while the other one is there: of a run that was killed, of an
    /// earlier russet, or lost.
    pub missing: Vec<DamagedFile>,
    /// Snapshots of which only the second copy is there: of a run that goes on, or that was killed.
    pub unfinished: u64,
    /// Packs that no index names: of a run that goes on, or that was killed. They harm nothing.
    pub unindexed: u64,
}

impl Report {
    /// Whether nothing is damaged, not even what a second copy healed.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.touched.is_empty()
    }

    /// Whether something is lost.
    pub fn has_loss(&self) -> bool {
        !self.touched.is_empty() || self.damaged.iter().any(|d| !d.healed)
    }
}

/// Checks the structure of a repository, and if `percent` is given reads that share of its packs.
/// Only the trees of `snapshots` are walked; an empty list means all.
pub fn check(repository: &Repository, snapshots: &[FileName], percent: Option<u8>, progress: &dyn Progress) -> Result<Report> {
    let (mut report, bad, index) = look(repository, percent, progress)?;
    forgive(repository, &mut report)?;
    let opened = repository.snapshots()?;
    report.damaged.extend(opened.damaged);
    let chosen: Vec<SnapshotEntry> =
        opened.entries.into_iter().filter(|e| snapshots.is_empty() || snapshots.contains(&e.name)).collect();
    let reader = Reader::new(repository.store().clone(), repository.keys().clone(), index.into());
    walk_all(&reader, &bad, &chosen, &mut report);
    // A pack that is gone and that nobody misses was pruned: meanwhile, or by somebody who was killed before he was done.
    let Report { damaged, touched, .. } = &mut report;
    let is_missed = |file: &str| !snapshots.is_empty() || touched.iter().any(|touched| touched.why.starts_with(file));
    damaged.retain(|file| file.why != MISSING || is_missed(&file.file));
    Ok(report)
}

/// Looks at everything but the trees of snapshots.
pub(crate) fn look(repository: &Repository, percent: Option<u8>, progress: &dyn Progress) -> Result<(Report, Bad, Index)> {
    progress.phase(Phase::CheckingStructure, 0, 0);
    let store = &**repository.store();
    let mut report = Report::default();
    check_mirrors(store, &mut report)?;
    report.damaged.extend(repository.slots()?.damaged);
    let loaded = repository.load_index(false)?;
    report.damaged.extend(loaded.broken);
    report.unindexed = loaded.unnamed;
    let index = loaded.index;
    report.damaged.extend(repository.damaged_vault_files()?);

    let mut bad = Bad::default();
    check_pack_files(store, &index, &mut report, &mut bad)?;
    if let Some(percent) = percent {
        read_packs(repository, &index, percent, progress, &mut report, &mut bad)?;
    }
    Ok((report, bad, index))
}

/// What is wrong with a pack that was given up matters no more: nobody counts on it, and what was left in it lies elsewhere.
fn forgive(repository: &Repository, report: &mut Report) -> Result<()> {
    if report.damaged.iter().any(|file| file.file.starts_with(names::PACKS)) {
        let given_up = repository.condemned_packs()?;
        let is_given_up = |file: &DamagedFile| {
            Name::new(&*file.file).is_ok_and(|name| names::hash_of(&name).is_some_and(|h| given_up.contains(&h)))
        };
        report.damaged.retain(|file| !file.file.starts_with(names::PACKS) || !is_given_up(file));
    }
    Ok(())
}

/// Walks the trees of snapshots, and tells of every file that `bad` reaches or that is in no pack.
pub(crate) fn walk_all(reader: &Reader, bad: &Bad, snapshots: &[SnapshotEntry], report: &mut Report) {
    let mut walker = Walker { reader, bad, clean: HashSet::new(), report };
    for entry in snapshots {
        walker.report.snapshots += 1;
        walker.directory(entry.name, &entry.snapshot.root, &mut Vec::new(), 0);
    }
}

/// Why a pack is bad that is not there.
const MISSING: &str = "it is missing";

/// Chunks that are known to be bad, and why.
#[derive(Default)]
pub(crate) struct Bad {
    pub(crate) chunks: HashMap<ChunkId, String>,
    /// Those that parity gives back.
    pub(crate) held: HashMap<ChunkId, String>,
}

/// Folders whose files are there as long as one of their copies is.
const LIVE_BY_EITHER: [&str; 4] = [names::KEYS, names::INDEX, names::VAULT, names::CONDEMNED];

/// Which of two copies is damaged, if one is and the other serves. Where both are, whoever opens them says so.
fn damaged_copy(store: &dyn Store, first: &Name, second: &Name) -> Option<DamagedFile> {
    let (name, error) = match (read_hashed(store, first), read_hashed(store, second)) {
        (Err(error), Ok(_)) => (first, error),
        (Ok(_), Err(error)) => (second, error),
        (Ok(_), Ok(_)) | (Err(_), Err(_)) => return None,
    };
    Some(DamagedFile { file: name.to_string(), why: error.to_string(), healed: true })
}

fn check_mirrors(store: &dyn Store, report: &mut Report) -> Result<()> {
    let first = store.get_all(&names::config());
    let second = store.get_all(&names::mirror(&names::config()));
    for (name, copy, other) in [("config", &first, &second), ("mirror/config", &second, &first)] {
        let whole = |bytes: &std::result::Result<Vec<u8>, StoreError>| bytes.as_ref().is_ok_and(|b| Config::decode(b).is_ok());
        if !whole(copy) {
            let why = match copy {
                Ok(_) => "its checksum does not match".to_owned(),
                Err(error) => error.to_string(),
            };
            report.damaged.push(DamagedFile { file: name.into(), why, healed: whole(other) });
        }
    }
    match (&first, &second) {
        (Ok(first), Ok(second)) if heal::differ(first, second) => {
            report.missing.push(DamagedFile { file: "mirror/config".into(), why: heal::DIFFERS.into(), healed: true });
        }
        (Ok(first), Ok(second)) if heal::are_foreign(first, second) => {
            let why = "the two copies are of different repositories".into();
            report.damaged.push(DamagedFile { file: "mirror/config".into(), why, healed: true });
        }
        _ => {}
    }
    for folder in names::MIRRORED {
        let hashes = |folder: &str| -> Result<HashSet<FileName>> {
            Ok(store.list(folder)?.iter().filter_map(|(name, _)| names::hash_of(name)).collect())
        };
        let (firsts, seconds) = (hashes(folder)?, hashes(&format!("mirror/{folder}"))?);
        for hash in firsts.union(&seconds) {
            let name = names::file(folder, *hash);
            let mirror = names::mirror(&name);
            let outcome = match (firsts.contains(hash), seconds.contains(hash)) {
                (true, true) if LIVE_BY_EITHER.contains(&folder) => {
                    report.damaged.extend(damaged_copy(store, &name, &mirror));
                    Ok(())
                }
                (true, true) => read_hashed(store, &mirror).map(drop).map_err(|error| error.to_string()),
                (is_first, _) if LIVE_BY_EITHER.contains(&folder) => {
                    let (lacking, other) = if is_first { (&mirror, &name) } else { (&name, &mirror) };
                    let why = format!("only {other} is there");
                    report.missing.push(DamagedFile { file: lacking.to_string(), why, healed: true });
                    Ok(())
                }
                (true, false) => Err("the second copy is missing".to_owned()),
                // A snapshot that was not finished, or is being removed, or whose first copy someone lost: nobody can tell.
                _ if folder == names::SNAPSHOTS => {
                    report.unfinished += 1;
                    Ok(())
                }
                _ => Err(format!("{name} is missing, and only this second copy is there")),
            };
            if let Err(why) = outcome {
                report.damaged.push(DamagedFile { file: mirror.to_string(), why, healed: true });
            }
        }
    }
    Ok(())
}

/// Is each pack there, and as long as it must be?
fn check_pack_files(store: &dyn Store, index: &Index, report: &mut Report, bad: &mut Bad) -> Result<()> {
    let listed: HashMap<FileName, u64> =
        store.list(names::PACKS)?.into_iter().filter_map(|(name, len)| Some((names::pack_of(&name)?, len))).collect();
    report.packs = listed.len() as u64;
    let mut gone: HashMap<u32, String> = HashMap::new();
    for number in 0..index.packs() {
        let pack = index.pack(number);
        let covered = stored_len(pack.frames, pack.header_len);
        let why = match listed.get(&pack.name) {
            None => MISSING.to_owned(),
            Some(&len) if len < covered => format!("it has {len} bytes and should have {covered}"),
            Some(&len) if len > covered && Shape::of_len(covered, len - covered).is_err() => {
                // Its chunks are all there.
                let why = "its parity is cut short, or something was added to it".to_owned();
                report.damaged.push(DamagedFile { file: names::file(names::PACKS, pack.name).to_string(), why, healed: true });
                continue;
            }
            Some(_) => continue,
        };
        let file = names::file(names::PACKS, pack.name).to_string();
        gone.insert(number as u32, format!("{file}: {why}"));
        report.damaged.push(DamagedFile { file, why, healed: false });
    }
    if !gone.is_empty() {
        // Chunks that another pack has, too, are looked up there.
        bad.chunks.extend(index.entries().filter_map(|(id, pack)| Some((id, gone.get(&pack)?.clone()))));
    }
    Ok(())
}

/// Reads packs from beginning to end, several at once.
fn read_packs(
    repository: &Repository,
    index: &Index,
    percent: u8,
    progress: &dyn Progress,
    report: &mut Report,
    bad: &mut Bad,
) -> Result<()> {
    let numbers = choose(index.packs(), percent)?;
    let bytes: u64 = numbers.iter().map(|&n| u64::from(index.pack(n).frames) << russet_format::pack::PACK_FRAMES).sum();
    progress.phase(Phase::CheckingPacks, numbers.len() as u64, bytes);
    let mut places = vec![0u64; index.packs()];
    index.entries().for_each(|(_, pack)| places[pack as usize] += 1);
    let findings = Mutex::new((Vec::new(), HashMap::new(), HashMap::new()));
    let (read, heads) = (AtomicU64::new(0), Mutex::new(HashSet::new()));
    share_out(numbers.len(), PackChecker::default, |checker, turn| -> Result<()> {
        let number = numbers[turn];
        let name = names::file(names::PACKS, index.pack(number).name);
        let pack = Indexed { name: &name, index, number: number as u32, places: places[number] };
        let outcome = checker.read(repository, pack);
        progress.advance(1, u64::from(index.pack(number).frames) << russet_format::pack::PACK_FRAMES);
        let (why, chunks) = match outcome {
            Ok(found) => {
                read.fetch_add(found.bytes, Ordering::Relaxed);
                heads.lock().unwrap_or_else(|e| e.into_inner()).extend(found.heads);
                match found.why {
                    None => return Ok(()),
                    Some(why) => (why, found.bad),
                }
            }
            // It is gone or cannot be read: `check_pack_files` has spoken of the first, and the second costs all its chunks.
            Err(RepositoryError::Store(StoreError::NotFound { .. })) => return Ok(()),
            Err(error) => (error.to_string(), index.entries().filter(|(_, p)| *p as usize == number).map(|(id, _)| id).collect()),
        };
        // What could be read of it without its parity tells which files lie where it is damaged.
        let (mut healed, mut why) = (false, why);
        if let Some(whole) = heal::heal_pack(&**repository.store(), index.pack(number).name) {
            let found = checker.examine(repository, pack, whole.bytes);
            if found.is_ok_and(|found| found.why.is_none()) {
                (healed, why) = (true, format!("{} of its {} sectors are damaged", whole.damaged, whole.sectors));
            }
        }
        let mut findings = findings.lock().unwrap_or_else(|e| e.into_inner());
        let (damaged, lost, held) = &mut *findings;
        let hit = if healed { held } else { lost };
        hit.extend(chunks.into_iter().map(|id| (id, format!("{name}: {why}"))));
        damaged.push(DamagedFile { file: name.to_string(), why, healed });
        Ok(())
    })?;
    let (damaged, lost, held) = findings.into_inner().unwrap_or_else(|e| e.into_inner());
    for file in damaged {
        match report.damaged.iter_mut().find(|known| known.file == file.file) {
            // Reading tells more than looking does.
            Some(known) if known.healed => *known = file,
            Some(_) => {}
            None => report.damaged.push(file),
        }
    }
    report.damaged.sort_by(|a, b| a.file.cmp(&b.file));
    report.packs_read = numbers.len() as u64;
    report.bytes_read = read.into_inner();
    report.database_heads = heads.into_inner().unwrap_or_else(|e| e.into_inner());
    bad.chunks.extend(lost);
    bad.held.extend(held);
    Ok(())
}

/// Draws a share of the packs, at random, at least one.
fn choose(packs: usize, percent: u8) -> Result<Vec<usize>> {
    if percent >= 100 || packs == 0 {
        return Ok((0..packs).collect());
    }
    let wanted = (packs * usize::from(percent)).div_ceil(100).max(1);
    let seed: [u8; 32] = russet_format::key::random()?;
    let mut numbers: Vec<(blake3::Hash, usize)> =
        (0..packs).map(|n| (blake3::keyed_hash(&seed, &(n as u64).to_le_bytes()), n)).collect();
    numbers.sort_by_key(|(hash, _)| *hash.as_bytes());
    Ok(numbers.into_iter().take(wanted).map(|(_, n)| n).collect())
}

/// Walks trees and looks each chunk up. What was found whole once is not looked at again.
struct Walker<'a> {
    reader: &'a Reader,
    bad: &'a Bad,
    clean: HashSet<ChunkId>,
    report: &'a mut Report,
}

impl Walker<'_> {
    /// Whether the directory and all below it are whole, and lie nowhere where a pack is damaged.
    fn directory(&mut self, snapshot: FileName, content: &Content, path: &mut Vec<u8>, depth: usize) -> bool {
        // A directory of one chunk list is named by its entries; if each was found whole, so is all below them.
        if !content.entries.is_empty() && content.entries.iter().all(|entry| self.clean.contains(&entry.id)) {
            return true;
        }
        let touch = |report: &mut Report, path: &[u8], why: String| {
            report.touched.push(Touched { snapshot, path: path.to_vec(), why });
            false
        };
        if depth > DEEPEST_DIRECTORY {
            return touch(self.report, path, "too many directories deep".into());
        }
        let (mut why, held) = self.hits(content, true);
        let nodes = self.reader.remaining_nodes(content, &mut |error| {
            why.get_or_insert_with(|| error.to_string());
            Ok(())
        });
        let mut whole = match why {
            Some(why) => touch(self.report, path, why),
            None => true,
        };
        if let (true, Some(why)) = (whole, held) {
            self.report.held.push(Touched { snapshot, path: path.clone(), why });
            whole = false;
        }
        for node in nodes.unwrap_or_default() {
            let before = path.len();
            if before > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(&node.name);
            match &node.kind {
                NodeKind::File(content) => {
                    self.report.files += 1;
                    let (lost, held) = self.hits(content, false);
                    let files = if lost.is_some() { &mut self.report.touched } else { &mut self.report.held };
                    if let Some(why) = lost.or(held) {
                        files.push(Touched { snapshot, path: path.clone(), why });
                        whole = false;
                    }
                }
                NodeKind::Directory(content) => whole &= self.directory(snapshot, content, path, depth + 1),
                NodeKind::Symlink(_) | NodeKind::Other => {}
            }
            path.truncate(before);
        }
        if whole {
            self.clean.extend(content.entries.iter().map(|entry| entry.id));
        }
        whole
    }

    /// Why a content cannot be given back, if it cannot; and why it can be only with the help of parity, if that is so.
    fn hits(&self, content: &Content, directory: bool) -> (Option<String>, Option<String>) {
        let (mut why, mut held) = (None, None);
        let index = self.reader.index();
        let outcome = self.reader.chunk_ids(content, directory, &mut |kind, entry| {
            let Entry { id, len, .. } = entry;
            held = held.take().or_else(|| self.bad.held.get(&id).cloned());
            why = match (why.take(), self.bad.chunks.get(&id), index.find(&id)) {
                (Some(why), ..) => Some(why),
                (None, Some(reason), _) => Some(reason.clone()),
                (None, None, None) => Some(format!("chunk {id} is in no pack (of {len} bytes)")),
                (None, None, Some(at)) if kind == ChunkKind::Data && entry.range_in(at.len as usize).is_none() => {
                    Some(format!("chunk {id} has another length than its list says"))
                }
                (None, None, Some(_)) => None,
            };
        });
        (why.or_else(|| outcome.err().map(|error| error.to_string())), held)
    }
}

/// What can be said without any key: does each file hash to its name, and do the mirrors agree?
#[derive(Debug, Clone, Default)]
pub struct Rot {
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Files that are not what their name says. One is `healed` if its other copy serves.
    pub damaged: Vec<DamagedFile>,
    /// Copies that are missing while the other one is there: of a run that was killed, or lost.
    pub missing: Vec<DamagedFile>,
}

/// Reads every file of a store and compares it with its name. Needs no key, so whoever keeps the store can run it.
pub fn rot(store: &dyn Store, progress: &dyn Progress) -> Result<Rot> {
    let files = store.list("")?;
    let known = |folder: &str| {
        [names::KEYS, names::PACKS, names::INDEX, names::SNAPSHOTS, names::VAULT, names::CONDEMNED, "mirror"].contains(&folder)
    };
    let ours: Vec<_> = files
        .iter()
        .filter(|(name, _)| name.as_str() == "config" || name.as_str().split_once('/').is_some_and(|(folder, _)| known(folder)))
        .collect();
    if !ours.iter().any(|(name, _)| name.as_str().ends_with("config")) {
        return Err(RepositoryError::NoRepository { place: store.describe() });
    }
    progress.phase(Phase::CheckingPacks, ours.len() as u64, ours.iter().map(|(_, len)| len).sum());
    let whole = |name: &Name| -> std::result::Result<(), String> {
        let bytes = store.get_all(name).map_err(|e| e.to_string())?;
        match names::hash_of(name) {
            Some(_) if name.as_str().starts_with(names::PACKS) && names::pack_of(name).is_none() => {
                Err("it lies in another folder than readers look in".into())
            }
            Some(hash) if hash == FileName::of(&bytes) => Ok(()),
            Some(_) => Err("its bytes do not hash to its name".into()),
            None if name.as_str().ends_with("config") => Config::decode(&bytes).map(drop).map_err(|e| e.to_string()),
            None => Err("its name is not one that russet gives".into()),
        }
    };
    let damaged = ours
        .par_iter()
        .filter_map(|(name, len)| {
            let outcome = whole(name);
            progress.advance(1, *len);
            let why = outcome.err()?;
            let healed = names::other_copy(name).is_some_and(|other| whole(&other).is_ok());
            Some(DamagedFile { file: name.to_string(), why, healed })
        })
        .collect();
    let missing = heal::missing_copies(store)?;
    Ok(Rot { files: ours.len() as u64, bytes: ours.iter().map(|(_, len)| len).sum(), damaged, missing })
}
