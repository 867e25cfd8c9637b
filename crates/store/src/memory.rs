//! A store in memory, for tests: it can be looked into and damaged, and forgets everything when dropped.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::check_range;
use crate::name::check_prefix;
use crate::{Name, Result, Store, StoreError};

/// Keeps files in memory. A clone is the same store, not a copy of it.
#[derive(Clone, Default)]
pub struct MemoryStore {
    files: Arc<Mutex<BTreeMap<Name, Vec<u8>>>>,
}

impl MemoryStore {
    /// Flips the bits of `xor` in the byte at `offset` of a file.
    pub fn corrupt(&self, name: &Name, offset: u64, xor: u8) -> Result<()> {
        self.damage(name, |bytes| {
            check_range(name.as_str(), &(offset..offset.saturating_add(1)), bytes.len() as u64)?;
            bytes[offset as usize] ^= xor;
            Ok(())
        })
    }

    /// Cuts a file down to its first `len` bytes.
    pub fn truncate(&self, name: &Name, len: u64) -> Result<()> {
        self.damage(name, |bytes| {
            let len = check_range(name.as_str(), &(0..len), bytes.len() as u64)?;
            bytes.truncate(len);
            Ok(())
        })
    }

    /// A copy of every file as it is now. [`From`] makes a store of it again.
    pub fn snapshot(&self) -> BTreeMap<Name, Vec<u8>> {
        self.files().clone()
    }

    /// The name of every file, sorted.
    pub fn names(&self) -> Vec<Name> {
        self.files().keys().cloned().collect()
    }

    fn damage(&self, name: &Name, change: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        let mut files = self.files();
        change(files.get_mut(name).ok_or_else(|| StoreError::not_found(name))?)
    }

    fn read<T>(&self, name: &Name, view: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        view(self.files().get(name).ok_or_else(|| StoreError::not_found(name))?)
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<Name, Vec<u8>>> {
        // No change is ever half done when a thread panics, so the files behind a poisoned lock are sound.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        self.files().insert(name.clone(), bytes.to_vec());
        Ok(())
    }

    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        let mut files = self.files();
        if files.contains_key(name) {
            return Err(StoreError::AlreadyExists { name: name.to_string() });
        }
        files.insert(name.clone(), bytes.to_vec());
        Ok(())
    }

    fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>> {
        self.read(name, |bytes| {
            check_range(name.as_str(), &range, bytes.len() as u64)?;
            Ok(bytes[range.start as usize..range.end as usize].to_vec())
        })
    }

    fn get_all(&self, name: &Name) -> Result<Vec<u8>> {
        self.read(name, |bytes| Ok(bytes.to_vec()))
    }

    fn len(&self, name: &Name) -> Result<u64> {
        self.read(name, |bytes| Ok(bytes.len() as u64))
    }

    fn list(&self, prefix: &str) -> Result<Vec<(Name, u64)>> {
        check_prefix(prefix).map_err(|source| StoreError::BadPrefix { prefix: prefix.to_owned(), source })?;
        let is_below = |name: &Name| prefix.is_empty() || name.folders().any(|folder| folder == prefix);
        let files = self.files();
        Ok(files.iter().filter(|(name, _)| is_below(name)).map(|(n, b)| (n.clone(), b.len() as u64)).collect())
    }

    fn remove(&self, name: &Name) -> Result<()> {
        self.files().remove(name);
        Ok(())
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

impl From<BTreeMap<Name, Vec<u8>>> for MemoryStore {
    fn from(files: BTreeMap<Name, Vec<u8>>) -> Self {
        Self { files: Arc::new(Mutex::new(files)) }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStore({} files)", self.files().len())
    }
}
