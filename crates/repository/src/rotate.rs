//! New master secrets, and what lies in the store sealed again under them (FORMAT.md, chapters 4 and 11).
//!
//! Whatever is killed here leaves a repository that the old or the new slot opens, with every snapshot in it; `reseal` goes on from there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use russet_format::condemned::Condemned;
use russet_format::id::FileName;
use russet_format::index::IndexFile;
use russet_format::seal::{Header, LONGEST_HEADER};
use russet_format::slot::{Slot, SlotKind};
use russet_format::snapshot::Snapshot;
use russet_format::{Kind, vault};
use russet_store::{Name, StoreError};

use crate::packer::{Buffers, SealedPack, open_directory, seal_pack_again};
use crate::progress::{Phase, Progress};
use crate::repo::{
    DamagedFile, PINS, Repository, SnapshotEntry, damaged, listed, put_hashed, put_snapshot, read_kept, remove_kept,
};
use crate::slots::as_kept;
use crate::{KdfChoice, RepositoryError, Result, names};

/// What a rotation did.
#[derive(Debug, Clone)]
pub struct Rotated {
    /// The only slot that there is now.
    pub slot: FileName,
    /// The generation that new files are sealed under from now on.
    pub generation: u16,
    /// What the slots were called that are gone.
    pub removed: Vec<String>,
}

/// What was sealed again.
#[derive(Debug, Clone, Default)]
pub struct Resealed {
    /// Snapshots; their ids are others now.
    pub snapshots: u64,
    /// Files of secrets.
    pub vault_files: u64,
    /// Packs.
    pub packs: u64,
    /// Bytes of packs.
    pub pack_bytes: u64,
    /// Index files and condemned lists.
    pub index_files: u64,
    /// What could not be opened, so it stays as it was.
    pub left: Vec<DamagedFile>,
}

impl Repository {
    /// Draws new master secrets and makes a slot for them. Every other slot is removed: nobody knows their passwords here. The index, which
    /// keys that only add read, is sealed again at once; the rest is up to [`Repository::reseal`].
    pub fn rotate(&mut self, password: &[u8], kind: SlotKind, label: &str, kdf: KdfChoice, now: u64) -> Result<Rotated> {
        let secrets = self.secrets.rotated()?;
        let slots = self.slots()?.entries;
        // It is tried before older ones, even where a clock was set back.
        let created = slots.iter().map(|entry| entry.slot.created.saturating_add(1)).fold(now, u64::max);
        let password = as_kept(password, kind);
        let slot = Slot::create(&secrets, &password, self.config.id, kind, label, kdf, created)?;
        slot.open(&password)?;
        self.slot = self.put_slot(&slot)?;
        self.keys = Arc::new(secrets.keys(self.config.id));
        self.secrets = secrets;
        let mut removed = Vec::new();
        for old in slots {
            let file = names::file(names::KEYS, old.name);
            self.store.remove(&names::mirror(&file))?;
            self.store.remove(&file)?;
            removed.push(old.slot.label);
        }
        self.reseal_index(&mut Resealed::default())?;
        Ok(Rotated { slot: self.slot, generation: self.keys.generation(), removed })
    }

    /// Seals again, under the newest secrets, what is sealed under older ones. Nobody else may write or read meanwhile.
    ///
    /// Each new file is durable, and the index says so, before the old one goes.
    pub fn reseal(&self, progress: &dyn Progress) -> Result<Resealed> {
        self.needs_full_key("pack")?;
        let mut done = Resealed::default();
        self.reseal_snapshots_and_vault(&mut done)?;
        self.reseal_index(&mut done)?;
        self.reseal_packs(&mut done, progress)?;
        self.remove_leftovers(&mut done)?;
        self.forget_index();
        Ok(done)
    }

    /// The files of a folder that are sealed under older secrets. What cannot be used stays as it is.
    fn older(&self, folder: &str, kind: Kind, done: &mut Resealed) -> Result<Vec<(Name, Vec<u8>)>> {
        let mut older = Vec::new();
        for name in listed(&*self.store, folder)? {
            match self.read_older(&name, kind) {
                Ok(bytes) => older.extend(bytes.map(|bytes| (name, bytes))),
                Err(error) => leave(done, &name, error)?,
            }
        }
        Ok(older)
    }

    /// A whole file, if it is sealed under older secrets.
    fn read_older(&self, name: &Name, kind: Kind) -> Result<Option<Vec<u8>>> {
        let bytes = read_kept(&*self.store, name)?;
        let header = Header::decode(kind, self.config.id, &bytes).map_err(|source| damaged(name, source))?;
        Ok((header.generation() < self.keys.generation()).then_some(bytes))
    }

