//! A run on a phone: the only one on this computer at that time, and written into the journal, however it ends.

use std::path::PathBuf;

use russet_agent::journal::{End, Entry, Journal, Run};
use russet_agent::lock::{Holder, Lock, LockError};
use russet_repository::Saved;

use crate::out::Out;
use crate::places;
use crate::report::{Code, Failure, Result};
use crate::session::Session;

/// Which phone.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) udid: String,
    pub(crate) name: String,
}

/// The journal of this computer; none if there is no home folder to keep one in.
pub(crate) fn journal() -> Option<Journal> {
    Some(Journal::in_folder(places::state()?.join("journal")))
}

/// What the journal knows of a phone, or a new entry. One that is damaged is begun anew: it is a memory, and no proof.
pub(crate) fn entry(journal: &Journal, who: &Who, out: &Out) -> Entry {
    let known = journal.device(&who.udid).unwrap_or_else(|error| {
        out.warn(format!("{error}; it is begun anew"));
        None
    });
    let mut entry = known.unwrap_or_else(|| Entry::new(&who.udid, &who.name, Session::now().0));
    if !who.name.is_empty() {
        entry.name.clone_from(&who.name);
    }
    entry
}

/// Writes an entry down. That it could not be written is told, and stops nothing.
pub(crate) fn keep(journal: &Journal, entry: &Entry, out: &Out) {
    if let Err(error) = journal.keep_device(entry) {
        out.warn(error.to_string());
    }
}

/// Does `work` on a phone as the only run on this computer that does, and writes down how it ended.
pub(crate) fn alone<T>(
    who: &Who,
    doing: &str,
    session: &Session,
    saved: impl Fn(&T) -> &Saved,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let Some(journal) = journal() else { return work() };
    let _lock = lock(who, doing)?;
    let began = Session::now().0;
    let outcome = work();
    match &outcome {
        Ok(done) => {
            let saved = saved(done);
            let snapshot = &saved.snapshot;
            let end = End::Good {
                snapshot: saved.name.hex(),
                bytes: snapshot.bytes,
                new_bytes: snapshot.new_bytes,
                stored_bytes: snapshot.stored_bytes,
                whole: snapshot.whole,
            };
            write(&journal, who, began, end, &session.out);
        }
        Err(failure) => write_failure(&journal, who, began, failure, &session.out),
    }
    outcome
}

/// Writes down that a run on a phone failed.
pub(crate) fn write_failure(journal: &Journal, who: &Who, began: i64, failure: &Failure, out: &Out) {
    write(journal, who, began, end(failure), out);
}

fn write(journal: &Journal, who: &Who, began: i64, end: End, out: &Out) {
    // Read only now, because others may have written into it meanwhile.
    let mut entry = entry(journal, who, out);
    entry.add(Run { began, ended_at: Session::now().0, end });
    keep(journal, &entry, out);
}

/// How a failure is written down.
fn end(failure: &Failure) -> End {
    let (why, code) = (failure.message.clone(), failure.code.number());
    match is_waiting(failure) {
        true => End::Waiting { why, code },
        false => End::Failed { why, hint: failure.hint.clone(), code },
    }
}

/// Whether nothing is wrong but that somebody has to do something at the phone.
pub(crate) fn is_waiting(failure: &Failure) -> bool {
    matches!(failure.code, Code::Cancelled | Code::Locked)
}

fn lock(who: &Who, doing: &str) -> Result<Option<Lock>> {
    let Some(folder): Option<PathBuf> = places::state().map(|state| state.join("running")) else { return Ok(None) };
    let holder = Holder { process: std::process::id(), doing: doing.to_owned(), since: Session::now().0 };
    match Lock::take(&folder, &who.udid, &holder) {
        Ok(lock) => Ok(Some(lock)),
        Err(LockError::Held { holder, .. }) => {
            let device = if who.name.is_empty() { &who.udid } else { &who.name };
            let busy = LockError::Held { device: device.clone(), holder };
            Err(Failure::new(Code::Busy, busy.to_string())
                .hint("wait until that run is done; it goes on, and nothing was changed by this one"))
        }
        Err(error) => Err(Failure::new(Code::Disk, error.to_string()).hint("look at the permissions of that folder")),
    }
}
