//! The index as readers and writers see it: from the cache, from the cache and what came since, or from all index files.
//!
//! Index files are read one at a time and let go. What was added since the cache was written is added to its table, and whatever else has
//! changed since has the table built anew.

use std::collections::{HashMap, HashSet};

use russet_format::condemned::Condemned;
use russet_format::id::FileName;
use russet_format::index::IndexFile;
use russet_format::key::Keys;
use russet_store::Store;

use crate::Result;
use crate::index::{Builder, Index, IndexCache, Sources};
use crate::look::{Listing, MOST_LOOKS, directory_of, read_all, read_each, stored_len};
use crate::names;
use crate::repo::DamagedFile;

/// The index, and what was wrong with the files it came from.
pub(crate) struct LoadedIndex {
    pub(crate) index: Index,
    pub(crate) broken: Vec<DamagedFile>,
    /// Packs that no index file names.
    pub(crate) unnamed: u64,
}

/// How an attempt to build the table ended.
enum Attempt {
    Built(LoadedIndex),
    /// More has changed than that something was added to what the base was built from.
    BaseIsOutdated,
    /// Something could not be read, and by now something else is there.
    Changed(Listing),
    /// A local file could not be written or read.
    NoRoom,
}

/// Loads the index. If `afresh`, all index files are opened, be they in the cache or not.
///
/// Packs that no readable index file names say themselves what they hold. Unless an index file is damaged they cannot be told from
/// packs of a run that goes on, so they serve readers and no writer counts on them.
pub(crate) fn load(store: &dyn Store, keys: &Keys, mut cache: Option<&IndexCache>, afresh: bool) -> Result<LoadedIndex> {
    let mut listing = Listing::take(store)?;
    let mut base = None;
    if let (Some(cache), false) = (cache, afresh) {
        if let Some(index) = cache.load(&listing.key()) {
            return Ok(LoadedIndex { index, broken: Vec::new(), unnamed: 0 });
        }
        base = cache.load_last();
    }
    for looks in 1.. {
        match attempt(store, keys, &listing, base.as_ref(), cache, looks >= MOST_LOOKS)? {
            Attempt::Built(loaded) => return Ok(loaded),
            Attempt::BaseIsOutdated => base = None,
            Attempt::Changed(again) => listing = again,
            // A cache that cannot be written costs memory now and time later, and nothing else.
            Attempt::NoRoom => (base, cache) = (None, None),
        }
    }
    unreachable!("the loop ends by itself")
}

