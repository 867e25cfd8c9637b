//! The branches that are open: a bounded number, because each keeps the names of all its files in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::branch::Branch;
use crate::ino::{BranchId, GENERATIONS, Way};
use crate::{Result, TreeError};

/// Files and folders of all open branches together, unless one alone has more.
const MOST_NAMES: usize = 500_000;

/// An open branch, or none yet. Whoever opens it holds the lock, so that others wait instead of opening it too.
type Opening = Arc<Mutex<Option<Arc<Branch>>>>;

#[derive(Default)]
struct Slot {
    opening: Opening,
    generation: u8,
    shape: Option<u64>,
    weight: usize,
    used: u64,
}

#[derive(Default)]
struct Slots {
    slots: HashMap<(u32, Way), Slot>,
    clock: u64,
}

/// The branches that are open, and what is remembered of those that were.
#[derive(Default)]
pub(crate) struct Branches {
    slots: Mutex<Slots>,
}

impl Branches {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id under which a branch goes now.
    pub(crate) fn current(&self, date: u32, way: Way) -> BranchId {
        let generation = self.slots().slots.get(&(date, way)).map_or(0, |slot| slot.generation);
        BranchId { date, way, generation }
    }

    /// The branch, opened if it is not open. Numbers of a generation that is over are stale.
    pub(crate) fn get(&self, id: BranchId, open: impl FnOnce() -> Result<Branch>) -> Result<Arc<Branch>> {
        let opening = self.slots().touch(id)?;
        let mut opened = opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(branch) = &*opened {
            return Ok(branch.clone());
        }
        let branch = Arc::new(open()?);
        self.slots().keep(id, &branch)?;
        *opened = Some(branch.clone());
        Ok(branch)
    }

    /// Forgets a branch, so that whoever wants it next opens it anew.
    pub(crate) fn close(&self, id: BranchId) {
        if let Some(slot) = self.slots().slots.get_mut(&(id.date, id.way)) {
            slot.close();
        }
    }
}

impl Slot {
    fn close(&mut self) {
        (self.opening, self.weight) = (Opening::default(), 0);
    }
}

impl Slots {
    fn touch(&mut self, id: BranchId) -> Result<Opening> {
        self.clock += 1;
        let slot = self.slots.entry((id.date, id.way)).or_default();
        slot.used = self.clock;
        if slot.generation != id.generation {
            return Err(TreeError::Stale);
        }
        Ok(slot.opening.clone())
    }

    /// Notes that a branch is open, and closes those that were not used for longest. If damage or repair has changed what is in it, its
    /// numbers are no longer those that were given out.
    fn keep(&mut self, id: BranchId, branch: &Branch) -> Result<()> {
        let Some(slot) = self.slots.get_mut(&(id.date, id.way)) else { return Err(TreeError::Stale) };
        slot.weight = branch.weight();
        let shape = branch.shape();
        if slot.shape.replace(shape).is_some_and(|before| before != shape) {
            slot.generation = (slot.generation + 1) % GENERATIONS;
        }
        let is_stale = slot.generation != id.generation;
        let mut names: usize = self.slots.values().map(|slot| slot.weight).sum();
        while names > MOST_NAMES {
            let others = self.slots.iter_mut().filter(|(key, slot)| **key != (id.date, id.way) && slot.weight > 0);
            let Some((_, oldest)) = others.min_by_key(|(_, slot)| slot.used) else { break };
            names -= oldest.weight;
            oldest.close();
        }
        if is_stale { Err(TreeError::Stale) } else { Ok(()) }
    }
}
