//! Ctrl-C and its kin, for commands that have something to bring to an end.

use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::{SigSet, Signal, raise};

use crate::report::{Code, Failure, Result};

type Taker = Box<dyn Fn() + Send>;

/// The signals that ask a program to end. They do what they always do until somebody [takes](Signals::take) them.
pub(crate) struct Signals {
    taker: Arc<Mutex<Option<Taker>>>,
}

impl Signals {
    /// Holds them back from now on. Threads that run already are not held, so this comes before any is started.
    pub(crate) fn hold() -> Result<Signals> {
        let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        let fail = |error: &dyn std::fmt::Display| Failure::new(Code::Unexpected, format!("signals cannot be held: {error}"));
        set.thread_block().map_err(|error| fail(&error))?;
        let taker: Arc<Mutex<Option<Taker>>> = Arc::default();
        let ours = taker.clone();
        let wait = move || {
            while let Ok(signal) = set.wait() {
                match &*ours.lock().unwrap_or_else(PoisonError::into_inner) {
                    Some(take) => take(),
                    // Nothing needs to be brought to an end yet.
                    None => set.thread_unblock().and_then(|()| raise(signal)).unwrap_or_default(),
                }
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(wait).map_err(|error| fail(&error))?;
        Ok(Signals { taker })
    }

    /// Has `taker` called for each of them from now on.
    pub(crate) fn take(&self, taker: impl Fn() + Send + 'static) {
        *self.taker.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(taker));
    }
}
