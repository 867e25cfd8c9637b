//! A repository: made, opened with a password, and asked for its dates, keys and secrets.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use russet_format::condemned::Condemned;
use russet_format::config::Config;
use russet_format::id::{FileName, RepositoryId};
use russet_format::key::{Keys, Secrets};
use russet_format::parity::Share;
use russet_format::slot::{Rights, Slot, SlotKind};
use russet_format::snapshot::Snapshot;
use russet_format::{FormatError, vault};
use russet_store::{Name, Store, StoreError};
use zeroize::Zeroizing;

use crate::draft::Draft;
use crate::index::{Index, IndexCache};
use crate::load::{LoadedIndex, load};
use crate::look::is_gone;
use crate::names;
use crate::reader::Reader;
use crate::seen::Seen;
use crate::segments::Segments;
use crate::shadow::Shadow;
use crate::{RepositoryError, Result};

pub use russet_format::slot::Kdf as KdfChoice;

/// A stored file that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedFile {
    /// Its name in the store.
    pub file: String,
    /// What is wrong with it.
    pub why: String,
    /// Whether its second copy serves in its place, or its parity makes it whole again.
    pub healed: bool,
}

/// A snapshot and its name.
#[derive(Debug, Clone)]
pub struct SnapshotEntry {
    /// Its name, which is its id.
    pub name: FileName,
    /// What it says.
    pub snapshot: Snapshot,
}

/// The things of one kind that could be opened, and those that could not.
#[derive(Debug, Clone)]
pub struct Opened<T> {
    /// What could be opened.
    pub entries: Vec<T>,
    /// What could not, or only by its second copy.
    pub damaged: Vec<DamagedFile>,
}

/// An open repository.
pub struct Repository {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) secrets: Secrets,
    pub(crate) config: Config,
    /// The slot that it was opened with.
    pub(crate) slot: FileName,
    pub(crate) cache: Option<IndexCache>,
    index: Mutex<Option<Arc<Index>>>,
    segments: Arc<Segments>,
    /// What a key that only adds keeps at hand.
    pub(crate) shadow: Option<Arc<Shadow>>,
    /// Which snapshots this computer has seen.
    pub(crate) seen: Option<Seen>,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Repository({} at {})", self.config.id, self.store.describe())
    }
}

