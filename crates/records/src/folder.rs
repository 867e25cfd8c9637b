//! Where one kind is written: a folder below the target, and the list of what did not come.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use russet_vfs::target::{Attributes, Placed, Target};
use russet_vfs::{Item, View};

use crate::{Context, Result};

/// The folder of one kind. It can be written to from several threads.
pub struct Folder<'a> {
    view: &'a View,
    target: &'a Target,
    advance: &'a (dyn Fn(u64) + Sync),
    name: &'static str,
    report: Mutex<Report>,
}

impl std::fmt::Debug for Folder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Folder({})", self.name)
    }
}

/// What did not come, and whatever else is worth a sentence.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) missing: Vec<String>,
    pub(crate) failed: Vec<(String, String)>,
    pub(crate) remarks: Vec<String>,
}

impl<'a> Folder<'a> {
    pub(crate) fn new(context: &Context<'a>, target: &'a Target, name: &'static str) -> Folder<'a> {
        Folder { view: context.view, target, advance: context.advance, name, report: Mutex::default() }
    }

    /// Writes a file, and gives the name that it got: its folder's disk may not hold the one that was wanted. The date is that of what is
    /// in it; without one it is the snapshot's.
    pub fn file(&self, path: &[&str], content: &[u8], modified: Option<Timestamp>) -> Result<String> {
        let mtime = match modified {
            Some(time) => attribute(time),
            None => self.view.snapshot().started,
        };
        let placed = self.target.file(&self.components(path), &Attributes { mtime, ..Attributes::default() }, &mut &*content)?;
        (self.advance)(content.len() as u64);
        Ok(String::from_utf8_lossy(placed.name()).into_owned())
    }

    /// Writes a file of the backup, and gives the name that it got. One that cannot be read back is noted, and `None`.
    pub fn copy(&self, path: &[&str], item: &Item) -> Result<Option<String>> {
        self.copy_dated(path, item, None)
    }

    /// The same for a file that is known to be of another date than the one that the phone gave it.
    pub fn copy_dated(&self, path: &[&str], item: &Item, date: Option<Timestamp>) -> Result<Option<String>> {
        let placed = self.place(path, item, date)?;
        Ok(placed.map(|placed| String::from_utf8_lossy(placed.name()).into_owned()))
    }

    /// The same for a file that is to get further names.
    pub fn place(&self, path: &[&str], item: &Item, date: Option<Timestamp>) -> Result<Option<Placed>> {
        let attributes = Attributes { mtime: date.map_or(item.mtime, attribute), ..Attributes::default() };
        let mut content = match self.view.read(item) {
            Ok(content) => content,
            Err(error) => {
                self.failed(item.shown(), error.to_string());
                return Ok(None);
            }
        };
        match self.target.file(&self.components(path), &attributes, &mut *content) {
            Ok(placed) => {
                (self.advance)(item.size);
                Ok(Some(placed))
            }
            Err(error) if error.is_content() => {
                self.failed(item.shown(), error.to_string());
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a file that was placed another name, as a hard link. False if the disk has none, so that it is a copy, or if there was a file of
    /// this name already.
    pub fn link(&self, path: &[&str], to: &Placed) -> Result<bool> {
        let before = self.target.links();
        self.target.hard_link(&self.components(path), to)?;
        Ok(self.target.links() > before)
    }

    /// Notes that something is named and not in the backup.
    pub fn missing(&self, what: impl Into<String>) {
        self.report().missing.push(what.into());
    }

    /// Notes that something could not be given back.
    pub fn failed(&self, what: impl Into<String>, why: impl Into<String>) {
        self.report().failed.push((what.into(), why.into()));
    }

    /// Notes a sentence that a person should read.
    pub fn remark(&self, sentence: impl Into<String>) {
        self.report().remarks.push(sentence.into());
    }

    pub(crate) fn into_report(self) -> Report {
        self.report.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn components<'p>(&self, path: &[&'p str]) -> Vec<&'p [u8]> {
        std::iter::once(self.name.as_bytes()).chain(path.iter().map(|part| part.as_bytes())).collect()
    }
}

/// A time as a file has it.
fn attribute(time: Timestamp) -> (i64, u32) {
    (time.as_second(), time.subsec_nanosecond().unsigned_abs())
}