fn attempt(
    store: &dyn Store,
    keys: &Keys,
    listing: &Listing,
    base: Option<&Index>,
    cache: Option<&IndexCache>,
    is_last: bool,
) -> Result<Attempt> {
    let lens: HashMap<FileName, u64> = listing.packs().collect();
    let known = base.map(Index::sources).unwrap_or_default();
    if base.is_some_and(|base| is_outdated(base, &known, listing, &lens)) {
        return Ok(Attempt::BaseIsOutdated);
    }

    let scratch = cache.and_then(IndexCache::folder);
    let mut builder = Builder::new(base, scratch);
    let mut broken = Vec::new();
    let mut superseded: HashSet<FileName> = known.superseded.iter().copied().collect();
    let old_packs = builder.packs().len();
    // Of each pack that is added: the index file that names it.
    let mut named_by = Vec::new();
    let more =
        listing.index.iter().filter(|name| names::hash_of(name).is_none_or(|hash| known.files.binary_search(&hash).is_err()));
    let open = |bytes: &[u8]| IndexFile::open(keys, bytes);
    read_each(store, more, &mut broken, open, |name, file| {
        superseded.extend(file.supersedes);
        for pack in &file.packs {
            builder.add(pack);
            named_by.push(name);
        }
    })?;
    let lists = read_all(store, &listing.condemned, &mut broken, |bytes| Condemned::open(keys, bytes))?;
    if !broken.is_empty() && !is_last {
        // Damage stays where it is; what another run removed is gone from the next listing.
        let again = Listing::take(store)?;
        if again != *listing {
            return Ok(Attempt::Changed(again));
        }
    }

    let (old, new) = builder.packs().split_at_mut(old_packs);
    for (pack, file) in new.iter_mut().zip(&named_by) {
        pack.dropped = superseded.contains(file);
    }
    let is_old = |name: &FileName| old.binary_search_by_key(name, |pack| pack.name).is_ok();
    let is_named_again = new.iter().any(|pack| !pack.dropped && is_old(&pack.name));
    if base.is_some() && (is_named_again || superseded.len() > known.superseded.len() || !broken.is_empty()) {
        return Ok(Attempt::BaseIsOutdated);
    }

    let named: HashSet<FileName> = builder.packs().iter().filter(|pack| !pack.dropped).map(|pack| pack.name).collect();
    let unnamed: Vec<FileName> = lens.keys().copied().filter(|name| !named.contains(name)).collect();
    let old_unnamed = builder.packs().iter().filter(|pack| pack.unnamed).count();
    if keys.can_read() && !unnamed.is_empty() {
        let mut lost_files = broken.iter_mut().filter(|file| file.file.starts_with(names::INDEX)).peekable();
        let none_is_lost = lost_files.peek().is_none();
        let mut found = 0;
        for &name in &unnamed {
            if let Some(pack) = directory_of(store, keys, name) {
                let pack = builder.add(&pack);
                (pack.unnamed, pack.condemned) = (true, none_is_lost);
                found += 1;
            }
        }
        lost_files.for_each(|file| file.healed = found == unnamed.len());
    }

    // What is condemned, or is not there whole, is in the index, but marked. What a lost pack held is stored again by the next backup that has it.
    let mut doomed: HashSet<FileName> = lists.iter().flat_map(|(_, list)| list.packs.iter().copied()).collect();
    for pack in builder.packs() {
        pack.listed_len = lens.get(&pack.name).copied();
        if !pack.dropped && pack.listed_len.is_none_or(|len| len < stored_len(pack.frames, pack.header_len)) {
            doomed.insert(pack.name);
        }
    }
    for pack in builder.packs() {
        pack.condemned |= doomed.contains(&pack.name);
    }

    let mut sources = Sources {
        files: listing.files(),
        lists: lists.iter().map(|(name, _)| *name).collect(),
        superseded: superseded.into_iter().collect(),
    };
    sources.superseded.sort();
    let index = match cache.filter(|_| scratch.is_some() && broken.is_empty()) {
        Some(cache) => cache.keep(&listing.key(), |out| builder.finish(&sources, out)),
        None => builder.finish_in_memory(&sources),
    };
    let unnamed = (old_unnamed + unnamed.len()) as u64;
    Ok(index.map_or(Attempt::NoRoom, |index| Attempt::Built(LoadedIndex { index, broken, unnamed })))
}

