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

use crate::heal::what_is_left;
use crate::index::Index;
use crate::names;
use crate::packer::open_directory;
use crate::repo::{DamagedFile, bounded, damaged, listed, read_kept};
use crate::{RepositoryError, Result};

/// So often a look starts again before it takes things as they are.
pub(crate) const MOST_LOOKS: usize = 50;

/// What lies in the three folders.
#[derive(PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) index: Vec<Name>,
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

impl Listing {
    /// Lists the folders. Packs come after the lists that condemn them: a list goes only when its packs are gone.
    pub(crate) fn take(store: &dyn Store) -> Result<Listing> {
        let (mut index, mut condemned) = (listed(store, names::INDEX)?, listed(store, names::CONDEMNED)?);
        for looks in 1.. {
            let mut packs = store.list(names::PACKS)?;
            packs.sort();
            let again = (listed(store, names::INDEX)?, listed(store, names::CONDEMNED)?);
            if (&index, &condemned) == (&again.0, &again.1) || looks == MOST_LOOKS {
                return Ok(Listing { index, condemned, packs });
            }
            (index, condemned) = again;
        }
        unreachable!("the loop ends by itself")
    }

    /// The packs that are there, and how long the file of each is.
    pub(crate) fn packs(&self) -> impl Iterator<Item = (FileName, u64)> + '_ {
        self.packs.iter().filter_map(|(name, len)| Some((names::pack_of(name)?, *len)))
    }

    /// The names of index files, ascending.
    pub(crate) fn files(&self) -> Vec<FileName> {
        self.index.iter().filter_map(names::hash_of).collect()
    }

    /// The names of condemned lists, ascending.
    pub(crate) fn lists(&self) -> Vec<FileName> {
        self.condemned.iter().filter_map(names::hash_of).collect()
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
        let packs = listing.packs().collect();
        let dead: Vec<(FileName, IndexFile)> = dead;
        let superseded = dead.into_iter().map(|(name, file)| (name, file.supersedes)).collect();
        Ok(Look { files: live, superseded, lists, packs, broken, key: listing.key() })
    }

    /// Whether a pack is there, and not cut.
    pub(crate) fn has(&self, pack: &IndexedPack) -> bool {
        self.packs.get(&pack.name).is_some_and(|&len| len >= stored_len(pack.frames, pack.header_len))
    }

    /// Builds the index of what index files name. What is condemned, or is not there whole, is in it, but marked.
    pub(crate) fn index(&self) -> Index {
        let mut doomed: HashSet<FileName> = self.lists.iter().flat_map(|(_, list)| list.packs.iter().copied()).collect();
        let packs = || self.files.iter().flat_map(|(_, file)| &file.packs);
        doomed.extend(packs().filter(|pack| !self.has(pack)).map(|pack| pack.name));
        Index::build(packs(), &doomed)
    }
}

/// Reads all files of a folder. Damage is noted; a store that fails is an error.
pub(crate) fn read_all<T>(
    store: &dyn Store,
    listed: &[Name],
    broken: &mut Vec<DamagedFile>,
    open: impl Fn(&[u8]) -> russet_format::Result<T>,
) -> Result<Vec<(FileName, T)>> {
    let mut read = Vec::with_capacity(listed.len());
    read_each(store, listed, broken, open, |name, file| read.push((name, file)))?;
    Ok(read)
}

/// As [`read_all`], but one file after the other is handed over.
pub(crate) fn read_each<'a, T>(
    store: &dyn Store,
    listed: impl IntoIterator<Item = &'a Name>,
    broken: &mut Vec<DamagedFile>,
    open: impl Fn(&[u8]) -> russet_format::Result<T>,
    mut each: impl FnMut(FileName, T),
) -> Result<()> {
    for name in listed {
        match read_kept(store, name).and_then(|bytes| open(&bytes).map_err(|e| damaged(name, e))) {
            Ok(file) => {
                if let Some(hash) = names::hash_of(name) {
                    each(hash, file);
                }
            }
            Err(error @ RepositoryError::Store(_)) if !is_gone(&error) => return Err(error),
            Err(error) => broken.push(DamagedFile { file: name.to_string(), why: error.to_string(), healed: false }),
        }
    }
    Ok(())
}

/// Whether a file was not there.
pub(crate) fn is_gone(error: &RepositoryError) -> bool {
    matches!(error, RepositoryError::Store(StoreError::NotFound { .. }))
}

/// Reads the directories of packs. One that cannot be opened is a finding of `check`, not a reason to give up the others;
/// one that is damaged elsewhere still says what it holds, for its frames stand for themselves.
pub(crate) fn directories_of(store: &dyn Store, keys: &Keys, packs: &[FileName]) -> IndexFile {
    let packs = packs.iter().filter_map(|name| directory_of(store, keys, *name)).collect();
    IndexFile { packs, ..IndexFile::default() }
}

/// So often a disk is asked that fails to give a file: by what comes of this, whole packs are given up.
const MOST_ATTEMPTS: usize = 3;

/// Reads what a pack says of itself, or what is left of it where the disk gives no more.
pub(crate) fn directory_of(store: &dyn Store, keys: &Keys, name: FileName) -> Option<IndexedPack> {
    let file = names::file(names::PACKS, name);
    let mut attempts = (0..MOST_ATTEMPTS).map(|_| bounded(store, &file)).take_while(|read| !read.as_ref().is_err_and(is_gone));
    let bytes = attempts.find_map(Result::ok).or_else(|| what_is_left(store, &file))?;
    let (header, _, directory) = open_directory(keys, &bytes).ok()?;
    Some(IndexedPack { name, frames: header.frames(), header_len: header.len() as u32, directory })
}

/// How long the file of a pack must be.
pub(crate) fn stored_len(frames: u32, header_len: u32) -> u64 {
    u64::from(header_len) + u64::from(frames) * ((1 << PACK_FRAMES) + TAG as u64)
}
