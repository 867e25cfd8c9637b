//! What a draft counts on stays, until the snapshot that needs it is there (FORMAT.md, chapter 11).
//!
//! A run counts on chunks that it found when it began, and somebody may prune meanwhile. So before and after a snapshot is written the run
//! looks again: what was removed, or is condemned for so long that it may be removed at any moment, is stored once more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use russet_format::condemned::Condemned;
use russet_format::id::FileName;
use russet_format::key::Keys;
use russet_store::{Name, Store};

use crate::load::load;
use crate::look::{Listing, MOST_LOOKS, is_gone};
use crate::names;
use crate::pipeline::Pipeline;
use crate::prune::LEAST_GRACE;
use crate::reader::Reader;
use crate::repo::{damaged, put_hashed, read_kept, remove_kept};
use crate::{RepositoryError, Result};

/// While a list is younger than this, whoever prunes is yet to look for snapshots, and will find ours. Half of the least grace: the other
/// half is for clocks that disagree, and for the time between this look and the snapshot.
const STILL_TIME: u64 = (LEAST_GRACE / 2) as u64;

/// Each round stores again what pruning took in the round before; nobody prunes so often.
const MOST_ROUNDS: usize = 5;

/// Chunks of a draft that are durable, and what it counted on. Snapshots may name them for as long as [`Settled::hold`] says so.
#[must_use = "the snapshots that need it come next, and `hold` after them"]
pub struct Settled {
    store: Arc<dyn Store>,
    keys: Arc<Keys>,
    pipeline: Arc<Pipeline>,
    stored_bytes: u64,
}

impl std::fmt::Debug for Settled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Settled(..)")
    }
}

/// Packs on their way out, and those that are there.
pub(crate) struct Standing {
    lists: Vec<(FileName, Condemned)>,
    /// When each was condemned first, Unix seconds.
    condemned: HashMap<FileName, i64>,
    there: HashSet<FileName>,
}

impl Standing {
    fn look(store: &dyn Store, keys: &Keys) -> Result<Standing> {
        for _ in 0..MOST_LOOKS {
            let listing = Listing::take(store)?;
            let read = |name: &Name| {
                let list = Condemned::open(keys, &read_kept(store, name)?).map_err(|source| damaged(name, source))?;
                Ok(names::hash_of(name).map(|hash| (hash, list)))
            };
            match listing.condemned.iter().map(read).collect::<Result<Vec<_>>>() {
                Ok(lists) => {
                    let lists: Vec<_> = lists.into_iter().flatten().collect();
                    let mut condemned = HashMap::new();
                    lists.iter().for_each(|(_, list)| note(&mut condemned, list));
                    return Ok(Standing { lists, condemned, there: listing.packs().map(|(name, _)| name).collect() });
                }
                // It was answered meanwhile, and is not in the next listing.
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(RepositoryError::Outrun)
    }

    /// Whether nobody may count on this pack any more, not even for a moment.
    pub(crate) fn is_going(&self, pack: &FileName, now: i64) -> bool {
        let too_late = |&time: &i64| time.abs_diff(now) >= STILL_TIME;
        !self.there.contains(pack) || self.condemned.get(pack).is_some_and(too_late)
    }
}

/// Notes when packs were condemned; the first time counts.
pub(crate) fn note(condemned: &mut HashMap<FileName, i64>, list: &Condemned) {
    for pack in &list.packs {
        condemned.entry(*pack).and_modify(|time| *time = list.time.min(*time)).or_insert(list.time);
    }
}

impl Settled {
    pub(crate) fn new(store: Arc<dyn Store>, keys: Arc<Keys>, pipeline: Arc<Pipeline>) -> Settled {
        let stored_bytes = pipeline.counters.stored_bytes.load(Ordering::Relaxed);
        Settled { store, keys, pipeline, stored_bytes }
    }

    /// Bytes that were stored, with all that was stored twice.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// Looks whether everything is still there and will be, and stores again what is on its way out. Call it before the snapshots are
    /// written and again when they are: if the second call fails, they are broken and must be removed. `now` is in Unix seconds. Must
    /// not be called by a worker of the thread pool.
    pub fn hold(&mut self, now: i64) -> Result<()> {
        for _ in 0..MOST_ROUNDS {
            let standing = Standing::look(&*self.store, &self.keys)?;
            if !self.pipeline.counts_on_any(&|pack| standing.is_going(pack, now)) {
                return Ok(());
            }
            self.store_again()?;
        }
        Err(RepositoryError::Outrun)
    }

    /// Takes the packs of this run out of condemned lists, once the snapshots that need them are there. Whoever pruned meanwhile found
    /// nobody who needed them, and until they are out no run counts on what this one stored.
    pub fn release(&self) -> Result<()> {
        let own: HashSet<FileName> = self.pipeline.packs_written().into_iter().collect();
        for (name, list) in Standing::look(&*self.store, &self.keys)?.lists {
            let (ours, rest): (Vec<_>, Vec<_>) = list.packs.into_iter().partition(|pack| own.contains(pack));
            if ours.is_empty() {
                continue;
            }
            if !rest.is_empty() {
                let shorter = Condemned { time: list.time, packs: rest };
                put_hashed(&*self.store, names::CONDEMNED, &shorter.seal(&self.keys)?)?;
            }
            remove_kept(&*self.store, &names::file(names::CONDEMNED, name))?;
        }
        Ok(())
    }

    /// Goes through all that the run counted on or stored, and stores what is not safe where it lies.
    fn store_again(&mut self) -> Result<()> {
        if !self.keys.can_read() {
            return Err(RepositoryError::Outrun);
        }
        let index = Arc::new(load(&*self.store, &self.keys, None, true)?.index);
        let reader = Reader::new(self.store.clone(), self.keys.clone(), index.clone());
        let again = Pipeline::start(self.store.clone(), self.keys.clone(), self.pipeline.share, index.clone());
        for id in self.pipeline.needs() {
            if !again.counts_on(&id) {
                let at = index.find(&id).ok_or(RepositoryError::Outrun)?;
                let segment = index.segment(at.segment);
                let kind = index.pack(segment.pack as usize).kind;
                let chunk =
                    reader.chunk(kind, &id).map_err(|error| if is_gone(&error) { RepositoryError::Outrun } else { error })?;
                again.keep_again(kind, segment.zstd, chunk.bytes()).map_err(|error| again.cause(error))?;
            }
        }
        again.finish()?;
        self.stored_bytes += again.counters.stored_bytes.load(Ordering::Relaxed);
        self.pipeline = again;
        Ok(())
    }
}
