//! The files that go, and in which order, so that dying between any two of them harms nothing.

use std::collections::{BTreeSet, HashSet};

use russet_format::id::FileName;
use russet_format::index::{IndexFile, IndexedPack};
use russet_store::{Name, Store};

use crate::look::Look;
use crate::names;
use crate::packer::PACKS_PER_INDEX;
use crate::repo::{Repository, listed, put_hashed, remove_kept};
use crate::{RepositoryError, Result};

/// An index file that is written here names no more chunks: some 15 MB.
const MOST_CHUNKS: usize = 400_000;

/// The names of all condemned lists.
pub(crate) fn condemned_names(repository: &Repository) -> Result<BTreeSet<FileName>> {
    Ok(listed(&**repository.store(), names::CONDEMNED)?.iter().filter_map(names::hash_of).collect())
}

/// Removes packs: an index without them comes first, and the index files that it supersedes go last. Says how many of those there were.
pub(crate) fn remove_packs(repository: &Repository, look: Look, remove: &HashSet<FileName>) -> Result<u64> {
    let store = &**repository.store();
    // What an index names and is not there is not missed: no snapshot needs it.
    let goes = |pack: &IndexedPack| remove.contains(&pack.name) || !look.packs.contains_key(&pack.name);
    let mut superseded = look.superseded;
    if look.files.iter().any(|(_, file)| file.packs.iter().any(goes)) {
        let is_rewritten = |file: &IndexFile| file.packs.len() < PACKS_PER_INDEX || file.packs.iter().any(goes);
        let (old, stay): (Vec<_>, Vec<_>) = look.files.into_iter().partition(|(_, file)| is_rewritten(file));
        let mut named: HashSet<FileName> = stay.iter().flat_map(|(_, file)| file.packs.iter().map(|pack| pack.name)).collect();
        let mut packs = Vec::new();
        for (name, file) in old {
            packs.extend(file.packs.into_iter().filter(|pack| !goes(pack) && named.insert(pack.name)));
            superseded.push((name, file.supersedes));
        }
        put_index(repository, packs, superseded.iter().map(|(name, _)| *name).collect())?;
        // The new file supersedes all of them, so their order does not matter.
        superseded.iter_mut().for_each(|(_, supersedes)| supersedes.clear());
    }
    for name in remove {
        store.remove(&names::file(names::PACKS, *name))?;
    }
    remove_superseded(store, superseded)
}

/// Writes index files for these packs. Only the last one supersedes: until it is there, the old ones count.
fn put_index(repository: &Repository, packs: Vec<IndexedPack>, supersedes: Vec<FileName>) -> Result<()> {
    let put = |file: &IndexFile| put_hashed(&**repository.store(), names::INDEX, &file.seal(repository.keys())?);
    let (mut file, mut chunks) = (IndexFile::default(), 0);
    for pack in packs {
        let more: usize = pack.directory.segments.iter().map(|segment| segment.chunks.len()).sum();
        if chunks + more > MOST_CHUNKS && !file.packs.is_empty() {
            put(&std::mem::take(&mut file))?;
            chunks = 0;
        }
        chunks += more;
        file.packs.push(pack);
    }
    file.supersedes = supersedes;
    put(&file)?;
    Ok(())
}

/// Removes index files that others supersede. One that supersedes others goes after them: else they would count again.
fn remove_superseded(store: &dyn Store, mut superseded: Vec<(FileName, Vec<FileName>)>) -> Result<u64> {
    let mut removed = 0;
    while !superseded.is_empty() {
        let left: HashSet<FileName> = superseded.iter().map(|(name, _)| *name).collect();
        let (later, now): (Vec<_>, Vec<_>) =
            superseded.into_iter().partition(|(name, others)| others.iter().any(|other| other != name && left.contains(other)));
        if now.is_empty() {
            // They supersede each other in a ring, which nobody who names files by their hash can make.
            break;
        }
        for (name, _) in &now {
            remove_kept(store, &names::file(names::INDEX, *name))?;
            removed += 1;
        }
        superseded = later;
    }
    Ok(removed)
}

/// Mirrors of snapshots that are not there themselves: being written, or what was left when somebody was killed.
pub(crate) fn unfinished_mirrors(repository: &Repository) -> Result<BTreeSet<FileName>> {
    let hashes = |folder: &str| -> Result<BTreeSet<FileName>> {
        Ok(repository.store().list(folder)?.iter().filter_map(|(name, _): &(Name, u64)| names::hash_of(name)).collect())
    };
    // A mirror is written before its snapshot, so in this order a finished one is never taken for an unfinished.
    let mirrors = hashes(&format!("mirror/{}", names::SNAPSHOTS))?;
    let snapshots = hashes(names::SNAPSHOTS)?;
    Ok(mirrors.difference(&snapshots).copied().collect())
}

/// Removes mirrors that were without their snapshot before and still are, and whose date is older than the grace.
pub(crate) fn remove_mirrors(repository: &Repository, before: &BTreeSet<FileName>, grace: i64, now: i64) -> Result<u64> {
    let mut removed = 0;
    for name in unfinished_mirrors(repository)?.intersection(before) {
        let file = names::mirror(&names::file(names::SNAPSHOTS, *name));
        match repository.open_snapshot(&file) {
            Ok(snapshot) if snapshot.finished <= now.saturating_sub(grace) => {
                repository.store().remove(&file)?;
                removed += 1;
            }
            // It is young; or it is damaged, and `check` speaks of it.
            Ok(_) | Err(RepositoryError::Damaged { .. } | RepositoryError::Rotten { .. }) => {}
            Err(error) if crate::look::is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}