/// Whether anything but that more was added has happened to what a table was built from.
fn is_outdated(base: &Index, known: &Sources, listing: &Listing, lens: &HashMap<FileName, u64>) -> bool {
    let files = listing.files();
    known.lists != listing.lists()
        || known.files.iter().any(|file| files.binary_search(file).is_err())
        || (0..base.packs()).any(|number| base.listed_len(number) != lens.get(&base.pack(number).name).copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use proptest::prelude::*;
    use russet_format::id::{ChunkId, RepositoryId};
    use russet_format::index::IndexedPack;
    use russet_format::key::{Key, Secrets};
    use russet_format::pack::{ChunkKind, Codec, Segment};
    use russet_format::parity::Share;
    use russet_store::{MemoryStore, Name};

    use crate::packer::{Buffers, PackBuilder, Packed};
    use crate::repo::{put_hashed, remove_kept};

    /// A store to which things happen.
    struct Scene {
        store: MemoryStore,
        keys: Keys,
        buffers: Arc<Buffers>,
        packs: Vec<IndexedPack>,
    }

    impl Scene {
        fn new() -> Scene {
            let keys = Secrets::full(Key::new([1; 32]), Key::new([2; 32])).keys(RepositoryId([0; 16]));
            Scene { store: MemoryStore::default(), keys, buffers: Arc::default(), packs: Vec::new() }
        }

        /// Puts a pack that shares chunks with others.
        fn pack(&mut self, seed: u8) -> IndexedPack {
            let mut builder = PackBuilder::new(ChunkKind::Data);
            for segment in 0..1 + seed % 3 {
                let chunks = (0..3).map(|n| (ChunkId([(seed ^ segment << 2).wrapping_mul(n + 3) % 50; 32]), 4)).collect();
                let segment = Segment { stored_len: 12, raw_len: 12, codec: Codec::Stored, chunks };
                builder.add(Packed::new(segment, vec![seed; 12]));
            }
            let sealed = builder.finish().remove(0).seal(&self.keys, Share::NONE, &self.buffers).unwrap();
            let pack = sealed.put(&self.store, &self.buffers).unwrap();
            self.packs.push(pack.clone());
            pack
        }

        fn index_file(&self, packs: Vec<IndexedPack>, supersedes: Vec<FileName>) {
            let file = IndexFile { packs, supersedes };
            put_hashed(&self.store, names::INDEX, &file.seal(&self.keys).unwrap()).unwrap();
        }

        /// One of the files of a folder.
        fn pick(&self, folder: &str, which: u8) -> Option<Name> {
            let mut names: Vec<Name> = self.store.list(folder).unwrap().into_iter().map(|(name, _)| name).collect();
            names.sort();
            (!names.is_empty()).then(|| names[usize::from(which) % names.len()].clone())
        }

        fn remove(&self, folder: &str, which: u8) {
            if let Some(name) = self.pick(folder, which) {
                remove_kept(&self.store, &name).unwrap();
            }
        }

        fn happens(&mut self, what: u8, which: u8) {
            let some_pack = || self.packs.get(usize::from(which) % self.packs.len().max(1)).cloned();
            match what {
                0..=3 => {
                    let packs = (0..=what / 2).map(|n| self.pack(which.wrapping_add(n))).collect();
                    self.index_file(packs, Vec::new());
                }
                4 => drop(self.pack(which)),
                5 => self.index_file(some_pack().into_iter().collect(), Vec::new()),
                6 => {
                    let packs = some_pack().iter().map(|pack| pack.name).collect();
                    let list = Condemned { time: which.into(), packs };
                    put_hashed(&self.store, names::CONDEMNED, &list.seal(&self.keys).unwrap()).unwrap();
                }
                7 => self.remove(names::CONDEMNED, which),
                8 => self.remove(names::PACKS, which),
                9 => {
                    if let Some(name) = self.pick(names::PACKS, which) {
                        let bytes = self.store.get(&name, 0..self.store.len(&name).unwrap() / 2).unwrap();
                        self.store.remove(&name).unwrap();
                        self.store.put(&name, &bytes).unwrap();
                    }
                }
                10 => {
                    let old: Vec<Name> = [0, 1].iter().filter_map(|n| self.pick(names::INDEX, which.wrapping_add(*n))).collect();
                    let open = |name: &Name| {
                        let bytes = self.store.get(name, 0..self.store.len(name).unwrap()).unwrap();
                        IndexFile::open(&self.keys, &bytes).map_or(Vec::new(), |file| file.packs)
                    };
                    self.index_file(old.iter().flat_map(open).collect(), old.iter().filter_map(names::hash_of).collect());
                }
                11 => self.remove(names::INDEX, which),
                _ => drop(put_hashed(&self.store, names::INDEX, &[which; 200]).unwrap()),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn the_cache_with_what_came_since_is_the_index_built_anew(events in prop::collection::vec((0u8..13, any::<u8>()), 1..25)) {
            let (mut scene, folder) = (Scene::new(), tempfile::tempdir().unwrap());
            let cache = IndexCache::new(folder.path(), &scene.keys);
            for (what, which) in events {
                scene.happens(what, which);
                let is_kept = cache.load(&Listing::take(&scene.store).unwrap().key()).is_some();
                let with_cache = load(&scene.store, &scene.keys, Some(&cache), false).unwrap();
                let anew = load(&scene.store, &scene.keys, None, true).unwrap();
                prop_assert!(with_cache.index.bytes() == anew.index.bytes());
                prop_assert_eq!(with_cache.broken, anew.broken);
                prop_assert!(is_kept || with_cache.unnamed == anew.unnamed);
                let again = load(&scene.store, &scene.keys, Some(&cache), false).unwrap();
                prop_assert!(again.index.bytes() == anew.index.bytes());
            }
        }
    }

    #[test]
    fn what_was_added_is_all_that_is_read() {
        let mut scene = Scene::new();
        for event in [(0, 1), (6, 0), (4, 7), (2, 3)] {
            scene.happens(event.0, event.1);
        }
        let old = load(&scene.store, &scene.keys, None, true).unwrap().index;
        let fits = |scene: &Scene| {
            let listing = Listing::take(&scene.store).unwrap();
            match attempt(&scene.store, &scene.keys, &listing, Some(&old), None, false).unwrap() {
                Attempt::Built(loaded) => Some(loaded.index.packs()),
                _ => None,
            }
        };
        assert_eq!(fits(&scene), Some(4));
        scene.happens(3, 9);
        scene.happens(4, 20);
        assert_eq!(fits(&scene), Some(7));
        // A list or an index file that takes something back has everything looked at again.
        scene.happens(6, 1);
        assert_eq!(fits(&scene), None);
    }
}