impl Repository {
    /// Whether this store holds a repository.
    pub fn exists(store: &dyn Store) -> Result<bool> {
        for name in [names::config(), names::mirror(&names::config())] {
            match store.len(&name) {
                Ok(_) => return Ok(true),
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    /// Makes a repository with one password. `now` is in Unix seconds; `cache` is a local folder for what can be built again.
    pub fn create(store: Arc<dyn Store>, password: &[u8], kdf: KdfChoice, now: u64, cache: Option<&Path>) -> Result<Repository> {
        if Repository::exists(&*store)? {
            return Err(RepositoryError::Exists { place: store.describe() });
        }
        let config = Config { id: RepositoryId::random()?, created: now, parity: Share::DEFAULT };
        let secrets = Secrets::random()?;
        let slot = Slot::create(&secrets, password, config.id, SlotKind::Password, "first password", kdf, now)?;
        let slot_bytes = slot.encode();
        let bytes = config.encode();
        // The config comes last: until it is there, there is no repository, and two makers at once cannot both win.
        let begun = put_hashed(&*store, names::KEYS, &slot_bytes)
            .and_then(|slot| Ok(store.put_new(&names::mirror(&names::config()), &bytes).map(|()| slot)?));
        let slot = begun.map_err(|error| {
            // A key of no repository would be taken for damage in the one that is made here next. The error that matters is the first.
            let _ = remove_kept(&*store, &names::file(names::KEYS, FileName::of(&slot_bytes)));
            exists_already(error, &*store)
        })?;
        store.put_new(&names::config(), &bytes).map_err(|error| exists_already(error.into(), &*store))?;
        Ok(Repository::assemble(store, config, secrets, slot, cache))
    }

    pub(crate) fn assemble(
        store: Arc<dyn Store>,
        config: Config,
        secrets: Secrets,
        slot: FileName,
        cache: Option<&Path>,
    ) -> Repository {
        let keys = Arc::new(secrets.keys(config.id));
        let cache = cache.map(|folder| IndexCache::new(folder, &keys));
        Repository {
            store,
            keys,
            secrets,
            config,
            slot,
            cache,
            index: Mutex::new(None),
            segments: Arc::default(),
            shadow: None,
            seen: None,
        }
    }

    /// Its random id.
    pub fn id(&self) -> RepositoryId {
        self.config.id
    }

    /// How much parity its packs get from now on.
    pub fn parity(&self) -> Share {
        self.config.parity
    }

    /// Has packs get another share of parity from now on. Those that are there keep what they have.
    pub fn set_parity(&mut self, share: Share) -> Result<()> {
        self.needs_full_key("repository that is to be changed")?;
        self.config.parity = share;
        let bytes = self.config.encode();
        for name in [names::mirror(&names::config()), names::config()] {
            self.store.put(&name, &bytes)?;
        }
        Ok(())
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        self.store.describe()
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub(crate) fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// What the key may do that the repository was opened with.
    pub fn rights(&self) -> Rights {
        if self.keys.can_read() { Rights::Full } else { Rights::BackupOnly }
    }

    pub(crate) fn needs_full_key(&self, what: &'static str) -> Result<()> {
        match self.rights() {
            Rights::Full => Ok(()),
            Rights::BackupOnly => Err(FormatError::WriteOnly { what }.into()),
        }
    }

    /// Starts a snapshot.
    pub fn draft(&self) -> Result<Draft> {
        // Who cannot read which packs are on their way out must not count on any.
        for name in listed(&*self.store, names::CONDEMNED)? {
            match read_kept(&*self.store, &name).and_then(|b| Condemned::open(&self.keys, &b).map_err(|e| damaged(&name, e))) {
                // It was answered meanwhile.
                Err(error) if is_gone(&error) => {}
                outcome => drop(outcome?),
            }
        }
        // What other runs have written since is worth knowing, and so is afterwards what this one writes.
        self.forget_index();
        let page_names = self.cache.as_ref().map(|cache| cache.page_names(&self.keys));
        let draft = Draft::start(self.store.clone(), self.keys.clone(), self.parity(), self.reader()?, self.shadow.clone());
        let draft = draft.with_page_names(page_names);
        self.forget_index();
        Ok(draft)
    }

    /// Starts a draft that counts on what this index counts on.
    pub(crate) fn draft_on(&self, index: Arc<Index>) -> Draft {
        self.forget_index();
        let reader = Reader::new(self.store.clone(), self.keys.clone(), index);
        Draft::start(self.store.clone(), self.keys.clone(), self.parity(), Arc::new(reader), None)
    }

    /// Reads contents. What readers of one repository have unpacked they share.
    pub fn reader(&self) -> Result<Arc<Reader>> {
        let reader = Reader::new(self.store.clone(), self.keys.clone(), self.index()?).sharing(self.segments.clone());
        // Without what is at hand everything is read again, which is no reason to stop.
        let near = self.shadow.as_ref().and_then(|shadow| shadow.reader().ok());
        Ok(Arc::new(reader.with_near(near)))
    }

    /// Forgets the index, so that the next reader knows what others have written and moved since.
    pub fn forget_index(&self) {
        *self.index_slot() = None;
        if let Some(shadow) = &self.shadow {
            shadow.forget_index();
        }
    }

    fn index_slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Index>>> {
        self.index.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The index, loaded on first use.
    pub fn index(&self) -> Result<Arc<Index>> {
        let mut slot = self.index_slot();
        if let Some(index) = &*slot {
            return Ok(index.clone());
        }
        let index = Arc::new(self.load_index(true)?.index);
        *slot = Some(index.clone());
        Ok(index)
    }

    /// Loads the index and says which of its files are damaged. What they named is read from the packs themselves.
    /// With the cache, files that it was built from are not opened again.
    pub(crate) fn load_index(&self, with_cache: bool) -> Result<LoadedIndex> {
        load(&*self.store, &self.keys, self.cache.as_ref(), !with_cache)
    }

    /// The packs on all lists that can be read.
    pub(crate) fn condemned_packs(&self) -> Result<HashSet<FileName>> {
        let mut packs = HashSet::new();
        for name in listed(&*self.store, names::CONDEMNED)? {
            let list =
                read_kept(&*self.store, &name).and_then(|b| Condemned::open(&self.keys, &b).map_err(|e| damaged(&name, e)));
            packs.extend(list.into_iter().flat_map(|list| list.packs));
        }
        Ok(packs)
    }

    /// Opens every file of secrets, for `check`.
    pub(crate) fn damaged_vault_files(&self) -> Result<Vec<DamagedFile>> {
        let mut damaged_files = Vec::new();
        for name in listed(&*self.store, names::VAULT)? {
            let outcome =
                read_kept(&*self.store, &name).and_then(|bytes| vault::open(&self.keys, &bytes).map_err(|e| damaged(&name, e)));
            if let Err(error) = outcome {
                damaged_files.push(DamagedFile { file: name.to_string(), why: error.to_string(), healed: false });
            }
        }
        Ok(damaged_files)
    }

    /// All snapshots, oldest first. A key that only adds reads none.
    pub fn snapshots(&self) -> Result<Opened<SnapshotEntry>> {
        self.needs_full_key("snapshot")?;
        let opened = open_mirrored(&*self.store, names::SNAPSHOTS, |bytes| Snapshot::open(&self.keys, bytes))?;
        let mut entries: Vec<_> = opened.entries.into_iter().map(|(name, snapshot)| SnapshotEntry { name, snapshot }).collect();
        entries.sort_by_key(|entry| (entry.snapshot.started, entry.name));
        Ok(Opened { entries, damaged: opened.damaged })
    }

    /// Opens a snapshot, by its mirror if it must be; nothing if it is gone.
    pub(crate) fn snapshot(&self, name: FileName) -> Result<Option<Snapshot>> {
        let file = names::file(names::SNAPSHOTS, name);
        match self.open_snapshot(&file) {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => self.open_snapshot(&names::mirror(&file)).map(Some).map_err(|_| error),
        }
    }

    /// Opens one copy of a snapshot.
    pub(crate) fn open_snapshot(&self, file: &Name) -> Result<Snapshot> {
        Snapshot::open(&self.keys, &read_hashed(&*self.store, file)?).map_err(|source| damaged(file, source))
    }

    /// Removes a snapshot: its file, and then its second copy. The chunks stay. A key that only adds removes none.
    pub fn remove_snapshot(&self, name: FileName) -> Result<()> {
        self.needs_full_key("snapshot")?;
        if let Some(seen) = &self.seen {
            // Whoever cannot strike it out is told later that it is gone, which is no reason to keep it.
            let _ = seen.strike_out(name);
        }
        remove_snapshot(&*self.store, name)
    }

    /// The names of all snapshots, ascending. Nothing is opened, so it is a cheap way to see whether any came or went.
    pub fn snapshot_names(&self) -> Result<Vec<FileName>> {
        let mut names: Vec<_> = self.store.list(names::SNAPSHOTS)?.iter().filter_map(|(name, _)| names::hash_of(name)).collect();
        names.sort();
        Ok(names)
    }

    /// The snapshots that a new one can be compared with, oldest first: all of them, or what a key that only adds has at hand.
    pub fn parents(&self) -> Result<Vec<SnapshotEntry>> {
        match (self.rights(), &self.shadow) {
            (Rights::Full, _) => Ok(self.snapshots()?.entries),
            (Rights::BackupOnly, Some(shadow)) => Ok(shadow.snapshots().unwrap_or_default()),
            (Rights::BackupOnly, None) => Ok(Vec::new()),
        }
    }

    /// The newest secret of this scope and name.
    pub fn secret(&self, scope: &str, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        Ok(self.newest(scope, &|entry| entry == name)?.remove(name).map(|entry| entry.value))
    }

    /// The newest secrets of this scope whose names begin with `prefix`, the last written first.
    pub fn secrets(&self, scope: &str, prefix: &str) -> Result<Vec<Zeroizing<Vec<u8>>>> {
        let mut entries: Vec<_> = self.newest(scope, &|name| name.starts_with(prefix))?.into_values().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.written));
        Ok(entries.into_iter().map(|entry| entry.value).collect())
    }

    /// The newest entry of every name that is wanted.
    pub(crate) fn newest(&self, scope: &str, wanted: &dyn Fn(&str) -> bool) -> Result<BTreeMap<String, vault::Entry>> {
        if let Some(shadow) = &self.shadow {
            return Ok(shadow.newest(scope, wanted).unwrap_or_default());
        }
        let mut newest: BTreeMap<String, vault::Entry> = BTreeMap::new();
        for file in listed(&*self.store, names::VAULT)? {
            // A vault file that is damaged costs a question to the person, not the run.
            let Ok(bytes) = read_kept(&*self.store, &file) else { continue };
            for entry in vault::open(&self.keys, &bytes).unwrap_or_default() {
                let later = newest.get(&entry.name).is_none_or(|known| known.written <= entry.written);
                if entry.scope == scope && wanted(&entry.name) && later {
                    newest.insert(entry.name.clone(), entry);
                }
            }
        }
        Ok(newest)
    }

    /// Removes snapshots: the file of each, and then its mirror, for a snapshot exists as long as its file does. What only they needed
    /// stays in the store until [`crate::prune`] finds it unused. Their marks are taken away. Who is not there is not missed.
    pub fn forget(&self, snapshots: &[FileName], now: i64) -> Result<()> {
        for name in snapshots {
            self.remove_snapshot(*name)?;
        }
        let pins = self.pins()?;
        let unpinned: Vec<String> = snapshots.iter().map(FileName::hex).filter(|name| pins.contains_key(name)).collect();
        let marks: Vec<(&str, &[u8])> = unpinned.iter().map(|name| (name.as_str(), &b""[..])).collect();
        match marks.is_empty() {
            true => Ok(()),
            false => self.keep_secrets(PINS, &marks, now),
        }
    }

    /// Gives another repository the secrets of this scope that it lacks or knows only an older one of.
    pub(crate) fn copy_secrets(&self, to: &Repository, scope: &str) -> Result<()> {
        let there = to.newest(scope, &|_| true)?;
        let is_news = |entry: &vault::Entry| {
            there.get(&entry.name).is_none_or(|known| known.written < entry.written && known.value != entry.value)
        };
        // What waits on a disk stays with the repository that it waits for.
        let entries = self.newest(scope, &|name| name != "spool")?.into_values();
        let news: Vec<vault::Entry> = entries.filter(is_news).collect();
        if !news.is_empty() {
            put_hashed(&*to.store, names::VAULT, &vault::seal(&to.keys, &news)?)?;
        }
        Ok(())
    }

    /// Whether a snapshot was sealed by a holder of a full key. A backup-only key seals in another envelope.
    pub(crate) fn is_by_full_key(&self, snapshot: FileName) -> bool {
        // Of the copy that is whole: what another says of itself may be anything.
        read_kept(&*self.store, &names::file(names::SNAPSHOTS, snapshot)).is_ok_and(|bytes| bytes.get(24) == Some(&1))
    }

    /// Marks a snapshot as one to keep, and says why; an empty reason takes the mark away.
    pub fn pin(&self, snapshot: FileName, why: &str, now: i64) -> Result<()> {
        self.keep_secrets(PINS, &[(&snapshot.hex(), why.as_bytes())], now)
    }

    /// The snapshots that are marked as ones to keep, by the hex of their names, and why.
    pub fn pins(&self) -> Result<BTreeMap<String, String>> {
        let why = |entry: vault::Entry| String::from_utf8_lossy(&entry.value).into_owned();
        let pins = self.newest(PINS, &|_| true)?.into_iter().map(|(name, entry)| (name, why(entry)));
        Ok(pins.filter(|(_, why)| !why.is_empty()).collect())
    }

    /// Keeps secrets of one scope, in place of those of the same names.
    pub fn keep_secrets(&self, scope: &str, secrets: &[(&str, &[u8])], now: i64) -> Result<()> {
        // Two writes in one second, or after a clock was set back, still have an order.
        let known = self.newest(scope, &|name| secrets.iter().any(|(new, _)| *new == name))?;
        let written = known.values().map(|entry| entry.written.saturating_add(1)).fold(now, i64::max);
        let entry = |(name, value): &(&str, &[u8])| vault::Entry {
            scope: scope.into(),
            name: (*name).into(),
            value: Zeroizing::new(value.to_vec()),
            written,
        };
        let entries: Vec<_> = secrets.iter().map(entry).collect();
        put_hashed(&*self.store, names::VAULT, &vault::seal(&self.keys, &entries)?)?;
        if let Some(shadow) = &self.shadow {
            // A secret that is not at hand is asked for again.
            shadow.keep_secrets(&entries).unwrap_or_default();
        }
        Ok(())
    }

    /// Puts the newest of all secrets into one file, if they lie in more than a `few`, and removes those that say nothing more. Says how many.
    pub(crate) fn merge_secrets(&self, few: usize) -> Result<u64> {
        let files = listed(&*self.store, names::VAULT)?;
        if files.len() <= few {
            return Ok(0);
        }
        let mut newest: BTreeMap<(String, String), vault::Entry> = BTreeMap::new();
        for file in &files {
            // What cannot be read stays where it is, and so do the others: `check` speaks of it.
            let Ok(bytes) = read_kept(&*self.store, file) else { return Ok(0) };
            let Ok(entries) = vault::open(&self.keys, &bytes) else { return Ok(0) };
            for entry in entries {
                let key = (entry.scope.clone(), entry.name.clone());
                if newest.get(&key).is_none_or(|known| known.written <= entry.written) {
                    newest.insert(key, entry);
                }
            }
        }
        let entries: Vec<_> = newest.into_values().collect();
        let merged = put_hashed(&*self.store, names::VAULT, &vault::seal(&self.keys, &entries)?)?;
        for file in files.iter().filter(|file| names::hash_of(file) != Some(merged)) {
            remove_kept(&*self.store, file)?;
        }
        Ok(files.len() as u64)
    }
}

/// The scope in the vault under which marks of snapshots are kept: they say something of the person, so they are sealed too.
pub(crate) const PINS: &str = "pins";

/// The error for a file that does not open. That a key may not open it says nothing against the file.
pub(crate) fn damaged(name: &Name, source: FormatError) -> RepositoryError {
    match source {
        FormatError::WriteOnly { .. } | FormatError::Generation { .. } => RepositoryError::Format(source),
        source => RepositoryError::Damaged { file: name.to_string(), source },
    }
}

/// The name of a file that a report names.
pub(crate) fn store_name(file: &str) -> Result<Name> {
    Name::new(file).map_err(|error| RepositoryError::Tree { why: error.to_string() })
}

/// Reads a whole file, unless it is longer than any of its kind can be.
pub(crate) fn bounded(store: &dyn Store, name: &Name) -> Result<Vec<u8>> {
    let kind = name.as_str().trim_start_matches("mirror/").split('/').next().unwrap_or_default();
    let most = match kind {
        "config" => 16 << 10,
        // The roots of 65,535 generations.
        names::KEYS => 8 << 20,
        names::PACKS => 1 << 30,
        _ => 4u64 << 30,
    };
    match store.len(name)? {
        len if len > most => {
            let source =
                FormatError::Invalid { what: "length of a stored file", why: format!("{len} bytes are more than it can have") };
            Err(damaged(name, source))
        }
        _ => Ok(store.get_all(name)?),
    }
}

/// Reads a file that is named by its hash.
pub(crate) fn read_hashed(store: &dyn Store, name: &Name) -> Result<Vec<u8>> {
    let bytes = bounded(store, name)?;
    match names::hash_of(name) == Some(FileName::of(&bytes)) {
        true => Ok(bytes),
        false => Err(RepositoryError::Rotten { file: name.to_string() }),
    }
}

/// Reads a file that is named by its hash, from its other copy if it must be.
pub(crate) fn read_kept(store: &dyn Store, name: &Name) -> Result<Vec<u8>> {
    read_hashed(store, name).or_else(|error| match names::other_copy(name).map(|other| read_hashed(store, &other)) {
        Some(Ok(bytes)) => Ok(bytes),
        // Of two copies that cannot be read, the one that is there says why.
        Some(Err(second)) if is_gone(&error) => Err(second),
        _ => Err(error),
    })
}

/// The names of a folder's files that are there, in order. One copy is enough, but for snapshots: those are there as long as the first is.
pub(crate) fn listed(store: &dyn Store, folder: &str) -> Result<Vec<Name>> {
    let mut names: BTreeSet<Name> = store.list(folder)?.into_iter().map(|(name, _)| name).collect();
    if folder != names::SNAPSHOTS {
        let seconds = store.list(&format!("mirror/{folder}"))?;
        names.extend(seconds.iter().filter_map(|(name, _)| names::other_copy(name)));
    }
    Ok(names.into_iter().collect())
}

/// Removes both copies of a file that is there as long as one of them is.
pub(crate) fn remove_kept(store: &dyn Store, name: &Name) -> Result<()> {
    store.remove(name)?;
    Ok(store.remove(&names::mirror(name))?)
}

pub(crate) fn put_hashed(store: &dyn Store, folder: &str, bytes: &[u8]) -> Result<FileName> {
    let name = FileName::of(bytes);
    let file = names::file(folder, name);
    if names::MIRRORED.contains(&folder) {
        store.put(&names::mirror(&file), bytes)?;
    }
    store.put(&file, bytes)?;
    Ok(name)
}

/// What a maker of a repository is told who comes too late.
fn exists_already(error: RepositoryError, store: &dyn Store) -> RepositoryError {
    match error {
        RepositoryError::Store(StoreError::AlreadyExists { .. }) => RepositoryError::Exists { place: store.describe() },
        other => other,
    }
}

/// Puts a sealed snapshot and its mirror, in that order of FORMAT.md chapter 11.
pub(crate) fn put_snapshot(store: &dyn Store, bytes: &[u8]) -> Result<FileName> {
    put_hashed(store, names::SNAPSHOTS, bytes)
}

/// Removes a snapshot, and then its mirror.
pub(crate) fn remove_snapshot(store: &dyn Store, name: FileName) -> Result<()> {
    remove_kept(store, &names::file(names::SNAPSHOTS, name))
}

pub(crate) fn read_config(store: &dyn Store) -> Result<Config> {
    let (first, second) = (names::config(), names::mirror(&names::config()));
    let read = |name: &Name| -> Result<Config> { Config::decode(&bounded(store, name)?).map_err(|source| damaged(name, source)) };
    read(&first).or_else(|error| read(&second).map_err(|_| error)).map_err(|error| match error {
        RepositoryError::Store(StoreError::NotFound { .. }) => RepositoryError::NoRepository { place: store.describe() },
        other => other,
    })
}

/// Opens all files of a folder that has a mirror; each copy serves where the other fails.
pub(crate) fn open_mirrored<T>(
    store: &dyn Store,
    folder: &str,
    open: impl Fn(&[u8]) -> russet_format::Result<T>,
) -> Result<Opened<(FileName, T)>> {
    let mut names: Vec<FileName> = Vec::new();
    let first_copies = store.list(folder)?;
    let mirror = format!("mirror/{folder}");
    for (name, _) in first_copies.iter().chain(&store.list(&mirror)?) {
        names.extend(names::hash_of(name));
    }
    names.sort();
    names.dedup();
    let mut opened = Opened { entries: Vec::new(), damaged: Vec::new() };
    for hash in names {
        let name = names::file(folder, hash);
        let read = |name: &Name| -> Result<T> { open(&read_hashed(store, name)?).map_err(|source| damaged(name, source)) };
        match read(&name) {
            Ok(value) => opened.entries.push((hash, value)),
            // A mirror whose original is gone is a snapshot being written or removed: it does not count.
            Err(RepositoryError::Store(StoreError::NotFound { .. })) if folder == names::SNAPSHOTS => {}
            Err(error) => {
                let second = read(&names::mirror(&name));
                let healed = second.is_ok();
                opened.entries.extend(second.ok().map(|value| (hash, value)));
                // One copy is enough, and the other may be missing because a run was killed.
                if !(healed && is_gone(&error)) {
                    opened.damaged.push(DamagedFile { file: name.to_string(), why: error.to_string(), healed });
                }
            }
        }
    }
    Ok(opened)
}
