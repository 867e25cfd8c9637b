//! Notices: what the phone tells hosts that wait for it, and what hosts tell the phone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard};

/// The most notices of hosts that are remembered.
const MOST_POSTED: usize = 10_000;
/// The most names one host may wait for, and the most notices that wait for it.
const MOST_NAMES: usize = 1_000;
const MOST_WAITING: usize = 1_000;

/// Everybody who waits for something.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    observers: BTreeMap<u64, Observer>,
    posted: Vec<String>,
}

#[derive(Debug, Default)]
struct Observer {
    names: BTreeSet<String>,
    waiting: VecDeque<String>,
}

/// One connection's place among those that wait. Dropping it gives the place up.
#[derive(Debug)]
pub(crate) struct Seat<'a> {
    notices: &'a Notices,
    number: u64,
}

impl Notices {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Tells everybody who waits for this.
    pub(crate) fn relay(&self, name: &str) {
        for observer in self.state().observers.values_mut() {
            if observer.names.contains(name) && observer.waiting.len() < MOST_WAITING {
                observer.waiting.push_back(name.to_owned());
            }
        }
    }

    /// A host told the phone this.
    pub(crate) fn post(&self, name: &str) {
        let mut state = self.state();
        if state.posted.len() < MOST_POSTED {
            state.posted.push(name.to_owned());
        }
    }

    /// What hosts told the phone, in order.
    pub(crate) fn posted(&self) -> Vec<String> {
        self.state().posted.clone()
    }

    /// Takes a place among those that wait.
    pub(crate) fn sit_down(&self) -> Seat<'_> {
        let mut state = self.state();
        state.next += 1;
        let number = state.next;
        state.observers.insert(number, Observer::default());
        Seat { notices: self, number }
    }
}

impl Seat<'_> {
    /// Waits for notices of this name too.
    pub(crate) fn observe(&self, name: &str) {
        if let Some(observer) = self.notices.state().observers.get_mut(&self.number)
            && observer.names.len() < MOST_NAMES
        {
            observer.names.insert(name.to_owned());
        }
    }

    /// The next notice, if there is one.
    pub(crate) fn next(&self) -> Option<String> {
        self.notices.state().observers.get_mut(&self.number)?.waiting.pop_front()
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.notices.state().observers.remove(&self.number);
    }
}
