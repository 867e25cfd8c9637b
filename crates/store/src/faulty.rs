//! A store that fails on request, for tests: always at the same place, so that a failure can be played again.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Name, Result, Store, StoreError};

/// Passes everything on to another store, until the fault it was made for happens.
#[derive(Debug)]
pub struct FaultyStore<S> {
    inner: S,
    unreadable: BTreeSet<Name>,
    /// Those fail once only.
    relents: bool,
    left: Left,
    state: Mutex<State>,
}

/// What is left of the write that a store dies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// No trace. A file that was to be removed is still there.
    Nothing,
    /// Its first bytes, under its own name: no store that keeps its promise does this, but disks that lie do.
    Bytes(usize),
    /// The first half, as above.
    Half,
    /// All but the last byte, as above.
    AllButOne,
    /// All of it, but nobody was told. A file that was to be removed is gone.
    Whole,
}

#[derive(Debug)]
struct State {
    writes: u64,
    writes_to_live: Option<u64>,
    free_bytes: Option<u64>,
    is_dead: bool,
    /// Files that failed to be read.
    failed: BTreeSet<Name>,
}

impl<S: Store> FaultyStore<S> {
    /// Fails as if the process were killed after `writes` writes ([`put`](Store::put), [`put_new`](Store::put_new) or
    /// [`remove`](Store::remove)): the next write leaves no trace, and every call from then on fails.
    pub fn dying_after(writes: u64, inner: S) -> Self {
        Self::new(inner, Some(writes), None, BTreeSet::new())
    }

    /// As [`dying_after`](Self::dying_after), but of the write that it dies in this much is left.
    pub fn dying_in(writes: u64, left: Left, inner: S) -> Self {
        Self { left, ..Self::dying_after(writes, inner) }
    }

    /// Is a disk with room for `bytes` more bytes. What does not fit is [`Full`](StoreError::Full), and removing a file
    /// makes room again. For as long as a file is being replaced, both need room.
    pub fn full_after(bytes: u64, inner: S) -> Self {
        Self::new(inner, None, Some(bytes), BTreeSet::new())
    }

    /// Cannot read what is in these files, although they are listed and their length is known.
    pub fn failing_reads(names: impl IntoIterator<Item = Name>, inner: S) -> Self {
        Self::new(inner, None, None, names.into_iter().collect())
    }

    /// The same for the first reading of each of them.
    pub fn failing_once(names: impl IntoIterator<Item = Name>, inner: S) -> Self {
        Self { relents: true, ..Self::failing_reads(names, inner) }
    }

    /// How many writes were passed on. Those that were kept back are not counted.
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// The store behind.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn new(inner: S, writes_to_live: Option<u64>, free_bytes: Option<u64>, unreadable: BTreeSet<Name>) -> Self {
        let state = State { writes: 0, writes_to_live, free_bytes, is_dead: false, failed: BTreeSet::new() };
        Self { inner, unreadable, relents: false, left: Left::Nothing, state: Mutex::new(state) }
    }

    fn write(&self, name: &Name, bytes: &[u8], replaces: bool, put: impl FnOnce() -> Result<()>) -> Result<()> {
        let size = bytes.len() as u64;
        self.admit_write(name, "write", size, &|| {
            if replaces || self.inner.len(name).is_err() {
                self.tear(name, bytes);
            }
        })?;
        if self.state().free_bytes.is_none() {
            return put();
        }
        let old_size = self.inner.len(name).unwrap_or(0);
        let outcome = put();
        self.give_back(if outcome.is_ok() { old_size } else { size });
        outcome
    }

    fn read<T>(&self, name: &Name, get: impl FnOnce() -> Result<T>) -> Result<T> {
        self.admit(name.as_str(), "read")?;
        if self.unreadable.contains(name) && (self.state().failed.insert(name.clone()) || !self.relents) {
            return Err(failure(name.as_str(), "read", "the disk failed on request"));
        }
        get()
    }

    fn admit(&self, name: &str, action: &'static str) -> Result<()> {
        if self.state().is_dead { Err(killed(name, action)) } else { Ok(()) }
    }

    /// Counts a write that may be made. Should it be the one to die in, `dying` leaves of it what is to be left.
    fn admit_write(&self, name: &Name, action: &'static str, size: u64, dying: &dyn Fn()) -> Result<()> {
        let mut state = self.state();
        if !state.is_dead && state.writes_to_live.is_some_and(|most| state.writes >= most) {
            state.is_dead = true;
            dying();
        }
        if state.is_dead {
            return Err(killed(name.as_str(), action));
        }
        if let Some(free) = &mut state.free_bytes {
            *free = free.checked_sub(size).ok_or_else(|| StoreError::Full { name: name.to_string() })?;
        }
        state.writes += 1;
        Ok(())
    }

    fn tear(&self, name: &Name, bytes: &[u8]) {
        let left = match self.left {
            Left::Nothing => return,
            Left::Bytes(most) => bytes.len().min(most),
            Left::Half => bytes.len() / 2,
            Left::AllButOne => bytes.len().saturating_sub(1),
            Left::Whole => bytes.len(),
        };
        // Whether that works is nobody's business any more.
        let _ = self.inner.put(name, &bytes[..left]);
    }

    fn give_back(&self, size: u64) {
        if let Some(free) = &mut self.state().free_bytes {
            *free = free.saturating_add(size);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn killed(name: &str, action: &'static str) -> StoreError {
    failure(name, action, "the store was killed on request")
}

fn failure(name: &str, action: &'static str, why: &'static str) -> StoreError {
    StoreError::Io { name: name.to_owned(), action, source: io::Error::other(why) }
}

impl<S: Store> Store for FaultyStore<S> {
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        self.write(name, bytes, true, || self.inner.put(name, bytes))
    }

    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        self.write(name, bytes, false, || self.inner.put_new(name, bytes))
    }

    fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>> {
        self.read(name, || self.inner.get(name, range))
    }

    fn get_all(&self, name: &Name) -> Result<Vec<u8>> {
        self.read(name, || self.inner.get_all(name))
    }

    fn len(&self, name: &Name) -> Result<u64> {
        self.admit(name.as_str(), "read")?;
        self.inner.len(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(Name, u64)>> {
        self.admit(prefix, "list")?;
        self.inner.list(prefix)
    }

    fn remove(&self, name: &Name) -> Result<()> {
        self.admit_write(name, "remove", 0, &|| {
            if self.left == Left::Whole {
                let _ = self.inner.remove(name);
            }
        })?;
        let old_size = self.inner.len(name).unwrap_or(0);
        self.inner.remove(name)?;
        self.give_back(old_size);
        Ok(())
    }

    fn describe(&self) -> String {
        format!("{} (faulty on request)", self.inner.describe())
    }
}
