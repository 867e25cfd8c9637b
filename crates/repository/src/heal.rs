//! Healing: a damaged file is made whole again without any key, a pack by its parity, and what is kept twice by its other copy.
//!
//! What is put in a file's place hashes to its name; before that is known nothing is written. Stored files are replaced, never changed.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use russet_format::config::Config;
use russet_format::id::FileName;
use russet_format::parity;
use russet_store::{Name, Store, StoreError};

use crate::check::Report;
use crate::names;
use crate::repo::{DamagedFile, Repository, bounded, read_hashed, store_name};
use crate::{RepositoryError, Result};

/// No pack that has parity is longer.
const LONGEST: u64 = 192 << 20;
/// Where a disk does not read, it is asked for this much at a time.
const PIECES: [u64; 2] = [64 << 10, 4 << 10];

/// What a file was healed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Its own parity made so many of its sectors of 4 KiB again.
    Parity {
        /// Sectors that were damaged or missing.
        damaged: u64,
        /// All of its sectors.
        sectors: u64,
    },
    /// Its other copy.
    Copy {
        /// Where that lies.
        from: String,
    },
}

/// A file that is whole again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healed {
    /// Its name in the store.
    pub file: String,
    /// What it was healed by.
    pub by: Remedy,
}

/// What healing did.
#[derive(Debug, Clone, Default)]
pub struct Healing {
    /// Files that are whole again.
    pub healed: Vec<Healed>,
    /// Files that nothing is left to heal with.
    pub left: Vec<DamagedFile>,
}

/// Heals what can be healed of these files. A store that cannot be written to ends it.
pub fn heal(store: &dyn Store, files: &[DamagedFile]) -> Result<Healing> {
    let mut healing = Healing::default();
    for file in files {
        let name = store_name(&file.file)?;
        match remake(store, &name) {
            Some((bytes, by)) => {
                store.put(&name, &bytes)?;
                healing.healed.push(Healed { file: file.file.clone(), by });
            }
            None => healing.left.push(DamagedFile { healed: false, ..file.clone() }),
        }
    }
    Ok(healing)
}

/// Heals what a check found.
pub fn heal_found(repository: &Repository, found: &Report) -> Result<Healing> {
    let healing = heal(&**repository.store(), &[&found.damaged[..], &found.missing].concat());
    repository.forget_index();
    healing
}

/// The bytes that a damaged or missing file must have, if enough is left to tell, and where they come from.
pub(crate) fn remake(store: &dyn Store, name: &Name) -> Option<(Vec<u8>, Remedy)> {
    match names::hash_of(name) {
        Some(pack) if name.as_str().starts_with(names::PACKS) => {
            let healed = heal_pack(store, pack)?;
            let by = Remedy::Parity { damaged: healed.damaged as u64, sectors: healed.sectors as u64 };
            Some((healed.bytes, by))
        }
        hash => {
            let other = names::other_copy(name)?;
            let bytes = match hash {
                Some(_) => read_hashed(store, &other).ok()?,
                None => bounded(store, &other).ok().filter(|bytes| Config::decode(bytes).is_ok())?,
            };
            Some((bytes, Remedy::Copy { from: other.to_string() }))
        }
    }
}

/// So many packs that were made whole again are kept in memory.
const MOST_KEPT: usize = 2;

/// Damaged packs made whole again in memory, for whoever reads. Each is healed once as long as it is among the last few, and one that does
/// not heal is not tried again.
#[derive(Default)]
pub(crate) struct HealedPacks(Mutex<Tried>);

#[derive(Default)]
struct Tried {
    /// The last one first.
    whole: VecDeque<(FileName, Arc<Vec<u8>>)>,
    hopeless: HashSet<FileName>,
}

impl HealedPacks {
    /// All bytes of a damaged pack, if its parity gives them back. Others who ask meanwhile wait.
    pub(crate) fn get(&self, store: &dyn Store, pack: FileName) -> Option<Arc<Vec<u8>>> {
        let mut tried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = tried.whole.iter().find(|(name, _)| *name == pack) {
            return Some(bytes.clone());
        }
        if tried.hopeless.contains(&pack) {
            return None;
        }
        let Some(healed) = heal_pack(store, pack) else {
            tried.hopeless.insert(pack);
            return None;
        };
        let bytes = Arc::new(healed.bytes);
        tried.whole.truncate(MOST_KEPT - 1);
        tried.whole.push_front((pack, bytes.clone()));
        Some(bytes)
    }
}

