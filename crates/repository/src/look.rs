//! One look at what the index is made of: index files, condemned lists, and which packs are there.
//!
//! Others may write and remove meanwhile. A listing is not a moment: a file that comes and one that goes may both be missed by it, so
//! folders are listed until two listings agree, and a file that is gone when it is to be read has the whole look start again.

use std::collections::{HashMap, HashSet};

use russet_format::condemned::Condemned;
use russet_format::id::FileName;
use russet_format::index::{IndexFile, IndexedPack};
use russet_format::key::Keys;
use russet_format::pack::PACK_FRAMES;
use russet_format::seal::TAG;
use russet_store::{Name, Store, StoreError};

use crate::index::Index;
use crate::names;
use crate::packer::open_directory;
use crate::repo::{DamagedFile, bounded, damaged, read_hashed};
use crate::{RepositoryError, Result};

/// So often a look starts again before it takes things as they are.
pub(crate) const MOST_LOOKS: usize = 50;

/// What lies in the three folders.
#[derive(PartialEq, Eq)]
pub(crate) struct Listing {
    index: Vec<Name>,
    pub(crate) condemned: Vec<Name>,
    packs: Vec<(Name, u64)>,
}

/// The readable files of a listing.
pub(crate) struct Look {
    /// Index files that count.
    pub(crate) files: Vec<(FileName, IndexFile)>,
    /// Index files that others supersede, and what they themselves supersede.
    pub(crate) superseded: Vec<(FileName, Vec<FileName>)>,
    /// Condemned lists.
    pub(crate) lists: Vec<(FileName, Condemned)>,
    /// How long the file of each pack is.
    pub(crate) packs: HashMap<FileName, u64>,
    /// What could not be read.
    pub(crate) broken: Vec<DamagedFile>,
    /// The name of the listing that was read.
    pub(crate) key: [u8; 32],
}

/// The index, and what was wrong with the files it came from.
pub(crate) struct LoadedIndex {
    pub(crate) index: Index,
    pub(crate) broken: Vec<DamagedFile>,
    /// Packs that no index file names.
    pub(crate) unnamed: u64,
}

/// Names of a folder's files, in order.
fn sorted(store: &dyn Store, folder: &str) -> Result<Vec<Name>> {
    let mut names: Vec<Name> = store.list(folder)?.into_iter().map(|(name, _)| name).collect();
    names.sort();
    Ok(names)
}

impl Listing {
    /// Lists the folders. Packs come after the lists that condemn them: a list goes only when its packs are gone.
    pub(crate) fn take(store: &dyn Store) -> Result<Listing> {
        let (mut index, mut condemned) = (sorted(store, names::INDEX)?, sorted(store, names::CONDEMNED)?);
        for looks in 1.. {
            let mut packs = store.list(names::PACKS)?;
            packs.sort();
            let again = (sorted(store, names::INDEX)?, sorted(store, names::CONDEMNED)?);
            if (&index, &condemned) == (&again.0, &again.1) || looks == MOST_LOOKS {
                return Ok(Listing { index, condemned, packs });
            }
            (index, condemned) = again;
        }
        unreachable!("the loop ends by itself")
    }

    /// The packs that are there.
    pub(crate) fn packs(&self) -> impl Iterator<Item = FileName> + '_ {
        self.packs.iter().filter_map(|(name, _)| names::hash_of(name))
    }

    /// A name for all of it: an index that was built from this is built from nothing else.
    pub(crate) fn key(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let without_length = self.index.iter().chain(&self.condemned).map(|name| (name, &0));
        for (name, len) in without_length.chain(self.packs.iter().map(|(name, len)| (name, len))) {
            hasher.update(name.as_str().as_bytes()).update(&len.to_le_bytes());
        }
        *hasher.finalize().as_bytes()
    }
}

impl Look {
    /// Lists and reads.
    pub(crate) fn take(store: &dyn Store, keys: &Keys) -> Result<Look> {
        Look::read(store, keys, Listing::take(store)?)
    }

    /// Reads what was listed, or what is there now if it changed.
    pub(crate) fn read(store: &dyn Store, keys: &Keys, mut listing: Listing) -> Result<Look> {
        for _ in 1..MOST_LOOKS {
            let look = Look::read_once(store, keys, &listing)?;
            if look.broken.is_empty() {
                return Ok(look);
            }
            // Damage stays where it is; what another run removed is gone from the next listing.
            let again = Listing::take(store)?;
            if again == listing {
                return Ok(look);
            }
            listing = again;
        }
        Look::read_once(store, keys, &listing)
    }

