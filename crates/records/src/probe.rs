//! The databases of a backup, found and opened.

use std::io::Read;

use russet_apple_format::tables::Tables;
use russet_apple_format::well_known::WellKnown;
use russet_vfs::{EntryKind, Item};

use crate::{Context, Folder, Result};

/// A write-ahead log that is larger is not looked at.
const LARGEST_LOG: u64 = 512 << 20;
/// What SQLite keeps beside a file.
const LOG: &str = "-wal";

impl<'a> Context<'a> {
    /// A file of the backup whose content is in it.
    pub fn file(&self, domain: &str, path: &str) -> Option<&'a Item> {
        self.view.item(domain, path).filter(|item| item.kind == EntryKind::File && item.node.is_some())
    }

    /// The files of a domain whose paths begin like this, in order, also those whose content is not in the backup.
    pub fn files_below<'p>(&self, domain: &'p str, prefix: &'p str) -> impl Iterator<Item = &'a Item> + use<'a, 'p> {
        let items = self.view.items();
        let first = items.partition_point(|item| (&*item.domain, &*item.path) < (domain, prefix.as_bytes()));
        let below = move |item: &&Item| &*item.domain == domain && item.path.starts_with(prefix.as_bytes());
        items[first..].iter().take_while(below).filter(|item| item.kind == EntryKind::File)
    }

    /// Whether the backup has this file or, if its path ends with a slash or a dash, anything whose path goes on after it.
    pub fn has(&self, file: &WellKnown) -> bool {
        match file.path.ends_with(['/', '-']) {
            true => self.files_below(file.domain, file.path).any(|item| item.node.is_some()),
            false => self.file(file.domain, file.path).is_some(),
        }
    }

    /// Opens a database in memory, with what its write-ahead log has to add. `None` if it is not in the backup.
    pub fn open(&self, file: &WellKnown) -> Result<Option<Tables>> {
        match self.file(file.domain, file.path) {
            Some(item) => self.open_item(file.label, item).map(Some),
            None => Ok(None),
        }
    }

    /// Opens a database that is not at the same place on every phone; `what` is what people call it.
    pub fn open_item(&self, what: &'static str, item: &Item) -> Result<Tables> {
        let mut log = Vec::new();
        if let Some(beside) = self.log_of(item).filter(|beside| beside.size <= LARGEST_LOG) {
            let read = self.view.read(beside)?.read_to_end(&mut log);
            read.map_err(|source| russet_apple_format::Error::Read { what, source })?;
        }
        let content = self.view.read(item)?;
        Ok(Tables::read(what, content, item.size, (!log.is_empty()).then_some(&log))?)
    }

    fn log_of(&self, item: &Item) -> Option<&'a Item> {
        self.file(&item.domain, &format!("{}{LOG}", std::str::from_utf8(&item.path).ok()?))
    }

    /// Writes a database out as it is, with its write-ahead log.
    pub(crate) fn write_raw(&self, folder: &Folder<'_>, file: &WellKnown) -> Result<()> {
        let Some(item) = self.file(file.domain, file.path) else { return Ok(()) };
        for item in [Some(item), self.log_of(item)].into_iter().flatten() {
            let path = String::from_utf8_lossy(&item.path);
            folder.copy(&["raw", path.rsplit('/').next().unwrap_or_default()], item)?;
        }
        Ok(())
    }
}
