//! Finding a date: by id, by day, or the latest, of one device or of all.

use russet_repository::SnapshotEntry;
use russet_repository::format::snapshot::Snapshot;

use crate::{Result, VfsError};

/// Which snapshot is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The newest.
    Latest,
    /// The one whose id begins so.
    Id(String),
    /// The newest that was started at or before this Unix second.
    Until(i64),
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wanted::Latest => f.write_str("latest"),
            Wanted::Id(id) => f.write_str(id),
            Wanted::Until(_) => f.write_str("that date"),
        }
    }
}

/// Whether a snapshot is of a device with this name or udid (or of a folder or host with this name). Case does not matter.
pub fn is_of(entry: &SnapshotEntry, device: &str) -> bool {
    let same = |fact: &str| entry.snapshot.facts.get(fact).is_some_and(|value| value.eq_ignore_ascii_case(device));
    let begins = |fact: &str| {
        let device = device.to_ascii_lowercase();
        device.len() >= 8 && entry.snapshot.facts.get(fact).is_some_and(|value| value.to_ascii_lowercase().starts_with(&device))
    };
    same("device.name") || same("source.path") || same("host.name") || begins("device.udid")
}

/// What a snapshot is one date of: the device's id, or the folder and the computer that it is on. Equal for all dates of one thing.
pub fn subject(snapshot: &Snapshot) -> String {
    let fact = |name: &str| snapshot.facts.get(name).map(String::as_str).unwrap_or_default();
    match fact("device.udid") {
        "" => format!("{} on {}", fact("source.path"), fact("host.name")),
        udid => udid.to_owned(),
    }
}

/// Finds a snapshot; `entries` are oldest first.
pub fn select(entries: &[SnapshotEntry], wanted: &Wanted, device: Option<&str>) -> Result<SnapshotEntry> {
    let of_device: Vec<&SnapshotEntry> = entries.iter().filter(|e| device.is_none_or(|device| is_of(e, device))).collect();
    let none = || VfsError::NoSnapshot { wanted: wanted.to_string() };
    let found = match wanted {
        Wanted::Latest => of_device.last().copied(),
        Wanted::Until(time) => of_device.iter().rev().find(|e| e.snapshot.started.0 <= *time).copied(),
        Wanted::Id(id) => {
            let id = id.to_ascii_lowercase();
            let fitting: Vec<_> = of_device.into_iter().filter(|e| e.name.hex().starts_with(&id)).collect();
            if fitting.len() > 1 {
                return Err(VfsError::Ambiguous { wanted: id, count: fitting.len() });
            }
            fitting.into_iter().next()
        }
    };
    found.cloned().ok_or_else(none)
}