/// Makes a pack again out of what is left of it, in memory.
pub(crate) fn heal_pack(store: &dyn Store, pack: FileName) -> Option<parity::Healed> {
    let left = what_is_left(store, &names::file(names::PACKS, pack))?;
    parity::heal(&left, &|bytes| FileName::of(bytes) == pack)
}

/// Reads a file, with zeros where the disk gives nothing.
pub(crate) fn what_is_left(store: &dyn Store, name: &Name) -> Option<Vec<u8>> {
    let len = store.len(name).ok().filter(|len| *len <= LONGEST)?;
    store.get_all(name).ok().or_else(|| {
        let mut left = Vec::with_capacity(len as usize);
        read_around(store, name, 0..len, &PIECES, &mut left);
        Some(left)
    })
}

fn read_around(store: &dyn Store, name: &Name, range: std::ops::Range<u64>, pieces: &[u64], left: &mut Vec<u8>) {
    let Some((&piece, smaller)) = pieces.split_first() else {
        return left.resize(range.end as usize, 0);
    };
    for start in range.clone().step_by(piece as usize) {
        let part = start..range.end.min(start + piece);
        match store.get(name, part.clone()) {
            Ok(bytes) => left.extend_from_slice(&bytes),
            Err(_) => read_around(store, name, part, smaller, left),
        }
    }
}

/// Why a second copy of `config` is to be written again that is whole.
pub(crate) const DIFFERS: &str = "it differs from the first: whoever changed them was killed between the two";

/// Whether two copies of `config` are whole and of one repository, and say different things of it.
pub(crate) fn differ(first: &[u8], second: &[u8]) -> bool {
    configs(first, second).is_some_and(|(first, second)| first.id == second.id && first != second)
}

/// Whether two copies of `config` are whole and of different repositories.
pub(crate) fn are_foreign(first: &[u8], second: &[u8]) -> bool {
    configs(first, second).is_some_and(|(first, second)| first.id != second.id)
}

fn configs(first: &[u8], second: &[u8]) -> Option<(Config, Config)> {
    Config::decode(first).ok().zip(Config::decode(second).ok())
}

fn lacking(name: &Name, other: &Name) -> DamagedFile {
    DamagedFile { file: name.to_string(), why: format!("only {other} is there"), healed: true }
}

/// Copies that are missing while the other one is there: lost, or of a run that was killed between the two. Either way they may be written
/// again, but for a snapshot of which only the second copy is there: that is one which is being written or removed.
pub fn missing_copies(store: &dyn Store) -> Result<Vec<DamagedFile>> {
    let mut missing = Vec::new();
    let is_there = |name: &Name| match store.len(name) {
        Ok(_) => Ok(true),
        Err(StoreError::NotFound { .. }) => Ok(false),
        Err(error) => Err(RepositoryError::from(error)),
    };
    let (first, second) = (names::config(), names::mirror(&names::config()));
    match (is_there(&first)?, is_there(&second)?) {
        (true, false) => missing.push(lacking(&second, &first)),
        (false, true) => missing.push(lacking(&first, &second)),
        (true, true) if differ(&store.get_all(&first)?, &store.get_all(&second)?) => {
            missing.push(DamagedFile { file: second.to_string(), why: DIFFERS.into(), healed: true });
        }
        _ => {}
    }
    for folder in names::MIRRORED {
        let hashes = |folder: &str| -> Result<BTreeSet<FileName>> {
            Ok(store.list(folder)?.iter().filter_map(|(name, _)| names::hash_of(name)).collect())
        };
        // What a run that goes on writes or removes meanwhile is in both listings or looked at again.
        let (seconds, firsts) = (hashes(&format!("mirror/{folder}"))?, hashes(folder)?);
        for hash in firsts.symmetric_difference(&seconds) {
            let first = names::file(folder, *hash);
            let second = names::mirror(&first);
            match (is_there(&first)?, is_there(&second)?) {
                (true, false) => missing.push(lacking(&second, &first)),
                (false, true) if folder != names::SNAPSHOTS => missing.push(lacking(&first, &second)),
                _ => {}
            }
        }
    }
    Ok(missing)
}
