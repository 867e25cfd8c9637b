//! Unpacked segments that are kept at hand. Their memory is bounded, and each is unpacked once however many ask for it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use russet_format::id::{ChunkId, FileName};
use russet_format::pack::ChunkKind;

use crate::Result;
use crate::heal::HealedPacks;

/// Bytes of all segments that are kept.
const MOST_BYTES: usize = 64_000_000;

/// A segment by what never changes, whichever index names it: its pack, and where it begins there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) pack: FileName,
    pub(crate) offset: u32,
}

/// An unpacked segment.
pub(crate) struct Segment {
    bytes: Vec<u8>,
    range: Range<usize>,
    /// What was found at which offset, so that a chunk that is read in many pieces is hashed once.
    sound: Mutex<HashMap<u32, (ChunkKind, ChunkId)>>,
}

impl Segment {
    pub(crate) fn new(bytes: Vec<u8>) -> Segment {
        let range = 0..bytes.len();
        Segment::inside(bytes, range)
    }

    /// A segment that lies inside these bytes.
    pub(crate) fn inside(bytes: Vec<u8>, range: Range<usize>) -> Segment {
        Segment { bytes, range, sound: Mutex::default() }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }

    /// Checks the chunk at an offset, unless it was found to be sound before.
    pub(crate) fn check(&self, offset: u32, kind: ChunkKind, id: ChunkId, check: impl FnOnce() -> Result<()>) -> Result<()> {
        let sound = || self.sound.lock().unwrap_or_else(PoisonError::into_inner);
        if sound().get(&offset) == Some(&(kind, id)) {
            return Ok(());
        }
        check()?;
        sound().insert(offset, (kind, id));
        Ok(())
    }
}

/// Empty until its segment is unpacked; none if that failed.
type Slot = OnceLock<Option<Arc<Segment>>>;

struct Held {
    slot: Arc<Slot>,
    bytes: usize,
    used: u64,
}

#[derive(Default)]
struct Kept {
    held: HashMap<Key, Held>,
    /// The least recently used first.
    by_use: BTreeMap<u64, Key>,
    bytes: usize,
    clock: u64,
}

/// The segments that all readers of a repository share.
#[derive(Default)]
pub(crate) struct Segments {
    kept: Mutex<Kept>,
    /// What they are read from where a pack is damaged.
    pub(crate) healed: HealedPacks,
}

impl Segments {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a segment is here, or about to be.
    pub(crate) fn has(&self, key: Key) -> bool {
        self.kept().held.contains_key(&key)
    }

    /// The segment of this key and length. Whoever asks first unpacks it, and others who ask meanwhile wait.
    pub(crate) fn get(&self, key: Key, bytes: usize, unpack: impl Fn() -> Result<Segment>) -> Result<Arc<Segment>> {
        let slot = self.kept().slot(key, bytes);
        let mut failure = None;
        let unpacked = slot.get_or_init(|| unpack().map(Arc::new).map_err(|error| failure = Some(error)).ok());
        if let Some(segment) = unpacked {
            return Ok(segment.clone());
        }
        self.kept().forget(key, &slot);
        match failure {
            Some(error) => Err(error),
            // Somebody else's attempt failed. What they were told is theirs; what we are told is found out anew.
            None => unpack().map(Arc::new),
        }
    }
}

impl Kept {
    fn slot(&mut self, key: Key, bytes: usize) -> Arc<Slot> {
        self.clock += 1;
        let now = self.clock;
        if let Some(held) = self.held.get_mut(&key) {
            self.by_use.remove(&held.used);
            self.by_use.insert(now, key);
            held.used = now;
            return held.slot.clone();
        }
        while self.bytes + bytes > MOST_BYTES
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.bytes -= self.held.remove(&oldest).map_or(0, |held| held.bytes);
        }
        let slot = Arc::new(Slot::new());
        self.held.insert(key, Held { slot: slot.clone(), bytes, used: now });
        self.by_use.insert(now, key);
        self.bytes += bytes;
        slot
    }

    fn forget(&mut self, key: Key, slot: &Arc<Slot>) {
        if self.held.get(&key).is_some_and(|held| Arc::ptr_eq(&held.slot, slot))
            && let Some(held) = self.held.remove(&key)
        {
            self.by_use.remove(&held.used);
            self.bytes -= held.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RepositoryError;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn key(offset: u32) -> Key {
        Key { pack: FileName([7; 32]), offset }
    }

    #[test]
    fn memory_is_bounded_and_what_was_used_last_stays() {
        let segments = Segments::default();
        let put = |n| segments.get(key(n), 2_000_000, || Ok(Segment::new(vec![0; 2_000_000]))).unwrap();
        for n in 0..100 {
            put(n);
            put(0);
            assert!(segments.kept().bytes <= MOST_BYTES);
        }
        assert!(segments.has(key(0)) && segments.has(key(99)) && !segments.has(key(1)));
        let kept = segments.kept();
        assert_eq!((kept.held.len(), kept.by_use.len(), kept.bytes), (32, 32, MOST_BYTES));
    }

    #[test]
    fn a_segment_that_many_want_is_unpacked_once() {
        let (segments, unpacked) = (Segments::default(), AtomicUsize::new(0));
        let unpack = || {
            unpacked.fetch_add(1, Ordering::Relaxed);
            Ok(Segment::new(vec![1; 9]))
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(segments.get(key(0), 9, unpack).unwrap().bytes(), [1; 9]));
            }
        });
        assert_eq!(unpacked.into_inner(), 1);
    }

    #[test]
    fn a_segment_that_could_not_be_read_is_tried_again() {
        let segments = Segments::default();
        assert!(segments.get(key(0), 9, || Err(RepositoryError::Broken)).is_err());
        assert!(!segments.has(key(0)) && segments.kept().bytes == 0);
        assert!(segments.get(key(0), 9, || Ok(Segment::new(vec![1; 9]))).is_ok());
    }

    #[test]
    fn a_chunk_is_checked_once_and_another_at_its_place_again() {
        let segment = Segment::new(vec![0; 9]);
        let bad = || Err(RepositoryError::Broken);
        assert!(segment.check(0, ChunkKind::Data, ChunkId([1; 32]), bad).is_err());
        assert!(segment.check(0, ChunkKind::Data, ChunkId([1; 32]), || Ok(())).is_ok());
        assert!(segment.check(0, ChunkKind::Data, ChunkId([1; 32]), bad).is_ok());
        assert!(segment.check(0, ChunkKind::Data, ChunkId([2; 32]), bad).is_err());
        assert!(segment.check(0, ChunkKind::Tree, ChunkId([1; 32]), bad).is_err());
    }
}