    /// New snapshots; then the vault, whose pins name them; then the old snapshots go.
    fn reseal_snapshots_and_vault(&self, done: &mut Resealed) -> Result<()> {
        let mut old = Vec::new();
        for (name, bytes) in self.older(names::SNAPSHOTS, Kind::Snapshot, done)? {
            match Snapshot::open(&self.keys, &bytes) {
                Ok(snapshot) => old.extend(names::hash_of(&name).map(|hash| (hash, snapshot))),
                Err(source) => leave(done, &name, damaged(&name, source))?,
            }
        }
        old.sort_by_key(|(name, snapshot)| (snapshot.started, *name));
        // Those that a run that was killed sealed again already.
        let mut again = self.snapshots()?.entries;
        again.retain(|entry| old.iter().all(|(name, _)| *name != entry.name));
        let mut renamed: HashMap<FileName, FileName> = HashMap::new();
        for (name, snapshot) in &old {
            let mut new = snapshot.clone();
            new.parent = new.parent.map(|parent| *renamed.get(&parent).unwrap_or(&parent));
            let is_same = |entry: &&SnapshotEntry| Snapshot { parent: new.parent, ..entry.snapshot.clone() } == new;
            let known = again.iter().find(is_same).map(|entry| entry.name);
            let put = || put_snapshot(&*self.store, &new.seal(&self.keys)?);
            let new_name = known.map_or_else(put, Ok)?;
            renamed.insert(*name, new_name);
            // A rotation that was killed leaves a date twice, and the next one makes one of it again.
            again.push(SnapshotEntry { name: new_name, snapshot: new });
        }
        for (name, bytes) in self.older(names::VAULT, Kind::Vault, done)? {
            let mut entries = match vault::open(&self.keys, &bytes) {
                Ok(entries) => entries,
                Err(source) => {
                    leave(done, &name, damaged(&name, source))?;
                    continue;
                }
            };
            for entry in entries.iter_mut().filter(|entry| entry.scope == PINS) {
                let new = FileName::parse(&entry.name).ok().and_then(|old| renamed.get(&old));
                entry.name = new.map_or_else(|| std::mem::take(&mut entry.name), FileName::hex);
            }
            put_hashed(&*self.store, names::VAULT, &vault::seal(&self.keys, &entries)?)?;
            remove_kept(&*self.store, &name)?;
            done.vault_files += 1;
        }
        // Backwards, so that those that a killed run leaves still know the names of those before them.
        for (name, _) in old.iter().rev() {
            self.remove_snapshot(*name)?;
            done.snapshots += 1;
        }
        // What a killed removal leaves is no snapshot any more.
        let whole: HashSet<_> = self.store.list(names::SNAPSHOTS)?.iter().filter_map(|(name, _)| names::hash_of(name)).collect();
        for (name, _) in self.older(&format!("mirror/{}", names::SNAPSHOTS), Kind::Snapshot, done)? {
            if names::hash_of(&name).is_some_and(|hash| !whole.contains(&hash)) {
                self.store.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Each index file and condemned list says the same under the newest secrets; then the old one goes.
    fn reseal_index(&self, done: &mut Resealed) -> Result<()> {
        self.remove_superseded()?;
        for (name, bytes) in self.older(names::INDEX, Kind::Index, done)? {
            match IndexFile::open(&self.keys, &bytes) {
                Ok(file) => {
                    self.replace_index(&name, file)?;
                    done.index_files += 1;
                }
                Err(source) => leave(done, &name, damaged(&name, source))?,
            }
        }
        for (name, bytes) in self.older(names::CONDEMNED, Kind::Condemned, done)? {
            match Condemned::open(&self.keys, &bytes) {
                Ok(list) => {
                    put_hashed(&*self.store, names::CONDEMNED, &list.seal(&self.keys)?)?;
                    remove_kept(&*self.store, &name)?;
                    done.index_files += 1;
                }
                Err(source) => leave(done, &name, damaged(&name, source))?,
            }
        }
        self.forget_index();
        Ok(())
    }

    /// Removes the index files that a killed run had no time to remove.
    fn remove_superseded(&self) -> Result<()> {
        let mut superseded = HashSet::new();
        for name in listed(&*self.store, names::INDEX)? {
            // What cannot be opened supersedes nothing.
            let file = read_kept(&*self.store, &name).ok().and_then(|bytes| IndexFile::open(&self.keys, &bytes).ok());
            superseded.extend(file.into_iter().flat_map(|file| file.supersedes));
        }
        for name in listed(&*self.store, names::INDEX)? {
            if names::hash_of(&name).is_some_and(|hash| superseded.contains(&hash)) {
                remove_kept(&*self.store, &name)?;
            }
        }
        Ok(())
    }

    /// Puts an index file that takes another's place, and removes that.
    fn replace_index(&self, old: &Name, mut file: IndexFile) -> Result<()> {
        file.supersedes.extend(names::hash_of(old));
        put_hashed(&*self.store, names::INDEX, &file.seal(&self.keys)?)?;
        remove_kept(&*self.store, old)
    }

    /// The packs of one index file after the other: new packs, an index file with them in place of the old ones, then the old ones go.
    fn reseal_packs(&self, done: &mut Resealed, progress: &dyn Progress) -> Result<()> {
        let bytes = self.store.list(names::PACKS)?.iter().map(|(_, len)| len).sum();
        progress.phase(Phase::Resealing, 0, bytes);
        let buffers = Buffers::default();
        let mut gone = HashSet::new();
        for name in listed(&*self.store, names::INDEX)? {
            let opened = read_kept(&*self.store, &name)
                .and_then(|bytes| IndexFile::open(&self.keys, &bytes).map_err(|source| damaged(&name, source)));
            let mut file = match opened {
                Ok(file) => file,
                Err(error) => {
                    leave(done, &name, error)?;
                    continue;
                }
            };
            // Two index files may name one pack.
            let named = file.packs.len();
            file.packs.retain(|pack| !gone.contains(&pack.name));
            let is_shorter = file.packs.len() < named;
            let mut replaced = Vec::new();
            for pack in &mut file.packs {
                let old = names::file(names::PACKS, pack.name);
                match self.reseal_pack(&old, &buffers) {
                    Ok(None) => {}
                    Ok(Some(new)) => {
                        done.packs += 1;
                        done.pack_bytes += new.stored_len();
                        gone.insert(pack.name);
                        *pack = new.put(&*self.store, &buffers)?;
                        replaced.push(old);
                    }
                    Err(error) => leave(done, &old, error)?,
                }
                progress.advance(0, u64::from(pack.frames) << russet_format::pack::PACK_FRAMES);
            }
            if is_shorter || !replaced.is_empty() {
                self.replace_index(&name, file)?;
                replaced.iter().try_for_each(|old| self.store.remove(old))?;
            }
        }
        Ok(())
    }

    /// A pack under the newest secrets; nothing if it is that already.
    fn reseal_pack(&self, name: &Name, buffers: &Buffers) -> Result<Option<SealedPack>> {
        // A pack has more than a header, of which the longest may be read.
        let head = self.store.get(name, 0..LONGEST_HEADER as u64)?;
        let sealed_under = Header::decode(Kind::Pack, self.config.id, &head).map(|header| header.generation());
        if sealed_under.is_ok_and(|generation| generation == self.keys.generation()) {
            return Ok(None);
        }
        match self.read_older(name, Kind::Pack)? {
            Some(bytes) => seal_pack_again(&self.keys, self.parity(), &bytes, buffers).map(Some),
            None => Ok(None),
        }
    }

    /// Packs under older secrets that a killed run left behind: those whose every chunk another pack has, too.
    fn remove_leftovers(&self, done: &mut Resealed) -> Result<()> {
        self.forget_index();
        let index = self.index()?;
        let mut named = HashSet::new();
        for name in listed(&*self.store, names::INDEX)? {
            let bytes = read_kept(&*self.store, &name);
            let file = bytes.and_then(|bytes| IndexFile::open(&self.keys, &bytes).map_err(|source| damaged(&name, source)));
            match file {
                Ok(file) => named.extend(file.packs.into_iter().map(|pack| pack.name)),
                // Nobody knows what it names.
                Err(_) => return Ok(()),
            }
        }
        for (name, _) in self.store.list(names::PACKS)? {
            if names::hash_of(&name).is_none_or(|hash| named.contains(&hash)) {
                continue;
            }
            let bytes = match self.read_older(&name, Kind::Pack) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                Err(error) => {
                    leave(done, &name, error)?;
                    continue;
                }
            };
            let Ok((_, _, directory)) = open_directory(&self.keys, &bytes) else { continue };
            if directory.segments.iter().flat_map(|segment| &segment.chunks).all(|(id, _)| index.knows(id)) {
                self.store.remove(&name)?;
            }
        }
        Ok(())
    }
}

/// A file that cannot be used stays as it is and is told; a store that fails ends the work.
fn leave(done: &mut Resealed, name: &Name, error: RepositoryError) -> Result<()> {
    match error {
        // It went meanwhile.
        RepositoryError::Store(StoreError::NotFound { .. }) => return Ok(()),
        RepositoryError::Store(ref failed) if !matches!(failed, StoreError::OutOfRange { .. }) => return Err(error),
        _ => done.left.push(DamagedFile { file: name.to_string(), why: error.to_string(), healed: false }),
    }
    Ok(())
}
