//! The key slots of a repository: opened with a password, a recovery key or a key file, added, removed and strengthened.

use std::path::Path;
use std::sync::Arc;

use russet_format::FormatError;
use russet_format::id::{FileName, RepositoryId};
use russet_format::key_file::KeyFile;
use russet_format::recovery::RecoveryKey;
use russet_format::slot::{MOST_TRIED, Rights, Slot, SlotKind};
use russet_store::Store;
use zeroize::Zeroizing;

use crate::repo::{Opened, Repository, damaged, open_mirrored, put_hashed, read_config};
use crate::shadow::Shadow;
use crate::{KdfChoice, RepositoryError, Result, names};

/// A key slot and its name.
#[derive(Debug, Clone)]
pub struct SlotEntry {
    /// The file's name.
    pub name: FileName,
    /// What it shows without a password.
    pub slot: Slot,
    /// Whether the repository was opened with it.
    pub used: bool,
}

impl Repository {
    /// Opens a repository with a password or a recovery key. Slow on purpose: each slot that is tried costs a key derivation.
    pub fn open(store: Arc<dyn Store>, password: &[u8], cache: Option<&Path>) -> Result<Repository> {
        let place = store.describe();
        let config = read_config(&*store)?;
        let mut slots = read_slots(&*store, config.id)?.entries;
        if slots.is_empty() {
            return Err(RepositoryError::NoSlots { place });
        }
        slots.retain(|(_, slot)| slot.kind != SlotKind::KeyFile);
        let recovery = std::str::from_utf8(password).ok().and_then(RecoveryKey::parse);
        let wanted = if recovery.is_some() { SlotKind::Recovery } else { SlotKind::Password };
        slots.sort_by_key(|(_, slot)| (slot.kind != wanted, std::cmp::Reverse((slot.generation, slot.created))));
        slots.truncate(MOST_TRIED);
        for (name, slot) in &slots {
            match slot.open(&as_kept(password, slot.kind)) {
                Ok(secrets) => return Ok(Repository::assemble(store, config, secrets, *name, cache)),
                Err(FormatError::WrongPassword) => {}
                Err(source) => return Err(damaged(&names::file(names::KEYS, *name), source)),
            }
        }
        Err(RepositoryError::WrongPassword { place, tried: slots.len() })
    }

    /// Opens a repository with a key file. What a key that only adds must remember between two backups it keeps below `state`; where that
    /// is nowhere, or cannot be used, every backup reads everything.
    pub fn open_with_key_file(
        store: Arc<dyn Store>,
        file: &KeyFile,
        cache: Option<&Path>,
        state: Option<&Path>,
    ) -> Result<Repository> {
        let place = store.describe();
        let config = read_config(&*store)?;
        if file.repository != config.id {
            return Err(RepositoryError::ForeignKeyFile { place });
        }
        let mut slots = read_slots(&*store, config.id)?.entries;
        slots.retain(|(_, slot)| slot.kind == SlotKind::KeyFile);
        // An older one that somebody put back does not stand in front of that which knows the newest keys.
        slots.sort_by_key(|(_, slot)| std::cmp::Reverse((slot.generation, slot.created)));
        for (name, slot) in &slots {
            match slot.open(file.password()) {
                Ok(secrets) => {
                    let beside = secrets.beside(file.state());
                    let mut repository = Repository::assemble(store, config, secrets, *name, cache);
                    if repository.rights() == Rights::BackupOnly {
                        let folder = state.map(|state| state.join(config.id.to_string()).join(&name.hex()[..16]));
                        repository.shadow = folder.and_then(|folder| Shadow::open(&folder, config, beside).ok()).map(Arc::new);
                    }
                    return Ok(repository);
                }
                Err(FormatError::WrongPassword) => {}
                Err(source) => return Err(damaged(&names::file(names::KEYS, *name), source)),
            }
        }
        Err(RepositoryError::WrongKeyFile { place })
    }

    /// Whether the next backup can be compared with this one: a key that only adds may have no place to keep what it takes.
    pub fn remembers(&self) -> bool {
        self.rights() == Rights::Full || self.shadow.is_some()
    }

    /// Whether what the next backup is compared with could not be kept, so that it will read everything.
    pub fn forgot(&self) -> bool {
        self.shadow.as_ref().is_some_and(|shadow| shadow.forgot())
    }