    fn read_once(store: &dyn Store, keys: &Keys, listing: &Listing) -> Result<Look> {
        let mut broken = Vec::new();
        let mut files = read_all(store, &listing.index, &mut broken, |bytes| IndexFile::open(keys, bytes))?;
        let superseded: HashSet<FileName> = files.iter().flat_map(|(_, file)| file.supersedes.iter().copied()).collect();
        let (dead, live) = files.drain(..).partition(|(name, _)| superseded.contains(name));
        let lists = read_all(store, &listing.condemned, &mut broken, |bytes| Condemned::open(keys, bytes))?;
        let packs = listing.packs.iter().filter_map(|(name, len)| Some((names::hash_of(name)?, *len))).collect();
        let dead: Vec<(FileName, IndexFile)> = dead;
        let superseded = dead.into_iter().map(|(name, file)| (name, file.supersedes)).collect();
        Ok(Look { files: live, superseded, lists, packs, broken, key: listing.key() })
    }

    /// Packs that no index file names.
    pub(crate) fn unnamed(&self) -> Vec<FileName> {
        let named: HashSet<FileName> = self.files.iter().flat_map(|(_, f)| f.packs.iter().map(|p| p.name)).collect();
        self.packs.keys().copied().filter(|name| !named.contains(name)).collect()
    }

    /// Whether a pack is there, and not cut.
    pub(crate) fn has(&self, pack: &IndexedPack) -> bool {
        self.packs.get(&pack.name).is_some_and(|&len| len >= stored_len(pack))
    }

    /// The index as readers and writers see it.
    ///
    /// Packs that no readable index file names say themselves what they hold. Unless an index file is damaged they cannot be told from
    /// packs of a run that goes on, so they serve readers and no writer counts on them.
    pub(crate) fn load(mut self, store: &dyn Store, keys: &Keys) -> LoadedIndex {
        let unnamed = self.unnamed();
        let (mut found, mut doomed) = (IndexFile::default(), HashSet::new());
        if !unnamed.is_empty() && keys.can_read() {
            found = directories_of(store, keys, &unnamed);
            let whole = found.packs.len() == unnamed.len();
            let mut lost_files = self.broken.iter_mut().filter(|file| file.file.starts_with(names::INDEX)).peekable();
            if lost_files.peek().is_none() {
                doomed.extend(found.packs.iter().map(|pack| pack.name));
            }
            lost_files.for_each(|file| file.healed = whole);
        }
        let broken = std::mem::take(&mut self.broken);
        LoadedIndex { index: self.index(&found, doomed), broken, unnamed: unnamed.len() as u64 }
    }

    /// Builds the index; `found` are packs that speak for themselves. What is condemned, or is not there whole, is in it, but marked.
    pub(crate) fn index(&self, found: &IndexFile, mut doomed: HashSet<FileName>) -> Index {
        doomed.extend(self.lists.iter().flat_map(|(_, list)| list.packs.iter().copied()));
        // What a lost pack held is stored again by the next backup that has it.
        let packs = || self.files.iter().flat_map(|(_, file)| &file.packs).chain(&found.packs);
        doomed.extend(packs().filter(|pack| !self.has(pack)).map(|pack| pack.name));
        Index::build(packs(), &doomed)
    }
}

/// Reads all files of a folder. Damage is noted; a store that fails is an error.
fn read_all<T>(
    store: &dyn Store,
    listed: &[Name],
    broken: &mut Vec<DamagedFile>,
    open: impl Fn(&[u8]) -> russet_format::Result<T>,
) -> Result<Vec<(FileName, T)>> {
    let mut read = Vec::with_capacity(listed.len());
    for name in listed {
        match read_hashed(store, name).and_then(|bytes| open(&bytes).map_err(|e| damaged(name, e))) {
            Ok(file) => read.extend(names::hash_of(name).map(|hash| (hash, file))),
            Err(error @ RepositoryError::Store(_)) if !is_gone(&error) => return Err(error),
            Err(error) => broken.push(DamagedFile { file: name.to_string(), why: error.to_string(), healed: false }),
        }
    }
    Ok(read)
}

/// Whether a file was not there.
pub(crate) fn is_gone(error: &RepositoryError) -> bool {
    matches!(error, RepositoryError::Store(StoreError::NotFound { .. }))
}

/// Reads the directories of packs. One that cannot be opened is a finding of `check`, not a reason to give up the others;
/// one that is damaged elsewhere still says what it holds, for its frames stand for themselves.
pub(crate) fn directories_of(store: &dyn Store, keys: &Keys, packs: &[FileName]) -> IndexFile {
    let mut found = IndexFile::default();
    for &name in packs {
        let Ok(bytes) = bounded(store, &names::file(names::PACKS, name)) else { continue };
        if let Ok((header, _, directory)) = open_directory(keys, &bytes) {
            let (frames, header_len) = (header.frames(), header.len() as u32);
            found.packs.push(IndexedPack { name, frames, header_len, directory });
        }
    }
    found
}

/// How long the file of a pack must be.
fn stored_len(pack: &IndexedPack) -> u64 {
    u64::from(pack.header_len) + u64::from(pack.frames) * ((1 << PACK_FRAMES) + TAG as u64)
}