    /// The key slots, oldest first.
    pub fn slots(&self) -> Result<Opened<SlotEntry>> {
        let opened = read_slots(&*self.store, self.config.id)?;
        let entry = |(name, slot)| SlotEntry { name, slot, used: name == self.slot };
        let mut entries: Vec<_> = opened.entries.into_iter().map(entry).collect();
        entries.sort_by_key(|entry| (entry.slot.created, entry.name));
        Ok(Opened { entries, damaged: opened.damaged })
    }

    /// Adds a key slot with the same rights as the one in use.
    pub fn add_slot(&self, password: &[u8], kind: SlotKind, label: &str, kdf: KdfChoice, now: u64) -> Result<FileName> {
        self.put_slot(&Slot::create(&self.secrets, password, self.config.id, kind, label, kdf, now)?)
    }

    pub(crate) fn put_slot(&self, slot: &Slot) -> Result<FileName> {
        put_hashed(&*self.store, names::KEYS, &slot.encode())
    }

    /// Makes a recovery key and a slot for it. The key is shown once and kept nowhere.
    pub fn add_recovery_key(&self, kdf: KdfChoice, now: u64) -> Result<(FileName, Zeroizing<String>)> {
        let key = RecoveryKey::random()?;
        Ok((self.add_recovery_slot(&key, kdf, now)?, key.text()))
    }

    /// Makes a slot for a recovery key that is on paper already.
    pub fn add_recovery_slot(&self, key: &RecoveryKey, kdf: KdfChoice, now: u64) -> Result<FileName> {
        self.add_slot(key.text().as_bytes(), SlotKind::Recovery, "recovery key", kdf, now)
    }

    /// Makes a slot for a key file that is on a disk already. Whoever has that adds snapshots and reads none.
    pub fn add_write_only_slot(&self, file: &KeyFile, label: &str, now: u64) -> Result<FileName> {
        let secrets = self.secrets.backup_only(self.config.id);
        let (kind, kdf) = (SlotKind::KeyFile, KdfChoice::RandomKey);
        self.put_slot(&Slot::create(&secrets, file.password(), self.config.id, kind, label, kdf, now)?)
    }

    /// Removes a key slot, unless it is the last that opens everything.
    pub fn remove_slot(&self, name: FileName) -> Result<()> {
        self.needs_full_key("key slot")?;
        let slots = self.slots()?.entries;
        if !slots.iter().any(|s| s.name == name) {
            return Err(RepositoryError::NoSlot { wanted: name.hex() });
        }
        if !slots.iter().any(|s| s.name != name && s.slot.rights == Rights::Full) {
            return Err(RepositoryError::LastKey);
        }
        let file = names::file(names::KEYS, name);
        self.store.remove(&names::mirror(&file))?;
        Ok(self.store.remove(&file)?)
    }

    /// Replaces the slot in use, which `password` opened, by one with today's parameters if its own are weaker. The new one is durable and
    /// was opened before the old one goes. Gives what the slot is called if it was replaced.
    pub fn strengthen_slot(&mut self, password: &[u8]) -> Result<Option<String>> {
        let Some(old) = self.slots()?.entries.into_iter().find(|entry| entry.used) else { return Ok(None) };
        let Some(kdf) = old.slot.kdf.strengthened() else { return Ok(None) };
        let (kind, label, created) = (old.slot.kind, old.slot.label, old.slot.created);
        let password = as_kept(password, kind);
        let slot = Slot::create(&self.secrets, &password, self.config.id, kind, &label, kdf, created)?;
        slot.open(&password)?;
        self.slot = self.put_slot(&slot)?;
        self.remove_slot(old.name)?;
        Ok(Some(label))
    }
}

/// What goes through the key derivation: a recovery key however it was typed is always the same.
pub(crate) fn as_kept(typed: &[u8], kind: SlotKind) -> Zeroizing<Vec<u8>> {
    let recovery = || std::str::from_utf8(typed).ok().and_then(RecoveryKey::parse);
    match (kind == SlotKind::Recovery).then(recovery).flatten() {
        Some(key) => Zeroizing::new(key.text().as_bytes().to_vec()),
        None => Zeroizing::new(typed.to_vec()),
    }
}

fn read_slots(store: &dyn Store, repository: RepositoryId) -> Result<Opened<(FileName, Slot)>> {
    open_mirrored(store, names::KEYS, |bytes| {
        let slot = Slot::decode(bytes)?;
        match slot.repository == repository {
            true => Ok(slot),
            false => Err(FormatError::Foreign { what: "key slot" }),
        }
    })
}
